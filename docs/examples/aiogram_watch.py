"""
A Telegram bot that tells a chat when a number is verified or about to be released.

Run it with ``BOT_TOKEN``, ``CHAT_ID`` and ``DIGA_API_KEY`` set; Ctrl-C stops it.

Restart: the state is stored after each message, so nothing is left out; a message that
was sent just before a crash is sent again.
Errors: a message that Telegram does not take is sent again later. Meanwhile the watch
goes on, and several changes of a phone may be one message.
"""

import asyncio
import logging
import os
import pickle
from pathlib import Path
from uuid import UUID

from aiogram import Bot
from aiogram.exceptions import (
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
)

from diga_async import Change, DigaClient, Phone, PhoneStatus

Phones = dict[UUID, Phone | None]

STATE = Path("watched.pickle")
EVERY = 60.0
PAUSE = 5.0

logger = logging.getLogger("bot")


def text_of(change: Change) -> str | None:
    """Return what to tell about a change; None when it is not worth a message."""
    before, after = change.before, change.after
    if before is None or after is None:
        return None
    name = after.nickname or "A number"
    was_pending = before.status == PhoneStatus.PENDING_VERIFICATION
    if was_pending and after.status == PhoneStatus.ASSIGNED:
        return f"{name} is verified."
    if "scheduled_release_at" in change.fields and after.scheduled_release_at:
        return f"{name} will be released on {after.scheduled_release_at:%d %B %Y}."
    return None


async def send(bot: Bot, chat_id: str, text: str) -> None:
    while True:
        try:
            await bot.send_message(chat_id, text)
        except TelegramRetryAfter as error:
            await asyncio.sleep(error.retry_after)
        except (TelegramNetworkError, TelegramServerError) as error:
            logger.warning("not sent: %r", error)
            await asyncio.sleep(PAUSE)
        else:
            return


async def tell(bot: Bot, chat_id: str, diga: DigaClient) -> None:
    baseline = await state(diga)
    async with diga.phones.watch(every=EVERY, baseline=baseline) as changes:
        async for change in changes:
            if text := text_of(change):
                await send(bot, chat_id, text)
            await asyncio.to_thread(save, changes.phones)


async def state(diga: DigaClient) -> Phones:
    """Return what the chat knows: at the first start, the phones as they are now."""
    known = await asyncio.to_thread(load)
    if known is not None:
        return known
    phones: Phones = {phone.id: phone async for phone in diga.phones.list()}
    await asyncio.to_thread(save, phones)
    return phones


def load() -> Phones | None:
    if not STATE.exists():
        return None
    phones: Phones = pickle.loads(STATE.read_bytes())  # noqa: S301 - our own file
    return phones


def save(phones: Phones) -> None:
    new = STATE.with_suffix(".new")
    new.write_bytes(pickle.dumps(phones))
    new.replace(STATE)  # a crash leaves the old file or the new one


async def main() -> None:
    async with Bot(os.environ["BOT_TOKEN"]) as bot, DigaClient() as diga:
        await tell(bot, os.environ["CHAT_ID"], diga)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main())
