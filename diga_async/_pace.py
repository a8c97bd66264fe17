"""
The pace: given the time and what was answered, when may the next attempt start.

Nobody tells a client how much a server allows, so the pace finds out
by asking a little faster until it is refused, and remembers.
It is a pure rule: it reads no clock, draws no lots and waits for nothing.
Times are seconds of any clock that does not go back.
"""

import math

FEW = 6.0
"""Attempts in flight at the start: a first refusal then costs a handful, not 64."""

CATCH_UP = 0.004
"""Seconds a late timer may make good: epoll and a busy loop take a few."""

CATCH_UP_MOST = 0.020
"""More than that would be a volley; what a long stall lost stays lost."""

NEVER = -math.inf
"""Before every time."""

JITTER = 0.1
"""Each gap varies by ±5 %, so that processes do not march in step."""

BACK = 0.85
"""After a refusal the pace falls back below the limit by this times its root..."""

BACK_MOST = 0.06
"""...at most by this share of it."""

CUT = 0.92
"""How far one refusal can lower the estimate, unless it is far off."""

FAR = 0.7
"""Below this share of the rate in use, a measurement says: far off."""

EXCESS = 0.01
"""The share of it that probing starts with on top."""

DOUBLING = 0.6
"""Seconds in which the excess doubles, at least..."""

DOUBLING_SENDS = 10
"""...and in no fewer sends: at low rates each refusal is a larger share..."""

DOUBLING_TRIPS = 5
"""...and round trips: a refusal takes one to be heard..."""

DOUBLING_HOLDS = 3
"""...and times what a refusal costs, where the server asks for a delay."""

SEARCH = 1.3
"""In the search each answer speeds up by this."""

SEARCH_HOLD = 0.1
"""...and in no less than so many seconds, where each refusal costs a delay."""

LONGEST_SILENCE = 30.0
"""Seconds between two probes while nothing is taken."""

THROTTLE, THROTTLE_MOST = 1.0, 20.0
"""First and longest pause, in seconds, of a pace that does not adapt."""

BURST = 10.0
"""Seconds: what was taken before a later first refusal was no burst."""


class _Meter:
    """
    Measures the limit from one refusal to a later one.

    At every refusal the server has nothing left to give.
    So what it took between two of them, over the time between,
    *is* its limit, give or take one.
    After a pause a bucket has saved something up, a window has not:
    both readings are at most the limit, so the larger one counts.
    All times are those of sending: what was sent before a refused attempt
    arrived before it, even if its answer comes later.

    Attributes:
        since: When this stretch starts.
        taken: Attempts sent since then and not refused.
        saved: How many of them a pause before may have allowed.
        pause: How long that was, in seconds.
        rate: The newest measurement, a second; 0.0 before the first.
    """

    __slots__ = ("pause", "rate", "saved", "since", "taken")

    def __init__(self) -> None:
        self.since = NEVER
        self.taken = self.saved = 0
        self.pause = 0.0
        self.rate = 0.0

    def restart(self, since: float, saved: int = 0, pause: float = 0.0) -> None:
        """Start a stretch."""
        self.since = since
        self.taken = 0
        self.saved = saved
        self.pause = pause

    def read(self, until: float) -> bool:
        """End the stretch, if it is long enough to be told; else let it go on."""
        seconds = until - self.since
        enough, least = (20, 0.1) if self.rate else (8, 0.05)
        if self.taken < enough or seconds < least:
            return False
        self.rate = max(
            self.taken / (seconds + self.pause), (self.taken - self.saved) / seconds
        )
        self.restart(until)
        return True


class _Crowd:
    """
    Tells a limit on attempts in flight from a limit on their rate.

    Such a server refuses at or above some number in flight and takes what is below.
    A rate refuses at any number, and takes at any.

    Attributes:
        full: The fewest in flight, itself included, at which one was refused.
        times: Refusals since *full* was last lowered.
        above: Attempts taken at more than *full* since then.
        taken: Attempts taken since the last refusal.
        ceiling: How many may be in flight, once that is the limit.
    """

    __slots__ = ("above", "ceiling", "full", "taken", "times")

    def __init__(self) -> None:
        self.full = self.ceiling = math.inf
        self.times = self.above = self.taken = 0

    def took(self, in_flight: int) -> None:
        """Note an attempt that was taken."""
        self.taken += 1
        self.above += in_flight > self.full

    def limits(self, in_flight: int) -> bool:
        """Note a refusal at *in_flight*; is the number in flight what it is about?"""
        if in_flight < 0.75 * self.full:
            self.times = self.above = 0
        self.full = min(self.full, in_flight)
        taken, self.taken = self.taken, 0
        self.times += 1
        if self.ceiling < math.inf:
            holds = taken >= 8 and in_flight >= self.ceiling
        else:
            holds = self.times >= 4 and self.above <= 3 * self.times
        holds = holds and self.full > 4
        self.ceiling = max(in_flight - 1.0, 1.0) if holds else math.inf
        return holds


