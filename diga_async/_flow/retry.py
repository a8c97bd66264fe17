"""What a caller allows; after this error and that many attempts, how long to wait."""

import math

import attrs

from diga_async._models.errors import APIStatusError, DigaError
from diga_async._models.options import RetryPolicy

RETRY_COST = 14
MOST_TOKENS = 500
#: The longest pause, in seconds, after a ``Retry-After`` of 0.
SOON = 0.25
_MOST_DOUBLINGS = 60


@attrs.define(kw_only=True)
class Progress:
    """
    How far one lookup has come; what the rules look at.

    Attributes:
        bulk: Whether it belongs to a run, which waits out any throttling.
        deadline: When it must end, on the clock of the client.
        attempts: Requests sent, those answered 429 apart.
        forgiven: Of those, the ones that a throttled run does not hold against it.
        refusals: Times it was throttled.
    """

    bulk: bool = False
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
            elif self.bulk:
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

    def release(self, attempts: int) -> None:
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
    if not progress.bulk:
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
    if progress.bulk:
        if retry_after != 0:
            return 0.0  # the limiter holds it back, with everybody else
    elif policy.max_attempts == 1 or progress.attempts >= policy.max_attempts:
        return None
    base, most = policy.throttle_delay, policy.max_delay
    if retry_after == 0:
        base, most = policy.base_delay, min(SOON, most)
    return full_jitter(base, progress.refusals - 1, most, chance)
