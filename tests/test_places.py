"""Places: as many as there are, in the order of asking, none lost to a cancellation."""

import asyncio

import pytest
from fakes import turn

from diga_async._places import Places


async def queue(places, *names):
    """Let so many wait; return where they write their names when they have one."""
    taken = []

    async def take(name):
        await places.take()
        taken.append(name)

    tasks = {name: asyncio.ensure_future(take(name)) for name in names}
    await turn()
    return taken, tasks


def test_there_are_as_many_as_there_are():
    places = Places(2)

    assert [places.take_now() for _ in range(3)] == [True, True, False]


async def test_a_free_place_is_taken_without_a_turn_of_the_loop():
    taking = Places(1).take()

    with pytest.raises(StopIteration):
        taking.send(None)


async def test_a_place_given_back_goes_to_the_first_in_line():
    places = Places(1)
    taken, tasks = await queue(places, "a", "b", "c")

    places.give_back()
    await turn()

    assert taken == ["a", "b"]
    assert not places.take_now()
    places.give_back()
    await asyncio.gather(*tasks.values())


async def test_who_leaves_the_line_takes_none():
    places = Places(1)
    taken, tasks = await queue(places, "a", "b", "c")
    tasks["b"].cancel()
    await turn()

    places.give_back()
    await turn()

    assert taken == ["a", "c"]


async def test_who_leaves_as_its_place_comes_gives_it_on():
    """Both in one turn of the loop: the place is there and the task is cancelled."""
    places = Places(1)
    taken, tasks = await queue(places, "a", "b", "c")

    places.give_back()
    tasks["b"].cancel()
    await turn()

    assert taken == ["a", "c"]
    places.give_back()
    assert places.take_now()
