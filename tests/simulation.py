"""
Servers that limit, and clients with a rate limiter each, on a virtual clock.

A server judges each attempt by its time; `simulate` plays clients against one, in
order of time, with the noise of a real loop: timers that end late, round trips that
vary, answers that overtake each other.
"""

import heapq
import math
import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple, Protocol

from diga_async._flow.rate_limiter import RateLimiter

TICK = 0.001
"""epoll waits whole milliseconds, rounded up; and the loop is busy for up to one."""


class Answer(NamedTuple):
    """A server's answer to one attempt."""

    accepted: bool
    service: float = 0.0
    """Seconds that the server takes over it."""
    retry_after: float | None = None
    lost: bool = False
    """No answer, or a 5xx."""
    advice: tuple[int, float] | None = None
    """RateLimit headers: how many are left, for how many seconds."""


YES = Answer(accepted=True)
NO = Answer(accepted=False)


def chances(seed: int) -> random.Random:
    """Return the same chances for the same seed."""
    return random.Random(seed)  # noqa: S311  # nothing secret depends on it


class Server(Protocol):
    """A simulated server."""

    def ask(self, now: float) -> Answer:
        """Judge an attempt that arrives; times never go back."""
        ...


class Free:
    """It limits nothing."""

    def ask(self, now: float) -> Answer:
        return YES


class Closed:
    """It refuses everything."""

    def ask(self, now: float) -> Answer:
        return NO


