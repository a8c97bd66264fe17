"""What the headers of a response say about waiting."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from fakes import response
from hypothesis import example, given, strategies as st
from multidict import CIMultiDict

from diga_async._api.headers import MAX_RETRY_AFTER, rate_limit, retry_after
from diga_async._api.messages import Response, Secret
from diga_async._api.problems import problem_of

NOW = "Mon, 23 Nov 2026 10:00:00 GMT"
SOON = "Mon, 23 Nov 2026 10:00:30 GMT"
LONG_AGO = "Mon, 23 Nov 2020 10:00:00 GMT"


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("0", None, 0.0),
        ("120", None, 120.0),
        (" 7 ", None, 7.0),
        ("1.5", None, 1.5),
        (SOON, NOW, 30.0),
        (LONG_AGO, NOW, 0.0),
        (SOON, None, None),
        (SOON, "yesterday", None),
        ("soon", NOW, None),
        ("nan", NOW, None),
        ("inf", NOW, None),
        ("-1", NOW, None),
        ("+1", NOW, None),
        ("1e30", NOW, None),
        ("9" * 12, NOW, None),
        ("9" * 400, NOW, None),
        ("", NOW, None),
        ("\uff11\uff12", NOW, None),
        ("3, 5", NOW, None),
        (None, NOW, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_ignored(value, date, seconds):
    assert retry_after(value, date) == seconds


@given(st.text(), st.text())
def test_retry_after_is_always_finite_or_none(value, date):
    seconds = retry_after(value, date)

    assert seconds is None or 0.0 <= seconds <= MAX_RETRY_AFTER


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"RateLimit_Remaining": "0", "RateLimit_Reset": "30"}, (0, 30.0)),
        ({"X_RateLimit_Remaining": "7", "X_RateLimit_Reset": "2.5"}, (7, 2.5)),
        ({"x_ratelimit_remaining": "7", "x_ratelimit_reset": "2"}, (7, 2.0)),
        ({"RateLimit": '"default";r=50;t=30'}, (50, 30.0)),
        ({"RateLimit": '"default"; r=0; t=7'}, (0, 7.0)),
        ({"RateLimit": '"default";r=50'}, None),
        ({"RateLimit": "garbage"}, None),
        ({"RateLimit": '"default";r=0;t=99999'}, None),
        ({"RateLimit_Remaining": "0", "RateLimit_Reset": "301"}, None),
        ({"RateLimit_Remaining": "0"}, None),
        ({"RateLimit_Remaining": "-1", "RateLimit_Reset": "30"}, None),
        ({"RateLimit_Remaining": "0", "RateLimit_Reset": "nan"}, None),
        # 10:00:30 as seconds since 1970, at 10:00:00
        (
            {
                "X_RateLimit_Remaining": "0",
                "X_RateLimit_Reset": "1795428030",
                "Date": NOW,
            },
            (0, 30.0),
        ),
        (
            {
                "X_RateLimit_Remaining": "0",
                "X_RateLimit_Reset": "1000000001",
                "Date": NOW,
            },
            (0, 0.0),
        ),
        ({"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "1795428030"}, None),
    ],
)
def test_rate_limits_are_read_in_every_spelling(headers, expected):
    assert rate_limit(response(**headers)) == expected


def test_a_repeated_header_is_ignored():
    headers = CIMultiDict([("RateLimit-Remaining", "0"), ("RateLimit-Remaining", "9")])
    headers["RateLimit-Reset"] = "30"

    assert rate_limit(Response(200, headers, b"")) is None


def test_an_infinite_wait_is_ignored():
    assert math.isfinite(MAX_RETRY_AFTER)


MOMENT = datetime(2026, 7, 22, 10, tzinfo=UTC)
DATE = format_datetime(MOMENT, usegmt=True)


def date_in(seconds: float) -> str:
    return format_datetime(MOMENT + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("1", 1.0),
        (" 120 ", 120.0),
        ("1.5", 1.5),
        ("3600", 3600.0),
        ("007", 7.0),
        (str(int(MAX_RETRY_AFTER)), MAX_RETRY_AFTER),
        (date_in(30), 30.0),
        (date_in(0), 1.0),
        (date_in(-30), 0.0),
        ("Wednesday, 22-Jul-26 10:00:05 GMT", 5.0),
        ("Wed, 22 Jul 2026 12:00:05 +0200", 5.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float) -> None:
    assert retry_after(value, DATE) == seconds
    for status in (429, 503):
        refused = response(status, b"", Retry_After=value, Date=DATE)
        assert problem_of(refused, Secret("sk-1")).retry_after == seconds


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "nan", "NaN", "inf", "-inf", "Infinity", "-1", "-0", "+1"),
        *("1e30", "1e3", "0x10", "1_000", "1,5", "1s", "1 2", ".5", "1.", "soon"),
        *("9" * 12, "9" * 400, "\u0661", "\uff11", "\x00", "None", "1;2"),
        str(int(MAX_RETRY_AFTER) + 1),
        "Wed, 22 Jul 2126 10:00:00 GMT",
        "Wed, 99 Jul 2026 10:00:00 GMT",
        "Wed, 22 Jul 2026 10:00:00 -0000",
        "22 Jul",
        "2026-07-22T10:00:00Z",
    ],
)
def test_any_other_retry_after_is_ignored(value: str) -> None:
    assert retry_after(value, DATE) is None


@pytest.mark.parametrize("date", [None, "", "yesterday", "1"])
def test_a_date_is_compared_with_the_responses_own_date(
    date: str | None,
) -> None:
    """No clock of ours has to agree with the server's."""
    assert retry_after(date_in(30), date) is None
    assert retry_after("30", date) == 30.0
    assert retry_after(None, date) is None


HEADER_TEXT = st.text(max_size=40) | st.from_regex(
    r"[A-Za-z]{3},? ?[0-9]{1,9} [A-Za-z]{3} [0-9]{1,12} [0-9:.]{1,12} ?[+-]?[0-9]{0,9}",
    fullmatch=True,
)


@given(value=HEADER_TEXT, date=st.none() | HEADER_TEXT | st.just(DATE))
@example("Mon, 1 Jan 0001 00:00:00 +2359", DATE)
@example("Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 1 Jan 0001 00:00:00 +2359")
@example("Wed, 22 Jul 2026 10:00:00 +9999999999", DATE)
def test_any_header_text_is_read_without_an_exception(
    value: str, date: str | None
) -> None:
    seconds = retry_after(value, date)

    assert seconds is None or 0.0 <= seconds <= MAX_RETRY_AFTER
