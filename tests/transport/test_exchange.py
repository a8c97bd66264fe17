"""The two ways of a request, and that both have the same results."""

import asyncio
import functools
import inspect
from typing import Any
from unittest.mock import Mock

import aiohttp
import attrs
import pytest
from byte_server import (
    ByteServer,
    Move,
    Wire,
    answer,
    answers,
    client_tls,
    closes,
    hangs,
    once_connected,
    phone,
    resets,
    says,
    server_tls,
    until,
)
from fakes import PHONE_ID, phone_fields, quick_client as client, turn
from installed import bounds_heads

from diga_async import APIConnectionError, ClientClosedError, DigaError
from diga_async._models.decoding import MAX_BODY_BYTES
from diga_async._transport import exchange, self_check
from diga_async._transport.connections import KEEP_ALIVE
from diga_async._transport.direct import Direct
from diga_async._transport.reader import ResponseReader

has_max_headers = pytest.mark.skipif(
    "max_headers" not in inspect.signature(aiohttp.ClientSession).parameters,
    reason="this aiohttp has no such option",
)

REQUEST = aiohttp.ClientSession._request


def phone_with(**headers: str) -> bytes:
    return answer(phone_fields(), **headers)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the requests that go past the session."""
    paths: list[str] = []
    send, take = Direct.send, Direct.take

    def noting_send(self: Any, request: Any, *given: Any) -> Any:
        paths.append(request.path)
        return send(self, request, *given)

    def noting_take(self: Any) -> Any:
        connection = take(self)
        if connection is not None:
            paths.append("over a connection that was kept")
        return connection

    monkeypatch.setattr(self_check._VERDICT, "objection", None)
    monkeypatch.setattr(Direct, "send", noting_send)
    monkeypatch.setattr(Direct, "take", noting_take)
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


async def test_a_plain_request_takes_the_fast_path(short: list[str]) -> None:
    await bytes_of()

    assert short == [f"/v1/phone/{PHONE_ID}"]


async def test_a_tls_request_takes_the_fast_path(short: list[str]) -> None:
    async with (
        ByteServer(answers, tls=server_tls()) as server,
        client(server.url, ssl=client_tls()) as diga,
    ):
        await diga.phones.get(PHONE_ID)
        await diga.phones.get(PHONE_ID)

        assert server.asked == [0, 0]
    assert len(short) == 2


async def test_both_paths_send_the_same_bytes(
    short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    past_the_session = await bytes_of()
    through_it = await bytes_of(trace_configs=[aiohttp.TraceConfig()])
    monkeypatch.setattr(self_check._VERDICT, "objection", "a test")
    as_aiohttp_would = await bytes_of()

    assert past_the_session == through_it == as_aiohttp_would
    assert len(short) == 1


def head(status: str, *fields: str) -> bytes:
    return "".join(
        f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *fields, "")
    ).encode()


BODY = phone().partition(b"\r\n\r\n")[2]
CHUNKED = head("200 OK", "Transfer-Encoding: chunked")
CHUNK = b"%x\r\n%s\r\n" % (len(BODY), BODY)
LENGTH = f"Content-Length: {len(BODY)}"

ODD = {
    "a phone": says(phone()),
    "in pieces": says(phone()[:9], phone()[9:90], phone()[90:]),
    "interim heads": says(head("103 Early Hints", "Link: x"), phone()),
    "interim heads and phone together": says(head("100 Continue") * 3 + phone()),
    "only interim heads": closes(head("100 Continue") * 3),
    "an upgrade": closes(
        head("101 Switching", "Upgrade: x", "Connection: upgrade") + phone()
    ),
    "an upgrade offered": says(
        head("200 OK", "Upgrade: x", "Connection: upgrade", LENGTH) + BODY
    ),
    "no content": says(head("204 No Content")),
    "no content, with a length": says(head("204 No Content", LENGTH)),
    "not modified": says(head("304 Not Modified", LENGTH)),
    "chunked": says(CHUNKED + CHUNK + b"0\r\n\r\n"),
    "chunked, with trailers": says(CHUNKED + CHUNK + b"0\r\nA: b\r\n\r\n"),
    "chunks in pieces": says(CHUNKED, CHUNK[:9], CHUNK[9:], b"0\r\n", b"\r\n"),
    "chunks without an end": closes(CHUNKED + CHUNK),
    "no chunk": closes(CHUNKED + b"x\r\n" + BODY),
    "chunked and with a length": closes(
        head("200 OK", "Transfer-Encoding: chunked", LENGTH) + CHUNK + b"0\r\n\r\n"
    ),
    "no length, until the end": closes(head("200 OK") + BODY),
    "too short": closes(phone()[:-1]),
    "too long": says(phone() + b"x"),
    "only a head": closes(head("200 OK", LENGTH)),
    "half a head": closes(phone()[:20]),
    "nothing": closes(),
    "a reset": resets(),
    "HTTP/1.0": closes(phone().replace(b"HTTP/1.1", b"HTTP/1.0", 1)),
    "HTTP/1.0, kept": says(
        head("200 OK", "Connection: keep-alive", LENGTH).replace(b"/1.1", b"/1.0")
        + BODY
    ),
    "the last of its connection": says(phone_with(Connection="close")),
    "two answers together": says(phone() * 2),
    "two lengths": says(head("200 OK", LENGTH, "Content-Length: 3") + BODY),
    "the same length twice": says(head("200 OK", LENGTH, LENGTH) + BODY),
    "a field that is too long": says(phone_with(X=9000 * "x")),
    "too many fields": says(head("200 OK", LENGTH, *["X: y"] * 200) + BODY),
    "a field that is none": closes(head("200 OK", "X y", LENGTH) + BODY),
    "a cookie": says(phone_with(Set_Cookie="a=b")),
    "no HTTP": closes(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "too large": says(answer(bytes(MAX_BODY_BYTES + 1))),
    "an error": says(answer({"detail": "x"}, "404 Not Found")),
    "a redirect": says(answer(status="302 Found", Location="/")),
    "a login": says(answer(status="401 x", WWW_Authenticate="Digest realm=x")),
}


async def what_comes_of(move: Move) -> tuple[object, ...]:
    """Return the result of a lookup and of the next, and their connections."""
    async with ByteServer(move, answers) as server:
        async with client(server.url, attempts=1) as diga:
            made = []
            for _ in range(2):
                try:
                    made.append(repr(await diga.phones.get(PHONE_ID)))
                except DigaError as error:
                    seen = attrs.asdict(error) | {"elapsed": 0.0, "port": 0}
                    seen["reason"] = seen["reason"].replace(server.url[7:], "")
                    made.append(f"{type(error).__name__} {seen}")
        return (*made, server.asked)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=bounds_heads) if name == "too many fields" else name
        for name in ODD
    ],
)
async def test_both_paths_read_a_response_alike(
    short: list[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    past_the_session = await what_comes_of(ODD[name])
    monkeypatch.setattr(self_check._VERDICT, "objection", "a test")
    through_it = await what_comes_of(ODD[name])

    *made, asked = past_the_session
    *made_there, asked_there = through_it
    assert made == made_there
    # aiohttp's parser in Python overlooks bytes behind a response; a connection that
    # had any is not used again.
    assert asked in (asked_there, [0, 1])
    assert len(short) == 2


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
async def test_defaults_given_to_every_session_are_kept(
    short: list[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """As OpenTelemetry's instrumentation does with traces."""
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
        pytest.param("max_headers", 1, marks=has_max_headers),
        ("read_bufsize", 10),
        ("request_class", type("Request", (aiohttp.ClientRequest,), {})),
        ("trust_env", True),
    ],
)
@pytest.mark.usefixtures("short")
async def test_a_changed_session_is_used(name: str, value: Any) -> None:
    async with (
        aiohttp.ClientSession() as plain,
        aiohttp.ClientSession(**{name: value}) as other,
    ):
        assert exchange._is_as_made(plain)
        assert not exchange._is_as_made(other)


