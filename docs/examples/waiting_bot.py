"""
A Telegram bot that tells a user when a number is ready.

Run it with ``BOT_TOKEN`` and ``DIGA_API_KEY`` set; Ctrl-C or SIGTERM stops it.

aiogram handles each message in a task of its own, so a handler can wait for a day.
"""

import asyncio
import logging
import os

from aiogram import Bot, Dispatcher
from aiogram.filters import Command, CommandObject
from aiogram.types import Message

from diga_async import (
    ClientClosedError,
    DigaClient,
    DigaError,
    InvalidPhoneIdError,
    NotFoundError,
    PhoneStatus,
    WaitError,
    WaitTimeoutError,
)

EVERY = 30.0
DAY = 86_400.0

logger = logging.getLogger("bot")


async def news_of(diga: DigaClient, phone_id: str) -> str | None:
    """Wait until the number is ready; return what to tell the user."""
    try:
        phone = await diga.phones.wait_until(
            phone_id, status=PhoneStatus.ASSIGNED, every=EVERY, timeout=DAY
        )
    except (InvalidPhoneIdError, NotFoundError):
        return "There is no such phone."
    except WaitTimeoutError:
        return "It is not ready yet. Ask me again."
    except WaitError:
        return "That number is no longer available."
    except ClientClosedError:
        return None  # the bot is stopping and cannot answer any more
    except DigaError as error:
        logger.error("%s: %r", phone_id, error)
        return "Something went wrong. The error has been logged."
    return f"{phone.nickname or 'The number'} is ready."


async def answer(message: Message, command: CommandObject, diga: DigaClient) -> None:
    text = await news_of(diga, command.args or "")
    if text:
        await message.answer(text)


async def main() -> None:
    async with Bot(os.environ["BOT_TOKEN"]) as bot, DigaClient() as diga:
        dispatcher = Dispatcher(diga=diga)
        dispatcher.message.register(answer, Command("wait"))
        await dispatcher.start_polling(bot)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main())
