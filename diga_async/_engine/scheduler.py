"""
When an attempt may start: within the limits, single calls before runs.

While the circuit breaker holds, runs wait for a probe; single calls do not.
A call that a ``Retry-After`` blocks for longer than the call can wait is rejected.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable

from diga_async._engine.clock import Clock
from diga_async._flow.circuit_breaker import CircuitBreaker, Purpose
from diga_async._flow.local_limit import LocalLimit
from diga_async._flow.rate_limiter import RateLimiter

#: When an attempt started, how many were in flight then, itself included, and what
#: it is for.
Permit = tuple[float, int, Purpose]
Waiter = asyncio.Future[Permit | None]
#: Returns the deadline of a call, which a follower may extend.
Deadline = Callable[[], float]
#: The waiters and their deadlines.
Queue = deque[tuple[Waiter, Deadline]]


class Scheduler:
    """
    Gives a permit to every attempt of a client.

    Calls that have to wait park in one of two queues, and at most one timer serves
    all of them: nothing polls, and a call wakes up only with a permit.
    """

    def __init__(
        self,
        limiter: RateLimiter,
        breaker: CircuitBreaker,
        clock: Clock,
        chance: Callable[[], float],
        local: LocalLimit | None = None,
    ) -> None:
        self.in_flight = 0
        self._local = local or LocalLimit(math.inf)
        self._limiter = limiter
        self._breaker = breaker
        self._clock = clock
        self._chance = chance
        self._interactive: Queue = deque()
        self._bulk: Queue = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf

    async def acquire(self, *, bulk: bool, deadline: Deadline) -> Permit | None:
        """
        Wait until one attempt may start; each permit has its `release`.

        Args:
            bulk: Whether single calls go first.
            deadline: When to give up, on the client's clock. A call whose deadline
                is moved keeps its place.

        Returns:
            The permit; None when the deadline came first, or immediately when a
            ``Retry-After`` blocks the client for longer than the call can wait.
        """
        permit = self.try_acquire(self._clock.now(), bulk=bulk)
        return permit or await self._wait(bulk=bulk, deadline=deadline)

    def try_acquire(self, now: float, *, bulk: bool) -> Permit | None:
        """
        Return a permit without waiting, which is the common case.

        Returns:
            The permit; None when the call has to wait.
        """
        queue = self._bulk if bulk else self._interactive
        ahead = self._interactive or (bulk and self._bulk)
        if ahead or self._delay(queue, now) > 0.0:
            return None
        return self._start(queue, now)

    def release(self) -> None:
        """Record the end of one attempt."""
        self.in_flight -= 1
        if self._interactive or self._bulk:
            self.serve()

    def serve(self) -> None:
        """Give permits to the calls that may start now; set the timer for the next."""
        while (queue := self._next_queue()) is not None:
            now = self._clock.now()
            delay = self._delay(queue, now)
            if delay > 0.0:
                self._set_timer(now, delay)
                return
            waiter, _ = queue.popleft()
            waiter.set_result(self._start(queue, now))

    def reject_blocked(self, now: float) -> None:
        """Reject the waiters that a ``Retry-After`` leaves no time."""
        if not self._limiter.blocked_for(now):
            return
        for queue in (self._interactive, self._bulk):
            for waiter, deadline in queue:
                if self._is_blocked_too_long(queue, deadline, now):
                    _give_up(waiter)

    def _is_blocked_too_long(
        self, queue: Queue, deadline: Deadline, now: float
    ) -> bool:
        is_bulk = queue is self._bulk
        most = self._breaker.most_seconds if is_bulk else deadline() - now
        return self._limiter.blocked_for(now) > most

    def _delay(self, queue: Queue, now: float) -> float:
        local = self._local
        if self.in_flight >= local.slots or self.in_flight >= self._limiter.slots:
            return math.inf  # until the next release
        delay = max(self._limiter.opens_at, local.opens_at) - now
        if queue is self._bulk and self._breaker.is_holding:
            return max(delay, self._breaker.wait(now))
        return delay

    def _start(self, queue: Queue, now: float) -> Permit:
        self.in_flight += 1
        chance = self._chance()
        self._limiter.sent(now, chance, self.in_flight)
        purpose = Purpose.CALL
        if queue is self._bulk and self._breaker.is_holding:
            purpose = self._breaker.sent(now, chance)
        return now, self.in_flight, purpose

    def _next_queue(self) -> Queue | None:
        for queue in (self._interactive, self._bulk):
            while queue and queue[0][0].done():
                _ = queue.popleft()
            if queue:
                return queue
        return None

    async def _wait(self, *, bulk: bool, deadline: Deadline) -> Permit | None:
        queue = self._bulk if bulk else self._interactive
        if self._is_blocked_too_long(queue, deadline, self._clock.now()):
            return None
        waiter: Waiter = asyncio.get_running_loop().create_future()
        queue.append((waiter, deadline))
        self.serve()
        timer = _DeadlineTimer(waiter, deadline, self._clock)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.result():
                self.release()
            raise
        finally:
            timer.cancel()

    def _set_timer(self, now: float, delay: float) -> None:
        due = now + delay
        if due >= self._due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._clock.call_later(delay, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._due = math.inf
        self.serve()

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _DeadlineTimer:
    """Ends a wait at its deadline, which may move meanwhile."""

    def __init__(self, waiter: Waiter, deadline: Deadline, clock: Clock) -> None:
        self._waiter = waiter
        self._deadline = deadline
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._due = deadline()
        self._set()

    def _set(self) -> None:
        if self._due < math.inf:
            left = max(0.0, self._due - self._clock.now())
            self._timer = self._clock.call_later(left, self._ring)

    def _ring(self) -> None:
        moved, self._due = self._deadline() > self._due, self._deadline()
        if moved:
            self._set()
        else:
            _give_up(self._waiter)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _give_up(waiter: Waiter) -> None:
    if not waiter.done():
        waiter.set_result(None)
