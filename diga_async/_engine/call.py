"""`Call`: one operation on its way, what is counted of it, and how it ended."""

from collections import Counter
from typing import Generic, TypeVar
from uuid import UUID

import attrs

from diga_async._api.addresses import Peer
from diga_async._api.messages import Secret
from diga_async._api.operation import Answer, Operation
from diga_async._flow.circuit_breaker import Silence
from diga_async._flow.retry import Progress, is_throttling
from diga_async._models.errors import (
    APIConnectionError,
    APIStatusError,
    DigaError,
    InvalidResponseError,
    NotFoundError,
    RateLimitError,
)
from diga_async._models.events import AnswerKind
from diga_async._models.options import Timeouts
from diga_async._transport.deadlines import Open
from diga_async._transport.failures import Limit, timeout_error

T = TypeVar("T")


@attrs.define(eq=False, repr=False)
class Counters:
    """The counts of a client, or of one run."""

    requests: int = 0
    retries: int = 0
    in_flight: int = 0
    answers: Counter[str] = attrs.field(factory=Counter)


@attrs.define(eq=False, repr=False, kw_only=True)
class Call(Progress, Generic[T]):
    """
    One operation on its way.

    Attributes:
        operation: What is asked for.
        timeouts: How long it may take.
        counters: Where its requests and answers are counted.
        started: When the first attempt began, on the client's clock.
        sending: Whether a request of it is open.
        halted: Whether nothing more may be sent for it.
        renewed: Whether another key was requested since its last answer other than 401.
        authorization: The header that its last request had.
        attempt: The open attempt of a single call.
        begun: When that attempt began.
        last: Why the previous attempt failed.
        silence: How long its run has had no answer; None for a single call.
        is_short: Whether its last attempt was not sent, for lack of a local resource.
        rate_limit: What the last response said about a rate limit: how many requests
            are left, and for how many seconds; None when nothing.
        request_id: The ``X-Request-Id`` of the last response.
    """

    operation: Operation[T]
    timeouts: Timeouts
    counters: tuple[Counters, ...] = ()
    started: float | None = None
    sending: bool = False
    halted: bool = False
    renewed: bool = False
    authorization: Secret = Secret()  # noqa: RUF009 - frozen
    attempt: Open | None = None
    begun: float = 0.0
    last: DigaError | None = None
    silence: Silence | None = None
    is_short: bool = False
    rate_limit: tuple[int, float] | None = None
    request_id: str | None = None

    def begin(self, now: float, queued: float) -> None:
        """Record the start of an attempt that waited *queued* seconds."""
        self.sending = True
        self.begun = now
        self.rate_limit = None
        if self.started is None:
            self.started = now
            if self.bulk:
                self.deadline = now + self.timeouts.total
        elif self.bulk:
            self.deadline += queued
        for counters in self.counters:
            counters.requests += 1
            counters.in_flight += 1

    def end(self) -> None:
        """Record the end of an attempt."""
        self.sending = False
        self.attempt = None
        for counters in self.counters:
            counters.in_flight -= 1

    def withdraw(self, seconds: float) -> None:
        """Undo the start of an attempt that could not be sent."""
        if self.started == self.begun:
            self.started = None
        elif self.bulk:
            self.deadline += seconds
        for counters in self.counters:
            counters.requests -= 1

    def note(
        self, answer: Answer[T], seconds: float, *, counts: bool = True
    ) -> AnswerKind:
        """
        Record an attempt's answer and its duration; return the kind of answer.

        Args:
            answer: The answer.
            seconds: How long it took.
            counts: Whether it counts as an attempt; a failed probe does not.
        """
        if isinstance(answer, DigaError):
            self.count(answer)
            kind = kind_of(answer, self.operation)
        else:
            self.attempts += 1
            kind = self.operation.success
        if not counts:
            self.uncount()
            self.deadline += seconds
        for counters in self.counters:
            counters.answers[kind] += 1
        if kind == "throttled" and self.bulk:
            self.deadline += seconds
        return kind

    def retry(self) -> None:
        """Record that another attempt follows."""
        for counters in self.counters:
            counters.retries += 1

    def seconds(self, now: float) -> float:
        """Return how long the next attempt may take."""
        return min(self.timeouts.attempt, self.deadline - now)

    def follow(self, attempt: Open) -> None:
        """Remember the open attempt."""
        self.attempt = attempt

    def extend(self, deadline: float, attempt: float, now: float) -> None:
        """Extend its limits to those of a follower that has more time."""
        if attempt > self.timeouts.attempt:
            self.timeouts = attrs.evolve(self.timeouts, attempt=attempt)
        elif deadline <= self.deadline:
            return
        self.deadline = max(deadline, self.deadline)
        if self.attempt is not None:
            left = self.begun + self.timeouts.attempt - now
            most = self.deadline - now
            self.attempt.extend(min(left, most), most)

    def elapsed(self, now: float) -> float:
        """Return the seconds since the first attempt began."""
        return 0.0 if self.started is None else now - self.started

    @property
    def subject(self) -> UUID | None:
        """The id that errors and events name."""
        return self.operation.subject


def kind_of(answer: object, operation: Operation[T]) -> AnswerKind:
    """Name the kind of answer as `ClientStats` does."""
    if not isinstance(answer, DigaError):
        return operation.success
    match answer:
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


def status_of(answer: object) -> int | None:
    """Return the HTTP status of *answer*; None when there was no response."""
    if isinstance(answer, APIStatusError | InvalidResponseError):
        return answer.status
    return None if isinstance(answer, DigaError) else 200


def reason_of(answer: object) -> str | None:
    """Return why there is no usable answer; None where the status says it."""
    # The words of a server are not for logs.
    if isinstance(answer, APIConnectionError | InvalidResponseError):
        return answer.describe()
    return None


def deadline_error(call: Call[T], now: float, peer: Peer) -> DigaError:
    """Return the error of a call to *peer* whose deadline has passed."""
    if call.sending:
        return attempt_error(call, now, peer, "total", call.timeouts.total)
    error = call.last or timeout_error(peer, "wait", "total", call.timeouts.total)
    return final(call, error, now)


def attempt_error(
    call: Call[T], now: float, peer: Peer, limit: Limit, seconds: float
) -> DigaError:
    """Return the error of a caller that gives up on the open attempt of a call."""
    connected = call.attempt is not None and call.attempt.connected
    error = timeout_error(peer, "read" if connected else "connect", limit, seconds)
    call = attrs.evolve(call, attempts=call.attempts + 1)
    return final(call, error, now)


def blocked_error(seconds: float) -> RateLimitError:
    """Return the error of a call that a ``Retry-After`` blocks for too long."""
    reason = "nothing was sent: an earlier Retry-After is not over"
    return RateLimitError(reason, status=429, retry_after=seconds)


def final(call: Call[T], error: DigaError, now: float) -> DigaError:
    """Return a copy of *error* that names the call and holds no traceback."""
    return attrs.evolve(
        error,
        phone_id=call.subject,
        attempts=call.attempts,
        elapsed=call.elapsed(now),
    )
