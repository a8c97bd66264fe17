"""A fixed number of semaphore; who finds none waits in line for one."""

import asyncio
from collections import deque


class Semaphore:
    """
    As `asyncio.Semaphore`, at a fraction of its cost where a place is free.

    A place that is given back goes straight to the first in line.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._line: deque[asyncio.Future[None]] = deque()

    def try_acquire(self) -> bool:
        """Take a place, if one is free."""
        if not self._free:
            return False
        self._free -= 1
        return True

    async def take(self) -> None:
        """Take a place; wait for one if need be."""
        if self.try_acquire():
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():  # it came in the same turn
                self.release()
            raise

    def release(self) -> None:
        """Give a place back."""
        while self._line:
            place = self._line.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
