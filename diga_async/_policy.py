"""What a caller allows; after this error and that many attempts, how long to wait."""

import math
import sys
from typing import Any

import attrs
from attrs import field

from diga_async._errors import APIStatusError, ConfigurationError, DigaError

RETRY_COST = 14
MOST_TOKENS = 500
#: The longest pause, in seconds, after a ``Retry-After`` of 0.
SOON = 0.25
_MOST_DOUBLINGS = 60


def _is_positive(value: Any) -> bool:
    # An upper bound that also keeps a huge int from overflowing as a float.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 < value <= sys.float_info.max


def _positive(_: object, attribute: Any, value: Any) -> None:
    if not _is_positive(value):
        raise ConfigurationError(f"{attribute.name} must be a finite number above 0")


def _not_negative(_: object, attribute: Any, value: Any) -> None:
    is_zero = type(value) in {int, float} and value == 0
    if not (is_zero or _is_positive(value)):
        raise ConfigurationError(f"{attribute.name} must be a finite number from 0 up")


def _positive_or_none(_: object, attribute: Any, value: Any) -> None:
    if value is not None and not _is_positive(value):
        raise ConfigurationError(
            f"{attribute.name} must be a finite number above 0, or None"
        )


def _count(_: object, attribute: Any, value: Any) -> None:
    if type(value) is not int or value < 1:
        raise ConfigurationError(f"{attribute.name} must be a whole number from 1 up")


def _yes_or_no(_: object, attribute: Any, value: Any) -> None:
    check_flag(attribute.name, value)


def check_flag(name: str, value: object) -> None:
    """
    Refuse what only looks like yes or no, such as the text ``"no"``.

    Raises:
        ConfigurationError: *value* is no `bool`.
    """
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} must be True or False")


@attrs.frozen
class Timeouts:
    """
    How long to wait, in seconds.

    Attributes:
        total: For one lookup, over everything: waiting for a slot, every
            attempt, every pause. In a run it starts with an id's first attempt
            and stands still while the client holds the id back.
        attempt: For one request, from connecting to the last byte.
        connect: For a new connection: name look-up, TCP and TLS.

    Raises:
        ConfigurationError: One of them is no finite number above 0.

    .. versionadded:: 0.1.0
    """

    total: float = field(default=60.0, validator=_positive)
    attempt: float = field(default=10.0, validator=_positive)
    connect: float = field(default=5.0, validator=_positive)

    @classmethod
    def of(cls, timeouts: "Timeouts | float") -> "Timeouts":
        """Take *timeouts*, or a plain number as `total`."""
        return timeouts if isinstance(timeouts, Timeouts) else cls(timeouts)


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """
    What is tried again, how often and how soon.

    What may pass is tried again: no answer, 408, 425, 429, 5xx, and a 200
    that cannot be read. Pauses have full jitter, as botocore's standard mode:
    ``chance * min(base * 2 ** failures, max_delay)``.

    Attributes:
        max_attempts: Requests for one lookup, those answered 429 apart.
            With 1 nothing is tried again, and a `get` fails at the first 429;
            a run still asks a throttled id again.
        base_delay: Seconds before the first retry, at most.
        throttle_delay: The same after a 429.
        max_delay: Longest pause in seconds, jitter included.
        max_outage: Seconds without any answer after which a run ends;
            also the longest ``Retry-After`` that a run waits for.

    Raises:
        ConfigurationError: A value is out of range.

    .. versionadded:: 0.1.0
    """

    max_attempts: int = field(default=4, validator=_count)
    base_delay: float = field(default=0.05, validator=_not_negative)
    throttle_delay: float = field(default=1.0, validator=_not_negative)
    max_delay: float = field(default=20.0, validator=_not_negative)
    max_outage: float = field(default=300.0, validator=_positive)


@attrs.frozen(kw_only=True)
class Limits:
    """
    How much the client may ask of the server, over everything it does.

    Attributes:
        concurrency: Requests open at any instant, at most.
        per_second: Requests started in a second, at most; None for no cap.
        adaptive: Whether to find an undeclared limit by itself.
            If not, only ``Retry-After`` and a short pause after a 429
            slow the client.

    Raises:
        ConfigurationError: A value is out of range.

    .. versionadded:: 0.1.0
    """

    concurrency: int = field(default=64, validator=_count)
    per_second: float | None = field(default=None, validator=_positive_or_none)
    adaptive: bool = field(default=True, validator=_yes_or_no)


