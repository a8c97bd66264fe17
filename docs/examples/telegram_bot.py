"""
A Telegram bot that tells the status of a phone, with python-telegram-bot.

Run it with ``BOT_TOKEN`` and ``DIGA_API_KEY`` set; Ctrl-C or SIGTERM stops it.

Close: `post_shutdown` closes the client after the bot has stopped.
Errors: the user is told how to ask, or when to try again; the log gets the rest.
Log: the id and the error; no data of a phone.
"""

import logging
import os
from typing import Any

from telegram import Update
from telegram.ext import Application, CommandHandler, ContextTypes

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


async def answer(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    if update.message is not None:
        phone_id = "".join(context.args or ())
        text = await status_of(context.bot_data["diga"], phone_id)
        await update.message.reply_text(text)


async def status_of(diga: DigaClient, phone_id: str) -> str:
    try:
        phone = await diga.phones.get(phone_id)
    except InvalidPhoneIdError:
        return "Usage: /phone and the id of a phone."
    except NotFoundError:
        return "There is no such phone."
    except (RateLimitError, APIConnectionError, InternalServerError) as error:
        logger.warning("%s after %s attempts: %r", phone_id, error.attempts, error)
        return "Diga is not available. Try again in a minute."
    except DigaError as error:
        logger.error("%s: %r", phone_id, error)
        return "Something went wrong. The error has been logged."
    return f"{phone.nickname or 'The phone'} is {phone.status}."


async def open_client(application: Application[Any, Any, Any, Any, Any, Any]) -> None:
    application.bot_data["diga"] = DigaClient(timeouts=5.0)


async def close_client(application: Application[Any, Any, Any, Any, Any, Any]) -> None:
    await application.bot_data["diga"].close()


def make_application(token: str) -> Application[Any, Any, Any, Any, Any, Any]:
    builder = Application.builder().token(token)
    builder.post_init(open_client).post_shutdown(close_client)
    # One slow lookup delays no other user.
    builder.concurrent_updates(concurrent_updates=True)
    application = builder.build()
    application.add_handler(CommandHandler("phone", answer))
    return application


def main() -> None:
    make_application(os.environ["BOT_TOKEN"]).run_polling()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs the bot's token
    main()
