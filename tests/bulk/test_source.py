"""The ids of a run, taken one at a time from any iterable."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any
from uuid import UUID

import pytest
from fakes import PHONE_ID, turn

from diga_async._bulk.source import Source, breath_after

X = UUID(PHONE_ID)


async def all_of(phone_ids: Any) -> list[Any]:
    source = Source(phone_ids)
    taken = []
    while True:
        try:
            taken.append(await source.take())
        except StopAsyncIteration:
            return taken


def generator(*values: Any) -> Iterator[Any]:
    yield from values


async def async_generator(*values: Any) -> AsyncIterator[Any]:
    for value in values:
        await asyncio.sleep(0)
        yield value


class AsyncOnly:
    """An async iterable that is not a generator."""

    def __init__(self, *values: Any) -> None:
        self._values = iter(values)

    def __aiter__(self) -> "AsyncOnly":
        return self

    async def __anext__(self) -> Any:
        for value in self._values:
            return value
        raise StopAsyncIteration


@pytest.mark.parametrize(
    "phone_ids",
    [
        [X, "a", None],
        (X, "a", None),
        {X: 1, "a": 2, None: 3},
        generator(X, "a", None),
        iter([X, "a", None]),
        async_generator(X, "a", None),
        AsyncOnly(X, "a", None),
    ],
    ids=lambda phone_ids: type(phone_ids).__name__,
)
async def test_any_iterable_is_read_in_order(phone_ids: Any) -> None:
    """An item that is not an id is detected later and stops nothing."""
    assert await all_of(phone_ids) == [X, "a", None]


@pytest.mark.parametrize("phone_ids", [[], generator(), async_generator()])
async def test_an_empty_source_ends_immediately(phone_ids: Any) -> None:
    assert await all_of(phone_ids) == []


@pytest.mark.parametrize("one", [PHONE_ID, PHONE_ID.encode(), X])
def test_one_id_alone_is_not_a_source(one: Any) -> None:
    """Otherwise a text would be looked up character by character."""
    with pytest.raises(TypeError, match="not one id"):
        Source(one)


@pytest.mark.parametrize("nothing", [None, 1, len])
def test_a_value_that_is_not_iterable_is_not_a_source(nothing: Any) -> None:
    with pytest.raises(TypeError, match="not iterable"):
        Source(nothing)


@pytest.mark.parametrize(
    ("phone_ids", "length"),
    [([X, X], 2), ({X}, 1), (range(7), 7), (iter([X]), None), (AsyncOnly(), None)],
)
def test_the_length_is_that_of_the_source(phone_ids: Any, length: int | None) -> None:
    assert Source(phone_ids).length == length


async def test_an_infinite_source_is_read_lazily() -> None:
    taken = 0

    def endless() -> Iterator[UUID]:
        nonlocal taken
        while True:
            taken += 1
            yield X

    source = Source(endless())
    assert [await source.take() for _ in range(3)] == [X, X, X]
    assert taken == 3
    await source.close()


async def test_concurrent_takes_from_an_async_source_take_turns() -> None:
    """An async generator itself refuses a second taker."""
    source = Source(async_generator(*range(20)))

    taken = await asyncio.gather(*(source.take() for _ in range(20)))

    assert sorted(taken) == list(range(20))


async def test_a_cancelled_take_leaves_the_turn_to_others() -> None:
    gate = asyncio.Event()

    source = Source(AsyncTurns(gate))
    first = asyncio.create_task(source.take())
    second = asyncio.create_task(source.take())
    await turn()
    first.cancel()
    await turn()
    gate.set()

    assert await second == 1
    assert first.cancelled()


class AsyncTurns:
    """An async iterator that a cancelled taker does not end."""

    def __init__(self, gate: asyncio.Event) -> None:
        self._gate = gate

    def __aiter__(self) -> "AsyncTurns":
        return self

    async def __anext__(self) -> Any:
        await self._gate.wait()
        return 1


@pytest.mark.parametrize("kind", ["generator", "async generator"])
async def test_an_exception_of_the_source_is_unchanged(kind: str) -> None:
    def broken() -> Iterator[UUID]:
        yield X
        raise ZeroDivisionError

    async def async_broken() -> AsyncIterator[UUID]:
        for phone_id in broken():
            yield phone_id

    source = Source(broken() if kind == "generator" else async_broken())
    assert await source.take() == X
    with pytest.raises(ZeroDivisionError):
        await source.take()
    with pytest.raises(StopAsyncIteration):
        await source.take()


async def test_closing_ends_a_generator_so_that_its_finally_runs() -> None:
    ended: list[str] = []

    def plain() -> Iterator[UUID]:
        try:
            yield X
        finally:
            ended.append("plain")

    async def in_async() -> AsyncIterator[UUID]:
        try:
            yield X
        finally:
            await asyncio.sleep(0)
            ended.append("async")

    for phone_ids in (plain(), in_async()):
        source = Source(phone_ids)
        await source.take()
        await source.close()
        await source.close()

    assert ended == ["plain", "async"]


@pytest.mark.parametrize("phone_ids", [[X], iter([X, X]), AsyncOnly(X, X)])
async def test_closing_leaves_other_iterables_alone(phone_ids: Iterable[UUID]) -> None:
    source = Source(phone_ids)
    await source.take()
    await source.close()


async def test_a_list_may_grow_while_it_is_read() -> None:
    phone_ids = [1]
    source = Source(phone_ids)  # type: ignore[arg-type]
    assert await source.take() == 1
    phone_ids.append(2)

    assert await source.take() == 2


# --- items that block the event loop


class Cursor:
    """An iterator whose items block the loop for a while."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = seconds
        self.now = 0.0
        self.taken = 0

    def __iter__(self) -> Iterator[int]:
        for number, seconds in enumerate(self.seconds):
            self.now += seconds
            self.taken += 1
            yield number


async def test_items_that_block_are_taken_one_after_another() -> None:
    """Otherwise all workers take theirs before the first request goes out."""
    cursor = Cursor(*[0.6] * 8)
    source = Source(cursor, lambda: cursor.now)
    tasks = [asyncio.create_task(source.take()) for _ in range(8)]
    await turn()
    assert cursor.taken == 1

    assert sorted(await asyncio.gather(*tasks)) == list(range(8))


async def test_items_that_do_not_block_are_taken_immediately() -> None:
    cursor = Cursor(*[0.001] * 8)
    source = Source(cursor, lambda: cursor.now)
    tasks = [asyncio.create_task(source.take()) for _ in range(8)]
    await asyncio.sleep(0)

    assert cursor.taken == 8
    await asyncio.gather(*tasks)


async def test_the_end_of_a_source_that_blocks_is_the_end_for_all() -> None:
    cursor = Cursor(0.6, 0.6)
    source = Source(cursor, lambda: cursor.now)
    taken = await asyncio.gather(
        *(source.take() for _ in range(5)), return_exceptions=True
    )

    assert [type(each) for each in taken].count(StopAsyncIteration) == 3


@pytest.mark.parametrize(
    ("seconds", "breath"), [(0.0, 0.0), (0.009, 0.0), (0.02, 0.005), (9.0, 0.05)]
)
def test_the_loop_has_a_share_of_the_time_that_an_item_took(
    seconds: float, breath: float
) -> None:
    assert breath_after(seconds) == breath
