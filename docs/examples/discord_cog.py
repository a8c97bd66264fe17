"""A Discord bot's command that tells the status of a phone."""

import logging
import os
from typing import Any

import discord
from discord.ext import commands

from diga_async import DigaClient, DigaError, InvalidPhoneIdError, NotFoundError

logger = logging.getLogger("bot")


class Phones(commands.Cog):
    def __init__(self) -> None:
        self.diga = DigaClient(timeouts=5.0)

    async def cog_unload(self) -> None:
        await self.diga.close()

    @commands.command()
    async def phone(self, context: commands.Context[Any], phone_id: str) -> None:
        try:
            phone = await self.diga.phones.get(phone_id)
        except InvalidPhoneIdError:
            await context.send("That is not the id of a phone.")
        except NotFoundError:
            await context.send("There is no such phone.")
        except DigaError as error:
            logger.warning("%s after %s attempts: %r", phone_id, error.attempts, error)
            await context.send("I cannot find out just now.")
        else:
            await context.send(f"{phone.nickname or 'The phone'} is {phone.status}.")


class PhoneBot(commands.Bot):
    async def setup_hook(self) -> None:
        await self.add_cog(Phones())


def main() -> None:
    intents = discord.Intents(guild_messages=True, message_content=True)
    PhoneBot("!", intents=intents).run(os.environ["BOT_TOKEN"])


if __name__ == "__main__":
    main()
