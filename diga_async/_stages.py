"""
One lookup, built of stages: each takes a `Lookup` and returns what became of it.

    sending      build the request, send it, read the answer
    admitted     hold a slot and obey the pace for as long as one attempt takes
    retrying     the one loop that tries again

An error is returned, not raised: it has no traceback to keep alive, and
whoever asked raises it where it means something.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from uuid import UUID

import attrs

from diga_async._admission import Admission
from diga_async._clock import Clock
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
from diga_async._pace import Pace
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
from diga_async._wire import Secret


@attrs.define(eq=False)
class Tally:
    """What was done and is going on, of a client or of one run."""

    requests: int = 0
    retries: int = 0
    throttled: int = 0
    in_flight: int = 0
    answers: Counter[str] = attrs.field(factory=Counter)


@attrs.define(eq=False, kw_only=True)
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
    """

    phone_id: UUID
    timeouts: Timeouts
    tallies: tuple[Tally, ...]
    started: float | None = None
    sending: bool = False
    halted: bool = False
    renewed: bool = False
    authorization: Secret = attrs.field(default=Secret(), repr=False)

    def begin(self, now: float, held: float) -> None:
        """Take note that an attempt begins after the client *held* it back."""
        self.sending = True
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
        for tally in self.tallies:
            tally.in_flight -= 1

    def note(self, answer: Answer, seconds: float) -> None:
        """Take note of what an attempt of so many *seconds* brought."""
        self.count(answer)
        throttled = is_throttling(answer)
        if throttled and self.patient:
            self.deadline += seconds
        kind = kind_of(answer)
        for tally in self.tallies:
            tally.throttled += throttled
            tally.answers[kind] += 1

    def retry(self) -> None:
        """Take note that it is asked again."""
        for tally in self.tallies:
            tally.retries += 1

    def seconds(self, now: float) -> float:
        """Return how long the next attempt may take."""
        return min(self.timeouts.attempt, self.deadline - now)

    def elapsed(self, now: float) -> float:
        """Return the seconds since the first attempt began."""
        return 0.0 if self.started is None else now - self.started


def kind_of(answer: Answer) -> str:
    """Name the kind of answer as `ClientStats` does."""
    match answer:
        case NotFoundError():
            return "missing"
        case APIStatusError():
            if is_throttling(answer):
                return "throttled"
            return "server_errors" if answer.status >= 500 else "rejected"  # noqa: PLR2004
        case InvalidResponseError():
            return "invalid"
        case DigaError():
            return "lost"
        case _:
            return "found"


Stage = Callable[[Lookup], Awaitable[Answer]]
AdmittedStage = Callable[[Lookup], Awaitable[Answer | None]]


def sending(
    base_url: str, credentials: Credentials, transport: Transport, clock: Clock
) -> Stage:
    """Make the stage that builds a request, sends it and reads the answer."""

    async def send(lookup: Lookup) -> Answer:
        authorization = lookup.authorization = await credentials.fetch()
        response = await transport.send(
            request_for(base_url, lookup.phone_id, authorization),
            seconds=lookup.seconds(clock.now()),
            connect=lookup.timeouts.connect,
        )
        if isinstance(response, APIConnectionError):
            return _closed() if transport.closed else response
        answer = read(response, lookup.phone_id, authorization)
        if isinstance(answer, InvalidResponseError) and answer.foreign:
            transport.retire()
        return answer

    return send


def _closed() -> ClientClosedError:
    return ClientClosedError("the client's connections were closed")


def admitted(
    attempt: Stage,
    admission: Admission,
    pace: Pace,
    clock: Clock,
    chance: Callable[[], float],
) -> AdmittedStage:
    """Make the stage that lets an attempt wait its turn; None when it never came."""

    async def wait_and_attempt(lookup: Lookup) -> Answer | None:
        asked = clock.now()
        deadline = math.inf if lookup.patient else lookup.deadline
        if not await admission.enter(urgent=not lookup.patient, deadline=deadline):
            return None
        sent, in_flight = clock.now(), admission.in_flight
        lookup.begin(sent, sent - asked)
        try:
            answer = await attempt(lookup)
            now = clock.now()
            lookup.note(answer, now - sent)
            if isinstance(answer, APIStatusError) and is_throttling(answer):
                pace.refused(now, sent, answer.retry_after, chance(), in_flight)
            elif isinstance(answer, APIConnectionError | InternalServerError):
                pace.lost(now, sent)
            else:
                pace.answered(now, sent, in_flight)
        finally:
            lookup.end()
            admission.leave()
        return answer

    return wait_and_attempt


def retrying(
    attempt: AdmittedStage,
    credentials: Credentials,
    policy: RetryPolicy,
    budget: RetryBudget,
    clock: Clock,
    chance: Callable[[], float],
) -> Stage:
    """Make the one loop that tries again, and stops when the rules say so."""

    async def delay_before_next(lookup: Lookup, error: DigaError) -> float | None:
        if lookup.halted:
            return None
        if isinstance(error, AuthenticationError):
            return 0.0 if await may_renew(lookup) else None
        delay = delay_after(error, lookup, policy, clock.now(), chance())
        if delay is None or lookup.patient or is_throttling(error):
            return delay
        return delay if budget.spend() else None

    async def may_renew(lookup: Lookup) -> bool:
        if lookup.renewed or lookup.attempts >= policy.max_attempts:
            return False
        lookup.renewed = True
        return await credentials.renew(lookup.authorization)

    async def look_up(lookup: Lookup) -> Answer:
        last: DigaError | None = None
        if not await _has_key(credentials, lookup, clock):
            return _too_late(lookup, last, clock)
        while True:
            answer = await attempt(lookup)
            if answer is None:
                return _too_late(lookup, last, clock)
            if not isinstance(answer, DigaError):
                budget.give_back(lookup.attempts)
                return answer
            last = answer
            delay = await delay_before_next(lookup, answer)
            if delay is None:
                return _final(lookup, answer, clock)
            lookup.retry()
            if delay > 0.0:
                await clock.sleep(delay)

    return look_up


async def _has_key(credentials: Credentials, lookup: Lookup, clock: Clock) -> bool:
    """Ask a callable for the key before a slot is taken, within the deadline."""
    if credentials.held is not None:
        return True
    left = min(lookup.deadline - clock.now(), lookup.timeouts.total)
    try:
        async with asyncio.timeout(left):
            await credentials.fetch()
    except TimeoutError:
        return False
    return True


def _too_late(lookup: Lookup, last: DigaError | None, clock: Clock) -> DigaError:
    error = last or APITimeoutError(
        "the deadline came before the first attempt", phase="wait"
    )
    return _final(lookup, error, clock)


def _final(lookup: Lookup, error: DigaError, clock: Clock) -> DigaError:
    """Say what *error* is about, on a new object that holds no traceback."""
    return attrs.evolve(
        error,
        phone_id=lookup.phone_id,
        attempts=lookup.attempts,
        elapsed=lookup.elapsed(clock.now()),
    )
