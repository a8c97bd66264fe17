"""A semaphore that costs little when a slot is free."""

import asyncio

import pytest
from fakes import turn

from diga_async._bulk.semaphore import Semaphore


async def queue(semaphore, *names):
    """Start waiters; return the list to which they add their names."""
    taken = []

    async def take(name):
        await semaphore.acquire()
        taken.append(name)

    tasks = {name: asyncio.ensure_future(take(name)) for name in names}
    await turn()
    return taken, tasks


def test_no_more_slots_are_taken_than_there_are():
    semaphore = Semaphore(2)

    assert [semaphore.try_acquire() for _ in range(3)] == [True, True, False]


async def test_a_free_slot_is_taken_without_waiting():
    taking = Semaphore(1).acquire()

    with pytest.raises(StopIteration):
        taking.send(None)


async def test_a_released_slot_goes_to_the_first_waiter():
    semaphore = Semaphore(1)
    taken, tasks = await queue(semaphore, "a", "b", "c")

    semaphore.release()
    await turn()

    assert taken == ["a", "b"]
    assert not semaphore.try_acquire()
    semaphore.release()
    await asyncio.gather(*tasks.values())


async def test_a_cancelled_waiter_takes_no_slot():
    semaphore = Semaphore(1)
    taken, tasks = await queue(semaphore, "a", "b", "c")
    tasks["b"].cancel()
    await turn()

    semaphore.release()
    await turn()

    assert taken == ["a", "c"]


async def test_a_waiter_cancelled_as_its_slot_comes_passes_it_on():
    """Both in one turn of the loop: the slot is released and the task is cancelled."""
    semaphore = Semaphore(1)
    taken, tasks = await queue(semaphore, "a", "b", "c")

    semaphore.release()
    tasks["b"].cancel()
    await turn()

    assert taken == ["a", "c"]
    semaphore.release()
    assert semaphore.try_acquire()
