"""`PhoneLookups`: the stream of outcomes of many lookups."""

from collections.abc import AsyncIterable, Iterable
from uuid import UUID

from diga_async._bulk.stream import Stream
from diga_async._models.outcomes import Outcome
from diga_async._models.phone import PhoneStatus

PhoneIds = Iterable[UUID | str] | AsyncIterable[UUID | str]
Statuses = PhoneStatus | str | Iterable[PhoneStatus | str]


class PhoneLookups(Stream[Outcome]):
    """
    A run: an async context manager and an async iterator of outcomes.

    It starts on entering the block, or with the first outcome asked for.
    Cancelling one ``anext()`` loses no outcome and does not end the run.
    It is read once: after it was closed, as at the end of its block, ``async for``
    raises `RuntimeError`.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"
