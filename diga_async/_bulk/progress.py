"""The progress of a run, and its rate."""

from collections import deque

from diga_async._engine.call import Counters
from diga_async._models.stats import LookupStats

RATE_SECONDS = 5.0
_SLICE = 0.5


class RateMeter:
    """
    Measures a rate over the last seconds, in slices that bound its memory.

    >>> meter = RateMeter()
    >>> for moment in (0.0, 0.25, 0.5, 0.75):
    ...     meter.count(moment)
    >>> meter.rate(1.0)
    4.0
    """

    def __init__(self) -> None:
        self._slices: deque[list[float]] = deque()

    def count(self, now: float) -> None:
        """Count one event."""
        if self._slices and now - self._slices[-1][0] < _SLICE:
            self._slices[-1][1] += 1
            return
        self._slices.append([now, 1])
        while now - self._slices[0][0] > RATE_SECONDS:
            self._slices.popleft()

    def rate(self, now: float) -> float:
        """Return the events a second."""
        recent = [s for s in self._slices if now - s[0] <= RATE_SECONDS]
        if not recent or now <= recent[0][0]:
            return 0.0
        return sum(count for _, count in recent) / (now - recent[0][0])


class RunProgress:
    """
    Counts what a run has delivered.

    Args:
        begun: When the run began, on the client's clock.
        length: How many items its source has; None when that is not known.

    Attributes:
        counters: What its calls have sent and received.
        ended: When the consumer had everything; None before.
    """

    def __init__(self, begun: float, length: int | None) -> None:
        self.counters = Counters()
        self._begun = begun
        self.ended: float | None = None
        self._length = length
        self._meter = RateMeter()
        self._delivered = {"found": 0, "missing": 0, "failed": 0}

    def deliver(self, kind: str, now: float) -> None:
        """Count one delivered result of that kind."""
        self._delivered[kind] += 1
        self._meter.count(now)

    def end(self, now: float) -> None:
        """Stop the clock."""
        self.ended = now

    def stats(self, now: float) -> LookupStats:
        """Return a snapshot."""
        now = now if self.ended is None else self.ended
        rate = self._meter.rate(now)
        return LookupStats(
            **self._delivered,
            retries=self.counters.retries,
            throttled=self.counters.answers["throttled"],
            in_flight=self.counters.in_flight,
            elapsed=now - self._begun,
            rate=rate,
            remaining_seconds=self._remaining(rate),
        )

    def _remaining(self, rate: float) -> float | None:
        if self._length is None:
            return None
        left = self._length - sum(self._delivered.values())
        if left <= 0:
            return 0.0
        return left / rate if rate else None
