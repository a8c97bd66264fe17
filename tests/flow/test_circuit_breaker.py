"""The circuit breaker: opened by failures in a row, closed by an answer."""

import pytest
from hypothesis import given, strategies as st
from simulation import chances

from diga_async._flow.circuit_breaker import (
    FAILURES_TO_OPEN,
    PROBE_SECONDS,
    CircuitBreaker,
    Failure,
    Purpose,
    Silence,
)


def closed(now: float = 0.0) -> CircuitBreaker:
    breaker = CircuitBreaker(300.0)
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed(now, 0.0)
    return breaker


def test_twenty_failures_in_a_row_open_the_breaker() -> None:
    breaker = CircuitBreaker(300.0)
    for _ in range(19):
        breaker.failed(0.0, 0.0)
    assert not breaker.is_open
    assert breaker.wait(0.0) == 0.0

    breaker.failed(0.0, 0.0)
    assert breaker.is_open


def test_any_answer_resets_the_count() -> None:
    breaker = CircuitBreaker(300.0)
    for _ in range(100):
        for _ in range(19):
            breaker.failed(0.0, 0.0)
        breaker.succeeded()

    assert not breaker.is_open


def test_at_most_one_probe_is_sent_a_second() -> None:
    breaker = closed(now=10.0)

    assert breaker.wait(10.0) == PROBE_SECONDS
    assert breaker.wait(10.25) == 0.75
    assert breaker.wait(11.0) == breaker.wait(99.0) == 0.0

    breaker.sent(11.5, 0.0)
    assert breaker.wait(11.5) == PROBE_SECONDS
    breaker.failed(12.0, 0.0)
    assert breaker.wait(12.0) == 0.5


@given(chance=st.floats(0.0, 1.0, exclude_max=True), now=st.floats(0.0, 1e6))
def test_probes_are_one_to_one_and_a_half_seconds_apart(
    chance: float, now: float
) -> None:
    """So it goes on within two seconds of recovery."""
    breaker = closed()
    breaker.sent(now, chance)

    assert 1.0 - 1e-9 <= breaker.wait(now) <= 1.5 + 1e-9


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("half", [0.25, 0.5, 1.0])
def test_probes_find_a_flapping_server(half: float, seed: int) -> None:
    """It goes down as the outage begins, and is down in every other interval."""
    random = chances(seed)
    breaker = closed(now=0.0)
    now, probes = 0.0, 0
    while probes == 0 or now // half % 2 == 0:
        now += breaker.wait(now)
        breaker.sent(now, random.random())
        probes += 1

    assert probes <= 12


def test_attempts_in_flight_do_not_postpone_the_probe() -> None:
    breaker = closed(now=10.0)
    for _ in range(30):
        breaker.failed(10.9, 0.0)

    assert breaker.wait(11.0) == 0.0


def test_an_answer_closes_the_breaker_immediately() -> None:
    breaker = closed()
    breaker.sent(1.0, 0.0)
    breaker.succeeded()

    assert not breaker.is_open
    assert breaker.wait(1.0) == 0.0


def test_a_closed_breaker_delays_nothing() -> None:
    breaker = CircuitBreaker(300.0)
    breaker.sent(0.0, 0.0)

    assert breaker.wait(0.0) == 0.0


# --- is it the server, or the ids?


def failing_with_5xx(now: float = 0.0) -> CircuitBreaker:
    breaker = CircuitBreaker(300.0)
    for _ in range(FAILURES_TO_OPEN):
        assert not breaker.failed(now, 0.0, kind=Failure.ANSWER)
    return breaker


def test_twenty_5xx_in_a_row_are_not_an_outage_before_a_control_fails() -> None:
    breaker = failing_with_5xx(now=10.0)

    assert (breaker.is_holding, breaker.is_open) == (True, False)
    assert breaker.wait(10.0) == 0.0
    assert breaker.sent(10.0, 0.0) is Purpose.CONTROL
    assert breaker.wait(10.0) == PROBE_SECONDS
    assert breaker.failed(10.1, 0.0, kind=Failure.ANSWER, purpose=Purpose.CONTROL)
    assert breaker.is_open


def test_an_answered_control_lets_everything_go_on_immediately() -> None:
    breaker = failing_with_5xx()
    breaker.sent(0.0, 0.0)

    assert not breaker.succeeded()
    assert (breaker.is_holding, breaker.wait(0.0)) == (False, 0.0)
    assert breaker.sent(0.0, 0.0) is Purpose.CALL


@pytest.mark.parametrize("kind", [Failure.ANSWER, Failure.NO_ANSWER])
def test_every_other_probe_is_a_control_while_the_server_is_reached(
    kind: Failure,
) -> None:
    breaker = CircuitBreaker(300.0)
    seen = []
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed(0.0, 0.0, kind=kind)
    for now in range(6):
        seen.append(breaker.sent(float(now), 0.0))
        breaker.failed(float(now), 0.0, purpose=seen[-1], kind=kind)

    assert seen == [Purpose.CONTROL, Purpose.PROBE] * 3


