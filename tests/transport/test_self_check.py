"""Requests go past the session of any aiohttp that behaves as expected."""

import asyncio
import logging
import time
from typing import Any

import aiohttp
import pytest
from byte_server import ByteServer, answers
from fakes import PHONE_ID, quick_client as client

from diga_async._transport import direct, self_check
from diga_async._transport.direct import Direct
from diga_async._transport.reader import ResponseReader

PARSER = aiohttp.http.HttpResponseParser


@pytest.fixture(autouse=True)
def verdict(monkeypatch: pytest.MonkeyPatch) -> self_check._Verdict:
    """Begin like a new process: nothing is known about aiohttp."""
    fresh = self_check._Verdict()
    monkeypatch.setattr(self_check, "_VERDICT", fresh)
    return fresh


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="diga_async")
    return caplog


def said(log: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Return the lines about aiohttp, with their level."""
    lines = [(r.levelname, r.getMessage()) for r in log.records]
    return [(level, line) for level, line in lines if line.startswith("aiohttp ")]


async def lookups(monkeypatch: pytest.MonkeyPatch, count: int = 2) -> int:
    """Look up a phone with each of several clients; return how many went past."""
    past: list[object] = []
    send = Direct.send

    async def noting(self: Any, *given: Any) -> Any:
        reply = await send(self, *given)
        past.append(reply)
        return reply

    monkeypatch.setattr(Direct, "send", noting)
    async with ByteServer(answers) as server:
        for _ in range(count):
            async with client(server.url, attempts=1) as diga:
                assert str((await diga.phones.get(PHONE_ID)).id) == PHONE_ID
    return len(past)


async def test_this_aiohttp_behaves_and_the_log_says_so_once(
    monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    assert await lookups(monkeypatch) == 2

    way = "requests go straight to aiohttp's connections"
    assert said(log) == [("INFO", f"aiohttp {aiohttp.__version__}: {way}")]


@pytest.mark.parametrize("version", ["3.13.0", "3.99.0", "5.0.0a1", "x"])
async def test_no_version_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(aiohttp, "__version__", version)

    assert await lookups(monkeypatch) == 2


# --- an aiohttp that has changed


def without_the_parser(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delattr(aiohttp.http, "HttpResponseParser")
    return "aiohttp no longer has HttpResponseParser"


def with_another_constructor(monkeypatch: pytest.MonkeyPatch) -> str:
    def parser(*, connection: object) -> None: ...

    monkeypatch.setattr(aiohttp.http, "HttpResponseParser", parser)
    return "aiohttp's parser reads a response differently"


class _Wrapped:
    """A parser that does one thing differently."""

    def __init__(self, *given: Any, **options: Any) -> None:
        self._parser = PARSER(*given, **options)

    def feed_data(self, data: bytes) -> Any:
        return self._parser.feed_data(data)

    def feed_eof(self) -> Any:
        return self._parser.feed_eof()


def with_another_result(monkeypatch: pytest.MonkeyPatch) -> str:
    class Parser(_Wrapped):
        def feed_data(self, data: bytes) -> Any:
            return self._parser.feed_data(data)[0]

    monkeypatch.setattr(aiohttp.http, "HttpResponseParser", Parser)
    return "aiohttp's parser reads a response differently"


def with_a_lenient_end(monkeypatch: pytest.MonkeyPatch) -> str:
    class Parser(_Wrapped):
        def feed_eof(self) -> None:
            self._parser.feed_data(b"}")

    monkeypatch.setattr(aiohttp.http, "HttpResponseParser", Parser)
    return "aiohttp's parser reads a response without a length differently"


def with_heads_as_dictionaries(monkeypatch: pytest.MonkeyPatch) -> str:
    class Parser(_Wrapped):
        def feed_data(self, data: bytes) -> Any:
            messages, *rest = self._parser.feed_data(data)
            return ([({"code": h.code}, body) for h, body in messages], *rest)

    monkeypatch.setattr(aiohttp.http, "HttpResponseParser", Parser)
    return "aiohttp's parser reads a response differently"


def with_a_patched_session(monkeypatch: pytest.MonkeyPatch) -> str:
    """As aioresponses and tracers do it, here before the first client is made."""
    get = aiohttp.ClientSession.get

    def patched(self: Any, *given: Any, **options: Any) -> Any:
        return get(self, *given, **options)

    monkeypatch.setattr(aiohttp.ClientSession, "get", patched)
    return "another library has replaced methods of aiohttp"


def with_a_session_patched_by_generated_code(monkeypatch: pytest.MonkeyPatch) -> str:
    """Such code belongs to no module."""
    names: dict[str, Any] = {"old": aiohttp.ClientSession._request}
    code = "async def new(*given, **options): return await old(*given, **options)"
    exec(code, names)  # noqa: S102 - as written above
    monkeypatch.setattr(aiohttp.ClientSession, "_request", names["new"])
    return "another library has replaced methods of aiohttp"


CHANGES = [
    without_the_parser,
    with_another_constructor,
    with_another_result,
    with_a_lenient_end,
    with_heads_as_dictionaries,
    with_a_patched_session,
    with_a_session_patched_by_generated_code,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_with_an_aiohttp_that_has_changed_requests_go_through_its_session(
    monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture, change: Any
) -> None:
    reason = change(monkeypatch)

    assert await lookups(monkeypatch) == 0
    assert self_check.way() == f"requests go through aiohttp's session: {reason}"
    assert said(log) == [
        ("WARNING", f"aiohttp {aiohttp.__version__}: {self_check.way()}")
    ]


# --- checked on a connection only


def keeping_its_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let transports silently ignore another protocol."""
    loop_of = type(asyncio.get_running_loop())
    connect = loop_of.create_connection

    async def connecting(self: Any, *given: Any, **options: Any) -> Any:
        transport, protocol = await connect(self, *given, **options)
        proxy = _Stubborn(transport)
        protocol.transport = proxy
        return proxy, protocol

    monkeypatch.setattr(loop_of, "create_connection", connecting)


class _Stubborn:
    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def set_protocol(self, protocol: object) -> None:
        """Keep the other."""


def with_requests_described_differently(monkeypatch: pytest.MonkeyPatch) -> None:
    def destination(method: str, url: object, *, client: object) -> None: ...

    monkeypatch.setattr(direct, "_Destination", destination)


def without_a_key_of_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        direct._Destination, "connection_key", property(lambda self: self.no_such_name)
    )


