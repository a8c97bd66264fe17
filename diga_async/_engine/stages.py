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
from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs

from diga_async._api.headers import rate_limit
from diga_async._api.messages import Endpoint
from diga_async._api.phones import Answer, read, request_for
from diga_async._engine.call import (
    Call,
    Stage,
    final,
    held_too_long,
    status_of,
    too_late,
)
from diga_async._engine.clock import Clock
from diga_async._engine.credentials import Credentials
from diga_async._engine.observer import Observer
from diga_async._engine.scheduler import Scheduler
from diga_async._flow.circuit_breaker import CircuitBreaker
from diga_async._flow.rate_limiter import RateLimiter
from diga_async._flow.retry import RetryBudget, delay_after, is_throttling
from diga_async._models.errors import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    ClientClosedError,
    DigaError,
    InternalServerError,
    InvalidResponseError,
    RateLimitError,
)
from diga_async._models.events import AttemptEvent
from diga_async._models.options import RetryPolicy
from diga_async._transport.transport import Transport

_T = TypeVar("_T")


@attrs.frozen(eq=False, repr=False)
class Sending:
    """Build the request, send it, read the answer."""

    phones: Endpoint
    credentials: Credentials
    transport: Transport
    clock: Clock

    async def attempt(self, lookup: Call) -> Answer:
        """Make one attempt."""
        authorization = self.credentials.held or await self.credentials.fetch()
        lookup.authorization = authorization
        response = await self.transport.send(
            request_for(self.phones, lookup.phone_id, authorization),
            seconds=lookup.seconds(self.clock.now()),
            connect=lookup.timeouts.connect,
            on_begin=None if lookup.bulk else lookup.follow,
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


#: A server that answers nothing, or only that it failed, may be down.
_SILENCE = (APIConnectionError, InternalServerError)


@attrs.frozen(eq=False, repr=False)
class Admitted:
    """Let an attempt wait its turn; tell the limiter what came of it."""

    next: Stage
    scheduler: Scheduler
    limiter: RateLimiter
    breaker: CircuitBreaker
    clock: Clock
    chance: Callable[[], float]
    observer: Observer

    async def attempt(self, lookup: Call) -> Answer | None:
        """
        Make one attempt when its turn comes; None when it never came in time.

        Where a ``Retry-After`` holds everybody for longer than this lookup can
        wait, nothing is sent, and the answer is that it was refused once more.
        """
        asked = self.clock.now()
        interactive = not lookup.bulk
        turn = self.scheduler.try_acquire(asked, interactive=interactive)
        if turn is None:
            deadline = lookup.deadline if interactive else math.inf
            turn = await self.scheduler.enter(
                interactive=interactive, deadline=deadline
            )
        if turn is None:
            return self._turned_away()
        sent, in_flight = turn
        lookup.begin(sent, sent - asked)
        try:
            answer = await self.next(lookup)
            now = self.clock.now()
            kind = lookup.note(answer, now - sent)
            if lookup.advice is not None:
                self.limiter.advised(now, *lookup.advice)
            self._learn(answer, now, sent, in_flight)
            if isinstance(answer, APIStatusError) and answer.retry_after:
                self._hold(answer, now, answer.retry_after)
            if self.observer.is_on:
                self.observer.attempt(
                    AttemptEvent(
                        phone_id=lookup.phone_id,
                        attempts=lookup.attempts,
                        answer=kind,
                        status=status_of(answer),
                        waited=sent - asked,
                        elapsed=now - sent,
                        rate=self.limiter.rate,
                    )
                )
        finally:
            lookup.end()
            self.scheduler.leave()
        return answer

    def _turned_away(self) -> RateLimitError | None:
        """Say why no turn came: a hold, or else the deadline."""
        held = self.limiter.blocked_for(self.clock.now())
        return held_too_long(held) if held else None

    def _hold(self, error: APIStatusError, now: float, seconds: float) -> None:
        """Let a ``Retry-After`` hold everybody; end who has no time for it."""
        # One bad answer must not stop a client for longer than runs wait at most.
        is_short = seconds <= self.breaker.most_seconds
        if error.transient and is_short and not is_throttling(error):
            self.limiter.block(now, seconds, self.chance())
        self.scheduler.turn_away(now)

    def _learn(self, answer: Answer, now: float, sent: float, in_flight: int) -> None:
        if isinstance(answer, APIStatusError) and is_throttling(answer):
            self.limiter.throttled(
                now, sent, answer.retry_after, self.chance(), in_flight
            )
        elif isinstance(answer, _SILENCE):
            self.limiter.lost(now, sent)
            if self.breaker.failed(now, self.chance()):
                self.observer.outage(is_on=True)
            return
        else:
            self.limiter.accepted(now, sent, in_flight)
        if self.breaker.answered():
            self.observer.outage(is_on=False)


@attrs.frozen(eq=False, repr=False)
class Retrying:
    """Try again, for as long as the rules say so."""

    next: Callable[[Call], Awaitable[Answer | None]]
    credentials: Credentials
    policy: RetryPolicy
    budget: RetryBudget
    breaker: CircuitBreaker
    clock: Clock
    chance: Callable[[], float]

    async def run(self, lookup: Call) -> Answer:
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
                self.budget.release(lookup.attempts)
                return answer
            lookup.last = answer
            delay = await self._delay(lookup, answer)
            if delay is None:
                return final(lookup, answer, self.clock.now())
            if not self._can_pay(lookup, answer):
                return final(lookup, _unpaid(answer), self.clock.now())
            lookup.retry()
            if delay > 0.0:
                await self._pause(lookup, answer, delay)

    async def _pause(self, lookup: Call, error: DigaError, seconds: float) -> None:
        """Wait; what a run waits because it was throttled uses up no deadline."""
        begun = self.clock.now()
        await self.clock.sleep(seconds)
        if lookup.bulk and is_throttling(error):
            lookup.deadline += self.clock.now() - begun

    async def _has_key(self, lookup: Call) -> bool:
        """Ask a callable for the key before a slot is taken, within the deadline."""
        return await self._in_time(lookup, self.credentials.fetch()) is not None

    async def _in_time(self, lookup: Call, asking: Awaitable[_T]) -> _T | None:
        """Wait for the caller's own callable; None when the deadline came first."""
        left = lookup.deadline - self.clock.now()
        if lookup.bulk:  # its deadline starts with its first attempt
            left = min(left, lookup.timeouts.total)
        lookup.asking = limit = asyncio.timeout(left)
        try:
            async with limit:
                return await asking
        except TimeoutError:
            if not limit.expired():
                raise  # the callable's own
            return None
        finally:
            lookup.asking = None

    async def _delay(self, lookup: Call, error: DigaError) -> float | None:
        """Return the pause before the next attempt, or None to stop."""
        now = self.clock.now()
        if lookup.halted or (lookup.bulk and self.breaker.is_hopeless(now)):
            return None
        if isinstance(error, AuthenticationError):
            if await self._may_renew(lookup):
                return 0.0
            if not lookup.renewed:  # the next lookup asks, as this one may not
                self.credentials.forget(lookup.authorization)
            return None
        return delay_after(error, lookup, self.policy, now, self.chance())

    def _can_pay(self, lookup: Call, error: DigaError) -> bool:
        """Spend of the budget that single lookups have for transient faults."""
        free = lookup.bulk or not error.transient or is_throttling(error)
        return free or self.budget.spend()

    async def _may_renew(self, lookup: Call) -> bool:
        """Ask once for another key, if the policy leaves an attempt to use it."""
        if lookup.renewed or lookup.attempts >= self.policy.max_attempts:
            return False
        lookup.renewed = True
        asking = self.credentials.renew(lookup.authorization)
        return bool(await self._in_time(lookup, asking))
