"""
A Telegram bot that tells the status of a phone.

Run it with ``BOT_TOKEN`` and ``DIGA_API_KEY`` set; Ctrl-C or SIGTERM stops it.

Close: ``async with`` does, when the dispatcher has stopped.
Errors: the user is told what to mend, or when to come back; the rest is ours.
Log: the id and the facts of the error, and nothing of a phone.
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
        return "Say /phone and the id of a phone."
    except NotFoundError:
        return "There is no such phone."
    except ClientClosedError:
        return None  # the bot is being stopped: it can say no more
    except (RateLimitError, APIConnectionError, InternalServerError) as error:
        logger.warning("%s after %s attempts: %r", phone_id, error.attempts, error)
        return "I cannot find out just now. Try again in a minute."
    except DigaError as error:
        # The key was refused, or the answer was no phone: nothing a user can mend.
        logger.error("%s: %r", phone_id, error)
        return "Something is wrong with me. I have written it down."
    return f"{phone.nickname or 'The phone'} is {phone.status}."


async def answer(message: Message, command: CommandObject, diga: DigaClient) -> None:
    words = await status_of(diga, command.args or "")
    if words:
        await message.answer(words)


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
