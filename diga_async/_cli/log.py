"""The library's log on standard error, for --verbose."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diga_async import AttemptEvent
from diga_async._cli.progress import rate_text
from diga_async._cli.terminal import say

_REASONS = {"lost": "no usable answer", "invalid": "an answer that is not a phone"}
_ANSWERS = {
    "found": "found it",
    "missing": "says there is no such phone",
    "listed": "brought it",
}


@contextmanager
def verbose_log(*, is_on: bool) -> Iterator[None]:
    """Print each failed attempt, retry and cool-down while the block lasts."""
    if not is_on:
        yield
        return
    logger, handler = logging.getLogger("diga_async"), _Handler()
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        attempt = getattr(record, "attempt", None)
        if isinstance(attempt, AttemptEvent):
            if text := attempt_line(attempt):
                say(text)
        elif isinstance(limiter := getattr(record, "limiter", None), dict):
            say(limiter_line(**limiter))
        elif record.levelno >= logging.INFO and not hasattr(record, "run"):
            say(record.getMessage())


def attempt_line(event: AttemptEvent) -> str | None:
    """Return what --verbose prints for an attempt; None for a first one that worked."""
    what = event.phone_id or "a page of the listing"
    reason = event.reason or _REASONS.get(event.answer) or str(event.status)
    if event.answer == "throttled":
        limit = "" if event.rate is None else f"; {_at_most(event.rate)}"
        return f"{what}: throttled: {reason}{limit}"
    if event.answer in {"lost", "invalid", "server_errors"}:
        return f"{what}: attempt {event.attempts} failed: {reason}"
    if event.attempts > 1:
        answer = _ANSWERS.get(event.answer, f"was rejected: {reason}")
        return f"{what}: attempt {event.attempts} {answer}"
    return None


def limiter_line(
    state: str, rate: float | None, slots: int, resumes_in: float, **_: Any
) -> str:
    """Return what --verbose prints when the rate limiter has changed."""
    match state:
        case "cooling_down":
            wait = f"{resumes_in:,.1f} s"
            return f"throttled: nothing is sent for {wait}, as the server asks"
        case "probing":
            return "throttled: nothing is accepted; one request at a time tries again"
        case "limited":
            in_flight = f"at most {slots:,} requests in flight"
            what = in_flight if rate is None else _at_most(rate)
            return f"below the server's limit: {what}"
        case _:
            return "the server's limit no longer holds anything back"


def _at_most(rate: float) -> str:
    return f"at most {rate_text(rate)} requests a second"
