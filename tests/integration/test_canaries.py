"""
Traps of the libraries that we use, each shown on the bare library.

A canary fails when its trap is fixed upstream. Its docstring names the module with the
workaround: check whether that can go, and remove the canary with it.
The canary of aioresponses is in `test_aioresponses`.
"""

import asyncio
import copy
import gzip
import json
import math
import pickle
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import attrs
import cattrs
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.http_parser import HttpResponseParserPy
from aiohttp.test_utils import TestClient, TestServer
from byte_server import (
    ByteServer,
    answer,
    answers,
    client_tls,
    closes,
    drips,
    hangs,
    phone,
    resets,
    says,
    server_tls,
    tunnels,
    until,
)
from cattrs.errors import ClassValidationError
from fakes import KEY, PHONE_ID, phone_fields
from installed import AIOHTTP
from yarl import URL

from diga_async._api.messages import Secret
from diga_async._transport import self_check

OTHER_ID = "00000000-0000-4000-8000-000000000001"
PATH = f"/v1/phone/{PHONE_ID}"


of_today = pytest.mark.skipif(
    AIOHTTP < (3, 13, 4), reason="this aiohttp has another bug in its place"
)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Make a plain session, without any of our workarounds."""
    async with aiohttp.ClientSession() as session:
        yield session


# --- aiohttp: answers to other requests


def idle_of(session: aiohttp.ClientSession) -> Any:
    """Return the protocol of the one connection that waits in the pool."""
    assert session.connector is not None
    ((idle, *_),) = session.connector._conns.values()
    return idle[0]


async def test_aiohttp_answers_with_bytes_that_came_before_the_request(
    session: aiohttp.ClientSession,
) -> None:
    """`connections`: `_is_clean` (upstream #13656)."""
    async with ByteServer(answers) as server:
        async with session.get(server.url + PATH) as response:
            await response.read()
        await server.wires[0].send(phone(PHONE_ID))
        await until(lambda: idle_of(session).should_close)
        async with session.get(f"{server.url}/v1/phone/{OTHER_ID}") as response:
            assert (await response.json())["id"] == PHONE_ID


async def test_aiohttp_keeps_such_a_connection_when_the_response_is_closed(
    session: aiohttp.ClientSession,
) -> None:
    """`connections`: `_is_clean` checks the connection, not its response."""
    async with ByteServer(answers) as server:
        response = await session.get(server.url + PATH)
        await response.read()
        await server.wires[0].send(phone())
        await until(lambda: idle_of(session).should_close)
        response.close()

        assert idle_of(session).should_close


async def test_aiohttp_has_the_attributes_that_the_guard_reads(
    session: aiohttp.ClientSession,
) -> None:
    """`connections`: `_is_clean`, with `is_readable`, knows these internals."""
    async with ByteServer(answers) as server:
        assert aiohttp.client_proto.ResponseHandler(session._loop)._parser is None
        async with session.get(server.url + PATH) as response:
            await response.read()

        assert idle_of(session)._parser is not None
        assert idle_of(session).should_close is False
        assert idle_of(session).transport.get_extra_info("socket").fileno() > 0


@of_today
async def test_aiohttps_parser_in_python_takes_the_first_of_two_lengths() -> None:
    """`reader`: it counts them."""
    loop = asyncio.get_running_loop()
    protocol = aiohttp.client_proto.ResponseHandler(loop)
    parser = HttpResponseParserPy(protocol, loop, 2**16, read_until_eof=True)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"

    ((_, body),), _, _ = parser.feed_data(head + b"ab")

    assert await body.read() == b"a"


# --- aiohttp: what it does unasked


async def test_with_this_aiohttp_requests_go_past_its_session() -> None:
    """`self_check`: otherwise every lookup costs 2.7 times as much."""
    assert self_check._difference() is None
    assert not self_check._replaced(self_check.methods())


@pytest.mark.parametrize("move", [closes(), resets()], ids=["close", "reset"])
async def test_aiohttp_sends_a_request_again(
    session: aiohttp.ClientSession, move: Any
) -> None:
    """`connections`: `_Guard` hands out one connection a request."""
    async with ByteServer(move) as server:
        with pytest.raises(aiohttp.ClientError):
            await session.get(server.url + PATH)

        assert server.attempts == 2


async def test_aiohttps_test_client_does_not() -> None:
    """`byte_server`: therefore tests use a default session."""
    seen: list[str] = []

    async def hangs_up(request: web.Request) -> web.Response:
        seen.append(request.path)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    app = web.Application()
    app.router.add_get("/", hangs_up)
    async with TestClient(TestServer(app)) as client:
        with pytest.raises(aiohttp.ClientError):
            await client.get("/")

    assert seen == ["/"]


@asynccontextmanager
async def crowded() -> AsyncIterator[tuple[aiohttp.ClientSession, ByteServer]]:
    """A pool of one connection, which is in use."""
    connector = aiohttp.TCPConnector(limit=1)
    async with (
        ByteServer(hangs(), answers) as server,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        ahead = asyncio.ensure_future(session.get(f"{server.url}/v1/phone/{OTHER_ID}"))
        await server.arrived.wait()
        yield session, server
        ahead.cancel()
        await asyncio.wait([ahead])


async def test_aiohttp_cancels_requests_that_wait_in_a_closed_pool() -> None:
    """`connections`: `_Guard.connect` tells that from a cancellation."""
    async with crowded() as (session, server):
        waiting = asyncio.ensure_future(session.get(server.url))
        for _ in range(5):
            await asyncio.sleep(0)
        await session.close()

        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_aiohttp_counts_the_wait_in_its_pool_against_the_total() -> None:
    """`scheduler` queues before the pool, which has no limit."""
    async with crowded() as (session, server):
        brief = aiohttp.ClientTimeout(total=0.02)
        with pytest.raises(TimeoutError):
            await session.get(server.url, timeout=brief)

        assert server.attempts == 1


async def test_aiohttp_leaves_a_body_hanging_when_its_session_is_closed(
    session: aiohttp.ClientSession,
) -> None:
    """`Runtime.close` ends our own work before the pool."""
    async with ByteServer(hangs(phone()[:-9])) as server:
        response = await session.get(server.url + PATH)
        reading = asyncio.ensure_future(response.read())
        await asyncio.sleep(0)
        await session.close()
        done, _ = await asyncio.wait([reading], timeout=0.05)

        assert done == set()
        reading.cancel()
        await asyncio.wait([reading])
        response.close()


async def test_aiohttp_tells_a_proxy_the_authorization_of_a_session() -> None:
    """`Operation.request` puts the key on each request."""
    tls = server_tls()
    async with ByteServer(answers, tls=tls) as server:

        async def connects(wire: Any) -> None:
            await wire.request()
            await wire.send(b"HTTP/1.1 200 Connected\r\n\r\n")
            await tunnels(server.port)(wire)

        async with ByteServer(answers, first=connects) as proxy:
            headers = {"Authorization": "Bearer of-the-session"}
            async with aiohttp.ClientSession(headers=headers) as session:
                options = {"proxy": proxy.url, "ssl": client_tls()}
                async with session.get(server.url + PATH, **options) as response:
                    await response.read()

            (head,) = proxy.wires[0].requests
            assert b"Proxy-Authorization: Bearer of-the-session" in head


async def test_aiohttp_sends_a_key_of_a_middleware_to_another_host() -> None:
    """`transport` follows no redirect, and `protocol` uses no middleware."""

    async def signs(request: Any, handler: Any) -> Any:
        request.headers["Authorization"] = "Bearer sk-1"
        return await handler(request)

    async with ByteServer(answers) as other:
        there = says(answer(b"", "302 There", Location=other.url + PATH))
        async with (
            ByteServer(there) as server,
            aiohttp.ClientSession(middlewares=[signs]) as session,
            session.get(server.url.replace("127.0.0.1", "localhost") + PATH),
        ):
            assert b"Bearer sk-1" in other.heads[0]


@of_today
async def test_aiohttp_cannot_use_a_netrc_beside_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`transport.environment_proxy` reads the proxy, and nothing reads netrc."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password mine")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    headers = {"Authorization": "Bearer sk-1"}
    async with (
        ByteServer(answers) as server,
        aiohttp.ClientSession(trust_env=True) as session,
    ):
        with pytest.raises(ValueError, match="AUTHORIZATION"):
            await session.get(server.url + PATH, headers=headers)


# --- aiohttp: misleading errors


async def test_aiohttp_reports_malformed_http_as_400_and_keeps_the_key(
    session: aiohttp.ClientSession,
) -> None:
    """`failures` makes an error of it that has neither status nor request."""
    headers = {"Authorization": f"Bearer {KEY}"}
    async with ByteServer(says(b"what?\r\n\r\n")) as server:
        with pytest.raises(aiohttp.ClientResponseError) as caught:
            await session.get(server.url + PATH, headers=headers)

    assert caught.value.status == 400
    assert KEY in repr(caught.value)
    with pytest.raises(TypeError):
        pickle.dumps(caught.value)


async def test_aiohttps_timeouts_are_of_three_families(
    session: aiohttp.ClientSession,
) -> None:
    """`failures.failure_of` checks for `TimeoutError` alone, and first."""
    kinds = []
    async with ByteServer(hangs()) as server:
        for limit in ("total", "sock_read"):
            limits = aiohttp.ClientTimeout(**{limit: 0.01})
            with pytest.raises(TimeoutError) as caught:
                await session.get(server.url + PATH, timeout=limits)
            kinds.append(isinstance(caught.value, aiohttp.ClientError))

    assert kinds == [False, True]
    assert isinstance(caught.value, OSError)


async def test_aiohttp_raises_runtime_error_for_a_closed_session(
    session: aiohttp.ClientSession,
) -> None:
    """`failures.ERRORS` includes it."""
    await session.close()

    with pytest.raises(RuntimeError, match="closed"):
        await session.get("http://127.0.0.1:9")


class Nowhere(AbstractResolver):
    async def resolve(
        self, host: str, port: int = 0, family: Any = socket.AF_INET
    ) -> list[ResolveResult]:
        return []

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("cached", "error"), [(True, RuntimeError), (False, AssertionError)]
)
async def test_aiohttp_fails_on_a_name_without_addresses(
    cached: bool,  # noqa: FBT001
    error: type[Exception],
) -> None:
    """`failures._is_lookup` recognises it."""
    connector = aiohttp.TCPConnector(resolver=Nowhere(), use_dns_cache=cached)
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(error):
            await session.get("http://diga.test")