async def test_a_replacement_of_the_request_method_is_called(
    short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As aioresponses, vcrpy and some tracers do, even while a client works."""
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


async def test_a_mock_of_get_is_called(
    short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mock = Mock(side_effect=aiohttp.ClientConnectionError)
    async with ByteServer(answers) as server, client(server.url, attempts=1) as diga:
        monkeypatch.setattr(aiohttp.ClientSession, "get", mock)
        with pytest.raises(APIConnectionError):
            await diga.phones.get(PHONE_ID)

        assert (mock.call_count, server.heads, short) == (1, [], [])


@pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")
async def test_a_session_of_another_class_is_used(
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


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (aiohttp.ClientRequest, "__init__"),
        (aiohttp.ClientRequest, "send"),
        (aiohttp.ClientResponse, "__init__"),
        (aiohttp.ClientResponse, "start"),
        (aiohttp.BaseConnector, "connect"),
        (aiohttp.TCPConnector, "connect"),
        (aiohttp.http.StreamWriter, "write_headers"),
    ],
)
async def test_replacements_of_other_methods_are_called(
    short: list[str], monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    """As aresponses does, and tracers that add headers or measure time."""
    calls = []
    original = getattr(owner, name)

    @functools.wraps(original)
    def method(self: Any, *given: Any, **options: Any) -> Any:
        calls.append(given)
        return original(self, *given, **options)

    async with ByteServer(answers) as server, client(server.url) as diga:
        await diga.phones.get(PHONE_ID)
        monkeypatch.setattr(owner, name, method)
        await diga.phones.get(PHONE_ID)

    assert (len(calls), len(short)) == (1, 1)


async def test_a_connector_for_https_alone_refuses_http(short: list[str]) -> None:
    connector = aiohttp.TCPConnector()
    connector.allowed_protocol_schema_set = frozenset({"https"})
    async with (
        ByteServer(answers) as server,
        aiohttp.ClientSession(connector=connector) as session,
        client(server.url, session=session) as diga,
    ):
        with pytest.raises(APIConnectionError):
            await diga.phones.get(PHONE_ID)

        assert server.wires == []
    assert short != []


async def test_a_connector_of_another_class_gets_each_request(
    short: list[str],
) -> None:
    seen = []

    class Routing(aiohttp.TCPConnector):
        async def connect(self, req: Any, *given: Any) -> Any:
            seen.append((req.url.path, "User-Agent" in req.headers))
            return await super().connect(req, *given)

    async with (
        ByteServer(answers) as server,
        aiohttp.ClientSession(connector=Routing()) as session,
        client(server.url, session=session) as diga,
    ):
        await diga.phones.get(PHONE_ID)

    assert (seen, short) == ([(f"/v1/phone/{PHONE_ID}", True)], [])


async def test_a_closed_lent_session_connects_nowhere(
    short: list[str],
) -> None:
    async with ByteServer(answers) as server:
        async with (
            aiohttp.ClientSession() as session,
            client(server.url, session=session) as diga,
        ):
            await diga.phones.get(PHONE_ID)
            await session.close()
            with pytest.raises(ClientClosedError):
                await diga.phones.get(PHONE_ID)
            await turn()

        assert (len(server.wires), len(short)) == (1, 2)


async def test_a_connector_without_keep_alive_says_so_to_the_server(
    short: list[str],
) -> None:
    async with (
        ByteServer(answers) as server,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True)
        ) as session,
        client(server.url, session=session) as diga,
    ):
        await diga.phones.get(PHONE_ID)

        assert b"\r\nConnection: close\r\n" in server.heads[0]
    assert short == []


async def test_a_request_through_a_proxy_uses_the_session(short: list[str]) -> None:
    async with (
        ByteServer(answers, first=closes()) as proxy,
        client("https://api.invalid", attempts=1, proxy=proxy.url) as diga,
    ):
        with pytest.raises(APIConnectionError):
            await diga.phones.get(PHONE_ID)

        assert len(proxy.wires) == 1
    assert short == []


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


async def test_a_connection_lost_before_it_is_used_is_an_error(
    short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose(connection: Any) -> None:
        connection.transport.abort()
        await until(lambda: connection.transport is None)

    once_connected(monkeypatch, lose)
    monkeypatch.setattr(self_check, "may_pass", lambda: True)
    async with ByteServer(answers) as server, client(server.url, attempts=1) as diga:
        with pytest.raises(APIConnectionError) as caught:
            await diga.phones.get(PHONE_ID)

    assert (caught.value.phase, server.heads) == ("read", [])
    assert len(short) == 1


async def test_the_read_timer_of_an_earlier_request_ends(
    short: list[str],
) -> None:
    """A stray line break after the other answer has started it once more."""

    async def late(wire: Wire) -> None:
        await asyncio.sleep(0.1)
        await answers(wire)

    async with (
        ByteServer(says(answer(b"{}")), late) as server,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_read=0.05)) as session,
        client(server.url, attempts=1, session=session) as diga,
    ):
        async with session.get(f"{server.url}/v1/phone/{PHONE_ID}") as response:
            await response.read()
        assert session.connector is not None
        ((kept, _),) = next(iter(session.connector._conns.values()))
        kept.start_timeout()

        await diga.phones.get(PHONE_ID)

        assert server.asked == [0, 0]
    assert len(short) == 1


class _Slow:
    """A transport that has not yet sent everything."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def get_write_buffer_size(self) -> int:
        return 1


async def test_a_connection_answered_too_early_is_closed(
    short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the request would precede the next one."""

    async def slow_down(connection: Any) -> None:
        connection.protocol.transport = _Slow(connection.transport)

    once_connected(monkeypatch, slow_down)
    monkeypatch.setattr(self_check, "may_pass", lambda: True)
    async with ByteServer(answers) as server, client(server.url, attempts=1) as diga:
        await diga.phones.get(PHONE_ID)
        await diga.phones.get(PHONE_ID)

        assert server.asked == [0, 1]
    assert len(short) == 2


@pytest.mark.parametrize("error", [ValueError, KeyError, aiohttp.EofStream])
async def test_an_exception_of_the_parser_is_a_connection_error(
    short: list[str], monkeypatch: pytest.MonkeyPatch, error: Any
) -> None:
    def feed(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(ResponseReader, "feed", feed)
    async with ByteServer(answers) as server, client(server.url, attempts=1) as diga:
        with pytest.raises(APIConnectionError) as caught:
            await diga.phones.get(PHONE_ID)

    assert caught.value.phase == "read"
    assert len(short) == 1


async def test_a_connection_lost_before_the_head_gets_one_request(
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


def direct_of(diga: Any) -> Direct:
    """Return what keeps the connections of a client."""
    kept: Direct = diga._lifecycle.runtime._transport._exchange._direct
    return kept


async def test_a_connection_that_was_idle_for_too_long_is_not_used(
    short: list[str],
) -> None:
    async with ByteServer(answers) as server, client(server.url) as diga:
        await diga.phones.get(PHONE_ID)
        (kept,) = direct_of(diga)._idle
        kept.idle_since -= KEEP_ALIVE - 1.0
        await diga.phones.get(PHONE_ID)
        kept.idle_since -= KEEP_ALIVE + 1.0
        await diga.phones.get(PHONE_ID)

        assert server.asked == [0, 0, 1]
        await until(lambda: server.wires[0].is_left)


async def test_idle_connections_are_closed_without_another_request(
    short: list[str],
) -> None:
    async with ByteServer(answers) as server, client(server.url) as diga:
        await diga.phones.get(PHONE_ID)
        direct = direct_of(diga)
        timer, (kept,) = direct._sweep, direct._idle
        assert timer is not None
        loop = asyncio.get_running_loop()
        assert timer.when() - loop.time() == pytest.approx(KEEP_ALIVE, abs=1.0)
        timer.cancel()
        direct._close_old()
        assert direct._idle == [kept]
        kept.idle_since -= KEEP_ALIVE
        direct._close_old()

        assert (direct._idle, direct._open) == ([], set())
        await until(lambda: server.wires[0].is_left)


async def test_a_connection_of_a_lent_pool_goes_back_after_each_request(
    short: list[str],
) -> None:
    async with (
        ByteServer(answers) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session,
        client(server.url, session=session) as diga,
    ):
        for _ in range(2):
            await diga.phones.get(PHONE_ID)
            async with session.get(f"{server.url}/v1/phone/{PHONE_ID}") as response:
                await response.read()

        assert server.asked == [0, 0, 0, 0]
    assert len(short) == 2
