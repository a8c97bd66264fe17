"""The key goes to one origin, and nowhere else."""

import asyncio
import functools
import gc
import io
import logging
import pickle
import ssl
import traceback
import warnings
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any
from uuid import UUID

import aiohttp
import attrs
import pytest
from aiohttp.client_proto import ResponseHandler
from byte_server import (
    ByteServer,
    Move,
    Wire,
    answer,
    answers,
    client_tls,
    closes,
    hangs,
    phone,
    resets,
    says,
    server_tls,
    tunnels,
    until,
)
from fakes import KEY, PHONE_ID, phone_fields, quick_client

from diga_async import (
    APIConnectionError,
    APIStatusError,
    ConfigurationError,
    DigaClient,
    DigaError,
    InvalidResponseError,
    RetryPolicy,
)
from diga_async._api.addresses import endpoint_of
from diga_async._api.keys import check_key
from diga_async._api.phones import get_phone
from diga_async._transport.transport import Transport

OTHER_ID = "00000000-0000-4000-8000-000000000001"
ODD_KEY = "Zm9v.+/bar~baz=quux!fa17ed"
#: Long enough that nothing else has it, short enough to notice half of a key.
PART = 12
client = functools.partial(quick_client, attempts=2)


def assert_hidden(*texts: object, key: str = KEY) -> None:
    """Fail if the key, or enough of it, is in *texts*."""
    shown = " ".join(str(text) for text in texts)
    for start in range(len(key) - PART):
        assert key[start : start + PART] not in shown


def everything_of(error: BaseException) -> str:
    """Return the texts of every way of keeping or showing an error."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    kept = pickle.dumps(error) if isinstance(error, DigaError) else b""
    return f"{error!r} {error} {vars(error)} {kept!r} {''.join(report.format())}"


# --- crash reports


class Sent:
    """A request under way in its own task, through all of aiohttp's frames."""

    def __init__(self, url: str, **options: Any) -> None:
        given = {"connector": None, "trace_configs": (), "proxy": None, "ssl": None}
        self.transport = Transport(**{**given, **options})
        self.request = get_phone(UUID(PHONE_ID)).request(
            endpoint_of(url), check_key(KEY)
        )
        self.task = asyncio.ensure_future(self.send())

    async def send(self) -> Any:
        return await self.transport.send(self.request, seconds=5.0, connect=5.0)


@asynccontextmanager
async def in_connect() -> AsyncIterator[Sent]:
    """In the handshake, that is."""
    async with ByteServer(answers, first=hangs()) as server:
        sent = Sent(server.url.replace("http:", "https:"))
        await until(lambda: server.wires)
        yield sent


@asynccontextmanager
async def in_proxy() -> AsyncIterator[Sent]:
    async with ByteServer(hangs(), first=hangs()) as proxy:
        sent = Sent("https://api.invalid", proxy=proxy.url)
        await until(lambda: proxy.wires)
        yield sent


@asynccontextmanager
async def in_headers() -> AsyncIterator[Sent]:
    async with ByteServer(hangs()) as server:
        sent = Sent(server.url)
        await server.arrived.wait()
        yield sent


@asynccontextmanager
async def in_body() -> AsyncIterator[Sent]:
    async with ByteServer(hangs(phone()[:-5])) as server:
        sent = Sent(server.url)
        await server.arrived.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        yield sent


PHASES = [in_connect, in_proxy, in_headers, in_body]


@pytest.fixture(params=PHASES, ids=lambda phase: phase.__name__)
async def sent(request: pytest.FixtureRequest) -> AsyncIterator[Sent]:
    async with request.param() as sent:
        yield sent
        await sent.transport.close()


def frames_of(error: BaseException) -> Iterator[dict[str, Any]]:
    """Go through the locals of every frame an error came through."""
    chain: BaseException | None = error
    while chain is not None:
        for frame, _ in traceback.walk_tb(chain.__traceback__):
            yield frame.f_locals
        chain = chain.__cause__ or chain.__context__


async def test_a_cancellation_shows_no_frame_with_the_key(sent: Sent) -> None:
    sent.task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await sent.task

    assert len(list(frames_of(caught.value))) > 4
    assert_hidden(everything_of(caught.value))


