"""One request out, one response back, whatever aiohttp and the server make of it."""

import asyncio
import gc
import gzip
import json
import random
import select
import socket
import ssl
import time
import tracemalloc
import warnings
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import attrs
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from byte_server import (
    LATE,
    ByteServer,
    Move,
    Wire,
    answer,
    answers,
    at_once,
    client_tls,
    closes,
    drips,
    hangs,
    on_time,
    once_connected,
    phone,
    resets,
    says,
    server_tls,
    tunnels,
    until,
)
from fakes import KEY, PHONE_ID, phone_fields, quick_client as client
from hypothesis import HealthCheck, example, given, settings, strategies as st
from installed import bounds_heads

from diga_async import (
    APIConnectionError,
    APITimeoutError,
    ClientClosedError,
    DigaClient,
    DigaError,
    Failed,
    Found,
    InvalidResponseError,
    Limits,
    Missing,
    NotFoundError,
    Phone,
    RetryPolicy,
    Timeouts,
    WrongLoopError,
    __version__,
)
from diga_async._api.addresses import endpoint_of
from diga_async._api.keys import check_key
from diga_async._api.messages import Response
from diga_async._api.phones import get_phone
from diga_async._models.decoding import MAX_BODY_BYTES
from diga_async._transport.deadlines import Attempt, TimeLimits
from diga_async._transport.transport import Transport

OTHER_ID = "00000000-0000-4000-8000-000000000001"
ONCE = RetryPolicy(max_attempts=1)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def own_transport(**options: Any) -> Transport:
    given = {"connector": None, "trace_configs": (), "proxy": None, "ssl": None}
    return Transport(**{**given, **options})


@pytest.fixture(params=["own", "lent"])
async def make(
    request: pytest.FixtureRequest,
) -> AsyncIterator[Callable[..., DigaClient]]:
    """Make clients over a pool of their own, or over a lent one."""
    if request.param == "own":
        yield client
        return
    async with aiohttp.ClientSession() as session:
        yield lambda url, **options: client(url, session=session, **options)


Make = Callable[..., DigaClient]


# --- requests


async def test_a_request_is_exactly_these_bytes() -> None:
    async with ByteServer(answers) as server, client(server.url) as diga:
        await diga.phones.get(PHONE_ID)

        assert server.heads == [
            (
                f"GET /v1/phone/{PHONE_ID} HTTP/1.1\r\n"
                f"Host: 127.0.0.1:{server.port}\r\n"
                "Accept: application/json\r\n"
                "Accept-Encoding: identity\r\n"
                f"User-Agent: diga-async/{__version__}\r\n"
                f"Authorization: Bearer {KEY}\r\n\r\n"
            ).encode()
        ]


async def test_a_path_in_the_base_url_is_kept() -> None:
    async with ByteServer(says(phone())) as server:
        async with client(f"{server.url}/proxy/diga/") as diga:
            await diga.phones.get(PHONE_ID)

        start = f"GET /proxy/diga/v1/phone/{PHONE_ID} HTTP/1.1\r\n"
        assert server.heads[0].startswith(start.encode())


# --- aiohttp does not retry unasked


@pytest.mark.parametrize("move", [closes(), resets()], ids=["close", "reset"])
async def test_three_attempts_are_three_requests(make: Make, move: Move) -> None:
    async with ByteServer(move) as server, make(server.url) as diga:
        with pytest.raises(APIConnectionError) as caught:
            await diga.phones.get(PHONE_ID)

        assert (caught.value.attempts, server.attempts) == (3, 3)
        assert diga.stats.requests == 3


async def test_an_attempt_is_one_request_even_on_a_used_connection(make: Make) -> None:
    async with ByteServer(answers, closes()) as server:
        async with make(server.url, retry=ONCE) as diga:
            await diga.phones.get(PHONE_ID)
            with pytest.raises(APIConnectionError):
                await diga.phones.get(PHONE_ID)

        assert server.asked == [0, 0]


# --- answers are never mixed up


def missing(detail: str = "Not Found") -> bytes:
    return answer({"detail": detail}, "404 Not Found")


async def doubles(wire: Wire) -> None:
    """Send the answer twice together."""
    await wire.send(phone(wire.asked_for) * 2)


async def test_a_response_that_comes_twice_is_read_once(make: Make) -> None:
    async with ByteServer(doubles) as server, make(server.url, retry=ONCE) as diga:
        ids = [uuid4() for _ in range(8)]

        assert [(await diga.phones.get(i)).id for i in ids] == ids
        assert server.asked == list(range(8))


async def test_a_404_that_comes_twice_is_read_once(make: Make) -> None:
    """It has no id to compare: the connection is the only guard."""
    script = [says(missing() * 2), answers]
    async with ByteServer(*script) as server, make(server.url, retry=ONCE) as diga:
        with pytest.raises(NotFoundError):
            await diga.phones.get(PHONE_ID)

        assert str((await diga.phones.get(OTHER_ID)).id) == OTHER_ID


