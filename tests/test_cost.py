"""
A guard: what 1,000 lookups cost in calls and in memory, which no noise changes.

Time cannot be compared between machines; these can, for one Python and one aiohttp.
A change that lowers them lowers the figures here as well.
"""

import asyncio
import gc
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from byte_server import ByteServer, answers
from fakes import KEY

import diga_async
from diga_async import DigaClient, Found, Limits

LOOKUPS = 1000
#: Python functions of this package that are called for one lookup.
CALLS = {"bulk": 102.9, "single": 98.0}
#: Blocks of memory that one outcome of a run keeps.
BLOCKS = 9.0
MOST = 1.05

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11)
    or not aiohttp.__version__.startswith("3.14.")
    or sys.implementation.name != "cpython"
    or aiohttp.http_parser.HttpResponseParser
    is aiohttp.http_parser.HttpResponseParserPy,
    reason="the figures are those of one Python and one aiohttp",
)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """Serve phones from another thread, whose calls are not counted."""
    ready, over = threading.Event(), asyncio.Event()
    served: list[Any] = []

    async def serve() -> None:
        async with ByteServer(answers) as server:
            stop = asyncio.Event()
            served[:] = [server.url, asyncio.get_running_loop(), stop]
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    await asyncio.to_thread(ready.wait)
    address, loop, stop = served
    yield address
    loop.call_soon_threadsafe(stop.set)
    await asyncio.to_thread(thread.join)
    over.set()


def some_ids(begin: int) -> list[UUID]:
    return [UUID(int=begin + number) for number in range(LOOKUPS)]


async def look_up_many(diga: DigaClient, begin: int) -> list[object]:
    return [outcome async for outcome in diga.phones.iter_many(some_ids(begin))]


async def look_up_one_by_one(diga: DigaClient, begin: int) -> list[object]:
    return [await diga.phones.get(phone_id) for phone_id in some_ids(begin)]


WAYS = {"bulk": look_up_many, "single": look_up_one_by_one}


@pytest.mark.parametrize("way", WAYS)
async def test_a_lookup_calls_no_more_functions_than_it_did(
    url: str, way: str, request: pytest.FixtureRequest
) -> None:
    if request.config.getoption("--through-session"):
        pytest.skip("the figures are those of the way past the session")
    inside, count = str(Path(diga_async.__file__).parent), 0

    def note(frame: Any, event: str, _: object) -> None:
        nonlocal count
        if event == "call":
            count += frame.f_code.co_filename.startswith((inside, "<attrs generated"))

    limits = Limits(concurrency=8, adaptive=False)
    async with DigaClient(KEY, base_url=url, limits=limits) as diga:
        await WAYS[way](diga, 0)
        sys.setprofile(note)
        try:
            await WAYS[way](diga, LOOKUPS)
        finally:
            sys.setprofile(None)

    assert count / LOOKUPS <= CALLS[way] * MOST, f"{count / LOOKUPS:.1f} calls a lookup"


async def test_an_outcome_keeps_no_more_memory_than_it_did(url: str) -> None:
    limits = Limits(concurrency=8, adaptive=False)
    async with DigaClient(KEY, base_url=url, limits=limits) as diga:
        await look_up_many(diga, 0)
        gc.collect()
        before = sys.getallocatedblocks()
        outcomes = await look_up_many(diga, LOOKUPS)
        gc.collect()
        blocks = sys.getallocatedblocks() - before

    assert {type(outcome) for outcome in outcomes} == {Found}
    assert blocks / LOOKUPS <= BLOCKS * MOST, (
        f"{blocks / LOOKUPS:.2f} blocks an outcome"
    )
