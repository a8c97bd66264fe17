"""
The fault matrix: faults, and the errors that callers get for them.

`ANSWERED` are the faults of a server that was reached, `UNREACHED` those before
the first byte, `FINE` what looks odd and is not a fault, `NOT_SENT` what is never sent.
With two attempts allowed, a transient fault is seen twice, any other once.
"""

import asyncio
import errno
import gzip
import importlib
import json
import os
import pickle
import socket
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import aiohttp
import attrs
import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult
from byte_server import (
    ByteServer,
    Move,
    answer,
    answers,
    client_tls,
    closes,
    drips,
    hangs,
    on_time,
    phone,
    resets,
    says,
    server_tls,
    until,
)
from conftest import DESCRIPTORS
from fakes import KEY, PHONE_ID, phone_fields, quick_client
from installed import bounds_heads

from diga_async import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    ConfigurationError,
    DigaClient,
    DigaError,
    Failed,
    InternalServerError,
    InvalidPhoneIdError,
    InvalidResponseError,
    Limits,
    NotFoundError,
    PermissionDeniedError,
    Phone,
    PhoneStatus,
    RateLimitError,
    RetryPolicy,
    Timeouts,
    UnprocessableEntityError,
    ValidationDetail,
)

ATTEMPT = 0.1

OTHER_ID = "00000000-0000-4000-8000-000000000001"
TEXT = json.dumps(phone_fields()).encode()
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


client = partial(quick_client, attempts=2, timeouts=Timeouts(5.0, attempt=3.0))


@attrs.frozen
class Row:
    """
    One line of the matrix.

    Attributes:
        fault: What the server does.
        move: How.
        error: What the caller gets.
        facts: What the error says.
        retried: Whether it is transient.
        seconds: How long one attempt takes.
        clean: Whether the answer was complete, so that its connection
            may carry another request.
    """

    fault: str
    move: Move
    error: type[DigaError]
    facts: dict[str, Any] = attrs.field(factory=dict)
    retried: bool = attrs.field(default=True, kw_only=True)
    seconds: float = attrs.field(default=0.0, kw_only=True)
    clean: bool = attrs.field(default=False, kw_only=True)

    @property
    def attempts(self) -> int:
        return 2 if self.retried else 1

    def client(self, server: ByteServer) -> DigaClient:
        """Make a client whose attempts time out as soon as the row needs."""
        return client(server.url, timeouts=Timeouts(5.0, attempt=self.seconds or 3.0))


def lost(fault: str, move: Move) -> Row:
    return Row(fault, move, APIConnectionError, {"phase": "read"})


def late(fault: str, move: Move) -> Row:
    return Row(fault, move, APITimeoutError, {"phase": "read"}, seconds=ATTEMPT)


def unread(fault: str, move: Move, *, clean: bool = True) -> Row:
    facts = {"status": 200, "undecodable": True, "problems": ()}
    return Row(fault, move, InvalidResponseError, facts, clean=clean)


def useless(fault: str, move: Move, *, status: int = 200, clean: bool = True) -> Row:
    facts = {"status": status, "undecodable": False}
    return Row(fault, move, InvalidResponseError, facts, retried=False, clean=clean)


def wrong(fault: str, problem: str, **changes: Any) -> Row:
    facts = {"status": 200, "problems": (problem,)}
    move = says(phone(**changes))
    return Row(fault, move, InvalidResponseError, facts, retried=False, clean=True)


def refused(
    status: int,
    body: object = b"",
    error: type[APIStatusError] = APIStatusError,
    *,
    retried: bool = False,
    **facts: Any,
) -> Row:
    move = says(answer(body, f"{status:03} Why", X_Request_Id="r-1"))
    facts = {"status": status, "request_id": "r-1", **facts}
    return Row(
        f"{status} {body!r:.30}", move, error, facts, retried=retried, clean=True
    )


def squeezed(body: bytes, encoding: str = "gzip") -> Move:
    return says(answer(body, Content_Encoding=encoding))


def without(name: str) -> bytes:
    fields = phone_fields()
    del fields[name]
    return answer(fields)


DIGAS = {"status": "error", "error_code": "MISSING_ID", "message": "No id"}
LIES = {"status": "error", "error_code": "INTERNAL_SERVER_ERROR", "message": "Missing"}
FASTAPIS = {"detail": [{"loc": ["path", "phone_id"], "msg": "bad", "type": "uuid"}]}
BOMB = gzip.compress(b" " * 50_000_000)
DIGITS = b"9" * 5000
MANY: dict[str, Any] = {f"X-{number}": "y" for number in range(200)}

STRICTER = {"200 headers", "NUL in a header"}
"""What older versions of aiohttp read."""

