"""Which way a request takes to the head of its answer, and that both are the same."""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from byte_server import (
    ByteServer,
    answers,
    client_tls,
    closes,
    hangs,
    server_tls,
    until,
)
from fakes import KEY, PHONE_ID

from diga_async import APIConnectionError, DigaClient, RetryPolicy, Timeouts, _exchange

REQUEST = aiohttp.ClientSession._request
ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Take note of the requests that go past the session."""
    paths: list[str] = []
    way = _exchange._exchange

    def noting(session: Any, request: Any, *given: Any) -> Any:
        paths.append(request.url.path)
        return way(session, request, *given)

    monkeypatch.setattr(_exchange, "_IS_KNOWN", True)
    monkeypatch.setattr(_exchange, "_exchange", noting)
    return paths


async def bytes_of(**options: Any) -> bytes:
    """Return what one lookup sends."""
    async with (
        ByteServer(answers) as server,
        DigaClient(KEY, base_url=server.url, **options) as diga,
    ):
        await diga.phones.get(PHONE_ID)
        (head,) = server.heads
        return head.replace(str(server.port).encode(), b"80")


async def test_nearly_always_a_request_goes_past_the_session(short: list[str]) -> None:
    await bytes_of()

    assert short == [f"/v1/phone/{PHONE_ID}"]


async def test_over_tls_it_goes_past_the_session_as_well(short: list[str]) -> None:
    async with (
        ByteServer(answers, tls=server_tls()) as server,
        DigaClient(KEY, base_url=server.url, ssl=client_tls()) as diga,
    ):
        await diga.phones.get(PHONE_ID)

    assert len(short) == 1


async def test_both_ways_put_the_same_on_the_wire(
    short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await bytes_of()
    monkeypatch.setattr(_exchange, "_IS_KNOWN", False)
    other = await bytes_of()
    monkeypatch.setattr("diga_async._connections.Complete", aiohttp.ClientRequest)
    as_aiohttp_would = await bytes_of()

    assert one == other == as_aiohttp_would
    assert len(short) == 1


async def test_a_request_that_is_traced_goes_through_the_session(
    short: list[str],
) -> None:
    seen = []
    trace = aiohttp.TraceConfig()

    async def begins(_: Any, __: Any, params: aiohttp.TraceRequestStartParams) -> None:
        seen.append(params.url.path)

    trace.on_request_start.append(begins)
    await bytes_of(trace_configs=[trace])

    assert (seen, short) == ([f"/v1/phone/{PHONE_ID}"], [])


@pytest.mark.parametrize("what", ["trace_configs", "middlewares"])
async def test_what_somebody_gives_to_every_session_is_asked(
    short: list[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """As the instrumentation of OpenTelemetry does it with traces."""
    seen = []

    async def middleware(request: Any, handler: Any) -> Any:
        seen.append(request.url.path)
        return await handler(request)

    async def begins(_: Any, __: Any, params: Any) -> None:
        seen.append(params.url.path)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(begins)
    given = {"trace_configs": [trace], "middlewares": (middleware,)}
    made = aiohttp.ClientSession.__init__
    monkeypatch.setattr(
        aiohttp.ClientSession,
        "__init__",
        lambda self, **options: made(self, **{**options, what: given[what]}),
    )
    await bytes_of()

    assert (seen, short) == ([f"/v1/phone/{PHONE_ID}"], [])


async def test_what_stands_in_the_place_of_aiohttps_request_is_asked(
    short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As aioresponses and vcrpy do it, and some tracers; also while a client works."""
    seen = []

    @functools.wraps(REQUEST)
    async def request(self: Any, method: str, url: Any, **options: Any) -> Any:
        seen.append((method, url.path))
        return await REQUEST(self, method, url, **options)

    async with (
        ByteServer(answers) as server,
        DigaClient(KEY, base_url=server.url) as diga,
    ):
        await diga.phones.get(PHONE_ID)
        monkeypatch.setattr(aiohttp.ClientSession, "_request", request)
        await diga.phones.get(PHONE_ID)
        monkeypatch.setattr(aiohttp.ClientSession, "_request", REQUEST)
        await diga.phones.get(PHONE_ID)

    assert seen == [("GET", f"/v1/phone/{PHONE_ID}")]
    assert len(short) == 2


async def test_through_a_proxy_goes_the_session(short: list[str]) -> None:
    async with (
        ByteServer(answers, first=closes()) as proxy,
        DigaClient(
            KEY, base_url="https://api.invalid", proxy=proxy.url, retry=ONCE
        ) as diga,
    ):
        with pytest.raises(APIConnectionError):
            await diga.phones.get(PHONE_ID)

        assert len(proxy.wires) == 1
    assert short == []


def wrapped_before_us() -> Callable[..., Any]:
    @functools.wraps(REQUEST)
    def request(*given: Any, **options: Any) -> Any:
        return REQUEST(*given, **options)

    return request


class _Proxy:
    """An object that passes for the function it wraps, as those of wrapt do."""

    __globals__ = REQUEST.__globals__
    __code__ = REQUEST.__code__
    __module__ = REQUEST.__module__


@pytest.mark.parametrize(
    ("version", "request_", "is_known"),
    [
        ("3.14.4", REQUEST, True),
        ("3.14.99", REQUEST, True),
        ("3.15.0", REQUEST, False),
        ("3.140.0", REQUEST, False),
        ("4.0.0a1", REQUEST, False),
        ("3.14.5", wrapped_before_us(), False),
        ("3.14.5", _Proxy(), False),
        ("3.14.5", None, False),
    ],
)
def test_the_session_is_passed_only_where_its_insides_are_known(
    version: str, request_: Any, *, is_known: bool
) -> None:
    assert _exchange._is_known(version, request_) is is_known


async def test_an_attempt_that_is_cancelled_before_the_head_leaves_no_connection(
    short: list[str],
) -> None:
    async with (
        ByteServer(hangs()) as server,
        DigaClient(KEY, base_url=server.url) as diga,
    ):
        asking = asyncio.ensure_future(diga.phones.get(PHONE_ID))
        await until(lambda: server.heads)
        asking.cancel()
        await asyncio.wait([asking])
        await until(lambda: all(wire.is_left for wire in server.wires))

    assert len(short) == 1


async def test_a_connection_lost_before_the_head_is_asked_once_only(
    short: list[str],
) -> None:
    """The session would send it again."""
    async with (
        ByteServer(closes()) as server,
        DigaClient(
            KEY, base_url=server.url, retry=ONCE, timeouts=Timeouts(5.0)
        ) as diga,
    ):
        with pytest.raises(APIConnectionError):
            await diga.phones.get(PHONE_ID)

        assert len(server.heads) == len(short) == 1
