"""Ctrl-C and SIGTERM: the first asks a command to finish, the second to stop now."""

import asyncio
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """
    Handles the signals of a command while its block lasts.

    Each signal runs the next step that was given to `listen`. Before `listen`,
    and after the last step, a signal raises `KeyboardInterrupt`.

    Attributes:
        count: How many signals came.
    """

    def __init__(self) -> None:
        self.count = 0
        self._steps: tuple[Callable[[], object], ...] = ()
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self, *steps: Callable[[], object]) -> None:
        """Run one of *steps*, in order, in the running loop at each signal."""
        self._loop = asyncio.get_running_loop()
        self._steps = steps

    def __enter__(self) -> Self:
        """Install the handlers."""
        self._before = {s: signal.signal(s, self._receive) for s in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Restore the handlers that were there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        loop, steps = self._loop, self._steps
        if loop is None or loop.is_closed() or self.count > len(steps):
            raise KeyboardInterrupt
        loop.call_soon_threadsafe(steps[self.count - 1])
