"""Runs through outages, and through failures that are not outages."""

import asyncio
import contextlib
import time
from collections.abc import Iterable
from uuid import UUID, uuid4

import pytest
from byte_server import ByteServer, Wire, answer, answers, is_listing, phone
from fakes import KEY, quick_client

from diga_async import (
    APIConnectionError,
    DigaClient,
    DigaError,
    Failed,
    Found,
    InternalServerError,
    Limits,
    RetryPolicy,
    Timeouts,
)

ERROR = answer(status="500 Internal Server Error")


class Broken:
    """
    A server that fails for some ids, always in one way.

    Attributes:
        asked: The ids asked for, in order.
        controls: How often the listing was asked.
    """

    def __init__(self, phone_ids: Iterable[UUID], way: str = "500") -> None:
        self.broken = frozenset(phone_ids)
        self.way = way
        self.asked: list[UUID] = []
        self.controls = 0

    async def __call__(self, wire: Wire) -> None:
        if is_listing(wire.requests[-1]):
            self.controls += 1
            await answers(wire)
            return
        self.asked.append(wire.asked_for)
        if wire.asked_for not in self.broken:
            await answers(wire)
        elif self.way == "500":
            await wire.send(ERROR)
        elif self.way == "reset":
            wire.reset()
        else:
            await wire.gone()


def ids(count: int) -> list[UUID]:
    return [uuid4() for _ in range(count)]


async def test_a_block_of_broken_ids_is_not_an_outage() -> None:
    before, block, behind = ids(50), ids(60), ids(200)
    server_of = Broken(block)
    async with (
        ByteServer(server_of) as server,
        quick_client(server.url, attempts=4, limits=Limits(concurrency=16)) as diga,
    ):
        begun = time.monotonic()
        batch = await diga.phones.get_many([*before, *block, *behind])
        seconds = time.monotonic() - begun

    assert len(batch.phones) == 250
    assert set(batch.failures) == set(block)
    assert {error.attempts for error in batch.failures.values()} == {4}
    assert seconds < 5.0
    assert server_of.controls == 0  # an id that was found before is asked instead


async def test_broken_ids_alone_are_not_an_outage_where_the_listing_answers() -> None:
    block = ids(40)
    server_of = Broken(block)
    async with ByteServer(server_of) as server, quick_client(server.url) as diga:
        batch = await diga.phones.get_many(block)

        assert len(batch.failures) == 40
        assert server_of.controls > 0
        assert diga.stats.listed == server_of.controls
        assert not diga.stats.outage


@pytest.mark.parametrize("way", ["reset", "hang"])
async def test_ids_that_break_their_connections_end_as_failures(way: str) -> None:
    sound, block = ids(100), ids(25)
    async with (
        ByteServer(Broken(block, way)) as server,
        quick_client(
            server.url,
            attempts=2,
            timeouts=Timeouts(10.0, attempt=0.3),
            retry=RetryPolicy(max_attempts=2, base_delay=0.001, max_outage=30.0),
        ) as diga,
    ):
        batch = await diga.phones.get_many([*sound, *block])

    assert (len(batch.phones), len(batch.failures)) == (100, 25)
    assert {error.attempts for error in batch.failures.values()} == {2}


async def test_an_outage_costs_few_ids_however_long_it_lasts() -> None:
    is_up = False

    async def move(wire: Wire) -> None:
        await (answers(wire) if is_up else wire.send(ERROR))

    async with (
        ByteServer(move) as server,
        quick_client(server.url, attempts=1, limits=Limits(concurrency=4)) as diga,
    ):
        outcomes = []
        async with diga.phones.iter_many(ids(200)) as lookups:

            async def consume() -> None:
                async for outcome in lookups:
                    outcomes.append(outcome)  # noqa: PERF401 - watched meanwhile

            task = asyncio.create_task(consume())
            await asyncio.sleep(4.0)
            assert diga.stats.outage
            during = len(outcomes)
            is_up = True
            await task

    assert during <= 4 + 20
    assert [type(o) for o in outcomes].count(Failed) == during
    assert [type(o) for o in outcomes].count(Found) == 200 - during


