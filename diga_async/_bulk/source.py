"""The items of a run, taken one at a time from any iterable."""

import asyncio
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Sized,
)
from itertools import islice
from typing import Any
from uuid import UUID

BLOCKING_SECONDS = 0.01
"""An item that takes this many seconds has blocked the event loop."""

MAX_BREATH = 0.05

_ITERABLE = ("__iter__", "__aiter__", "__getitem__")


def breath_after(seconds: float) -> float:
    """
    Return how long the loop may work after an item that took *seconds*.

    >>> breath_after(0.001), breath_after(0.02), breath_after(5.0)
    (0.0, 0.005, 0.05)
    """
    return 0.0 if seconds < BLOCKING_SECONDS else min(seconds / 4, MAX_BREATH)


class Source:
    """
    One pass over an iterable or async iterable.

    A plain iterator that waits for its next item blocks the event loop. Such
    items are taken one after another, with time in between to send and to read;
    otherwise all workers would take theirs before the first request goes out.

    Args:
        items: The items.
        now: The time, in seconds.

    Raises:
        TypeError: *items* is one id, or not iterable.

    Attributes:
        length: How many items it has; None when that is not known.
        is_async: Whether it is an async iterable.
    """

    def __init__(
        self,
        items: Iterable[Any] | AsyncIterable[Any],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if isinstance(items, str | bytes | UUID):
            raise TypeError(
                "phone_ids must be an iterable of ids, not one id: "
                "pass [phone_id], or use get()"
            )
        if not any(hasattr(items, name) for name in _ITERABLE):
            kind = type(items).__name__
            raise TypeError(
                f"phone_ids must be an iterable of ids; {kind} is not iterable"
            )
        self.length = len(items) if isinstance(items, Sized) else None
        self.is_async = isinstance(items, AsyncIterable)
        self._async: AsyncIterator[Any] | None = None
        self._sync: Iterator[Any] | None = None
        if isinstance(items, AsyncIterable):
            self._async = aiter(items)
        else:
            self._sync = iter(items)
        self._turn = asyncio.Lock()
        self._is_over = False
        self._now = now
        self._breath = 0.0

    async def take(self) -> Any:
        """
        Return the next item; none after the source has ended or raised.

        Raises:
            StopAsyncIteration: The source has ended.
        """
        try:
            if self._async is not None:
                async with self._turn:  # an async iterator serves one call at a time
                    self._require_more()
                    return await anext(self._async)
            if self._breath:
                async with self._turn:
                    await asyncio.sleep(self._breath)
                    return self._take_now()
            return self._take_now()
        except Exception:
            self._is_over = True
            raise

    def _take_now(self) -> Any:
        self._require_more()
        assert self._sync is not None  # noqa: S101 - it is one or the other
        begun = self._now()
        for given in self._sync:
            self._breath = breath_after(self._now() - begun)
            return given
        raise StopAsyncIteration

    def take_some(self, most: int) -> Iterator[Any]:
        """Iterate over the next items, at most *most*; over none of an async source."""
        return islice(self._sync or (), most)

    def _require_more(self) -> None:
        if self._is_over:
            raise StopAsyncIteration

    def abandon(self) -> None:
        """End a generator without waiting; an async one ends when it is collected."""
        if isinstance(self._sync, Generator):
            self._sync.close()
        self._async = None
        self._is_over = True

    async def close(self) -> None:
        """End a generator, so that its ``finally`` runs."""
        if isinstance(self._sync, Generator):
            self._sync.close()
        if isinstance(self._async, AsyncGenerator):
            await self._async.aclose()
