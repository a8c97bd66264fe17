"""
A Discord bot with a command that tells the status of a phone.

Run it with ``BOT_TOKEN`` and ``DIGA_API_KEY`` set; Ctrl-C stops it.

Close: the cog closes the client when it is unloaded or the bot is closed.
Errors: the user is told how to ask, or when to try again; the log gets the rest.
Log: the id and the error; no data of a phone.
"""

import logging
import os
from typing import Any

import discord
from discord.ext import commands

from diga_async import (
    APIConnectionError,
    ClientClosedError,
    DigaClient,
    DigaError,
    InternalServerError,
    InvalidPhoneIdError,
    NotFoundError,
    RateLimitError,
)

logger = logging.getLogger("bot")


class Phones(commands.Cog):
    def __init__(self) -> None:
        self.diga = DigaClient(timeouts=5.0)

    async def cog_unload(self) -> None:
        await self.diga.close()

    @commands.command()
    async def phone(self, context: commands.Context[Any], phone_id: str = "") -> None:
        try:
            phone = await self.diga.phones.get(phone_id)
        except InvalidPhoneIdError:
            await context.send("Usage: !phone and the id of a phone.")
        except NotFoundError:
            await context.send("There is no such phone.")
        except ClientClosedError:
            pass  # the bot is stopping and cannot answer any more
        except (RateLimitError, APIConnectionError, InternalServerError) as error:
            logger.warning("%s after %s attempts: %r", phone_id, error.attempts, error)
            await context.send("Diga is not available. Try again in a minute.")
        except DigaError as error:
            # A refused key or a malformed answer: the user cannot fix these.
            logger.error("%s: %r", phone_id, error)
            await context.send("Something went wrong. The error has been logged.")
        else:
            await context.send(f"{phone.nickname or 'The phone'} is {phone.status}.")


class PhoneBot(commands.Bot):
    async def setup_hook(self) -> None:
        await self.add_cog(Phones())


def make_bot() -> PhoneBot:
    # A nickname is user-supplied text: it must not mention anyone.
    quiet = discord.AllowedMentions.none()
    intents = discord.Intents(guilds=True, guild_messages=True, message_content=True)
    return PhoneBot("!", intents=intents, allowed_mentions=quiet)


if __name__ == "__main__":
    make_bot().run(os.environ["BOT_TOKEN"], root_logger=True)
