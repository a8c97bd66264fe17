"""`Observer`: tells the log and the user's hook what happens; it shows no secrets."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import attrs

from diga_async._flow.limiter_log import LimiterLog, limiter_line
from diga_async._flow.rate_limiter import RateLimiter
from diga_async._models.errors import (
    APIStatusError,
    DigaError,
    InvalidResponseError,
    NotFoundError,
)
from diga_async._models.events import AttemptEvent, Event, LookupEvent

if TYPE_CHECKING:
    from diga_async._models.stats import LookupStats

Hook = Callable[[Event], object]

BLOCKED_SECONDS = 0.3
"""Seconds for which the event loop must be blocked for a warning."""

LOG = logging.getLogger("diga_async")
LOG.addHandler(logging.NullHandler())  # the application chooses what is logged


class Observer:
    """
    The observer of one client.

    An exception of the hook propagates: it ends the call or the run reported.

    Args:
        hook: Is called with each event.
        server: The server's name, as the log has it.
    """

    def __init__(self, hook: Hook | None, server: str = "the server") -> None:
        self._hook = hook
        self._server = server
        self._outage_since = 0.0
        self._blocked = BLOCKED_SECONDS
        self._limiter_log = LimiterLog()

    @property
    def is_on(self) -> bool:
        """Whether attempts and calls are recorded anywhere."""
        return self._hook is not None or LOG.isEnabledFor(logging.DEBUG)

    def attempt(self, event: AttemptEvent) -> None:
        """Report one attempt."""
        _write("attempt", event)
        self._tell(event)

    def lookup(self, event: LookupEvent) -> None:
        """Report the end of one lookup."""
        _write("lookup", event)
        self._tell(event)

    def run(self, stats: "LookupStats", error: BaseException | None) -> None:
        """Report the end of a run; *error* is why it ended early."""
        early = "" if error is None else f" early, because {self._reason(error)}"
        LOG.info(
            "run ended%s: %d found, %d missing, %d failed in %.3f s, "
            "with %d retries and %d requests throttled",
            early,
            *(stats.found, stats.missing, stats.failed, stats.elapsed),
            *(stats.retries, stats.throttled),
            extra={"run": stats},
        )

    def outage_began(self, error: DigaError, now: float, most_seconds: float) -> None:
        """Report the beginning of an outage; *error* is the last failure."""
        self._outage_since = now
        LOG.warning(
            "outage: %s; single lookups go on, but runs and polls send only about one "
            "request a second until the server answers; a run ends after %g s",
            self._reason(error),
            most_seconds,
        )

    def outage_ended(self, now: float) -> None:
        """Report the end of an outage."""
        seconds = now - self._outage_since
        LOG.info("outage over: %s answers again, after %.1f s", self._server, seconds)

    def key_hangs(self, seconds: float) -> None:
        """Report that the callable for the key is asked again."""
        message = "the callable for the key has not returned for %g s; asking again"
        LOG.warning(message, seconds)

    def shortage(self, error: DigaError) -> None:
        """Report that this machine lacks a resource; *error* says which."""
        LOG.warning("fewer requests in flight: %s", error)

    def blocked(self, seconds: float) -> None:
        """Report that the event loop was blocked: once, and again if far longer."""
        if seconds >= self._blocked:
            self._blocked = 2.0 * seconds
            LOG.warning(
                "the event loop was blocked for %.1f s; no response was read meanwhile",
                seconds,
            )

    def limiter(self, limiter: RateLimiter, now: float, *, urgent: bool) -> None:
        """Report the state of the rate limiter when it has changed."""
        if not urgent and now < self._limiter_log.due:
            return
        seen = limiter.snapshot(now)
        if self._limiter_log.is_news(now, seen):
            searching = limiter.is_searching
            text = limiter_line(seen, self._server, searching=searching)
            LOG.info("%s", text, extra={"limiter": seen._asdict()})

    def polls(self, error: BaseException | None) -> None:
        """Report that the polls of a watch begin to fail, or succeed again."""
        if error is None:
            LOG.info("watch: polls of %s succeed again", self._server)
        else:
            LOG.warning(
                "watch: polls fail, and continue: %s; what has changed is delivered "
                "when one succeeds",
                self._reason(error),
            )

    def _reason(self, error: BaseException) -> str:
        """Say why, without the server's own words, which may be personal."""
        if isinstance(error, asyncio.CancelledError):
            return "the program left it"
        if isinstance(error, APIStatusError):
            return f"{self._server} answered {error.status}"
        if isinstance(error, InvalidResponseError):
            return f"{self._server} sent an answer that is not a phone"
        return error.describe() if isinstance(error, DigaError) else _name(error)

    def _tell(self, event: Event) -> None:
        if self._hook is not None:
            self._hook(event)


def _name(error: BaseException) -> str:
    return f"{type(error).__name__} was raised"


OutcomeKind = Literal["found", "missing", "failed"]


def outcome_kind(answer: object) -> OutcomeKind:
    """Name the outcome that *answer* is."""
    if not isinstance(answer, DigaError):
        return "found"
    return "missing" if isinstance(answer, NotFoundError) else "failed"


def lookup_event(
    subject: UUID | str, answer: object, *, attempts: int = 0, elapsed: float = 0.0
) -> LookupEvent:
    """Make the event of a lookup that ended with *answer*."""
    outcome = outcome_kind(answer)
    return LookupEvent(
        phone_id=subject,
        outcome=outcome,
        error=type(answer).__name__ if outcome == "failed" else None,
        attempts=attempts,
        elapsed=elapsed,
    )


def _write(name: str, value: Any) -> None:
    if LOG.isEnabledFor(logging.DEBUG):
        facts = attrs.asdict(value, recurse=False)
        line = " ".join(f"{name}={_text(fact)}" for name, fact in facts.items())
        LOG.debug("%s %s", name, line, extra={name: value})


def _text(fact: Any) -> str:
    if isinstance(fact, float):
        return f"{fact:.3f}"
    text = str(fact)
    return text if text.isprintable() else repr(text)  # one line for each event
