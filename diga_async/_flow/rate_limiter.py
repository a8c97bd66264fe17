"""
The pace: given the time and what was answered, when may the next attempt start.

Nobody tells a client how much a server allows.
The limiter finds out: it asks a little faster until it is refused, measures,
and stays a little below.
It reads no clock, draws no lots and waits for nothing:
times are seconds of any clock that does not go back, chances are arguments.
"""

import math

NEVER = -math.inf
"""Before every time."""

EARLY = 1e-9
"""Seconds by which asyncio's timers and rounding may be early."""

FEW = 6.0
"""Attempts in shared at the start, so that the first refusals are a handful."""

CATCH_UP, CATCH_UP_MOST = 0.004, 0.020
"""
Seconds a late timer may make good: two gaps, but within these.

epoll and a busy loop are a few milliseconds late, which at 2,000 a second is
a few attempts. To make good a longer stall would be a volley.
"""

IDLE = 0.1
"""Seconds after which the caller seems to have nothing to send."""

JITTER = 0.1
"""Each gap varies by ±5 %, so that processes do not march in step."""

BACK, BACK_MOST = 0.85, 0.06
"""
How far below the limit the limiter falls back: this times its root, at most 6 %.

A count fluctuates by its root, so a high limit is known more precisely.
"""

CUT = 0.92
"""How far one refusal can lower the estimate, unless it is far off."""

FAR = 0.7
"""A measurement below this share of the rate in use says: far off."""

EXCESS, EXCESS_ROUGH = 0.01, 0.05
"""The share of the limit that probing starts with; more, where that is a guess..."""

DOUBLING = 0.6
"""...and the seconds in which it doubles. At least, because..."""

DOUBLING_SENDS, DOUBLING_LONGEST = 10, 10.0
"""
...where the rate is low, a refusal is a large share of few attempts.

But in 10 s nevertheless, or a limit of one a minute would be left after hours...
"""

DOUBLING_TRIPS = 5
"""...a refusal takes a round trip to be heard..."""

DOUBLING_DELAYS = 3
"""...and it is dear where the server then asks for a delay."""

SEARCH = 1.3
"""In the search each answer speeds up by this, but once a round trip at most..."""

SEARCH_DELAYED, START_DELAYED = 0.1, 10.0
"""
...and in no less than so many seconds, where each refusal costs a delay.

There it starts at so many a second at least: what was taken before a first refusal
says little, and over a long delay it would be next to nothing.
"""

SLOWEST, FASTEST = 1 / 30, 1e6
"""Bounds of any rate: 30 s is the longest silence between two probes."""

ENOUGH_FIRST, ENOUGH = (8, 0.05), (20, 0.1)
"""Attempts and seconds that make a measurement: the first one, and later ones."""

FEWEST = 5
"""Attempts between two delays below which the second one says nothing of a limit."""

ALIKE = 4
"""Refusals at the same number in shared that are no chance. Of fewer, all may be."""

BURST = 10.0
"""Seconds. What was taken in a longer time than this was no burst."""

THROTTLE, THROTTLE_MOST = 1.0, 20.0
"""First and longest pause, in seconds, of a limiter that does not adapt."""


class _Measure:
    """
    Measures the limit from one refusal to a later one.

    When it refuses, a server has nothing left to give.
    So what it took between two refusals, over the time between,
    *is* its limit, give or take one.
    After a pause a bucket has saved something up, a window has not;
    either reading is at most the limit, so the larger one counts.
    All times are times of sending: what was sent before a refused attempt
    arrived before it, even if its answer comes later.

    Attributes:
        since: When this stretch starts.
        taken: Attempts sent since then and not refused.
        saved: How many of them the pause before it may have paid for.
        pause: How long that was, in seconds.
        rate: The newest measurement, a second; 0.0 before the first.
    """

    __slots__ = ("pause", "rate", "saved", "since", "taken")

    def __init__(self) -> None:
        self.rate = 0.0
        self.restart(NEVER)

    def restart(self, since: float, saved: int = 0, pause: float = 0.0) -> None:
        """Start a stretch."""
        self.since = since
        self.taken = 0
        self.saved = saved
        self.pause = pause

    def window(self, until: float) -> float:
        """Return what was taken a second, the pause before included."""
        return self.taken / max(until - self.since + self.pause, 1e-3)

    def read(self, until: float) -> bool:
        """End the stretch, if it is long enough to tell; else let it go on."""
        seconds = until - self.since
        enough, least = ENOUGH if self.rate else ENOUGH_FIRST
        if self.taken < enough or seconds < least:
            return False
        bucket = (self.taken - self.saved) / seconds
        self.rate = max(bucket, self.window(until))
        self.restart(until)
        return True


