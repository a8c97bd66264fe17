"""Which answers end a run."""

import pytest

from diga_async import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    ClientClosedError,
    DigaError,
    InternalServerError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)
from diga_async._bulk.early_end import ends_run, shows_permission

LOST = APIConnectionError("lost")
BUSY = InternalServerError(status=500)


def ends(
    error: DigaError, *, is_permitted: bool = True, is_hopeless: bool = False
) -> bool:
    return ends_run(
        error,
        is_permitted=is_permitted,
        is_hopeless=is_hopeless,
        most_seconds=300.0,
    )


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError(status=401),
        ClientClosedError("closed"),
        APIStatusError(status=407),
        RateLimitError(status=429),
        InternalServerError(status=503, retry_after=301.0),
        InternalServerError(status=500, retry_after=301.0),
    ],
)
def test_an_error_that_concerns_every_item_ends_a_run(error: DigaError) -> None:
    assert ends(error)


@pytest.mark.parametrize(
    "error",
    [
        LOST,
        BUSY,
        InternalServerError(status=500, retry_after=299.0),
        NotFoundError(status=404),
        NotFoundError(status=404, retry_after=3600.0),
        APIStatusError(status=400),
        InvalidResponseError(status=200),
        PermissionDeniedError(status=403),
    ],
)
def test_an_error_that_concerns_one_item_does_not_end_a_run(error: DigaError) -> None:
    assert not ends(error)


def test_a_403_before_any_permitted_answer_ends_a_run() -> None:
    assert ends(PermissionDeniedError(status=403), is_permitted=False)


@pytest.mark.parametrize(
    ("error", "is_end"),
    [(LOST, True), (BUSY, True), (NotFoundError(status=404), False)],
)
def test_a_silence_that_is_too_long_ends_a_run(
    error: DigaError, *, is_end: bool
) -> None:
    assert ends(error, is_hopeless=True) is is_end


@pytest.mark.parametrize(
    ("answer", "shows"),
    [
        (object(), True),
        (NotFoundError(status=404), True),
        (InvalidResponseError(status=200), True),
        (InvalidResponseError(status=204), False),
        (PermissionDeniedError(status=403), False),
        (BUSY, False),
    ],
)
def test_some_answers_show_that_the_key_may_read(
    answer: object, *, shows: bool
) -> None:
    assert shows_permission(answer) is shows
