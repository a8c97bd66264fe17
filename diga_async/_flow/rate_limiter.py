"""
The rate limiter: when the next attempt may start, and how many may be in flight.

1. Until the first 429 there is no rate: a few attempts are in flight, and each one
   that is accepted adds half a slot.
2. From then on the rate is slightly below the limit, plus an excess that doubles
   until the next 429: slowly where a 429 is dear, soon where the limit is in doubt,
   because it has just fallen, comes from few attempts, or is far exceeded.
3. Each 429 measures the limit: the attempts accepted since the last measurement,
   over that time, are at most the limit, the rate in use was at least the limit, and
   the estimate is their geometric mean.
4. A 429 of the attempt that took the last slot lowers the slots in the same way, until
   attempts accepted above that number refute it.
5. While nothing is accepted nothing is learned: one probe at a time is sent, after
   pauses of half the silence, at most its square root, and the first probe that is
   accepted restores, within a few round trips, the rate that was known.
6. A ``Retry-After`` blocks every attempt; few attempts accepted between two of them
   may be chance, and count as a limit only if they are as few each time.

The module is pure: times are seconds of any clock that never goes back, and both the
time and the randomness are arguments.
"""

import math
from typing import Literal, NamedTuple

_NEVER = -math.inf

CATCH_UP = 0.012
"""Seconds that a late timer may make up: a loop busy for 10 ms, epoll's rounding."""

CAP_MARGIN = 0.98
"""Share of *per_second* in use: times 1 + CATCH_UP it is below 1: a hard cap."""

JITTER = 0.02
"""Each gap varies by ±2 %, so that processes do not synchronize."""

FIRST_SLOTS = 6.0
"""Attempts in flight at the start: the first 429s are then a handful."""

FEW = 4
"""Less may be chance: 429s in a row, runs that are alike, slots that are all taken."""

SEVERAL = 10.0
"""Attempts, or seconds, that say something about a rate."""

ENOUGH = 20
"""Accepted attempts that make a measurement."""

STEP_MOST = 0.06
"""The rate falls by one in N when N are accepted between 429s, but by no more."""

AGREES = 0.6
"""A measurement above this share of the rate says that the limit hardly moved."""

EXCESS, EXCESS_ROUGH = 0.008, 0.05
"""The excess starts at this share: of the limit, or of the error if that is more."""

DOUBLING = 0.5
"""Least seconds in which the excess doubles: a server's burst hides it for as long."""

DEAR = 4
"""A 429 costs its ``Retry-After``: the excess doubles in no fewer than so many."""

DOUBT = 20
"""After the limit fell by half, it doubles within the time since, divided by this."""

SLOWEST = 0.01
"""The lowest rate: nearly every server accepts one attempt in 100 s."""

State = Literal["free", "capped", "limited", "probing", "cooling_down"]


class Snapshot(NamedTuple):
    """
    The state of the limiter at one moment.

    Attributes:
        state: No limit is known; only *per_second* limits; a limit is known; nothing
            is accepted; a ``Retry-After`` blocks every attempt.
        rate: Attempts a second that it allows; None when the rate limits nothing.
        slots: Attempts that may be in flight.
        resumes_in: Seconds until the next attempt may start, while it is probing or
            cooling down; else 0.0.
    """

    state: State
    rate: float | None
    slots: int
    resumes_in: float


class _Measurement:
    """
    The attempts accepted, and their time, from one 429 to a later one.

    In a pause a bucket saves up attempts, a window does not. Either way of reading the
    figures gives at most the limit, so the larger one counts.

    Attributes:
        since: When it began.
        accepted: Attempts sent since then and accepted.
        paused: Seconds in which nothing was sent, from a 429 on.
        saved: Attempts that the server may have saved up in them.
        probed: The pause before the probe that ended a long silence; else 0.0.
    """

    __slots__ = ("accepted", "paused", "probed", "saved", "since")

    def __init__(self) -> None:
        self.begin(_NEVER)

    def begin(self, at: float) -> None:
        """Start anew, with what is sent from now on."""
        self.since = at
        self.accepted = 0
        self.saved = self.paused = self.probed = 0.0

    def per_second(self, until: float) -> float:
        """Return what was accepted a second."""
        seconds = max(until - self.since, 1e-3)
        measured = (self.accepted + 1) / seconds
        if seconds > self.paused:
            unsaved = self.accepted - self.saved - FEW
            measured = max(measured, unsaved / (seconds - self.paused))
        return measured


