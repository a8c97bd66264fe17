"""Which way a request takes to the head of its answer, and that both are the same."""

import asyncio
import functools
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

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
from fakes import PHONE_ID, quick_client as client

from diga_async import APIConnectionError, _exchange

REQUEST = aiohttp.ClientSession._request


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Take note of the requests that go past the session."""
    paths: list[str] = []
    way = _exchange.Exchange._send

    def noting(self: Any, request: Any, *given: Any) -> Any:
        paths.append(request.url.path)
        return way(self, request, *given)

    monkeypatch.setattr(_exchange, "_IS_KNOWN", True)
    monkeypatch.setattr(_exchange.Exchange, "_send", noting)
    return paths


async def bytes_of(**options: Any) -> bytes:
    """Return what one lookup sends."""
    async with (
        ByteServer(answers) as server,
        client(server.url, **options) as diga,
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
        client(server.url, ssl=client_tls()) as diga,
    ):
        await diga.phones.get(PHONE_ID)

    assert len(short) == 1


async def test_both_ways_put_the_same_on_the_wire(
    short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    past_the_session = await bytes_of()
    through_it = await bytes_of(trace_configs=[aiohttp.TraceConfig()])
    monkeypatch.setattr(_exchange, "_IS_KNOWN", False)
    as_aiohttp_would = await bytes_of()

    assert past_the_session == through_it == as_aiohttp_would
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


@pytest.mark.parametrize("what", ["trace_configs", "middlewares", "headers"])
async def test_what_somebody_gives_to_every_session_is_kept(
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
    headers = {"traceparent": "00-1"}
    given = {"trace_configs": [trace], "middlewares": (middleware,), "headers": headers}
    made = aiohttp.ClientSession.__init__
    monkeypatch.setattr(
        aiohttp.ClientSession,
        "__init__",
        lambda self, **options: made(self, **{**options, what: given[what]}),
    )
    head = await bytes_of()

    assert seen == [f"/v1/phone/{PHONE_ID}"] or b"traceparent: 00-1" in head
    assert short == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("proxy", "http://127.0.0.1:1"),
        ("version", aiohttp.HttpVersion10),
        ("response_class", type("Response", (aiohttp.ClientResponse,), {})),
        ("raise_for_status", True),
        ("max_field_size", 100),
        ("max_line_size", 100),
        ("max_headers", 1),
        ("read_bufsize", 10),
        ("trust_env", True),
    ],
)
async def test_a_session_that_is_not_as_it_was_made_is_not_passed(
    name: str, value: Any
) -> None:
    given = {"request_class": _exchange.request_class()}
    async with (
        aiohttp.ClientSession(**given) as plain,
        aiohttp.ClientSession(**given, **{name: value}) as other,
    ):
        options = {"proxy": None}
        assert _exchange.Exchange(plain, options)._is_plain is _exchange._IS_KNOWN
        assert not _exchange.Exchange(other, options)._is_plain


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
        client(server.url) as diga,
    ):
        await diga.phones.get(PHONE_ID)
        monkeypatch.setattr(aiohttp.ClientSession, "_request", request)
        await diga.phones.get(PHONE_ID)
        monkeypatch.setattr(aiohttp.ClientSession, "_request", REQUEST)
        await diga.phones.get(PHONE_ID)

    assert seen == [("GET", f"/v1/phone/{PHONE_ID}")]
    assert len(short) == 2


async def test_a_mock_in_the_place_of_get_is_asked(
    short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mock = Mock(side_effect=aiohttp.ClientConnectionError)
    async with ByteServer(answers) as server, client(server.url, attempts=1) as diga:
        monkeypatch.setattr(aiohttp.ClientSession, "get", mock)
        with pytest.raises(APIConnectionError):
            await diga.phones.get(PHONE_ID)

        assert (mock.call_count, server.heads, short) == (1, [], [])


@pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")
async def test_a_session_of_another_class_is_asked(
    short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Session(aiohttp.ClientSession):
        async def _request(self, *given: Any, **options: Any) -> Any:
            seen.append(given)
            return await REQUEST(self, *given, **options)

    async with ByteServer(answers) as server:
        with monkeypatch.context() as patch:
            patch.setattr(aiohttp, "ClientSession", Session)
            diga = client(server.url)
            await diga.phones.get(PHONE_ID)
        await diga.phones.get(PHONE_ID)
        await diga.close()

    assert (len(seen), short) == (2, [])


async def test_a_connector_for_https_alone_is_believed(short: list[str]) -> None:
    class Strict(aiohttp.TCPConnector):
        allowed_protocol_schema_set = frozenset({"https"})

    async with (
        ByteServer(answers) as server,
        aiohttp.ClientSession(connector=Strict()) as session,
        client(server.url, session=session) as diga,
    ):
        with pytest.raises(APIConnectionError):
            await diga.phones.get(PHONE_ID)

        assert server.wires == []
    assert short != []


async def test_through_a_proxy_goes_the_session(short: list[str]) -> None:
    async with (
        ByteServer(answers, first=closes()) as proxy,
        client("https://api.invalid", attempts=1, proxy=proxy.url) as diga,
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
        ("3.14.5", REQUEST, True),
        ("3.14.6", REQUEST, False),
        ("3.15.0", REQUEST, False),
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
        client(server.url) as diga,
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
        client(server.url, attempts=1) as diga,
    ):
        with pytest.raises(APIConnectionError):
            await diga.phones.get(PHONE_ID)

        assert len(server.heads) == len(short) == 1
