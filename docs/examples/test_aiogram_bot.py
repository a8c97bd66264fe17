"""Tests of the Telegram bot; neither Diga nor Telegram is contacted."""

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
    """Records what the bot sends."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []

    async def make_request(
        self, bot: Bot, method: TelegramMethod[Any], *_: Any, **__: Any
    ) -> Any:
        assert isinstance(method, SendMessage)
        self.sent.append(method.text)
        return message_of(method.text)

    async def stream_content(self, *_: Any, **__: Any) -> AsyncGenerator[bytes, None]:
        raise NotImplementedError
        yield b""

    async def close(self) -> None:
        pass


def message_of(text: str) -> Message:
    return Message(message_id=1, date=datetime.now(UTC), chat=CHAT, text=text)


async def send(diga: DigaClient, text: str) -> list[str]:
    """Send the bot a message; return its answers."""
    telegram = Telegram()
    update = Update(update_id=1, message=message_of(text))
    await make_dispatcher(diga).feed_update(Bot("42:token", telegram), update)
    return telegram.sent


@pytest.mark.asyncio
@pytest.mark.diga_sandbox(phones=1)
async def test_it_tells_the_status(
    diga_sandbox: Sandbox, diga_client: DigaClient
) -> None:
    (phone_id,) = diga_sandbox.phone_ids
    diga_sandbox.phones[phone_id] |= {"nickname": "Front desk", "status": "reserved"}

    sent = await send(diga_client, f"/phone {phone_id}")

    assert sent == ["Front desk is reserved."]


@pytest.mark.asyncio
@pytest.mark.parametrize("text", ["/phone", "/phone 42"])
async def test_it_explains_its_usage(diga_client: DigaClient, text: str) -> None:
    assert await send(diga_client, text) == ["Usage: /phone and the id of a phone."]


@pytest.mark.asyncio
@pytest.mark.diga_client(retry=RetryPolicy(max_attempts=1))
async def test_it_answers_during_an_outage(
    diga_sandbox: Sandbox, diga_client: DigaClient
) -> None:
    diga_sandbox.down = True

    (sent,) = await send(diga_client, f"/phone {diga_sandbox.phone_ids[0]}")

    assert sent.startswith("Diga is not available.")