class _Crowd:
    """
    Tells a limit on attempts in flight from a limit on their rate.

    The former refuses again and again at the same number in flight,
    and takes next to nothing above it.
    A rate refuses at any number, and takes at any.

    Attributes:
        full: The fewest in shared, itself included, at which one was refused.
        times: Refusals at about that number.
        above: Attempts taken at more than *full* since the first of them.
        taken: Attempts taken since the last refusal.
        ceiling: How many may be in shared, if that is the limit.
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
        """Note a refusal at *in_flight*; is that number what it is about?"""
        if in_flight < 0.75 * self.full:
            self.times = self.above = 0
        self.full = min(self.full, in_flight)
        self.times += 1
        if self.ceiling < math.inf:
            holds = in_flight >= self.ceiling and self.taken > 2 * ALIKE
        else:
            holds = self.times >= ALIKE and self.above <= 3 * self.times
        holds = holds and self.full > ALIKE
        self.ceiling = in_flight - 1.0 if holds else math.inf
        self.taken = 0
        return holds


class RateLimiter:
    """
    When may the next attempt start, and how many may be in flight.

    1. *Opening.* No limit is known, and there is no rate. A few attempts are in
       shared, half a one more for each that is taken.
    2. *Search.* From the first refusal on there is a rate. It halves at a refusal
       and grows by a third with each answer, until a refusal comes that has
       enough answers behind it to measure the limit.
    3. *Track.* A refusal sets the rate a little below the limit, plus an excess of
       1 % that doubles again and again, until it ends in a refusal that gives
       the next measurement. So a limit that rose is found in seconds,
       and one that stayed costs a refusal in some two hundred attempts.
    4. Attempts that were on their way when the rate was cut cut it no further.
       While nothing is taken at all, the rate stays and pauses double.
    5. ``Retry-After`` holds everybody. Probing becomes rarer, as refusals have
       become dearer. One before which nothing was taken, or next to nothing since
       the last, has measured nothing: when it is over, all goes on as before.
    6. If refusals come with a number in shared, that is limited, and no rate.

    Clients that cannot talk to each other share a limit by the same rule:
    who sends more is refused more often, and who was not refused for long
    grows fast.

    Args:
        concurrency: The most attempts in shared.
        per_second: A hard cap on the rate, or None.
        adaptive: Whether to learn. If not, ``Retry-After`` and *per_second* are
            obeyed, and a refusal without a delay is a short pause.

    >>> limiter = RateLimiter(concurrency=64)
    >>> limiter.slots, limiter.rate, limiter.wait(0.0)
    (6, None, 0.0)
    >>> limiter.sent(0.0, chance=0.5)
    >>> limiter.throttled(0.1, sent_at=0.0, retry_after=2.0, chance=0.5, in_flight=1)
    >>> limiter.wait(0.1) >= 2.0
    True
    """

    __slots__ = (
        "_adaptive",
        "_asked_until",
        "_base",
        "_binding",
        "_burst",
        "_crowd",
        "_cut_at",
        "_delay",
        "_excess",
        "_gap",
        "_held_until",
        "_least_gap",
        "_measure",
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
        self._adaptive = adaptive
        self._most = float(concurrency)
        self._slots = min(FEW, self._most) if adaptive else self._most
        self._least_gap = 0.0 if per_second is None else 1.0 / per_second
        self._gap = self._least_gap  # seconds between two attempts; 0.0 when free
        self._rate = math.inf  # what was learned; base plus excess in the track
        self._base = self._excess = 0.0
        self._next = NEVER  # nothing may start before
        self._held_until = NEVER  # by a Retry-After, or by headers that say as much
        self._asked_until = NEVER  # by a Retry-After
        self._cut_at = NEVER  # of attempts sent before, refusals are old news
        self._taken_at = NEVER  # when one was last taken, once one was refused
        self._binding = True  # whether it is the limiter that holds attempts back
        self._delay = 0.0  # what the last refusal asked for
        self._burst = 0  # what was taken before the first refusal
        self._row = 0  # pauses in a row, if not adaptive
        self._measure = _Measure()
        self._crowd = _Crowd()

    @property
    def rate(self) -> float | None:
        """The present rate a second; None when free."""
        return 1.0 / self._gap if self._gap else None

    @property
    def slots(self) -> int:
        """How many attempts may be in shared now: 1 to *concurrency*."""
        return int(self._slots)

    def wait(self, now: float) -> float:
        """Return the seconds until the next attempt may start; 0.0 is now."""
        delay = self._next - now
        return delay if delay > EARLY else 0.0

    def blocked_for(self, now: float) -> float:
        """Return the seconds for which a ``Retry-After`` holds everybody yet."""
        return max(0.0, self._asked_until - now)

    def sent(self, now: float, chance: float) -> None:
        """
        Note that an attempt starts.

        Args:
            now: The time.
            chance: From 0.0 to 1.0, for the jitter of the gap.
        """
        if self._next == NEVER:
            self._next = self._measure.since = now
        if self._gap:
            self._advance(now, chance)

    def accepted(self, now: float, sent_at: float, in_flight: int) -> None:
        """
        Note that the server took an attempt, whatever it said.

        Args:
            now: The time.
            sent_at: When the attempt started.
            in_flight: How many were in shared then, itself included.
        """
        if sent_at >= self._measure.since:
            self._measure.taken += 1
        if self._slots < self._most:
            self._open()
        if self._taken_at > NEVER:
            self._taken_at = now
            self._crowd.took(in_flight)
            if self._rate < math.inf and self._binding and sent_at >= self._cut_at:
                self._speed_up(now - sent_at)

    def lost(self, now: float, sent_at: float) -> None:  # noqa: ARG002  # as accepted
        """
        Note an attempt without an answer, or with a 5xx.

        It was not refused, so it counts where refusals are counted against.
        """
        if sent_at >= self._measure.since:
            self._measure.taken += 1

    def throttled(
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
            in_flight: How many were in shared when it started, itself included.
        """
        if retry_after == 0.0:
            return
        delay = retry_after if retry_after and 0.0 < retry_after < math.inf else 0.0
        if sent_at >= self._cut_at:
            if not self._adaptive:
                self._back_off(now, delay, chance)
            elif self._crowd.limits(in_flight):
                self._narrow()
            elif not delay or self._tells():
                self._slow_down(now, sent_at, delay, chance, in_flight)
            self._cut_at = now
        if delay:
            self._delay = delay
            self.block(now, delay, chance)

    def block(self, now: float, seconds: float, chance: float) -> None:
        """
        Note a ``Retry-After``; by itself it tells nothing of a limit.

        Args:
            now: The time.
            seconds: What the server asks for.
            chance: From 0.0 to 1.0, to spread what comes after the pause.
        """
        self._asked_until = max(self._asked_until, now + seconds)
        self._hold(now, seconds, chance)

    def advised(self, now: float, remaining: int, reset: float) -> None:
        """
        Note what RateLimit headers said; of a refusal, before `throttled`.

        None left until the reset is a ``Retry-After`` that came in time.

        Args:
            now: The time.
            remaining: How many attempts are left...
            reset: ...for that many seconds from now.
        """
        if remaining > 0 or not self._adaptive or not 0.0 < reset < math.inf:
            return
        if now >= self._held_until:
            self._slow_down(now, now, reset, 0.5, 1)
            self._cut_at = now
            self._delay = reset
            self._hold(now, reset, 0.5)

    def _advance(self, now: float, chance: float) -> None:
        """Set when the attempt after this one may start."""
        gap = self._gap
        catch_up = min(max(CATCH_UP, 2.0 * gap), CATCH_UP_MOST)
        lost = now - self._next - catch_up
        self._binding = lost <= 0.0
        if lost > IDLE:
            # Time that the caller did not use says nothing of the server.
            self._measure.since += lost
        gap = max(gap * (1.0 + JITTER * (chance - 0.5)), self._least_gap)
        self._next = max(self._next, now - catch_up) + gap

    def _open(self) -> None:
        """Allow a little more in shared; beyond a known ceiling, very little."""
        more = 0.5 if self._slots < self._crowd.ceiling else 1 / 300
        self._slots = min(self._slots + more, self._most)

    def _run_at(self, rate: float) -> None:
        self._rate = min(max(rate, SLOWEST), FASTEST)
        self._gap = max(1.0 / self._rate, self._least_gap)

    def _speed_up(self, trip: float) -> None:
        """Let one taken attempt raise the rate."""
        rate = self._rate
        if self._measure.rate:
            seconds = max(
                DOUBLING, DOUBLING_TRIPS * trip, DOUBLING_DELAYS * self._delay
            )
            sends = min(DOUBLING_SENDS, DOUBLING_LONGEST * rate)
            self._excess *= 2.0 ** (1.0 / max(seconds * rate, sends))
            self._run_at(self._base + self._excess)
        else:
            seconds = max(trip, SEARCH_DELAYED if self._delay else 0.0)
            self._run_at(rate * SEARCH ** (1.0 / max(seconds * rate, 1.0)))

    def _tells(self) -> bool:
        """Whether enough was taken before a delay to tell anything of the limit."""
        return self._measure.taken >= (1 if self._rate == math.inf else FEWEST)

    def _slow_down(
        self, now: float, sent_at: float, delay: float, chance: float, in_flight: int
    ) -> None:
        """Cut the rate, and pause."""
        trip = max(now - sent_at, 0.001)
        if self._rate == math.inf:
            self._start_search(now, sent_at, delay, in_flight / trip)
        else:
            self._judge(sent_at)
        if not delay:
            # Nothing was taken for so long: as long again, and half the probes
            # are saved. One probe at a time while the limit is unknown.
            silence = min(now - self._taken_at, 1.0 / SLOWEST)
            pause = max(2.0 / self._rate, silence, 0.0 if self._measure.rate else trip)
            pause *= 1.0 + JITTER * (chance - 0.5)
            self._next = max(self._next, now + pause)

    def _start_search(
        self, now: float, sent_at: float, delay: float, speed: float
    ) -> None:
        """Take a first rate from the opening."""
        measure = self._measure
        seconds = sent_at - measure.since
        self._burst = measure.taken if seconds < BURST else 0
        self._taken_at = now
        first = speed / 2.0
        if delay:
            # So many in that time is what a window allows, and a bucket at least.
            first = max(measure.taken / (seconds + delay), START_DELAYED)
        self._run_at(first)
        measure.restart(sent_at)

    def _judge(self, sent_at: float) -> None:
        """Judge anew what the limit is, and go below it."""
        measure, rate = self._measure, self._rate
        if measure.rate and self._taken_at < self._cut_at:
            return  # it was asked too early, which says nothing new of the rate
        # A search ends far above the limit, but has measured it well,
        # unless delays have let the server save up.
        exact = not measure.rate and not self._delay
        fresh = measure.read(sent_at)
        if not measure.rate:
            self._retreat(sent_at)
            return
        # The measurement is too low by what was not asked for while the server
        # was full; the rate in use is too high by what it had saved up.
        limit = math.sqrt(min(measure.rate, rate) * rate) if fresh else CUT * rate
        if measure.rate > FAR * rate:
            limit = max(limit, CUT * rate)
        elif exact:
            limit = measure.rate
        self._base = limit - min(BACK * math.sqrt(limit), BACK_MOST * limit)
        # A rough estimate is soon probed, if that is cheap.
        rough = measure.rate <= FAR * rate and not self._delay
        self._excess = limit * (EXCESS_ROUGH if rough else EXCESS)
        self._run_at(self._base + self._excess)

    def _retreat(self, until: float) -> None:
        """Slow a search that was refused before it could measure."""
        if self._delay:
            # What was saved up in the delay has let it grow, which proves nothing;
            # but what was taken in all that time is allowed.
            proved = min(self._base, self._rate) / 2.0
            self._run_at(max(proved, self._measure.window(until)))
        else:
            self._run_at(self._rate / 2.0)

    def _narrow(self) -> None:
        """Limit the number in shared instead of the rate."""
        self._slots = min(self._crowd.ceiling, self._most)
        self._rate = math.inf
        self._gap = self._least_gap
        self._measure = _Measure()

    def _hold(self, now: float, delay: float, chance: float) -> None:
        """Let nobody start before *delay* is over; then a few, not a herd."""
        if not self._measure.rate:
            self._base = self._rate  # the search goes on from here
        self._held_until = now + delay
        self._next = max(self._next, now + delay + chance * self._gap)
        self._slots = min(self._slots, FEW)
        self._measure.restart(self._next, self._burst, self._next - now)

    def _back_off(self, now: float, delay: float, chance: float) -> None:
        """Pause without learning; then a few, not a herd."""
        self._row = 0 if self._measure.taken else self._row + 1
        self._measure.restart(now)
        self._slots = min(self._slots, FEW)
        if not delay:
            pause = min(THROTTLE * 2.0 ** min(self._row, 10), THROTTLE_MOST)
            self._next = max(self._next, now + pause * chance)
