"""The rate limiter against servers of every kind, and its invariants."""

import doctest
import math
from bisect import bisect_left
from collections.abc import Callable, Container, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from drawn_servers import Draw, draw
from hypothesis import given, settings, strategies as st
from simulation import (
    NO,
    Answer,
    Bucket,
    ByChance,
    Closed,
    Free,
    InFlight,
    InTurn,
    Log,
    Queue,
    Refusing,
    Server,
    Slow,
    Telling,
    Window,
    chances,
    simulate,
)

from diga_async._flow import rate_limiter
from diga_async._flow.rate_limiter import FIRST_SLOTS, RateLimiter

END = math.inf
LOST = Answer(accepted=False, lost=True)


def test_the_docstrings_are_right() -> None:
    assert doctest.testmod(rate_limiter).failed == 0


# --- promises, server by server


class Case(NamedTuple):
    """
    One server, and the least that is promised.

    Attributes:
        server: Made for a seed.
        allows: Attempts a second.
        since: Measured from then...
        until: ...to then.
        share: Of what it allows, at least.
        refused: Of all attempts in that time, at most.
        settings: Further arguments of `simulate`.
    """

    server: Callable[[int], Server]
    allows: float
    since: float
    until: float
    share: float
    refused: float = 0.05
    settings: Mapping[str, Any] = MappingProxyType({})


def plain(make: Callable[[int], Server]) -> Callable[[int], Server]:
    """No Retry-After."""
    return lambda seed: Telling(make(seed), None)


def asking(make: Callable[[int], Server], seconds: float) -> Callable[[int], Server]:
    """Retry-After with each 429."""
    return lambda seed: Telling(make(seed), seconds)


def bucket(rate: float, burst: float) -> Callable[[int], Server]:
    return lambda _: Bucket(rate, burst)


def refusing(rate: float, since: float, until: float, service: float = 0.02) -> Any:
    return lambda _: Slow(Refusing(Bucket(rate, 20), since, until), service)


