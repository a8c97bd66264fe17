"""The log follows the rate limiter in a few lines a minute."""

from itertools import pairwise

from simulation import Bucket, Free, InTurn, Telling, simulate

from diga_async._flow.limiter_log import SPACING, LimiterLog
from diga_async._flow.rate_limiter import RateLimiter, Snapshot


def limited(rate: float | None, slots: int = 64) -> Snapshot:
    return Snapshot("limited", rate, slots, 0.0)


def cooling_down(seconds: float) -> Snapshot:
    return Snapshot("cooling_down", 100.0, 64, seconds)


FREE = Snapshot("free", None, 64, 0.0)


def test_a_client_without_a_limit_writes_nothing() -> None:
    log = LimiterLog()

    assert not log.is_news(0.0, FREE)
    assert not log.is_news(1.0, Snapshot("capped", 49.0, 64, 0.0))


def test_a_limit_is_reported_when_it_is_found_and_when_it_changes() -> None:
    log = LimiterLog()
    seen = [
        (0.0, limited(100.0)),
        (30.0, limited(105.0)),
        (60.0, limited(200.0)),
        (90.0, limited(None, 10)),
        (120.0, FREE),
    ]

    assert [log.is_news(*each) for each in seen] == [True, False, True, True, True]


def test_changes_that_follow_fast_wait_until_they_last() -> None:
    log = LimiterLog()
    assert log.is_news(0.0, limited(100.0))

    assert not log.is_news(5.0, limited(10.0))
    assert not log.is_news(10.0, limited(100.0))
    assert not log.is_news(SPACING, limited(100.0))
    assert log.is_news(SPACING + 1.0, limited(10.0))


def test_a_long_cool_down_is_reported_immediately_and_a_short_one_never() -> None:
    log = LimiterLog()
    assert log.is_news(0.0, limited(100.0))

    assert not log.is_news(1.0, cooling_down(1.0))
    assert log.is_news(2.0, cooling_down(60.0))
    assert not log.is_news(2.1, cooling_down(60.0))
    assert log.is_news(63.0, limited(100.0))


def test_a_limit_that_changes_all_the_time_is_a_few_lines_a_minute() -> None:
    parts = [(3.0 * k, Bucket(500 if k % 2 else 20, 5)) for k in range(1, 100)]
    server = Telling(InTurn(*parts, (1e9, Free())), 1.0)
    limiter, log, lines = RateLimiter(concurrency=64), LimiterLog(), []

    result = simulate(server, until=290.0, limiters=[limiter], seed=1)
    for at, rate, slots, state in result.seen:
        snapshot = Snapshot(state, rate, slots, 1.0)  # type: ignore[arg-type]
        if log.is_news(at, snapshot):
            lines.append(at)

    assert 2 <= len(lines) <= 15
    assert all(b - a >= SPACING for a, b in pairwise(lines))
