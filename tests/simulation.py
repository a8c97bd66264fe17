"""
Model servers and a virtual clock: what the limiter does in an hour, told in a second.

The servers are small and pure: a time in, a verdict out.
`simulate` lets clients, each with a limiter of its own, ask one server for ids
and plays events in order of their time.
It models what a real loop adds: a timer that ends late, by epoll's whole
milliseconds and by the loop being busy; a round trip that varies;
answers that overtake each other.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from diga_async._flow.rate_limiter import RateLimiter

LATE = 0.001
"""A timer that ends in time still waits for what the loop runs: 0 to 1 ms."""

TICK = 0.001
"""epoll takes whole milliseconds, rounded up."""


@dataclass(frozen=True)
class Verdict:
    """What a model server says to one attempt."""

    taken: bool
    service: float = 0.0
    """How long the server works on it, in seconds."""
    retry_after: float | None = None
    lost: bool = False
    """No answer, or a 5xx: taken or refused cannot be told."""
    advice: tuple[int, float] | None = None
    """What the RateLimit headers say: remaining, and for how long."""


TAKEN = Verdict(taken=True)
REFUSED = Verdict(taken=False)


def dice(seed: int) -> random.Random:
    """Return chances that are the same each time."""
    return random.Random(seed)  # noqa: S311  # no secret depends on it


class Server(Protocol):
    """What `simulate` asks of a model server."""

    def take(self, now: float) -> Verdict:
        """Judge an attempt that arrives at *now*; times never go back."""
        ...


class FreeServer:
    """No limit at all."""

    def take(self, now: float) -> Verdict:
        return TAKEN


class TokenBucket:
    """
    *burst* tokens at most, refilled at *rate* a second; an attempt takes one.

    nginx's ``limit_req … burst=20 nodelay`` is one with 21 tokens: it counts
    the same thing upside down, in whole milliseconds.
    """

    def __init__(self, rate: float, burst: float, tick: float = 0.0) -> None:
        self.rate = rate
        self.burst = burst
        self.tokens = burst
        self.tick = tick
        self.last = 0.0

    def take(self, now: float) -> Verdict:
        if self.tick:
            now = math.floor(now / self.tick) * self.tick
        self.tokens = min(self.burst, self.tokens + (now - self.last) * self.rate)
        self.last = now
        if self.tokens < 1.0 - 1e-9:
            return REFUSED
        self.tokens -= 1.0
        return TAKEN


def nginx(rate: float, burst: int) -> TokenBucket:
    """Return nginx's ``limit_req rate=… burst=… nodelay``."""
    return TokenBucket(rate, burst + 1, tick=0.001)


