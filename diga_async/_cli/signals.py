"""Ctrl-C and SIGTERM: the first asks to come to an end, the second not to wait."""

import asyncio
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """
    Takes the signals of a command, as long as its block lasts.

    Until somebody listens, and when there is nothing more to be done about it,
    a signal is a plain `KeyboardInterrupt`.

    Attributes:
        count: How many came.
    """

    def __init__(self) -> None:
        self.count = 0
        self._steps: tuple[Callable[[], object], ...] = ()
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self, *steps: Callable[[], object]) -> None:
        """Call one of *steps* in the running loop at each signal, in their order."""
        self._loop = asyncio.get_running_loop()
        self._steps = steps

    def __enter__(self) -> Self:
        """Take the signals."""
        self._before = {s: signal.signal(s, self._receive) for s in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        loop, steps = self._loop, self._steps
        if loop is None or loop.is_closed() or self.count > len(steps):
            raise KeyboardInterrupt
        loop.call_soon_threadsafe(steps[self.count - 1])
