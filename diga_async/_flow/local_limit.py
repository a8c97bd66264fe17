"""
The local limit on requests in flight, lowered by shortages of this machine.

A process has few descriptors, a machine few ports and buffers, and a lent pool few
connections. Where one of them is used up, a request cannot even be sent.
"""

import math

SPARE = 2
"""Requests by which a shortage lowers the limit: the program needs files too."""

GROW_SECONDS, GROW_SECONDS_MOST = 1.0, 64.0
"""Seconds without a shortage before the limit grows; doubled when that failed."""

GROWTH = 8
"""The limit grows by this fraction of itself, and by at least one."""

PAUSE, PAUSE_MOST = 0.05, 1.0
"""First and longest pause, in seconds, while no connection can be opened."""


class LocalLimit:
    """
    Limits the requests in flight to what this machine can carry.

    A shortage sets the limit below the number in flight at that moment, because the
    others hold what is missing. Without one, the limit grows again step by step, and
    more slowly after each step that led to another shortage.

    Where nothing else was in flight, fewer requests cannot help. Then nothing starts
    during a pause, which doubles.

    Args:
        most: How many requests may be in flight without any shortage.

    Attributes:
        slots: How many requests may be in flight now: 1 to *most*.
        opens_at: When the next request may start, on the clock of *now*.

    >>> limit = LocalLimit(64)
    >>> limit.fell_short(10.0, in_flight=31), limit.slots
    (True, 28)
    >>> limit.succeeded(11.0), limit.slots
    (None, 31)
    """

    __slots__ = (
        "_grow_seconds",
        "_has_grown",
        "_most",
        "_pause",
        "_since",
        "opens_at",
        "slots",
    )

    def __init__(self, most: float) -> None:
        self.slots = self._most = most
        self._since = -math.inf  # the last change
        self._grow_seconds = GROW_SECONDS
        self._has_grown = False
        self._pause = 0.0
        self.opens_at = -math.inf

    def wait(self, now: float) -> float:
        """Return the seconds until the next request may start; 0.0 is now."""
        return max(0.0, self.opens_at - now)

    def fell_short(self, now: float, in_flight: int) -> bool:
        """
        Record a request that could not be sent.

        Args:
            now: The time.
            in_flight: How many were in flight, itself included.

        Returns:
            Whether it is the first one after a time without shortages.
        """
        is_quiet = now - self._since > GROW_SECONDS_MOST
        is_first = is_quiet and self.slots >= self._most and not self._pause
        if in_flight <= 1:
            self._pause = min(self._pause * 2.0 or PAUSE, PAUSE_MOST)
            self.opens_at = now + self._pause
        if self._has_grown:
            self._has_grown = False
            self._grow_seconds = min(self._grow_seconds * 2.0, GROW_SECONDS_MOST)
        self.slots = min(self.slots, max(1, in_flight - 1 - SPARE))
        self._since = now
        return is_first

    def succeeded(self, now: float) -> None:
        """Record a request that was sent."""
        self._pause = 0.0
        if self.slots >= self._most or now - self._since < self._grow_seconds:
            return
        self.slots = min(self._most, self.slots + max(1, int(self.slots) // GROWTH))
        self._since = now
        if self._has_grown:  # the previous step caused no shortage
            self._grow_seconds = max(GROW_SECONDS, self._grow_seconds / 2.0)
        self._has_grown = True
