"""Every id of a run that was taken and not handed out yet, and whose turn it is."""

from collections import deque
from uuid import UUID

import attrs

from diga_async._engine.call import Call
from diga_async._models.errors import InvalidPhoneIdError
from diga_async._models.outcomes import Failed, Outcome

MAX_GIVEN_CHARACTERS = 100


@attrs.define(eq=False, repr=False)
class Entry:
    """
    One id of a run.

    Attributes:
        key: Its place among those that are open.
        phone_id: The id, or what was given when it is none.
        lookup: Its way to an answer; None when it is no id.
        outcome: What became of it; None until it is settled.
        occurrences: How often it was taken and not handed out yet.
    """

    key: int
    phone_id: UUID | str
    lookup: Call | None = None
    outcome: Outcome | None = None
    occurrences: int = 1


class PendingTable:
    """
    An id enters it when it is taken, and leaves it with its outcome.

    Args:
        ordered: Hand out in the order of the source, not of completion.
        distinct: Remember every id, and take each once.

    Attributes:
        seen: The distinct ids, in the order of the source, each with the type of
            what was given; None when they are not remembered.
    """

    def __init__(self, *, ordered: bool, distinct: bool) -> None:
        self.seen: dict[UUID | str, type] | None = {} if distinct else None
        self._ordered = ordered
        # By number, as a UUID's own hash is a call of Python; what is no UUID
        # has a negative one.
        self._open: dict[int, Entry] = {}
        self._refused = 0
        self._line: deque[Entry] = deque()
        self._ready: deque[Entry] = deque()

    @property
    def is_ready(self) -> bool:
        """Whether there is something to hand out."""
        return bool(self._ready)

    def is_repeated(self, phone_id: UUID | str, kind: type = UUID) -> bool:
        """Whether an id that is to be asked once was here before; remember it."""
        if self.seen is None:
            return False
        if phone_id in self.seen:
            return True
        self.seen[phone_id] = kind
        return False

    def join(self, phone_id: UUID) -> bool:
        """Let one more occurrence of an id that is open share its outcome, if it is."""
        entry = self._open.get(phone_id.int)
        if entry is None:
            return False
        entry.occurrences += 1
        if self._ordered:
            self._line.append(entry)
            self._publish()
        elif entry.outcome is not None:
            self._ready.append(entry)
        return True

    def open(self, lookup: Call) -> Entry:
        """Enter an id that is to be looked up."""
        key = lookup.phone_id.int
        entry = self._open[key] = Entry(key, lookup.phone_id, lookup)
        if self._ordered:
            self._line.append(entry)
        return entry

    def refuse(self, given: object, error: InvalidPhoneIdError) -> Failed | None:
        """Enter what is no id, with its outcome; None when it was here before."""
        text, kind = _text_of(given), type(given)
        cut = text[:MAX_GIVEN_CHARACTERS]
        name = cut if self.seen is None else _name_among(self.seen, text, kind)
        if self.is_repeated(name, kind):
            return None
        failed = Failed(name, error.with_traceback(None), 0, 0.0)
        self._refused -= 1
        entry = self._open[self._refused] = Entry(self._refused, name)
        if self._ordered:
            self._line.append(entry)
        self.settle(entry, failed)
        return attrs.evolve(failed, phone_id=cut)

    def settle(self, entry: Entry, outcome: Outcome) -> None:
        """Note what became of an id."""
        entry.outcome = outcome
        if self._ordered:
            self._publish()
        else:
            self._ready.extend([entry] * entry.occurrences)

    def _publish(self) -> None:
        """Make ready what can be handed out in the order of the source."""
        while self._line and self._line[0].outcome is not None:
            self._ready.append(self._line.popleft())

    def hand_out(self) -> Outcome:
        """Take the next outcome out."""
        entry = self._ready.popleft()
        entry.occurrences -= 1
        if not entry.occurrences:
            del self._open[entry.key]
        assert entry.outcome is not None  # noqa: S101 - ready means settled
        return entry.outcome

    def end(self) -> None:
        """Nothing will be settled any more: pass over what stays without an outcome."""
        self._ready.extend(e for e in self._line if e.outcome is not None)
        self._line.clear()

    def drop(self) -> None:
        """Nobody will ask any more."""
        self._ready.clear()

    def unanswered(self, *, settled: bool) -> tuple[UUID | str, ...]:
        """Return the ids without an outcome, and those *settled*, as often as given."""
        return tuple(
            entry.phone_id
            for entry in self._open.values()
            if settled or entry.outcome is None
            for _ in range(entry.occurrences)
        )


def _text_of(given: object) -> str:
    if isinstance(given, str):
        return given
    try:
        return repr(given)
    except Exception:  # noqa: BLE001 - it may be anybody's object
        return f"<{type(given).__name__}>"


def _name_among(seen: dict[UUID | str, type], text: str, kind: type) -> str:
    """Return *text*, with its type when it was that of a value of another type."""
    while seen.get(text, kind) is not kind:
        text += f" ({kind.__name__})"
    return text