@pytest.mark.parametrize("attempts", [1, 2])
async def test_an_outage_is_over_with_the_last_run_that_it_pauses(
    attempts: int,
) -> None:
    """A health endpoint would else report it for ever: nothing more is sent."""

    async def down(wire: Wire) -> None:
        wire.reset()

    async with (
        ByteServer(down) as server,
        quick_client(
            server.url,
            retry=RetryPolicy(max_attempts=attempts, base_delay=0.001, max_outage=0.5),
        ) as diga,
    ):
        begun = diga.stats.outage
        with contextlib.suppress(APIConnectionError):
            await diga.phones.get_many(ids(64), concurrency=64)
        assert (begun, diga.stats.outage) == (False, False)

        with pytest.raises(APIConnectionError):
            await diga.phones.get(ids(1)[0])
        assert diga.stats.outage  # of single lookups it tells until an answer comes


async def test_an_earlier_outage_does_not_end_the_next_run() -> None:
    script = {"is_up": False, "resets": 0}

    async def move(wire: Wire) -> None:
        if script["is_up"] and not script["resets"]:
            await answers(wire)
        else:
            script["resets"] -= bool(script["resets"])
            wire.reset()

    policy = RetryPolicy(max_outage=1.0, base_delay=0.001)
    async with ByteServer(move) as server, quick_client(server.url, retry=policy) as d:
        with pytest.raises(DigaError):
            await d.phones.get_many(ids(20), concurrency=4)
        await asyncio.sleep(1.1)
        script.update(is_up=True, resets=1)

        batch = await d.phones.get_many(ids(20))

    assert len(batch.phones) == 20


async def test_an_outage_of_few_and_slow_5xx_ends_a_run_after_a_failed_control() -> (
    None
):
    async def move(wire: Wire) -> None:
        await asyncio.sleep(0.3)
        await wire.send(ERROR)

    policy = RetryPolicy(max_outage=1.0, max_attempts=2, base_delay=0.001)
    async with ByteServer(move) as server, quick_client(server.url, retry=policy) as d:
        with pytest.raises(InternalServerError) as caught:
            await d.phones.get_many(ids(50), concurrency=1)

        assert d.stats.requests < 10
        assert caught.value.partial.unanswered


async def test_slow_5xx_of_the_ids_alone_do_not_end_a_run() -> None:
    block = ids(5)
    broken = Broken(block)

    async def move(wire: Wire) -> None:
        await asyncio.sleep(0 if is_listing(wire.requests[-1]) else 0.3)
        await broken(wire)

    policy = RetryPolicy(max_outage=1.0, max_attempts=2, base_delay=0.001)
    async with ByteServer(move) as server, quick_client(server.url, retry=policy) as d:
        batch = await d.phones.get_many(block, concurrency=1)

    assert len(batch.failures) == 5


async def test_a_server_that_closes_idle_connections_early_fails_no_id() -> None:
    """A retry takes a new connection, not another one that is about to be closed."""

    async def move(wire: Wire) -> None:
        await wire.send(phone(wire.asked_for))
        await asyncio.sleep(0.002)
        wire.close()

    policy = RetryPolicy(base_delay=0.001)
    async with (
        ByteServer(move) as server,
        DigaClient(KEY, base_url=server.url, retry=policy) as diga,
    ):
        batch = await diga.phones.get_many(ids(600))

    assert len(batch.phones) == 600


async def test_a_key_that_rotates_all_the_time_loses_no_id() -> None:
    """Not even where an id is allowed one attempt."""
    state = {"valid": 0, "answered": 0}

    async def move(wire: Wire) -> None:
        if f"sk-number-{state['valid']}\r".encode() not in wire.requests[-1]:
            await wire.send(answer(status="401 Unauthorized"))
            return
        state["answered"] += 1
        state["valid"] += state["answered"] % 50 == 0
        await answers(wire)

    asked = 0

    async def key() -> str:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return f"sk-number-{state['valid']}"

    async with (
        ByteServer(move) as server,
        quick_client(server.url, key, attempts=1) as diga,
    ):
        batch = await diga.phones.get_many(ids(400), concurrency=8)

    assert len(batch.phones) == 400
    assert asked <= 10


@pytest.mark.parametrize("who", ["get", "run"])
async def test_closing_the_client_ends_a_request_for_the_key(who: str) -> None:
    begun = asyncio.Event()

    async def key() -> str:
        begun.set()
        await asyncio.get_running_loop().create_future()
        return "sk-1"

    before = asyncio.all_tasks()
    diga = quick_client("http://127.0.0.1:1", key)
    asking = diga.phones.get(uuid4()) if who == "get" else diga.phones.get_many(ids(9))
    task = asyncio.ensure_future(asking)
    await begun.wait()
    await diga.close()
    with contextlib.suppress(DigaError):
        await task

    assert asyncio.all_tasks() == before
