"""`AttemptEvent` and `LookupEvent`: what the hook and the log receive."""

from typing import Literal
from uuid import UUID

import attrs

AnswerKind = Literal[
    "found",
    "missing",
    "listed",
    "throttled",
    "rejected",
    "server_errors",
    "invalid",
    "lost",
]


@attrs.frozen(kw_only=True)
class AttemptEvent:
    """
    One request and its answer.

    A request that was cancelled, or ended by `close`, has no event.

    Attributes:
        phone_id: The id it was for; None for a page of a listing.
        attempts: Requests sent for that id so far, except those answered 429.
        answer: The kind of answer, as in `ClientStats`: ``found``, ``missing``,
            ``listed``, ``throttled``, ``rejected``, ``server_errors``, ``invalid``,
            ``lost``.
        status: The HTTP status; None when there was no response.
        waited: Seconds it was queued: for a slot, the rate limiter, an outage.
        elapsed: Seconds from then to the answer.
        rate: Requests a second that the rate limiter allows now; None when it is
            free.
        reason: Why there is no usable answer, never in the server's words; None when
            there is one, or the status says it.

    .. versionadded:: 0.1.0
    .. versionchanged:: 0.2.0
        Added `reason`.
    """

    __module__ = "diga_async"

    phone_id: UUID | None
    attempts: int
    answer: AnswerKind
    status: int | None
    waited: float
    elapsed: float
    rate: float | None
    reason: str | None = None


@attrs.frozen(kw_only=True)
class LookupEvent:
    """
    The end of one lookup.

    An item of a run that is not a UUID has one too. A lookup that was cancelled, or
    is `PhoneLookups.unanswered`, has none.

    Attributes:
        phone_id: The id; the text given, cut to 100 characters, if it was not a UUID.
        outcome: ``found``, ``missing`` or ``failed``.
        error: The name of the error's class; None when it was found or missing.
        attempts: Requests sent, except those answered 429.
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
