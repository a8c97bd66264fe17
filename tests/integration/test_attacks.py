"""
Attacks beyond a single fault: a network that mangles, callers that are careless.

The faults of a server alone are in `test_fault_matrix`; the log of all attacks is in
docs/project/attacks.md.
"""

import asyncio
import copy
import gc
import inspect
import os
import pickle
import random
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Self
from uuid import UUID, uuid4

import anyio
import pytest
from byte_server import (
    ByteServer,
    Move,
    Wire,
    answer,
    answers,
    client_tls,
    drips,
    hangs,
    on_time,
    phone,
    says,
    server_tls,
    until,
)
from fakes import KEY, PHONE_ID, phone_fields, quick_client

from diga_async import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    ClientClosedError,
    DigaClient,
    DigaError,
    Failed,
    Found,
    InvalidPhoneIdError,
    InvalidResponseError,
    Limits,
    Phone,
    RetryPolicy,
    Timeouts,
)

OTHER_ID = UUID("00000000-0000-4000-8000-000000000001")
ONCE = RetryPolicy(max_attempts=1)


client = partial(quick_client, timeouts=Timeouts(20.0, attempt=10.0))


# --- a network between the two


#: Mangles bytes on their way to the client; None ends the connection.
Mangle = Callable[[bytes], Sequence[bytes | None]]


class Relay:
    """
    A TCP relay that mangles answers.

    Attributes:
        mangle: Mangles each piece; it may be changed at any time.
        opened: How many connections were made through it.
    """

    def __init__(self, port: int, mangle: Mangle = lambda data: [data]) -> None:
        self.mangle = mangle
        self.opened = 0
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()

    def _mangled(self, data: bytes) -> Sequence[bytes | None]:
        return self.mangle(data)

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.opened += 1
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, back]
        forth = asyncio.ensure_future(_pump(reader, back, lambda data: [data]))
        await _pump(there, writer, self._mangled)
        back.transport.abort()
        await forth


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mangle: Mangle
) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            for part in mangle(data):
                if part is None:
                    writer.close()
                    return
                writer.write(part)
                await asyncio.sleep(0)
    with suppress(OSError):
        writer.close()


