"""Ctrl-C and SIGTERM: the first asks a command to finish, the second to stop now."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_T = TypeVar("_T")


class Interruption:
    """
    Handles the signals of a command while its block lasts.

    Each signal runs the next step that was given to `listen`. Before `listen`,
    and after the last step, a signal raises `KeyboardInterrupt`; once more, and the
    handler that was there before has it.

    Attributes:
        count: How many signals came.
    """

    def __init__(self) -> None:
        self.count = 0
        self._steps: tuple[Callable[[], object], ...] = ()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._has_raised = False

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

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        loop, steps = self._loop, self._steps
        if loop is not None and not loop.is_closed() and self.count <= len(steps):
            loop.call_soon_threadsafe(steps[self.count - 1])
            return
        before = self._before[signal.Signals(number)]
        if self._has_raised and callable(before):
            before(number, frame)  # raised again, it would interrupt the clean-up
        self._has_raised = True
        raise KeyboardInterrupt


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """
    Run *main* in an event loop of its own; the first signal cancels it.

    Raises:
        KeyboardInterrupt: A signal came.
    """
    with Interruption() as interruption:
        try:
            return asyncio.run(_cancelled_by(interruption, main))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


async def _cancelled_by(
    interruption: Interruption, main: Coroutine[Any, Any, _T]
) -> _T:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - for the type checker
    interruption.listen(task.cancel)
    return await main
