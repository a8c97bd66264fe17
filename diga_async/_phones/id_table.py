"""`IdTable`: every id of a run through the listing, until it has its outcome."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import count, repeat
from uuid import UUID

from diga_async._api.phones import phone_id_of
from diga_async._bulk.pending import PendingTable
from diga_async._bulk.source import Source
from diga_async._engine.observer import Observer, lookup_event
from diga_async._models.errors import InvalidPhoneIdError
from diga_async._models.outcomes import Failed, Outcome, found
from diga_async._models.phone import Phone

IDS_A_TURN = 500
"""The ids read in one turn of the event loop."""


class IdTable:
    """
    The ids that no page has shown so far, and the outcomes to deliver.

    It is made for many ids: one entry of a dictionary each, by the id's number, which
    hashes in C.

    Args:
        source: The ids.
        observer: Is told of each outcome.
        distinct: Take each id once, and remember their order.

    Attributes:
        unresolved: The ids without an outcome, by number.
        ready: The outcomes to deliver next, as often as the id was given.
        error: What the source raised; the ids before it count.
    """

    def __init__(self, source: Source, observer: Observer, *, distinct: bool) -> None:
        self.unresolved: dict[int, UUID] = {}
        self.ready: deque[Outcome] = deque()
        self.error: Exception | None = None
        self._source: Source | None = source
        self._observer = observer
        self._order: list[UUID | str] | None = [] if distinct else None
        self._repeated: dict[int, int] = {}  # how often an id was given again
        self._rejections: PendingTable[Outcome] = PendingTable(
            ordered=False, distinct=distinct
        )

    async def read(self) -> None:
        """Read the source to its end, once; close it."""
        if self._source is None:
            return
        source, self._source = self._source, None
        try:
            await self._read(source)
        except Exception as error:  # noqa: BLE001 - a source may raise anything
            self.error = error
        finally:
            await source.close()

    async def close(self) -> None:
        """Close the source if it was not read."""
        source, self._source = self._source, None
        if source is not None:
            await source.close()

    async def _read(self, source: Source) -> None:
        with suppress(StopAsyncIteration):
            for turn in count():
                for given in source.take_some(IDS_A_TURN):
                    self._take(given)
                self._take(await source.take())
                if not source.is_async or turn % IDS_A_TURN == 0:
                    await asyncio.sleep(0)

    def _take(self, given: object) -> None:
        try:
            phone_id = phone_id_of(given)
        except InvalidPhoneIdError as error:
            self._reject(given, error.with_traceback(None))
            return
        number = phone_id.int
        if number not in self.unresolved:
            self.unresolved[number] = phone_id
            if self._order is not None:
                self._order.append(phone_id)
        elif self._order is None:
            self._repeated[number] = self._repeated.get(number, 0) + 1

    def _reject(self, given: object, error: InvalidPhoneIdError) -> None:
        rejected = self._rejections.reject(
            given, lambda name: Failed(name, error, 0, 0.0)
        )
        if rejected is None:
            return
        text, failed = rejected
        self._rejections.deliver()
        self.ready.append(failed)
        if self._order is not None:
            self._order.append(failed.phone_id)
        if self._observer.is_on:
            self._observer.lookup(lookup_event(text, error))

    def resolve(
        self, phone: Phone, attempts: int, elapsed: float, request_id: str | None
    ) -> None:
        """Make the outcome of a phone that a page has shown, if its id is wanted."""
        number = phone.id.int
        phone_id = self.unresolved.pop(number, None)
        if phone_id is None:
            return
        outcome = found(phone_id, phone, attempts, elapsed, request_id)
        self.ready.append(outcome)
        if self._repeated:
            self.ready.extend(repeat(outcome, self._repeated.pop(number, 0)))
        if self._observer.is_on:
            event = lookup_event(phone_id, phone, attempts=attempts, elapsed=elapsed)
            self._observer.lookup(event)

    def take_unresolved(self) -> list[UUID]:
        """Take the ids without an outcome out; return them, as often as given."""
        names = list(self.names_without_outcome())
        self.unresolved.clear()
        return names

    def names_without_outcome(self) -> Iterator[UUID]:
        """Iterate over the ids without an outcome, each as often as given."""
        for number, phone_id in self.unresolved.items():
            yield from repeat(phone_id, 1 + self._repeated.get(number, 0))

    @property
    def order(self) -> tuple[UUID | str, ...]:
        """The distinct items, in the order of the source; empty if not remembered."""
        return tuple(self._order or ())
