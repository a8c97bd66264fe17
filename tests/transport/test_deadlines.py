"""A blocked loop: arrived data is read first, and the blocked time does not count."""

import asyncio
import logging
import time
from uuid import uuid4

import pytest
from byte_server import ByteServer, Wire, drips, hangs, on_time, phone
from fakes import KEY, PHONE_ID, quick_client as client

from diga_async import (
    APITimeoutError,
    DigaClient,
    Limits,
    RetryPolicy,
    Timeouts,
)
from diga_async._transport.deadlines import BEAT, BLOCKED, Attempt, TimeLimits
from diga_async.sandbox import Sandbox

ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
def sandbox():
    """A server that continues while the loop of the test is blocked."""
    with Sandbox(60, latency=0.02, api_key=KEY) as sandbox:
        yield sandbox


def blocks(seconds):
    """Block the loop, as pandas, a debugger or a stopped process does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


async def test_a_get_is_answered_that_came_while_the_loop_stood_still(sandbox):
    limits = Timeouts(5.0, attempt=0.2, connect=0.2)
    async with client(sandbox.url, retry=ONCE, timeouts=limits) as diga:
        await diga.phones.get(sandbox.phone_ids[0])
        lookup = asyncio.ensure_future(diga.phones.get(sandbox.phone_ids[1]))
        while diga.stats.in_flight == 0:  # noqa: ASYNC110 - nothing else to wait for
            await asyncio.sleep(0)
        blocks(0.5)

        assert (await lookup).id == sandbox.phone_ids[1]
        assert diga.stats.requests == 2


async def test_an_answer_that_arrived_counts_even_at_the_end_of_its_total(sandbox):
    limits = Timeouts(0.3, attempt=0.3, connect=0.2)
    async with client(sandbox.url, retry=ONCE, timeouts=limits) as diga:
        await diga.phones.get(sandbox.phone_ids[0])
        lookups = [
            asyncio.ensure_future(diga.phones.get(sandbox.phone_ids[1], timeouts=total))
            for total in (0.3, 0.25)  # the second follows
        ]
        while diga.stats.in_flight == 0:  # noqa: ASYNC110 - nothing else to wait for
            await asyncio.sleep(0)
        blocks(0.5)

        for lookup in lookups:
            assert (await lookup).id == sandbox.phone_ids[1]


async def test_a_run_loses_no_attempt_and_says_it_once(sandbox, caplog):
    limits = Timeouts(0.5, attempt=0.2, connect=0.2)
    with caplog.at_level(logging.WARNING, logger="diga_async"):
        async with DigaClient(KEY, base_url=sandbox.url, timeouts=limits) as diga:
            found = 0
            async with diga.phones.iter_many(sandbox.phone_ids) as lookups:
                async for outcome in lookups:
                    found += hasattr(outcome, "phone")
                    if found == 10:
                        blocks(0.6)
            stats = diga.stats

    assert (found, stats.lost, stats.requests) == (60, 0, 60)
    (said,) = [record.getMessage() for record in caplog.records]
    assert "event loop was blocked for 0." in said


async def test_a_source_that_blocks_at_each_id_fails_none_of_them(sandbox):
    def slow():
        for phone_id in sandbox.phone_ids[:8]:
            blocks(0.25)
            yield phone_id

    limits = Timeouts(1.0, attempt=0.2, connect=0.1)
    async with DigaClient(KEY, base_url=sandbox.url, timeouts=limits) as diga:
        batch = await diga.phones.get_many(slow(), concurrency=4)

        assert len(batch.phones) == 8
        assert diga.stats.lost == 0


async def test_a_loop_that_is_blocked_nearly_always_still_ends_an_attempt():
    async def burn():
        while True:
            blocks(0.15)
            await asyncio.sleep(0.001)

    limits = Timeouts(5.0, attempt=0.1)
    async with (
        ByteServer(hangs()) as server,
        client(server.url, retry=ONCE, timeouts=limits) as diga,
    ):
        burning = asyncio.ensure_future(burn())
        batch = await diga.phones.get_many([PHONE_ID])
        burning.cancel()

    assert [type(error) for error in batch.failures.values()] == [APITimeoutError]


async def test_a_server_that_always_sends_a_little_more_is_ended_on_time():
    drop = drips(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", b" ", 0.0)
    limits = Timeouts(5.0, attempt=0.2)
    async with (
        ByteServer(drop) as server,
        client(server.url, retry=ONCE, timeouts=limits) as diga,
    ):
        with on_time(0.2), pytest.raises(APITimeoutError):
            await diga.phones.get(PHONE_ID)


async def test_no_outage_is_declared_for_a_stall_longer_than_max_outage(sandbox):
    policy = RetryPolicy(max_outage=0.5)
    limits = Timeouts(attempt=0.2)
    async with DigaClient(
        KEY, base_url=sandbox.url, retry=policy, timeouts=limits
    ) as diga:
        found = 0
        async with diga.phones.iter_many(sandbox.phone_ids) as lookups:
            async for _ in lookups:
                found += 1
                if found in {10, 30}:
                    blocks(0.8)

    assert found == 60


@pytest.mark.parametrize("connect", [0.05, 0.2])
async def test_the_limit_of_a_connection_is_kept(connect):
    """The handshake never ends: nothing answers it."""

    async def silent(reader, writer):
        await reader.read()
        writer.close()

    limits = Timeouts(5.0, attempt=3.0, connect=connect)
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, client(url, retry=ONCE, timeouts=limits) as diga:
        with on_time(connect), pytest.raises(APITimeoutError) as caught:
            await diga.phones.get(PHONE_ID)

    assert caught.value.describe().endswith(f"within {connect} s (Timeouts.connect)")


async def test_the_deadline_that_came_first_is_named():
    async with ByteServer(hangs()) as server:
        limits = Timeouts(0.1, attempt=3.0)
        async with client(server.url, timeouts=limits) as diga:
            with pytest.raises(APITimeoutError, match=r"0\.1 s \(Timeouts\.total\)"):
                await diga.phones.get(PHONE_ID)


async def test_a_lost_connection_is_followed_by_a_new_one():
    """Other idle connections may be as stale: the server closes them all."""

    async def once(wire: Wire) -> None:
        if len(wire.requests) > 1:
            wire.reset()
        else:
            await wire.send(phone(wire.asked_for))

    ids = [uuid4() for _ in range(40)]
    policy = RetryPolicy(max_attempts=2, base_delay=0.0)
    async with (
        ByteServer(once) as server,
        client(
            server.url, retry=policy, limits=Limits(concurrency=8, adaptive=False)
        ) as diga,
    ):
        batch = await diga.phones.get_many(ids)

    assert len(batch.phones) == 40


# --- the limits themselves


class Task:
    """An attempt's task, which records its cancellation."""

    def __init__(self, limits, seconds, *, most=float("inf")):
        self.attempt = Attempt(limits, seconds, most=most)
        self.seconds = seconds

    async def run(self):
        begun = time.monotonic()
        try:
            with self.attempt:
                await asyncio.Event().wait()
        except TimeoutError:
            return time.monotonic() - begun


@pytest.mark.parametrize("seconds", [(0.05, 0.2), (0.2, 0.05), (0.1, 0.1)])
async def test_each_attempt_ends_at_its_own_limit(seconds):
    limits = TimeLimits()
    took = await asyncio.gather(*(Task(limits, s).run() for s in seconds))

    for limit, spent in zip(seconds, took, strict=True):
        assert limit - 0.01 <= spent < limit + 1.0


async def test_time_that_stood_still_is_added_but_never_beyond_a_true_deadline():
    limits = TimeLimits()
    free, bound = Task(limits, 0.3), Task(limits, 0.3, most=0.35)
    running = asyncio.gather(free.run(), bound.run())
    await asyncio.sleep(0)
    blocks(BEAT + BLOCKED + 0.2)
    spent, at_most = await running

    assert limits.blocked >= 0.2
    assert spent >= 0.3 + limits.blocked - 0.01
    assert at_most < spent


async def test_a_short_delay_does_not_count_as_blocked():
    limits = TimeLimits()
    running = asyncio.ensure_future(Task(limits, 0.3).run())
    await asyncio.sleep(0)
    blocks(0.05)
    await running

    assert limits.blocked == 0.0