async def test_the_objects_in_those_frames_show_no_key_either(sent: Sent) -> None:
    """Some reporters go one step into what they find."""
    sent.task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await sent.task

    for variables in frames_of(caught.value):
        for value in variables.values():
            assert_hidden(repr(value), repr(getattr(value, "__dict__", None)))


async def test_a_callers_timeout_shows_no_frame_with_the_key(sent: Sent) -> None:
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.01):
            await sent.send()

    assert_hidden(everything_of(caught.value))
    sent.task.cancel()
    await asyncio.wait([sent.task])


async def test_a_task_under_way_shows_no_key(sent: Sent) -> None:
    stack = io.StringIO()
    sent.task.print_stack(file=stack)

    assert_hidden(sent.task, stack.getvalue(), sent.request, attrs.asdict(sent.request))
    sent.task.cancel()
    await asyncio.wait([sent.task])


FAULTS: dict[str, Move] = {
    "lost": closes(),
    "reset": resets(),
    "no HTTP": says(b"what?\r\n\r\n"),
    "cut": closes(answer(b"{}", length=9)),
    "no phone": says(answer({})),
    "401": says(answer({"detail": "no"}, "401 Who?")),
    "404": says(answer({"detail": "no"}, "404 Where?")),
    "500": says(answer(b"", "500 No")),
    "redirect": says(answer(b"", "302 There", Location="https://diga.test/")),
}


@pytest.mark.parametrize("move", FAULTS.values(), ids=FAULTS.keys())
async def test_no_error_has_the_key_with_it(move: Move) -> None:
    async with ByteServer(move) as server, client(server.url) as diga:
        with pytest.raises(DigaError) as caught:
            await diga.phones.get(PHONE_ID)

        error = caught.value
        # The frames of the test itself know the key, of course.
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
        assert_hidden(everything_of(error))


@pytest.mark.parametrize(
    "made",
    [
        lambda: DigaClient(KEY + "\n"),
        lambda: DigaClient(KEY.encode()),  # type: ignore[arg-type]
        lambda: DigaClient(KEY, base_url="http://elsewhere"),
        lambda: DigaClient(KEY, timeouts=-1),
        lambda: DigaClient(KEY, proxy="socks5://x"),
    ],
    ids=["bad key", "bytes", "bad url", "bad timeouts", "bad proxy"],
)
def test_a_client_that_cannot_be_made_shows_no_key(
    made: Callable[[], DigaClient],
) -> None:
    """A key read from a file, its line feed included, is a common mistake."""
    with pytest.raises(ConfigurationError) as caught:
        made()

    assert_hidden(everything_of(caught.value))


def test_a_bad_key_of_the_environment_shows_no_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DIGA_API_KEY", KEY + " ")
    with pytest.raises(ConfigurationError) as caught:
        DigaClient()

    assert_hidden(everything_of(caught.value))


async def asynchronous(key: Any) -> Any:
    return key


@pytest.mark.parametrize("key", [KEY + "\n", KEY.encode()], ids=["bad", "bytes"])
@pytest.mark.parametrize("later", [False, True], ids=["plain", "async"])
async def test_a_callable_with_a_bad_key_shows_no_key(
    key: Any,
    later: bool,  # noqa: FBT001
) -> None:
    source = functools.partial(asynchronous, key) if later else lambda: key
    async with client("http://127.0.0.1:9", source) as diga:
        with pytest.raises(ConfigurationError) as caught:
            await diga.phones.get(PHONE_ID)

    for variables in frames_of(caught.value):
        if "caught" not in variables:  # the frames but this one
            assert_hidden(variables)
    assert_hidden(repr(caught.value))


# --- reachable objects


