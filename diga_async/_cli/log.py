"""The library's log on standard error, for --verbose."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from diga_async import AttemptEvent
from diga_async._cli.terminal import say

_REASONS = {"lost": "no usable answer", "invalid": "a broken answer"}


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
    reason = _REASONS.get(event.answer) or str(event.status)
    if event.answer == "throttled":
        limit = "" if event.rate is None else f", {event.rate:,.1f} requests a second"
        return f"{what}: throttled ({event.status}); cooling down{limit}"
    if event.answer in {"lost", "invalid", "server_errors"}:
        return f"{what}: attempt {event.attempts} brought {reason}"
    if event.attempts > 1:
        return f"{what}: attempt {event.attempts} brought {event.answer}"
    return None
