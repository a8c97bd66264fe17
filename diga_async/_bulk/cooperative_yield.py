"""Spreads the calls of a run over the turns of the event loop."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from types import coroutine
from typing import Any

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

MOST_A_TURN = 20
"""How many calls start in one turn of a saturated loop."""

SAMPLE = 200
"""Calls between two measurements of the loop's load."""

SATURATED = 0.7
"""A loop that works for at least this share of the time is saturated."""


def thread_switches() -> tuple[int, int]:
    """
    Return how often this thread slept, and how often it was preempted.

    Both are 0 where the system does not count them for a single thread.
    """
    with suppress(AttributeError, OSError, ValueError):
        usage = resource.getrusage(resource.RUSAGE_THREAD)
        return usage.ru_nvcsw, usage.ru_nivcsw
    return 0, 0


class CooperativeYield:
    """
    Lets a few calls start in each turn of the event loop.

    While the loop is saturated, each call waits for at least one turn: the responses
    that have arrived are all read before more is sent, which saves a tenth and more
    of the CPU time. At most `MOST_A_TURN` start in one turn, so that the rest of the
    program gets its turns, and the garbage collector finds few young objects.

    While the loop has time to spare, calls start without waiting, one in a turn:
    responses to requests sent together arrive together, and each then waits for the
    others to be read.

    A loop is saturated when it works for most of the time. Where another process uses
    the same core, it works for half of the time at most, and waits for the core rather
    than for responses: then it is preempted at least as often as it sleeps.

    Args:
        now: The time, in seconds.
        cpu: The seconds that this thread has worked.
        switches: How often this thread slept, and how often it was preempted.
    """

    def __init__(
        self,
        now: Callable[[], float],
        cpu: Callable[[], float] = time.thread_time,
        switches: Callable[[], tuple[int, int]] = thread_switches,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._now = now
        self._cpu = cpu
        self._switches = switches
        self._is_saturated = True
        self._since = (now(), cpu(), *switches())
        self._until_sample = SAMPLE
        self._most = self._left = MOST_A_TURN
        self._waiting: deque[asyncio.Future[None]] = deque()

    @coroutine
    def wait(self) -> Generator[Any, None, None]:
        """Wait until the next call may start."""
        self._until_sample -= 1
        if not self._until_sample:
            self._measure()
        if self._is_saturated and not self._waiting:
            yield  # a call that queues waits for a turn anyway
        if not self._left or self._waiting:
            waiter = self._loop.create_future()
            self._waiting.append(waiter)
            yield from waiter
            return
        self._start_one()

    def _start_one(self) -> None:
        if self._left == self._most:
            self._loop.call_soon(self._next_turn)
        self._left -= 1

    def _measure(self) -> None:
        now, cpu, (slept, preempted) = self._now(), self._cpu(), self._switches()
        before, worked, slept_before, preempted_before = self._since
        is_busy = cpu - worked >= SATURATED * (now - before)
        sleeps, preemptions = slept - slept_before, preempted - preempted_before
        self._is_saturated = is_busy or preemptions >= max(1, sleeps)
        self._since = (now, cpu, slept, preempted)
        self._until_sample = SAMPLE

    def _next_turn(self) -> None:
        # With many waiting, more start in a turn, or the last would wait for long.
        spread = 1 + len(self._waiting) // MOST_A_TURN
        self._most = self._left = MOST_A_TURN if self._is_saturated else spread
        while self._waiting and self._left:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                self._start_one()