@attrs.define(kw_only=True)
class Progress:
    """
    How far one lookup has come; what the rules look at.

    Attributes:
        patient: Whether it belongs to a run, which waits out any throttling.
        deadline: When it must end, on the clock of the client.
        attempts: Requests sent, those answered 429 apart.
        forgiven: Of those, the ones that a throttled run does not hold against it.
        refusals: Times it was throttled.
    """

    patient: bool = False
    deadline: float = math.inf
    attempts: int = 0
    forgiven: int = 0
    refusals: int = 0

    def count(self, answer: object) -> None:
        """Take note of one attempt's *answer*."""
        self.attempts += 1
        if isinstance(answer, APIStatusError) and is_throttling(answer):
            self.refusals += 1
            if answer.status == 429:  # noqa: PLR2004
                self.attempts -= 1
            elif self.patient:
                self.forgiven += 1


@attrs.define
class RetryBudget:
    """
    How many retries single lookups may still spend, all together.

    The figures are those of botocore's standard mode: when most requests fail,
    asking again is what keeps a struggling server down.

    >>> budget = RetryBudget(left=20)
    >>> budget.spend(), budget.spend()
    (True, False)
    """

    left: int = MOST_TOKENS

    def spend(self) -> bool:
        """Pay for one retry, if there is enough left."""
        if self.left < RETRY_COST:
            return False
        self.left -= RETRY_COST
        return True

    def give_back(self, attempts: int) -> None:
        """Take note of a lookup that went well after so many *attempts*."""
        refund = RETRY_COST if attempts > 1 else 1
        self.left = min(MOST_TOKENS, self.left + refund)


def is_throttling(answer: object) -> bool:
    """Whether the server said *slow down*: 429, or 503 with ``Retry-After``."""
    return isinstance(answer, APIStatusError) and (
        answer.status == 429  # noqa: PLR2004
        or (answer.status == 503 and answer.retry_after is not None)  # noqa: PLR2004
    )


def full_jitter(base: float, failures: int, most: float, chance: float) -> float:
    """
    Draw a pause: anything up to a bound that doubles with each failure.

    >>> full_jitter(0.05, 2, 20.0, chance=0.5)
    0.1
    """
    return chance * min(base * 2.0 ** min(failures, _MOST_DOUBLINGS), most)


def delay_after(
    error: DigaError, progress: Progress, policy: RetryPolicy, now: float, chance: float
) -> float | None:
    """
    Decide how many seconds to wait before the next attempt; None means stop.

    A pause that would end at or after the deadline is not begun.
    What ``Retry-After`` asks for is waited out at the pace, with everybody,
    and uses up nothing of a run's deadline.
    """
    throttled = is_throttling(error)
    pause = _throttled_pause if throttled else _transient_pause
    delay = pause(error, progress, policy, chance)
    if delay is None:
        return None
    asked = getattr(error, "retry_after", None) or 0.0
    if not progress.patient:
        in_time = now + max(delay, asked) < progress.deadline
    else:
        in_time = asked <= policy.max_outage and (
            throttled or now + delay < progress.deadline
        )
    return delay if in_time else None


def _transient_pause(
    error: DigaError, progress: Progress, policy: RetryPolicy, chance: float
) -> float | None:
    spent = progress.attempts - progress.forgiven
    if not error.transient or spent >= policy.max_attempts:
        return None
    return full_jitter(policy.base_delay, spent - 1, policy.max_delay, chance)


def _throttled_pause(
    error: DigaError, progress: Progress, policy: RetryPolicy, chance: float
) -> float | None:
    retry_after = getattr(error, "retry_after", None)
    if progress.patient:
        if retry_after != 0:
            return 0.0  # the pace holds it back, with everybody else
    elif policy.max_attempts == 1 or progress.attempts >= policy.max_attempts:
        return None
    base, most = policy.throttle_delay, policy.max_delay
    if retry_after == 0:
        base, most = policy.base_delay, min(SOON, most)
    return full_jitter(base, progress.refusals - 1, most, chance)
