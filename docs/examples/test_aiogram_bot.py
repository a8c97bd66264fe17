"""Tests of the Telegram bot, through its dispatcher; Telegram is not asked either."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiogram import Bot
from aiogram.client.session.base import BaseSession
from aiogram.methods import SendMessage
from aiogram.methods.base import TelegramMethod
from aiogram.types import Chat, Message, Update
from aiogram_bot import make_dispatcher

from diga_async import DigaClient, RetryPolicy
from diga_async.sandbox import Sandbox

CHAT = Chat(id=1, type="private")


class Telegram(BaseSession):
    """Keeps what the bot says, where the bot would send it."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    async def make_request(
        self, bot: Bot, method: TelegramMethod[Any], *_: Any, **__: Any
    ) -> Any:
        assert isinstance(method, SendMessage)
        self.said.append(method.text)
        return message_of(method.text)

    async def stream_content(self, *_: Any, **__: Any) -> AsyncGenerator[bytes, None]:
        raise NotImplementedError
        yield b""

    async def close(self) -> None:
        pass


def message_of(text: str) -> Message:
    return Message(message_id=1, date=datetime.now(UTC), chat=CHAT, text=text)


async def tell(diga: DigaClient, text: str) -> list[str]:
    """Tell the bot something; return what it says."""
    telegram = Telegram()
    update = Update(update_id=1, message=message_of(text))
    await make_dispatcher(diga).feed_update(Bot("42:token", telegram), update)
    return telegram.said


@pytest.mark.asyncio
@pytest.mark.diga_sandbox(phones=1)
async def test_it_tells_the_status(
    diga_sandbox: Sandbox, diga_client: DigaClient
) -> None:
    (phone_id,) = diga_sandbox.phone_ids
    diga_sandbox.phones[phone_id] |= {"nickname": "Front desk", "status": "reserved"}

    said = await tell(diga_client, f"/phone {phone_id}")

    assert said == ["Front desk is reserved."]


@pytest.mark.asyncio
@pytest.mark.parametrize("text", ["/phone", "/phone 42"])
async def test_it_says_how_to_ask(diga_client: DigaClient, text: str) -> None:
    assert await tell(diga_client, text) == ["Say /phone and the id of a phone."]


@pytest.mark.asyncio
@pytest.mark.diga_client(retry=RetryPolicy(max_attempts=1))
async def test_an_outage_is_no_silence(
    diga_sandbox: Sandbox, diga_client: DigaClient
) -> None:
    diga_sandbox.down = True

    (said,) = await tell(diga_client, f"/phone {diga_sandbox.phone_ids[0]}")

    assert said.startswith("I cannot find out just now.")
