"""`Found`, `Missing`, `Failed` and `PhoneBatch`."""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import attrs
from attrs import field

from diga_async._models.errors import DigaError
from diga_async._models.lean import twin_of
from diga_async._models.phone import Phone
from diga_async._models.pydantic_schema import (
    ERROR,
    NULL,
    TEXT,
    describe_list,
    describe_map,
    describe_object,
    describe_record,
    describe_row,
    row_schema,
)


@attrs.frozen
class Found:
    """
    A phone that was found.

    Attributes:
        phone_id: The id that was asked for.
        phone: The phone, as the server described it at that moment.
        attempts: Requests sent, except those answered 429.
        elapsed: Seconds from the first attempt to the answer.
        request_id: The response's ``X-Request-Id``, or None. It does not count for
            equality.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"

    phone_id: UUID
    phone: Phone
    attempts: int
    elapsed: float
    request_id: str | None = field(default=None, eq=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let pydantic, and FastAPI, write the outcome as a row."""
        return row_schema(cls, row_of)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Any:
        """Describe the row."""
        return describe_row("found", describe_record(Phone, written=True), NULL)


@attrs.frozen
class Missing:
    """
    An id that the key's project has no phone for: an answer, not a failure.

    Attributes:
        phone_id: The id that was asked for.
        attempts: Requests sent, except those answered 429.
        elapsed: Seconds from the first attempt to the answer.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"

    phone_id: UUID
    attempts: int
    elapsed: float

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let pydantic, and FastAPI, write the outcome as a row."""
        return row_schema(cls, row_of)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Any:
        """Describe the row."""
        return describe_row("missing", NULL, NULL)


def _facts_of(error: DigaError) -> tuple[Any, ...]:
    """Return what makes two errors the same: a copy of one is equal to it."""
    fields = attrs.fields(type(error))
    return type(error), *(getattr(error, a.name) for a in fields if a.init)


@attrs.frozen
class Failed:
    """
    An id that could not be looked up.

    Attributes:
        phone_id: The id that was asked for;
            the text given, cut to 100 characters, if it was not a UUID.
        error: Why, without a traceback. Two errors of the same facts count as equal.
        attempts: Requests sent, except those answered 429.
        elapsed: Seconds from the first attempt to the error.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"

    phone_id: UUID | str
    error: DigaError = field(eq=_facts_of)
    attempts: int
    elapsed: float

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let pydantic, and FastAPI, write the outcome as a row."""
        return row_schema(cls, row_of)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Any:
        """Describe the row."""
        return describe_row("failed", NULL, ERROR)


Outcome = Found | Missing | Failed

_FreeFound = twin_of(Found)


def found(
    phone_id: UUID, phone: Phone, attempts: int, elapsed: float, request_id: str | None
) -> Found:
    """Make a `Found` at a third of the cost: a run makes one for each id."""
    made: Any = _FreeFound()
    made.phone_id = phone_id
    made.phone = phone
    made.attempts = attempts
    made.elapsed = elapsed
    made.request_id = request_id
    made.__class__ = Found
    return made  # type: ignore[no-any-return]


OUTCOME_NAMES = {Found: "found", Missing: "missing", Failed: "failed"}


def row_of(outcome: Outcome) -> dict[str, Any]:
    """Return *outcome* as JSON types: a row of the command line's output."""
    return {
        "phone_id": str(outcome.phone_id),
        "outcome": OUTCOME_NAMES[type(outcome)],
        "phone": outcome.phone.to_dict() if isinstance(outcome, Found) else None,
        "error": _error_fields(outcome.error) if isinstance(outcome, Failed) else None,
    }


def _error_fields(error: DigaError) -> dict[str, Any]:
    return {
        "type": type(error).__name__,
        "status": getattr(error, "status", None),
        "message": error.describe(),
    }


@attrs.frozen(kw_only=True, repr=False)
class PhoneBatch:
    """
    The result of `get_many`: every id given is in exactly one place.

    Attributes:
        phones: The phones found, in the order of the input. The keys are UUIDs, even
            where ids were given as text.
        missing: The ids that the project has no phone for, in that order.
        failures: Why ids could not be looked up, by id, or by the whole text given
            if it was not a UUID.
        unanswered: The ids that were taken from the input and have no outcome,
            because the run ended early; else empty.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"

    phones: Mapping[UUID, Phone] = field(factory=dict)
    missing: tuple[UUID, ...] = ()
    failures: Mapping[UUID | str, DigaError] = field(factory=dict)
    unanswered: tuple[UUID | str, ...] = ()

    def __repr__(self) -> str:
        """Show how many ids are where."""
        counts = (
            f"{a.name}={len(getattr(self, a.name))}" for a in attrs.fields(type(self))
        )
        return f"PhoneBatch({', '.join(counts)})"

    def __len__(self) -> int:
        """Return the number of phones found."""
        return len(self.phones)

    def __iter__(self) -> Iterator[Phone]:
        """Iterate over the phones found, in the order of the input."""
        return iter(self.phones.values())

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let pydantic, and FastAPI, write the batch as JSON."""
        return row_schema(cls, _batch_fields)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Any:
        """Describe the batch."""
        return describe_object(
            cls.__name__,
            phones=describe_map(describe_record(Phone, written=True)),
            missing=describe_list(TEXT),
            failures=describe_map(ERROR),
            unanswered=describe_list(TEXT),
        )

    def raise_for_failures(self) -> None:
        """
        Raise the failures, if there are any.

        Raises:
            ExceptionGroup: One `DigaError` for each of `failures`.

        .. versionadded:: 0.1.0
        """
        if self.failures:
            raise ExceptionGroup(
                f"{len(self.failures)} lookups failed", list(self.failures.values())
            )


def _batch_fields(batch: PhoneBatch) -> dict[str, Any]:
    return {
        "phones": {str(key): phone.to_dict() for key, phone in batch.phones.items()},
        "missing": [str(phone_id) for phone_id in batch.missing],
        "failures": {str(i): _error_fields(e) for i, e in batch.failures.items()},
        "unanswered": [str(phone_id) for phone_id in batch.unanswered],
    }