@asynccontextmanager
async def relayed(
    *script: Move, tls: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[tuple[DigaClient, Relay, ByteServer]]:
    """Put a relay between a client and a server."""
    async with (
        ByteServer(*script or (answers,), tls=tls) as server,
        Relay(server.port) as relay,
    ):
        url = server.url.replace(f":{server.port}", f":{relay.port}")
        if tls is not None:
            options["ssl"] = client_tls()
        async with client(url, **options) as diga:
            yield diga, relay, server


async def outcome_of(lookup: Awaitable[Phone]) -> Phone | DigaError:
    try:
        return await lookup
    except DigaError as error:
        return error


async def test_fragmented_responses_are_read_alike() -> None:
    dice = random.Random(1)  # noqa: S311

    def pieces(data: bytes) -> list[bytes]:
        cuts = sorted(dice.sample(range(len(data)), min(9, len(data))))
        return [data[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]

    for tls in (None, server_tls()):
        async with relayed(tls=tls) as (diga, relay, server):
            relay.mangle = pieces
            ids = [uuid4() for _ in range(30)]
            batch = await diga.phones.get_many(ids, concurrency=8)

            assert list(batch.phones) == ids
            assert server.attempts == 30


@pytest.mark.parametrize("reset", [False, True], ids=["ended", "reset"])
async def test_a_response_cut_at_any_byte_is_not_a_phone(reset: bool) -> None:  # noqa: FBT001
    """Every third place is tried: only a complete answer is accepted."""
    async with relayed(retry=ONCE) as (diga, relay, _):
        for length in range(0, len(phone()), 3):

            def cut(data: bytes, length: int = length) -> list[bytes | None]:
                if reset:
                    asyncio.get_running_loop().call_soon(relay.cut)
                return [data[:length], None]

            relay.mangle = cut
            answered = await outcome_of(diga.phones.get(PHONE_ID))

            assert isinstance(answered, APIConnectionError | InvalidResponseError)


async def test_flipped_bits_return_no_other_phone() -> None:
    """Over TLS no changed answer is accepted."""
    dice = random.Random(2)  # noqa: S311

    def flips(data: bytes) -> list[bytes]:
        changed = bytearray(data)
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
        return [bytes(changed)]

    right = Phone.from_dict(phone_fields(PHONE_ID))
    for tls in (None, server_tls()):
        async with relayed(tls=tls, retry=ONCE, timeouts=0.2) as (diga, relay, _):
            for _ in range(40):
                await outcome_of(diga.phones.get(OTHER_ID))
                relay.mangle = flips
                answered = await outcome_of(diga.phones.get(PHONE_ID))
                relay.mangle = lambda data: [data]

                if isinstance(answered, Phone):
                    assert str(answered.id) == PHONE_ID
                    assert tls is None or answered == right


async def test_repeated_responses_answer_no_other_request() -> None:
    async with relayed() as (diga, relay, _):
        relay.mangle = lambda data: [data, data]
        ids = [uuid4() for _ in range(30)]
        batch = await diga.phones.get_many(ids, concurrency=4)

        assert list(batch.phones) == ids


async def test_a_late_response_answers_no_other_request() -> None:
    """It belongs to a caller that has given up."""
    held: list[tuple[Wire, UUID]] = []

    async def late(wire: Wire) -> None:
        held.append((wire, wire.asked_for))

    async with (
        ByteServer(late, answers) as server,
        client(server.url, retry=ONCE) as diga,
    ):
        with pytest.raises(APITimeoutError):
            await diga.phones.get(PHONE_ID, timeouts=Timeouts(5.0, attempt=0.05))
        await held[0][0].send(phone(held[0][1]))

        assert (await diga.phones.get(OTHER_ID)).id == OTHER_ID
        assert server.asked == [0, 1]


async def test_swapped_responses_return_no_wrong_phone() -> None:
    """A broken proxy gives each client the other's answer."""
    waiting: list[tuple[Wire, UUID]] = []

    async def swaps(wire: Wire) -> None:
        waiting.append((wire, wire.asked_for))
        if len(waiting) == 2:
            (one, first), (other, second) = waiting
            waiting.clear()
            await one.send(phone(second))
            await other.send(phone(first))

    async with (
        ByteServer(swaps, swaps, answers) as server,
        client(server.url) as diga,
    ):
        ids = [uuid4(), uuid4()]
        batch = await diga.phones.get_many(ids, concurrency=2)

        assert list(batch.phones) == ids
        assert server.attempts == 4


async def test_a_silent_network_costs_one_attempt_a_connection() -> None:
    """No reset reports the loss; the next attempt uses another connection."""
    async with relayed() as (diga, relay, _):
        await diga.phones.get(OTHER_ID)
        relay.mangle = lambda _: []

        async def heal() -> None:
            await until(lambda: relay.opened == 2)
            relay.mangle = lambda data: [data]

        healing = asyncio.ensure_future(heal())
        found = await diga.phones.get(PHONE_ID, timeouts=Timeouts(20.0, attempt=0.2))
        await healing

        assert str(found.id) == PHONE_ID
        assert relay.opened >= 2


async def test_a_handshake_that_drips_ends_on_time() -> None:
    """Each byte of it comes soon, and the last one never."""
    slow = asyncio.Event()

    async def first(wire: Wire) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            writer.write(await wire.reader.read(4096))
            for byte in await reader.read(4096):
                await wire.send(bytes([byte]))
                with suppress(TimeoutError):
                    await asyncio.wait_for(slow.wait(), 0.01)
        finally:
            writer.transport.abort()

    limits = Timeouts(20.0, connect=0.2)
    async with (
        ByteServer(answers, tls=server_tls()) as server,
        ByteServer(answers, first=first) as front,
        client(
            front.url.replace("http:", "https:"),
            ssl=client_tls(), timeouts=limits, retry=ONCE,
        ) as diga,
    ):  # fmt: skip
        with on_time(0.2), pytest.raises(APITimeoutError) as caught:
            await diga.phones.get(PHONE_ID)

        assert caught.value.phase == "connect"
        assert server.heads == []
        slow.set()


async def test_a_flood_of_session_tickets_is_not_an_answer() -> None:
    """They come after the handshake, on a connection that is then idle."""
    tls = server_tls()
    tls.num_tickets = 100
    async with (
        ByteServer(answers, tls=tls) as server,
        client(server.url, ssl=client_tls(), retry=ONCE) as diga,
    ):
        ids = [uuid4() for _ in range(10)]

        assert [(await diga.phones.get(i)).id for i in ids] == ids
        assert len(server.wires) < 10


# --- the server's answers


async def test_server_text_cannot_steer_a_terminal_or_forge_a_log_line() -> None:
    nasty = "\x1b]0;owned\x07\x1b[2J\r\nINFO forged\u2028\u202egnp.exe\x00\x9b31m"
    said = {
        "message": nasty,
        "error_code": nasty,
        "detail": [{"loc": [nasty], "msg": nasty, "type": nasty}],
    }
    move = says(answer(said, "422 No"))
    async with ByteServer(move) as server, client(server.url) as diga:
        with pytest.raises(APIStatusError) as caught:
            await diga.phones.get(PHONE_ID)

    error = caught.value
    shown = f"{error} {error.error_code} {error.details[0]} {error.request_id}"
    assert shown.isprintable()
    assert repr(Phone.from_dict(phone_fields(nickname=nasty))).isprintable()


async def test_fields_named_like_our_attributes_are_ordinary() -> None:
    fields = phone_fields(
        extra={"extra": 1}, self=1, known=False, to_dict="x", __class__="x", _=0
    )
    async with (
        ByteServer(says(answer(fields))) as server,
        client(server.url) as diga,
    ):
        found = await diga.phones.get(PHONE_ID)

    assert found.extra["extra"] == {"extra": 1}
    assert found.extra["__class__"] == "x"
    assert type(found) is Phone
    assert Phone.from_dict(found.to_dict()) == found
    assert pickle.loads(pickle.dumps(found)) == found


async def test_a_limit_in_every_response_delays_no_lookup_past_its_deadline() -> None:
    """An accepted answer blocks calls for five minutes at most."""
    adaptive = Limits()
    none_left = {"RateLimit": '"x";r=0;t=299'}
    move = says(answer(phone_fields(), **none_left))
    async with (
        ByteServer(move) as server,
        client(server.url, limits=adaptive) as diga,
    ):
        await diga.phones.get(PHONE_ID)
        with on_time(0.1), pytest.raises(APITimeoutError) as caught:
            await diga.phones.get(OTHER_ID, timeouts=0.1)

    assert (caught.value.phase, server.attempts) == ("wait", 1)


@pytest.mark.parametrize(
    "text",
    [
        "+" + "1 " * 400_000,
        "http:" * 200_000,
        "sk-" + "a" * 900_000,
        "\ud7ff\x00" * 300_000,
        "2026-01-01T00:00:00." + "1" * 900_000,
    ],
    ids=["digits", "links", "a key", "not printable", "a date"],
)
async def test_no_text_costs_more_than_its_length(text: str) -> None:
    """No pattern of ours scans it repeatedly."""
    fields = phone_fields(released_at=text)
    for move in (says(answer({"message": text}, "400 No")), says(answer(fields))):
        async with ByteServer(move) as server, client(server.url) as diga:
            before = time.process_time()
            await outcome_of(diga.phones.get(PHONE_ID))

            assert time.process_time() - before < 1.0


async def test_many_interim_responses_delay_no_other_lookup() -> None:
    storm = drips(b"", b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" * 200, 0.0)

    async def either(wire: Wire) -> None:
        await (storm if str(wire.asked_for) == PHONE_ID else answers)(wire)

    async with ByteServer(either) as server, client(server.url) as diga:
        lookup = asyncio.ensure_future(diga.phones.get(PHONE_ID))
        await server.arrived.wait()
        batch = await diga.phones.get_many([uuid4() for _ in range(100)])

        assert len(batch.phones) == 100
        assert not lookup.done()
        lookup.cancel()
        await asyncio.wait([lookup])


# --- the caller's code


class Drivers(UUID):
    """A kind of UUID as database drivers have it."""

    def __str__(self) -> str:
        return "../../admin"


class Masked(str):
    """Text whose ``str()`` is different."""

    __slots__ = ()

    def replace(self, *_: Any) -> str:
        return "0" * 32

    def __str__(self) -> str:
        return "../../admin"


@pytest.mark.parametrize("kind", [Drivers, Masked])
async def test_uuid_subclasses_are_looked_up_by_their_value(kind: Any) -> None:
    """A subclass could lead to another path, and outcomes would carry it along."""
    async with ByteServer(answers) as server, client(server.url) as diga:
        found = await diga.phones.get(kind(PHONE_ID))
        (outcome,) = [o async for o in diga.phones.iter_many([kind(PHONE_ID)])]

        assert found.id == UUID(PHONE_ID)
        assert type(outcome.phone_id) is UUID
        assert server.attempts == 2


async def cancelled_by_somebody() -> None:
    """Wait for a future that other code cancels."""
    raise asyncio.CancelledError


async def test_a_source_cancelled_from_within_is_not_exhausted() -> None:
    """Its remaining ids would be lost silently."""

    async def source() -> AsyncIterator[UUID]:
        yield UUID(PHONE_ID)
        await cancelled_by_somebody()
        yield OTHER_ID

    async with ByteServer(answers) as server, client(server.url) as diga:
        for concurrency in (1, 2, 8):
            lookups = diga.phones.iter_many(source(), concurrency=concurrency)

            assert str((await anext(lookups)).phone_id) == PHONE_ID
            with pytest.raises(asyncio.CancelledError):
                await anext(lookups)


async def test_a_callable_whose_own_wait_is_cancelled_loses_no_id() -> None:
    async def key() -> str:
        await cancelled_by_somebody()
        return KEY

    async with ByteServer(answers) as server, client(server.url, key) as diga:
        with pytest.raises(asyncio.CancelledError):
            await diga.phones.get(PHONE_ID)
        lookups = diga.phones.iter_many([PHONE_ID, OTHER_ID], concurrency=1)
        with pytest.raises(asyncio.CancelledError):
            await anext(lookups)

        assert lookups.unanswered == (UUID(PHONE_ID),)
        assert server.wires == []
        await lookups.aclose()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
@pytest.mark.parametrize("count", [0, 1, 3, 50])
async def test_eager_tasks_lose_no_outcome(count: int) -> None:
    """A worker has then taken its first id before the run is put together."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    try:
        async with ByteServer(answers) as server, client(server.url) as diga:
            ids = [uuid4() for _ in range(count)]
            batch = await diga.phones.get_many(ids, concurrency=7)
            three = await asyncio.gather(*(diga.phones.get(OTHER_ID) for _ in "123"))

            assert list(batch.phones) == ids
            assert {found.id for found in three} == {OTHER_ID}
            assert server.attempts == count + 1
    finally:
        loop.set_task_factory(before)


async def test_a_run_left_in_an_anyio_scope_ends_its_source() -> None:
    """Such a scope cancels its task repeatedly, even while the task cleans up."""
    ended = asyncio.Event()

    async def source() -> AsyncIterator[UUID]:
        try:
            while True:
                yield uuid4()
        finally:
            ended.set()

    async with ByteServer(hangs()) as server, client(server.url) as diga:
        with anyio.CancelScope() as scope:
            async with diga.phones.iter_many(source(), concurrency=3) as lookups:
                await until(lambda: server.attempts == 3)
                scope.cancel()
                await anext(lookups)

        await until(ended.is_set)
        await until(lambda: not diga.stats.in_flight)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
async def test_live_objects_cannot_be_copied(copied: Callable[[Any], Any]) -> None:
    """The end of the copy would have closed the connections of the original."""
    async with ByteServer(answers) as server, client(server.url) as diga:
        lookups = diga.phones.iter_many([PHONE_ID, OTHER_ID])
        await anext(lookups)
        for living in (diga, lookups):
            with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
                copied(living)

        assert isinstance(await anext(lookups), Found)
        await lookups.aclose()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_forked_child_that_drops_the_client_leaves_the_parents_intact() -> None:
    """They share the connection, and what tells the loop of it."""
    async with ByteServer(answers) as server:
        diga = client(server.url, retry=ONCE)
        await diga.phones.get(PHONE_ID)
        child = os.fork()
        if not child:
            del diga
            gc.collect()
            os._exit(0)
        os.waitpid(child, 0)  # noqa: ASYNC222 - it exits immediately

        assert (await diga.phones.get(OTHER_ID)).id == OTHER_ID
        assert server.asked == [0, 0]
        await diga.close()


async def test_a_source_may_use_the_same_client() -> None:
    """A worker that waits for the source holds no slot."""
    async with ByteServer(answers) as server:
        narrow = Limits(concurrency=1, adaptive=False)
        async with client(server.url, limits=narrow) as diga:

            async def source() -> AsyncIterator[UUID]:
                for phone_id in (UUID(PHONE_ID), OTHER_ID):
                    yield (await diga.phones.get(phone_id)).id

            batch = await diga.phones.get_many(source(), concurrency=1)

            assert len(batch.phones) == 2
            assert server.attempts == 4


async def test_a_consumer_that_closes_the_client_gets_client_closed_error() -> None:
    async with ByteServer(answers) as server, client(server.url) as diga:
        lookups = diga.phones.iter_many([uuid4() for _ in range(40)], concurrency=2)
        await anext(lookups)
        await diga.close()

        with pytest.raises(ClientClosedError):
            _ = [outcome async for outcome in lookups]


async def test_two_cancelled_closes_leave_nothing() -> None:
    async with ByteServer(hangs()) as server:
        diga = client(server.url)
        batch = diga.phones.get_many([uuid4() for _ in range(9)])
        run = asyncio.ensure_future(batch)
        await until(lambda: server.attempts == 9)
        closing = [asyncio.ensure_future(diga.close()) for _ in range(2)]
        await asyncio.sleep(0)
        for one in closing:
            one.cancel()
        await asyncio.wait([run, *closing])

        assert isinstance(run.exception(), ClientClosedError)
        await until(lambda: all(wire.is_left for wire in server.wires))
        gc.collect()  # or another test would report a session left open


async def test_ten_thousand_concurrent_lookups_leave_nothing_when_cancelled() -> None:
    async with ByteServer(hangs(), answers) as server, client(server.url) as diga:
        ids = [PHONE_ID] * 5000 + [uuid4() for _ in range(500)]
        tasks = [asyncio.ensure_future(diga.phones.get(i)) for i in ids]
        await server.arrived.wait()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

        assert all(task.cancelled() for task in tasks)
        await until(lambda: not diga.stats.in_flight)
        assert (await diga.phones.get(OTHER_ID)).id == OTHER_ID


def test_a_dict_that_contains_itself_is_not_a_phone() -> None:
    loop: dict[str, Any] = phone_fields()
    loop["loop"] = loop
    lists: list[Any] = []
    lists.append(lists)

    for odd in (loop, phone_fields(loop=lists), phone_fields(region_codes=lists)):
        with pytest.raises(InvalidResponseError):
            Phone.from_dict(odd)


async def test_a_source_changed_during_a_run_raises_its_own_error() -> None:
    given = {uuid4(): None for _ in range(20)}
    async with ByteServer(answers) as server, client(server.url) as diga:
        lookups = diga.phones.iter_many(given, concurrency=1)
        await anext(lookups)
        given[uuid4()] = None

        with pytest.raises(RuntimeError, match="changed size"):
            _ = [outcome async for outcome in lookups]
        assert server.attempts == lookups.stats.found


class Hostile:
    """An object that fails whatever it is asked."""

    def __repr__(self) -> str:
        raise ZeroDivisionError

    def __hash__(self) -> int:
        raise ZeroDivisionError

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError


async def test_an_item_whose_methods_raise_is_one_failure() -> None:
    given: list[Any] = [Hostile(), PHONE_ID, [], {}, object]
    async with ByteServer(answers) as server, client(server.url) as diga:
        outcomes = [o async for o in diga.phones.iter_many(given, ordered=True)]
        batch = await diga.phones.get_many(given)

    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [Failed, Found, Failed, Failed, Failed]
    assert {type(error) for error in batch.failures.values()} == {InvalidPhoneIdError}


async def test_a_callable_that_returns_itself_is_not_a_key() -> None:
    def key() -> Any:
        return key

    async with ByteServer(answers) as server, client(server.url, key) as diga:
        with pytest.raises(DigaError) as caught:
            await diga.phones.get(PHONE_ID)

    assert "must be text" in str(caught.value)
    assert not inspect.iscoroutine(key())
