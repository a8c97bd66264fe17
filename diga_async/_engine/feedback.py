"""`Feedback`: reports the result of each attempt to the limits."""

import copy
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from diga_async._api.operation import Answer, Operation
from diga_async._engine.call import Call, status_of
from diga_async._engine.observer import Observer
from diga_async._engine.scheduler import Permit
from diga_async._flow.address_check import AddressCheck
from diga_async._flow.circuit_breaker import CircuitBreaker, Failure
from diga_async._flow.local_limit import LocalLimit
from diga_async._flow.rate_limiter import RateLimiter
from diga_async._flow.retry import is_throttling
from diga_async._models.errors import (
    APIConnectionError,
    APIStatusError,
    DigaError,
    NotFoundError,
)

T = TypeVar("T")

#: How many answered calls are remembered as controls.
RECENT = 8


class Feedback:
    """
    Tells the limits of a client about its attempts.

    Args:
        limiter: How fast the client may send.
        breaker: Whether runs are held back.
        local: How much this machine can have in flight.
        check: Whether there is an API at the address.
        observer: Is told of outages.
        chance: For jitter.
    """

    def __init__(  # noqa: PLR0913 - parts of an engine, and made by it alone
        self,
        limiter: RateLimiter,
        breaker: CircuitBreaker,
        local: LocalLimit,
        check: AddressCheck,
        *,
        observer: Observer,
        chance: Callable[[], float],
    ) -> None:
        self._limiter = limiter
        self._breaker = breaker
        self._local = local
        self._check = check
        self._observer = observer
        self._chance = chance
        self._blocked = 0.0
        self._failure: tuple[int, DigaError] | None = None
        self._recent: deque[Operation[Any]] = deque(maxlen=RECENT)

    @property
    def last_error(self) -> DigaError | None:
        """Why the last attempt had no answer or a 5xx; None once the server answers."""
        if self._failure is None or self._failure[0] != self._breaker.row:
            return None
        return copy.copy(self._failure[1])

    def next_answered(self) -> Operation[Any] | None:
        """Return a call that was answered, in turn; None when there was none."""
        if not self._recent:
            return None
        self._recent.rotate()
        return self._recent[0]

    def cool_down(self, error: APIStatusError, now: float, seconds: float) -> None:
        """Block all calls for a ``Retry-After``."""
        # One bad response must not stop a client for longer than runs wait at most.
        is_short = seconds <= self._breaker.most_seconds
        if error.transient and is_short and not is_throttling(error):
            self._limiter.block(now, seconds, self._chance())

    def failed(
        self, call: Call[T], answer: Answer[T], now: float, permit: Permit
    ) -> None:
        """Record an attempt without an answer, or with a 5xx."""
        self._note(answer)
        self._limiter.lost(now, permit[0])
        begins = self._breaker.failed(
            now,
            self._chance(),
            sent=permit[0],
            kind=_kind_of_failure(answer),
            purpose=permit[2],
        )
        if call.silence is not None:
            call.silence.failed(now)
        if begins:
            self._begin_outage(answer, now)

    def _begin_outage(self, answer: Answer[T], now: float) -> None:
        assert isinstance(answer, DigaError)  # noqa: S101 - for the type checker
        self._observer.outage_began(answer, now, self._breaker.most_seconds)

    def _note(self, answer: Answer[T]) -> None:
        if isinstance(answer, DigaError):
            self._failure = self._breaker.row, answer

    def answered(
        self, call: Call[T], answer: Answer[T], now: float, permit: Permit
    ) -> None:
        """Record an answer, whatever it says."""
        sent, in_flight, _ = permit
        if isinstance(answer, APIStatusError) and is_throttling(answer):
            self._limiter.throttled(
                now, sent, answer.retry_after, self._chance(), in_flight
            )
            self._observer.limiter(self._limiter, now, urgent=True)
        else:
            self._limiter.accepted(now, sent, in_flight)
            self._observer.limiter(self._limiter, now, urgent=False)
            self._remember(call.operation, answer)
        self._local.succeeded(now)
        if self._breaker.succeeded():
            self._observer.outage_ended(now)

    def _remember(self, operation: Operation[T], answer: Answer[T]) -> None:
        """Remember what an answer shows: the API is there, the call can be answered."""
        if not isinstance(answer, DigaError):
            self._check.is_right = True
        elif not isinstance(answer, NotFoundError):
            if status_of(answer) == 200:  # noqa: PLR2004
                self._check.succeeded()
            return
        if operation.subject is not None:
            self._recent.append(operation)

    def fell_short(
        self, call: Call[T], error: Answer[T], now: float, in_flight: int
    ) -> None:
        """Withdraw an attempt that could not be sent; let fewer be in flight."""
        assert isinstance(error, DigaError)  # noqa: S101 - for the type checker
        self._note(error)
        call.withdraw(now - call.begun)
        if self._local.fell_short(now, in_flight):
            self._observer.shortage(error)
        if in_flight > 1:
            return
        if self._breaker.failed(now, self._chance()):
            self._begin_outage(error, now)
        if call.silence is not None:
            call.silence.failed(now)

    def stood_still(self, blocked: float) -> None:
        """Record for how many seconds in all the event loop was blocked."""
        new, self._blocked = blocked - self._blocked, blocked
        if new > 0.0:  # the first attempt that ended since
            self._breaker.stood_still(new)
            self._observer.blocked(new)


def _kind_of_failure(answer: object) -> Failure:
    if not isinstance(answer, APIConnectionError):
        return Failure.ANSWER
    return Failure.NO_ANSWER if answer.phase == "read" else Failure.NOT_SENT
