"""Trace hooks of the user: their errors are raised, and no connection is left."""

import asyncio
from contextlib import AsyncExitStack
from uuid import uuid4

import aiohttp
import pytest
from byte_server import ByteServer, answers, until
from fakes import PHONE_ID, quick_client as client

from diga_async import APITimeoutError, RetryPolicy, Timeouts

SIGNALS = [name for name in vars(aiohttp.TraceConfig) if name.startswith("on_")]
#: For a lookup of a name, over one new connection and then a used one.
SENT = [
    name
    for name in SIGNALS
    if not any(rare in name for rare in ("queued", "redirect", "exception", "chunk"))
    and name != "on_dns_cache_hit"
]


class MineError(Exception):
    """Not known to anyone else."""


async def twice(diga):
    """Look up over a new connection, and then over the same."""
    for _ in range(2):
        await diga.phones.get(PHONE_ID)


def tracing(signal, error):
    trace = aiohttp.TraceConfig()

    async def hook(session, context, params):
        await asyncio.sleep(0)
        raise error

    getattr(trace, signal).append(hook)
    return trace


@pytest.fixture(params=["own", "lent"])
async def make(request):
    """Make clients of a server that is asked by its name, over either kind of pool."""
    async with AsyncExitStack() as stack:
        session = None
        if request.param == "lent":
            session = await stack.enter_async_context(aiohttp.ClientSession())
        yield lambda server, **options: client(
            server.url.replace("127.0.0.1", "localhost"), session=session, **options
        )


@pytest.mark.parametrize("error", [TypeError("m"), OSError(24, "m"), MineError("m")])
@pytest.mark.parametrize("signal", SENT)
async def test_an_error_of_a_hook_is_raised_unchanged(make, signal, error):
    async with ByteServer(answers) as server:
        async with make(server, trace_configs=[tracing(signal, error)]) as diga:
            with pytest.raises(type(error)) as caught:
                await twice(diga)
            assert caught.value.args == error.args
            assert diga.stats.in_flight == 0
        assert server.attempts <= 2  # nothing was retried
    # The system may still look the name up, in a thread, with its own socket.
    await asyncio.get_running_loop().shutdown_default_executor()


@pytest.mark.parametrize("signal", ["on_request_start", "on_request_end"])
async def test_an_error_of_a_hook_ends_a_run_and_leaves_its_ids_unanswered(signal):
    ids = [uuid4() for _ in range(20)]
    async with (
        ByteServer(answers) as server,
        client(server.url, trace_configs=[tracing(signal, MineError("m"))]) as diga,
        diga.phones.iter_many(ids, concurrency=4) as lookups,
    ):
        with pytest.raises(MineError):
            [_ async for _ in lookups]

        assert len(lookups.unanswered) >= 4
        assert server.attempts <= 4


@pytest.mark.parametrize(
    "signal", ["on_connection_create_end", "on_connection_reuseconn"]
)
async def test_no_connection_is_left(signal):
    async with ByteServer(answers) as server:
        trace = tracing(signal, MineError("m"))
        async with client(server.url, trace_configs=[trace]) as diga:
            for _ in range(6):
                try:
                    await diga.phones.get(PHONE_ID)
                except MineError:
                    await until(lambda: server.wires[-1].is_left)
            open_wires = [wire for wire in server.wires if not wire.is_left]
            assert len(open_wires) <= 1


@pytest.mark.parametrize(
    "signal", ["on_connection_create_end", "on_connection_reuseconn"]
)
async def test_a_hook_that_hangs_ends_with_its_attempt_and_its_connection(signal):
    trace = aiohttp.TraceConfig()

    async def hook(session, context, params):
        await asyncio.Event().wait()

    getattr(trace, signal).append(hook)
    limits = Timeouts(5.0, attempt=0.05)
    async with (
        ByteServer(answers) as server,
        client(
            server.url,
            trace_configs=[trace],
            timeouts=limits,
            retry=RetryPolicy(max_attempts=1),
        ) as diga,
    ):
        with pytest.raises(APITimeoutError):
            await twice(diga)
        await until(lambda: server.wires[0].is_left)


async def test_a_hook_that_is_cancelled_leaves_no_connection():
    trace, reached = aiohttp.TraceConfig(), asyncio.Event()

    async def hook(session, context, params):
        reached.set()
        await asyncio.Event().wait()

    trace.on_connection_create_end.append(hook)
    async with (
        ByteServer(answers) as server,
        client(server.url, trace_configs=[trace]) as diga,
    ):
        lookup = asyncio.ensure_future(diga.phones.get(PHONE_ID))
        await reached.wait()
        lookup.cancel()
        with pytest.raises(asyncio.CancelledError):
            await lookup
        await until(lambda: server.wires[0].is_left)


async def test_an_error_of_a_context_factory_is_raised():
    def fail(**_):
        raise MineError("m")

    trace = aiohttp.TraceConfig(trace_config_ctx_factory=fail)
    async with (
        ByteServer(answers) as server,
        client(server.url, trace_configs=[trace]) as diga,
    ):
        with pytest.raises(MineError):
            await diga.phones.get(PHONE_ID)


async def test_a_hook_sees_what_it_saw_before():
    """Its own context object, the session and the parameters."""
    made, seen = [], []

    def context(trace_request_ctx=None):
        made.append(object())
        return made[-1]

    trace = aiohttp.TraceConfig(trace_config_ctx_factory=context)

    async def begins(session, context, params):
        seen.append((type(session), context, params.method))

    async def ends(session, context, params):
        seen.append((type(session), context, params.response.status))

    trace.on_request_start.append(begins)
    trace.on_request_end.append(ends)
    async with (
        ByteServer(answers) as server,
        client(server.url, trace_configs=[trace]) as diga,
    ):
        await diga.phones.get(PHONE_ID)

    assert seen == [
        (aiohttp.ClientSession, made[0], "GET"),
        (aiohttp.ClientSession, made[0], 200),
    ]
