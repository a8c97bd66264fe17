"""Tests of the Discord cog; neither Diga nor Discord is contacted."""

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import pytest_asyncio
from discord_cog import Phones

from diga_async.sandbox import Sandbox

UNKNOWN = "00000000-0000-4000-8000-000000000000"


class Context:
    """Records what a command sends."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, text: str) -> None:
        self.sent.append(text)


@pytest_asyncio.fixture
async def cog(
    diga_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Phones]:
    monkeypatch.setenv("DIGA_BASE_URL", diga_sandbox.url)
    monkeypatch.setenv("DIGA_API_KEY", diga_sandbox.api_key)
    cog = Phones()
    yield cog
    await cog.cog_unload()


async def ask(cog: Phones, phone_id: str) -> list[str]:
    """Call the command; return what it sends."""
    context = Context()
    command = cast("Any", cog.phone)
    await command.callback(cog, context, phone_id)
    return context.sent


@pytest.mark.asyncio
async def test_it_tells_the_status(diga_sandbox: Sandbox, cog: Phones) -> None:
    phone_id = diga_sandbox.phone_ids[0]
    diga_sandbox.phones[phone_id] |= {"nickname": "Front desk", "status": "reserved"}

    assert await ask(cog, str(phone_id)) == ["Front desk is reserved."]


@pytest.mark.asyncio
@pytest.mark.parametrize("phone_id", ["", "42"])
async def test_it_explains_its_usage(cog: Phones, phone_id: str) -> None:
    assert await ask(cog, phone_id) == ["Usage: !phone and the id of a phone."]


@pytest.mark.asyncio
async def test_it_says_when_a_phone_is_unknown(cog: Phones) -> None:
    assert await ask(cog, UNKNOWN) == ["There is no such phone."]
