"""Whether anything comes back at all; if not, runs wait and probe."""

FAILURES_TO_CLOSE = 20
PROBE_SECONDS, PROBE_JITTER = 1.0, 0.5
"""
Between two probes at least so many seconds, and at most so many more.

A server that comes and goes once a second would else be down at every probe.
"""


class CircuitBreaker:
    """
    A gate before runs, closed by failures in a row and opened by any answer.

    It counts attempts, so it closes after the same few failures however many
    attempts an id is allowed. Twenty in a row do not happen by chance: where
    half of all attempts fail, once in a million.
    While it is closed, an attempt goes through now and then to see, at most one a
    second.

    A second rule counts time, because few lookups at once make few failures:
    a run ends when it has tried for so long and nothing came back.
    Time in which no run tries says nothing, and is left out.

    Attributes:
        most_seconds: For how long a run waits without an answer.
    """

    def __init__(self, most_seconds: float) -> None:
        self.most_seconds = most_seconds
        self._failures = 0
        self._since = 0.0  # the first failure of the row, without idle time
        self._next_probe = 0.0
        self._trying = 0  # lookups of runs under way
        self._idle_since = 0.0

    @property
    def is_on(self) -> bool:
        """Whether runs are held back."""
        return self._failures >= FAILURES_TO_CLOSE

    def wait(self, now: float) -> float:
        """Return the seconds until a run may send again."""
        return max(0.0, self._next_probe - now) if self.is_on else 0.0

    def begin(self, now: float) -> None:
        """Take note that a lookup of a run begins; each has its `end`."""
        if not self._trying:
            silence = max(0.0, self._idle_since - self._since)
            self._since = now - silence
        self._trying += 1

    def end(self, now: float) -> None:
        """Take note that a lookup of a run is over."""
        self._trying -= 1
        self._idle_since = now

    def sent(self, now: float, chance: float) -> None:
        """Take note that an attempt of a run starts; *chance* is for the jitter."""
        if self.is_on:
            self._put_off(now, chance)

    def answered(self) -> bool:
        """Note that the server said something; return whether that ended one."""
        was_on = self._failures >= FAILURES_TO_CLOSE
        self._failures = 0
        return was_on

    def failed(self, now: float, chance: float) -> bool:
        """Note an attempt without an answer or with a 5xx; return if one begins."""
        if not self._failures:
            self._since = now
        self._failures += 1
        if self._failures != FAILURES_TO_CLOSE:
            return False
        self._put_off(now, chance)
        return True

    def is_hopeless(self, now: float) -> bool:
        """Whether nothing has come back for so long that a run should end."""
        return self._failures > 0 and now - self._since >= self.most_seconds

    def _put_off(self, now: float, chance: float) -> None:
        """Set when the next probe is due."""
        self._next_probe = now + PROBE_SECONDS + PROBE_JITTER * chance
