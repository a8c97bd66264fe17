"""Tests of a bot that waits for a number; the sandbox changes while the bot waits."""

import asyncio

import pytest
import waiting_bot

from diga_async import DigaClient
from diga_async.sandbox import Sandbox


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_bot, "EVERY", 0.01)


@pytest.mark.asyncio
async def test_it_tells_when_the_number_is_ready(
    diga_sandbox: Sandbox, diga_client: DigaClient
) -> None:
    phone_id = diga_sandbox.phone_ids[0]
    diga_sandbox.change(phone_id, status="pending_verification", nickname="Front desk")

    waiting = asyncio.create_task(waiting_bot.news_of(diga_client, str(phone_id)))
    while not diga_sandbox.requests:  # noqa: ASYNC110 - of the sandbox's own thread
        await asyncio.sleep(0)
    diga_sandbox.change(phone_id, status="assigned")

    assert await waiting == "Front desk is ready."


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("finished", "That number is no longer available."),
        ("pending_verification", "It is not ready yet. Ask me again."),
    ],
)
async def test_it_tells_when_the_number_does_not_come(
    status: str,
    text: str,
    diga_sandbox: Sandbox,
    diga_client: DigaClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting_bot, "DAY", 0.1)
    phone_id = diga_sandbox.phone_ids[0]
    diga_sandbox.change(phone_id, status=status)

    assert await waiting_bot.news_of(diga_client, str(phone_id)) == text


@pytest.mark.asyncio
async def test_it_survives_an_outage(
    diga_sandbox: Sandbox, diga_client: DigaClient
) -> None:
    phone_id = diga_sandbox.phone_ids[0]
    diga_sandbox.change(phone_id, status="assigned", nickname="Front desk")
    diga_sandbox.down = True

    waiting = asyncio.create_task(waiting_bot.news_of(diga_client, str(phone_id)))
    while len(diga_sandbox.requests) < 5:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    diga_sandbox.down = False

    assert await waiting == "Front desk is ready."
