"""
Who may send next: so many at once, no faster than the pace, single lookups first.

Runs also wait while an outage is on; single lookups do not.
Whoever a ``Retry-After`` would hold for longer than it can wait is turned away.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from functools import partial

from diga_async._engine.clock import Clock
from diga_async._flow.circuit_breaker import CircuitBreaker
from diga_async._flow.rate_limiter import RateLimiter

#: When an attempt was let in, and how many were in flight then, itself included.
Turn = tuple[float, int]
Waiter = asyncio.Future[Turn | None]
#: Who waits, and until when at most.
Queue = deque[tuple[Waiter, float]]


class Scheduler:
    """
    One door for every attempt of a client.

    Whoever has to wait parks in one of two queues, and one timer at most
    stands for all of them: nobody polls, and nobody is woken in vain.
    """

    def __init__(
        self,
        limiter: RateLimiter,
        breaker: CircuitBreaker,
        clock: Clock,
        chance: Callable[[], float],
    ) -> None:
        self.in_flight = 0
        self._limiter = limiter
        self._breaker = breaker
        self._clock = clock
        self._chance = chance
        self._interactive: Queue = deque()
        self._bulk: Queue = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf

    async def enter(self, *, interactive: bool, deadline: float) -> Turn | None:
        """
        Wait until one attempt may start; each that was let in has a `leave`.

        Args:
            interactive: Go ahead of all who are not.
            deadline: When to give up, on the client's clock.

        Returns:
            The turn it got; None when the deadline came first, or at once when
            the limiter is held for longer than there is.
        """
        turn = self.try_acquire(self._clock.now(), interactive=interactive)
        return turn or await self._wait(interactive=interactive, deadline=deadline)

    def try_acquire(self, now: float, *, interactive: bool) -> Turn | None:
        """
        As `enter`, but without waiting: nearly always nobody has to.

        Returns:
            The turn it got; None when it has to wait.
        """
        queue = self._interactive if interactive else self._bulk
        ahead = self._interactive or (self._bulk and not interactive)
        if ahead or self._delay(queue, now) > 0.0:
            return None
        return self._start(queue, now)

    def leave(self) -> None:
        """One attempt has ended."""
        self.in_flight -= 1
        if self._interactive or self._bulk:
            self.serve()

    def serve(self) -> None:
        """Let in whoever may start now; set the timer for the next."""
        while (queue := self._next_queue()) is not None:
            now = self._clock.now()
            delay = self._delay(queue, now)
            if delay > 0.0:
                self._set_timer(now, delay)
                return
            waiter, _ = queue.popleft()
            waiter.set_result(self._start(queue, now))

    def turn_away(self, now: float) -> None:
        """The limiter may be held anew: give up for those that it leaves no time."""
        if not self._limiter.blocked_for(now):
            return
        for queue in (self._interactive, self._bulk):
            for waiter, deadline in queue:
                if self._is_held_too_long(queue, deadline, now):
                    _give_up(waiter)

    def _is_held_too_long(self, queue: Queue, deadline: float, now: float) -> bool:
        is_run = queue is self._bulk
        most = self._breaker.most_seconds if is_run else deadline - now
        return self._limiter.blocked_for(now) > most

    def _delay(self, queue: Queue, now: float) -> float:
        if self.in_flight >= self._limiter.slots:
            return math.inf  # whoever leaves lets the next one in
        delay = self._limiter.wait(now)
        return (
            delay if queue is self._interactive else max(delay, self._breaker.wait(now))
        )

    def _start(self, queue: Queue, now: float) -> Turn:
        self.in_flight += 1
        chance = self._chance()
        self._limiter.sent(now, chance)
        if queue is self._bulk:
            self._breaker.sent(now, chance)
        return now, self.in_flight

    def _next_queue(self) -> Queue | None:
        for queue in (self._interactive, self._bulk):
            while queue and queue[0][0].done():
                _ = queue.popleft()
            if queue:
                return queue
        return None

    async def _wait(self, *, interactive: bool, deadline: float) -> Turn | None:
        queue = self._interactive if interactive else self._bulk
        if self._is_held_too_long(queue, deadline, self._clock.now()):
            return None
        waiter: Waiter = asyncio.get_running_loop().create_future()
        queue.append((waiter, deadline))
        self.serve()
        give_up = None
        if deadline < math.inf:
            left = max(0.0, deadline - self._clock.now())
            give_up = self._clock.call_later(left, partial(_give_up, waiter))
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.result():
                self.leave()
            raise
        finally:
            if give_up is not None:
                give_up.cancel()

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
        """Stop the timer; nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _give_up(waiter: Waiter) -> None:
    if not waiter.done():
        waiter.set_result(None)
