"""The sandbox's rate limit."""

from diga_async.sandbox._bucket import LeakyBucket


def admitted(
    bucket: LeakyBucket, *moments: float, per_second: float = 10, burst: int = 0
) -> list[bool]:
    return [bucket.admits(at, per_second=per_second, burst=burst) for at in moments]


def test_the_first_request_always_passes() -> None:
    assert admitted(LeakyBucket(), 1234.5, per_second=0.001) == [True]


def test_without_a_burst_requests_closer_than_the_rate_are_refused() -> None:
    assert admitted(LeakyBucket(), 0, 0.05, 0.125, 0.25) == [True, False, True, True]


def test_a_burst_may_come_at_once() -> None:
    assert admitted(LeakyBucket(), 0, 0, 0, 0, burst=2) == [True, True, True, False]


def test_a_refused_request_does_not_fill_the_bucket() -> None:
    bucket = LeakyBucket()

    admitted(bucket, 0, 0, 0, 0, 0, burst=1)

    assert admitted(bucket, 0.125, 0.125, burst=1) == [True, False]


def test_a_pause_saves_up_no_more_than_the_burst() -> None:
    bucket = LeakyBucket()
    admitted(bucket, 0, burst=1)

    assert admitted(bucket, 1000, 1000, 1000, burst=1) == [True, True, False]


def test_over_time_the_rate_is_kept() -> None:
    bucket = LeakyBucket()
    passed = admitted(bucket, *(at / 1000 for at in range(10_000)), burst=5)

    assert sum(passed) == 105


def test_the_rate_can_change_on_the_way() -> None:
    bucket = LeakyBucket()
    admitted(bucket, 0)

    assert admitted(bucket, 0.05, per_second=100) == [True]
