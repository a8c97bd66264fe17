"""Which call may send next."""

import asyncio
import math

import pytest
from fakes import FakeClock, turn

from diga_async._engine.scheduler import Scheduler
from diga_async._flow.circuit_breaker import FAILURES_TO_OPEN, CircuitBreaker, Purpose


def never():
    return math.inf


class RateLimiter:
    """A limiter with scripted answers."""

    def __init__(self, slots=1, gap=0.0):
        self.slots = slots
        self.gap = gap
        self.opens_at = 0.0
        self.chances = []
        self.in_flight = []
        self.blocked_until = -math.inf

    def blocked_for(self, now):
        return max(0.0, self.blocked_until - now)

    def sent(self, now, chance, in_flight):
        self.opens_at = now + self.gap
        self.chances.append(chance)
        self.in_flight.append(in_flight)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def limiter():
    return RateLimiter()


@pytest.fixture
def breaker():
    return CircuitBreaker(300.0)


@pytest.fixture
def scheduler(limiter, breaker, clock):
    return Scheduler(limiter, breaker, clock, lambda: 0.25)


class Queue:
    """Lookups that wait for permits, and the order in which they get them."""

    def __init__(self, scheduler):
        self.scheduler = scheduler
        self.entered = []
        self.refused = []
        self.tasks = {}

    async def come(self, name, *, interactive=False, deadline=math.inf):
        self.tasks[name] = asyncio.create_task(self._enter(name, interactive, deadline))
        await turn()

    async def _enter(self, name, interactive, deadline):
        granted = await self.scheduler.acquire(
            bulk=not interactive, deadline=lambda: deadline
        )
        (self.entered if granted else self.refused).append(name)

    async def leave(self):
        self.scheduler.release()
        await turn()


@pytest.fixture
async def queue(scheduler):
    queue = Queue(scheduler)
    yield queue
    for task in queue.tasks.values():
        task.cancel()
    await turn()


async def test_a_free_slot_is_granted_without_waiting(scheduler):
    entering = scheduler.acquire(bulk=True, deadline=never)

    with pytest.raises(StopIteration) as done:
        entering.send(None)

    assert done.value.value == (1000.0, 1, Purpose.CALL)
    assert scheduler.in_flight == 1


async def test_no_more_attempts_are_in_flight_than_slots(scheduler, limiter, queue):
    limiter.slots = 2
    for name in "abc":
        await queue.come(name)

    assert (queue.entered, scheduler.in_flight) == (["a", "b"], 2)

    await queue.leave()
    assert (queue.entered, scheduler.in_flight) == (["a", "b", "c"], 2)


async def test_a_permit_has_the_time_of_its_grant(scheduler, clock):
    """The limiter would take an attempt permitted before a cut for a later one."""
    await scheduler.acquire(bulk=True, deadline=never)
    waiting = asyncio.create_task(scheduler.acquire(bulk=True, deadline=never))
    await turn()

    scheduler.release()
    clock._now += 5.0

    assert await waiting == (1000.0, 1, Purpose.CALL)


async def test_interactive_calls_go_ahead_of_bulk_calls(queue):
    await queue.come("first")
    await queue.come("run 1")
    await queue.come("run 2")
    await queue.come("single 1", interactive=True)
    await queue.come("single 2", interactive=True)

    for _ in range(4):
        await queue.leave()

    assert queue.entered == ["first", "single 1", "single 2", "run 1", "run 2"]


async def test_a_new_call_does_not_overtake_its_equals(
    scheduler, limiter, clock, queue
):
    limiter.gap = 1.0
    await queue.come("first")
    await queue.come("second")
    limiter.slots, limiter.opens_at = 9, 0.0
    await queue.come("third")

    assert queue.entered == ["first", "second"]


async def test_a_new_single_call_does_not_overtake_a_queued_one(limiter, queue):
    limiter.slots, limiter.opens_at = 1, math.inf
    await queue.come("first", interactive=True)
    limiter.opens_at = 0.0  # the timer has not rung yet
    await queue.come("second", interactive=True)

    assert queue.entered == ["first"]


async def test_one_timer_ends_the_wait_for_the_rate_limiter(limiter, clock, queue):
    limiter.slots, limiter.gap = 9, 0.5
    for name in "abc":
        await queue.come(name)
    assert (queue.entered, clock.waiting) == (["a"], [0.5])

    await clock.advance(0.5)
    assert (queue.entered, clock.waiting) == (["a", "b"], [0.5])

    await clock.advance(0.5)
    assert (queue.entered, clock.waiting) == (["a", "b", "c"], [])


async def test_a_faster_rate_takes_effect_immediately(limiter, clock, queue):
    limiter.slots, limiter.gap = 9, 10.0
    await queue.come("a")
    await queue.come("b")
    limiter.opens_at = clock.now() + 1.0
    await queue.leave()

    assert clock.waiting == [1.0]
    await clock.advance(1.0)
    assert queue.entered == ["a", "b"]


async def test_a_deadline_ends_the_wait(scheduler, clock, queue):
    await queue.come("first")
    await queue.come("late", interactive=True, deadline=clock.now() + 2.0)

    await clock.advance(1.9)
    assert queue.refused == []
    await clock.advance(0.1)
    assert queue.refused == ["late"]

    await queue.leave()
    assert scheduler.in_flight == 0