def reached(thing: Any, seen: dict[int, Any], depth: int = 0) -> Iterator[Any]:
    """Visit every object that attributes, slots and items lead to."""
    opaque = (type, ModuleType, FunctionType, asyncio.AbstractEventLoop, ssl.SSLContext)
    if id(thing) in seen or isinstance(thing, opaque) or depth > 12:
        return
    seen[id(thing)] = thing
    yield thing
    inner: list[Any] = []
    if isinstance(thing, dict):
        inner += [*thing.keys(), *thing.values()]
    elif isinstance(thing, list | tuple | set | frozenset | deque):
        inner += thing
    inner += getattr(thing, "__dict__", {}).values()
    inner.append(getattr(thing, "__self__", None))
    for kind in type(thing).__mro__:
        slots = getattr(kind, "__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            inner.append(getattr(thing, name, None))
    for one in inner:
        yield from reached(one, seen, depth + 1)


async def test_no_attribute_of_a_client_leads_to_the_key() -> None:
    async with ByteServer(answers) as server, client(server.url) as diga:
        await diga.phones.get(PHONE_ID)
        await diga.phones.get_many([PHONE_ID, OTHER_ID])
        found = list(reached(diga, {}))

        assert ResponseHandler in map(type, found)  # that is deep inside aiohttp
        for thing in found:
            assert_hidden(repr(thing))
            if isinstance(thing, str | bytes | bytearray):
                assert_hidden(str(thing))


async def test_no_attribute_shows_the_key_of_a_lookup_under_way() -> None:
    async with ByteServer(hangs()) as server, client(server.url) as diga:
        lookup = asyncio.ensure_future(diga.phones.get(PHONE_ID))
        lookups = diga.phones.iter_many([OTHER_ID])
        asking = asyncio.ensure_future(anext(lookups))
        await until(lambda: server.attempts == 2)
        found = [*reached(diga, {}), *reached(lookups, {})]

        for thing in found:
            assert_hidden(repr(thing))
        assert_hidden(asyncio.all_tasks())
        for task in (lookup, asking):
            task.cancel()
        await asyncio.wait([lookup, asking])
        await lookups.aclose()


async def test_a_client_and_what_it_holds_cannot_be_pickled() -> None:
    async with client("http://127.0.0.1:9") as diga:
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
            pickle.dumps(diga)


async def test_tracing_shows_stars_where_headers_are_printed() -> None:
    """Code that requests the value itself gets it, as the docs say."""
    seen: list[str] = []

    async def note(session: Any, context: Any, params: Any) -> None:
        seen.append(repr(params))

    trace = aiohttp.TraceConfig()
    for signal in (trace.on_request_start, trace.on_request_headers_sent):
        signal.append(note)
    trace.on_request_end.append(note)
    trace.on_request_exception.append(note)
    async with (
        ByteServer(answers, closes()) as server,
        client(server.url, trace_configs=[trace]) as diga,
    ):
        await diga.phones.get(PHONE_ID)
        with pytest.raises(APIConnectionError):
            await diga.phones.get(PHONE_ID)

    assert len(seen) == 9
    assert_hidden(*seen)


# --- logs


async def test_nothing_is_logged_or_warned_of_with_the_key(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At DEBUG, with asyncio's own debugging on, whatever happens."""
    asyncio.get_running_loop().set_debug(True)
    asyncio.get_running_loop().slow_callback_duration = 0.0
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="asyncio")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async with ByteServer(*FAULTS.values(), answers) as server:
            diga = client(server.url)
            for _ in FAULTS:
                await asyncio.gather(diga.phones.get(PHONE_ID), return_exceptions=True)
            await diga.phones.get(PHONE_ID)
            del diga
            gc.collect()
            await until(lambda: all(wire.is_left for wire in server.wires))

    assert caplog.records
    assert caught
    for record in caplog.records:
        assert_hidden(record.getMessage(), record.args, record.exc_info)
    assert_hidden(*(warning.message for warning in caught))
    caplog.clear()  # slow callbacks: asyncio was asked to tell


PERSONAL: dict[str, Any] = {
    "number": "+34999888777",
    "nickname": "Mrs. Nobody",
    "checkout_url": "https://pay.diga.test/live-link",
    "sip_config": {
        "termination_uri": "sip.nobody.test",
        "username": "nobodys-name",
        "allowed_addresses": ["192.0.2.77"],
    },
}
PRIVATE = ("live-link", "sip.nobody.test", "nobodys-name", "192.0.2.77")


async def test_a_phones_data_are_in_no_log_and_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At DEBUG, in warnings, and in the error of a rejected record."""
    asyncio.get_running_loop().set_debug(True)
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="asyncio")
    broken: list[dict[str, Any]] = [{name: [PERSONAL[name]]} for name in PERSONAL]
    broken += [{"status": None}, {"released_at": "+34999888777"}, {"region_codes": 1}]
    moves = [says(phone(**PERSONAL | changes)) for changes in broken]
    moves += [closes(phone(**PERSONAL)[:-9]), says(answer(PERSONAL, "500 No"))]
    said: list[object] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async with ByteServer(*moves, says(phone(**PERSONAL))) as server:
            diga = client(server.url, retry=RetryPolicy(max_attempts=1))
            for _ in moves:
                asking = diga.phones.get(PHONE_ID)
                (error,) = await asyncio.gather(asking, return_exceptions=True)
                said.append(everything_of(error.with_traceback(None)))
            batch = await diga.phones.get_many([PHONE_ID])
            del diga, asking
            gc.collect()
            await until(lambda: all(wire.is_left for wire in server.wires))

    assert len(said) == len(moves)
    logged = [f"{r.getMessage()} {r.args} {r.exc_info}" for r in caplog.records]
    shown = " ".join(map(str, [*logged, *caught, *said]))
    assert [value for value in ("+34999888777", *PRIVATE) if value in shown] == []
    assert "Mrs. Nobody" not in shown
    assert [value for value in PRIVATE if value in f"{batch!r} {batch}"] == []
    caplog.clear()  # slow callbacks: asyncio was asked to tell


# --- echoes of a server


def echo(key: str) -> dict[str, bytes]:
    """Answer in every way that quotes the request."""
    long = "https://diga.test/" + "x" * 1930
    loc = ["header", f"Bearer {key}"]
    return {
        "detail": answer({"detail": f"no such key: {key}"}, "401 Who"),
        "message": answer({"message": key, "error_code": key}, "403 No"),
        "twice": answer({"message": f"{key}{key} {key}"}, "400 No"),
        "cut": answer({"message": f"{long} {key}"}, "400 No"),
        "cut later": answer({"message": f"{'é' * 60}{key}"}, "400 No"),
        "far": answer({"message": f"{'x' * 99}{key}"}, "400 No"),
        "details": answer(
            {"detail": [{"loc": [key, *loc], "msg": f"bad {key}", "type": key}]},
            "422 No",
        ),
        "a long place": answer(
            {"detail": [{"loc": [f"{'x' * 90}{key}"], "msg": "", "type": ""}]}, "422 No"
        ),
        "request id": answer({}, "500 No", X_Request_Id=f"r-{key}"),
        "a long request id": answer({}, "500 No", X_Request_Id=f"{'r' * 90}{key}"),
        "reason": answer({}, f"500 {key}"),
        "headers": answer({}, "302 There", Location=f"/{key}", Retry_After=key),
        "not JSON": answer(f"<html>{key}</html>".encode(), "502 Bad"),
        "no HTTP": f"{key}\r\n\r\n".encode(),
        "a bad header": f"HTTP/1.1 200 OK\r\n{key}\r\n\r\n".encode(),
        "a value": phone(number=None, nickname=key),
        "a name": phone(**{key: "\ud800"}),
        "a name inside": phone(extra={"headers": {f"Bearer {key}": "\ud800"}}),
        "a name far inside": phone(**{"x" * 55: {"y" * 30: {key: "\ud800"}}}),
        "a name to be cut": phone(a={"b" * 20: {key: {"c": [[["\ud800"]]]}}}),
        "a name of a name": phone(**{f"{'x' * 20}{key}{'x' * 40}": {"\ud800": 1}}),
        "names in text": answer(b'{"id": 1, "' + key.encode() + b'": "\\ud800"}'),
    }


@pytest.mark.parametrize("how", echo(KEY))
async def test_server_text_does_not_repeat_the_key(how: str) -> None:
    for key in (KEY, ODD_KEY, "abcdefghijklmnopqrst"):
        async with (
            ByteServer(says(echo(key)[how])) as server,
            client(server.url, key) as diga,
        ):
            with pytest.raises(DigaError) as caught:
                await diga.phones.get(PHONE_ID)

        error = caught.value
        assert_hidden(error, repr(error), vars(error), pickle.dumps(error), key=key)


@pytest.mark.parametrize(
    "text",
    [
        "call +34 911 234 567",
        "see https://pay.diga.test/x",
        "sip:user@host",
        "sk-0123456789",
    ],
)
async def test_server_text_does_not_repeat_personal_data(text: str) -> None:
    move = says(answer({"message": f"no: {text}"}, "400 No"))
    async with ByteServer(move) as server, client(server.url) as diga:
        with pytest.raises(APIStatusError) as caught:
            await diga.phones.get(PHONE_ID)

    assert caught.value.message is not None
    assert caught.value.message.endswith("***")
    assert text.rsplit(maxsplit=1)[-1] not in str(caught.value)


async def test_a_problem_never_shows_the_value() -> None:
    secret = "https://checkout.test/" + "c" * 30
    move = says(answer({**phone_fields(), "checkout_url": [secret], "number": 1}))
    async with ByteServer(move) as server, client(server.url) as diga:
        with pytest.raises(InvalidResponseError) as caught:
            await diga.phones.get(PHONE_ID)

    assert len(caught.value.problems) == 2
    assert "checkout.test" not in f"{caught.value!r} {vars(caught.value)}"


# --- one origin


async def test_a_cookie_is_neither_kept_nor_sent() -> None:
    move = says(answer(phone_fields(), Set_Cookie="who=you; Path=/; Domain=127.0.0.1"))
    jar = aiohttp.CookieJar(unsafe=True)
    async with ByteServer(move) as server:
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            lent: dict[str, Any] = {"session": session}
            for options in ({}, lent):
                async with client(server.url, **options) as diga:
                    await diga.phones.get(PHONE_ID)
                    await diga.phones.get(PHONE_ID)

        assert len(jar) == 0
        assert server.attempts == 4
        assert b"cookie" not in b"".join(server.heads).lower()


async def test_a_netrc_has_no_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With aiohttp's `trust_env` any entry makes every request a `ValueError`."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\ndefault login x")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with ByteServer(answers) as server:
        async with client(server.url, trust_env=True) as diga:
            await diga.phones.get(PHONE_ID)

        assert server.heads[0].count(b"Authorization") == 1
        assert KEY.encode() in server.heads[0]


PROXY_VARIABLES = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_proxy_variables_have_no_effect_unless_asked(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    tls = server_tls() if scheme == "https" else None
    async with ByteServer(answers, tls=tls) as server, ByteServer(answers) as proxy:
        for name in PROXY_VARIABLES:
            monkeypatch.setenv(name, proxy.url)
        async with client(server.url, ssl=client_tls()) as diga:
            await diga.phones.get(PHONE_ID)

        assert (server.attempts, proxy.wires) == (1, [])


async def test_a_proxy_of_the_environment_is_not_used_for_plain_http(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would see the key."""
    async with ByteServer(answers) as server, ByteServer(answers) as proxy:
        for name in PROXY_VARIABLES:
            monkeypatch.setenv(name, proxy.url)
        async with client(server.url, trust_env=True) as diga:
            await diga.phones.get(PHONE_ID)

        assert (server.attempts, proxy.wires) == (1, [])


# --- a proxy


class Proxied:
    """A server behind a proxy that records every byte sent in clear."""

    def __init__(self, server: ByteServer, proxy: ByteServer) -> None:
        self.server = server
        self.proxy = proxy

    @property
    def told(self) -> bytes:
        return b"".join(head for wire in self.proxy.wires for head in wire.requests)


@asynccontextmanager
async def proxied(
    *script: Move, tls: ssl.SSLContext | None = None, proxy_tls: Any = None
) -> AsyncIterator[Proxied]:
    async with ByteServer(*script or (answers,), tls=tls or server_tls()) as server:

        async def connects(wire: Wire) -> None:
            head = await wire.request()
            if head is None:
                return
            assert head.startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % server.port)
            await wire.send(b"HTTP/1.1 200 Connected\r\n\r\n")
            await tunnels(server.port)(wire)

        async with ByteServer(answers, first=connects, tls=proxy_tls) as proxy:
            yield Proxied(server, proxy)