async def test_a_first_connection_that_does_not_behave_is_left_to_the_session(
    monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    if "uvloop" in type(asyncio.get_running_loop()).__module__:
        pytest.skip("its methods cannot be replaced")
    keeping_its_protocol(monkeypatch)

    assert await lookups(monkeypatch) == 0
    assert self_check.way().endswith(
        ": its connections let no other protocol take over"
    )
    assert [level for level, _ in said(log)] == ["INFO", "WARNING"]


@pytest.mark.parametrize(
    "change", [with_requests_described_differently, without_a_key_of_connections]
)
async def test_a_request_that_is_described_differently_goes_through_the_session(
    monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    change(monkeypatch)

    assert await lookups(monkeypatch) == 0
    assert self_check.way().endswith(": aiohttp describes requests differently")


# --- the check itself


async def test_the_check_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    difference = self_check._difference
    monkeypatch.setattr(
        self_check, "_difference", lambda: made.append(1) or difference()
    )
    await lookups(monkeypatch, 3)

    assert len(made) == 1


async def test_the_check_takes_less_than_a_millisecond() -> None:
    assert self_check._difference() is None
    took = []
    for _ in range(20):
        begun = time.thread_time()
        self_check._difference()
        took.append(time.thread_time() - begun)

    assert min(took) < 1e-3


# --- what a parser does not report


def response(body: bytes = b"{}", *fields: str) -> bytes:
    lines = ("HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *fields, "", "")
    return "\r\n".join(lines).encode() + body


@pytest.mark.parametrize("cut", range(1, len(response())))
async def test_a_response_in_two_pieces_is_read_as_one(cut: int) -> None:
    reader = ResponseReader(asyncio.get_running_loop())
    reader.most = 10
    whole = response()

    assert reader.feed(whole[:cut]) is None
    read = reader.feed(whole[cut:])
    assert read is not None
    assert (read.status, read.body, reader.is_clean) == (200, b"{}", True)


@pytest.mark.parametrize("more", [b"x", b"\r\n", response()[:-1], response()])
@pytest.mark.parametrize("cut", [0, 9, -3])
async def test_bytes_after_a_response_are_noticed_or_an_error(
    more: bytes, cut: int
) -> None:
    reader = ResponseReader(asyncio.get_running_loop())
    reader.most = 1000
    whole, read = response(), None
    try:
        for piece in filter(None, (whole[:cut], whole[cut:] + more)):
            read = read or reader.feed(piece)
    except aiohttp.http_exceptions.HttpProcessingError:
        return
    assert read is not None
    assert (read.body, reader.is_clean) == (b"{}", False)


@pytest.mark.parametrize(
    ("flood", "piece"),
    [
        ("trailers", b"X: y\r\n" * 999),
        ("chunk extensions", b"1;" + b"x" * 999 + b"\r\n \r\n"),
        ("heads", b"X: y\r\n" * 999),
        ("a field", b"x" * 9999),
    ],
)
async def test_a_flood_beside_the_body_is_soon_given_up(
    flood: str, piece: bytes
) -> None:
    """Older parsers of aiohttp have no bound of their own for some of these."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    begins = {"trailers": chunked + b"0\r\n", "chunk extensions": chunked}
    reader = ResponseReader(asyncio.get_running_loop())
    reader.most = 1 << 20
    reader.feed(begins.get(flood, b"HTTP/1.1 200 OK\r\nX: "))

    def go_on() -> None:
        for _ in range(1000):
            reader.feed(piece)

    with pytest.raises(Exception):  # noqa: B017, PT011 - a parser may raise any
        go_on()


async def test_interim_heads_are_passed_over_without_end() -> None:
    reader = ResponseReader(asyncio.get_running_loop())
    reader.most = 10
    for _ in range(2000):
        assert reader.feed(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 9) is None

    read = reader.feed(response())
    assert read is not None
    assert (read.status, reader.is_clean) == (200, True)
