"""`Call`: one operation on its way, what is counted of it, and how it ended."""

import math
from collections import Counter
from typing import Generic, TypeVar
from uuid import UUID

import attrs

from diga_async._api.addresses import Peer
from diga_async._api.messages import Secret
from diga_async._api.operation import Operation
from diga_async._engine.scheduler import Permit
from diga_async._flow.circuit_breaker import Purpose, Silence
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

_VALUES = frozenset({"found", "listed"})


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
        once: Whether it has one attempt only.
        permit: The permit of its last attempt.
        queued: For how many seconds that attempt waited for its permit.
        begun: When that attempt began.
        seconds: How long that attempt may take, not counting time in which the event
            loop was blocked.
        left: How many seconds were left until the deadline when that attempt began.
        blocked: The transport's *blocked* when that attempt began.
        attempt: The open attempt of a single call.
        ended: When the last attempt ended.
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
    once: bool = False
    permit: Permit = (0.0, 0, Purpose.CALL)
    queued: float = 0.0
    begun: float = 0.0
    seconds: float = 0.0
    left: float = math.inf
    blocked: float = 0.0
    attempt: Open | None = None
    ended: float = 0.0
    last: DigaError | None = None
    silence: Silence | None = None
    is_short: bool = False
    rate_limit: tuple[int, float] | None = None
    request_id: str | None = None

    def begin(
        self, now: float, permit: Permit, queued: float = 0.0, blocked: float = 0.0
    ) -> None:
        """
        Record the start of an attempt.

        Args:
            now: The time.
            permit: What allows it.
            queued: For how many seconds it waited for the permit.
            blocked: For how many seconds the event loop was blocked so far.
        """
        self.sending = True
        self.permit = permit
        self.queued = queued
        self.begun = now
        self.blocked = blocked
        self.rate_limit = None
        if self.started is None:
            self.started = now
            if self.bulk:
                self.deadline = now + self.timeouts.total
        elif self.bulk:
            # A waiter runs after it was given its permit; long after in a busy loop.
            self.deadline += queued + now - permit[0]
        self.left = left = self.deadline - now
        self.seconds = min(self.timeouts.attempt, left)
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

    def succeed(self) -> None:
        """Record an attempt that brought the value."""
        self.attempts += 1
        for counters in self.counters:
            counters.answers[self.operation.success] += 1

    def fail(self, error: DigaError, seconds: float, *, counts: bool = True) -> None:
        """
        Record an attempt that brought no value.

        Args:
            error: Why.
            seconds: How long it took.
            counts: Whether it counts as an attempt; a failed probe does not.
        """
        self.count(error)
        kind = kind_of(error, self.operation)
        if not counts:
            self.uncount()
            self.deadline += seconds
        for counters in self.counters:
            counters.answers[kind] += 1
        if kind == "throttled" and self.bulk:
            self.deadline += seconds

    def retry(self) -> None:
        """Record that another attempt follows."""
        for counters in self.counters:
            counters.retries += 1

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
    def has_had_a_value(self) -> bool:
        """Whether the client has had a value, for whatever call."""
        return any(counters.answers.keys() & _VALUES for counters in self.counters)

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


def blocked_error(seconds: float, peer: Peer, limit: str) -> RateLimitError:
    """Return the error of a call that a ``Retry-After`` blocks beyond its *limit*."""
    reason = (
        f"nothing was sent: an earlier Retry-After of {peer} is not over for "
        f"{seconds:.1f} s, beyond {limit}"
    )
    return RateLimitError(reason, status=429, retry_after=seconds)


def throttled_beyond(
    error: APIStatusError, call: Call[T], now: float, most_seconds: float
) -> APIStatusError:
    """
    Return *error*, with the limit that its ``Retry-After`` exceeds, if it does.

    Args:
        error: Why the call ends.
        call: The call; *error* says so already if nothing was sent for it.
        now: The time.
        most_seconds: For how long a run waits.
    """
    asked = error.retry_after
    if call.started is None or not asked or not is_throttling(error):
        return error
    is_beyond = asked > most_seconds if call.bulk else now + asked >= call.deadline
    if not is_beyond:
        return error
    reason = f"{error.reason}, beyond {limit_of(call, most_seconds)}"
    return attrs.evolve(error, reason=reason)


def limit_of(call: Call[T], most_seconds: float) -> str:
    """Name the limit of how long *call* waits while the client is throttled."""
    if call.bulk:
        return f"max_outage of {most_seconds:g} s"
    return f"the deadline of {call.timeouts.total:g} s"


def final(call: Call[T], error: DigaError, now: float) -> DigaError:
    """Return a copy of *error* that names the call and holds no traceback."""
    return attrs.evolve(
        error,
        phone_id=call.subject,
        attempts=call.attempts,
        elapsed=call.elapsed(now),
    )
