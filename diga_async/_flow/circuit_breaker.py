"""The circuit breaker before runs: opened by failures in a row, closed by an answer."""

from enum import Enum, auto

FAILURES_TO_OPEN = 20
PROBE_SECONDS, PROBE_JITTER = 1.0, 0.5
"""
Two probes are at least PROBE_SECONDS apart, and at most PROBE_JITTER more.

Jitter keeps probes from hitting the same phase of a server that flaps once a second.
"""


class Purpose(Enum):
    """The purpose of an attempt of a run."""

    CALL = auto()
    #: One of the run's own calls, to see whether the server is back.
    PROBE = auto()
    #: A call that went well before, to see whether the server or the ids fail.
    CONTROL = auto()


class Failure(Enum):
    """How far a failed attempt got."""

    #: The server was not reached.
    NOT_SENT = auto()
    #: The request was sent, and no answer came.
    NO_ANSWER = auto()
    #: The answer says that the server failed (5xx).
    ANSWER = auto()


class CircuitBreaker:
    """
    Holds runs back during an outage, and lets probes through.

    It counts attempts, so it holds after the same few failures however many
    attempts an id is allowed. Where half of all attempts fail, twenty failures in a
    row occur by chance once in a million attempts.
    While it holds, at most one attempt a second is a probe.

    Failures that come from the server may be those of the ids, as when all the
    records of one customer are broken. So every other probe is then a control:
    a call that the server has answered before. An answer to it ends the hold, and
    the ids fail after their own attempts. As long as each failure was an answer (5xx)
    the first control is sent immediately, and an outage begins only when one has
    failed.

    Attributes:
        most_seconds: How long a run waits without an answer.
        row: The number of the present row of failures: each answer begins a new one.
        blocked: For how many seconds the event loop was blocked, in all.
        is_open: Whether an outage is on.
    """

    def __init__(self, most_seconds: float) -> None:
        self.most_seconds = most_seconds
        self.row = 0
        self.blocked = 0.0
        self.is_open = False
        self._failures = 0
        self._last = Failure.NOT_SENT
        self._is_control_next = False
        self._held_since = 0.0
        self._next_probe = 0.0

    @property
    def is_holding(self) -> bool:
        """Whether runs are held back."""
        return self._failures >= FAILURES_TO_OPEN

    @property
    def is_in_doubt(self) -> bool:
        """Whether the ids may be what fails: no control has failed yet."""
        return self._last is Failure.ANSWER and not self.is_open

    def wait(self, now: float) -> float:
        """Return the seconds until a run may send again."""
        return max(0.0, self._next_probe - now) if self.is_holding else 0.0

    def sent(self, now: float, chance: float) -> Purpose:
        """
        Record the start of a run's attempt; return what it is for.

        Args:
            now: The time.
            chance: For the jitter.
        """
        if not self.is_holding:
            return Purpose.CALL
        self._postpone_probe(now, chance)
        is_control, self._is_control_next = self._is_control_next, False
        if is_control:
            return Purpose.CONTROL
        self._is_control_next = self._last is not Failure.NOT_SENT
        return Purpose.PROBE

    def succeeded(self) -> bool:
        """Record an answer of the server; return whether that ended an outage."""
        was_open, self.is_open = self.is_open, False
        self.row += 1
        self._failures = 0
        return was_open

    def failed(
        self,
        now: float,
        chance: float,
        *,
        sent: float = 0.0,
        kind: Failure = Failure.NOT_SENT,
        purpose: Purpose = Purpose.CALL,
    ) -> bool:
        """
        Record an attempt without an answer, or a 5xx; return if an outage begins.

        Args:
            now: The time.
            chance: For the jitter.
            sent: When the attempt started.
            kind: How far it got.
            purpose: What the attempt was for.
        """
        self._failures += 1
        self._last = kind
        if self._failures == FAILURES_TO_OPEN:
            self._hold(now, chance)
        if not self.is_holding or self.is_open:
            return False
        # A single call is not held back. One that started since the hold says as much
        # as a control, which is only sent while there is a run.
        is_late = purpose is Purpose.CALL and sent > self._held_since
        is_certain = kind is not Failure.ANSWER or purpose is Purpose.CONTROL
        self.is_open = is_certain or is_late
        return self.is_open

    def suspect(self, now: float) -> None:
        """Send a control next, although few attempts have failed."""
        if not self.is_holding:
            self._failures = FAILURES_TO_OPEN
            self._hold(now, 0.0)

    def nothing_could_be_sent(self) -> bool:
        """Record that a run got no key for too long; return if an outage begins."""
        was_open, self.is_open = self.is_open, True
        return not was_open

    def no_run_is_left(self) -> None:
        """
        Record that the last run has ended: nothing is paused any more.

        Whether the server answers is then unknown, and stays so until something is
        sent. The next run still begins with probes.
        """
        self.is_open = False

    def stood_still(self, seconds: float) -> None:
        """Record that the event loop was blocked, so that no answer could be read."""
        self.blocked += seconds

    def _hold(self, now: float, chance: float) -> None:
        self._held_since = now
        self._is_control_next = self._last is not Failure.NOT_SENT
        if self._last is Failure.ANSWER:
            self._next_probe = now
        else:
            self._postpone_probe(now, chance)

    def _postpone_probe(self, now: float, chance: float) -> None:
        self._next_probe = now + PROBE_SECONDS + PROBE_JITTER * chance


class Silence:
    """
    The time that one run has tried without an answer.

    The breaker sees failures in a row; few concurrent calls make few of them. So a
    run also ends when it has tried for `CircuitBreaker.most_seconds` since its
    first failure, and no call of the client had an answer since.
    Time in which no call of the run is under way, or the event loop was blocked, does
    not count.
    """

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker
        self._row = -1
        self._since = 0.0  # the first failure of the row, plus idle time
        self._blocked = 0.0  # the breaker's value at that time
        self._trying = 0
        self._idle_since = 0.0

    def begin(self, now: float) -> None:
        """Record the start of a call; each has its `end`."""
        if not self._trying:
            self._since += now - self._idle_since
        self._trying += 1

    def end(self, now: float) -> None:
        """Record the end of a call."""
        self._trying -= 1
        self._idle_since = now

    def failed(self, now: float) -> None:
        """Record that something failed, or that nothing could be sent."""
        if self._row != self._breaker.row:
            self._row = self._breaker.row
            self._since = now
            self._blocked = self._breaker.blocked
        if self.left(now) <= 0.0 and self._breaker.is_in_doubt:
            self._breaker.suspect(now)

    def left(self, now: float) -> float:
        """Return how many seconds the run still waits for an answer."""
        if self._row != self._breaker.row:
            return self._breaker.most_seconds
        blocked = self._breaker.blocked - self._blocked
        return self._breaker.most_seconds - (now - self._since - blocked)

    def is_hopeless(self, now: float) -> bool:
        """
        Whether the run ends.

        While the ids may be what fails, a control has to fail first.
        """
        return self.left(now) <= 0.0 and not self._breaker.is_in_doubt