CASES = {
    "200/s": Case(plain(bucket(200, 20)), 200, 0, 15, 0.97, 0.03),
    "200/s, Retry-After": Case(asking(bucket(200, 20), 1), 200, 5, 30, 0.85, 0.01),
    "200/s, stalls": Case(
        plain(bucket(200, 20)), 200, 0, 15, 0.97, 0.03, {"stalls": 0.05}
    ),
    "20/s": Case(plain(bucket(20, 20)), 20, 0, 60, 0.97, 0.08),
    "2,000/s": Case(plain(bucket(2000, 20)), 2000, 0, 3, 0.95, 0.02),
    "no burst": Case(plain(bucket(200, 0)), 200, 10, 25, 0.75),
    "200 ms": Case(plain(bucket(200, 20)), 200, 10, 25, 0.93, 0.04, {"trip": 0.2}),
    "served in 200 ms": Case(
        plain(lambda _: Slow(Bucket(200, 20), 0.2)), 200, 0, 15, 0.87
    ),
    "windows of 1 s": Case(plain(lambda _: Window(200, 1)), 200, 1, 15, 0.9, 0.08),
    "windows of 5 s": Case(plain(lambda _: Window(500, 5)), 100, 5, 35, 0.85, 0.08),
    "windows, told when they end": Case(
        lambda _: Telling(Window(60, 20), -1.0), 3, 200, 400, 0.95
    ),
    "windows, RateLimit headers": Case(
        lambda _: Telling(Window(200, 5), None, advise=True), 40, 10, 60, 0.85, 0.02
    ),
    "a log": Case(plain(lambda _: Log(200, 1)), 200, 5, 15, 0.9, 0.08),
    "a strict log": Case(plain(lambda _: Log(12, 6, strict=True)), 2, 150, 300, 0.88),
    "a strict log, 30 s, Retry-After": Case(
        asking(lambda _: Log(30, 30, strict=True), 1), 1, 300, 600, 0.86
    ),
    "a strict log, 60 s, Retry-After": Case(
        asking(lambda _: Log(5, 60, strict=True), 1), 5 / 60, 600, 1200, 0.70
    ),
    "10 in flight": Case(lambda s: InFlight(10, 0.05, seed=s), 200, 0, 15, 0.88, 0.02),
    "4 in flight, then 16": Case(
        lambda s: InTurn((20, InFlight(4, 0.1, spread=0)), (END, InFlight(16, 0.1))),
        160,
        35,
        60,
        0.85,
    ),
    "a queue": Case(lambda _: Queue(8, 0.02), 400, 1, 10, 0.95, 0.0),
    "30 % lost": Case(
        lambda s: ByChance(plain(bucket(200, 20))(s), 0.3, LOST, seed=s),
        200,
        0,
        15,
        0.9,
        0.03,
    ),
    "refuses for 10 s": Case(plain(refusing(200, 10, 20)), 200, 25, 45, 0.95),
    "refuses for 300 s": Case(plain(refusing(200, 10, 310)), 200, 325, 350, 0.9),
    "refuses for 10 s, Retry-After": Case(
        asking(refusing(200, 20, 30), 1), 200, 33, 55, 0.85
    ),
    "refuses for 60 s, Retry-After 5": Case(
        lambda _: Slow(
            InTurn(
                (15, Telling(Bucket(200, 20), None)),
                (75, Telling(Closed(), 5.0)),
                (END, Telling(Bucket(200, 20), None)),
            ),
            0.02,
        ),
        200,
        83,
        110,
        0.85,
    ),
    "refuses immediately for 10 s": Case(plain(refusing(200, 0, 10)), 200, 20, 40, 0.9),
    "2/s, Retry-After": Case(asking(bucket(2, 20), 1), 2, 300, 600, 0.96),
    "1/s, no burst, Retry-After": Case(asking(bucket(1, 0), 1), 1, 300, 600, 0.86),
    "10/s, no burst, Retry-After": Case(asking(bucket(10, 0), 1), 10, 80, 180, 0.82),
    "halved": Case(
        plain(lambda _: InTurn((10, Bucket(200, 20)), (END, Bucket(100, 20)))),
        100,
        10,
        25,
        0.95,
        0.06,
    ),
    "doubled": Case(
        plain(lambda _: InTurn((10, Bucket(100, 20)), (END, Bucket(200, 20)))),
        200,
        15,
        25,
        0.9,
    ),
    "lifted": Case(
        plain(lambda _: Slow(InTurn((10, Bucket(100, 20)), (END, Free())), 0.02)),
        1500,
        22,
        25,
        0.9,
    ),
    "slower by ten": Case(
        plain(lambda _: Slow(Bucket(200, 20), lambda t: 0.02 if t < 10 else 0.2)),
        200,
        20,
        40,
        0.93,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_reaches_an_undeclared_limit(name: str) -> None:
    case = CASES[name]

    result = simulate(case.server(1), until=case.until, seed=1, **case.settings)

    share = result.per_second(case.since, case.until) / case.allows
    assert share >= case.share
    assert result.refused_share(case.since) <= case.refused


@pytest.mark.parametrize("after", [None, 5.0, 30.0])
def test_a_limit_that_falls_and_comes_back_is_found(after: float | None) -> None:
    usual = 1.0 if after else None
    high, low = (lambda: Telling(Bucket(200, 20), usual)), Bucket(5, 20)
    server = InTurn((15, high()), (35, Telling(low, after)), (END, high()))

    result = simulate(Slow(server, 0.02), until=100, seed=1)

    since = 50 if after != 30 else 80
    assert result.per_second(since, 100) >= 0.85 * 200


def changing(before: float, after: float, burst: float, delay: float) -> Server:
    server = InTurn((30, Bucket(before, burst)), (END, Bucket(after, burst)))
    return Slow(Telling(server, delay), 0.02)


def test_a_limit_so_low_that_few_fit_between_delays_is_found() -> None:
    """Eight delays or fewer, also where the whole run has only sixty ids."""
    for seed in range(1, 9):
        server = Slow(Telling(Bucket(10, 0), 1.0), 0.02)
        result = simulate(server, ids=60, seed=seed)

        assert result.found / result.ended >= 0.43 * 10


def test_a_limit_that_falls_below_what_a_delay_costs_is_found() -> None:
    result = simulate(changing(20, 4, 1, 10.0), until=300, seed=1)

    assert result.per_second(150, 300) >= 0.55 * 4


def test_a_limit_that_rises_sevenfold_is_found_though_each_429_is_dear() -> None:
    result = simulate(changing(20, 140, 10, 5.0), until=250, seed=1)

    assert result.per_second(150, 250) >= 0.55 * 140


def test_the_first_429_waits_for_the_attempts_in_flight() -> None:
    """A window that fills within milliseconds then throttles few of them."""
    counts = []
    for seed in range(5):
        server = Telling(Window(200, 1), None)
        counts.append(len(simulate(server, until=0.25, seed=seed).refused))

    assert sorted(counts)[2] <= 2 * 64


@pytest.mark.parametrize(("after", "share"), [(None, 0.95), (1.0, 0.80)])
def test_four_clients_share_a_limit(after: float | None, share: float) -> None:
    server = Telling(Bucket(200, 20), after)

    result = simulate(server, until=40, starts=(0.0,) * 4, seed=1)

    assert result.per_second(0, 40) >= share * 200
    assert result.refused_share() <= 0.05
    assert result.fairness(20, 40) >= 0.25


def test_a_second_client_gets_a_fair_share() -> None:
    """40 : 60 or better in the median run; a single run may be at 33 : 67."""
    shares = []
    for seed in range(1, 12):
        server = Telling(Bucket(200, 20), None)
        result = simulate(server, until=60, starts=(0.0, 15.0), seed=seed)
        shares.append(result.fairness(35, 60))

    assert sorted(shares)[5] >= 40 / 60
    assert min(shares) >= 0.45


class Numbered:
    """It limits nothing, but throttles attempts of some numbers, with a delay."""

    def __init__(self, throttled: Container[int], delay: float) -> None:
        self.throttled = throttled
        self.delay = delay
        self.number = 0

    def ask(self, now: float) -> Answer:
        self.number += 1
        if self.number in self.throttled:
            return Answer(accepted=False, retry_after=self.delay)
        return Answer(accepted=True)


@pytest.mark.parametrize(
    ("throttled", "delay", "ids", "within"),
    [
        ([1], 5.0, 600, 7.5),
        ([1], 10.0, 20, 12.0),
        ([1], 30.0, 20, 32.0),
        ([5], 30.0, 600, 33.5),
        (range(1, 13), 1.0, 20, 4.0),
        ([1, 5, 9], 5.0, 600, 15.0),
    ],
)
def test_early_refusals_with_a_delay_cost_their_delays(
    throttled: Container[int], delay: float, ids: int, within: float
) -> None:
    """They say when to retry, not what the rate is."""
    result = simulate(Numbered(throttled, delay), ids=ids, seed=1)

    assert result.found == ids
    assert delay <= result.ended <= within


def test_refusals_by_chance_with_a_delay_do_not_end_in_a_crawl() -> None:
    times = []
    for seed in range(5):
        server = Telling(ByChance(Free(), 0.2, NO, seed=seed), 1.0)
        times.append(simulate(server, ids=200, seed=seed).ended)

    assert sorted(times)[2] <= 90.0


def test_nothing_is_slowed_without_a_limit() -> None:
    result = simulate(Free(), ids=10_000)

    assert result.found / result.ended >= 0.95 * 64 / 0.0015
    assert {state for _, _, _, state in result.seen} == {"free"}


def test_losses_slow_nothing() -> None:
    result = simulate(ByChance(Free(), 0.3, LOST), ids=3_000)

    assert result.found == 3_000
    assert {rate for _, rate, _, _ in result.seen} == {None}


def test_a_server_that_is_gone_is_asked_ever_more_rarely() -> None:
    result = simulate(InTurn((5, Free()), (END, Closed())), until=3_600, trip=0.05)

    assert 10 <= len([at for at in result.refused if at > 65]) <= 150
    assert len([at for at in result.refused if at > 3_000]) <= 15


def test_after_a_pause_attempts_start_one_by_one() -> None:
    result = simulate(Telling(Bucket(200, 20), 1.0), until=20, seed=1)

    sends = result.clients[0].sends
    ends = [b for a, b in pairwise(sends) if b - a > 0.9]
    assert ends
    for end in ends:
        assert bisect_left(sends, end + 0.005) - bisect_left(sends, end) <= FIRST_SLOTS


# --- drawn servers


@pytest.mark.parametrize("seed", range(24))
def test_drawn_servers_lose_nothing(seed: int) -> None:
    server = draw(seed, most=50.0)
    ids = min(200, int(60 * server.allows(0)) + 5)

    result = server.run(ids=ids, until=1e6)

    assert result.found == ids
    assert result.clients[0].ids == 0


@settings(max_examples=25, deadline=None)
@given(
    limit=st.integers(1, 3),
    seconds=st.sampled_from([10.0, 60.0]),
    kind=st.sampled_from(["log", "strict log", "window", "bucket"]),
    after=st.sampled_from([None, 1.0, 30.0, -1.0]),
    service=st.floats(0.001, 2.0),
)
def test_there_is_no_livelock(
    limit: int,
    seconds: float,
    kind: str,
    after: float | None,
    service: float,
) -> None:
    """Even one request in 60 s, with refused ones counted, is enough in the end."""
    servers: dict[str, Server] = {
        "log": Log(limit, seconds),
        "strict log": Log(limit, seconds, strict=True),
        "window": Window(limit, seconds),
        "bucket": Bucket(limit / seconds, limit - 1),
    }

    result = simulate(
        Telling(Slow(servers[kind], service), after), ids=8, until=1e6, seed=limit
    )

    assert result.found == 8
    assert result.ended <= 8 * 3_600


def test_drawn_servers_are_used_well() -> None:
    """A sample of the statistic; `benchmarks/limiter.py` has all of it."""
    servers = [draw(seed, most=40.0) for seed in range(100, 130)]
    shares = sorted(server.share(server.run()) for server in servers)

    assert shares[len(shares) // 2] >= 0.80
    assert shares[len(shares) // 10] >= 0.40


def test_every_kind_of_server_is_drawn() -> None:
    kinds = {draw(seed).kind for seed in range(200)}

    assert kinds == {"bucket", "window", "log", "strict log", "in flight"}
    assert all(isinstance(draw(seed), Draw) for seed in range(200))


# --- the hard cap


def stalling(limiter: RateLimiter, pauses: list[float], chance: float) -> list[float]:
    """Start what may start on a loop that stalls repeatedly."""
    now, sends = 0.0, []
    for pause in pauses:
        now += pause
        while limiter.wait(now) == 0.0 and len(sends) < 2_000:
            limiter.sent(now, chance, 1)
            sends.append(now)
        now += limiter.wait(now)
    return sends


@settings(max_examples=150, deadline=None)
@given(
    per_second=st.floats(0.1, 3_000.0) | st.integers(1, 300).map(float),
    pauses=st.lists(
        st.floats(0.0, 3.0) | st.sampled_from([0.0, 0.001, 0.01, 0.5]),
        min_size=5,
        max_size=300,
    ),
    chance=st.floats(0.0, 1.0, exclude_max=True),
    adaptive=st.booleans(),
)
def test_per_second_is_a_hard_cap(
    per_second: float,
    pauses: list[float],
    chance: float,
    adaptive: bool,  # noqa: FBT001 - drawn
) -> None:
    limiter = RateLimiter(concurrency=64, per_second=per_second, adaptive=adaptive)

    sends = stalling(limiter, pauses, chance)

    width = max(1.0, 1.0 / per_second)
    most = max(1, math.ceil(per_second)) if per_second >= 1 else 1
    for first, at in enumerate(sends):
        assert bisect_left(sends, at + width) - first <= most


@pytest.mark.parametrize("per_second", [0.5, 1, 2.5, 5, 9, 10, 50, 100, 1000])
def test_the_cap_is_reached_and_even(per_second: float) -> None:
    """On a loop that is blocked for up to 10 ms, and with a burst of 0."""
    limiter = RateLimiter(concurrency=64, per_second=per_second)
    random, now, sends = chances(1), 0.0, []
    while now < 40 + 20 / per_second and len(sends) < 8_000:
        delay = limiter.wait(now)
        if delay > 0.0:
            now += delay + random.choice([0.0, 0.001, random.uniform(0.0, 0.01)])
            continue
        limiter.sent(now, random.random(), 1)
        sends.append(now)

    rate = (len(sends) - 1) / (sends[-1] - sends[0])
    assert 0.97 * per_second <= rate <= per_second
    gaps = [b - a for a, b in pairwise(sends)]
    assert min(gaps) >= 1 / per_second - 0.012
    assert per_second >= 1 or min(gaps) >= 1 / per_second


def test_below_the_limit_of_a_server_without_burst_nothing_is_refused() -> None:
    server = Telling(Bucket(10, 0), None)

    result = simulate(server, until=30, per_second=9.0, seed=1)

    assert not result.refused


def test_the_rate_stays_at_the_cap() -> None:
    server = InTurn((30, Bucket(100, 20)), (END, Bucket(20, 20)))

    result = simulate(Telling(server, None), until=40, per_second=90.0)

    assert len(result.refused) <= 40


# --- call by call


def running(*, adaptive: bool = True, per_second: float | None = None) -> RateLimiter:
    """Return one that has run for ten seconds and met no limit."""
    limiter = RateLimiter(concurrency=64, adaptive=adaptive, per_second=per_second)
    for number in range(200):
        limiter.sent(number * 0.05, 0.5, 1)
        limiter.accepted(number * 0.05, number * 0.05, 1)
    return limiter


def test_opens_with_few_slots_and_grows() -> None:
    limiter, seen = RateLimiter(concurrency=64), []
    for number in range(200):
        seen.append(limiter.slots)
        limiter.sent(number / 1000, 0.5, 1)
        limiter.accepted(number / 1000, number / 1000, 1)

    assert (seen[0], seen[12], seen[-1]) == (FIRST_SLOTS, 2 * FIRST_SLOTS, 64)


@pytest.mark.parametrize(
    ("retry_after", "blocked", "state"),
    [
        (None, 0.0, "limited"),
        (3.0, 3.0, "cooling_down"),
        (0.0, 0.0, "free"),
        (-1.0, 0.0, "limited"),
        (math.nan, 0.0, "limited"),
        (math.inf, 0.0, "limited"),
    ],
)
def test_a_429_slows_as_its_retry_after_says(
    retry_after: float | None, blocked: float, state: str
) -> None:
    limiter = running()

    limiter.throttled(10.0, 9.99, retry_after, 0.5, 2)

    assert limiter.blocked_for(10.0) == blocked
    assert limiter.wait(10.0) >= blocked
    assert limiter.snapshot(10.0).state == state
    assert (limiter.rate is None) == (state == "free")


def test_refusals_of_one_congestion_lower_the_rate_once() -> None:
    limiter = running()
    for number in range(20):
        limiter.sent(10.0, 0.5, number)
    rates = []
    for number in range(20):
        limiter.throttled(10.01 + number / 1000, 10.0, None, 0.5, 20)
        rates.append(limiter.rate)

    assert len(set(rates)) == 1


def test_a_late_retry_after_still_blocks() -> None:
    limiter = running()
    limiter.throttled(10.0, 9.9, 5.0, 0.5, 2)
    limiter.throttled(10.1, 9.9, 1.0, 0.5, 2)

    blocked = [limiter.blocked_for(now) for now in (10.0, 12.0, 15.0)]
    assert blocked == [5.0, 3.0, 0.0]


def test_a_block_teaches_nothing() -> None:
    limiter = running()

    limiter.block(10.0, 3.0, 0.5)

    assert limiter.wait(10.0) == limiter.blocked_for(10.0) == 3.0
    assert limiter.rate is None
    assert limiter.slots == FIRST_SLOTS  # when it is over, a few start together


@pytest.mark.parametrize(
    ("remaining", "reset", "waits"),
    [(0, 3.0, 2.9), (1, 3.0, 0.0), (0, 0.0, 0.0), (0, math.nan, 0.0)],
)
def test_headers_that_leave_nothing_are_a_pause(
    remaining: int, reset: float, waits: float
) -> None:
    limiter, deaf = running(), running(adaptive=False)
    limiter.advised(10.0, remaining, reset)
    limiter.advised(10.1, remaining, reset)
    deaf.advised(10.0, remaining, reset)

    assert waits <= limiter.wait(10.1) <= 1.1 * waits
    assert limiter.blocked_for(10.1) == 0.0
    assert deaf.wait(10.0) == 0.0


def test_silence_is_probed_by_one_at_a_time() -> None:
    limiter, now, pauses = running(), 10.0, []
    for _ in range(12):
        limiter.sent(now, 0.0, 1)
        limiter.throttled(now + 0.02, now, None, 0.0, 1)
        pauses.append(limiter.wait(now + 0.02))
        now += 0.02 + pauses[-1]

    assert limiter.slots == 1
    assert limiter.snapshot(now - 0.01).state == "probing"
    assert limiter.snapshot(now - 0.01).resumes_in == pytest.approx(0.01)
    assert pauses[2:] == sorted(pauses[2:])
    assert pauses[-1] == pytest.approx(math.sqrt(now - pauses[-1] - 10.0), rel=0.1)


def test_the_rate_known_before_a_silence_is_used_after_it() -> None:
    server = Refusing(Bucket(200, 20), 20, 30)
    result = simulate(Telling(Slow(server, 0.02), None), until=40, seed=1)

    rates = [rate for at, rate, _, _ in result.seen if at > 35]
    assert rates
    assert min(filter(None, rates)) >= 150


def test_time_that_the_caller_does_not_use_is_not_held_against_the_server() -> None:
    limiter = RateLimiter(concurrency=64)
    simulate(Telling(Bucket(200, 20), None), ids=2_000, limiters=[limiter])
    before, now = limiter.rate, 100.0
    for _ in range(30):
        now += 10.0
        limiter.sent(now, 0.5, 1)
        limiter.accepted(now + 0.001, now, 1)
    limiter.sent(now, 0.5, 1)
    limiter.throttled(now + 0.001, now, None, 0.5, 1)

    assert before is not None
    assert limiter.rate is not None
    assert limiter.rate >= 0.75 * before


def test_a_limit_that_is_lifted_is_dropped() -> None:
    server = Slow(InTurn((10, Bucket(100, 20)), (END, Free())), 0.02)

    result = simulate(Telling(server, None), until=20, seed=1)

    assert result.seen[-1][1:] == (None, 64, "free")


def test_a_limit_in_flight_is_shown_as_slots_and_not_as_a_rate() -> None:
    result = simulate(InFlight(10, 0.05, seed=1), until=40, seed=1)

    seen = [each for each in result.seen if each[0] > 20]
    assert sum(rate is None for _, rate, _, _ in seen) > 0.7 * len(seen)
    assert {state for _, _, _, state in seen} == {"limited"}
    assert {slots for _, _, slots, _ in seen} <= {8, 9, 10, 11}


def test_a_rate_found_beside_a_limit_in_flight_does_not_hold_back() -> None:
    """The server's answers become ten times as fast, and it is used as before."""
    slow, fast = (InFlight(10, seconds, spread=0) for seconds in (0.1, 0.01))

    result = simulate(InTurn((20, slow), (END, fast)), until=40, seed=1)

    assert result.per_second(28, 40) >= 0.95 * 10 / 0.0115


def test_slots_lowered_by_a_limit_on_the_rate_are_raised_again() -> None:
    """Answers take as long each time, so that the rate looks like a number."""
    server = Telling(Slow(Bucket(200, 20), 0.2), None)

    result = simulate(server, until=40, seed=1)

    assert result.per_second(10, 40) >= 0.97 * 200
    assert {slots for at, _, slots, _ in result.seen if at > 10} - set(range(41))


def test_a_limit_in_flight_is_dropped_when_it_is_lifted() -> None:
    server = InTurn((10, InFlight(10, 0.1, spread=0)), (END, Slow(Free(), 0.1)))

    result = simulate(server, until=30, seed=1)

    assert result.seen[-1][1:] == (None, 64, "free")


def test_a_cap_is_not_a_limit_of_the_server() -> None:
    limiter = running(per_second=50.0)

    assert limiter.snapshot(10.0) == ("capped", pytest.approx(49.0), 64, 0.0)


class TestNotAdaptive:
    def test_pauses_grow_until_one_is_accepted(self) -> None:
        limiter, pauses, now = running(adaptive=False), [], 10.0
        for _ in range(6):
            limiter.throttled(now, now, None, 1.0, 2)
            pauses.append(limiter.wait(now))
            now += pauses[-1]
        limiter.accepted(now, now, 1)
        limiter.throttled(now, now, None, 0.25, 2)
        pauses.append(limiter.wait(now))

        assert pauses == pytest.approx([1, 2, 4, 8, 16, 16, 0.25])
        assert limiter.rate is None

    def test_starts_with_all_slots_and_goes_on_with_few(self) -> None:
        limiter = running(adaptive=False)
        assert limiter.slots == 64

        limiter.throttled(10.0, 9.9, 1.0, 0.5, 2)

        assert limiter.slots == FIRST_SLOTS

    def test_loses_nothing(self) -> None:
        for after in (None, 1.0):
            server = Telling(Bucket(200, 20), after)
            assert simulate(server, ids=600, adaptive=False).found == 600


# --- invariants


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["sent", "accepted", "throttled", "delayed", "lost", "advised", "blocked"]
        ),
        st.floats(0.0, 3.0) | st.sampled_from([0.0, 0.001, 0.02]),
        st.floats(0.0, 5.0),
        st.floats(0.0, 1.0, exclude_max=True),
    ),
    max_size=100,
)


class History:
    """Plays events as a caller would: only attempts that were sent are answered."""

    def __init__(self, limiter: RateLimiter, start: float) -> None:
        self.limiter = limiter
        self.now = start
        self.open: list[tuple[float, int]] = []
        self.blocked_until = -math.inf

    def play(self, kind: str, pause: float, delay: float, chance: float) -> None:
        self.now += pause
        limiter = self.limiter
        if kind == "sent":
            while len(self.open) < limiter.slots and not limiter.wait(self.now):
                self.open.append((self.now, len(self.open) + 1))
                limiter.sent(self.now, chance, len(self.open))
        elif kind == "advised":
            limiter.advised(self.now, int(delay), delay)
        elif kind == "blocked":
            limiter.block(self.now, delay, chance)
            self.blocked_until = max(self.blocked_until, self.now + delay)
        elif self.open:
            self.close(kind, delay, chance)

    def close(self, kind: str, delay: float, chance: float) -> None:
        sent_at, ahead = self.open.pop(int(chance * len(self.open)))
        if kind == "accepted":
            self.limiter.accepted(self.now, sent_at, ahead)
        elif kind == "lost":
            self.limiter.lost(self.now, sent_at)
        else:
            asked = delay if kind == "delayed" else None
            self.limiter.throttled(self.now, sent_at, asked, chance, ahead)
            self.blocked_until = max(self.blocked_until, self.now + (asked or 0.0))


@settings(max_examples=150, deadline=None)
@given(
    events=EVENTS,
    start=st.sampled_from([-5.0, 0.0, 1e6]),
    concurrency=st.integers(1, 100),
    per_second=st.none() | st.floats(0.1, 1_000.0),
    adaptive=st.booleans(),
)
def test_whatever_happens(
    events: list[tuple[str, float, float, float]],
    start: float,
    concurrency: int,
    per_second: float | None,
    adaptive: bool,  # noqa: FBT001 - drawn
) -> None:
    """A wait is a number, slots keep their bounds, and a delay is obeyed."""
    limiter = RateLimiter(
        concurrency=concurrency, per_second=per_second, adaptive=adaptive
    )
    history = History(limiter, start)
    for event in events:
        history.play(*event)

        wait = limiter.wait(history.now)
        assert 0.0 <= wait <= 210.0
        assert wait >= history.blocked_until - history.now - 1e-6
        assert 1 <= limiter.slots <= concurrency
        assert limiter.rate is None or 0.0 < limiter.rate < math.inf
        assert limiter.snapshot(history.now).slots == limiter.slots


@settings(max_examples=30, deadline=None)
@given(events=EVENTS, concurrency=st.integers(1, 100))
def test_is_never_stuck(
    events: list[tuple[str, float, float, float]], concurrency: int
) -> None:
    """After any history, a server that accepts everything is soon used again."""
    limiter = RateLimiter(concurrency=concurrency)
    history = History(limiter, 0.0)
    for event in events:
        history.play(*event)
    for sent_at, _ in history.open:
        limiter.lost(history.now, sent_at)

    result = simulate(
        Free(),
        ids=300,
        trip=0.01,
        limiters=[limiter],
        starts=(history.now,),
        until=history.now + 900.0,
    )

    assert result.found == 300
