"""
One lookup, built of stages: each takes a `Lookup` and returns what became of it.

    Sending      build the request, send it, read the answer
    Admitted     hold a slot and obey the pace for as long as one attempt takes
    Retrying     the one loop that tries again

An error is returned, not raised: it has no traceback to keep alive, and
whoever asked raises it where it means something.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

import attrs
from yarl import URL

from diga_async._admission import Admission
from diga_async._advice import rate_limit
from diga_async._clock import Clock
from diga_async._connections import Attempt
from diga_async._credentials import Credentials
from diga_async._errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    ClientClosedError,
    DigaError,
    InternalServerError,
    InvalidResponseError,
    NotFoundError,
)
from diga_async._events import AnswerKind, AttemptEvent
from diga_async._outage import Outage
from diga_async._outcome import Failed, Found, Missing, Outcome
from diga_async._pace import Pace
from diga_async._phone import Phone
from diga_async._policy import (
    Progress,
    RetryBudget,
    RetryPolicy,
    Timeouts,
    delay_after,
    is_throttling,
)
from diga_async._protocol import Answer, read, request_for
from diga_async._transport import Transport
from diga_async._watch import Watch
from diga_async._wire import Secret

_T = TypeVar("_T")


@attrs.define(eq=False, repr=False)
class Tally:
    """What was done and is going on, of a client or of one run."""

    requests: int = 0
    retries: int = 0
    in_flight: int = 0
    answers: Counter[str] = attrs.field(factory=Counter)


@attrs.define(eq=False, repr=False, kw_only=True)
class Lookup(Progress):
    """
    One id on its way.

    Attributes:
        phone_id: The id.
        timeouts: How long it may take.
        tallies: Where to count what is done for it.
        started: When the first attempt began, on the client's clock.
        sending: Whether a request of it is open.
        halted: Whether nothing more may be sent for it.
        renewed: Whether another key was asked for on its account.
        authorization: The header its last request was sent with.
        attempt: What is open of a single lookup, while it is.
        begun: When that began.
        last: Why the attempt before failed.
        advice: What the last answer said of a rate limit: how many requests
            are left, and for how many seconds; None when nothing.
    """

    phone_id: UUID
    timeouts: Timeouts
    tallies: tuple[Tally, ...]
    started: float | None = None
    sending: bool = False
    halted: bool = False
    renewed: bool = False
    authorization: Secret = Secret()  # noqa: RUF009 - frozen
    attempt: Attempt | None = None
    begun: float = 0.0
    last: DigaError | None = None
    advice: tuple[int, float] | None = None

    def begin(self, now: float, held: float) -> None:
        """Take note that an attempt begins after the client *held* it back."""
        self.sending = True
        self.begun = now
        self.advice = None
        if self.started is None:
            self.started = now
            if self.patient:
                self.deadline = now + self.timeouts.total
        elif self.patient:
            self.deadline += held
        for tally in self.tallies:
            tally.requests += 1
            tally.in_flight += 1

    def end(self) -> None:
        """Take note that the attempt is over."""
        self.sending = False
        self.attempt = None
        for tally in self.tallies:
            tally.in_flight -= 1

    def note(self, answer: Answer, seconds: float) -> AnswerKind:
        """Take note of what an attempt of so many *seconds* brought; name it."""
        self.count(answer)
        kind = kind_of(answer)
        for tally in self.tallies:
            tally.answers[kind] += 1
        if kind == "throttled" and self.patient:
            self.deadline += seconds
        return kind

    def retry(self) -> None:
        """Take note that it is asked again."""
        for tally in self.tallies:
            tally.retries += 1

    def seconds(self, now: float) -> float:
        """Return how long the next attempt may take."""
        return min(self.timeouts.attempt, self.deadline - now)

    def board(self, attempt: Attempt) -> None:
        """Take note of what is open now."""
        self.attempt = attempt

    def extend(self, deadline: float, now: float) -> None:
        """Let it go on until *deadline*, for somebody who has more time."""
        self.deadline = max(deadline, self.deadline)
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


def outcome_of(lookup: Lookup, answer: Answer, now: float) -> Outcome:
    """Say how a lookup ended."""
    elapsed = lookup.elapsed(now)
    match answer:
        case Phone():
            return Found(lookup.phone_id, answer, lookup.attempts, elapsed)
        case NotFoundError():
            return Missing(lookup.phone_id, lookup.attempts, elapsed)
        case error:
            return Failed(lookup.phone_id, error, lookup.attempts, elapsed)


Stage = Callable[[Lookup], Awaitable[Answer]]


@attrs.frozen(eq=False, repr=False)
class Sending:
    """Build the request, send it, read the answer."""

    phones: URL
    credentials: Credentials
    transport: Transport
    clock: Clock

    async def attempt(self, lookup: Lookup) -> Answer:
        """Make one attempt."""
        authorization = self.credentials.held or await self.credentials.fetch()
        lookup.authorization = authorization
        response = await self.transport.send(
            request_for(self.phones, lookup.phone_id, authorization),
            seconds=lookup.seconds(self.clock.now()),
            connect=lookup.timeouts.connect,
            on_begin=None if lookup.patient else lookup.board,
        )
        if isinstance(response, APIConnectionError):
            return _closed() if self.transport.closed else response
        lookup.advice = rate_limit(response)
        answer = read(response, lookup.phone_id, authorization)
        if isinstance(answer, InvalidResponseError) and answer.foreign:
            self.transport.retire()
        return answer


def _unpaid(error: DigaError) -> DigaError:
    reasons = (error.reason, "not tried again: the retry budget is spent")
    return attrs.evolve(error, reason="; ".join(filter(None, reasons)))


def _closed() -> ClientClosedError:
    return ClientClosedError("the client's connections were closed")


@attrs.frozen(eq=False, repr=False)
class Admitted:
    """Let an attempt wait its turn; tell the pace what came of it."""

    next: Stage
    admission: Admission
    pace: Pace
    outage: Outage
    clock: Clock
    chance: Callable[[], float]
    watch: Watch

    async def attempt(self, lookup: Lookup) -> Answer | None:
        """Make one attempt when its turn comes; None when it never came in time."""
        asked = self.clock.now()
        urgent = not lookup.patient
        turn = self.admission.enter_now(asked, urgent=urgent)
        if turn is None:
            deadline = lookup.deadline if urgent else math.inf
            turn = await self.admission.enter(urgent=urgent, deadline=deadline)
        if turn is None:
            return None
        sent, in_flight = turn
        lookup.begin(sent, sent - asked)
        try:
            answer = await self.next(lookup)
            now = self.clock.now()
            kind = lookup.note(answer, now - sent)
            if lookup.advice is not None:
                self.pace.advised(now, *lookup.advice)
            self._learn(answer, now, sent, in_flight)
            if self.watch.is_on:
                self.watch.attempt(
                    AttemptEvent(
                        phone_id=lookup.phone_id,
                        attempts=lookup.attempts,
                        answer=kind,
                        status=status_of(answer),
                        waited=sent - asked,
                        elapsed=now - sent,
                        rate=self.pace.rate,
                    )
                )
        finally:
            lookup.end()
            self.admission.leave()
        return answer

    def _learn(self, answer: Answer, now: float, sent: float, in_flight: int) -> None:
        if isinstance(answer, APIStatusError) and is_throttling(answer):
            self.pace.refused(now, sent, answer.retry_after, self.chance(), in_flight)
        elif isinstance(answer, APIConnectionError | InternalServerError):
            self.pace.lost(now, sent)
            if self.outage.failed(now):
                self.watch.outage(is_on=True)
            return
        else:
            self.pace.answered(now, sent, in_flight)
        if self.outage.answered():
            self.watch.outage(is_on=False)


@attrs.frozen(eq=False, repr=False)
class Retrying:
    """Try again, for as long as the rules say so."""

    next: Callable[[Lookup], Awaitable[Answer | None]]
    credentials: Credentials
    policy: RetryPolicy
    budget: RetryBudget
    outage: Outage
    clock: Clock
    chance: Callable[[], float]

    async def look_up(self, lookup: Lookup) -> Answer:
        """Bring one lookup to its end."""
        if self.credentials.held is None and not await self._has_key(lookup):
            return too_late(lookup, self.clock.now())
        while True:
            deadline = lookup.deadline
            answer = await self.next(lookup)
            if answer is None:
                if lookup.deadline > deadline:
                    continue  # somebody with more time has joined
                return too_late(lookup, self.clock.now())
            if not isinstance(answer, DigaError):
                self.budget.give_back(lookup.attempts)
                return answer
            lookup.last = answer
            delay = await self._delay(lookup, answer)
            if delay is None:
                return self._final(lookup, answer)
            if not self._can_pay(lookup, answer):
                return self._final(lookup, _unpaid(answer))
            lookup.retry()
            if delay > 0.0:
                await self.clock.sleep(delay)

    async def _has_key(self, lookup: Lookup) -> bool:
        """Ask a callable for the key before a slot is taken, within the deadline."""
        deadline = lookup.deadline
        if await self._in_time(lookup, self.credentials.fetch()) is not None:
            return True
        return lookup.deadline > deadline and await self._has_key(lookup)

    async def _in_time(self, lookup: Lookup, asking: Awaitable[_T]) -> _T | None:
        """Wait for the caller's own callable; None when the deadline came first."""
        left = min(lookup.deadline - self.clock.now(), lookup.timeouts.total)
        limit = asyncio.timeout(left)
        try:
            async with limit:
                return await asking
        except TimeoutError:
            if not limit.expired():
                raise  # the callable's own
            return None

    async def _delay(self, lookup: Lookup, error: DigaError) -> float | None:
        """Return the pause before the next attempt, or None to stop."""
        now = self.clock.now()
        if lookup.halted or (lookup.patient and self.outage.is_hopeless(now)):
            return None
        if isinstance(error, AuthenticationError):
            if await self._may_renew(lookup):
                return 0.0
            if not lookup.renewed:  # the next lookup asks, as this one may not
                self.credentials.forget(lookup.authorization)
            return None
        return delay_after(error, lookup, self.policy, now, self.chance())

    def _can_pay(self, lookup: Lookup, error: DigaError) -> bool:
        """Spend of the budget that single lookups have for transient faults."""
        free = lookup.patient or not error.transient or is_throttling(error)
        return free or self.budget.spend()

    async def _may_renew(self, lookup: Lookup) -> bool:
        """Ask once for another key, if the policy leaves an attempt to use it."""
        if lookup.renewed or lookup.attempts >= self.policy.max_attempts:
            return False
        lookup.renewed = True
        asking = self.credentials.renew(lookup.authorization)
        return bool(await self._in_time(lookup, asking))

    def _final(self, lookup: Lookup, error: DigaError) -> DigaError:
        return final(lookup, error, self.clock.now())


def too_late(lookup: Lookup, now: float) -> DigaError:
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


def final(lookup: Lookup, error: DigaError, now: float) -> DigaError:
    """Say what *error* is about, on a new object that holds no traceback."""
    return attrs.evolve(
        error,
        phone_id=lookup.phone_id,
        attempts=lookup.attempts,
        elapsed=lookup.elapsed(now),
    )
