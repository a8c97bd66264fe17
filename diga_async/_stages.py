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

from diga_async._admission import Admission
from diga_async._advice import rate_limit
from diga_async._clock import Clock
from diga_async._credentials import Credentials
from diga_async._errors import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    ClientClosedError,
    DigaError,
    InternalServerError,
    InvalidResponseError,
    RateLimitError,
)
from diga_async._events import AttemptEvent
from diga_async._lookup import Lookup, Stage, final, held_too_long, status_of, too_late
from diga_async._outage import Outage
from diga_async._pace import Pace
from diga_async._policy import (
    RetryBudget,
    RetryPolicy,
    delay_after,
    is_throttling,
)
from diga_async._protocol import Answer, read, request_for
from diga_async._transport import Transport
from diga_async._watch import Watch
from diga_async._wire import Endpoint

_T = TypeVar("_T")


@attrs.frozen(eq=False, repr=False)
class Sending:
    """Build the request, send it, read the answer."""

    phones: Endpoint
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
            on_begin=None if lookup.patient else lookup.follow,
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
    """Let an attempt wait its turn; tell the pace what came of it."""

    next: Stage
    admission: Admission
    pace: Pace
    outage: Outage
    clock: Clock
    chance: Callable[[], float]
    watch: Watch

    async def attempt(self, lookup: Lookup) -> Answer | None:
        """
        Make one attempt when its turn comes; None when it never came in time.

        Where a ``Retry-After`` holds everybody for longer than this lookup can
        wait, nothing is sent, and the answer is that it was refused once more.
        """
        asked = self.clock.now()
        urgent = not lookup.patient
        turn = self.admission.enter_now(asked, urgent=urgent)
        if turn is None:
            deadline = lookup.deadline if urgent else math.inf
            turn = await self.admission.enter(urgent=urgent, deadline=deadline)
        if turn is None:
            return self._turned_away()
        sent, in_flight = turn
        lookup.begin(sent, sent - asked)
        try:
            answer = await self.next(lookup)
            now = self.clock.now()
            kind = lookup.note(answer, now - sent)
            if lookup.advice is not None:
                self.pace.advised(now, *lookup.advice)
            self._learn(answer, now, sent, in_flight)
            if isinstance(answer, APIStatusError) and answer.retry_after:
                self._hold(answer, now, answer.retry_after)
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

    def _turned_away(self) -> RateLimitError | None:
        """Say why no turn came: a hold, or else the deadline."""
        held = self.pace.held(self.clock.now())
        return held_too_long(held) if held else None

    def _hold(self, error: APIStatusError, now: float, seconds: float) -> None:
        """Let a ``Retry-After`` hold everybody; end who has no time for it."""
        # One bad answer must not stop a client for longer than runs wait at most.
        is_short = seconds <= self.outage.most_seconds
        if error.transient and is_short and not is_throttling(error):
            self.pace.hold(now, seconds, self.chance())
        self.admission.turn_away(now)

    def _learn(self, answer: Answer, now: float, sent: float, in_flight: int) -> None:
        if isinstance(answer, APIStatusError) and is_throttling(answer):
            self.pace.refused(now, sent, answer.retry_after, self.chance(), in_flight)
        elif isinstance(answer, _SILENCE):
            self.pace.lost(now, sent)
            if self.outage.failed(now, self.chance()):
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
                return final(lookup, answer, self.clock.now())
            if not self._can_pay(lookup, answer):
                return final(lookup, _unpaid(answer), self.clock.now())
            lookup.retry()
            if delay > 0.0:
                await self._pause(lookup, answer, delay)

    async def _pause(self, lookup: Lookup, error: DigaError, seconds: float) -> None:
        """Wait; what a run waits because it was throttled uses up no deadline."""
        begun = self.clock.now()
        await self.clock.sleep(seconds)
        if lookup.patient and is_throttling(error):
            lookup.deadline += self.clock.now() - begun

    async def _has_key(self, lookup: Lookup) -> bool:
        """Ask a callable for the key before a slot is taken, within the deadline."""
        return await self._in_time(lookup, self.credentials.fetch()) is not None

    async def _in_time(self, lookup: Lookup, asking: Awaitable[_T]) -> _T | None:
        """Wait for the caller's own callable; None when the deadline came first."""
        left = lookup.deadline - self.clock.now()
        if lookup.patient:  # its deadline starts with its first attempt
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
