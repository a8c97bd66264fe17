"""`LookupStats`, `ListingStats`, `ClientStats`: frozen snapshots of what was done."""

import attrs


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

    __module__ = "diga_async"

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
class ListingStats:
    """
    Where a listing stands.

    Attributes:
        pages: Pages read.
        phones: Phones delivered.
        retries: Requests that asked again after a transient failure.
        throttled: Requests the server refused for being too many.
        elapsed: Seconds since the first page was requested; stands still at the end.
        total_pages: How many pages there are; None when the server has not said.

    .. versionadded:: 0.2.0
    """

    __module__ = "diga_async"

    pages: int
    phones: int
    retries: int
    throttled: int
    elapsed: float
    total_pages: int | None


@attrs.frozen(kw_only=True)
class ClientStats:
    """
    What a client has done since it was made, and is doing now.

    Attributes:
        requests: Requests sent.
        found: Answers that were the phone asked for.
        missing: Answers 404.
        listed: Pages of a listing.
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

    __module__ = "diga_async"

    requests: int
    found: int
    missing: int
    listed: int
    throttled: int
    rejected: int
    server_errors: int
    invalid: int
    lost: int
    retries: int
    in_flight: int
    rate: float | None
    outage: bool
