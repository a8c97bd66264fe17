"""One task that several callers wait for."""

import asyncio
import copy
import math
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Generic, TypeVar

from diga_async._engine.clock import Clock

T = TypeVar("T")


class SharedTask(Generic[T]):
    """
    Work that callers share while it is under way.

    A caller that runs out of time leaves the work running for later callers. The last
    caller that is cancelled cancels it.

    Attributes:
        waiting: How many callers wait.
    """

    def __init__(self, clock: Clock) -> None:
        self.waiting = 0
        self._clock = clock
        self._task: asyncio.Task[T] | None = None

    async def wait(
        self, work: Callable[[], Coroutine[Any, Any, T]], seconds: float = math.inf
    ) -> T | None:
        """
        Wait for the result; start *work* unless it is under way.

        Returns:
            The result; None when the time is over.

        Raises:
            Exception: What the work raised, a copy for each caller.
        """
        task = self._task
        if task is None or task.done():
            task = self._task = asyncio.ensure_future(work())
            task.add_done_callback(self._ended)
        self.waiting += 1
        try:
            await self._done_or_late(task, seconds)
        except asyncio.CancelledError:
            if self.waiting == 1:
                self.cancel()
                await asyncio.wait([task])
            raise
        finally:
            self.waiting -= 1
        return _result_of(task) if task.done() else None

    async def _done_or_late(self, task: asyncio.Task[T], seconds: float) -> None:
        if task.done():
            return
        woken = asyncio.get_running_loop().create_future()

        def wake(_: object = None) -> None:
            if not woken.done():
                woken.set_result(None)

        task.add_done_callback(wake)
        timer = None
        if seconds < math.inf:
            timer = self._clock.call_later(seconds, wake)
        try:
            await woken
        finally:
            task.remove_done_callback(wake)
            if timer is not None:
                timer.cancel()

    def _ended(self, task: asyncio.Task[T]) -> None:
        if self._task is task:
            self._task = None
        if not task.cancelled():
            task.exception()  # perhaps no caller waits for it

    def cancel(self) -> None:
        """Cancel the work under way; the next caller starts it anew."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """Cancel the work under way; return when it has ended."""
        task = self._task
        if task is not None:
            self.cancel()
            await asyncio.wait([task])


def own_copy(value: T) -> T:
    """Return a copy of an error that can be copied; any other value is shared."""
    if isinstance(value, BaseException):
        with suppress(Exception):  # a callable may raise any exception
            twin = copy.copy(value)
            if type(twin) is type(value):
                twin.__cause__ = value.__cause__
                return twin.with_traceback(value.__traceback__)
    return value


def _result_of(task: asyncio.Task[T]) -> T:
    error = None if task.cancelled() else task.exception()
    if error is None:
        return task.result()
    try:
        raise own_copy(error)
    finally:
        del error  # or it would keep this frame alive
