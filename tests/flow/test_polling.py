"""When polls begin."""

import pytest
from hypothesis import given, strategies as st

from diga_async._flow.polling import next_start

seconds = st.floats(0.1, 10_000.0)


@pytest.mark.parametrize(
    ("took", "chance", "start"),
    [
        (0.0, 0.5, 30.0),
        (29.0, 0.5, 30.0),
        (30.0, 0.5, 30.0),
        (31.0, 0.5, 60.0),
        (95.0, 0.5, 120.0),
        (1.0, 0.0, 27.0),
        (28.0, 0.0, 57.0),
        (1.0, 1.0, 33.0),
        (32.0, 1.0, 33.0),
    ],
)
def test_the_next_poll_begins_at_the_next_multiple(took, chance, start):
    assert next_start(0.0, took, 30.0, chance) == pytest.approx(start)


@given(begun=seconds, took=seconds, every=seconds, chance=st.floats(0.0, 1.0))
def test_the_next_poll_is_to_come_and_near_a_multiple(begun, took, every, chance):
    now = begun + took
    start = next_start(begun, now, every, chance)

    assert start >= now
    assert start - now <= every * 1.000001 + (0.2 * every if took < every else 0.0)
    off = (start - begun) % every
    assert min(off, every - off) <= 0.1 * every + 1e-6 * start


@pytest.mark.parametrize("every", [5e-324, 1e-9, 1.7e308])
def test_any_period_that_is_allowed_gives_a_time(every):
    assert next_start(1000.0, 1001.0, every, 1.0) >= 1001.0