@pytest.mark.parametrize("turns", [0, 1, 5], ids="after {} turns".format)
@pytest.mark.parametrize("stray", [phone(), missing()], ids=["a phone", "a 404"])
async def test_a_stray_response_that_comes_later_answers_no_request(
    make: Make, stray: bytes, turns: int
) -> None:
    """Even bytes that the system holds and asyncio has not read yet."""
    async with ByteServer(answers) as server, make(server.url, retry=ONCE) as diga:
        for phone_id in [uuid4() for _ in range(4)]:
            assert (await diga.phones.get(phone_id)).id == phone_id
            server.wires[-1].writer.write(stray)
            for _ in range(turns):
                await asyncio.sleep(0)

        assert server.asked == [0, 1, 2, 3]


@pytest.mark.parametrize("turns", [0, 5], ids="after {} turns".format)
@pytest.mark.parametrize(
    "stray",
    [phone(), missing(), answer(b"", "404 No"), b"x"],
    ids=["a phone", "a 404", "an empty 404", "a byte"],
)
@pytest.mark.parametrize("cut", [2, 17, -3])
async def test_a_stray_response_split_around_a_request_does_no_harm(
    make: Make, stray: bytes, cut: int, turns: int
) -> None:
    async def mends(wire: Wire) -> None:
        await wire.send(stray[cut:] + phone(wire.asked_for))

    async with ByteServer(answers, mends, answers) as server, make(server.url) as diga:
        await diga.phones.get(OTHER_ID)
        server.wires[0].writer.write(stray[:cut])
        for _ in range(turns):
            await asyncio.sleep(0)

        assert str((await diga.phones.get(PHONE_ID)).id) == PHONE_ID


async def test_bytes_in_the_socket_are_seen_without_a_turn_of_the_loop() -> None:
    """Asyncio would read it only after the request is sent, as the answer."""
    async with ByteServer(answers) as server:
        transport = own_transport()
        for phone_id in (UUID(PHONE_ID), UUID(OTHER_ID)):
            request = get_phone(phone_id).request(
                endpoint_of(server.url), check_key(KEY)
            )
            response = await transport.send(request, seconds=5.0, connect=5.0)
            server.wires[-1].writer.write(missing())

            assert isinstance(response, Response)
            assert response.body is not None
            assert str(phone_id) in response.body.decode()
        await transport.close()


async def test_a_run_never_mixes_up_responses(make: Make) -> None:
    """A worker requests the next id in the turn that brought the last answer."""
    sent: list[UUID] = []

    async def strays(wire: Wire) -> None:
        sent.append(wire.asked_for)
        data = missing() if len(sent) % 3 else phone(wire.asked_for)
        await wire.send(phone(wire.asked_for))
        wire.writer.write(data)

    async with ByteServer(strays) as server, make(server.url) as diga:
        ids = [uuid4() for _ in range(40)]
        batch = await diga.phones.get_many(ids, concurrency=1)

        assert list(batch.phones) == ids


async def test_another_phone_is_never_returned(make: Make) -> None:
    """The connections are no longer used, and the request is retried."""
    async with ByteServer(says(phone(OTHER_ID))) as server, make(server.url) as diga:
        with pytest.raises(InvalidResponseError) as caught:
            await diga.phones.get(PHONE_ID)

        assert (caught.value.foreign, caught.value.attempts) == (True, 3)
        assert server.asked == [0, 1, 2]


async def test_a_shifted_response_is_retried_on_a_new_connection(make: Make) -> None:
    """The answer to the last request comes only now; ours is still on its way."""
    script = [answers, says(phone(OTHER_ID)), answers]
    async with ByteServer(*script) as server, make(server.url) as diga:
        await diga.phones.get(OTHER_ID)

        assert str((await diga.phones.get(PHONE_ID)).id) == PHONE_ID
        assert server.asked == [0, 0, 1]


async def test_a_retired_pool_serves_its_open_requests() -> None:
    """The server closes after the last of them."""
    held = asyncio.Event()

    async def late(wire: Wire) -> None:
        await held.wait()
        await answers(wire)

    script = [late, says(phone(OTHER_ID)), answers]
    async with ByteServer(*script) as server, client(server.url) as diga:
        slow = asyncio.create_task(diga.phones.get(OTHER_ID))
        await server.arrived.wait()
        assert str((await diga.phones.get(PHONE_ID)).id) == PHONE_ID
        held.set()

        assert str((await slow).id) == OTHER_ID
        await until(lambda: server.wires[0].is_left and server.wires[1].is_left)
        await diga.phones.get(PHONE_ID)
        assert server.asked == [0, 1, 2, 2]