async def test_a_deadline_in_the_past_ends_the_wait_immediately(clock, queue):
    await queue.come("first")
    await queue.come("late", interactive=True, deadline=clock.now() - 1.0)
    await clock.advance(0.0)

    assert queue.refused == ["late"]


async def test_a_call_whose_deadline_is_moved_keeps_its_place(scheduler, clock, queue):
    """A follower with more time has joined it."""
    deadlines = {"shared": clock.now() + 2.0}
    await queue.come("first")
    waiting = asyncio.create_task(
        scheduler.acquire(bulk=False, deadline=lambda: deadlines["shared"])
    )
    await turn()
    await queue.come("later", interactive=True)

    deadlines["shared"] += 2.0
    await clock.advance(3.0)
    await queue.leave()
    assert waiting.done()
    assert queue.entered == ["first"]


async def test_a_deadline_that_was_moved_ends_the_wait_later(scheduler, clock, queue):
    deadlines = {"shared": clock.now() + 2.0}
    await queue.come("first")
    waiting = asyncio.create_task(
        scheduler.acquire(bulk=False, deadline=lambda: deadlines["shared"])
    )
    await turn()
    deadlines["shared"] += 2.0

    await clock.advance(3.9)
    assert not waiting.done()
    await clock.advance(0.1)
    assert await waiting is None
    assert clock.waiting == []


async def test_a_call_cancelled_in_the_queue_takes_no_slot(scheduler, queue):
    await queue.come("first")
    await queue.come("second")
    queue.tasks["second"].cancel()
    await queue.leave()

    assert scheduler.in_flight == 0


async def test_a_call_cancelled_as_its_permit_comes_passes_it_on(scheduler, queue):
    await queue.come("first")
    await queue.come("second")
    await queue.come("third")

    scheduler.release()  # lets "second" in, which has not run yet
    queue.tasks["second"].cancel()
    await turn()

    assert (queue.entered, scheduler.in_flight) == (["first", "third"], 1)


async def test_the_limiter_is_told_of_every_start(scheduler, limiter, queue):
    limiter.slots = 2
    await queue.come("a")
    await queue.come("b")
    await queue.come("c")
    await queue.leave()

    assert limiter.chances == [0.25, 0.25, 0.25]
    assert limiter.in_flight == [1, 2, 2]


async def test_an_outage_delays_runs_and_not_single_calls(
    limiter, breaker, clock, queue
):
    limiter.slots = 9
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed(clock.now(), 0.0)
    for name in ("run 1", "run 2", "run 3"):
        await queue.come(name)
    await queue.come("single", interactive=True)
    assert queue.entered == ["single"]

    await clock.advance(1.0)
    assert queue.entered == ["single", "run 1"]

    breaker.succeeded()
    await queue.leave()
    assert queue.entered == ["single", "run 1", "run 2", "run 3"]


@pytest.mark.parametrize(("left", "refused"), [(10.1, False), (9.9, True)])
async def test_a_cool_down_rejects_a_call_that_cannot_wait(
    limiter, clock, queue, left, refused
):
    limiter.opens_at = limiter.blocked_until = clock.now() + 10.0
    await queue.come("one", interactive=True, deadline=clock.now() + left)

    assert bool(queue.refused) is refused
    await clock.advance(10.0)
    assert bool(queue.entered) is not refused


async def test_a_cool_down_rejects_queued_calls_that_cannot_wait(
    scheduler, limiter, clock, queue
):
    """A run as long as an outage may last, and no longer."""
    await queue.come("first")
    await queue.come("run 1")
    await queue.come("in a hurry", interactive=True, deadline=clock.now() + 300.0)
    await queue.come("at leisure", interactive=True, deadline=clock.now() + 400.0)

    limiter.blocked_until = clock.now() + 300.0
    scheduler.reject_blocked(clock.now())
    await turn()
    assert queue.refused == []

    limiter.blocked_until = clock.now() + 300.1
    scheduler.reject_blocked(clock.now())
    await turn()
    assert queue.refused == ["in a hurry", "run 1"]

    await queue.leave()
    assert queue.entered == ["first", "at leisure"]


async def test_a_run_waits_for_the_rest_of_a_long_cool_down(limiter, clock, queue):
    limiter.opens_at = limiter.blocked_until = clock.now() + 3_600.0
    await queue.come("run 1")
    assert queue.refused == ["run 1"]

    await clock.advance(3_300.0)
    await queue.come("run 2")
    await clock.advance(300.0)
    assert queue.entered == ["run 2"]


async def test_closing_stops_the_timer(scheduler, limiter, clock, queue):
    limiter.slots, limiter.gap = 9, 5.0
    await queue.come("a")
    await queue.come("b")

    scheduler.close()
    scheduler.close()

    assert clock.waiting == []


async def test_a_permit_granted_at_its_deadline_stays_granted(scheduler, clock, queue):
    """The deadline and the turn may come in the same moment."""
    await queue.come("first")
    await queue.come("second", interactive=True, deadline=clock.now() + 1.0)

    scheduler.release()
    for _, _, timer in clock._timers:
        timer.callback()
    await turn()

    assert (queue.entered, queue.refused) == (["first", "second"], [])
