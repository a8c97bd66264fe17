"""Which changes of the rate limiter are worth a line in the log: a few a minute."""

import math

from diga_async._flow.rate_limiter import Snapshot, State

SPACING = 20.0
"""Least seconds between two lines; only a longer cool-down is reported sooner."""

CHECK = 1.0
"""Seconds between two checks while everything is accepted."""

SHORT = 5.0
"""Seconds; a shorter cool-down is not news, as ``Retry-After: 1`` causes many."""

CHANGED = 1.25
"""A limit that differs by this factor is news."""


class LimiterLog:
    """
    Decides which snapshots of a rate limiter are reported.

    Attributes:
        due: When the next check is due.
    """

    def __init__(self) -> None:
        self.due = -math.inf
        self._reported_at = -math.inf
        self._state: State = "free"
        self._limit = math.inf

    def is_news(self, now: float, seen: Snapshot) -> bool:
        """Return whether to report *seen* now; if so, it counts as reported."""
        self.due = now + CHECK
        limit = seen.slots if seen.rate is None else seen.rate
        if seen.state == "capped" and self._state == "free":
            return False  # the user's own cap
        is_cool_down = seen.state == "cooling_down"
        if is_cool_down and seen.resumes_in < SHORT:
            return False
        if seen.state == self._state and not self._differs(seen.state, limit):
            return False
        is_long = is_cool_down and seen.resumes_in >= SPACING
        if now < self._reported_at + SPACING and not is_long:
            return False
        self._reported_at, self._state, self._limit = now, seen.state, limit
        return True

    def _differs(self, state: State, limit: float) -> bool:
        low, high = sorted((limit, self._limit))
        return state == "limited" and high >= CHANGED * low