async def test_no_response_is_lost_or_mixed_up_under_stray_responses(
    make: Make,
) -> None:
    """Promises 1 and 2, under all faults that shift answers, combined."""
    dice = random.Random(7)  # noqa: S311
    gone = {uuid4() for _ in range(40)}

    async def storms(wire: Wire) -> None:
        phone_id = wire.asked_for
        right = missing() if phone_id in gone else phone(phone_id)
        moves = [
            says(right), says(right), says(right), says(right, right), says(right * 3),
            closes(right), resets(), closes(), closes(right[:40]),
            closes(right[:-1]), says(answer(b"", "503 Busy")), says(phone(uuid4())),
        ]  # fmt: skip
        await dice.choice(moves)(wire)

    ids = [*gone, *(uuid4() for _ in range(160))]
    bulk = RetryPolicy(max_attempts=30, base_delay=0.001, max_delay=0.01)
    async with ByteServer(storms) as server, make(server.url, retry=bulk) as diga:
        lookups = diga.phones.iter_many(ids, concurrency=16)
        outcomes = [outcome async for outcome in lookups]

    assert Counter(o.phone_id for o in outcomes) == Counter(ids)
    for outcome in outcomes:
        if isinstance(outcome, Found):
            assert outcome.phone.id == outcome.phone_id
    assert {o.phone_id for o in outcomes if isinstance(o, Missing)} == gone
    assert [o for o in outcomes if isinstance(o, Failed)] == []


@pytest.mark.parametrize("first", [says(phone()), says(missing())], ids=["200", "404"])
async def test_a_server_that_speaks_first_gets_no_extra_requests(first: Move) -> None:
    """
    In TLS 1.2 the data comes with the handshake, on the next connection too.

    Asking for a clean one over and over opened 240 connections in half a second.
    """
    tls = server_tls()
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    async with (
        ByteServer(answers, tls=tls, first=first) as server,
        client(server.url, ssl=client_tls(), retry=ONCE) as diga,
    ):
        with pytest.raises(DigaError):
            await diga.phones.get(OTHER_ID)

        assert len(server.wires) == 1


async def test_two_content_lengths_are_malformed() -> None:
    """The parsers of aiohttp disagree; the end of such an answer is unknown."""
    body = json.dumps(phone_fields()).encode()
    length = b"Content-Length: %d\r\n" % len(body)
    move = says(b"HTTP/1.1 200 OK\r\n" + length * 2 + b"\r\n" + body)
    async with ByteServer(move, answers) as server, client(server.url) as diga:
        await diga.phones.get(PHONE_ID)

        assert server.asked == [0, 1]


# --- time


@attrs.frozen
class Timer:
    """A timer that was set: to which moment, and what it calls then."""

    when: float
    ring: Callable[[], object]


@contextmanager
def timers(loop: asyncio.AbstractEventLoop) -> Iterator[list[Timer]]:
    """Record the timers that are set, in either way."""
    noted: list[Timer] = []
    at, later = loop.call_at, loop.call_later

    def noting(moment: Callable[[float], float], set_timer: Any) -> Any:
        def set_and_note(
            when: float, ring: Any, *arguments: Any, **options: Any
        ) -> Any:
            before = len(noted)
            handle = set_timer(when, ring, *arguments, **options)
            # One of the two may have called the other.
            noted[before:] = [Timer(moment(when), partial(ring, *arguments))]
            return handle

        return set_and_note

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "call_at", noting(lambda when: when, at))
        patch.setattr(loop, "call_later", noting(lambda d: loop.time() + d, later))
        yield noted


