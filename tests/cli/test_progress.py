"""Where a run stands, in lines."""

from collections import Counter

import attrs
import pytest

from diga_async import (
    APIConnectionError,
    ClientStats,
    InternalServerError,
    LookupStats,
)
from diga_async._cli.progress import (
    Bulletin,
    ListStanding,
    Standing,
    server_limit,
    summary,
)

STATS = LookupStats(
    found=1200,
    missing=30,
    failed=4,
    retries=7,
    throttled=9,
    in_flight=2,
    elapsed=10.0,
    rate=100.4,
    remaining_seconds=None,
)
STANDING = Standing(
    outcomes=Counter(found=1200, missing=30, failed=4),
    stats=STATS,
    settled=1234,
    total=5000,
    outage=False,
)
SILENT = ClientStats(
    requests=0,
    found=0,
    missing=0,
    listed=0,
    throttled=0,
    rejected=0,
    server_errors=0,
    invalid=0,
    lost=0,
    retries=0,
    in_flight=2,
    limiter="free",
    rate=None,
    slots=64,
    resumes_in=0.0,
    outage=False,
    last_error=None,
)


def bulletin(*, periodic=False):
    ends = "the run ends after 300 s of that, Ctrl-C ends it now"
    return Bulletin("https://diga.example", ends, 0.0, periodic=periodic)


def lines(bulletin, now, client=SILENT, **changes):
    standing = attrs.evolve(STANDING, **changes)
    return list(bulletin.lines(now, client, standing.line))


def test_a_line_comes_every_thirty_seconds():
    periodic = bulletin(periodic=True)
    busy = [attrs.evolve(SILENT, found=n) for n in range(200)]
    due = [now for now in range(200) if lines(periodic, now, busy[now])]
    assert due == [30, 60, 90, 120, 150, 180]


def test_lines_that_were_missed_are_not_caught_up_on():
    """The loop may be blocked, or the machine suspended."""
    periodic, busy = bulletin(periodic=True), attrs.evolve(SILENT, found=1)
    assert len(lines(periodic, 100.0, busy)) == 1
    assert lines(periodic, 119.0, attrs.evolve(busy, found=2)) == []
    assert len(lines(periodic, 120.0, attrs.evolve(busy, found=3))) == 1


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {},
            (
                "1,234 of 5,000: 1,200 found, 30 missing, 4 failed; 100 a second, "
                "9 throttled, 0:00:38 left"
            ),
        ),
        (
            {"total": None, "stats": attrs.evolve(STATS, throttled=0)},
            "1,234: 1,200 found, 30 missing, 4 failed; 100 a second",
        ),
    ],
)
def test_the_line_says_where_the_run_stands(changes, line):
    periodic = bulletin(periodic=True)
    assert lines(periodic, 30.0, attrs.evolve(SILENT, found=1), **changes) == [line]


@pytest.mark.parametrize(
    ("limit", "words"),
    [(197.6, "to 198/s, "), (4.26, "to 4.3/s, "), (None, "9 throttled, ")],
)
def test_the_line_says_what_the_server_throttles_to(limit, words):
    standing = attrs.evolve(STANDING, limit=limit)
    assert words in standing.line()
    assert ("throttled by the server" in standing.line()) == (limit is not None)


@pytest.mark.parametrize(
    ("limiter", "rate", "limit"),
    [
        ("free", None, None),
        ("capped", 50.0, None),
        ("limited", 197.6, 197.6),
        ("limited", None, None),
        ("probing", 1.0, None),
        ("cooling_down", 90.0, None),
    ],
)
def test_the_users_own_cap_is_not_throttling(limiter, rate, limit):
    client = attrs.evolve(SILENT, limiter=limiter, rate=rate)
    assert server_limit(client) == limit


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "1,250 phones, page 13 of 40"),
        ({"total_pages": None, "phones": 1}, "1 phone, page 13"),
        ({"throttled": 3}, "1,250 phones, page 13 of 40, 3 throttled"),
        (
            {"throttled": 3, "limit": 2.0},
            "1,250 phones, page 13 of 40, throttled by the server to 2.0/s",
        ),
    ],
)
def test_the_line_of_a_listing_has_its_pages(changes, line):
    standing = ListStanding(
        phones=1250, pages=13, total_pages=40, throttled=0, outage=False
    )
    assert attrs.evolve(standing, **changes).line() == line


def test_a_silent_server_is_mentioned_once_within_five_seconds():
    run = bulletin()
    assert lines(run, 3.9) == []
    (line,) = lines(run, 4.0)
    for words in ("no answer from https://diga.example", "4 s", "300 s", "Ctrl-C"):
        assert words in line
    assert lines(run, 200.0) == []


REFUSED = APIConnectionError(
    "connection refused", phase="connect", host="diga.example", port=443, errno=111
)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (REFUSED, "connection refused (errno 111)"),
        (
            attrs.evolve(REFUSED, proxy="proxy.corp:3128"),
            (
                "could not connect to diga.example:443 through proxy.corp:3128: "
                "connection refused (errno 111)"
            ),
        ),
        (InternalServerError(status=503, message="down"), "503: down"),
    ],
)
def test_the_line_about_a_silent_server_has_the_reason(error, reason):
    failing = attrs.evolve(SILENT, lost=1, last_error=error)
    (line,) = lines(bulletin(), 4.0, failing)
    assert f" from https://diga.example for 4 s: {reason}; the run ends" in line