ANSWERED = [
    # --- the connection breaks
    lost("a close before the answer", closes()),
    lost("a reset before the answer", resets()),
    lost("a status line cut", closes(b"HTTP/1.1 20")),
    lost("headers cut", closes(HEAD + b"Content-Le")),
    lost("headers reset", resets(HEAD + b"Content-Le")),
    # --- it takes too long
    late("no answer", hangs()),
    late("headers drip", drips(HEAD, b"X-Slow: yes\r\n", 0.03)),
    late("body drips", drips(answer(length=5000), b" ")),
    late("chunks drip", drips(CHUNKED, b"1\r\n \r\n")),
    late("endless 100 Continue", drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n")),
    late(
        "a flood of 103", drips(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 200, 0.001)
    ),
    late("half an answer", hangs(answer(TEXT)[:-9])),
    # --- not HTTP
    lost("garbage", says(b"\x16\x03\x01 what is this\r\n\r\n")),
    lost("bytes of nothing", says(bytes(64) + b"\r\n\r\n")),
    lost("HTTP/0.9", closes(TEXT)),
    lost("HTTP/2", says(b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n")),
    lost("another protocol", says(b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n")),
    lost("a status of two digits", says(answer(TEXT, "20 OK"))),
    lost("a status of four digits", says(answer(TEXT, "2000 OK"))),
    lost("a negative status", says(answer(TEXT, "-200 OK"))),
    lost("a bad chunk", says(CHUNKED + b"zz\r\nabc\r\n")),
    lost("a negative chunk", says(CHUNKED + b"-1\r\nabc\r\n")),
    lost("an immense chunk", closes(CHUNKED + b"ffffffffffffffffffff\r\nabc\r\n")),
    lost(
        "length and chunks",
        says(
            HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
    ),
    lost(
        "chunks and length",
        says(
            HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"
        ),
    ),
    lost("two lengths", says(HEAD + b"Content-Length: 2\r\n" * 2 + b"\r\n{}")),
    lost("a negative length", says(answer(TEXT, Content_Length="-5"))),
    lost("a signed length", says(answer(TEXT, Content_Length="+5"))),
    lost("no length at all", says(answer(TEXT, Content_Length="x"))),
    lost("200 headers", says(answer(TEXT, **MANY))),
    lost("a header of 20 KB", says(answer(TEXT, X_Long="x" * 20_000))),
    lost("a status line of 20 KB", says(answer(TEXT, "200 " + "x" * 20_000))),
    lost("an endless header", drips(HEAD + b"X: ", b"x" * 1000, 0.0)),
    lost("NUL in a header", says(answer(TEXT, X_Nul="a\0b"))),
    lost("a header without a colon", says(HEAD + b"Content-Length\r\n\r\n")),
    lost("junk behind the answer", says(phone() + b"junk\r\n\r\n")),
    lost("more behind the last", closes(answer(TEXT, Connection="close") + phone())),
    # --- the body is cut
    lost("a short Content-Length", closes(answer(TEXT, length=5000))),
    lost("a cut chunk", closes(CHUNKED + b"ff\r\nabc")),
    lost("no last chunk", closes(CHUNKED + b"3\r\nabc\r\n")),
    lost("a reset in the body", resets(answer(TEXT)[:-9])),
    unread("an early close", closes(answer(TEXT, Content_Length="")[:-9]), clean=False),
    unread("truncated gzip", squeezed(gzip.compress(TEXT)[:-12])),
    unread("truncated deflate", squeezed(zlib.compress(TEXT)[:-6], "deflate")),
    unread("corrupt gzip", squeezed(b"\x1f\x8b\x08\0 what?")),
    unread("gzip of nothing", squeezed(b"")),
    unread("unknown encoding", squeezed(TEXT, "br")),
    unread("two encodings", squeezed(gzip.compress(TEXT), "gzip, gzip")),
    # --- the body is too much
    useless("a gzip bomb", squeezed(BOMB)),
    useless("a body of 3 MiB", says(answer(TEXT.ljust(3 << 20))), clean=False),
    useless("a byte over 1 MiB", says(answer(TEXT.ljust((1 << 20) + 1)))),
    useless("an endless body", drips(HEAD + b"\r\n", b" " * 65536, 0.0), clean=False),
    useless(
        "endless chunks",
        drips(CHUNKED, b"400\r\n%1024b\r\n" % b"" * 64, 0.0),
        clean=False,
    ),
    # --- the body is not JSON
    unread("an empty 200", says(answer())),
    unread("HTML", says(answer(b"<html>hello</html>", Content_Type="text/html"))),
    unread("invalid UTF-8", says(answer(TEXT.replace(b"+34", b"\xff\xfe\xfd")))),
    # --- the body is not a phone
    useless("no content", says(b"HTTP/1.1 204 No\r\n\r\n"), status=204),
    useless("201", says(answer(TEXT, "201 Created")), status=201),
    useless("205", says(answer(b"", "205 Reset")), status=205),
    useless("206", says(answer(TEXT, "206 Partial")), status=206),
    useless("NaN", says(answer(TEXT.replace(b'"+34911234567"', b"NaN")))),
    useless("1e999", says(answer(TEXT.replace(b'"+34911234567"', b"1e999")))),
    useless("deep nesting", says(answer(b"[" * 100_000))),
    useless("5,000 digits", says(answer(b'{"id": ' + DIGITS + b"}"))),
    useless("not an object", says(answer([phone_fields()]))),
    useless("null", says(answer(b"null"))),
    useless("a string", says(answer(b'"phone"'))),
    Row(
        "a field is missing",
        says(without("number")),
        InvalidResponseError,
        {"problems": ("$.number: missing",)},
        retried=False,
        clean=True,
    ),
    wrong("null", "$.number: expected a string, got null", number=None),
    wrong("a number", "$.number: expected a string, got a number", number=34),
    wrong("a boolean", "$.status: expected a string, got a boolean", status=True),
    wrong("a bad date", "$.released_at: not a date-time", released_at="yesterday"),
    wrong(
        "an impossible date",
        "$.assigned_at: not a date-time",
        assigned_at="2026-02-30T00:00:00Z",
    ),
    wrong(
        "a lone surrogate", "$.nickname: text that is not Unicode", nickname="\ud800"
    ),
    wrong("no UUID", "$.inbound_agent_id: not a UUID", inbound_agent_id="none"),
    wrong(
        "texts that are one",
        "$.region_codes: expected an array, got a string",
        region_codes="abc",
    ),
    wrong(
        "inside",
        "$.sip_config.username: expected a string, got a number",
        sip_config={"username": 1},
    ),
    Row(
        "another id",
        says(phone(OTHER_ID)),
        InvalidResponseError,
        {"foreign": True, "problems": ("$.id: not the id asked for",)},
    ),
    # --- error statuses
    *(refused(status) for status in (400, 402, 405, 406, 409, 410, 413, 421, 451)),
    refused(400, DIGAS, error_code="MISSING_ID", message="No id"),
    refused(404, {"detail": "Not Found"}, NotFoundError, message="Not Found"),
    refused(404, b"<html>", NotFoundError, message=None),
    refused(422, b"", UnprocessableEntityError, details=()),
    refused(422, DIGAS, UnprocessableEntityError, error_code="MISSING_ID"),
    refused(
        422,
        FASTAPIS,
        UnprocessableEntityError,
        details=(ValidationDetail(("path", "phone_id"), "bad", "uuid"),),
    ),
    refused(408, retried=True),
    refused(425, retried=True),
    *(
        refused(status, b"<html>Bad Gateway</html>", InternalServerError, retried=True)
        for status in (500, 502, 503, 504, 520, 599)
    ),
    refused(500, LIES, InternalServerError, retried=True, message="Missing"),
    refused(503, b"", InternalServerError, retried=True, message=None),
    refused(99),
    refused(999),
    refused(600),
    refused(300),
    refused(304),
    Row(
        "switching protocols",
        says(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
        APIStatusError,
        {"status": 101},
        retried=False,
    ),
]

REFUSED_KEYS = [
    refused(401, {"message": "Invalid or missing API key"}, AuthenticationError),
    refused(401, b"", AuthenticationError),
    refused(403, LIES, PermissionDeniedError, error_code="INTERNAL_SERVER_ERROR"),
]


def named(rows: list[Row]) -> pytest.MarkDecorator:
    """Give every row its fault as name."""
    return pytest.mark.parametrize(
        "row",
        [
            pytest.param(row, marks=bounds_heads if row.fault in STRICTER else ())
            for row in rows
        ],
        ids=lambda row: row.fault,
    )


def check(error: DigaError, row: Row) -> None:
    """Compare an error with its row, and with the rules for every error."""
    assert type(error) is row.error
    assert {name: getattr(error, name) for name in row.facts} == row.facts
    assert error.attempts == row.attempts
    assert str(error.phone_id) == PHONE_ID
    assert error.elapsed is not None
    assert error.elapsed >= row.seconds * row.attempts - 0.01
    assert error.__cause__ is None
    assert error.__context__ is None
    pickled = pickle.dumps(error)
    assert len(pickled) < 2048
    shown = f"{error!r} {error} {vars(error)} {pickled!r}"
    for secret in (KEY, "+34911234567", "aiohttp"):
        assert secret not in shown


@named(ANSWERED + REFUSED_KEYS)
async def test_a_fault_ends_as_the_matrix_says(row: Row) -> None:
    async with ByteServer(row.move) as server, row.client(server) as diga:
        with on_time(row.seconds * row.attempts), pytest.raises(DigaError) as caught:
            await diga.phones.get(PHONE_ID)

        check(caught.value, row)
        assert server.attempts == row.attempts


@named([row for row in ANSWERED if row.retried])
async def test_a_transient_fault_is_survived(row: Row) -> None:
    """A connection is used again only when its answer was complete."""
    async with ByteServer(row.move, answers) as server, row.client(server) as diga:
        found = await diga.phones.get(PHONE_ID)

        assert str(found.id) == PHONE_ID
        assert server.attempts == 2
        assert server.asked == ([0, 0] if row.clean else [0, 1])


@named([row for row in ANSWERED if not row.retried])
async def test_a_fault_that_stays_spoils_no_other_lookup(row: Row) -> None:
    async with ByteServer(row.move, answers) as server, row.client(server) as diga:
        with pytest.raises(row.error):
            await diga.phones.get(PHONE_ID)

        assert str((await diga.phones.get(OTHER_ID)).id) == OTHER_ID
        assert server.asked == ([0, 0] if row.clean else [0, 1])


@named([r for r in ANSWERED if not r.seconds and r.error is not NotFoundError])
async def test_a_run_ends_alike(row: Row) -> None:
    async with ByteServer(row.move) as server, row.client(server) as diga:
        async with diga.phones.iter_many([PHONE_ID]) as lookups:
            outcomes = [outcome async for outcome in lookups]

        assert server.attempts == row.attempts
        (failed,) = outcomes
        assert isinstance(failed, Failed)
        assert failed.attempts == row.attempts
        assert failed.error.__traceback__ is None
        check(failed.error, row)


@named(REFUSED_KEYS)
async def test_a_refused_key_ends_a_run(row: Row) -> None:
    async with ByteServer(row.move) as server, row.client(server) as diga:
        with pytest.raises(row.error) as caught:
            await diga.phones.get_many([PHONE_ID])

        assert [str(i) for i in caught.value.partial.unanswered] == [PHONE_ID]
        assert server.attempts == 1


# --- odd, but not a fault

FINE: list[tuple[str, Move]] = [
    ("gzip", squeezed(gzip.compress(TEXT))),
    ("x-gzip", squeezed(gzip.compress(TEXT), " X-GZip ")),
    ("deflate", squeezed(zlib.compress(TEXT), "deflate")),
    ("identity", squeezed(TEXT, "identity")),
    ("chunks", says(CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(TEXT), TEXT))),
    ("trailers", says(CHUNKED + b"%x\r\n%b\r\n0\r\nX: y\r\n\r\n" % (len(TEXT), TEXT))),
    ("byte by byte", says(*(bytes([byte]) for byte in phone()))),
    ("no length, closed", closes(answer(TEXT, Content_Length=""))),
    ("HTTP/1.0", closes(phone().replace(b"1.1", b"1.0"))),
    ("exactly 1 MiB", says(answer(TEXT.ljust(1 << 20)))),
    ("no Content-Type", says(answer(TEXT))),
    ("text/html", says(answer(TEXT, Content_Type="text/html"))),
    ("an odd Content-Type", says(answer(TEXT, Content_Type=";;=\x80"))),
    ("an odd charset", says(answer(TEXT, Content_Type="application/json; charset=x"))),
    ("a wrong charset", says(answer(TEXT, Content_Type="text/json; charset=utf-7"))),
    ("BOM", says(answer(b"\xef\xbb\xbf" + TEXT))),
    ("UTF-16", says(answer(TEXT.decode().encode("utf-16")))),
    ("UTF-16 without BOM", says(answer(TEXT.decode().encode("utf-16-be")))),
    ("UTF-32", says(answer(TEXT.decode().encode("utf-32")))),
    ("white space around", says(answer(b"\r\n\t " + TEXT + b" \n"))),
    ("100 Continue before", says(b"HTTP/1.1 100 Continue\r\n\r\n" + phone())),
    ("103 before", says(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n", phone())),
    ("bare line feeds", says(phone().replace(b"\r\n", b"\n"))),
    ("connection: close", closes(answer(TEXT, Connection="close"))),
    ("a reset behind the answer", resets(phone())),
    ("bad cookies", says(answer(TEXT, Set_Cookie="a=\x80; Expires=never; ;=;"))),
    ("a field twice", says(answer(b'{"number": 3, ' + TEXT[1:]))),
    ("JSON with a surrogate pair", says(phone(nickname="\U0001f600"))),
]


@pytest.mark.parametrize("move", [m for _, m in FINE], ids=[name for name, _ in FINE])
async def test_unusual_valid_responses_are_read(move: Move) -> None:
    async with ByteServer(move) as server, client(server.url) as diga:
        found = await diga.phones.get(PHONE_ID)

        assert (str(found.id), found.number) == (PHONE_ID, "+34911234567")
        assert server.attempts == 1


async def test_new_fields_and_values_are_kept() -> None:
    new = says(phone(color={"shade": [1, None]}, status="parked"))
    async with ByteServer(new) as server, client(server.url) as diga:
        found = await diga.phones.get(PHONE_ID)

        assert found.extra == {"color": {"shade": [1, None]}}
        assert (found.status, found.status.known) == ("parked", False)
        assert isinstance(found.status, PhoneStatus)


async def test_a_connection_closed_between_two_requests_is_noticed() -> None:
    async with ByteServer(closes(phone()), answers) as server:
        async with client(server.url, retry=RetryPolicy(max_attempts=1)) as diga:
            for _ in range(2):
                await diga.phones.get(PHONE_ID)

        assert server.asked == [0, 1]


async def test_a_connection_closed_on_reuse_costs_one_attempt() -> None:
    async with ByteServer(answers, closes(), answers) as server:
        async with client(server.url) as diga:
            await diga.phones.get(PHONE_ID)
            await diga.phones.get(PHONE_ID)

        assert server.asked == [0, 0, 1]


# --- before the first byte


class Names(AbstractResolver):
    """A resolver that a test controls."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        self._ask = ask

    async def resolve(
        self, host: str, port: int = 0, family: Any = 0
    ) -> list[ResolveResult]:
        found: list[ResolveResult] = await self._ask()
        return found

    async def close(self) -> None:
        pass


async def fails() -> list[ResolveResult]:
    raise OSError(None, "no such name")


async def never() -> list[ResolveResult]:
    await asyncio.Event().wait()
    return []


async def nothing() -> list[ResolveResult]:
    return []


@attrs.frozen
class Scene:
    """A server's address, and how to see the client's attempts there."""

    url: str
    options: dict[str, Any] = attrs.field(factory=dict)
    server: ByteServer | None = None


Place = Callable[[], AbstractAsyncContextManager[Scene]]


@asynccontextmanager
async def nobody() -> AsyncIterator[Scene]:
    async with ByteServer(answers) as server:
        pass
    yield Scene(server.url)


def resolved(ask: Callable[[], Any], **options: Any) -> Place:
    @asynccontextmanager
    async def place() -> AsyncIterator[Scene]:
        connector = aiohttp.TCPConnector(resolver=Names(ask), **options)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Scene("https://api.invalid", {"session": session})

    return place


def unresolved(error: OSError | None) -> Place:
    """The same by the resolver of a pool of our own."""

    @asynccontextmanager
    async def place() -> AsyncIterator[Scene]:
        async def getaddrinfo(*_: Any, **__: Any) -> Any:
            if error is not None:
                raise error
            return await never()

        with pytest.MonkeyPatch.context() as patch:
            # Not that of c-ares, which aiohttp takes where it is installed.
            resolver = aiohttp.ThreadedResolver
            patch.setattr(aiohttp.connector, "DefaultResolver", resolver)
            patch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", getaddrinfo)
            yield Scene("https://api.invalid")

    return place


@asynccontextmanager
async def full_backlog() -> AsyncIterator[Scene]:
    """A socket that listens and whose queue is full: a SYN gets no answer."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        host, port = listening.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)  # noqa: FBT003
            one.connect_ex((host, port))
        yield Scene(f"http://{host}:{port}")
        for one in waiting:
            one.close()


@asynccontextmanager
async def mute_port() -> AsyncIterator[Scene]:
    """A server that sends nothing, not even a handshake."""
    async with ByteServer(hangs(), first=hangs()) as server:
        yield Scene(
            server.url.replace("http:", "https:"), {"ssl": client_tls()}, server
        )


@asynccontextmanager
async def hangs_up() -> AsyncIterator[Scene]:
    async with ByteServer(answers, first=closes()) as server:
        yield Scene(
            server.url.replace("http:", "https:"), {"ssl": client_tls()}, server
        )


@asynccontextmanager
async def plain_port() -> AsyncIterator[Scene]:
    speaks = says(b"HTTP/1.1 400 This is no TLS\r\n\r\n")
    async with ByteServer(answers, first=speaks) as server:
        yield Scene(
            server.url.replace("http:", "https:"), {"ssl": client_tls()}, server
        )


def certified(
    *, trusted: bool = True, host: str = "127.0.0.1", **options: Any
) -> Place:
    @asynccontextmanager
    async def place() -> AsyncIterator[Scene]:
        async with ByteServer(answers, tls=server_tls(**options)) as server:
            url = server.url.replace("127.0.0.1", host)
            yield Scene(url, {"ssl": client_tls()} if trusted else {}, server)

    return place


@asynccontextmanager
async def other_fingerprint() -> AsyncIterator[Scene]:
    connector = aiohttp.TCPConnector(ssl=aiohttp.Fingerprint(bytes(32)))
    async with (
        ByteServer(answers, tls=server_tls()) as server,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        yield Scene(server.url, {"session": session}, server)


@asynccontextmanager
async def old_tls() -> AsyncIterator[Scene]:
    alert = bytes([21, 3, 3, 0, 2, 2, 70])  # RFC 8446 section 6: protocol_version
    async with ByteServer(answers, first=says(alert)) as server:
        yield Scene(
            server.url.replace("http:", "https:"), {"ssl": client_tls()}, server
        )


@attrs.frozen
class Unreached:
    """
    One line of the matrix about faults before the first byte.

    Attributes:
        fault: What is wrong.
        place: Where.
        phase: How far an attempt gets.
        retried: Whether it is transient.
        late: Whether every attempt takes all its time.
        limit: Which of the limits ends it then.
    """

    fault: str
    place: Place
    phase: str
    retried: bool = attrs.field(default=True, kw_only=True)
    late: bool = attrs.field(default=False, kw_only=True)
    limit: str = attrs.field(default="connect", kw_only=True)

    @property
    def timeouts(self) -> Timeouts:
        limits = {"attempt": 3.0, "connect": 3.0}
        return Timeouts(
            5.0, **(limits | {self.limit: ATTEMPT} if self.late else limits)
        )


YESTERDAY = datetime.now(UTC) - timedelta(days=1)
STRANGER = trustme.CA()

UNREACHED = [
    Unreached("refused", nobody, "connect"),
    Unreached("connect hangs", full_backlog, "connect", late=True),
    Unreached("no name", resolved(fails), "dns"),
    Unreached("no name, no cache", resolved(fails, use_dns_cache=False), "dns"),
    Unreached("no name of our own", unresolved(OSError(-2, "Name unknown")), "dns"),
    Unreached("name hangs", resolved(never), "connect", late=True, limit="attempt"),
    Unreached("name hangs of our own", unresolved(None), "connect", late=True),
    Unreached("empty name", resolved(nothing), "dns"),
    Unreached("empty name, no cache", resolved(nothing, use_dns_cache=False), "dns"),
    Unreached("handshake hangs", mute_port, "connect", late=True),
    Unreached("handshake closed", hangs_up, "connect"),
    Unreached("no TLS", plain_port, "tls", retried=False),
    Unreached("unknown authority", certified(trusted=False), "tls", retried=False),
    Unreached("other authority", certified(authority=STRANGER), "tls", retried=False),
    Unreached("expired", certified(not_after=YESTERDAY), "tls", retried=False),
    Unreached("wrong host", certified(host="localhost"), "tls", retried=False),
    Unreached("other fingerprint", other_fingerprint, "tls", retried=False),
    Unreached("old TLS", old_tls, "tls", retried=False),
]


@pytest.mark.parametrize("row", UNREACHED, ids=lambda row: row.fault)
async def test_a_connection_error_states_its_phase(row: Unreached) -> None:
    attempts = 2 if row.retried else 1
    async with row.place() as scene, client(scene.url, **scene.options) as diga:
        seconds = ATTEMPT * attempts if row.late else 0.0
        with on_time(seconds), pytest.raises(APIConnectionError) as caught:
            await diga.phones.get(PHONE_ID, timeouts=row.timeouts)

    error = caught.value
    assert type(error) is (APITimeoutError if row.late else APIConnectionError)
    assert (error.phase, error.attempts) == (row.phase, attempts)
    assert KEY not in f"{error!r} {vars(error)}"
    assert scene.server is None or scene.server.attempts == 0


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Leave the process no descriptor to open anything with."""
    resource = importlib.import_module("resource")  # not on Windows
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in DESCRIPTORS.iterdir())
    spare: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        with suppress(OSError):
            while True:
                spare.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in spare:
            os.close(descriptor)


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="counts descriptors in /proc")
async def test_no_descriptor_left_is_waited_for_until_the_deadline() -> None:
    async with ByteServer(answers) as server, client(server.url) as diga:
        with no_descriptors(), on_time(0.3), pytest.raises(APIConnectionError) as it:
            await diga.phones.get(PHONE_ID, timeouts=0.3)

        assert (it.value.phase, it.value.attempts) == ("connect", 0)
        assert it.value.errno == errno.EMFILE
        assert "too many open files" in str(it.value)
        assert str((await diga.phones.get(PHONE_ID)).id) == PHONE_ID


# --- redirects


@pytest.mark.parametrize(
    "to",
    [
        "{other}/v1/phone/x",
        "/v1/phone/y",
        "{here}",
        "file:///etc/passwd",
        "http://[",
        "",
    ],
    ids=["another host", "same host", "a loop", "a file", "nowhere", "nothing"],
)
async def test_no_redirect_is_followed(to: str) -> None:
    statuses = (301, 302, 303, 307, 308)
    async with ByteServer(answers) as other, ByteServer(answers) as server:
        to = to.format(other=other.url, here=f"{server.url}/v1/phone/{PHONE_ID}")
        server.script = [says(answer(b"", f"{s} Go", Location=to)) for s in statuses]
        async with client(server.url) as diga:
            for status in statuses:
                with pytest.raises(APIStatusError) as caught:
                    await diga.phones.get(PHONE_ID)

                assert type(caught.value) is APIStatusError
                assert (caught.value.status, caught.value.attempts) == (status, 1)
        assert (server.attempts, other.wires) == (len(statuses), [])


async def test_no_redirect_from_https_to_http_is_followed() -> None:
    tls = server_tls()
    async with ByteServer(answers) as other, ByteServer(answers, tls=tls) as server:
        server.script = [says(answer(b"", "308 Go", Location=other.url))]
        async with client(server.url, ssl=client_tls()) as diga:
            with pytest.raises(APIStatusError):
                await diga.phones.get(PHONE_ID)

        assert (server.attempts, other.wires) == (1, [])


# --- throttling


def throttled(*values: str, status: str = "429 Slow", **headers: Any) -> Move:
    lines = "".join(f"Retry-After: {value}\r\n" for value in values)
    head, _, body = answer(b"", status, **headers).partition(b"\r\n")
    return says(head + b"\r\n" + lines.encode("latin-1") + body)


@pytest.mark.parametrize(
    "values",
    [
        ["nan"], ["inf"], ["-1"], ["1e30"], ["9" * 40], ["soon"], ["\xb2"], [""],
        ["0x10"], ["1", "3600"], ["Wed, 99 Foo 2026 00:00:00 GMT"],
        ["Fri, 31 Dec 9999 23:59:59 GMT"], ["31536000000"],
    ],
)  # fmt: skip
async def test_a_meaningless_retry_after_is_ignored(values: list[str]) -> None:
    once = RetryPolicy(max_attempts=1)
    async with (
        ByteServer(throttled(*values)) as server,
        client(server.url, retry=once) as diga,
    ):
        with on_time(0.0), pytest.raises(RateLimitError) as caught:
            await diga.phones.get(PHONE_ID)

        assert caught.value.retry_after is None


async def test_without_a_retry_after_the_client_backs_off_by_itself() -> None:
    soon = RetryPolicy(throttle_delay=0.1)
    async with (
        ByteServer(throttled("nan"), answers) as server,
        client(server.url, retry=soon) as diga,
    ):
        await diga.phones.get(PHONE_ID)

        assert server.attempts == 2


@pytest.mark.parametrize("status", ["429 Slow", "503 Busy"])
async def test_a_retry_after_beyond_the_deadline_ends_immediately(status: str) -> None:
    move = throttled("3600", status=status)
    async with ByteServer(move) as server, client(server.url) as diga:
        with on_time(0.0), pytest.raises(APIStatusError) as caught:
            await diga.phones.get(PHONE_ID)

        assert caught.value.retry_after == 3600.0
        assert caught.value.status == int(status[:3])
        assert isinstance(caught.value, RateLimitError) == (status[:3] == "429")
        assert server.attempts == 1


async def test_a_retry_after_date_uses_the_servers_clock() -> None:
    """However wrong that is."""
    move = throttled(
        "Thu, 01 Jan 1970 01:00:00 GMT", Date="Thu, 01 Jan 1970 00:00:00 GMT"
    )
    async with ByteServer(move) as server, client(server.url) as diga:
        with on_time(0.0), pytest.raises(RateLimitError) as caught:
            await diga.phones.get(PHONE_ID)

        assert caught.value.retry_after == 3600.0


async def test_a_429_delays_every_call() -> None:
    """Not only the lookup that got it."""
    async with (
        ByteServer(throttled("0.2"), answers) as server,
        client(server.url) as diga,
    ):
        first = asyncio.create_task(diga.phones.get(PHONE_ID))
        with on_time(0.2):
            await until(lambda: diga.stats.throttled)
            await asyncio.gather(first, diga.phones.get(OTHER_ID))

        assert server.attempts == 3


# --- deadlines


@pytest.mark.parametrize(
    "move",
    [
        hangs(),
        drips(HEAD, b"X-Slow: yes\r\n", 0.03),
        drips(answer(length=5000), b" "),
        drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["no answer", "headers", "body", "continue"],
)
async def test_the_total_ends_an_attempt(move: Move) -> None:
    async with ByteServer(move) as server, client(server.url) as diga:
        with on_time(0.15), pytest.raises(APITimeoutError) as caught:
            await diga.phones.get(PHONE_ID, timeouts=Timeouts(0.15, attempt=10.0))

        assert (caught.value.phase, caught.value.attempts) == ("read", 1)


async def test_the_total_ends_the_wait_for_a_slot() -> None:
    narrow = Limits(concurrency=1, adaptive=False)
    async with ByteServer(hangs()) as server, client(server.url, limits=narrow) as diga:
        limits = Timeouts(5.0, attempt=5.0)
        ahead = asyncio.ensure_future(diga.phones.get(OTHER_ID, timeouts=limits))
        await server.arrived.wait()
        with on_time(0.1), pytest.raises(APITimeoutError) as caught:
            await diga.phones.get(PHONE_ID, timeouts=0.1)

        assert (caught.value.phase, caught.value.attempts) == ("wait", 0)
        assert server.attempts == 1
        ahead.cancel()
        await asyncio.wait([ahead])


async def test_a_pause_beyond_the_deadline_is_not_started() -> None:
    """The last error comes immediately."""
    bulk = RetryPolicy(max_attempts=9, base_delay=1e9, max_delay=1e9)
    async with (
        ByteServer(resets()) as server,
        client(server.url, retry=bulk) as diga,
    ):
        with on_time(0.0), pytest.raises(APIConnectionError) as caught:
            await diga.phones.get(PHONE_ID, timeouts=3.0)

        assert (type(caught.value), server.attempts) == (APIConnectionError, 1)


# --- what is never sent


NO_IDS = {
    "empty": "",
    "dots": "..",
    "urn": f"urn:uuid:{PHONE_ID}",
    "braces": f"{{{PHONE_ID}}}",
    "plus": "+" + PHONE_ID[1:],
    "0x": "0x" + PHONE_ID[2:],
    "full width": PHONE_ID.replace("3", "\uff13"),
    "no dashes": PHONE_ID.replace("-", ""),
    "line feed": PHONE_ID + "\n",
    "None": None,
    "int": 3,
    "bytes": PHONE_ID.encode(),
    "1 MB": "x" * 1_000_000,
}


@pytest.mark.parametrize("given", NO_IDS.values(), ids=NO_IDS.keys())
async def test_a_wrong_id_reaches_no_socket(given: Any) -> None:
    async with ByteServer(answers) as server, client(server.url) as diga:
        with pytest.raises(InvalidPhoneIdError) as caught:
            await diga.phones.get(given)
        batch = await diga.phones.get_many([given])

        assert caught.value.phone_id is None
        assert [type(e) for e in batch.failures.values()] == [InvalidPhoneIdError]
        assert server.wires == []


NO_CLIENTS: dict[str, dict[str, Any]] = {
    "empty key": {"api_key": ""},
    "CR LF": {"api_key": "sk-1\r\nX: y"},
    "line feed at the end": {"api_key": "sk-1\n"},
    "NUL": {"api_key": "sk-\0"},
    "blank": {"api_key": "sk 1"},
    "not ASCII": {"api_key": "sk-\xe9"},
    "bytes": {"api_key": b"sk-1"},
    "credentials": {"base_url": "https://user:secret@api.diga.io"},
    "query": {"base_url": "https://api.diga.io?key=secret"},
    "fragment": {"base_url": "https://api.diga.io#secret"},
    "plain http": {"base_url": "http://api.diga.io"},
    "plain http to a lookalike": {"base_url": "http://127.0.0.1.api.diga.io"},
    "another scheme": {"base_url": "ftp://api.diga.io"},
    "no host": {"base_url": "https://"},
    "no port": {"base_url": "https://api.diga.io:99999"},
    "dots": {"base_url": "https://api.diga.io/../x"},
}


@pytest.mark.parametrize("wrong", NO_CLIENTS.values(), ids=NO_CLIENTS.keys())
def test_a_wrong_key_or_address_makes_no_client(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        DigaClient(**{"api_key": KEY, **wrong})

    assert "secret" not in str(caught.value)
    assert "sk" not in str(caught.value)


async def test_steps_of_the_wall_clock_have_no_effect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ByteServer(answers) as server, client(server.url) as diga:
        monkeypatch.setattr(time, "time", lambda: 0.0)

        found = await diga.phones.get(PHONE_ID)

    assert isinstance(found, Phone)
