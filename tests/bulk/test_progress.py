"""How fast a run is, over the last seconds."""

import pytest
from hypothesis import given, strategies as st

from diga_async._bulk.progress import RATE_SECONDS, RateMeter


def meter(*moments: float) -> RateMeter:
    made = RateMeter()
    for moment in moments:
        made.count(moment)
    return made


def test_the_rate_of_nothing_is_zero() -> None:
    assert meter().rate(0.0) == 0.0
    assert meter(1.0).rate(1.0) == 0.0


def test_a_steady_rate_is_measured_within_seconds() -> None:
    steady = RateMeter()
    for tick in range(1, 2001):
        now = tick / 100
        steady.count(now)
        if now > 1.0:
            assert steady.rate(now) == pytest.approx(100.0, rel=0.03)


def test_old_events_do_not_count() -> None:
    spurt = meter(*[0.0] * 1000, 1.0)

    assert spurt.rate(2.0) == 500.5
    assert spurt.rate(RATE_SECONDS) == pytest.approx(200.2)
    assert spurt.rate(RATE_SECONDS + 0.5) == pytest.approx(1 / 4.5)
    assert spurt.rate(RATE_SECONDS + 1.5) == 0.0


@given(gaps=st.lists(st.floats(0.0, 10.0), max_size=200))
def test_it_stays_small_and_never_negative(gaps: list[float]) -> None:
    made, now = RateMeter(), 0.0
    for gap in gaps:
        now += gap
        made.count(now)
        assert made.rate(now + 0.1) >= 0.0

    assert len(made._slices) <= RATE_SECONDS / 0.5 + 1