async def test_aiohttp_keeps_the_very_object_it_is_given() -> None:
    """`messages.Secret` relies on it, or its frames would show the key."""
    request = aiohttp.ClientRequest(
        "GET",
        URL("http://127.0.0.1"),
        headers={"Authorization": Secret("Bearer sk-1")},
        loop=asyncio.get_running_loop(),
    )

    assert type(request.headers["Authorization"]) is Secret
    assert "sk-1" not in repr(request.headers)


# --- aiohttp: bodies


async def body_of(session: aiohttp.ClientSession, move: Any) -> bytes:
    async with ByteServer(move) as server, session.get(server.url + PATH) as response:
        assert response.status == 200
        return await response.read()


async def test_aiohttp_accepts_part_of_a_body(
    session: aiohttp.ClientSession,
) -> None:
    """`decoding.read_json` calls it undecodable, and `retry` retries it."""
    cut = closes(answer(b'{"id": "3c90c3', Content_Length=""))

    assert await body_of(session, cut) == b'{"id": "3c90c3'


async def test_aiohttp_accepts_part_of_a_gzip(
    session: aiohttp.ClientSession,
) -> None:
    """`decoding.inflate` checks for its end."""
    text = json.dumps(phone_fields()).encode()
    cut = answer(gzip.compress(text)[:-12], Content_Encoding="gzip")

    assert text.startswith(await body_of(session, says(cut)))


