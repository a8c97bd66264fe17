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

from diga_async._clock import Clock
from diga_async._outage import Outage
from diga_async._pace import Pace

#: When an attempt was let in, and how many were in flight then, itself included.
Turn = tuple[float, int]
Waiter = asyncio.Future[Turn | None]
#: Who waits, and until when at most.
Queue = deque[tuple[Waiter, float]]


class Admission:
    """
    One door for every attempt of a client.

    Whoever has to wait parks in one of two queues, and one timer at most
    stands for all of them: nobody polls, and nobody is woken in vain.
    """

    def __init__(
        self, pace: Pace, outage: Outage, clock: Clock, chance: Callable[[], float]
    ) -> None:
        self.in_flight = 0
        self._pace = pace
        self._outage = outage
        self._clock = clock
        self._chance = chance
        self._urgent: Queue = deque()
        self._patient: Queue = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf

    async def enter(self, *, urgent: bool, deadline: float) -> Turn | None:
        """
        Wait until one attempt may start; each that was let in has a `leave`.

        Args:
            urgent: Go ahead of all who are not.
            deadline: When to give up, on the client's clock.

        Returns:
            The turn it got; None when the deadline came first, or at once when
            the pace is held for longer than there is.
        """
        turn = self.enter_now(self._clock.now(), urgent=urgent)
        return turn or await self._wait(urgent=urgent, deadline=deadline)

    def enter_now(self, now: float, *, urgent: bool) -> Turn | None:
        """
        As `enter`, but without waiting: nearly always nobody has to.

        Returns:
            The turn it got; None when it has to wait.
        """
        queue = self._urgent if urgent else self._patient
        ahead = self._urgent or (self._patient and not urgent)
        if ahead or self._delay(queue, now) > 0.0:
            return None
        return self._start(queue, now)

    def leave(self) -> None:
        """One attempt has ended."""
        self.in_flight -= 1
        if self._urgent or self._patient:
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
        """The pace may be held anew: give up for those that it leaves no time."""
        if not self._pace.held(now):
            return
        for queue in (self._urgent, self._patient):
            for waiter, deadline in queue:
                if self._is_held_too_long(queue, deadline, now):
                    _give_up(waiter)

    def _is_held_too_long(self, queue: Queue, deadline: float, now: float) -> bool:
        is_run = queue is self._patient
        most = self._outage.most_seconds if is_run else deadline - now
        return self._pace.held(now) > most

    def _delay(self, queue: Queue, now: float) -> float:
        if self.in_flight >= self._pace.slots:
            return math.inf  # whoever leaves lets the next one in
        delay = self._pace.wait(now)
        return delay if queue is self._urgent else max(delay, self._outage.wait(now))

    def _start(self, queue: Queue, now: float) -> Turn:
        self.in_flight += 1
        chance = self._chance()
        self._pace.sent(now, chance)
        if queue is self._patient:
            self._outage.sent(now, chance)
        return now, self.in_flight

    def _next_queue(self) -> Queue | None:
        for queue in (self._urgent, self._patient):
            while queue and queue[0][0].done():
                _ = queue.popleft()
            if queue:
                return queue
        return None

    async def _wait(self, *, urgent: bool, deadline: float) -> Turn | None:
        queue = self._urgent if urgent else self._patient
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