@pytest.mark.filterwarnings("ignore:An HTTPS request is being sent:RuntimeWarning")
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_gets_the_address_and_nothing_else(scheme: str) -> None:
    proxy_tls = server_tls() if scheme == "https" else None
    async with proxied(proxy_tls=proxy_tls) as at:
        url = at.proxy.url
        async with client(at.server.url, proxy=url, ssl=client_tls()) as diga:
            await diga.phones.get(PHONE_ID)
            await diga.phones.get(OTHER_ID)

        (head,) = at.proxy.wires[0].requests
        names = {line.split(b":")[0] for line in head.split(b"\r\n")[1:] if line}
        assert names == {b"Host", b"Accept", b"Accept-Encoding", b"User-Agent"}
        assert_hidden(at.told)
        assert at.server.asked == [0, 0]
        assert KEY.encode() in at.server.heads[0]


async def test_a_proxys_own_password_goes_to_the_proxy_alone() -> None:
    async with proxied() as at:
        url = at.proxy.url.replace("//", "//user:word@")
        async with client(at.server.url, proxy=url, ssl=client_tls()) as diga:
            await diga.phones.get(PHONE_ID)
            assert_hidden(repr(diga), vars(diga), key="user:word@127")

        assert b"Proxy-Authorization: Basic dXNlcjp3b3Jk\r\n" in at.told
        assert b"Bearer" not in at.told
        assert b"Proxy-" not in at.server.heads[0]


