"""Time as an object, which tests replace."""

import asyncio
import time
from collections.abc import Callable


class Clock:
    """A monotonic clock, which changes of the system's wall clock do not affect."""

    #: Return the seconds since an arbitrary moment.
    now: Callable[[], float] = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def call_later(
        self, seconds: float, callback: Callable[[], object]
    ) -> asyncio.TimerHandle:
        """Call *callback* after *seconds*, unless the handle is cancelled."""
        return asyncio.get_running_loop().call_later(seconds, callback)
