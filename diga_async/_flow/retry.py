"""Whether and when an attempt is repeated: pure rules of one call."""

import math

import attrs

from diga_async._models.errors import APIStatusError, DigaError
from diga_async._models.options import RetryPolicy

RETRY_COST = 14
MAX_TOKENS = 500
#: The longest pause, in seconds, after a ``Retry-After`` of 0.
SHORT_PAUSE = 0.25
#: Seconds between two requests for a key, the first pause and the longest.
KEY_PAUSE, MAX_KEY_PAUSE = 1.0, 30.0
_MOST_DOUBLINGS = 60


@attrs.define(eq=False, repr=False, kw_only=True)
class Progress:
    """
    The state of one call that the rules need.

    Attributes:
        bulk: Whether it belongs to a run, which waits out any throttling.
        deadline: When it must end, on the client's clock.
        attempts: Requests sent, except those that say nothing about the id.
        forgiven: Attempts among them that do not count against a throttled run.
        throttled: How often the server throttled it.
    """

    bulk: bool = False
    deadline: float = math.inf
    attempts: int = 0
    forgiven: int = 0
    throttled: int = 0

    def count(self, answer: object) -> None:
        """Count one attempt and its *answer*."""
        self.attempts += 1
        if isinstance(answer, APIStatusError) and is_throttling(answer):
            self.throttled += 1
            if answer.status == 429:  # noqa: PLR2004
                self.attempts -= 1
            elif self.bulk:
                self.forgiven += 1

    def uncount(self) -> None:
        """Take the last attempt back, as one that says nothing about the id."""
        self.attempts -= 1


@attrs.define(eq=False, repr=False)
class RetryBudget:
    """
    The retries that all single calls of a client share.

    The figures are those of botocore's standard mode: when most requests fail,
    retries keep a struggling server down.

    >>> budget = RetryBudget(left=20)
    >>> budget.spend(), budget.spend()
    (True, False)
    """

    left: int = MAX_TOKENS

    def spend(self) -> bool:
        """Pay for one retry; return whether enough was left."""
        if self.left < RETRY_COST:
            return False
        self.left -= RETRY_COST
        return True

    def refund(self, attempts: int) -> None:
        """Return tokens for a call that was answered after *attempts*."""
        tokens = RETRY_COST if attempts > 1 else 1
        self.left = min(MAX_TOKENS, self.left + tokens)


def is_throttling(answer: object) -> bool:
    """Whether the server asked to slow down: 429, or 503 with ``Retry-After``."""
    return isinstance(answer, APIStatusError) and (
        answer.status == 429  # noqa: PLR2004
        or (answer.status == 503 and answer.retry_after is not None)  # noqa: PLR2004
    )


def full_jitter(base: float, failures: int, most: float, chance: float) -> float:
    """
    Draw a pause between 0 and a bound that doubles with each failure.

    >>> full_jitter(0.05, 2, 20.0, chance=0.5)
    0.1
    """
    return chance * min(base * 2.0 ** min(failures, _MOST_DOUBLINGS), most)


def growing_pause(failures: int, chance: float) -> float:
    """
    Return the seconds before a key is asked for again: they double, up to a limit.

    >>> [growing_pause(failures, chance=0.5) for failures in (1, 2, 3, 99)]
    [1.0, 2.0, 4.0, 30.0]
    """
    doublings = min(failures - 1, _MOST_DOUBLINGS)
    return (0.5 + chance) * min(KEY_PAUSE * 2.0**doublings, MAX_KEY_PAUSE)


def delay_after(
    error: DigaError, progress: Progress, policy: RetryPolicy, now: float, chance: float
) -> float | None:
    """
    Return the seconds to wait before the next attempt; None means stop.

    A pause that would end at or after the deadline is not started.
    The rate limiter waits out what ``Retry-After`` asks for, for all calls at the
    same time; in a run that time does not count towards the deadline.
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
            return 0.0  # the rate limiter delays it, as it delays all other calls
    elif policy.max_attempts == 1 or progress.attempts >= policy.max_attempts:
        return None
    base, most = policy.throttle_delay, policy.max_delay
    if retry_after == 0:
        base, most = policy.base_delay, min(SHORT_PAUSE, most)
    return full_jitter(base, progress.throttled - 1, most, chance)
