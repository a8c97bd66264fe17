"""`Found`, `Missing`, `Failed`, and the tally of a run."""

from collections.abc import Mapping
from uuid import UUID

import attrs
from attrs import field

from diga_async._errors import DigaError
from diga_async._phone import Phone


@attrs.frozen
class Found:
    """
    A phone that was found.

    Attributes:
        phone_id: The id that was asked for.
        phone: The phone, as the server described it at that moment.
        attempts: Requests sent, those answered 429 apart.
        elapsed: Seconds from the first attempt to the answer.

    .. versionadded:: 0.1.0
    """

    phone_id: UUID
    phone: Phone
    attempts: int
    elapsed: float


@attrs.frozen
class Missing:
    """
    An id the key's project has no phone for: an answer, not a failure.

    Attributes:
        phone_id: The id that was asked for.
        attempts: Requests sent, those answered 429 apart.
        elapsed: Seconds from the first attempt to the answer.

    .. versionadded:: 0.1.0
    """

    phone_id: UUID
    attempts: int
    elapsed: float


@attrs.frozen
class Failed:
    """
    An id that could not be looked up.

    Attributes:
        phone_id: The id that was asked for;
            what was given, cut to 100 characters, when it was no UUID.
        error: Why, without a traceback.
        attempts: Requests sent, those answered 429 apart.
        elapsed: Seconds from the first attempt to the error.

    .. versionadded:: 0.1.0
    """

    phone_id: UUID | str
    error: DigaError
    attempts: int
    elapsed: float


Outcome = Found | Missing | Failed


@attrs.frozen(kw_only=True, repr=False)
class PhoneBatch:
    """
    What `get_many` brought: every id given is in exactly one place.

    Attributes:
        phones: The phones found, by id, in the order of the input.
        missing: The ids the project has no phone for, in that order.
        failures: Why ids could not be looked up, by id,
            or by the whole text given when it was no UUID.
        unanswered: The ids that were taken from the input and not answered,
            because the run ended early; else empty.

    .. versionadded:: 0.1.0
    """

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

    def raise_for_failures(self) -> None:
        """
        Raise what went wrong, if anything did.

        Raises:
            ExceptionGroup: One `DigaError` for each of `failures`.

        .. versionadded:: 0.1.0
        """
        if self.failures:
            raise ExceptionGroup(
                f"{len(self.failures)} lookups failed", list(self.failures.values())
            )


@attrs.frozen(kw_only=True)
class LookupStats:
    """
    Where a run stands.

    Attributes:
        found: Outcomes handed out that are `Found`.
        missing: Outcomes handed out that are `Missing`.
        failed: Outcomes handed out that are `Failed`.
        retries: Requests that asked again after something that may pass.
        throttled: Requests the server refused for being too many.
        in_flight: Requests open now.
        elapsed: Seconds since the first id was taken; stands still at the end.
        rate: Outcomes a second over the last seconds.
        remaining_seconds: Estimate of the time left;
            None when the source has no length, or nothing to go by yet;
            0 when nothing is left.

    .. versionadded:: 0.1.0
    """

    found: int
    missing: int
    failed: int
    retries: int
    throttled: int
    in_flight: int
    elapsed: float
    rate: float
    remaining_seconds: float | None


@attrs.frozen(kw_only=True)
class ClientStats:
    """
    What a client has done since it was made, and is doing now.

    Attributes:
        requests: Requests sent.
        found: Answers that were the phone asked for.
        missing: Answers 404.
        throttled: Answers 429, and 503 with ``Retry-After``.
        rejected: Other answers 3xx and 4xx.
        server_errors: Other answers 5xx.
        invalid: Successes that were not the phone asked for.
        lost: Requests that brought no usable answer.
        retries: Requests that asked again after something that may pass.
        in_flight: Requests open now.
        rate: Requests a second that the pace allows now; None when it is free.
        outage: Whether the client holds runs back because nothing comes back.

    .. versionadded:: 0.1.0
    """

    requests: int
    found: int
    missing: int
    throttled: int
    rejected: int
    server_errors: int
    invalid: int
    lost: int
    retries: int
    in_flight: int
    rate: float | None
    outage: bool
