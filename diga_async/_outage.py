"""Whether anything comes back at all; if not, runs wait and probe."""

FAILURES_TO_CLOSE = 20
PROBE_SECONDS = 1.0


class Outage:
    """
    A gate before runs, closed by failures in a row and opened by any answer.

    It counts attempts, so it closes after the same few failures however many
    attempts an id is allowed. Twenty in a row do not happen by chance: where
    half of all attempts fail, once in a million.
    While it is closed, one attempt a second goes through to see.
    """

    def __init__(self, most_seconds: float) -> None:
        self._most_seconds = most_seconds
        self._failures = 0
        self._since = 0.0
        self._next_probe = 0.0

    @property
    def is_on(self) -> bool:
        """Whether runs are held back."""
        return self._failures >= FAILURES_TO_CLOSE

    def wait(self, now: float) -> float:
        """Return the seconds until a run may send again."""
        return max(0.0, self._next_probe - now) if self.is_on else 0.0

    def sent(self, now: float) -> None:
        """Take note that an attempt of a run starts."""
        if self.is_on:
            self._next_probe = now + PROBE_SECONDS

    def answered(self) -> bool:
        """Note that the server said something; return whether that ended one."""
        was_on = self._failures >= FAILURES_TO_CLOSE
        self._failures = 0
        return was_on

    def failed(self, now: float) -> bool:
        """Note an attempt without an answer or with a 5xx; return if one begins."""
        if not self._failures:
            self._since = now
        self._failures += 1
        if self._failures != FAILURES_TO_CLOSE:
            return False
        self._next_probe = now + PROBE_SECONDS
        return True

    def is_hopeless(self, now: float) -> bool:
        """Whether nothing has come back for so long that a run should end."""
        return self.is_on and now - self._since >= self._most_seconds