async def test_no_limit_is_rounded_up_to_whole_seconds(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[float] = []
    begin = TimeLimits.begin

    def begins(self: TimeLimits, attempt: Attempt, seconds: float) -> None:
        attempts.append(seconds)
        begin(self, attempt, seconds)

    connect = TimeLimits.begin_to_connect

    def connects(self: TimeLimits, attempt: Attempt, seconds: float) -> None:
        attempts.append(seconds)
        connect(self, attempt, seconds)

    monkeypatch.setattr(TimeLimits, "begin", begins)
    monkeypatch.setattr(TimeLimits, "begin_to_connect", connects)
    limits = Timeouts(77.25, attempt=66.25, connect=55.25)
    loop = asyncio.get_running_loop()
    async with ByteServer(answers) as server:
        with timers(loop) as noted:
            async with make(server.url, timeouts=limits) as diga:
                began = loop.time()
                # Alone it would need no timer of its own: its call ends then as well.
                longer = diga.phones.get(
                    PHONE_ID, timeouts=attrs.evolve(limits, total=99.25)
                )
                await asyncio.gather(diga.phones.get(PHONE_ID), longer)
        away = sorted(t.when - began for t in noted if t.when - began > 50)

        assert away == pytest.approx([77.25], abs=0.2)
        assert attempts == [66.25, 55.25]


# --- size


@pytest.mark.parametrize(
    "move",
    [
        drips(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65536, 0.0),
        drips(b"HTTP/1.1 500 No\r\n\r\n", b" " * 65536, 0.0),
        drips(answer(length=20_000_000), b" " * 65536, 0.0),
        says(answer(gzip.compress(bytes(100_000_000)), Content_Encoding="gzip")),
        says(answer(zlib.compress(bytes(100_000_000)), Content_Encoding="deflate")),
        drips(CHUNKED, b"1000;" + b"x" * 999, 0),
        drips(CHUNKED, b"1\r\n \r\n" * 2000, 0.0),
        pytest.param(
            drips(CHUNKED + b"0\r\n", b"X: y\r\n" * 1000, 0.0), marks=bounds_heads
        ),
        drips(b"", b"HTTP/1.1 103 Early\r\nX: y\r\n\r\n" * 200, 0.0),
        drips(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 65536, 0.0),
        pytest.param(
            drips(b"HTTP/1.1 200 OK\r\n", b"X-Flood: yes\r\n" * 1000, 0.0),
            marks=bounds_heads,
        ),
        says(answer(b"[" + b'{"":0},' * 149_000 + b"{}]")),
        says(answer(b"[" * 500_000)),
        says(answer(b'{"":' * 250_000)),
        says(answer(b"[" * 16_000 + b"]" * 16_000)),
        says(answer(b"[" + b"[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]," * 32_000 + b"0]")),
        says(answer(b"[" + b"0," * 30_000 + b"0]")),
        says(answer(b"[" + b"0.5," * 250_000 + b"0]")),
        says(answer(b"[" + b"9" * 1_000_000 + b"]")),
        says(answer(b'"' + b"a" * 1_000_000 + b'"')),
        says(answer(b'"' + b"\\u00e9" * 170_000 + b'"')),
        says(answer(b'"' + b"a" * 1_000_000 + "😀".encode() + b'"')),
        says(answer(b'"' + b"a" * 1_000_000 + b"\\uD83D\\uDE00" + b'"')),
        says(answer(b'"' + b"a" * 1_000_000 + "中".encode() + b'"')),
        says(answer(b'"' + b"a" * 1_000_000 + b"\\u4e2d" + b'"')),
        says(answer(f'"{"a" * 500_000}😀"'.encode("utf-16"))),
    ],
    ids=[
        "endless", "endless 500", "huge", "bomb", "deflate bomb", "extensions",
        "one-byte chunks", "trailers", "1xx", "header", "headers", "objects", "deep",
        "deep objects", "deep and closed", "many and deep", "numbers", "many numbers",
        "long number", "long string", "long escapes", "emoji", "escaped emoji",
        "wide letter", "escaped wide letter", "UTF-16",
    ],
)  # fmt: skip
async def test_no_answer_fills_the_memory(move: Move) -> None:
    async with ByteServer(move) as server:
        async with client(server.url, timeouts=Timeouts(0.3), retry=ONCE) as diga:
            tracemalloc.start()
            try:
                with pytest.raises(DigaError):
                    await diga.phones.get(PHONE_ID)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()

        assert peak < MAX_BODY_BYTES + (2 << 20)


# --- cancellation and closing


class Names(AbstractResolver):
    """A resolver that knows nothing until it is told."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.told = asyncio.Event()

    async def resolve(
        self, host: str, port: int = 0, family: Any = 0
    ) -> list[ResolveResult]:
        self.asked.set()
        await self.told.wait()
        return [
            ResolveResult(
                hostname=host,
                host="127.0.0.1",
                port=port,
                family=socket.AF_INET,
                proto=0,
                flags=0,
            )
        ]

    async def close(self) -> None:
        pass


@attrs.frozen
class Held:
    """
    A lookup that has reached a phase, and stays there.

    Attributes:
        diga: Its client.
        lookup: The task.
        server: The server.
        free: Lets it continue.
    """

    diga: DigaClient
    lookup: asyncio.Task[Phone]
    server: ByteServer
    free: Callable[[], object] = lambda: None


def begin(diga: DigaClient) -> asyncio.Task[Phone]:
    return asyncio.ensure_future(diga.phones.get(PHONE_ID))


@asynccontextmanager
async def in_queue() -> AsyncIterator[Held]:
    narrow = Limits(concurrency=1, adaptive=False)
    async with (
        ByteServer(hangs(), answers) as server,
        client(server.url, limits=narrow) as diga,
    ):
        ahead = asyncio.ensure_future(diga.phones.get(OTHER_ID))
        await server.arrived.wait()
        lookup = begin(diga)
        await asyncio.sleep(0)
        yield Held(diga, lookup, server, ahead.cancel)
        ahead.cancel()
        await asyncio.wait([ahead])


@asynccontextmanager
async def in_pause() -> AsyncIterator[Held]:
    bulk = RetryPolicy(base_delay=1e5, max_delay=1e5)
    async with (
        ByteServer(closes(), answers) as server,
        client(server.url, retry=bulk, timeouts=1e6) as diga,
    ):
        lookup = begin(diga)
        await until(lambda: diga.stats.retries)
        yield Held(diga, lookup, server)


@asynccontextmanager
async def in_name() -> AsyncIterator[Held]:
    names = Names()
    connector = aiohttp.TCPConnector(resolver=names)
    async with (
        ByteServer(answers) as server,
        aiohttp.ClientSession(connector=connector) as session,
        client(
            f"http://diga.test:{server.port}", session=session, allow_insecure_http=True
        ) as diga,
    ):
        lookup = begin(diga)
        await names.asked.wait()
        yield Held(diga, lookup, server, names.told.set)


@asynccontextmanager
async def in_handshake() -> AsyncIterator[Held]:
    shaking = asyncio.Event()

    async def first(wire: Wire) -> None:
        if shaking.is_set():
            await tunnels(server.port)(wire)
        else:
            await wire.reader.read(1)
            shaking.set()
            await wire.gone()

    async with (
        ByteServer(answers, tls=server_tls()) as server,
        ByteServer(answers, first=first) as front,
        client(front.url.replace("http:", "https:"), ssl=client_tls()) as diga,
    ):
        lookup = begin(diga)
        await shaking.wait()
        yield Held(diga, lookup, server)


@asynccontextmanager
async def in_headers() -> AsyncIterator[Held]:
    async with ByteServer(hangs(), answers) as server, client(server.url) as diga:
        lookup = begin(diga)
        await server.arrived.wait()
        yield Held(diga, lookup, server)


@asynccontextmanager
async def in_body() -> AsyncIterator[Held]:
    half = hangs(phone()[:-9])
    async with ByteServer(half, answers) as server, client(server.url) as diga:
        lookup = begin(diga)
        await server.arrived.wait()
        for _ in range(10):  # the half is sent without further help
            await asyncio.sleep(0)
        yield Held(diga, lookup, server)


PHASES = [in_queue, in_pause, in_name, in_handshake, in_headers, in_body]


@pytest.fixture(params=PHASES, ids=lambda phase: phase.__name__)
async def held(request: pytest.FixtureRequest) -> AsyncIterator[Held]:
    """Hold a lookup in every phase in turn."""
    async with request.param() as held:
        yield held


async def test_a_cancelled_lookup_ends_immediately_and_the_next_works(
    held: Held,
) -> None:
    held.lookup.cancel()
    await at_once(held.lookup)

    assert held.lookup.cancelled()
    held.free()
    await until(lambda: not held.diga.stats.in_flight)
    await until(lambda: all(wire.is_left for wire in held.server.wires))
    assert str((await held.diga.phones.get(OTHER_ID)).id) == OTHER_ID


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
async def test_bytes_before_the_first_request_shift_no_responses(
    monkeypatch: pytest.MonkeyPatch, *, is_tls: bool
) -> None:
    """Otherwise each lookup on that connection would get the previous answer."""
    connected = asyncio.Event()

    async def early(wire: Wire) -> None:
        await connected.wait()
        await wire.send(answer({"detail": "too early"}, "404 Not Found"))

    async def hear(connection: Any) -> None:
        protocol, transport = connection.protocol, connection.transport
        connected.set()
        if is_tls:
            await until(lambda: protocol._tail)
        elif not protocol._tail:  # the system holds it, and asyncio has not seen it
            transport.pause_reading()
            sock = transport.get_extra_info("socket")
            await until(lambda: select.select([sock], [], [], 0)[0])
            asyncio.get_running_loop().call_soon(transport.resume_reading)

    once_connected(monkeypatch, hear)
    tls = {"tls": server_tls()} if is_tls else {}
    mine = {"ssl": client_tls()} if is_tls else {}
    async with (
        ByteServer(hangs(), first=early, **tls) as server,
        client(server.url, attempts=1, **mine) as diga,
    ):
        for _ in range(3):
            with pytest.raises(NotFoundError):
                await diga.phones.get(PHONE_ID)

        await until(lambda: server.attempts == 3)
        assert server.asked == [0, 1, 2]


async def test_closing_ends_waiting_lookups_immediately(held: Held) -> None:
    closing = asyncio.ensure_future(held.diga.close())
    await at_once(held.lookup)

    assert isinstance(held.lookup.exception(), ClientClosedError)
    await closing
    await until(lambda: all(wire.is_left for wire in held.server.wires))
    await held.diga.close()
    with pytest.raises(ClientClosedError):
        await held.diga.phones.get(OTHER_ID)
    assert held.diga.closed


async def test_a_timeout_of_the_caller_stays_the_callers(held: Held) -> None:
    """Not an `APITimeoutError`, whose cause the caller would look for at Diga."""
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.01):
            await held.diga.phones.get(PHONE_ID)

    assert type(caught.value) is TimeoutError
    held.lookup.cancel()


@pytest.mark.parametrize("ours_first", [True, False])
async def test_a_cancellation_in_the_turn_of_a_timeout_is_not_swallowed(
    ours_first: bool,  # noqa: FBT001
) -> None:
    async with ByteServer(hangs()) as server:
        transport = own_transport()
        request = get_phone(UUID(PHONE_ID)).request(
            endpoint_of(server.url), check_key(KEY)
        )
        begun: list[Attempt] = []
        sending = transport.send(
            request, seconds=999.0, connect=5.0, on_begin=begun.append
        )
        task = asyncio.ensure_future(sending)
        await server.arrived.wait()
        ours = begun[0].expire
        for ring in (ours, task.cancel) if ours_first else (task.cancel, ours):
            ring()

        with pytest.raises(asyncio.CancelledError):
            await task
        await transport.close()


async def test_a_client_collected_unclosed_closes_its_connections() -> None:
    """With one warning of ours and none of aiohttp's; retired ones and TLS included."""
    script = [answers, says(phone(OTHER_ID)), answers]
    async with ByteServer(*script, tls=server_tls()) as server:
        diga = client(server.url, ssl=client_tls())
        await asyncio.gather(diga.phones.get(PHONE_ID), diga.phones.get(OTHER_ID))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del diga
            gc.collect()
            await until(lambda: all(wire.is_left for wire in server.wires))
            gc.collect()

        (warning,) = caught
        assert warning.category is ResourceWarning
        assert "DigaClient" in str(warning.message)


async def test_a_mismatch_after_closing_opens_no_connection() -> None:
    """The answer may come in the turn in which its client is dropped."""
    async with ByteServer(says(phone(OTHER_ID))) as server:
        transport = own_transport()
        request = get_phone(UUID(PHONE_ID)).request(
            endpoint_of(server.url), check_key(KEY)
        )
        await transport.send(request, seconds=5.0, connect=5.0)
        await transport.close()
        transport.retire()

        assert transport.closed
        await until(lambda: server.wires[0].is_left)


async def test_a_task_that_ignores_cancellation_keeps_no_connection() -> None:
    """A caller's own callable for the key, for one."""
    asked, released = asyncio.Event(), asyncio.Event()

    async def stubborn() -> str:
        if not asked.is_set() and diga.stats.requests:
            asked.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await released.wait()
        return KEY

    refuses = says(answer({}, "401 Who"))
    async with ByteServer(answers, refuses) as server:
        diga = DigaClient(stubborn, base_url=server.url)
        await diga.phones.get(PHONE_ID)
        lookup = begin(diga)
        await asked.wait()
        with on_time(1.0):
            await diga.close()

        assert isinstance(lookup.exception(), ClientClosedError)
        await until(lambda: server.wires[0].is_left)
        released.set()


async def test_a_client_collected_in_another_thread_closes_its_connections() -> None:
    async with ByteServer(answers) as server:
        holder = [client(server.url)]
        await holder[0].phones.get(PHONE_ID)
        with pytest.warns(ResourceWarning, match="DigaClient"):
            await asyncio.to_thread(holder.clear)

        await until(lambda: server.wires[0].is_left)


# --- a lent session


async def test_only_the_connector_of_a_lent_session_is_used() -> None:
    seen: list[str] = []

    async def middleware(request: Any, handler: Any) -> Any:
        seen.append("middleware")
        return await handler(request)

    async def raises(response: Any) -> None:
        seen.append("raise_for_status")

    async with ByteServer(says(answer(b"", "500 No")), answers) as server:
        session = aiohttp.ClientSession(
            "http://127.0.0.1:9/base/",
            headers={"Authorization": "Bearer of-the-owner", "X-Owner": "yes"},
            cookies={"owner": "yes"},
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            proxy="http://127.0.0.1:9",
            raise_for_status=raises,
            timeout=aiohttp.ClientTimeout(total=0.000001),
            middlewares=[middleware],
            connector=aiohttp.TCPConnector(limit=1),
        )
        before = {name: repr(getattr(session, name)) for name in session.ATTRS}
        async with session, client(server.url, session=session) as diga:
            await diga.phones.get(PHONE_ID)

            assert {n: repr(getattr(session, n)) for n in session.ATTRS} == before
            assert not session.closed
            assert seen == []
            heads = b"".join(server.heads).lower()
            assert b"owner" not in heads
            assert b"cookie" not in heads
            assert server.asked == [0, 0]


async def rejects(*_: Any) -> Any:
    raise AssertionError("what is lent is the connector alone")


def basic_auth() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return aiohttp.BasicAuth("owner", "word")


#: Attributes of a session that its owner may set.
LENT: dict[str, dict[str, Any]] = {
    "a default Authorization": {"headers": {"Authorization": "Bearer of-the-owner"}},
    "other headers": {"headers": {"X-Owner": "yes", "User-Agent": "owner"}},
    "auth": {"auth": basic_auth()},
    "cookies": {"cookies": {"owner": "yes"}},
    "a base URL": {"base_url": "http://127.0.0.1:9/owner/"},
    "a proxy": {"proxy": "http://owner:word@127.0.0.1:9"},
    "raise_for_status": {"raise_for_status": True},
    "its own raise_for_status": {"raise_for_status": rejects},
    "timeouts": {"timeout": aiohttp.ClientTimeout(total=1e-9, sock_read=1e-9)},
    "middlewares": {"middlewares": [rejects]},
    "small buffers": {"read_bufsize": 1, "max_line_size": 1, "max_field_size": 1},
    "HTTP/1.0": {"version": aiohttp.HttpVersion10},
    "an environment": {"trust_env": True},
    "automatic headers left out": {"skip_auto_headers": ["Host", "Accept-Encoding"]},
}


@pytest.mark.filterwarnings("ignore:.*auth.*:DeprecationWarning")
@pytest.mark.parametrize("options", LENT.values(), ids=LENT)
async def test_settings_of_a_lent_session_do_not_apply(
    options: dict[str, Any],
) -> None:
    """The requests are those of a client with its own pool."""
    script = [answers, says(missing())]
    async with ByteServer(*script) as plain, client(plain.url) as diga:
        await diga.phones.get(PHONE_ID)
        port = b":%d\r\n" % plain.port
    async with (
        ByteServer(*script) as server,
        aiohttp.ClientSession(**options) as session,
        client(server.url, session=session) as diga,
    ):
        before = {name: repr(getattr(session, name)) for name in session.ATTRS}
        await diga.phones.get(PHONE_ID)
        with pytest.raises(NotFoundError):
            await diga.phones.get(OTHER_ID)

        assert server.heads[0].replace(b":%d\r\n" % server.port, port) == plain.heads[0]
        assert server.asked == [0, 0]
        assert {n: repr(getattr(session, n)) for n in session.ATTRS} == before


async def test_a_small_lent_pool_bounds_the_requests() -> None:
    connector = aiohttp.TCPConnector(limit=2)
    async with (
        ByteServer(answers) as server,
        aiohttp.ClientSession(connector=connector) as session,
        client(server.url, session=session) as diga,
    ):
        ids = [uuid4() for _ in range(40)]
        batch = await diga.phones.get_many(ids, concurrency=16)

        assert list(batch.phones) == ids
        assert len(server.wires) <= 2


@pytest.mark.parametrize("stray", [phone(), missing()], ids=["a phone", "a 404"])
async def test_a_poisoned_lent_connection_answers_no_request(
    stray: bytes,
) -> None:
    """The owner got two answers to one request, and shares the pool."""
    async with (
        ByteServer(says(phone() + stray), answers) as server,
        aiohttp.ClientSession() as session,
        client(server.url, session=session, retry=ONCE) as diga,
    ):
        async with session.get(f"{server.url}/v1/phone/{PHONE_ID}") as response:
            await response.read()

        assert str((await diga.phones.get(OTHER_ID)).id) == OTHER_ID
        assert server.asked == [0, 1]


async def test_a_lent_session_that_raises_for_status_raises_nothing() -> None:
    async with (
        ByteServer(says(missing())) as server,
        aiohttp.ClientSession(raise_for_status=True) as session,
        client(server.url, session=session) as diga,
    ):
        with pytest.raises(NotFoundError):
            await diga.phones.get(PHONE_ID)


async def test_a_lent_session_closed_by_its_owner_is_a_closed_client() -> None:
    async with (
        ByteServer(hangs()) as server,
        aiohttp.ClientSession() as session,
        client(server.url, session=session) as diga,
    ):
        lookup = begin(diga)
        await server.arrived.wait()
        await session.close()

        with pytest.raises(ClientClosedError):
            await lookup
        with pytest.raises(ClientClosedError):
            await diga.phones.get(OTHER_ID)
        assert server.attempts == 1


@pytest.fixture
async def crowded() -> AsyncIterator[tuple[aiohttp.ClientSession, ByteServer]]:
    """A lent pool of one connection, which its owner is using."""
    connector = aiohttp.TCPConnector(limit=1)
    async with (
        ByteServer(hangs(), answers) as server,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        url = f"{server.url}/v1/phone/{OTHER_ID}"
        owners = asyncio.ensure_future(session.get(url))
        await server.arrived.wait()
        yield session, server
        owners.cancel()
        await asyncio.wait([owners])


Crowded = tuple[aiohttp.ClientSession, ByteServer]


async def test_waiting_in_a_lent_pool_counts_against_the_attempt(
    crowded: Crowded,
) -> None:
    session, server = crowded
    limits = Timeouts(0.5, attempt=0.1)
    async with client(server.url, session=session, retry=ONCE, timeouts=limits) as diga:
        with pytest.raises(APITimeoutError, match="lent session's pool") as caught:
            await diga.phones.get(PHONE_ID)

    assert (caught.value.phase, server.attempts) == ("connect", 1)
    assert caught.value.attempts == 0


async def test_closing_a_lent_pool_ends_waiting_lookups(
    crowded: Crowded,
) -> None:
    """The cancellation is aiohttp's, not a caller's."""
    session, server = crowded
    async with client(server.url, session=session) as diga:
        lookup = begin(diga)
        for _ in range(5):
            await asyncio.sleep(0)
        await session.close()

        with pytest.raises(ClientClosedError):
            await lookup


async def test_closing_a_lent_pool_loses_no_id_of_a_run(
    crowded: Crowded,
) -> None:
    session, server = crowded
    ids = [uuid4() for _ in range(5)]
    async with client(server.url, session=session) as diga:
        run = asyncio.ensure_future(diga.phones.get_many(ids, concurrency=3))
        await until(lambda: diga.stats.in_flight == 1)  # as many as the pool serves
        for _ in range(5):
            await asyncio.sleep(0)
        await session.close()

        with pytest.raises(ClientClosedError) as caught:
            await run
        assert len(caught.value.partial.unanswered) == 3


async def test_a_lent_connector_brings_its_certificate_authorities() -> None:
    connector = aiohttp.TCPConnector(ssl=client_tls())
    async with (
        ByteServer(answers, tls=server_tls()) as server,
        aiohttp.ClientSession(connector=connector) as session,
        aiohttp.ClientSession() as other,
        client(server.url, session=session) as diga,
        client(server.url, session=other) as stranger,
        client(server.url, session=other, ssl=client_tls()) as trusting,
    ):
        assert str((await diga.phones.get(PHONE_ID)).id) == PHONE_ID
        with pytest.raises(APIConnectionError) as caught:
            await stranger.phones.get(PHONE_ID)
        assert (caught.value.phase, caught.value.attempts) == ("tls", 1)
        assert str((await trusting.phones.get(PHONE_ID)).id) == PHONE_ID


def test_a_lent_session_of_another_loop_is_rejected_before_any_io() -> None:
    async def lend() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    async def use(session: aiohttp.ClientSession) -> None:
        async with ByteServer(answers) as server:
            with pytest.raises(WrongLoopError):
                await client(server.url, session=session).phones.get(PHONE_ID)
            assert server.wires == []

    with asyncio.Runner() as owners:
        session = owners.run(lend())
        asyncio.run(use(session))
        owners.run(session.close())


# --- random answers


CHUNKS = (
    b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"id"\r\n1;x=y\r\n:\r\n0\r\nX: y\r\n\r\n'
)


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """An answer with some of its bytes replaced, repeated or left out."""
    data = draw(
        st.sampled_from(
            [
                phone(),
                missing(),
                answer(b"<html>", "503 Busy", Retry_After="1"),
                answer(gzip.compress(phone()), Content_Encoding="gzip"),
                b"HTTP/1.1 100 Continue\r\n\r\n" + phone(),
                b"HTTP/1.1 200 OK\r\n" + CHUNKS,
            ]
        )
    )
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(start + 20, len(data))))
        instead = draw(st.one_of(st.binary(max_size=12), st.just(data[start:end] * 2)))
        data = data[:start] + instead + data[end:]
    return data


