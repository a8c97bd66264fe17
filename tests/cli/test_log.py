"""What --verbose prints."""

import logging
from uuid import UUID

import pytest

from diga_async import AttemptEvent
from diga_async._cli.log import attempt_line, verbose_log

ID = UUID("3c90c3cc-0d44-4b50-8888-8dd25736052a")
LOG = logging.getLogger("diga_async")


def event(**facts):
    given = {"attempts": 1, "answer": "found", "status": 200, "rate": None}
    given |= {"phone_id": ID, "waited": 0.0, "elapsed": 0.1}
    return AttemptEvent(**{**given, **facts})


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({"answer": "lost", "status": None}, "attempt 1 failed: no usable answer"),
        ({"answer": "lost", "reason": "refused"}, "attempt 1 failed: refused"),
        ({"answer": "server_errors", "status": 503}, "attempt 1 failed: 503"),
        ({"answer": "invalid"}, "attempt 1 failed: an answer that is not a phone"),
        ({"attempts": 2}, "attempt 2 found it"),
        ({"attempts": 3, "answer": "missing"}, "attempt 3 says there is no such phone"),
        (
            {"attempts": 2, "answer": "rejected", "reason": "422: no"},
            "attempt 2 was rejected: 422: no",
        ),
        ({"answer": "throttled", "reason": "429: slow"}, "throttled: 429: slow"),
        (
            {"answer": "throttled", "status": 429, "rate": 2.34},
            "throttled: 429; at most 2.3 requests a second",
        ),
    ],
)
def test_failed_attempts_retries_and_cool_downs_have_a_line(facts, line):
    assert attempt_line(event(**facts)) == f"{ID}: {line}"


def test_an_attempt_at_a_page_says_so():
    line = attempt_line(event(phone_id=None, answer="server_errors", status=502))
    assert line == "a page of the listing: attempt 1 failed: 502"


@pytest.mark.parametrize("answer", ["found", "missing", "rejected"])
def test_a_first_attempt_that_is_not_retried_has_none(answer):
    assert attempt_line(event(answer=answer)) is None


def test_the_log_is_printed_while_the_block_lasts(capsys):
    level = LOG.level
    with verbose_log(is_on=True):
        LOG.debug("attempt", extra={"attempt": event(attempts=2)})
        LOG.debug("attempt", extra={"attempt": event()})
        LOG.debug("lookup", extra={"lookup": None})
        LOG.info("run", extra={"run": None})
        LOG.warning("outage %s", "on")
    LOG.warning("outage %s", "off")
    assert capsys.readouterr().err == (
        f"diga: {ID}: attempt 2 found it\ndiga: outage on\n"
    )
    assert LOG.level == level


def test_nothing_is_printed_when_it_is_off(capsys):
    with verbose_log(is_on=False):
        LOG.warning("outage %s", "on")
    assert capsys.readouterr().err == ""
