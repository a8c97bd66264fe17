"""One id on its way: what is counted and remembered of it, and how it ended."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from uuid import UUID

import attrs

from diga_async._api.messages import Secret
from diga_async._api.phones import Answer
from diga_async._flow.retry import Progress, is_throttling
from diga_async._models.errors import (
    APIStatusError,
    APITimeoutError,
    DigaError,
    InvalidResponseError,
    NotFoundError,
    RateLimitError,
)
from diga_async._models.events import AnswerKind
from diga_async._models.options import Timeouts
from diga_async._models.outcomes import Failed, Found, Missing, Outcome
from diga_async._models.phone import Phone
from diga_async._transport.connections import Attempt


@attrs.define(eq=False, repr=False)
class Counters:
    """What was done and is going on, of a client or of one run."""

    requests: int = 0
    retries: int = 0
    in_flight: int = 0
    answers: Counter[str] = attrs.field(factory=Counter)


@attrs.define(eq=False, repr=False, kw_only=True)
class Call(Progress):
    """
    One id on its way.

    Attributes:
        phone_id: The id.
        timeouts: How long it may take.
        counters_of: Where to count what is done for it.
        started: When the first attempt began, on the client's clock.
        sending: Whether a request of it is open.
        halted: Whether nothing more may be sent for it.
        renewed: Whether another key was asked for on its account.
        authorization: The header its last request was sent with.
        attempt: What is open of a single lookup, while it is.
        begun: When that began.
        last: Why the attempt before failed.
        asking: The time limit of the caller's callable, while it is asked for a key.
        advice: What the last answer said of a rate limit: how many requests
            are left, and for how many seconds; None when nothing.
    """

    phone_id: UUID
    timeouts: Timeouts
    counters_of: tuple[Counters, ...]
    started: float | None = None
    sending: bool = False
    halted: bool = False
    renewed: bool = False
    authorization: Secret = Secret()  # noqa: RUF009 - frozen
    attempt: Attempt | None = None
    begun: float = 0.0
    last: DigaError | None = None
    asking: asyncio.Timeout | None = None
    advice: tuple[int, float] | None = None

    def begin(self, now: float, held: float) -> None:
        """Take note that an attempt begins after the client *held* it back."""
        self.sending = True
        self.begun = now
        self.advice = None
        if self.started is None:
            self.started = now
            if self.bulk:
                self.deadline = now + self.timeouts.total
        elif self.bulk:
            self.deadline += held
        for counters in self.counters_of:
            counters.requests += 1
            counters.in_flight += 1

    def end(self) -> None:
        """Take note that the attempt is over."""
        self.sending = False
        self.attempt = None
        for counters in self.counters_of:
            counters.in_flight -= 1

    def note(self, answer: Answer, seconds: float) -> AnswerKind:
        """Take note of what an attempt of so many *seconds* brought; name it."""
        self.count(answer)
        kind = kind_of(answer)
        for counters in self.counters_of:
            counters.answers[kind] += 1
        if kind == "throttled" and self.bulk:
            self.deadline += seconds
        return kind

    def retry(self) -> None:
        """Take note that it is asked again."""
        for counters in self.counters_of:
            counters.retries += 1

    def seconds(self, now: float) -> float:
        """Return how long the next attempt may take."""
        return min(self.timeouts.attempt, self.deadline - now)

    def follow(self, attempt: Attempt) -> None:
        """Take note of what is open now."""
        self.attempt = attempt

    def extend(self, deadline: float, now: float) -> None:
        """Let it go on until a later *deadline*, for somebody who has more time."""
        more = deadline - self.deadline
        self.deadline = deadline
        if self.asking is not None:
            self.asking.reschedule((self.asking.when() or 0.0) + more)
        if self.attempt is not None:
            left = self.begun + self.timeouts.attempt - now
            self.attempt.extend(min(left, self.deadline - now))

    def elapsed(self, now: float) -> float:
        """Return the seconds since the first attempt began."""
        return 0.0 if self.started is None else now - self.started


def kind_of(answer: Answer) -> AnswerKind:
    """Name the kind of answer as `ClientStats` does."""
    match answer:
        case Phone():
            return "found"
        case NotFoundError():
            return "missing"
        case APIStatusError():
            if is_throttling(answer):
                return "throttled"
            return "server_errors" if answer.status >= 500 else "rejected"  # noqa: PLR2004
        case InvalidResponseError():
            return "invalid"
        case _:
            return "lost"


def status_of(answer: Answer) -> int | None:
    """Return the HTTP status of *answer*; None when there was none."""
    if isinstance(answer, APIStatusError | InvalidResponseError):
        return answer.status
    return 200 if isinstance(answer, Phone) else None


def outcome_of(lookup: Call, answer: Answer, now: float) -> Outcome:
    """Say how a lookup ended."""
    elapsed = lookup.elapsed(now)
    match answer:
        case Phone():
            return Found(lookup.phone_id, answer, lookup.attempts, elapsed)
        case NotFoundError():
            return Missing(lookup.phone_id, lookup.attempts, elapsed)
        case error:
            return Failed(lookup.phone_id, error, lookup.attempts, elapsed)


def too_late(lookup: Call, now: float) -> DigaError:
    """Say why there is no phone, now that the deadline has come."""
    if lookup.sending:
        connected = lookup.attempt is not None and lookup.attempt.connected
        error: DigaError = APITimeoutError(
            "the deadline came before an answer",
            phase="read" if connected else "connect",
        )
        lookup = attrs.evolve(lookup, attempts=lookup.attempts + 1)
    else:
        error = lookup.last or APITimeoutError(
            "the deadline came before the first attempt", phase="wait"
        )
    return final(lookup, error, now)


def held_too_long(seconds: float) -> RateLimitError:
    """Say that a ``Retry-After`` holds everybody for longer than there is."""
    reason = "nothing was sent: an earlier Retry-After is not over"
    return RateLimitError(reason, status=429, retry_after=seconds)


def final(lookup: Call, error: DigaError, now: float) -> DigaError:
    """Say what *error* is about, on a new object that holds no traceback."""
    return attrs.evolve(
        error,
        phone_id=lookup.phone_id,
        attempts=lookup.attempts,
        elapsed=lookup.elapsed(now),
    )


Stage = Callable[[Call], Awaitable[Answer]]
