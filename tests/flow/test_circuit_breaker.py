"""Whether anything comes back at all: a gate that failures in a row close."""

import pytest
from hypothesis import given, strategies as st
from simulation import chances

from diga_async._flow.circuit_breaker import (
    FAILURES_TO_OPEN,
    PROBE_SECONDS,
    CircuitBreaker,
)


def closed(now: float = 0.0) -> CircuitBreaker:
    breaker = CircuitBreaker(300.0)
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed(now, 0.0)
    return breaker


def test_it_is_open_until_twenty_attempts_fail_in_a_row() -> None:
    breaker = CircuitBreaker(300.0)
    for _ in range(19):
        breaker.failed(0.0, 0.0)
    assert not breaker.is_open
    assert breaker.wait(0.0) == 0.0

    breaker.failed(0.0, 0.0)
    assert breaker.is_open


def test_any_answer_starts_the_count_anew() -> None:
    breaker = CircuitBreaker(300.0)
    for _ in range(100):
        for _ in range(19):
            breaker.failed(0.0, 0.0)
        breaker.succeeded()

    assert not breaker.is_open


def test_at_most_one_attempt_a_second_goes_through_to_see() -> None:
    breaker = closed(now=10.0)

    assert breaker.wait(10.0) == PROBE_SECONDS
    assert breaker.wait(10.25) == 0.75
    assert breaker.wait(11.0) == breaker.wait(99.0) == 0.0

    breaker.sent(11.5, 0.0)
    assert breaker.wait(11.5) == PROBE_SECONDS
    breaker.failed(12.0, 0.0)
    assert breaker.wait(12.0) == 0.5


@given(chance=st.floats(0.0, 1.0, exclude_max=True), now=st.floats(0.0, 1e6))
def test_between_two_probes_are_one_to_one_and_a_half_seconds(
    chance: float, now: float
) -> None:
    """So it goes on within two seconds of recovery."""
    breaker = closed()
    breaker.sent(now, chance)

    assert 1.0 - 1e-9 <= breaker.wait(now) <= 1.5 + 1e-9


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("half", [0.25, 0.5, 1.0])
def test_a_server_that_comes_and_goes_is_met_while_it_is_there(
    half: float, seed: int
) -> None:
    """It goes down as the outage begins, and is down every other so many seconds."""
    random = chances(seed)
    breaker = closed(now=0.0)
    now, probes = 0.0, 0
    while probes == 0 or now // half % 2 == 0:
        now += breaker.wait(now)
        breaker.sent(now, random.random())
        probes += 1

    assert probes <= 12


def test_attempts_that_were_on_their_way_do_not_put_the_probe_off() -> None:
    breaker = closed(now=10.0)
    for _ in range(30):
        breaker.failed(10.9, 0.0)

    assert breaker.wait(11.0) == 0.0


def test_an_answer_opens_it_at_once() -> None:
    breaker = closed()
    breaker.sent(1.0, 0.0)
    breaker.succeeded()

    assert not breaker.is_open
    assert breaker.wait(1.0) == 0.0
    assert not breaker.is_hopeless(1e6)


def test_while_it_is_open_attempts_need_not_wait_for_each_other() -> None:
    breaker = CircuitBreaker(300.0)
    breaker.sent(0.0, 0.0)

    assert breaker.wait(0.0) == 0.0


@pytest.mark.parametrize(
    ("now", "hopeless"), [(5.0, False), (304.9, False), (305.0, True), (1e6, True)]
)
def test_it_is_hopeless_when_nothing_came_back_for_so_long(
    now: float, *, hopeless: bool
) -> None:
    assert closed(now=5.0).is_hopeless(now) is hopeless


def test_the_time_counts_from_the_first_failure_of_the_row() -> None:
    breaker = CircuitBreaker(300.0)
    breaker.failed(0.0, 0.0)
    breaker.succeeded()
    breaker.failed(100.0, 0.0)
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed(200.0, 0.0)

    assert not breaker.is_hopeless(399.9)
    assert breaker.is_hopeless(400.0)


def test_few_failures_are_as_hopeless_as_many() -> None:
    """One lookup at a time fails rarely, and nothing comes back all the same."""
    breaker = CircuitBreaker(3.0)
    breaker.begin(0.0)
    breaker.failed(1.0, 0.0)
    breaker.failed(3.9, 0.0)
    assert not breaker.is_hopeless(3.9)

    breaker.failed(4.0, 0.0)
    assert breaker.is_hopeless(4.0)
    assert not breaker.is_open


def test_time_in_which_no_run_tries_does_not_count() -> None:
    breaker = CircuitBreaker(300.0)
    breaker.begin(0.0)
    breaker.failed(10.0, 0.0)
    breaker.end(12.0)
    breaker.begin(5_000.0)
    breaker.failed(5_001.0, 0.0)
    assert not breaker.is_hopeless(5_297.9)
    assert breaker.is_hopeless(5_298.0)


def test_the_failure_of_a_single_lookup_long_ago_does_not_count() -> None:
    breaker = CircuitBreaker(300.0)
    breaker.failed(1_000.0, 0.0)
    breaker.begin(5_000.0)
    breaker.failed(5_001.0, 0.0)

    assert not breaker.is_hopeless(5_299.9)
    assert breaker.is_hopeless(5_300.0)


def test_one_lookup_under_way_is_enough_to_be_trying() -> None:
    breaker = CircuitBreaker(300.0)
    breaker.begin(0.0)
    breaker.failed(1.0, 0.0)
    breaker.begin(100.0)
    breaker.end(101.0)
    breaker.begin(200.0)

    assert breaker.is_hopeless(301.0)
