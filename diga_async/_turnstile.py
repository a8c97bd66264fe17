"""Lets a few through in each turn of the event loop."""

import asyncio
from collections.abc import Generator
from types import coroutine

MOST_A_TURN = 20


class Turnstile:
    """
    Spreads what would all begin at once over several turns of the loop.

    Everybody waits one turn at least: the answers that have come are all read
    before more is sent, which saves a tenth and more of the CPU.
    No more than a few go on in one turn: the rest of the program gets its own in
    between, and Python's collector of garbage, which looks at what is young
    whenever there are 700 objects more than before, has nothing to look at.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._left = MOST_A_TURN

    @coroutine
    def wait(self) -> Generator[None, None, None]:
        """Wait until it is one's turn."""
        yield
        while not self._left:
            yield
        if self._left == MOST_A_TURN:
            self._loop.call_soon(self._open)
        self._left -= 1

    def _open(self) -> None:
        self._left = MOST_A_TURN
