"""The items of a run that were taken from its source and not delivered yet."""

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from uuid import UUID

import attrs

from diga_async._engine.call import Call

R = TypeVar("R")

MAX_GIVEN_CHARACTERS = 100


@attrs.define(eq=False, repr=False)
class Entry(Generic[R]):
    """
    One item of a run.

    Attributes:
        key: Its key in the table.
        name: The id of the item; the text given when it was not one.
        call: The call that answers it; None when the item was rejected.
        result: How it ended; None until it is resolved.
        kind: The kind of result: found, missing or failed.
        occurrences: How often it was taken and not delivered yet.
    """

    key: str | int
    name: UUID | str
    call: Call[Any] | None = None
    result: R | None = None
    kind: str = "failed"
    occurrences: int = 1


class PendingTable(Generic[R]):
    """
    Holds an item from when it is taken until its result is delivered.

    Args:
        ordered: Deliver in the order of the source, not of completion.
        distinct: Remember every item, and take each once.

    Attributes:
        seen: The distinct names, in the order of the source, each with the type of
            what was given; None when they are not remembered.
    """

    def __init__(self, *, ordered: bool, distinct: bool) -> None:
        self.seen: dict[UUID | str, type] | None = {} if distinct else None
        self._ordered = ordered
        # By path: hashing a UUID is a call of Python. Rejected items have a number.
        self._entries: dict[str | int, Entry[R]] = {}
        self._rejected = 0
        self._in_order: deque[Entry[R]] = deque()
        self._ready: deque[Entry[R]] = deque()

    @property
    def is_ready(self) -> bool:
        """Whether a result can be delivered."""
        return bool(self._ready)

    def is_repeated(self, name: UUID | str, kind: type = UUID) -> bool:
        """Whether a distinct item was taken before; remember it."""
        if self.seen is None:
            return False
        if name in self.seen:
            return True
        self.seen[name] = kind
        return False

    def join(self, key: str | int) -> bool:
        """Share the result of a pending item with one more; return if it is pending."""
        entry = self._entries.get(key)
        if entry is None:
            return False
        entry.occurrences += 1
        if self._ordered:
            self._in_order.append(entry)
            self._advance()
        elif entry.result is not None:
            self._ready.append(entry)
        return True

    def add(self, call: Call[Any]) -> Entry[R]:
        """Add an item that needs a call."""
        operation = call.operation
        path = operation.path
        return self._add(Entry(path, operation.subject or path, call))

    def reject(
        self, given: object, result_of: Callable[[str], R]
    ) -> tuple[str, R] | None:
        """
        Add an item that cannot be sent, with its result.

        Args:
            given: What the source gave.
            result_of: Makes the result of the item's text.

        Returns:
            The text cut to 100 characters, and the result; None when a distinct
            item was taken before.
        """
        text, kind = _text_of(given), type(given)
        cut = text[:MAX_GIVEN_CHARACTERS]
        name = cut if self.seen is None else _name_among(self.seen, text, kind)
        if self.is_repeated(name, kind):
            return None
        self._rejected -= 1
        result = result_of(name)
        self.resolve(self._add(Entry(self._rejected, name)), result, "failed")
        return cut, result

    def _add(self, entry: Entry[R]) -> Entry[R]:
        self._entries[entry.key] = entry
        if self._ordered:
            self._in_order.append(entry)
        return entry

    def resolve(self, entry: Entry[R], result: R, kind: str) -> None:
        """Set the result of an item."""
        entry.result = result
        entry.kind = kind
        if self._ordered:
            self._advance()
        elif entry.occurrences == 1:
            self._ready.append(entry)
        else:
            self._ready.extend([entry] * entry.occurrences)

    def _advance(self) -> None:
        """Make the next results in the order of the source ready."""
        while self._in_order and self._in_order[0].result is not None:
            self._ready.append(self._in_order.popleft())

    def deliver(self) -> Entry[R]:
        """Take the next resolved item out."""
        entry = self._ready.popleft()
        entry.occurrences -= 1
        if not entry.occurrences:
            del self._entries[entry.key]
        return entry

    def end(self) -> None:
        """Skip the items without a result: they will not be resolved."""
        self._ready.extend(e for e in self._in_order if e.result is not None)
        self._in_order.clear()

    def drop(self) -> None:
        """Deliver nothing more."""
        self._ready.clear()

    def unanswered(self, *, resolved: bool) -> tuple[UUID | str, ...]:
        """Return the names without a result, or all of them, as often as given."""
        return tuple(
            entry.name
            for entry in self._entries.values()
            if resolved or entry.result is None
            for _ in range(entry.occurrences)
        )


def _text_of(given: object) -> str:
    if isinstance(given, str):
        return given
    try:
        return repr(given)
    except Exception:  # noqa: BLE001 - the `repr` of any object may raise
        return f"<{type(given).__name__}>"


def _name_among(seen: dict[UUID | str, type], text: str, kind: type) -> str:
    """Return *text*, with its type when a value of another type has that text."""
    while seen.get(text, kind) is not kind:
        text += f" ({kind.__name__})"
    return text
