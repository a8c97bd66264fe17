"""`Change` and `WatchStats`: what a watch delivers, and a snapshot of it."""

from typing import Any
from uuid import UUID

import attrs

from diga_async._models.errors import DigaError
from diga_async._models.phone import Phone


@attrs.frozen
class Change:
    """
    The change of one phone.

    Attributes:
        phone_id: The phone.
        before: The phone in the state before; None when it was not there.
        after: The phone as the latest poll read it; None when its own lookup is
            answered 404.
        fields: Names of the attributes of `Phone` that differ; empty when the phone
            is new or gone.

    .. versionadded:: 0.2.0
    """

    __module__ = "diga_async"

    phone_id: UUID
    before: Phone | None
    after: Phone | None
    fields: frozenset[str]


@attrs.frozen(kw_only=True)
class WatchStats:
    """
    A snapshot of a watch.

    Attributes:
        polls: Polls begun.
        failed_polls: Polls in a row that failed, up to the last that ended.
        last_error: The last failure that a poll met, without a traceback; None when
            there was none.
        seconds_since_success: Seconds since the end of the last poll that did not
            fail; None when there was none.
        changes: Changes delivered.
        retries: Requests that repeated a failed one.
        throttled: Requests that the server throttled.
        elapsed: Seconds since the watch began; stands still at the end.

    .. versionadded:: 0.2.0
    """

    __module__ = "diga_async"

    polls: int
    failed_polls: int
    last_error: DigaError | None
    seconds_since_success: float | None
    changes: int
    retries: int
    throttled: int
    elapsed: float


def changed_fields(before: Phone, after: Phone) -> frozenset[str]:
    """
    Return the names of the attributes that differ.

    A field that this version does not know counts only when both have it: a server
    that starts to send one would otherwise change every phone.
    """
    return frozenset() if before == after else frozenset(_differing(before, after))


def _differing(before: Any, after: Any) -> list[str]:
    names = [attribute.name for attribute in attrs.fields(type(before))]
    return [n for n in names if _differs(n, getattr(before, n), getattr(after, n))]


def _differs(name: str, before: Any, after: Any) -> bool:
    if name == "extra":
        return any(before[key] != after[key] for key in before.keys() & after.keys())
    if attrs.has(type(before)) and type(before) is type(after):
        return bool(_differing(before, after))
    return bool(before != after)
