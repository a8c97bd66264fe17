"""`LookupStats` and `ClientStats`: frozen snapshots of what was done."""

from typing import Literal

import attrs

from diga_async._models.errors import DigaError


@attrs.frozen(kw_only=True)
class LookupStats:
    """
    A snapshot of a run.

    Attributes:
        found: Delivered outcomes that are `Found`.
        missing: Delivered outcomes that are `Missing`.
        failed: Delivered outcomes that are `Failed`.
        retries: Requests that repeated a failed one.
        throttled: Requests that the server throttled.
        in_flight: Requests open now.
        elapsed: Seconds since the first id was taken; stands still at the end.
        rate: Outcomes a second over the last seconds.
        remaining_seconds: Estimate of the time left; None when the source has no
            length, or before the first outcomes; 0 when nothing is left.

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
class ClientStats:
    """
    A snapshot of what a client has done since it was made, and is doing.

    Attributes:
        requests: Requests sent.
        found: Answers that were the phone asked for.
        missing: Answers 404.
        listed: Pages of a listing.
        throttled: Answers 429, and 503 with ``Retry-After``.
        rejected: Other answers 3xx and 4xx.
        server_errors: Other answers 5xx.
        invalid: Successes that were not the phone asked for.
        lost: Requests without a usable answer.
        retries: Requests that repeated a failed one.
        in_flight: Requests open now.
        limiter: What the rate limiter does: ``free``, no limit is known; ``capped``,
            only *per_second* limits; ``limited``, it stays below a limit that it
            found; ``probing``, nothing is accepted, and one request at a time tries
            again; ``cooling_down``, a ``Retry-After`` blocks every request.
        rate: Requests a second that it allows now; None when it is free, or when
            *slots* is what limits.
        slots: Requests that may be in flight now: 1 while probing, and fewer than
            *concurrency* at the start and at a limit on requests in flight.
        resumes_in: Seconds until the next request may start, while it is probing or
            cooling down; else 0.0.
        outage: Whether runs are paused because the server does not answer. It is over
            with an answer, or with the last run.
        last_error: Why the last request had no answer, or a 5xx, without a traceback;
            None once the server answers.

    .. versionadded:: 0.1.0
    .. versionchanged:: 0.2.0
        Added `limiter`, `slots`, `resumes_in` and `last_error`.
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
    limiter: Literal["free", "capped", "limited", "probing", "cooling_down"]
    rate: float | None
    slots: int
    resumes_in: float
    outage: bool
    last_error: DigaError | None
