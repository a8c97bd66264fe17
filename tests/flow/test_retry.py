"""The retry policy, and the delay after each kind of answer."""

import math
from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st

from diga_async import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    DigaError,
    InternalServerError,
    InvalidResponseError,
    Limits,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RetryPolicy,
    Timeouts,
    UnprocessableEntityError,
)
from diga_async._flow.retry import (
    Progress,
    RetryBudget,
    delay_after,
    full_jitter,
    is_throttling,
)

NOW = 1000.0
LOST = APIConnectionError("lost")
BUSY = InternalServerError(status=500)
THROTTLED = RateLimitError(status=429)
PASSING = [
    LOST,
    APIConnectionError("refused", phase="connect"),
    APITimeoutError("late"),
    APIStatusError(status=408),
    APIStatusError(status=425),
    *(InternalServerError(status=s) for s in (500, 502, 503, 504, 520, 599)),
    InvalidResponseError("cut", status=200, undecodable=True),
    InvalidResponseError("another", status=200, foreign=True),
]
FINAL = [
    APIConnectionError("refused", phase="tls"),
    APIStatusError(status=302),
    APIStatusError(status=400),
    AuthenticationError(status=401),
    PermissionDeniedError(status=403, error_code="INTERNAL_SERVER_ERROR"),
    NotFoundError(status=404),
    APIStatusError(status=410),
    UnprocessableEntityError(status=422),
    InvalidResponseError("shape", status=200, problems=("$.id: missing",)),
    InvalidResponseError("odd", status=204),
    ClientClosedError("closed"),
]


def throttled(retry_after: float | None, status: int = 429) -> APIStatusError:
    kind = RateLimitError if status == 429 else InternalServerError
    return kind(status=status, retry_after=retry_after)


def delay(
    error: DigaError,
    progress: Progress,
    policy: RetryPolicy | None = None,
    *,
    chance: float = 0.5,
) -> float | None:
    return delay_after(error, progress, policy or RetryPolicy(), NOW, chance)


# --- options


def test_the_defaults_are_those_that_are_promised() -> None:
    assert Timeouts() == Timeouts(60.0, attempt=10.0, connect=5.0)
    assert RetryPolicy() == RetryPolicy(
        max_attempts=4,
        base_delay=0.05,
        throttle_delay=1.0,
        max_delay=20.0,
        max_outage=300.0,
    )
    assert Limits() == Limits(concurrency=64, per_second=None, adaptive=True)


@pytest.mark.parametrize(
    ("given_as", "taken_as"),
    [
        (5, Timeouts(total=5)),
        (0.5, Timeouts(total=0.5)),
        (Timeouts(attempt=1), Timeouts(attempt=1)),
    ],
)
def test_a_plain_number_is_the_total(
    given_as: Timeouts | float, taken_as: Timeouts
) -> None:
    assert Timeouts.of(given_as) == taken_as


ZEROS: list[Any] = [0, 0.0, -0.0]
NO_DURATIONS: list[Any] = [
    *(-1, math.nan, math.inf, -math.inf, 10**400, -(10**400)),
    *(True, False, None, "1", b"1", [1], 1j, ...),
]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Timeouts, "total"),
        (Timeouts, "attempt"),
        (Timeouts, "connect"),
        (RetryPolicy, "max_outage"),
    ],
)
def test_an_invalid_duration_is_rejected(kind: Any, name: str) -> None:
    for value in NO_DURATIONS + ZEROS:
        with pytest.raises(ConfigurationError, match=f"^{name} must be a finite"):
            kind(**{name: value})


@pytest.mark.parametrize("name", ["base_delay", "throttle_delay", "max_delay"])
def test_a_delay_may_be_zero_and_not_less(name: str) -> None:
    """A user's own tests want no pauses."""
    for value in ZEROS:
        assert getattr(RetryPolicy(**{name: value}), name) == 0
    for value in NO_DURATIONS:
        with pytest.raises(ConfigurationError, match=f"^{name} must be a finite"):
            RetryPolicy(**{name: value})


@pytest.mark.parametrize("value", [0, -1, 1.0, math.nan, True, None, "4"], ids=repr)
@pytest.mark.parametrize(
    ("kind", "name"), [(RetryPolicy, "max_attempts"), (Limits, "concurrency")]
)
def test_an_invalid_count_is_rejected(kind: Any, name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} must be a whole number"):
        kind(**{name: value})


@pytest.mark.parametrize(
    "value", [v for v in NO_DURATIONS + ZEROS if v is not None], ids=repr
)
def test_an_invalid_rate_is_rejected(value: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^per_second must be .*, or None, not "
    ):
        Limits(per_second=value)


@pytest.mark.parametrize("value", ["no", "", None, 0, 1, []], ids=repr)
def test_a_flag_must_be_a_bool(value: Any) -> None:
    """The text "no" would switch it on."""
    with pytest.raises(
        ConfigurationError, match=r"^adaptive must be True or False, not "
    ):
        Limits(adaptive=value)


