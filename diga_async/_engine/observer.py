"""`Observer`: tells the log and the user's hook what happens; it shows no secrets."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import attrs

from diga_async._flow.limiter_log import LimiterLog
from diga_async._flow.rate_limiter import RateLimiter
from diga_async._models.errors import DigaError, NotFoundError
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
    """

    def __init__(self, hook: Hook | None) -> None:
        self._hook = hook
        self._blocked = BLOCKED_SECONDS
        self._limiter_log = LimiterLog()

    @property
    def is_on(self) -> bool:
        """Whether attempts and calls are recorded anywhere."""
        return self._hook is not None or LOG.isEnabledFor(logging.DEBUG)

    def attempt(self, event: AttemptEvent) -> None:
        """Report one attempt."""
        _write(logging.DEBUG, "attempt", event)
        self._tell(event)

    def lookup(self, event: LookupEvent) -> None:
        """Report the end of one lookup."""
        _write(logging.DEBUG, "lookup", event)
        self._tell(event)

    def run(self, stats: "LookupStats", error: BaseException | None) -> None:
        """Report the end of a run; *error* is why it ended early."""
        why = {} if error is None else {"error": type(error).__name__}
        _write(logging.INFO, "run", stats, **why)

    def outage(self, *, is_on: bool) -> None:
        """Report the beginning or the end of an outage."""
        level = logging.WARNING if is_on else logging.INFO
        LOG.log(level, "outage %s", "on" if is_on else "off")

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
            facts = seen._asdict()
            LOG.info("limiter %s", _line(facts), extra={"limiter": facts})

    def polls(self, error: BaseException | None) -> None:
        """Report that the polls of a watch begin to fail, or succeed again."""
        if error is None:
            LOG.info("polls succeed again")
        else:
            LOG.warning("polls fail error=%s", type(error).__name__)

    def _tell(self, event: Event) -> None:
        if self._hook is not None:
            self._hook(event)


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


def _write(level: int, name: str, value: Any, **more: Any) -> None:
    if not LOG.isEnabledFor(level):
        return
    facts = {**attrs.asdict(value, recurse=False), **more}
    LOG.log(level, "%s %s", name, _line(facts), extra={name: value})


def _line(facts: dict[str, Any]) -> str:
    return " ".join(f"{name}={_text(fact)}" for name, fact in facts.items())


def _text(fact: Any) -> str:
    return f"{fact:.3f}" if isinstance(fact, float) else str(fact)