def test_no_control_is_sent_to_a_server_that_cannot_be_reached() -> None:
    breaker = closed()

    for now in range(1, 9):
        assert breaker.sent(float(now), 0.0) is Purpose.PROBE
        breaker.failed(float(now), 0.0, purpose=Purpose.PROBE)


def test_the_outage_begins_once() -> None:
    breaker = CircuitBreaker(300.0)

    begins = [breaker.failed(0.0, 0.0) for _ in range(40)]

    assert begins.count(True) == 1
    assert begins[FAILURES_TO_OPEN - 1]


def test_5xx_of_requests_under_way_do_not_make_it_an_outage() -> None:
    breaker = failing_with_5xx()
    breaker.sent(0.0, 0.0)

    assert not any(breaker.failed(0.0, 0.0, kind=Failure.ANSWER) for _ in range(60))
    assert not breaker.is_open


def test_a_single_call_that_fails_since_makes_it_an_outage() -> None:
    """A program without a run sends no control, and asks for its health as well."""
    breaker = failing_with_5xx(now=10.0)

    assert not breaker.failed(10.5, 0.0, sent=9.9, kind=Failure.ANSWER)
    assert breaker.failed(10.6, 0.0, sent=10.1, kind=Failure.ANSWER)


# --- how long a run waits for an answer


def silent(since: float, breaker: CircuitBreaker | None = None) -> Silence:
    silence = Silence(breaker or CircuitBreaker(300.0))
    silence.begin(since)
    silence.failed(since)
    return silence


@pytest.mark.parametrize(
    ("now", "hopeless"), [(5.0, False), (304.9, False), (305.0, True), (1e6, True)]
)
def test_a_run_is_hopeless_after_so_long_without_an_answer(
    now: float, *, hopeless: bool
) -> None:
    assert silent(since=5.0).is_hopeless(now) is hopeless


def test_silence_counts_from_the_first_failure_after_the_last_answer() -> None:
    breaker = CircuitBreaker(300.0)
    silence = silent(0.0, breaker)
    breaker.succeeded()
    assert not silence.is_hopeless(1e6)

    silence.failed(100.0)
    silence.failed(200.0)
    assert not silence.is_hopeless(399.9)
    assert silence.is_hopeless(400.0)


def test_a_run_without_a_key_for_too_long_is_an_outage() -> None:
    """Not even a control can be sent then."""
    breaker = CircuitBreaker(300.0)
    breaker.failed(0.0, 0.0, kind=Failure.ANSWER)
    silence = silent(0.0, breaker)
    assert not silence.is_hopeless(300.0)

    assert breaker.nothing_could_be_sent()
    assert not breaker.nothing_could_be_sent()
    assert silence.is_hopeless(300.0)


def test_an_answer_to_another_run_ends_the_silence() -> None:
    breaker = CircuitBreaker(300.0)
    silence = silent(0.0, breaker)
    breaker.succeeded()

    assert silence.left(299.0) == 300.0


def test_the_silence_of_one_run_is_not_that_of_the_next() -> None:
    breaker = CircuitBreaker(300.0)
    old = silent(0.0, breaker)
    assert old.is_hopeless(300.0)

    new = silent(5_000.0, breaker)
    assert not new.is_hopeless(5_299.9)
    assert new.is_hopeless(5_300.0)


def test_time_without_a_call_under_way_does_not_count() -> None:
    silence = silent(since=10.0)
    silence.end(12.0)
    silence.begin(5_000.0)
    silence.failed(5_001.0)

    assert not silence.is_hopeless(5_297.9)
    assert silence.is_hopeless(5_298.0)


def test_a_single_call_under_way_counts_as_trying() -> None:
    silence = silent(since=1.0)
    silence.begin(100.0)
    silence.end(101.0)
    silence.begin(200.0)

    assert silence.is_hopeless(301.0)


def test_a_run_whose_failures_are_answers_sends_a_control_before_it_ends() -> None:
    """Few concurrent calls never make twenty failures in a row."""
    breaker = CircuitBreaker(300.0)
    silence = silent(0.0, breaker)
    breaker.failed(300.0, 0.0, kind=Failure.ANSWER)
    silence.failed(300.0)

    assert not silence.is_hopeless(300.0)
    assert (breaker.wait(300.0), breaker.sent(300.0, 0.0)) == (0.0, Purpose.CONTROL)

    breaker.failed(301.0, 0.0, kind=Failure.ANSWER, purpose=Purpose.CONTROL)
    assert silence.is_hopeless(301.0)
