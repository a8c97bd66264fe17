"""Servers drawn by chance, and what they allow."""

import math
import random
from dataclasses import dataclass

from simulation import (
    EXACT,
    Bucket,
    InFlight,
    InTurn,
    Log,
    Refusing,
    Result,
    Server,
    Slow,
    Telling,
    Window,
    chances,
    simulate,
    within,
)


@dataclass(frozen=True)
class Draw:
    """
    One server.

    Attributes:
        kind: bucket, window, log, strict log, in flight.
        limits: Before and after the change: a second; or in flight.
        burst: Of a bucket.
        seconds: Of a window or a log.
        latency: Before and after the change.
        jitter: Share by which the latency varies.
        retry_after: None, a delay, or EXACT.
        refusing: How long it refuses everything before the change.
        seed: Of all chances.
    """

    kind: str
    limits: tuple[float, float]
    burst: int
    seconds: float
    latency: tuple[float, float]
    jitter: float
    retry_after: float | None
    refusing: float
    seed: int

    def allows(self, part: int) -> float:
        """Return what it allows a second, to a client with 64 slots."""
        limit, latency = self.limits[part], self.latency[part]
        if self.kind == "in flight":
            return min(limit, 64) / (latency + 0.0015)
        if self.kind != "bucket":
            limit = max(1, round(limit * self.seconds)) / self.seconds
        return min(limit, 64 / (latency + 0.0015))

    @property
    def longest_delay(self) -> float:
        """The longest Retry-After."""
        if self.retry_after != EXACT:
            return self.retry_after or 0.0
        per_second = min(self.allows(0), self.allows(1))
        return 1 / per_second if self.kind in {"bucket", "in flight"} else self.seconds

    @property
    def changes_at(self) -> float:
        """When it changes for the last time."""
        return min(max(30.0, 100 / self.allows(0)), self.lasts / 2) + self.refusing

    @property
    def lasts(self) -> float:
        """How long a run goes on after that."""
        return max(120.0, 20 * self.longest_delay, 200 / self.allows(1))

    def part(self, part: int) -> Server:
        """Make the server before or after the change."""
        limit, latency = self.limits[part], self.latency[part]
        if self.kind == "in flight":
            return InFlight(int(limit), latency, spread=self.jitter, seed=self.seed)
        random = chances(self.seed)
        server: Server
        if self.kind == "bucket":
            server = Bucket(limit, self.burst, full=part == 0)
        elif self.kind == "window":
            allowed = max(1, round(limit * self.seconds))
            server = Window(allowed, self.seconds, random.random())
        else:
            allowed = max(1, round(limit * self.seconds))
            server = Log(allowed, self.seconds, strict=self.kind == "strict log")
        around = 1 - self.jitter, 1 + self.jitter
        return Slow(server, lambda _: latency * random.uniform(*around))

    def server(self) -> Server:
        """Make it all."""
        change = self.changes_at
        server: Server = InTurn((change, self.part(0)), (math.inf, self.part(1)))
        if self.refusing:
            server = Refusing(server, change - self.refusing, change)
        return Telling(server, self.retry_after)

    def run(self, ids: float = math.inf, until: float | None = None) -> Result:
        """Simulate one client."""
        end = self.changes_at + self.lasts if until is None else until
        return simulate(self.server(), ids=ids, until=end, seed=self.seed)

    def share(self, result: Result) -> float:
        """Return the share of what it allows over the second half of a run."""
        end = self.changes_at + self.lasts
        since = max(end / 2, self.changes_at)
        accepted = within(result.accepted, since, end)
        return accepted / (self.allows(1) * (end - since))


def draw(seed: int, most: float = 500.0) -> Draw:
    """Draw a server."""
    dice = random.Random(seed)  # noqa: S311  # nothing secret depends on it

    def log_uniform(low: float, high: float) -> float:
        return math.exp(dice.uniform(math.log(low), math.log(high)))

    kind = dice.choice(
        ["bucket"] * 9
        + ["window"] * 4
        + ["log"] * 2
        + ["strict log"] * 2
        + ["in flight"] * 3
    )
    if kind == "in flight":
        before = float(dice.randint(1, 40))
        factor = log_uniform(0.25, 4) if dice.random() < 0.5 else 1.0
        limits = before, float(min(64, max(1, round(before * factor))))
        first = log_uniform(0.02, 0.5)
    else:
        before = log_uniform(0.2, most)
        factor = log_uniform(0.1, 10) if dice.random() < 0.5 else 1.0
        limits = before, min(max(before * factor, 0.1), most)
        first = log_uniform(0.001, 0.5)
    slower = log_uniform(0.1, 10) if dice.random() < 0.25 else 1.0
    return Draw(
        kind=kind,
        limits=limits,
        burst=0 if dice.random() < 0.25 else round(log_uniform(1, 100)),
        seconds=dice.choice([1.0, 2.0, 5.0, 10.0, 30.0, 60.0]),
        latency=(first, min(first * slower, 1.0)),
        jitter=dice.choice([0.0, 0.1, 0.5]),
        retry_after=dice.choice(
            [None] * 4 + [1.0] * 3 + [2.0, 5.0, 10.0, 30.0, EXACT, EXACT]
        ),
        refusing=log_uniform(1, 120) if dice.random() < 0.3 else 0.0,
        seed=seed,
    )
