"""
A Telegram bot that tells the status of a phone.

Run it with ``BOT_TOKEN`` and ``DIGA_API_KEY`` set; Ctrl-C or SIGTERM stops it.

Close: ``async with`` closes the client after the dispatcher has stopped.
Errors: the user is told how to ask, or when to try again; the log gets the rest.
Log: the id and the error; no data of a phone.
"""

import asyncio
import logging
import os

from aiogram import Bot, Dispatcher
from aiogram.filters import Command, CommandObject
from aiogram.types import Message

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


async def status_of(diga: DigaClient, phone_id: str) -> str | None:
    try:
        phone = await diga.phones.get(phone_id)
    except InvalidPhoneIdError:
        return "Usage: /phone and the id of a phone."
    except NotFoundError:
        return "There is no such phone."
    except ClientClosedError:
        return None  # the bot is stopping and cannot answer any more
    except (RateLimitError, APIConnectionError, InternalServerError) as error:
        logger.warning("%s after %s attempts: %r", phone_id, error.attempts, error)
        return "Diga is not available. Try again in a minute."
    except DigaError as error:
        # A refused key or a malformed answer: the user cannot fix these.
        logger.error("%s: %r", phone_id, error)
        return "Something went wrong. The error has been logged."
    return f"{phone.nickname or 'The phone'} is {phone.status}."


async def answer(message: Message, command: CommandObject, diga: DigaClient) -> None:
    text = await status_of(diga, command.args or "")
    if text:
        await message.answer(text)


def make_dispatcher(diga: DigaClient) -> Dispatcher:
    dispatcher = Dispatcher(diga=diga)
    dispatcher.message.register(answer, Command("phone"))
    return dispatcher


async def main() -> None:
    async with Bot(os.environ["BOT_TOKEN"]) as bot, DigaClient(timeouts=5.0) as diga:
        await make_dispatcher(diga).start_polling(bot)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main())
