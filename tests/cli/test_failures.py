"""The failed ids of a fetch, and the advice that fits."""

from uuid import UUID

import pytest

from diga_async import (
    APIConnectionError,
    Failed,
    InvalidPhoneIdError,
    UnprocessableEntityError,
)
from diga_async._cli.failures import Failures

ID = UUID("3c90c3cc-0d44-4b50-8888-8dd25736052a")
MALFORMED = Failed("no", InvalidPhoneIdError("no UUID"), 0, 0.0)
PASSING = Failed(ID, APIConnectionError("no answer"), 4, 1.0)
LASTING = Failed(ID, UnprocessableEntityError(status=422), 1, 0.1)
RETRY = "diga phone fetch ids.txt -o OUT --retry-failed"


@pytest.mark.parametrize(
    ("outcomes", "advice"),
    [
        ([], None),
        ([PASSING, LASTING], f"to look up the failed ids again: {RETRY}"),
        ([LASTING], "another attempt would fail for the same reason"),
        ([MALFORMED], f"1 is not a phone id; correct it in ids.txt, then: {RETRY}"),
        (
            [MALFORMED, MALFORMED, PASSING],
            f"2 are not phone ids; correct them in ids.txt, then: {RETRY}",
        ),
    ],
)
def test_the_advice_fits_what_failed(outcomes, advice):
    failures = Failures()
    for outcome in outcomes:
        failures.add(outcome)
    assert failures.count == len(outcomes)
    assert failures.advice("ids.txt", RETRY) == advice


@pytest.mark.parametrize(
    ("outcome", "advice"),
    [
        (MALFORMED, "1 is not a phone id; correct it in ids.txt"),
        (PASSING, None),
    ],
)
def test_without_a_file_there_is_nothing_to_retry(outcome, advice):
    failures = Failures()
    failures.add(outcome)
    assert failures.advice("ids.txt", None) == advice


def test_the_first_three_are_named_with_their_reasons():
    failures = Failures()
    for outcome in (MALFORMED, PASSING, LASTING):
        failures.add(outcome)
    named = ["failed: 'no': no UUID", f"failed: {ID}: no answer", f"failed: {ID}: 422"]
    assert list(failures.lines()) == named
    failures.add(LASTING)
    failures.add(LASTING)
    assert list(failures.lines()) == [*named, "failed: 2 other ids"]