class Pace:
    """
    When may the next attempt start, and how many may be in flight.

    1. *Opening.* No rate is known. Few attempts are in flight, half a one more
       for each that is taken.
    2. *Search.* From the first refusal on there is a rate. It halves with each
       refusal and grows by a third with each answer, until a refusal comes
       that has enough answers behind it to measure the limit.
    3. *Track.* Run a little under the estimate, plus an excess that doubles
       again and again. The refusal it ends in costs one attempt,
       and gives the next measurement.
    4. While nothing at all is taken, pauses double.
    5. ``Retry-After`` holds everybody, and makes probing as much rarer
       as a refusal has become dearer.
    6. If refusals depend on the number in flight, that is limited, and no rate.

    Args:
        concurrency: The most attempts in flight.
        per_second: A hard cap on the rate, or None.
        adaptive: Whether to learn; if not, only ``Retry-After`` and *per_second*
            are obeyed, and a refusal without either is a short pause.
    """

    __slots__ = (
        "_adaptive",
        "_base",
        "_binding",
        "_burst",
        "_crowd",
        "_cut_at",
        "_delay",
        "_excess",
        "_gap",
        "_least_gap",
        "_meter",
        "_most",
        "_next",
        "_rate",
        "_row",
        "_slots",
        "_taken_at",
    )

    def __init__(
        self,
        *,
        concurrency: int,
        per_second: float | None = None,
        adaptive: bool = True,
    ) -> None:
        self._most = float(concurrency)
        self._least_gap = 0.0 if per_second is None else 1.0 / per_second
        self._adaptive = adaptive
        self._slots = min(FEW, self._most) if adaptive else self._most
        self._gap = self._least_gap  # seconds between two sends; 0.0 when free
        self._rate = math.inf
        self._base = self._excess = 0.0
        self._next = NEVER  # no attempt may start before
        self._cut_at = NEVER  # what was sent before knew nothing of the last cut
        self._taken_at = NEVER
        self._binding = True  # whether the pace is what holds sends back
        self._delay = 0.0  # the last Retry-After
        self._burst = 0  # what was taken at once, before the first refusal
        self._row = 0
        self._meter = _Meter()
        self._crowd = _Crowd()

    @property
    def rate(self) -> float | None:
        """The present rate a second; None when free."""
        return 1.0 / self._gap if self._gap else None

    @property
    def slots(self) -> int:
        """How many attempts may be in flight now, at least 1."""
        return int(self._slots)

    def wait(self, now: float) -> float:
        """Return the seconds until the next attempt may start; 0.0 is now."""
        delay = self._next - now
        return delay if delay > 0.0 else 0.0

    def sent(self, now: float, chance: float) -> None:
        """
        Note that an attempt starts.

        Args:
            now: The time.
            chance: From 0.0 to 1.0, for the jitter of the gap.
        """
        if self._next == NEVER:
            self._next = self._meter.since = now
        if self._gap:
            self._advance(now, chance)

    def answered(self, now: float, sent_at: float, in_flight: int) -> None:
        """
        Note that the server took an attempt, whatever it said.

        Args:
            now: The time.
            sent_at: When the attempt started.
            in_flight: How many were in flight then, itself included.
        """
        meter = self._meter
        if sent_at >= meter.since:
            meter.taken += 1
        if self._slots < self._most:
            self._open()
        if self._taken_at > NEVER:  # there was a refusal
            self._taken_at = now
            self._crowd.took(in_flight)
            if self._rate < math.inf and sent_at >= self._cut_at and self._binding:
                self._speed_up(now - sent_at)

    def lost(self, now: float, sent_at: float) -> None:  # noqa: ARG002  # as its sisters
        """Note an attempt that has no answer, or a 5xx: it was not refused."""
        if sent_at >= self._meter.since:
            self._meter.taken += 1

    def refused(
        self,
        now: float,
        sent_at: float,
        retry_after: float | None,
        chance: float,
        in_flight: int,
    ) -> None:
        """
        Note a refusal: a 429, or a 503 with ``Retry-After``.

        Args:
            now: The time.
            sent_at: When the attempt started.
            retry_after: What the server asks for, in seconds; 0 slows nothing.
            chance: From 0.0 to 1.0, to spread what comes after the pause.
            in_flight: How many were in flight when it started, itself included.
        """
        if retry_after == 0.0:
            return
        delay = retry_after if retry_after and 0.0 < retry_after < math.inf else 0.0
        if sent_at >= self._cut_at:
            if not self._adaptive:
                self._back_off(now, delay, chance)
            elif self._crowd.limits(in_flight):
                self._narrow()
            else:
                self._slow_down(now, sent_at, delay, chance, in_flight)
            self._cut_at = now
        if delay:
            self._hold(now, delay, chance)

    def advised(self, now: float, remaining: int, reset: float) -> None:
        """
        Note what RateLimit headers said; call it before `refused`.

        None left until the reset is a ``Retry-After`` that came in time.

        Args:
            now: The time.
            remaining: How many attempts are left.
            reset: For that many seconds.
        """
        if remaining > 0 or not self._adaptive or not 0.0 < reset < math.inf:
            return
        if now >= self._cut_at + self._delay:
            self._slow_down(now, now, reset, 0.0, 1)
            self._cut_at = now
            self._hold(now, reset, 0.0)

    def _advance(self, now: float, chance: float) -> None:
        """Set when the next attempt may start."""
        gap = self._gap
        catch_up = min(max(CATCH_UP, 2.0 * gap), CATCH_UP_MOST)
        lost = now - self._next - catch_up
        # What the caller did not use says nothing of the server.
        self._binding = lost <= 0.0
        if not self._binding:
            self._meter.since += lost
        gap = max(gap * (1.0 + JITTER * (chance - 0.5)), self._least_gap)
        self._next = max(self._next, now - catch_up) + gap

    def _open(self) -> None:
        """Allow a little more in flight; beyond a known ceiling, very little."""
        more = 0.5 if self._slots < self._crowd.ceiling else 1 / 300
        self._slots = min(self._slots + more, self._most)

    def _speed_up(self, trip: float) -> None:
        rate, meter = self._rate, self._meter
        if not meter.rate:
            seconds = max(trip, SEARCH_HOLD if self._delay else 0.0)
            self._run_at(rate * SEARCH ** (1.0 / max(seconds * rate, 1.0)))
            return
        seconds = max(DOUBLING, DOUBLING_TRIPS * trip, DOUBLING_HOLDS * self._delay)
        self._excess *= 2.0 ** (1.0 / max(seconds * rate, DOUBLING_SENDS))
        self._run_at(self._base + self._excess)

    def _run_at(self, rate: float) -> None:
        self._rate = rate
        self._gap = max(1.0 / rate, self._least_gap)

    def _slow_down(
        self, now: float, sent_at: float, delay: float, chance: float, in_flight: int
    ) -> None:
        """Cut the rate, and pause."""
        trip = max(now - sent_at, 0.001)
        if self._rate == math.inf:
            self._start_search(now, sent_at, delay, in_flight / trip)
        else:
            self._estimate(sent_at)
        pause = max(2.0 / self._rate, 0.0 if self._meter.rate else trip)
        # Nothing taken for so long: as long again, and half the probes are saved.
        pause = max(pause, min(now - self._taken_at, LONGEST_SILENCE))
        self._next = max(self._next, now + pause * (1.0 + JITTER * (chance - 0.5)))

    def _start_search(
        self, now: float, sent_at: float, delay: float, speed: float
    ) -> None:
        """Take the first rate from the opening."""
        meter = self._meter
        seconds = sent_at - meter.since
        self._burst = meter.taken if seconds < BURST else 0
        if delay:
            # So many in that time is what the server said, if it is a window.
            self._run_at(max(meter.taken, 1) / (seconds + delay))
        else:
            self._run_at(speed / 2.0)
        meter.restart(sent_at)
        self._taken_at = now

    def _estimate(self, sent_at: float) -> None:
        """Judge anew what the limit is; go below it."""
        meter, rate = self._meter, self._rate
        # A search that paid no delays ends far above a limit it has measured well.
        exact = not meter.rate and not self._delay
        if meter.rate and self._taken_at < self._cut_at:
            return  # asked too early, which says nothing new of the rate
        fresh = meter.read(sent_at)
        if not meter.rate:
            self._run_at(max(rate / 2.0, 1.0 / LONGEST_SILENCE))
            return
        # What was measured is too low by what an idle server could not save up,
        # and the rate in use too high by what it had saved.
        between = math.sqrt(min(meter.rate, rate) * rate) if fresh else CUT * rate
        if meter.rate > FAR * rate:
            between = max(between, CUT * rate)
        elif exact:
            between = meter.rate
        self._base = between - min(BACK * math.sqrt(between), BACK_MOST * between)
        self._excess = EXCESS * between
        self._run_at(self._base + self._excess)

    def _narrow(self) -> None:
        """Let the number in flight be the limit, and the rate be free."""
        self._slots = min(self._crowd.ceiling, self._most)
        self._rate = math.inf
        self._gap = self._least_gap
        self._meter = _Meter()

    def _hold(self, now: float, delay: float, chance: float) -> None:
        """Let nobody start before *delay* is over; then one by one."""
        self._delay = delay
        self._next = max(self._next, now + delay + chance * self._gap)
        self._meter.restart(self._next, self._burst, self._next - now)

    def _back_off(self, now: float, delay: float, chance: float) -> None:
        """Pause without learning; start again with few in flight, not in a herd."""
        self._slots = min(FEW, self._most)
        self._row = 0 if self._meter.taken > 0 else self._row + 1
        self._meter.restart(now)
        if not delay:
            pause = min(THROTTLE * 2.0 ** min(self._row, 9), THROTTLE_MOST)
            self._next = max(self._next, now + pause * chance)