async def come(data: bytes) -> None:
    limits = Timeouts(1.0, attempt=0.5)
    async with (
        ByteServer(closes(data)) as server,
        client(server.url, retry=ONCE, timeouts=limits) as diga,
    ):
        started = time.monotonic()
        try:
            found = await diga.phones.get(PHONE_ID)
        except DigaError as error:
            assert KEY not in f"{error!r}{vars(error)}"  # noqa: PT017
        else:
            assert str(found.id) == PHONE_ID
        assert time.monotonic() - started < 0.5 + LATE


@given(data=st.one_of(spoiled(), st.binary(max_size=200)))
@example(b"HTTP/1.1 200 OK\r\nSet-Cookie: \x00=\x00\r\n\r\n")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_are_a_phone_or_a_library_error(data: bytes) -> None:
    asyncio.run(come(data))


# --- sharing


async def test_a_follower_with_more_time_gets_the_shared_response() -> None:
    """The first one's time is over long before the server speaks."""
    answering = asyncio.Event()

    async def late(wire: Wire) -> None:
        await answering.wait()
        await answers(wire)

    async with (
        ByteServer(late) as server,
        client(server.url, retry=ONCE) as diga,
    ):
        first = asyncio.ensure_future(diga.phones.get(PHONE_ID, timeouts=0.1))
        await server.arrived.wait()
        second = asyncio.ensure_future(diga.phones.get(PHONE_ID, timeouts=5.0))

        with pytest.raises(APITimeoutError) as caught:
            await first
        assert caught.value.phase == "read"
        answering.set()

        assert str((await second).id) == PHONE_ID
        assert server.attempts == 1


