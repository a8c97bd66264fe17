"""The cooperative yield: a few calls in each turn, all of them, in order."""

import asyncio
import time
from itertools import pairwise
from typing import Any

import pytest

from diga_async._bulk.cooperative_yield import (
    MOST_A_TURN,
    SAMPLE,
    SATURATED,
    CooperativeYield,
    thread_switches,
)


class Load:
    """A clock, and one that counts only a part of the time."""

    def __init__(self) -> None:
        self.time = self.worked = 0.0
        self.slept = self.preempted = 0

    def now(self) -> float:
        return self.time

    def cpu(self) -> float:
        return self.worked

    def switches(self) -> tuple[int, int]:
        return self.slept, self.preempted


async def see(cooperative: CooperativeYield, load: Load, part: float) -> None:
    """Let *cooperative* see a loop that is busy for that part of the time."""
    load.time += 1.0
    load.worked += part
    for _ in range(cooperative._until_sample):
        await cooperative.wait()
    await asyncio.sleep(0)


async def cooperative_under(part: float) -> CooperativeYield:
    load = Load()
    cooperative = CooperativeYield(load.now, load.cpu, load.switches)
    await see(cooperative, load, part)
    return cooperative


async def passed(cooperative: CooperativeYield, count: int) -> list[int]:
    """Let *count* calls wait concurrently; return how many started in each turn."""
    gone: list[int] = []

    async def go(number: int) -> None:
        await cooperative.wait()
        gone.append(number)

    tasks = [asyncio.ensure_future(go(number)) for number in range(count)]
    counts = [0]
    while len(gone) < count:
        await asyncio.sleep(0)
        counts.append(len(gone))
    assert gone == list(range(count))
    await asyncio.gather(*tasks)
    return [after - before for before, after in pairwise(counts)]


@pytest.mark.parametrize("part", [SATURATED, 1.0])
async def test_a_few_calls_start_in_each_turn_of_a_saturated_loop(part: float) -> None:
    turns = await passed(await cooperative_under(part), 2 * MOST_A_TURN + 1)

    assert turns == [0, MOST_A_TURN, 0, MOST_A_TURN, 1]


async def test_a_call_that_queues_does_not_wait_for_a_turn_first() -> None:
    cooperative = await cooperative_under(1.0)
    before = [asyncio.ensure_future(later(cooperative)) for _ in range(MOST_A_TURN + 1)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # one of them is queued
    wait = cooperative.wait()

    waits_for = wait.send(None)

    assert isinstance(waits_for, asyncio.Future)
    waits_for.cancel()
    wait.close()
    await asyncio.gather(*before)


async def later(cooperative: CooperativeYield) -> None:
    await cooperative.wait()


async def test_a_loop_counts_as_saturated_at_first() -> None:
    assert await passed(CooperativeYield(time.monotonic), MOST_A_TURN) == [
        0,
        MOST_A_TURN,
    ]


@pytest.mark.parametrize(
    ("slept", "preempted", "is_saturated"),
    [(0, 1, True), (3, 3, True), (3, 2, False), (0, 0, False)],
)
async def test_a_loop_that_waits_for_the_core_is_saturated(
    slept: int, preempted: int, *, is_saturated: bool
) -> None:
    """Another process on the core leaves the loop half of the time."""
    load = Load()
    cooperative = CooperativeYield(load.now, load.cpu, load.switches)
    load.slept, load.preempted = slept, preempted
    await see(cooperative, load, SATURATED / 2)

    assert cooperative._is_saturated is is_saturated


def test_a_thread_that_sleeps_is_counted_where_the_system_counts() -> None:
    before, _ = thread_switches()
    for _ in range(3):
        time.sleep(0.001)
    after, _ = thread_switches()

    assert after - before >= 3 or after == 0


async def test_an_idle_loop_starts_one_call_in_each_turn_without_waiting() -> None:
    cooperative = await cooperative_under(SATURATED - 0.01)

    assert await passed(cooperative, 5) == [1, 0, 1, 1, 1, 1]


async def test_many_waiting_calls_start_in_groups() -> None:
    """Checking every waiter in every turn would cost turns times waiters."""
    cooperative = await cooperative_under(0.1)

    turns = await passed(cooperative, 1000)

    assert max(turns) <= 1000 / MOST_A_TURN
    assert len(turns) < 100


async def test_a_waiting_call_is_not_checked_in_every_turn() -> None:
    """Otherwise 1,000 in flight cost twice as much each as 64."""
    cooperative = await cooperative_under(1.0)
    steps = 0
    loop = asyncio.get_running_loop()
    tasks = [asyncio.ensure_future(cooperative.wait()) for _ in range(50 * MOST_A_TURN)]
    call_soon = loop.call_soon

    def counting(*given: Any, **options: Any) -> Any:
        nonlocal steps
        steps += 1
        return call_soon(*given, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "call_soon", counting)
        await asyncio.gather(*tasks)

    assert steps < 5 * len(tasks)


async def test_a_call_cancelled_while_it_waits_delays_no_other() -> None:
    cooperative = await cooperative_under(1.0)
    tasks = [asyncio.ensure_future(cooperative.wait()) for _ in range(3 * MOST_A_TURN)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for task in tasks[MOST_A_TURN : 2 * MOST_A_TURN]:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(d) for d in done].count(asyncio.CancelledError) == MOST_A_TURN


async def test_it_notices_when_the_load_of_the_loop_changes() -> None:
    load = Load()
    cooperative = CooperativeYield(load.now, load.cpu, load.switches)
    seen = []
    for part in (0.1, 0.9, 0.2):
        await see(cooperative, load, part)
        seen.append(await passed(cooperative, 1))

    assert seen == [[1], [0, 1], [1]]
    assert cooperative._until_sample == SAMPLE - 1
