"""
A Telegram bot that tells the status of a phone.

Run it with ``BOT_TOKEN`` and ``DIGA_API_KEY`` set.
"""

import asyncio
import logging
import os

from aiogram import Bot, Dispatcher
from aiogram.filters import Command, CommandObject
from aiogram.types import Message

from diga_async import (
    APIConnectionError,
    DigaClient,
    DigaError,
    InternalServerError,
    InvalidPhoneIdError,
    NotFoundError,
    RateLimitError,
)

logger = logging.getLogger("bot")


async def status_of(diga: DigaClient, phone_id: str) -> str:
    try:
        phone = await diga.phones.get(phone_id)
    except InvalidPhoneIdError:
        return "Say /phone and the id of a phone."
    except NotFoundError:
        return "There is no such phone."
    except (RateLimitError, APIConnectionError, InternalServerError) as error:
        logger.warning("%s after %s attempts: %r", phone_id, error.attempts, error)
        return "I cannot find out just now. Try again in a minute."
    except DigaError as error:
        logger.error("%s: %r", phone_id, error)
        return "Something is wrong with me. I have written it down."
    return f"{phone.nickname or 'The phone'} is {phone.status}."


async def answer(message: Message, command: CommandObject, diga: DigaClient) -> None:
    await message.answer(await status_of(diga, command.args or ""))


def make_dispatcher(diga: DigaClient) -> Dispatcher:
    dispatcher = Dispatcher(diga=diga)
    dispatcher.message.register(answer, Command("phone"))
    return dispatcher


async def main() -> None:
    async with Bot(os.environ["BOT_TOKEN"]) as bot, DigaClient(timeouts=5.0) as diga:
        await make_dispatcher(diga).start_polling(bot)


if __name__ == "__main__":
    asyncio.run(main())