class Bucket:
    """*burst* + 1 tokens at most, *rate* more a second: nginx's ``limit_req``."""

    def __init__(self, rate: float, burst: float, *, full: bool = True) -> None:
        self.rate = rate
        self.most = burst + 1.0
        self.tokens = self.most if full else 0.0
        self.at = 0.0

    def ask(self, now: float) -> Answer:
        now = math.floor(now * 1000) / 1000  # nginx counts milliseconds
        self.tokens = min(self.most, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1.0 - 1e-9:
            return Answer(accepted=False, retry_after=(1 - self.tokens) / self.rate)
        self.tokens -= 1.0
        return YES


class Window:
    """*limit* attempts in each stretch of *seconds*, the first shortened by *phase*."""

    def __init__(self, limit: int, seconds: float, phase: float = 0.3) -> None:
        self.limit = limit
        self.seconds = seconds
        self.phase = phase * seconds
        self.window, self.used = -1, 0

    def ask(self, now: float) -> Answer:
        window = int((now + self.phase) // self.seconds)
        if window != self.window:
            self.window, self.used = window, 0
        left = (window + 1) * self.seconds - self.phase - now
        if self.used >= self.limit:
            return Answer(accepted=False, retry_after=left, advice=(0, left))
        self.used += 1
        return Answer(accepted=True, advice=(self.limit - self.used, left))


class Log:
    """*limit* attempts in any *seconds*; *strict*: refused ones count as well."""

    def __init__(self, limit: int, seconds: float, *, strict: bool = False) -> None:
        self.limit = limit
        self.seconds = seconds
        self.strict = strict
        self.times: deque[float] = deque(maxlen=limit)

    def ask(self, now: float) -> Answer:
        full = len(self.times) == self.limit and self.times[0] > now - self.seconds
        wait = self.times[0] + self.seconds - now if full else 0.0
        if self.strict or not full:
            self.times.append(now)
        return Answer(accepted=False, retry_after=wait) if full else YES


class InFlight:
    """At most *limit* in flight, each for about *seconds*."""

    def __init__(
        self, limit: int, seconds: float, *, spread: float = 0.5, seed: int = 0
    ) -> None:
        self.limit = limit
        self.seconds = seconds
        self.spread = spread
        self.random = chances(seed)
        self.ends: list[float] = []

    def ask(self, now: float) -> Answer:
        while self.ends and self.ends[0] <= now:
            heapq.heappop(self.ends)
        if len(self.ends) >= self.limit:
            return NO
        spread = self.random.uniform(1 - self.spread, 1 + self.spread)
        heapq.heappush(self.ends, now + self.seconds * spread)
        return Answer(accepted=True, service=self.seconds * spread)


class Queue:
    """Accepts everything, but *workers* serve in turn: latency grows with load."""

    def __init__(self, workers: int, seconds: float) -> None:
        self.seconds = seconds
        self.free = [0.0] * workers

    def ask(self, now: float) -> Answer:
        end = max(now, heapq.heappop(self.free)) + self.seconds
        heapq.heappush(self.free, end)
        return Answer(accepted=True, service=end - now)


class InTurn:
    """One server until a time, then the next: pairs of a time and a server."""

    def __init__(self, *parts: tuple[float, Server]) -> None:
        self.parts = parts

    def ask(self, now: float) -> Answer:
        return next(server for until, server in self.parts if now < until).ask(now)


class Refusing:
    """The same server, which refuses everything from one time to another."""

    def __init__(self, server: Server, since: float, until: float) -> None:
        self.server = server
        self.since, self.until = since, until

    def ask(self, now: float) -> Answer:
        return NO if self.since <= now < self.until else self.server.ask(now)


class ByChance:
    """The same server, behind something that refuses, or loses, a *share*."""

    def __init__(
        self, server: Server, share: float, answer: Answer = NO, *, seed: int = 0
    ) -> None:
        self.server = server
        self.share = share
        self.answer = answer
        self.random = chances(seed)

    def ask(self, now: float) -> Answer:
        if self.random.random() < self.share:
            return self.answer
        return self.server.ask(now)


class Slow:
    """The same server with a latency: seconds, or a function of time."""

    def __init__(self, server: Server, seconds: float | Callable[[float], float]):
        self.server = server
        self.seconds = seconds

    def ask(self, now: float) -> Answer:
        seconds = self.seconds(now) if callable(self.seconds) else self.seconds
        answer = self.server.ask(now)
        return answer._replace(service=answer.service + seconds)


EXACT = -1.0
"""For `Telling`: the delay after which the server will really accept."""


class Telling:
    """
    The same server, with ``Retry-After``.

    Args:
        server: The server.
        seconds: The delay of a 429: None, whole seconds, or EXACT.
        advise: Whether RateLimit headers are sent.
    """

    def __init__(
        self, server: Server, seconds: float | None, *, advise: bool = False
    ) -> None:
        self.server = server
        self.seconds = seconds
        self.advise = advise

    def ask(self, now: float) -> Answer:
        answer = self.server.ask(now)
        if not self.advise:
            answer = answer._replace(advice=None)
        if answer.accepted or answer.lost:
            return answer
        seconds = self.seconds
        if seconds == EXACT:
            seconds = max(1.0, math.ceil(answer.retry_after or 1.0))
        return answer._replace(retry_after=seconds)


@dataclass
class Client:
    """
    One process.

    Attributes:
        limiter: Its rate limiter.
        ids: How many it has left to look up.
        starts_at: When it begins.
        accepted: When each id was found.
        sends: When each attempt started.
        most: The most it had in flight.
    """

    limiter: RateLimiter
    ids: float = math.inf
    starts_at: float = 0.0
    accepted: list[float] = field(default_factory=list)
    sends: list[float] = field(default_factory=list)
    most: int = 0
    in_flight: int = 0
    timer: float = math.inf


@dataclass
class Result:
    """
    The result of a simulation.

    Attributes:
        clients: The clients, with their records.
        accepted: When the server accepted an attempt.
        refused: When it throttled one.
        ended: When the last answer came.
        seen: Of the first client, now and then: time, rate, slots, state.
    """

    clients: list[Client]
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    ended: float = 0.0
    seen: list[tuple[float, float | None, int, str]] = field(default_factory=list)

    @property
    def found(self) -> int:
        """Ids that were answered."""
        return sum(len(client.accepted) for client in self.clients)

    def per_second(self, since: float, until: float) -> float:
        """Return how many a second the server accepted."""
        return within(self.accepted, since, until) / (until - since)

    def refused_share(self, since: float = 0.0, until: float = math.inf) -> float:
        """Return the share of refused attempts."""
        refused = within(self.refused, since, until)
        return refused / max(1, refused + within(self.accepted, since, until))

    def fairness(self, since: float = 0.0, until: float = math.inf) -> float:
        """Return how fast the slowest client was, compared to the fastest."""
        shares = [within(client.accepted, since, until) for client in self.clients]
        return min(shares) / max(1, *shares)

    def recovery(self, since: float, rate: float, share: float = 0.9) -> float:
        """Return the seconds after which *share* of *rate* is reached for a second."""
        width = max(1.0, 20 / rate)
        at = since
        while at + width <= self.ended:
            if within(self.accepted, at, at + width) >= share * rate * width:
                return at - since
            at += 0.1
        return math.inf


def within(times: list[float], since: float, until: float) -> int:
    """Return how many of the times, in order, are in a half-open stretch."""
    return bisect_left(times, until) - bisect_left(times, since)


class _Run:
    """The events of one simulation, in order of time."""

    def __init__(
        self, server: Server, result: Result, trip: float, stalls: float, seed: int
    ) -> None:
        self.server = server
        self.result = result
        self.trip = trip
        self.stalls = stalls
        self.chance = chances(seed).random
        self.turns = count()
        self.events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]]
        self.events = []

    def at(self, when: float, act: Callable[..., None], *arguments: object) -> None:
        heapq.heappush(self.events, (when, next(self.turns), act, arguments))

    def play(self, until: float) -> None:
        while self.events and self.events[0][0] <= until:
            now, _, act, arguments = heapq.heappop(self.events)
            act(now, *arguments)

    def leg(self) -> float:
        return self.trip * (0.35 + 0.3 * self.chance())

    def pump(self, now: float, client: Client) -> None:
        """Start the attempts that may start; schedule the next check otherwise."""
        limiter = client.limiter
        while client.ids > 0 and client.in_flight < limiter.slots:
            delay = limiter.wait(now)
            if delay > 0.0:
                self.set_timer(now, client, delay)
                return
            client.ids -= 1
            client.in_flight += 1
            client.most = max(client.most, client.in_flight)
            client.sends.append(now)
            limiter.sent(now, self.chance(), client.in_flight)
            self.at(now + self.leg(), self.arrive, client, now, client.in_flight)

    def set_timer(self, now: float, client: Client, delay: float) -> None:
        if client.timer <= now + delay:
            return
        client.timer = now + delay
        late = math.ceil(delay / TICK) * TICK - delay + TICK * self.chance()
        if self.stalls and self.chance() < 0.01:
            late += self.stalls * self.chance()
        self.at(now + delay + late, self.ring, client)

    def ring(self, now: float, client: Client) -> None:
        client.timer = math.inf
        self.pump(now, client)

    def arrive(self, now: float, client: Client, sent_at: float, ahead: int) -> None:
        answer = self.server.ask(now)
        if not answer.lost:
            kind = self.result.accepted if answer.accepted else self.result.refused
            kind.append(now)
        back = now + answer.service + self.leg()
        self.at(back, self.hear, client, sent_at, ahead, answer)

    def hear(
        self, now: float, client: Client, sent_at: float, ahead: int, answer: Answer
    ) -> None:
        limiter = client.limiter
        client.in_flight -= 1
        self.result.ended = now
        if answer.advice is not None:
            limiter.advised(now, *answer.advice)
        if answer.accepted:
            limiter.accepted(now, sent_at, ahead)
            client.accepted.append(now)
        else:
            client.ids += 1
            if answer.lost:
                limiter.lost(now, sent_at)
            else:
                after = answer.retry_after
                limiter.throttled(now, sent_at, after, self.chance(), ahead)
        if client is self.result.clients[0]:
            self.note(now, limiter)
        self.pump(now, client)

    def note(self, now: float, limiter: RateLimiter) -> None:
        seen = self.result.seen
        if not seen or now >= seen[-1][0] + 0.05:
            shot = limiter.snapshot(now)
            seen.append((now, shot.rate, shot.slots, shot.state))


