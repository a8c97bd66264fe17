"""How fast a run is: what it handed out, over the last seconds."""

from collections import deque

RATE_SECONDS = 5.0
_SLICE = 0.5


class RateMeter:
    """
    Counts in slices of half a second, so that it stays small however long it runs.

    >>> meter = RateMeter()
    >>> for moment in (0.0, 0.25, 0.5, 0.75):
    ...     meter.count(moment)
    >>> meter.rate(1.0)
    4.0
    """

    def __init__(self) -> None:
        self._slices: deque[list[float]] = deque()

    def count(self, now: float) -> None:
        """Take note of one more."""
        if self._slices and now - self._slices[-1][0] < _SLICE:
            self._slices[-1][1] += 1
            return
        self._slices.append([now, 1])
        while now - self._slices[0][0] > RATE_SECONDS:
            self._slices.popleft()

    def rate(self, now: float) -> float:
        """Return how many a second there were lately."""
        recent = [s for s in self._slices if now - s[0] <= RATE_SECONDS]
        if not recent or now <= recent[0][0]:
            return 0.0
        return sum(count for _, count in recent) / (now - recent[0][0])