async def test_aiohttp_decompresses_without_a_bound(
    session: aiohttp.ClientSession,
) -> None:
    """`connections.Pool` switches it off; `decoding.inflate` has a bound."""
    bomb = answer(gzip.compress(bytes(4 << 20)), Content_Encoding="gzip")

    assert len(await body_of(session, says(bomb))) == 4 << 20


@pytest.mark.parametrize(
    ("move", "error"),
    [
        (says(answer(b"\xef\xbb\xbf{}")), json.JSONDecodeError),
        (says(answer(b"[" * 100_000)), RecursionError),
    ],
    ids=["BOM", "deep"],
)
async def test_aiohttps_json_fails_on_valid_bodies(
    session: aiohttp.ClientSession, move: Any, error: type[Exception]
) -> None:
    """`decoding.read_json` reads bytes, and catches the errors of that."""
    async with ByteServer(move) as server, session.get(server.url + PATH) as response:
        with pytest.raises(error):
            await response.json(content_type=None)


async def test_aiohttps_json_of_nothing_is_none(
    session: aiohttp.ClientSession,
) -> None:
    """`decoding.read_json` says that the body is empty."""
    empty = says(answer())
    async with ByteServer(empty) as server, session.get(server.url + PATH) as response:
        assert await response.json(content_type=None) is None