def test_a_reason_that_is_known_later_is_told_once():
    """A server that accepts and says nothing fails at the end of an attempt."""
    run, failed = bulletin(), attrs.evolve(SILENT, last_error=REFUSED)
    (line,) = lines(run, 4.0)
    assert "for 4 s; the run ends" in line
    assert lines(run, 10.0, failed) == [
        "still no answer from https://diga.example: connection refused (errno 111)"
    ]
    assert lines(run, 11.0, failed) == []


def test_a_server_that_answers_again_is_mentioned_once():
    run, answered = bulletin(), attrs.evolve(SILENT, found=1)
    lines(run, 4.0)
    assert lines(run, 9.0, answered) == ["https://diga.example answers again"]
    assert lines(run, 10.0, answered) == []
    assert lines(run, 13.0, answered) != []


def test_a_server_with_errors_only_differs_from_a_silent_one():
    (line,) = lines(bulletin(), 4.0, attrs.evolve(SILENT, server_errors=3))
    assert line.startswith("only server errors (5xx) from https://diga.example")


@pytest.mark.parametrize(
    "answer", ["found", "missing", "listed", "throttled", "rejected", "invalid"]
)
def test_any_answer_ends_the_silence(answer):
    run = bulletin()
    assert lines(run, 3.0, attrs.evolve(SILENT, **{answer: 1})) == []
    assert lines(run, 6.0, attrs.evolve(SILENT, **{answer: 1})) == []


def test_silence_starts_with_a_request():
    """Ids may come slowly, from a person or another program."""
    run = bulletin()
    assert lines(run, 100.0, attrs.evolve(SILENT, in_flight=0)) == []
    assert lines(run, 103.5) == []
    assert lines(run, 104.0) != []


def test_a_run_that_asks_nothing_expects_no_answer():
    """It waits for its ids, or for the end of a cool-down."""
    idle = attrs.evolve(SILENT, in_flight=0)
    assert lines(bulletin(), 100.0, idle) == []
    assert lines(bulletin(), 100.0, attrs.evolve(idle, outage=True)) != []


def test_a_poll_that_failed_still_expects_an_answer_in_the_pause():
    polls = Bulletin(
        "https://diga.example", "it goes on", 0, periodic=False, polls=True
    )
    idle = attrs.evolve(SILENT, in_flight=0)
    failed = attrs.evolve(idle, lost=1)
    assert lines(polls, 50.0, idle) == []
    assert lines(polls, 53.0, failed) == []
    assert lines(polls, 54.0, failed) == [
        "no answer from https://diga.example for 4 s; it goes on"
    ]
    answered = attrs.evolve(failed, found=1)
    assert lines(polls, 80.0, answered) == ["https://diga.example answers again"]
    assert lines(polls, 100.0, answered) == []
    assert lines(bulletin(), 60.0, failed) == []


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, 37.5),
        ({"total": None}, None),
        ({"stats": attrs.evolve(STATS, rate=0.0)}, None),
        ({"settled": 5001}, 0.0),
    ],
)
def test_the_time_left_is_estimated_from_the_rate(changes, seconds):
    remaining = attrs.evolve(STANDING, **changes).remaining_seconds
    assert remaining == (seconds and pytest.approx(seconds, rel=0.01))


def test_the_summary_is_of_all_rows_and_of_this_run():
    assert list(summary(STANDING.outcomes, STATS)) == [
        "1,200 found, 30 missing, 4 failed",
        "1,234 looked up in 10.0 s, 123 a second; 7 retried, 9 throttled",
    ]


def test_the_summary_of_a_run_without_lookups_is_one_line():
    nothing = attrs.evolve(STATS, found=0, missing=0, failed=0)
    assert len(list(summary(STANDING.outcomes, nothing))) == 1


def test_the_summary_does_not_count_the_lookup_that_ended_the_run():
    ended = attrs.evolve(STATS, found=0, missing=0, failed=1)
    assert len(list(summary(Counter(), ended))) == 1


def test_the_line_of_a_silent_server_says_so_instead_of_a_rate():
    throttled = attrs.evolve(STANDING, limit=310.0)
    bulletin = Bulletin("https://diga.example", "x", 0.0, periodic=True)
    list(bulletin.lines(10.0, SILENT, throttled.line))
    (line,) = bulletin.lines(120.0, SILENT, throttled.line)
    assert line.endswith("1,200 found, 30 missing, 4 failed; no answer for 120 s")
    failing = attrs.evolve(SILENT, server_errors=3)
    (line,) = bulletin.lines(150.0, failing, throttled.line)
    assert line.endswith("; only server errors (5xx) for 150 s")
    answered = attrs.evolve(SILENT, found=1)
    *_, line = bulletin.lines(181.0, answered, throttled.line)
    assert "throttled by the server to 310/s" in line