def test_a_total_is_checked_in_both_forms() -> None:
    with pytest.raises(ConfigurationError, match=r"^timeouts must be .*, not str$"):
        Timeouts.of("5")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"^timeouts must be .*, not -5$"):
        Timeouts.of(-5)
    with pytest.raises(ConfigurationError, match=r"^total must be .*, not -5$"):
        Timeouts(-5)


@pytest.mark.parametrize(
    "value",
    [Timeouts(1e-9), Timeouts(1e300), Limits(concurrency=1, per_second=0.001)],
)
def test_unusual_valid_values_are_accepted(value: Any) -> None:
    assert attrs.evolve(value) == value
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        value.total = 1


# --- full jitter


@given(
    base=st.floats(1e-6, 100),
    failures=st.integers(0, 10**6),
    most=st.floats(1e-6, 1000),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_a_pause_is_drawn_up_to_a_doubling_bound(
    base: float, failures: int, most: float, chance: float
) -> None:
    bound = min(base * 2.0 ** min(failures, 60), most)
    pause = full_jitter(base, failures, most, chance)

    assert 0.0 <= pause <= bound <= most
    assert pause == chance * bound


def test_the_whole_range_is_drawn_from() -> None:
    """With half of the pause fixed, as in some libraries, clients stay in step."""
    assert full_jitter(1.0, 3, 20.0, 0.0) == 0.0
    assert full_jitter(1.0, 3, 20.0, 1.0) == 8.0


def test_jitter_applies_after_the_cap() -> None:
    assert full_jitter(1.0, 50, 20.0, 0.25) == 5.0


@pytest.mark.parametrize("error", PASSING, ids=str)
def test_pauses_after_transient_failures_double_from_50_ms(
    error: DigaError,
) -> None:
    bounds = [delay(error, Progress(attempts=n), chance=1.0) for n in (1, 2, 3)]

    assert bounds == [0.05, 0.1, 0.2]


def test_pauses_after_throttling_double_from_a_second_up_to_twenty() -> None:
    bounds = [delay(THROTTLED, Progress(throttled=n), chance=1.0) for n in range(1, 8)]

    assert bounds == [1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]


# --- what is retried


@pytest.mark.parametrize("error", PASSING, ids=str)
@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("most", [1, 2, 4])
def test_transient_failures_are_tried_max_attempts_times(
    error: DigaError, *, bulk: bool, most: int
) -> None:
    policy = RetryPolicy(max_attempts=most)
    progress = Progress(bulk=bulk)
    sent = 0
    while True:
        sent += 1
        progress.count(error)
        if delay(error, progress, policy) is None:
            break

    assert sent == most


@pytest.mark.parametrize("error", FINAL, ids=str)
@pytest.mark.parametrize("bulk", [False, True])
def test_permanent_failures_are_not_retried(error: DigaError, *, bulk: bool) -> None:
    progress = Progress(bulk=bulk)
    progress.count(error)

    assert delay(error, progress) is None


# --- throttling


@pytest.mark.parametrize(
    ("answer", "is_so"),
    [
        (throttled(None), True),
        (throttled(5.0), True),
        (throttled(0.0), True),
        (throttled(5.0, 503), True),
        (throttled(0.0, 503), True),
        (throttled(None, 503), False),
        (throttled(5.0, 502), False),
        (LOST, False),
        (object(), False),
    ],
)
def test_throttling_is_429_or_503_with_retry_after(
    answer: object, *, is_so: bool
) -> None:
    assert is_throttling(answer) is is_so


@pytest.mark.parametrize(
    ("answers", "bulk", "counts"),
    [
        # attempts, forgiven, throttled
        ([LOST, BUSY, object()], False, (3, 0, 0)),
        ([THROTTLED, THROTTLED, LOST], False, (1, 0, 2)),
        ([THROTTLED, throttled(1.0, 503), LOST], False, (2, 0, 2)),
        ([THROTTLED, throttled(1.0, 503), LOST], True, (2, 1, 2)),
    ],
)
def test_attempts_are_all_requests_except_429s(
    answers: list[object], *, bulk: bool, counts: tuple[int, int, int]
) -> None:
    progress = Progress(bulk=bulk)
    for answer in answers:
        progress.count(answer)

    assert (progress.attempts, progress.forgiven, progress.throttled) == counts


@pytest.mark.parametrize("retry_after", [None, 0.0, 30.0])
def test_with_one_attempt_a_get_stops_at_the_first_429(
    retry_after: float | None,
) -> None:
    progress = Progress(throttled=1)

    assert delay(throttled(retry_after), progress, RetryPolicy(max_attempts=1)) is None


@pytest.mark.parametrize("throttled", [1, 100])
@pytest.mark.parametrize("most", [1, 4])
def test_a_run_retries_every_throttled_id(throttled: int, most: int) -> None:
    """The limiter delays it, as it delays all other calls."""
    progress = Progress(bulk=True, throttled=throttled)

    assert delay(THROTTLED, progress, RetryPolicy(max_attempts=most)) == 0.0


def test_throttling_uses_no_attempts_of_a_run() -> None:
    progress = Progress(bulk=True)
    for _ in range(50):
        progress.count(throttled(1.0, 503))
    for _ in range(3):
        progress.count(LOST)
        assert delay(LOST, progress) is not None
    progress.count(LOST)

    assert delay(LOST, progress) is None


def test_a_503_with_retry_after_uses_attempts_of_a_get() -> None:
    busy = throttled(1.0, 503)

    assert delay(busy, Progress(attempts=3, throttled=3)) is not None
    assert delay(busy, Progress(attempts=4, throttled=4)) is None


def test_retry_after_zero_is_retried_soon() -> None:
    """Not immediately: a server that always says so would be asked without end."""
    for bulk in (False, True):
        progress = Progress(bulk=bulk, throttled=1)
        assert delay(throttled(0.0), progress, chance=1.0) == 0.05


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize(
    ("times", "pause"), [(1, 0.05), (2, 0.1), (3, 0.2), (4, 0.25), (100, 0.25)]
)
def test_pauses_after_retry_after_zero_stay_small(
    times: int, pause: float, *, bulk: bool
) -> None:
    progress = Progress(bulk=bulk, throttled=times)

    assert delay(throttled(0.0), progress, chance=1.0) == pause


@pytest.mark.parametrize("status", [429, 503])
def test_a_run_waits_up_to_max_outage(
    status: int,
) -> None:
    policy = RetryPolicy(max_outage=300.0)
    progress = Progress(bulk=True, attempts=1, throttled=1)

    assert delay(throttled(300.0, status), progress, policy) == 0.0
    assert delay(throttled(300.1, status), progress, policy) is None


# --- the deadline


@pytest.mark.parametrize(
    ("left", "expected"), [(0.0251, 0.025), (0.025, None), (0.0, None), (-1.0, None)]
)
def test_a_pause_that_ends_at_or_after_the_deadline_is_not_started(
    left: float, expected: float | None
) -> None:
    progress = Progress(attempts=1, deadline=NOW + left)

    assert delay(LOST, progress, chance=0.5) == expected


@pytest.mark.parametrize("status", [429, 503, 500, 408])
def test_a_get_does_not_wait_past_its_deadline(status: int) -> None:
    """It fails immediately, and the error says how long to wait."""
    error = throttled(30.0, status)
    kept = Progress(attempts=1, throttled=1, deadline=NOW + 31.0)
    late = Progress(attempts=1, throttled=1, deadline=NOW + 30.0)

    assert delay(error, kept) is not None
    assert delay(error, late) is None


def test_a_runs_deadline_stands_still_while_it_is_throttled() -> None:
    progress = Progress(bulk=True, throttled=1, deadline=NOW - 1.0)

    assert delay(throttled(30.0), progress) == 0.0
    assert delay(LOST, progress) is None


@pytest.mark.parametrize(
    ("status", "pause"), [(429, 0.5), (503, 0.5), (408, 0.025), (500, 0.025)]
)
def test_retry_after_is_left_to_the_rate_limiter(status: int, pause: float) -> None:
    """There it delays all calls; here it would delay one."""
    assert delay(throttled(7.0, status), Progress(attempts=1, throttled=1)) == pause


@pytest.mark.parametrize("status", [408, 425, 500, 502, 504])
def test_retry_after_does_not_count_towards_a_runs_deadline(status: int) -> None:
    """RFC 9110 section 10.2.3 leaves no status out."""
    progress = Progress(bulk=True, attempts=1, deadline=NOW + 1.0)

    assert delay(throttled(300.0, status), progress) == 0.025
    assert delay(throttled(300.1, status), progress) is None


# --- the budget


def test_the_budget_has_botocores_figures() -> None:
    """500 tokens, 14 a retry: 35 retries before the first success."""
    budget = RetryBudget()
    assert budget.left == 500

    assert [budget.spend() for _ in range(37)] == [True] * 35 + [False] * 2
    assert budget.left == 10


def test_successes_refund_tokens_up_to_the_maximum() -> None:
    budget = RetryBudget(left=0)

    budget.refund(attempts=1)
    assert budget.left == 1
    budget.refund(attempts=3)
    assert budget.left == 15
    for _ in range(1000):
        budget.refund(attempts=2)
    assert budget.left == 500


def test_a_server_that_fails_half_the_time_is_retried_for_good() -> None:
    budget = RetryBudget(left=14)
    for _ in range(1000):
        assert budget.spend()
        budget.refund(attempts=2)


@given(outcomes=st.lists(st.integers(0, 4)))
def test_the_budget_stays_within_its_bounds(outcomes: list[int]) -> None:
    budget = RetryBudget()
    for attempts in outcomes:
        if attempts:
            budget.refund(attempts)
        else:
            budget.spend()
        assert 0 <= budget.left <= 500
