"""Lets a few through in each turn of the event loop."""

import asyncio
import time
from collections.abc import Callable, Generator
from types import coroutine

MOST_A_TURN = 20
"""How many go on in one turn of a loop that is busy."""

SAMPLE = 200
"""After how many it is seen anew how busy the loop is."""

BUSY = 0.7
"""The part of the time from which on it is; one that asks nginx without end has 1."""


class CooperativeYield:
    """
    Spreads what would all begin at once over several turns of the loop.

    While the loop is busy, everybody waits one turn at least: the answers that have
    come are all read before more is sent, which saves a tenth and more of the CPU.
    No more than a few go on in one turn: the rest of the program gets its own in
    between, and Python's collector of garbage, which looks at what is young
    whenever there are 700 objects more than before, has nothing to look at.

    While it has time to spare, nobody waits that need not, and one goes on in a turn:
    what is sent at once is answered at once, and then each waits for all the others.

    Args:
        now: The time, in seconds.
        cpu: The seconds that this thread was at work.
    """

    def __init__(
        self,
        now: Callable[[], float],
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._now = now
        self._cpu = cpu
        self._is_busy = True
        self._since = (now(), cpu())
        self._unseen = SAMPLE
        self._most = self._left = MOST_A_TURN
        self._missed = 0

    @coroutine
    def wait(self) -> Generator[None, None, None]:
        """Wait until it is one's turn."""
        self._unseen -= 1
        if not self._unseen:
            self._see()
        if self._is_busy:
            yield
        while not self._left:
            self._missed += 1
            yield
        if self._left == self._most:
            self._loop.call_soon(self._open)
        self._left -= 1

    def _see(self) -> None:
        now, cpu = self._now(), self._cpu()
        begun, worked = self._since
        self._is_busy = cpu - worked >= BUSY * (now - begun)
        self._since = (now, cpu)
        self._unseen = SAMPLE

    def _open(self) -> None:
        # Of many who wait a part goes on, or looking who may would be most of the work.
        spread = 1 + self._missed // MOST_A_TURN
        self._most = self._left = MOST_A_TURN if self._is_busy else spread
        self._missed = 0
