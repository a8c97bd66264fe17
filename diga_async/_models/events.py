"""`AttemptEvent` and `LookupEvent`: what a hook is told, and the log."""

from typing import Literal
from uuid import UUID

import attrs

AnswerKind = Literal[
    "found",
    "missing",
    "throttled",
    "rejected",
    "server_errors",
    "invalid",
    "lost",
]


@attrs.frozen(kw_only=True)
class AttemptEvent:
    """
    One request, and what came of it.

    One that was broken off, by a cancellation or `close`, has no event.

    Attributes:
        phone_id: The id it was for.
        attempts: Requests sent for that id so far, those answered 429 apart.
        answer: What came, in the words of `ClientStats`: ``found``, ``missing``,
            ``throttled``, ``rejected``, ``server_errors``, ``invalid``, ``lost``.
        status: The HTTP status; None when there was no answer.
        waited: Seconds it was held back: for a slot, by the pace, by an outage.
        elapsed: Seconds from then to the answer.
        rate: Requests a second that the pace allows now; None when it is free.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"

    phone_id: UUID | None
    attempts: int
    answer: AnswerKind
    status: int | None
    waited: float
    elapsed: float
    rate: float | None


@attrs.frozen(kw_only=True)
class LookupEvent:
    """
    One lookup that has ended.

    An id of a run that is no UUID has one too. One that was broken off,
    or is `PhoneLookups.unanswered`, has none.

    Attributes:
        phone_id: The id; what was given, cut to 100 characters, when it was no UUID.
        outcome: ``found``, ``missing`` or ``failed``.
        error: The name of the error's class; None when it was found or missing.
        attempts: Requests sent, those answered 429 apart.
        elapsed: Seconds from the first attempt to the end.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"

    phone_id: UUID | str
    outcome: Literal["found", "missing", "failed"]
    error: str | None
    attempts: int
    elapsed: float


Event = AttemptEvent | LookupEvent