class RateLimiter:
    """
    Decides when the next attempt may start, and how many may be in flight.

    Args:
        concurrency: The most attempts in flight.
        per_second: A hard cap: at most this many attempts, rounded up, start in any
            second, evenly spaced.
        adaptive: Whether to learn. If not, only ``Retry-After`` and *per_second*
            limit, and a 429 without a delay causes a short pause that grows.

    Attributes:
        opens_at: When the next attempt may start, on the clock of *now*.

    >>> limiter = RateLimiter(concurrency=64)
    >>> limiter.slots, limiter.rate, limiter.wait(0.0)
    (6, None, 0.0)
    >>> limiter.sent(0.0, chance=0.5, in_flight=1)
    >>> limiter.throttled(0.1, sent_at=0.0, retry_after=2.0, chance=0.5, in_flight=1)
    >>> limiter.wait(0.1) >= limiter.blocked_for(0.1) == 2.0
    True
    >>> limiter.snapshot(0.1).state
    'cooling_down'
    """

    def __init__(
        self,
        *,
        concurrency: int,
        per_second: float | None = None,
        adaptive: bool = True,
    ) -> None:
        self._adaptive = adaptive
        self._most = float(concurrency)
        self._cap = math.inf if per_second is None else CAP_MARGIN * per_second
        self._gap = 1.0 / self._cap  # seconds between two attempts; 0.0 when free
        self.opens_at = _NEVER
        self._blocked_until = _NEVER  # by a Retry-After
        self._judged_at = _NEVER  # a 429 of an earlier attempt is ignored
        self._measurement = _Measurement()
        self._trip = 0.001  # seconds of a usual round trip
        self._reset_rate()
        self._reset_slots()

    def _reset_rate(self) -> None:
        """No limit on the rate is known."""
        self._rate = math.inf  # in use: base + excess
        self._base = self._excess = 0.0
        self._limit = math.inf  # believed
        self._known_at = math.inf  # when it was first measured
        self._fell_at = _NEVER  # when it was found to have fallen by half
        self._binding = True  # whether it is the rate that holds attempts back
        self._burst = 0  # accepted before the first 429
        self._cost = 0.0  # seconds that the last 429 asked for
        self._run, self._mean_run = 0, float(ENOUGH)  # accepted between two 429s
        self._last_run, self._alike = 0, 1  # the run before; so many alike in a row
        self._silent_since = _NEVER  # the first 429 since one was accepted
        self._probes = 0  # sent in that silence
        self._ramp = math.inf  # the rate on the way back from a silence

    def _reset_slots(self) -> None:
        """No limit on the attempts in flight is known."""
        self._slots = min(FIRST_SLOTS, self._most) if self._adaptive else self._most
        self._slots_excess = 0.0
        self._full = math.inf  # a 429 came with so many in flight
        self._above = 0  # accepted with more than that

    @property
    def rate(self) -> float | None:
        """The present rate a second; None when free."""
        return 1.0 / self._gap if self._gap else None

    @property
    def is_searching(self) -> bool:
        """Whether its rate is a first guess that nothing has measured yet."""
        return self._rate < math.inf and self._known_at == math.inf

    @property
    def slots(self) -> int:
        """How many attempts may be in flight now: 1 to *concurrency*."""
        return 1 if self._probes else int(self._slots)

    def wait(self, now: float) -> float:
        """Return the seconds until the next attempt may start; 0.0 is now."""
        delay = self.opens_at - now
        return delay if delay > 0.0 else 0.0  # noqa: FURB136  # max() is slower

    def blocked_for(self, now: float) -> float:
        """Return the seconds for which a ``Retry-After`` still blocks every attempt."""
        return max(0.0, self._blocked_until - now)

    def snapshot(self, now: float) -> Snapshot:
        """Return the present state."""
        rate, slots = self.rate, self.slots
        if self._full < math.inf and self._trip > self._gap * self._slots:
            rate = None  # the slots are full before the rate is reached
        if self._blocked_until > now:
            return Snapshot("cooling_down", rate, slots, self.wait(now))
        if self._probes:
            return Snapshot("probing", rate, slots, self.wait(now))
        if self._rate < self._cap or self._full < math.inf:
            return Snapshot("limited", rate, slots, 0.0)
        return Snapshot("capped" if self._gap else "free", rate, slots, 0.0)

    def sent(self, now: float, chance: float, in_flight: int) -> None:
        """
        Record the start of an attempt.

        Args:
            now: The time.
            chance: From 0.0 to 1.0, for the jitter of the gap.
            in_flight: How many are in flight now, itself included.
        """
        if self._gap:
            self._space(now, chance, in_flight)
        elif self.opens_at == _NEVER:
            self.opens_at = self._measurement.since = now

    def accepted(self, now: float, sent_at: float, in_flight: int) -> None:
        """
        Record an attempt that the server accepted, whatever its answer.

        Args:
            now: The time.
            sent_at: When the attempt started.
            in_flight: How many were in flight then, itself included.
        """
        measurement = self._measurement
        if sent_at >= measurement.since:
            measurement.accepted += 1
        if self._judged_at > _NEVER:
            self._grow(now, sent_at, in_flight)
        elif self._slots < self._most:
            self._slots = min(self._slots + 0.5, self._most)

    def lost(self, now: float, sent_at: float) -> None:  # noqa: ARG002  # as accepted
        """Record an attempt without an answer, or with a 5xx: it was not throttled."""
        if sent_at >= self._measurement.since:
            self._measurement.accepted += 1

    def throttled(
        self,
        now: float,
        sent_at: float,
        retry_after: float | None,
        chance: float,
        in_flight: int,
    ) -> None:
        """
        Record a 429, or a 503 with ``Retry-After``.

        Args:
            now: The time.
            sent_at: When the attempt started.
            retry_after: The seconds that the server asks for; 0 slows nothing.
            chance: From 0.0 to 1.0, to spread the attempts after the pause.
            in_flight: How many were in flight when it started, itself included.
        """
        if retry_after == 0.0:
            return
        delay = retry_after if retry_after and 0.0 < retry_after < math.inf else 0.0
        if sent_at >= self._judged_at:
            if self._adaptive:
                self._learn(now, sent_at, delay, in_flight)
                self._pause(now, self._probe_pause(now, sent_at), chance)
            elif not delay:
                self._pause(now, 2.0 ** min(self._alike - 1, FEW) * chance, 0.0)
                self._alike += 1
            # Before the first attempt was accepted, a later 429 may tell more.
            learned = self._rate < math.inf or not self._adaptive
            self._judged_at = now if learned else sent_at
        if delay:
            self.block(now, delay, chance)

    def block(self, now: float, seconds: float, chance: float) -> None:
        """
        Block every attempt for a ``Retry-After``, without learning from it.

        Args:
            now: The time.
            seconds: The seconds that the server asks for.
            chance: From 0.0 to 1.0, to spread the attempts after the pause.
        """
        self._blocked_until = max(self._blocked_until, now + seconds)
        self._pause(now, seconds, chance)

    def advised(self, now: float, remaining: int, reset: float) -> None:
        """
        Record the RateLimit headers of an answer; of a 429, before `throttled`.

        None left until the reset is a ``Retry-After`` that arrives early.

        Args:
            now: The time.
            remaining: How many attempts are left...
            reset: ...for that many seconds from now.
        """
        if remaining > 0 or not self._adaptive or not 0.0 < reset < math.inf:
            return
        if self.opens_at < now + reset / 2:
            self._learn(now, now, reset, 1)
            self._judged_at = now
            self._pause(now, reset, 0.5)

    # When the next attempt may start.

    def _space(self, now: float, chance: float, in_flight: int) -> None:
        """Set when the attempt after this one may start."""
        late = now - self.opens_at - CATCH_UP
        self._binding = late <= 0.0 and self._rate < self._cap
        if late > SEVERAL * CATCH_UP and in_flight < self.slots:
            # The caller had nothing to send, which says nothing about the server.
            since = self._measurement.since
            self._measurement.since = min(since + late, now)
        gap = self._gap
        if self._rate < self._cap:
            gap *= 1.0 + JITTER * (2.0 * chance - 1.0)
        self.opens_at = max(self.opens_at, now - CATCH_UP) + gap

    def _pause(self, now: float, seconds: float, chance: float) -> None:
        """Start nothing for *seconds*; then a few, not in step with other clients."""
        if not self._gap:
            self._slots = min(self._slots, FIRST_SLOTS)
        self.opens_at = max(self.opens_at, now + seconds + chance * min(self._gap, 1.0))

    def _probe_pause(self, now: float, sent_at: float) -> float:
        """Return how long to pause after a 429."""
        if not self._probes:
            # In a search, the attempts in flight are heard before the next one starts.
            trip = now - sent_at if self._known_at == math.inf else 0.0
            return max(self._gap, trip)
        silence = now - self._silent_since
        return max(2.0 * self._gap, min(silence / 2.0, math.sqrt(silence)))

    def _set_rate(self, rate: float) -> None:
        self._rate = max(rate, SLOWEST)
        self._gap = 1.0 / min(self._rate, self._ramp, self._cap)

    # An attempt was accepted: allow more.

    def _grow(self, now: float, sent_at: float, in_flight: int) -> None:
        """Let one accepted attempt raise what is allowed."""
        self._trip += (max(now - sent_at, 0.001) - self._trip) / 4.0
        self._run += 1
        if in_flight > self._full:
            self._above += 1
            if self._above >= SEVERAL:
                self._full = math.inf  # refuted
        if sent_at < self._judged_at:
            return
        if not self._adaptive:
            self._alike = 1
            self._slots = min(self._slots + 0.5, self._most)
            return
        if self._silent_since > _NEVER:
            self._end_silence(sent_at)
        if self._ramp < self._rate:
            self._ramp *= 2.0 ** (1.0 / max(self._trip * self._ramp, 1.0))
            self._set_rate(self._rate)
        elif self._binding and self._rate < math.inf:
            self._ramp = math.inf
            self._speed_up(now)
        if self._slots < self._most:
            self._widen(now, in_flight)

    def _end_silence(self, sent_at: float) -> None:
        """Resume: the first attempt since a 429 was accepted."""
        pause = sent_at - self._silent_since
        self._measurement.paused += pause
        self._measurement.saved += min(self._burst, self._limit * pause)
        if self._probes:
            self._ramp = 1.0 / self._trip
        if self._probes > FEW:
            self._measurement.probed = sent_at - self._judged_at
        self._silent_since, self._probes = _NEVER, 0

    def _doubling(self, now: float) -> float:
        """Return the seconds in which an excess doubles."""
        # Far above the limit, it has risen, and only one 429 is left to pay for.
        dear = DEAR if self._excess < 0.25 * self._limit else 1.0
        patient = max(SEVERAL / self._rate, dear * self._cost)
        doubted = (now - self._fell_at) / DOUBT
        return max(DOUBLING, 5.0 * self._trip, min(patient, doubted))

    def _speed_up(self, now: float) -> None:
        """Raise the rate: a search while nothing was measured, then the excess."""
        rate = self._rate
        if self._known_at < math.inf:
            self._excess *= 2.0 ** (1.0 / (self._doubling(now) * rate))
            self._set_rate(self._base + self._excess)
            far_above = self._excess > self._limit
            if far_above and self._rate * self._trip > 2.0 * self._slots:
                self._reset_rate()  # the limit was lifted: only the slots limit
                self._gap = 1.0 / self._cap
        else:
            seconds = max(3.0 * self._trip, 5.0 / rate, 0.3 * min(self._cost, 1.0))
            self._set_rate(rate * 2.0 ** (1.0 / (seconds * rate)))

    def _widen(self, now: float, in_flight: int) -> None:
        """Add to the slots."""
        more = 0.5
        if self._full < math.inf:
            if in_flight < int(self._slots):
                return
            attempts = max(self._doubling(now) * in_flight / self._trip, SEVERAL)
            more = self._slots_excess * (2.0 ** (1.0 / attempts) - 1.0)
            self._slots_excess += more
        self._slots = min(self._slots + more, self._most)

    # A 429: learn from it.

    def _learn(self, now: float, sent_at: float, delay: float, in_flight: int) -> None:
        """Learn from a 429 of an attempt sent after the last one was judged."""
        if self._rate == math.inf:
            if self._measurement.accepted or not delay:
                self._begin_search(now, sent_at, delay, in_flight)
        elif self._silent_since == _NEVER:
            self._lower_rate(now, sent_at, delay)
        if self._silent_since == _NEVER:
            self._run = 0
            self._cost = delay
            self._ramp = math.inf
            self._silent_since = sent_at
        is_last = self._full == math.inf or in_flight >= int(self._slots)
        if in_flight > FEW and is_last:
            self._slots, self._slots_excess = in_flight - 1.0, 0.1
            self._full, self._above = in_flight, 0
        elif sent_at - self._silent_since > 2.0 * self._trip:
            self._probes += 1

    def _begin_search(
        self, now: float, sent_at: float, delay: float, in_flight: int
    ) -> None:
        """Take a first rate from what was accepted before the first 429."""
        measurement = self._measurement
        seconds = max(sent_at - measurement.since, 1e-3)
        self._burst = measurement.accepted if seconds < SEVERAL else 0
        if delay:
            first = max((measurement.accepted + 1) / (seconds + delay), SEVERAL)
        else:
            first = in_flight / max(now - sent_at, 1e-3) / 2.0
        self._limit = self._base = first
        self._last_run = measurement.accepted
        self._set_rate(first)
        measurement.begin(sent_at)

    def _lower_rate(self, now: float, sent_at: float, delay: float) -> None:
        """Estimate the limit anew, and go below it."""
        measurement, known = self._measurement, self._known_at < math.inf
        rate = min(self._rate, self._ramp, self._cap)
        self._mean_run += (self._run - self._mean_run) / 4.0
        step = min(1.0 / max(self._mean_run, 1.0), STEP_MOST)
        tells = self._tells(delay)
        # Chance never lowers a rate at which several attempts fit into a delay.
        least = 0.0 if tells else min(self._base, SEVERAL / delay)
        limit = max(self._estimate(sent_at, rate, step, delay), least)
        if now - self._known_at > SEVERAL and limit < self._limit / 2.0:
            self._fell_at = now
        # A search that ends with enough accepted attempts has measured exactly.
        exact = delay > 0.0 and not known and self._run >= ENOUGH
        guess = self._become_known(now)
        if measurement.accepted >= ENOUGH or (known and not tells):
            measurement.begin(sent_at)
        if delay:
            step = STEP_MOST / 2.0 if exact else STEP_MOST
        rough = 0.0 if exact else EXCESS_ROUGH * (rate - limit)
        self._limit = limit
        self._base = max(limit * (1.0 - step), least)
        self._excess = min(max(EXCESS * limit, rough), 0.1 * limit)
        if guess:
            # Few attempts may be far off: the limit is tested soon.
            self._excess = 0.25 * limit
            patient = max(SEVERAL / limit, DEAR * delay)
            self._fell_at = now - DOUBT / 2.0 * patient
        self._set_rate(self._base + self._excess)

    def _become_known(self, now: float) -> bool:
        """End the search if it has measured; return whether it is from few attempts."""
        few = self._measurement.accepted < ENOUGH
        if self._known_at < math.inf or (few and self._alike < FEW - 1):
            return False
        self._known_at = now
        return few

    def _estimate(self, until: float, rate: float, step: float, delay: float) -> float:
        """Return the estimated limit, at a 429 that came at this rate."""
        measurement = self._measurement
        known = self._known_at < math.inf
        least = 0.0
        if known and delay and measurement.accepted < ENOUGH:
            if self._alike < 2 * FEW:
                return min(self._limit, rate)
            least = min(self._limit * (1.0 - step), SEVERAL / delay)
        measured = min(measurement.per_second(until), rate)
        limit = math.sqrt(measured * rate)
        if measured > AGREES * rate:
            return max(limit, min(self._limit * (1.0 - step), rate))
        if measurement.probed and not known:
            return max(measured, 1.0 / measurement.probed)
        return max(limit, least)

    def _tells(self, delay: float) -> bool:
        """Return whether a 429 shows a limit; otherwise it may be chance."""
        alike = abs(self._run - self._last_run) <= max(1.0, self._run / 4.0)
        self._alike = self._alike + 1 if alike else 1
        self._last_run = self._run
        # FEW 429s have FEW - 1 runs between them.
        regular = self._alike >= FEW - 1 or self._measurement.probed > 0.0
        return not delay or self._run >= ENOUGH or regular
