"""Requests in flight on a small machine: fewer after a shortage, then more."""

import math

import pytest
from hypothesis import given, strategies as st

from diga_async._flow.local_limit import (
    GROW_SECONDS,
    GROW_SECONDS_MOST,
    PAUSE,
    PAUSE_MOST,
    SPARE,
    LocalLimit,
)


def test_without_a_shortage_there_is_no_limit():
    limit = LocalLimit(math.inf)
    limit.succeeded(5.0)

    assert (limit.slots, limit.wait(5.0)) == (math.inf, 0.0)


def test_a_burst_of_shortages_leaves_resources_for_other_code():
    """Of 64 requests 34 get no descriptor, one after the other."""
    limit = LocalLimit(64)
    for in_flight in range(64, 30, -1):
        limit.fell_short(1.0, in_flight)

    assert limit.slots == 30 - SPARE
    assert limit.wait(1.0) == 0.0  # others end, and free slots


def test_only_the_first_shortage_is_news():
    limit = LocalLimit(64)
    news = [limit.fell_short(1.0 + n, 10) for n in range(3)]

    assert news == [True, False, False]


def test_where_nothing_else_is_in_flight_the_pauses_double():
    limit = LocalLimit(64)
    now, pauses = 0.0, []
    for _ in range(8):
        limit.fell_short(now, 1)
        pauses.append(limit.wait(now))
        now += pauses[-1]

    assert pauses[:3] == pytest.approx([PAUSE, 2 * PAUSE, 4 * PAUSE])
    assert pauses[-1] == pytest.approx(PAUSE_MOST)
    limit.succeeded(now)
    limit.fell_short(now, 1)
    assert limit.wait(now) == pytest.approx(PAUSE)


def test_the_limit_grows_step_by_step_to_its_old_value():
    limit = LocalLimit(16)
    limit.fell_short(0.0, 4)
    now, sizes = 0.0, []
    while limit.slots < 16:
        now += GROW_SECONDS / 2.0
        limit.succeeded(now)
        sizes.append(limit.slots)

    assert sizes[:4] == [1, 2, 2, 3]
    assert now >= 10.0
    assert limit.slots == 16


def test_a_step_that_fails_is_tried_again_later_each_time():
    limit = LocalLimit(64)
    limit.fell_short(0.0, 10)
    now, waits = 0.0, []
    for _ in range(9):
        before, begun = limit.slots, now
        while limit.slots == before:
            now += 0.5
            limit.succeeded(now)
        waits.append(now - begun)
        limit.fell_short(now, 10)

    assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == GROW_SECONDS_MOST


@given(
    st.lists(st.tuples(st.floats(0.0, 100.0), st.integers(1, 64), st.booleans())),
    st.integers(1, 64),
)
def test_there_is_always_a_slot_and_a_pause_that_ends(steps, most):
    limit, now = LocalLimit(most), 0.0
    for seconds, in_flight, short in steps:
        now += seconds
        if short:
            limit.fell_short(now, in_flight)
        else:
            limit.succeeded(now)
        assert 1 <= limit.slots <= most
        assert 0.0 <= limit.wait(now) <= PAUSE_MOST
