"""Tells the log, and the caller's hook, what happens; nothing of it is secret."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import attrs

from diga_async._models.events import AttemptEvent, Event, LookupEvent
from diga_async._models.outcomes import Failed, Outcome
from diga_async._models.stats import LookupStats

Hook = Callable[[Event], object]

LOG = logging.getLogger("diga_async")
LOG.addHandler(logging.NullHandler())  # what is logged is the application's choice


class Observer:
    """
    One client's.

    The hook is called in a turn of its own: what it raises goes to the loop's
    exception handler, and breaks no lookup.
    """

    def __init__(self, hook: Hook | None) -> None:
        self._hook = hook
        self._loop = asyncio.get_running_loop()

    @property
    def is_on(self) -> bool:
        """Whether anybody wants to know of attempts and lookups."""
        return self._hook is not None or LOG.isEnabledFor(logging.DEBUG)

    def attempt(self, event: AttemptEvent) -> None:
        """Tell of an attempt."""
        _write(logging.DEBUG, "attempt", event)
        self._tell(event)

    def lookup(self, outcome: Outcome) -> None:
        """Tell how a lookup ended."""
        event = _event_of(outcome)
        _write(logging.DEBUG, "lookup", event)
        self._tell(event)

    def run(self, stats: LookupStats, error: BaseException | None) -> None:
        """Tell how a run ended; *error* is why it ended early."""
        why = {} if error is None else {"error": type(error).__name__}
        _write(logging.INFO, "run", stats, **why)

    def outage(self, *, is_on: bool) -> None:
        """Tell that nothing comes back any more, or something does again."""
        level = logging.WARNING if is_on else logging.INFO
        LOG.log(level, "outage %s", "on" if is_on else "off")

    def _tell(self, event: Event) -> None:
        if self._hook is not None:
            self._loop.call_soon(self._hook, event)


def _event_of(outcome: Outcome) -> LookupEvent:
    name: Any = type(outcome).__name__.lower()
    return LookupEvent(
        phone_id=outcome.phone_id,
        outcome=name,
        error=type(outcome.error).__name__ if isinstance(outcome, Failed) else None,
        attempts=outcome.attempts,
        elapsed=outcome.elapsed,
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
