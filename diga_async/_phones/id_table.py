"""`IdTable`: every id of a run through the listing, and its outcome."""

import asyncio
from typing import cast
from uuid import UUID

from diga_async._api.phones import phone_id_of
from diga_async._bulk.pending import Entry, PendingTable
from diga_async._bulk.source import Source
from diga_async._engine.observer import Observer, lookup_event
from diga_async._models.errors import InvalidPhoneIdError
from diga_async._models.outcomes import Failed, Found, Missing, Outcome
from diga_async._models.phone import Phone

IDS_A_TURN = 500
"""How many ids are read in one turn of the event loop."""


class IdTable(PendingTable[Outcome]):
    """
    A pending table that knows all of its ids before the first is answered.

    Args:
        source: The ids.
        observer: Is told of each outcome that no call of a run has.
        distinct: Take each id once.

    Attributes:
        left: How many distinct ids have no outcome.
        error: What the source raised; the ids before it count.
    """

    def __init__(self, source: Source, observer: Observer, *, distinct: bool) -> None:
        super().__init__(ordered=False, distinct=distinct)
        self.left = 0
        self.error: Exception | None = None
        self._source: Source | None = source
        self._observer = observer

    @property
    def ready(self) -> int:
        """How many outcomes can be delivered."""
        return len(self._ready)

    async def read(self) -> None:
        """Read the source to its end, once; close it."""
        if self._source is None:
            return
        source, self._source = self._source, None
        count = 0
        try:
            while True:
                self._take(await source.take())
                count += 1
                if count % IDS_A_TURN == 0:
                    await asyncio.sleep(0)
        except StopAsyncIteration:
            pass
        except Exception as error:  # noqa: BLE001 - a source may raise anything
            self.error = error
        finally:
            await source.close()

    def _take(self, given: object) -> None:
        try:
            phone_id = phone_id_of(given)
        except InvalidPhoneIdError as error:
            self._reject(given, error.with_traceback(None))
            return
        if self.is_repeated(phone_id) or self.join(phone_id.int):
            return
        # The number hashes in C, and the id holds it in any case.
        self._add(Entry(phone_id.int, phone_id))
        self.left += 1

    def _reject(self, given: object, error: InvalidPhoneIdError) -> None:
        rejected = self.reject(given, lambda name: Failed(name, error, 0, 0.0))
        if rejected is not None and self._observer.is_on:
            self._observer.lookup(lookup_event(rejected[0], error))

    def find(self, phone: Phone, attempts: int, elapsed: float) -> None:
        """Resolve the id of *phone*, if it is one of the run's without an outcome."""
        entry = self._entries.get(phone.id.int)
        if entry is None or entry.result is not None:
            return
        self.left -= 1
        found = Found(cast("UUID", entry.name), phone, attempts, elapsed)
        self.resolve(entry, found, "found")
        if self._observer.is_on:
            event = lookup_event(
                found.phone_id, phone, attempts=attempts, elapsed=elapsed
            )
            self._observer.lookup(event)

    def unresolved(self) -> list[UUID]:
        """Return the ids without an outcome, as often as given."""
        return [
            cast("UUID", entry.name)
            for entry in self._entries.values()
            if entry.result is None
            for _ in range(entry.occurrences)
        ]

    def resolve_single(self, outcome: Outcome) -> None:
        """Record the outcome of an id that the table itself does not deliver."""
        entry = self._entries[cast("UUID", outcome.phone_id).int]
        entry.result, entry.kind = outcome, _kind_of(outcome)

    def deliver_single(self, outcome: Outcome) -> str:
        """Take one occurrence of such an id out; return the kind of its outcome."""
        entry = self._entries[cast("UUID", outcome.phone_id).int]
        entry.occurrences -= 1
        if not entry.occurrences:
            del self._entries[entry.key]
        return entry.kind


def _kind_of(outcome: Outcome) -> str:
    match outcome:
        case Found():
            return "found"
        case Missing():
            return "missing"
        case Failed():
            return "failed"