def simulate(  # noqa: PLR0913  # what one may ask for
    server: Server,
    *,
    ids: float = math.inf,
    until: float = math.inf,
    starts: Iterable[float] = (0.0,),
    concurrency: int = 64,
    per_second: float | None = None,
    adaptive: bool = True,
    trip: float = 0.0015,
    stalls: float = 0.0,
    seed: int = 0,
    limiters: Sequence[RateLimiter] | None = None,
) -> Result:
    """
    Let clients ask *server*, each id until it is accepted.

    Args:
        server: Judges every attempt.
        ids: How many each client looks up.
        until: Stop then, though ids are left.
        starts: When each client begins.
        concurrency: Of each.
        per_second: Of each.
        adaptive: Of each.
        trip: There and back, in seconds, without the server's own time.
        stalls: One timer in a hundred is late by up to this many seconds more.
        seed: For every chance.
        limiters: Used instead of new ones, one for each client.

    Returns:
        What came of it.
    """
    begins = list(starts)
    if limiters is None:
        limiters = [
            RateLimiter(
                concurrency=concurrency, per_second=per_second, adaptive=adaptive
            )
            for _ in begins
        ]
    clients = [
        Client(limiter, ids, begin)
        for limiter, begin in zip(limiters, begins, strict=True)
    ]
    run = _Run(server, Result(clients), trip, stalls, seed)
    for client in clients:
        after = 0.05 * run.chance() if len(clients) > 1 else 0.0
        run.at(client.starts_at + after, run.pump, client)
    run.play(until)
    return run.result