# --- aiohttp: timeouts


async def test_aiohttps_sock_read_misses_a_drip(
    session: aiohttp.ClientSession,
) -> None:
    """`deadlines.Attempt` has one limit over all of it."""
    drip = drips(answer(length=5000), b" ", 0.01)
    async with ByteServer(drip) as server:
        limits = aiohttp.ClientTimeout(sock_read=0.05)
        reading = asyncio.ensure_future(session.get(server.url + PATH, timeout=limits))
        response = await reading
        body = asyncio.ensure_future(response.read())
        done, _ = await asyncio.wait([body], timeout=0.3)

        assert done == set()
        body.cancel()
        await asyncio.wait([body])
        response.close()


async def test_aiohttps_sock_connect_misses_a_name_that_hangs() -> None:
    """`transport`: `connect` counts it, and `Attempt` in a lent pool."""

    class Never(Nowhere):
        async def resolve(self, *_: Any, **__: Any) -> list[ResolveResult]:
            await asyncio.Event().wait()
            return []

    connector = aiohttp.TCPConnector(resolver=Never())
    limits = aiohttp.ClientTimeout(sock_connect=0.01)
    async with aiohttp.ClientSession(connector=connector) as session:
        asking = asyncio.ensure_future(session.get("http://diga.test", timeout=limits))
        done, _ = await asyncio.wait([asking], timeout=0.1)

        assert done == set()
        asking.cancel()
        await asyncio.wait([asking])


@contextmanager
def moments(loop: asyncio.AbstractEventLoop) -> Iterator[list[float]]:
    """Record the moments that timers are set to."""
    noted: list[float] = []
    original = loop.call_at

    def call_at(when: float, *arguments: Any, **options: Any) -> Any:
        noted.append(when)
        return original(when, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "call_at", call_at)
        yield noted


async def test_aiohttp_rounds_what_is_over_five_seconds(
    session: aiohttp.ClientSession,
) -> None:
    """`deadlines` sets timers of its own."""
    loop = asyncio.get_running_loop()
    limits = aiohttp.ClientTimeout(connect=55.25)
    async with ByteServer(answers) as server:
        with moments(loop) as noted:
            async with session.get(server.url + PATH, timeout=limits) as response:
                await response.read()

    assert [when for when in noted if 50 < when - loop.time() < 60 and when % 1 == 0]


# --- the standard library and yarl: ids


def test_yarl_walks_up_the_path() -> None:
    """`phones.phone_id_of` rejects dots."""
    assert str(URL("https://api.diga.io/v1/phone/..")) == "https://api.diga.io/v1/"


@pytest.mark.parametrize(
    "text",
    [
        f"urn:uuid:{PHONE_ID}",
        f"{{{PHONE_ID}}}",
        PHONE_ID.replace("3", "\uff13"),
        "+" + PHONE_ID[1:],
        "0x" + PHONE_ID[2:],
    ],
    ids=["urn", "braces", "full width", "plus", "0x"],
)
def test_uuid_reads_other_texts_as_uuids(text: str) -> None:
    """`decoding.UUID_TEXT` is matched first; the last two are *other* ids."""
    assert (UUID(text) == UUID(PHONE_ID)) == (text[0] not in "+0")


def test_json_reads_endless_digits_and_nan() -> None:
    """`decoding`: `parse_int` has a bound, and a number is not text."""
    with pytest.raises(ValueError, match="4300"):
        json.loads("9" * 5000)
    assert math.isnan(json.loads("NaN"))


# --- cattrs and attrs


def test_cattrs_coerces_wrong_types() -> None:
    """`decoding` has hooks for each type."""
    structure = cattrs.Converter().structure

    assert structure(None, str) == "None"
    assert structure("false", bool) is True
    assert structure(3.9, int) == 3
    assert structure("abc", list[str]) == ["a", "b", "c"]
    with pytest.raises(cattrs.StructureHandlerNotFoundError):
        structure(PHONE_ID, UUID)