async def test_a_source_that_will_not_end_keeps_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A generator's ``finally`` does not delay closing the client."""
    monkeypatch.setattr("diga_async._runtime.CLOSE_SECONDS", 0.01)
    ending = asyncio.Event()

    async def source() -> AsyncIterator[str]:
        try:
            yield PHONE_ID
            await asyncio.get_running_loop().create_future()
        finally:
            await ending.wait()

    async with ByteServer(answers) as server:
        diga = client(server.url)
        lookups = diga.phones.iter_many(source())
        await anext(lookups)
        await diga.close()

        await until(lambda: server.wires[0].is_left)
        ending.set()
        with pytest.raises(ClientClosedError):
            await anext(lookups)


def test_time_limits_of_one_loop_do_not_wait_for_other_threads() -> None:
    """A timer's context can be entered by one thread at a time."""
    ringing = []

    class Late:
        due = 0.0

        def has_more_to_read(self) -> bool:
            return False

        def expire(self) -> None:
            ringing.append(self)
            end = time.monotonic() + 5.0
            while len(ringing) < 2 and time.monotonic() < end:
                pass  # until the other thread is here as well
            self.done.set_result(len(ringing))

    async def ring() -> int:
        late: Any = Late()
        late.done = asyncio.get_running_loop().create_future()
        TimeLimits().begin(late, 0.0)
        async with asyncio.timeout(10.0):
            return int(await late.done)

    with ThreadPoolExecutor(2) as threads:
        ended = [threads.submit(asyncio.run, ring()) for _ in range(2)]

    assert [end.result() for end in ended] == [2, 2]
