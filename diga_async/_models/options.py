"""`Timeouts`, `RetryPolicy`, `Limits`: what a caller allows, checked."""

import sys
from typing import Any

import attrs
from attrs import field

from diga_async._models.arguments import explains_options, not_this
from diga_async._models.errors import ConfigurationError

_TOTAL = "pass total=60.0 for a whole lookup, attempt=10.0 for each request"
_MAX_ATTEMPTS = "pass max_attempts=4, the first request included"
_CONCURRENCY = "pass concurrency=64, the most requests in flight"
_PER_SECOND = "pass per_second=, the most requests started in a second"


def _is_positive(value: Any) -> bool:
    # The upper bound also keeps a huge int from overflowing as a float.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 < value <= sys.float_info.max


def _positive(_: object, attribute: Any, value: Any) -> None:
    check_seconds(attribute.name, value)


def _not_negative(_: object, attribute: Any, value: Any) -> None:
    is_zero = type(value) in {int, float} and value == 0
    if not (is_zero or _is_positive(value)):
        raise ConfigurationError(
            f"{attribute.name} must be a finite number from 0 up, {not_this(value)}"
        )


def _positive_or_none(_: object, attribute: Any, value: Any) -> None:
    if value is not None and not _is_positive(value):
        raise ConfigurationError(
            f"{attribute.name} must be a finite number above 0, or None, "
            f"{not_this(value)}"
        )


def _count(_: object, attribute: Any, value: Any) -> None:
    check_count(attribute.name, value)


def check_count(name: str, value: object) -> None:
    """
    Reject a value that is not a count.

    Raises:
        ConfigurationError: *value* is not a whole number from 1 up.
    """
    if type(value) is not int or value < 1:
        raise ConfigurationError(
            f"{name} must be a whole number from 1 up, {not_this(value)}"
        )


def check_seconds(name: str, value: object) -> None:
    """
    Reject a value that is not a duration.

    Raises:
        ConfigurationError: *value* is not a finite number above 0.
    """
    if not _is_positive(value):
        raise ConfigurationError(
            f"{name} must be a finite number above 0, {not_this(value)}"
        )


def _yes_or_no(_: object, attribute: Any, value: Any) -> None:
    check_flag(attribute.name, value)


def check_flag(name: str, value: object) -> None:
    """
    Reject values that only look like a flag, such as the text ``"no"``.

    Raises:
        ConfigurationError: *value* is not a `bool`.
    """
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} must be True or False, {not_this(value)}")


@explains_options(
    {
        "timeout": _TOTAL,
        "read": _TOTAL,
        "write": "a request is sent whole; attempt= covers it",
        "pool": "total= covers the wait for a slot",
        "sock_connect": "pass connect=5.0",
        "sock_read": _TOTAL,
    }
)
@attrs.frozen
class Timeouts:
    """
    Time limits, in seconds.

    Attributes:
        total: For one lookup: waiting for a slot, every attempt, every pause.
            In a run it starts with an id's first attempt and stands still while
            the client delays the id: for the rate limiter, an outage or the key.
        attempt: For one request, from connecting to the last byte.
        connect: For a new connection: name resolution, TCP and TLS.

    Raises:
        ConfigurationError: One of them is not a finite number above 0.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"

    total: float = field(default=60.0, validator=_positive)
    attempt: float = field(default=10.0, validator=_positive)
    connect: float = field(default=5.0, validator=_positive)

    @classmethod
    def of(cls, timeouts: "Timeouts | float") -> "Timeouts":
        """
        Take *timeouts*, or a plain number as `total`.

        Raises:
            ConfigurationError: It is neither, or not above 0.
        """
        if isinstance(timeouts, Timeouts):
            return timeouts
        if isinstance(timeouts, int | float):
            check_seconds("timeouts", timeouts)
            return cls(timeouts)
        raise ConfigurationError(
            f"timeouts must be a number of seconds or a Timeouts, {not_this(timeouts)}"
        )


@explains_options(
    {
        "attempts": _MAX_ATTEMPTS,
        "max_retries": _MAX_ATTEMPTS,
        "retries": _MAX_ATTEMPTS,
        "total": _MAX_ATTEMPTS,
        "backoff": "pass base_delay=0.05, doubled after each failure",
        "backoff_factor": "pass base_delay=0.05, doubled after each failure",
        "timeout": "pass DigaClient(timeouts=...)",
    }
)
@attrs.frozen(kw_only=True)
class RetryPolicy:
    """
    The rules of retries: which failures, how often and how soon.

    Retried are transient failures: connection errors, timeouts, 408, 425, 429, 5xx,
    and a 200 that does not parse, because it may be truncated.
    Pauses have full jitter, as in botocore's standard mode:
    ``chance * min(base * 2 ** failures, max_delay)``.

    Attributes:
        max_attempts: Requests for one lookup. Not counted are those answered 429, a
            401 that leads to a new key, and in a run the failed probes of an outage.
            With 1 nothing is retried, and a `get` fails at the first 429;
            a run still retries a throttled id.
        base_delay: Seconds before the first retry, at most.
        throttle_delay: The same after a 429.
        max_delay: The longest pause in seconds, jitter included.
        max_outage: Seconds without any answer after which a run ends;
            also the longest ``Retry-After`` that a run waits for.

    Raises:
        ConfigurationError: A value is out of range.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"

    max_attempts: int = field(default=4, validator=_count)
    base_delay: float = field(default=0.05, validator=_not_negative)
    throttle_delay: float = field(default=1.0, validator=_not_negative)
    max_delay: float = field(default=20.0, validator=_not_negative)
    max_outage: float = field(default=300.0, validator=_positive)


@explains_options(
    {
        "max_concurrency": _CONCURRENCY,
        "max_connections": _CONCURRENCY,
        "max_keepalive_connections": "idle connections are kept; " + _CONCURRENCY,
        "rate": _PER_SECOND,
        "rate_limit": _PER_SECOND,
        "requests_per_second": _PER_SECOND,
        "per_minute": "pass per_second=N / 60",
    }
)
@attrs.frozen(kw_only=True)
class Limits:
    """
    The limits of a client, shared by everything it does.

    Attributes:
        concurrency: The most requests in flight.
        per_second: The most requests started in a second; None for no cap.
        adaptive: Whether to find an undeclared limit.
            If not, only ``Retry-After`` and a short pause after a 429
            slow the client.

    Raises:
        ConfigurationError: A value is out of range.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"

    concurrency: int = field(default=64, validator=_count)
    per_second: float | None = field(default=None, validator=_positive_or_none)
    adaptive: bool = field(default=True, validator=_yes_or_no)
