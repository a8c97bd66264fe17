"""
`LoopEnd`: calls a function in an event loop before that loop is closed.

`asyncio.run`, `asyncio.Runner`, uvloop, pytest-asyncio and IPython end the async
generators of a loop (`loop.shutdown_asyncgens`) while it can still work. So the
``finally`` of a suspended generator runs at the end of the loop.
"""

import asyncio
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import attrs


@attrs.define(eq=False, repr=False)
class _Expectation:
    """
    A callback for the end of a loop.

    Attributes:
        close: Called then; None when there is nothing left to do.
        loop: The loop.
        is_over: Whether its generators have been ended.
    """

    close: Callable[[], Awaitable[None]] | None
    loop: "weakref.ref[asyncio.AbstractEventLoop]"
    is_over: bool = False


class LoopEnd:
    """Waits for the end of one loop at a time."""

    def __init__(self) -> None:
        self._expected: _Expectation | None = None
        self._waiting: AsyncGenerator[None, None] | None = None

    def expect(self, close: Callable[[], Awaitable[None]]) -> bool:
        """
        Call *close* when the running loop ends; forget what was expected before.

        Args:
            close: What to call; it must not keep this object alive.

        Returns:
            Whether it will be called: a loop ends its generators once, and may run
            on after that.
        """
        loop = asyncio.get_running_loop()
        before = self._expected
        self.cancel()
        if before is not None and before.is_over and before.loop() is loop:
            return False
        self._expected = _Expectation(close, weakref.ref(loop))
        self._waiting = _wait(self._expected)
        # Up to its `yield`, without a turn of the loop. Where warnings are errors,
        # asyncio raises one in a loop that has ended its generators before.
        with suppress(StopIteration, ResourceWarning):
            self._waiting.__anext__().__await__().send(None)
        return True

    def cancel(self) -> None:
        """Do nothing at the end, from any thread."""
        if self._expected is not None:
            self._expected.close = None
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            # A RuntimeError says that the loop is ending it just now.
            with suppress(StopIteration, RuntimeError):
                ending: Any = waiting.aclose()
                ending.send(None)

    def __del__(self) -> None:
        """Leave no generator to the loop."""
        self.cancel()


async def _wait(expected: _Expectation) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        close, expected.close = expected.close, None
        if close is not None:
            expected.is_over = True
            await close()
