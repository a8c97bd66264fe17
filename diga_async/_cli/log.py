"""The library's log on standard error, for --verbose."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

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
        elif record.levelno >= logging.INFO and not hasattr(record, "run"):
            say(record.getMessage())


def attempt_line(event: AttemptEvent) -> str | None:
    """Return what --verbose prints for an attempt; None for a first one that worked."""
    what = event.phone_id or "a page of the listing"
    reason = event.reason or _REASONS.get(event.answer) or str(event.status)
    if event.answer == "throttled":
        if event.rate is not None:
            reason += f"; at most {rate_text(event.rate)} requests a second"
        return f"{what}: throttled: {reason}"
    if event.answer in {"lost", "invalid", "server_errors"}:
        return f"{what}: attempt {event.attempts} failed: {reason}"
    if event.attempts > 1:
        answer = _ANSWERS.get(event.answer, f"was rejected: {reason}")
        return f"{what}: attempt {event.attempts} {answer}"
    return None