class Colour(StrEnum):
    RED = "red"


def test_cattrs_takes_a_hook_for_str_for_every_enum_of_texts() -> None:
    """`decoding` registers a nearer class for `OpenStrEnum`."""
    converter = cattrs.Converter()
    converter.register_structure_hook(str, lambda value, _: f"hooked {value}")

    assert converter.structure("red", Colour) == "hooked red"


def test_cattrs_has_no_use_for_a_predicate_on_str() -> None:
    """`decoding` registers the class."""
    converter = cattrs.Converter()
    converter.register_structure_hook_func(lambda kind: kind is str, lambda *_: "x")

    assert converter.structure(1, str) == "1"


@attrs.frozen
class Numbered:
    number: int


def test_cattrs_keeps_the_value_in_the_traceback_of_its_complaint() -> None:
    """`decoding.structure` raises its own error outside the handler."""
    with pytest.raises(ClassValidationError) as caught:
        cattrs.Converter().structure({"number": "secret"}, Numbered)

    (inner,) = caught.value.exceptions
    assert isinstance(caught.value, ExceptionGroup)
    assert "secret" in str(inner)


@attrs.frozen
class Cold(Exception):  # noqa: N818 - an example of how not to
    reason: str


@attrs.frozen(slots=False)
class Late(TimeoutError):  # noqa: N818 - an example of how not to
    reason: str


@attrs.define(slots=False, eq=False, kw_only=True)
class Keyed(Exception):  # noqa: N818 - an example of how not to
    reason: str


def test_attrs_breaks_frozen_exceptions_over_a_builtin() -> None:
    """`errors` are defined, neither frozen nor slotted."""
    with pytest.raises(TypeError, match="lay-out conflict"):
        type("Both", (Cold, TimeoutError), {})
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        pickle.loads(pickle.dumps(Late("x")))


def test_attrs_makes_exceptions_of_keywords_that_cannot_be_copied() -> None:
    """`errors.DigaError.__reduce__` rebuilds them by name."""
    with pytest.raises(TypeError, match="positional"):
        copy.copy(Keyed(reason="why"))


# --- asyncio


async def test_asyncio_leaves_an_abandoned_generator_open() -> None:
    """`lookups.PhoneLookups` is a class with `aclose`, not a generator."""
    ended = asyncio.Event()

    async def numbers() -> AsyncIterator[int]:
        try:
            for number in range(3):
                yield number
        finally:
            ended.set()

    source = numbers()
    async for _ in source:
        break

    assert not ended.is_set()
    await source.aclose()


async def test_asyncio_ends_the_consumer_by_a_timeout_across_a_yield() -> None:
    """`run.Run` has its own tasks, and does not yield inside a block."""

    async def numbers() -> AsyncIterator[int]:
        async with asyncio.timeout(0.01):
            yield 1

    async for _ in (source := numbers()):
        with pytest.raises(asyncio.CancelledError):
            await asyncio.Event().wait()
        break
    await source.aclose()


async def test_an_exception_keeps_the_frames_it_went_through() -> None:
    """`engine` returns errors, and `outcomes.Failed` has none with a traceback."""
    big = [bytearray(1)]

    def fail(held: Any) -> None:
        raise ValueError

    with pytest.raises(ValueError) as caught:  # noqa: PT011
        fail(big)

    frame = caught.value.__traceback__.tb_next.tb_frame
    assert frame.f_locals["held"] is big


def test_asyncio_timers_keep_the_context_they_were_made_in() -> None:
    """`deadlines.Attempt.__exit__` drops its timer."""
    handle = asyncio.TimerHandle(1.0, print, (), asyncio.new_event_loop())

    assert handle._context is not None
    handle._loop.close()


# --- libraries of the tests


def test_pytest_asyncio_lets_a_task_that_is_left_pass(
    pytester: pytest.Pytester,
) -> None:
    """`conftest`: `nothing_left` looks for it."""
    pytester.makepyfile(
        """
        import asyncio

        async def test_leaves_a_task():
            asyncio.ensure_future(asyncio.sleep(99))
            await asyncio.sleep(0)
        """
    )
    options = ("asyncio_mode=auto", "asyncio_default_fixture_loop_scope=function")

    result = pytester.runpytest_inprocess(*(f"-o{o}" for o in options))

    result.assert_outcomes(passed=1)