async def test_a_proxy_of_the_environment_gets_no_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with proxied() as at:
        monkeypatch.setenv("https_proxy", at.proxy.url)
        async with client(at.server.url, trust_env=True, ssl=client_tls()) as diga:
            await diga.phones.get(PHONE_ID)

        assert len(at.proxy.wires) == 1
        assert_hidden(at.told)


async def test_no_proxy_leaves_the_proxy_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxied() as at:
        monkeypatch.setenv("https_proxy", at.proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with client(at.server.url, trust_env=True, ssl=client_tls()) as diga:
            await diga.phones.get(PHONE_ID)

        assert at.proxy.wires == []


async def test_a_proxy_cannot_pose_as_the_server() -> None:
    """No byte of a request is sent through, and nothing is retried."""
    async with proxied(tls=server_tls("api.other.test")) as at:
        url = at.proxy.url
        async with client(at.server.url, proxy=url, ssl=client_tls()) as diga:
            with pytest.raises(APIConnectionError) as caught:
                await diga.phones.get(PHONE_ID)

        assert (caught.value.phase, caught.value.attempts) == ("tls", 1)
        assert at.server.heads == []
        assert_hidden(at.told)


@pytest.mark.parametrize(
    "first",
    [
        closes(b"HTTP/1.1 407 Pay\r\nContent-Length: 0\r\n\r\n"),
        closes(b"HTTP/1.1 502 Bad\r\n\r\n"),
        closes(b"HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:9/\r\n\r\n"),
        closes(b"what?\r\n\r\n"),
        closes(),
        resets(),
    ],
    ids=["407", "502", "302", "garbage", "close", "reset"],
)
async def test_a_proxy_that_does_not_connect_is_a_connection_error(first: Move) -> None:
    async def refuses(wire: Wire) -> None:
        await wire.request()
        await first(wire)

    async with ByteServer(answers, first=refuses) as proxy:
        async with client("https://api.invalid", proxy=proxy.url) as diga:
            with pytest.raises(APIConnectionError) as caught:
                await diga.phones.get(PHONE_ID)

        attempts = 2 if caught.value.transient else 1
        assert (caught.value.phase, caught.value.attempts) == ("connect", attempts)
        assert len(proxy.wires) == attempts
        assert f"through 127.0.0.1:{proxy.port}" in str(caught.value)
        told = [head for wire in proxy.wires for head in wire.requests]
        assert_hidden(told, everything_of(caught.value).replace(KEY, "", 2))
