"""What a server's headers say about waiting."""

import math

import pytest
from fakes import response
from hypothesis import given, strategies as st
from multidict import CIMultiDict

from diga_async._api.headers import MAX_RETRY_AFTER, rate_limit, retry_after
from diga_async._api.messages import Response

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
def test_retry_after_is_seconds_a_date_or_nothing(value, date, seconds):
    assert retry_after(value, date) == seconds


@given(st.text(), st.text())
def test_retry_after_is_always_a_sound_number_or_nothing(value, date):
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


def test_a_header_that_contradicts_itself_says_nothing():
    headers = CIMultiDict([("RateLimit-Remaining", "0"), ("RateLimit-Remaining", "9")])
    headers["RateLimit-Reset"] = "30"

    assert rate_limit(Response(200, headers, b"")) is None


def test_there_is_no_infinite_wait():
    assert math.isfinite(MAX_RETRY_AFTER)