class FixedWindow:
    """*limit* attempts in each window of *seconds*; windows start at a phase."""

    def __init__(
        self, limit: int, seconds: float, phase: float = 0.3, *, advise: bool = False
    ) -> None:
        self.limit = limit
        self.seconds = seconds
        self.phase = phase * seconds
        self.window = -1
        self.used = 0
        self.advise = advise

    def take(self, now: float) -> Verdict:
        window = int((now + self.phase) // self.seconds)
        if window != self.window:
            self.window, self.used = window, 0
        taken = self.used < self.limit
        self.used += taken
        advice = None
        if self.advise:
            reset = (window + 1) * self.seconds - self.phase - now
            advice = (self.limit - self.used, math.ceil(reset))
        return Verdict(taken=taken, advice=advice)


class SlidingWindow:
    """*limit* attempts in any *seconds*; with *strict*, refused ones count too."""

    def __init__(self, limit: int, seconds: float, *, strict: bool = False) -> None:
        self.limit = limit
        self.seconds = seconds
        self.strict = strict
        self.log: deque[float] = deque()

    def take(self, now: float) -> Verdict:
        while self.log and self.log[0] <= now - self.seconds:
            self.log.popleft()
        taken = len(self.log) < self.limit
        if taken or self.strict:
            self.log.append(now)
        if len(self.log) > self.limit:
            self.log.popleft()
        return Verdict(taken=taken)


class InFlightLimit:
    """At most *limit* attempts at once, each taking *service* seconds, more or less."""

    def __init__(
        self, limit: int, service: float, *, spread: float = 0.5, seed: int = 0
    ) -> None:
        self.limit = limit
        self.service = service
        self.spread = spread
        self.random = dice(seed)
        self.until: list[float] = []

    @property
    def capacity(self) -> float:
        """The most it can take in a second."""
        return self.limit / self.service

    def take(self, now: float) -> Verdict:
        while self.until and self.until[0] <= now:
            heapq.heappop(self.until)
        if len(self.until) >= self.limit:
            return REFUSED
        around = self.random.uniform(1 - self.spread, 1 + self.spread)
        service = self.service * around
        heapq.heappush(self.until, now + service)
        return Verdict(taken=True, service=service)


class Queue:
    """Refuses nothing; *workers* serve in turn, so latency grows with the load."""

    def __init__(self, workers: int, service: float) -> None:
        self.service = service
        self.free = [0.0] * workers

    def take(self, now: float) -> Verdict:
        start = max(now, heapq.heappop(self.free))
        heapq.heappush(self.free, start + self.service)
        return Verdict(taken=True, service=start + self.service - now)


class Changing:
    """One server until *at*, another from then on: a limit that changes mid-run."""

    def __init__(self, before: Server, after: Server, at: float) -> None:
        self.before = before
        self.after = after
        self.at = at

    def take(self, now: float) -> Verdict:
        return (self.before if now < self.at else self.after).take(now)


class WithRetryAfter:
    """The same server, which says how long to wait when it refuses."""

    def __init__(self, server: Server, seconds: float) -> None:
        self.server = server
        self.seconds = seconds

    def take(self, now: float) -> Verdict:
        verdict = self.server.take(now)
        if verdict.taken:
            return verdict
        return Verdict(taken=False, retry_after=self.seconds, advice=verdict.advice)


class Moody:
    """No limit, but attempts of some numbers are refused, with a delay."""

    def __init__(self, refuses: Callable[[int], bool], seconds: float) -> None:
        self.refuses = refuses
        self.seconds = seconds
        self.number = 0

    def take(self, now: float) -> Verdict:
        self.number += 1
        if self.refuses(self.number):
            return Verdict(taken=False, retry_after=self.seconds)
        return TAKEN


class Unreliable:
    """The same server behind something that loses a *share* of the answers."""

    def __init__(
        self, server: Server, share: float, *, service: float = 0.0, seed: int = 0
    ) -> None:
        self.server = server
        self.share = share
        self.service = service
        self.random = dice(seed)

    def take(self, now: float) -> Verdict:
        if self.random.random() < self.share:
            return Verdict(taken=False, lost=True, service=self.service)
        return self.server.take(now)


@dataclass
class Share:
    """What one client of a simulation did."""

    found: int = 0
    finished: float = 0.0
    most: int = 0
    """The most attempts it had in shared."""


@dataclass
class Result:
    """
    What came out of a simulation.

    Attributes:
        found: Ids answered, over all clients.
        sent: Attempts that reached the server.
        refused: How many of them it refused.
        elapsed: Seconds until the last id had its answer.
        shares: What each client did.
        arrivals: When each attempt arrived, and whether it was taken.
        rates: The first client's rate as time went on.
    """

    found: int = 0
    sent: int = 0
    refused: int = 0
    elapsed: float = 0.0
    shares: list[Share] = field(default_factory=list)
    arrivals: list[tuple[float, bool]] = field(default_factory=list)
    rates: list[tuple[float, float | None]] = field(default_factory=list)

    @property
    def goodput(self) -> float:
        """Ids a second, over the whole run."""
        return self.found / self.elapsed

    @property
    def refused_share(self) -> float:
        """Refused attempts, of all that were sent."""
        return self.refused / self.sent

    @property
    def fairness(self) -> float:
        """How fast the slowest client was, compared to the fastest."""
        speeds = [share.found / share.finished for share in self.shares]
        return min(speeds) / max(speeds)


class _Client:
    """One process: its ids, its limiter, its one timer."""

    def __init__(self, limiter: RateLimiter, ids: int, share: Share) -> None:
        self.limiter = limiter
        self.ids = ids
        self.share = share
        self.in_flight = 0
        self.timer = math.inf


@dataclass(order=True)
class _Event:
    at: float
    turn: int
    act: Callable[[float], None] = field(compare=False)


class _Simulation:
    """The queue of events, and what each does."""

    def __init__(
        self, server: Server, round_trip: float, stalls: float, seed: int
    ) -> None:
        self.server = server
        self.round_trip = round_trip
        self.stalls = stalls
        self.random = dice(seed)
        self.events: list[_Event] = []
        self.turns = count()
        self.result = Result()

    def at(self, when: float, act: Callable[[float], None]) -> None:
        heapq.heappush(self.events, _Event(when, next(self.turns), act))

    def run(self, until: float) -> None:
        while self.events and self.events[0].at <= until:
            event = heapq.heappop(self.events)
            event.act(event.at)

    def leg(self) -> float:
        """Return how long one way takes this time."""
        return self.round_trip * self.random.uniform(0.35, 0.65)

    def pump(self, client: _Client, now: float) -> None:
        """Start what may start; set the timer for what may not yet."""
        limiter = client.limiter
        while client.ids and client.in_flight < limiter.slots:
            delay = limiter.wait(now)
            if delay > 0.0:
                self.set_timer(client, now, delay)
                return
            self.send(client, now)

    def set_timer(self, client: _Client, now: float, delay: float) -> None:
        if client.timer <= now + delay:
            return  # it rings before, and looks again
        client.timer = now + delay
        late = math.ceil(delay / TICK) * TICK - delay + self.random.uniform(0.0, LATE)
        if self.stalls and self.random.random() < 0.01:
            late += self.random.uniform(0.0, self.stalls)

        def ring(then: float) -> None:
            client.timer = math.inf
            self.pump(client, then)

        self.at(now + delay + late, ring)

    def send(self, client: _Client, now: float) -> None:
        client.ids -= 1
        client.in_flight += 1
        in_flight = client.in_flight
        client.share.most = max(client.share.most, in_flight)
        client.limiter.sent(now, self.random.random())

        def arrive(then: float) -> None:
            verdict = self.server.take(then)
            self.result.sent += 1
            self.result.refused += not (verdict.taken or verdict.lost)
            self.result.arrivals.append((then, verdict.taken))
            back = then + verdict.service + self.leg()
            self.at(back, lambda end: self.answer(client, end, now, in_flight, verdict))

        self.at(now + self.leg(), arrive)

    def answer(
        self,
        client: _Client,
        now: float,
        sent_at: float,
        in_flight: int,
        verdict: Verdict,
    ) -> None:
        client.in_flight -= 1
        limiter = client.limiter
        if verdict.advice is not None:
            limiter.advised(now, *verdict.advice)
        if verdict.taken:
            limiter.accepted(now, sent_at, in_flight)
            client.share.found += 1
            client.share.finished = self.result.elapsed = now
        else:
            client.ids += 1
            if verdict.lost:
                limiter.lost(now, sent_at)
            else:
                chance = self.random.random()
                limiter.throttled(now, sent_at, verdict.retry_after, chance, in_flight)
        if client.share is self.result.shares[0]:
            self.result.rates.append((now, limiter.rate))
        self.pump(client, now)


def simulate(  # noqa: PLR0913  # the questions one may ask
    server: Server,
    ids: int,
    *,
    clients: int = 1,
    concurrency: int = 64,
    per_second: float | None = None,
    adaptive: bool = True,
    round_trip: float = 0.0015,
    stalls: float = 0.0,
    seed: int = 0,
    start: float = 0.0,
    until: float = math.inf,
    paces: list[RateLimiter] | None = None,
) -> Result:
    """
    Let *clients* ask *server* for *ids* in all, each id until it is answered.

    Args:
        server: Judges every attempt.
        ids: How many in all; each client has its part.
        clients: How many, each with a limiter of its own.
        concurrency: Of each client.
        per_second: Of each client.
        adaptive: Of each client.
        round_trip: There and back, in seconds, without the server's own time.
        stalls: One timer in a hundred is late by up to so many seconds more.
        seed: For every chance of the run.
        start: When the clock starts.
        until: Stop then, though ids are left.
        paces: Taken instead of new ones, one for each client.

    Returns:
        What came out.
    """
    simulation = _Simulation(server, round_trip, stalls, seed)
    for number in range(clients):
        limiter = (
            paces[number]
            if paces
            else RateLimiter(
                concurrency=concurrency, per_second=per_second, adaptive=adaptive
            )
        )
        share = Share()
        simulation.result.shares.append(share)
        client = _Client(limiter, ids // clients, share)
        after = simulation.random.uniform(0.0, 0.05) if clients > 1 else 0.0

        def begin(now: float, client: _Client = client) -> None:
            simulation.pump(client, now)

        simulation.at(start + after, begin)
    simulation.run(until)
    result = simulation.result
    result.found = sum(share.found for share in result.shares)
    return result
