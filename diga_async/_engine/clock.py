"""`now` and `sleep`, which tests replace."""

import asyncio
import time
from collections.abc import Callable


class Clock:
    """The time that passes, in seconds; steps of the wall clock do not touch it."""

    #: Return the time since some moment in the past.
    now: Callable[[], float] = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def call_later(
        self, seconds: float, callback: Callable[[], object]
    ) -> asyncio.TimerHandle:
        """Call *callback* in so many seconds, unless the handle is cancelled."""
        return asyncio.get_running_loop().call_later(seconds, callback)
