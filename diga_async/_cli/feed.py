"""The ids of a fetch as an async iterator that can be told to end."""

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Self

from diga_async._cli.exit_codes import CommandError
from diga_async._cli.ids import Id, Key, distinct
from diga_async._cli.input_file import InputFile

_AHEAD = 1000


class Feed:
    """
    An async iterator of ids that can be told to end.

    Attributes:
        taken: How many ids the run took.
    """

    def __init__(self, ids: Iterator[Id]) -> None:
        self.taken = 0
        self._ids = ids
        self._is_stopped = False

    def stop(self) -> None:
        """End the iteration."""
        self._is_stopped = True

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> Id:
        """Return the next id."""
        for phone_id in self._ids if not self._is_stopped else ():
            self.taken += 1
            return phone_id
        raise StopAsyncIteration


class ThreadedFeed(Feed):
    """A feed for a source that may block, such as a pipe; a thread reads it."""

    def __init__(self, ids: Iterator[Id]) -> None:
        super().__init__(ids)
        self._ready: deque[Id] = deque()
        self._room = threading.Semaphore(_AHEAD)
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: Exception | None = None

    def stop(self) -> None:
        """End the iteration."""
        super().stop()
        self._news.set()

    async def __anext__(self) -> Id:
        """Return the next id."""
        if self._loop is None:
            self._start(asyncio.get_running_loop())
        while not (self._ready or self._end or self._is_stopped):
            self._news.clear()
            await self._news.wait()
        if self._is_stopped:
            raise StopAsyncIteration
        if self._end and not self._ready:
            raise self._end
        self._room.release()
        self.taken += 1
        return self._ready.popleft()

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # Nothing wakes a thread that waits in a read, so its end is not awaited.
        threading.Thread(target=self._pump, args=(loop,), daemon=True).start()

    def _pump(self, loop: asyncio.AbstractEventLoop) -> None:
        end: Exception = StopAsyncIteration()
        try:
            for phone_id in self._ids:
                self._room.acquire()
                self._ready.append(phone_id)
                self._tell(loop)
        except CommandError as error:
            end = error
        self._end = end
        self._tell(loop)

    def _tell(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the run is over, and its loop closed
            loop.call_soon_threadsafe(self._news.set)


class WholeFeed:
    """
    A feed that is read to its end when it is made: a run by listing needs that.

    Attributes:
        taken: How many ids the run took.

    Raises:
        CommandError: The ids cannot be read to their end.
    """

    def __init__(self, ids: Iterator[Id]) -> None:
        self.taken = 0
        self._ids = list(ids)
        self._is_stopped = False

    def stop(self) -> None:
        """End the iteration."""
        self._is_stopped = True

    def __len__(self) -> int:
        """Return how many ids there are."""
        return len(self._ids)

    def __iter__(self) -> Iterator[Id]:
        """Yield the ids."""
        for phone_id in self._ids:
            if self._is_stopped:
                return
            self.taken += 1
            yield phone_id


def feed_of(
    source: InputFile, done: set[Key], *, whole: bool = False
) -> Feed | WholeFeed:
    """
    Return the feed of a run: each id of *source* that is not *done*, once.

    Raises:
        CommandError: It is to be read *whole*, and cannot be.
    """
    ids = distinct(source, done)
    if whole:
        return WholeFeed(ids)
    return Feed(ids) if source.is_regular else ThreadedFeed(ids)
