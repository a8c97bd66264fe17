"""Spreads the calls of a run over the turns of the event loop."""

import asyncio
import time
from collections.abc import Callable, Generator
from types import coroutine

MOST_A_TURN = 20
"""How many calls start in one turn of a saturated loop."""

SAMPLE = 200
"""After how many calls the load of the loop is measured again."""

SATURATED = 0.7
"""The share of the time in which a loop works from which on it is saturated."""


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

    Args:
        now: The time, in seconds.
        cpu: The seconds that this thread has worked.
    """

    def __init__(
        self,
        now: Callable[[], float],
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._now = now
        self._cpu = cpu
        self._is_saturated = True
        self._since = (now(), cpu())
        self._until_sample = SAMPLE
        self._most = self._left = MOST_A_TURN
        self._delayed = 0

    @coroutine
    def wait(self) -> Generator[None, None, None]:
        """Wait until the next call may start."""
        self._until_sample -= 1
        if not self._until_sample:
            self._measure()
        if self._is_saturated:
            yield
        while not self._left:
            self._delayed += 1
            yield
        if self._left == self._most:
            self._loop.call_soon(self._next_turn)
        self._left -= 1

    def _measure(self) -> None:
        now, cpu = self._now(), self._cpu()
        begun, worked = self._since
        self._is_saturated = cpu - worked >= SATURATED * (now - begun)
        self._since = (now, cpu)
        self._until_sample = SAMPLE

    def _next_turn(self) -> None:
        # With many waiting, more start in a turn: the checks would cost most of it.
        spread = 1 + self._delayed // MOST_A_TURN
        self._most = self._left = MOST_A_TURN if self._is_saturated else spread
        self._delayed = 0
