"""The circuit breaker before runs: opened by failures in a row, closed by an answer."""

FAILURES_TO_OPEN = 20
PROBE_SECONDS, PROBE_JITTER = 1.0, 0.5
"""
Two probes are at least PROBE_SECONDS apart, and at most PROBE_JITTER more.

Jitter keeps probes from hitting the same phase of a server that flaps once a second.
"""


class CircuitBreaker:
    """
    Holds runs back during an outage, and lets probes through.

    It counts attempts, so it opens after the same few failures however many
    attempts an id is allowed. Where half of all attempts fail, twenty failures in a
    row occur by chance once in a million attempts.
    While it is open, at most one attempt a second is a probe.

    A second rule measures time, because few concurrent calls make few failures:
    a run ends when it has tried for *most_seconds* without any answer.
    Time in which no run tries does not count.

    Attributes:
        most_seconds: How long a run waits without an answer.
    """

    def __init__(self, most_seconds: float) -> None:
        self.most_seconds = most_seconds
        self._failures = 0
        self._since = 0.0  # the first failure in a row, idle time left out
        self._next_probe = 0.0
        self._trying = 0  # calls of runs under way
        self._idle_since = 0.0

    @property
    def is_open(self) -> bool:
        """Whether runs are held back."""
        return self._failures >= FAILURES_TO_OPEN

    def wait(self, now: float) -> float:
        """Return the seconds until a run may send again."""
        return max(0.0, self._next_probe - now) if self.is_open else 0.0

    def begin(self, now: float) -> None:
        """Record the start of a run's call; each has its `end`."""
        if not self._trying:
            silence = max(0.0, self._idle_since - self._since)
            self._since = now - silence
        self._trying += 1

    def end(self, now: float) -> None:
        """Record the end of a run's call."""
        self._trying -= 1
        self._idle_since = now

    def sent(self, now: float, chance: float) -> None:
        """Record the start of a run's attempt; *chance* is for the jitter."""
        if self.is_open:
            self._postpone_probe(now, chance)

    def succeeded(self) -> bool:
        """Record an answer of the server; return whether that ended an outage."""
        was_open = self._failures >= FAILURES_TO_OPEN
        self._failures = 0
        return was_open

    def failed(self, now: float, chance: float) -> bool:
        """Record an attempt without an answer, or a 5xx; return if an outage begins."""
        if not self._failures:
            self._since = now
        self._failures += 1
        if self._failures != FAILURES_TO_OPEN:
            return False
        self._postpone_probe(now, chance)
        return True

    def stood_still(self, seconds: float) -> None:
        """Record that the event loop was blocked, so that no answer could be read."""
        self._since += seconds

    def is_hopeless(self, now: float) -> bool:
        """Whether no answer came for so long that a run ends."""
        return self._failures > 0 and now - self._since >= self.most_seconds

    def _postpone_probe(self, now: float, chance: float) -> None:
        self._next_probe = now + PROBE_SECONDS + PROBE_JITTER * chance
