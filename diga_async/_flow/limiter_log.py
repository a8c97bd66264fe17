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


def limiter_line(seen: Snapshot, server: str, *, searching: bool = False) -> str:
    """
    Say what the rate limiter does, and why.

    Args:
        seen: Its state.
        server: The server's name.
        searching: Whether the rate is a guess that the next answers may change.

    >>> limiter_line(Snapshot("limited", 187.25, 64, 0.0), "api.diga.io:443")
    'throttled by api.diga.io:443: at most 187.2 requests a second from now on'
    """
    match seen.state:
        case "free":
            return f"not throttled by {server} any more: no limit is known"
        case "capped":
            rate = f"{seen.rate:,.4g} requests a second" if seen.rate else "fewer"
            return f"not throttled by {server} any more: {rate}, as per_second says"
        case "limited" if seen.rate is None:
            slots = f"{seen.slots} request{'s' * (seen.slots > 1)} in flight"
            return f"throttled by {server}: at most {slots} from now on"
        case "limited":
            rate = f"{seen.rate:,.1f} requests a second"
            known, guess = f"at most {rate} from now on", f"slower, {rate} for now"
            return f"throttled by {server}: {guess if searching else known}"
        case "probing":
            return (
                f"throttled by {server}: it accepts nothing; one request at a time "
                f"tries again, the next in {seen.resumes_in:.1f} s"
            )
        case "cooling_down":
            seconds = f"{seen.resumes_in:.0f} s"
            return f"throttled by {server}: no request for {seconds}, as it asked"
