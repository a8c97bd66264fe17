"""
`Engine`: carries one call from the queue to its answer.

A call is a loop of attempts. Each attempt waits for a permit, sends one request and
tells the limits what came back; the rules decide whether another one follows.

An error is returned, not raised: it has no traceback to keep alive, and the caller
raises it where it means something.
"""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import attrs

from diga_async._api.addresses import endpoint_of, peer_of
from diga_async._api.headers import rate_limit
from diga_async._api.operation import Answer
from diga_async._api.problems import request_id
from diga_async._engine.call import (
    Call,
    Counters,
    blocked_error,
    deadline_error,
    final,
    status_of,
)
from diga_async._engine.clock import Clock
from diga_async._engine.credentials import Credentials
from diga_async._engine.observer import Observer, lookup_event
from diga_async._engine.scheduler import Scheduler
from diga_async._flow.circuit_breaker import CircuitBreaker
from diga_async._flow.local_limit import LocalLimit
from diga_async._flow.rate_limiter import RateLimiter
from diga_async._flow.retry import RetryBudget, delay_after, is_throttling
from diga_async._models.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    ClientClosedError,
    DigaError,
    InternalServerError,
    InvalidResponseError,
)
from diga_async._models.events import AttemptEvent
from diga_async._models.options import Limits, RetryPolicy
from diga_async._transport.failures import Shortage, timeout_error
from diga_async._transport.transport import Transport

T = TypeVar("T")

#: A server that sends nothing, or only that it failed, may be down.
_FAILURES = (APIConnectionError, InternalServerError)


@attrs.frozen(kw_only=True)
class Settings:
    """
    What the calls of a client have in common.

    Attributes:
        base_url: Where requests go.
        proxy: What they go through; None for nothing.
        retry: What is retried.
        limits: How much may be sent.
        headers: Headers that every request has beside the client's own.
    """

    base_url: str
    proxy: str | None = attrs.field(default=None, repr=False)
    retry: RetryPolicy = RetryPolicy()  # noqa: RUF009 - frozen
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    headers: Mapping[str, str] = attrs.field(factory=dict)


class Engine:
    """
    Everything that the calls of a client share in one event loop.

    Attributes:
        clock: The time.
        counters: What the client has done.
        limiter: How fast it may send.
        breaker: Whether runs are held back.
        observer: Is told of attempts and calls.
        peer: What requests are sent to, as errors name it.
    """

    def __init__(  # noqa: PLR0913 - tests replace the last three
        self,
        settings: Settings,
        credentials: Credentials,
        transport: Transport,
        counters: Counters,
        *,
        observer: Observer | None = None,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.clock = clock or Clock()
        self.counters = counters
        self.limiter = RateLimiter(**attrs.asdict(settings.limits))
        self.breaker = CircuitBreaker(settings.retry.max_outage)
        self.observer = observer or Observer(None)
        self._local = LocalLimit(min(transport.size, settings.limits.concurrency))
        self.scheduler = Scheduler(
            self.limiter, self.breaker, self.clock, chance, self._local
        )
        self.budget = RetryBudget()
        self._policy = settings.retry
        self._endpoint = endpoint_of(settings.base_url, settings.headers)
        self.peer = peer_of(self._endpoint.url, settings.proxy)
        self._blocked = 0.0
        self._credentials = credentials
        self._transport = transport
        self._chance = chance

    # --- the one loop that retries

    async def run(self, call: Call[T]) -> Answer[T]:
        """Carry *call* to its end; return the value, or why there is none."""
        if self._credentials.held is None and not await self._has_key(call):
            return self._too_late(call)
        while True:
            deadline = call.deadline
            answer = await self._attempt(call)
            if answer is None:
                if call.deadline > deadline:
                    continue  # a follower with more time has joined
                return self._too_late(call)
            if not isinstance(answer, DigaError):
                self.budget.refund(call.attempts)
                return answer
            call.last = answer
            delay = await self._delay(call, answer)
            if delay is None:
                return final(call, answer, self.clock.now())
            if not self._can_pay(call, answer):
                return final(call, _over_budget(answer), self.clock.now())
            if not call.is_short:
                call.retry()
            if delay > 0.0:
                await self._pause(call, answer, delay)

    def _too_late(self, call: Call[T]) -> DigaError:
        """Return why there is no answer, now that the deadline has passed."""
        return deadline_error(call, self.clock.now(), self.peer)

    async def _pause(self, call: Call[T], error: DigaError, seconds: float) -> None:
        """Wait; in a run, a pause for throttling does not count towards `total`."""
        begun = self.clock.now()
        await self.clock.sleep(seconds)
        if call.bulk and is_throttling(error):
            call.deadline += self.clock.now() - begun

    async def _delay(self, call: Call[T], error: DigaError) -> float | None:
        """Return the pause before the next attempt; None means stop."""
        now = self.clock.now()
        if call.halted or (call.bulk and self.breaker.is_hopeless(now)):
            return None
        if call.is_short:
            return 0.0  # the scheduler delays it, until its deadline
        if isinstance(error, AuthenticationError):
            if await self._may_renew(call):
                return 0.0
            if not call.renewed:  # the next call asks, as this one may not
                self._credentials.forget(call.authorization)
            return None
        return delay_after(error, call, self._policy, now, self._chance())

    def _can_pay(self, call: Call[T], error: DigaError) -> bool:
        """Spend of the budget that single calls have for transient failures."""
        free = call.bulk or not error.transient or is_throttling(error)
        return free or call.is_short or self.budget.spend()

    # --- the key

    async def _has_key(self, call: Call[T]) -> bool:
        """Ask the callable for the key before a slot is taken, within the deadline."""
        return await self._in_time(call, self._credentials.fetch()) is not None

    async def _may_renew(self, call: Call[T]) -> bool:
        """Ask once for another key, if the policy leaves an attempt to use it."""
        if call.renewed or call.attempts >= self._policy.max_attempts:
            return False
        call.renewed = True
        asking = self._credentials.renew(call.authorization)
        return bool(await self._in_time(call, asking))

    async def _in_time(self, call: Call[T], asking: Awaitable[object]) -> object | None:
        """Await the user's callable; None when the deadline came first."""
        left = call.deadline - self.clock.now()
        if call.bulk:  # its deadline starts with its first attempt
            left = min(left, call.timeouts.total)
        call.asking = limit = asyncio.timeout(left)
        try:
            async with limit:
                return await asking
        except TimeoutError:
            if not limit.expired():
                raise  # the callable's own
            return None
        finally:
            call.asking = None

    # --- one attempt

    async def _attempt(self, call: Call[T]) -> Answer[T] | None:
        """
        Make one attempt when it gets a permit; None when the deadline came first.

        Where a ``Retry-After`` blocks the client for longer than the call can wait,
        nothing is sent, and the answer is that it was throttled once more.
        """
        asked = self.clock.now()
        permit = self.scheduler.try_acquire(asked, bulk=call.bulk)
        if permit is None:
            deadline = math.inf if call.bulk else call.deadline
            permit = await self.scheduler.acquire(bulk=call.bulk, deadline=deadline)
        if permit is None:
            return self._rejection(call)
        sent, in_flight = permit
        call.begin(sent, sent - asked)
        try:
            answer = await self._send(call)
            now = self.clock.now()
            if call.is_short:
                self._fell_short(call, answer, now)
                return answer
            kind = call.note(answer, now - sent)
            if call.rate_limit is not None:
                self.limiter.advised(now, *call.rate_limit)
            self._learn(answer, now, sent, in_flight)
            if isinstance(answer, APIStatusError) and answer.retry_after:
                self._cool_down(answer, now, answer.retry_after)
        finally:
            call.end()
            self.scheduler.release()
        if self.observer.is_on:
            event = AttemptEvent(
                phone_id=call.subject,
                attempts=call.attempts,
                answer=kind,
                status=status_of(answer),
                waited=sent - asked,
                elapsed=now - sent,
                rate=self.limiter.rate,
            )
            self.observer.attempt(event)
        return answer

    async def _send(self, call: Call[T]) -> Answer[T]:
        """Send one request; read the response."""
        operation = call.operation
        authorization = self._credentials.held or await self._credentials.fetch()
        call.authorization = authorization
        begun = self.clock.now()
        left, blocked = call.deadline - begun, self._transport.blocked
        response = await self._transport.send(
            operation.request(self._endpoint, authorization),
            seconds=call.seconds(begun),
            connect=call.timeouts.connect,
            most=math.inf if call.bulk else left,
            fresh=_lost_its_connection(call.last),
            on_begin=None if call.bulk else call.follow,
        )
        if self._transport.blocked > blocked:
            self._was_blocked(call, self._transport.blocked - blocked)
        call.is_short = isinstance(response, Shortage)
        if isinstance(response, Shortage):
            response = response.error
        if isinstance(response, APIConnectionError):
            if self._transport.closed:
                return _closed()
            return self._named(response, call, left)
        call.rate_limit = rate_limit(response)
        call.request_id = request_id(response, authorization)
        answer = operation.answer(response, authorization)
        if isinstance(answer, InvalidResponseError) and answer.foreign:
            self._transport.retire()
        return answer

    def _named(
        self, error: APIConnectionError, call: Call[T], left: float
    ) -> APIConnectionError:
        """Let a timeout name `Timeouts.total`, where that left less than `attempt`."""
        if not isinstance(error, APITimeoutError) or left >= call.timeouts.attempt:
            return error
        if error.phase == "connect" and left >= call.timeouts.connect:
            return error
        return timeout_error(self.peer, error.phase, "total", call.timeouts.total)

    def _rejection(self, call: Call[T]) -> DigaError | None:
        """Return why there was no permit: a ``Retry-After``; None is the deadline."""
        blocked = self.limiter.blocked_for(self.clock.now())
        if not blocked:
            return None
        if call.bulk or call.last is None:
            return blocked_error(blocked)
        # Its own last error says more than that nothing was sent.
        if isinstance(call.last, APIStatusError):
            return attrs.evolve(call.last, retry_after=blocked)
        return call.last

    # --- what this machine lacks

    def _fell_short(self, call: Call[T], error: Answer[T], now: float) -> None:
        """Withdraw an attempt that could not be sent; let fewer be in flight."""
        assert isinstance(error, DigaError)  # noqa: S101 - for the type checker
        in_flight = self.scheduler.in_flight
        call.withdraw(now - call.begun)
        if self._local.fell_short(now, in_flight):
            self.observer.shortage(error)
        alone = in_flight == 1
        if alone and self.breaker.failed(now, self._chance()):
            self.observer.outage(is_on=True)

    def _was_blocked(self, call: Call[T], seconds: float) -> None:
        """Take time in which the loop stood still out of every account."""
        if call.bulk:
            call.deadline += seconds
        new = self._transport.blocked - self._blocked
        if new > 0.0:  # the first attempt that ended since
            self._blocked = self._transport.blocked
            self.breaker.stood_still(new)
            self.observer.blocked(new)

    def report(self, call: Call[T], answer: Answer[T]) -> None:
        """Tell the observer how a call ended that is about one record."""
        if self.observer.is_on and call.subject is not None:
            event = lookup_event(
                call.subject,
                answer,
                attempts=call.attempts,
                elapsed=call.elapsed(self.clock.now()),
            )
            self.observer.lookup(event)

    # --- what the limits learn

    def _cool_down(self, error: APIStatusError, now: float, seconds: float) -> None:
        """Let a ``Retry-After`` hold all calls; reject those that cannot wait."""
        # One bad response must not stop a client for longer than runs wait at most.
        is_short = seconds <= self.breaker.most_seconds
        if error.transient and is_short and not is_throttling(error):
            self.limiter.block(now, seconds, self._chance())
        self.scheduler.reject_blocked(now)

    def _learn(
        self, answer: Answer[T], now: float, sent: float, in_flight: int
    ) -> None:
        if isinstance(answer, APIStatusError) and is_throttling(answer):
            self.limiter.throttled(
                now, sent, answer.retry_after, self._chance(), in_flight
            )
        elif isinstance(answer, _FAILURES):
            self.limiter.lost(now, sent)
            if self.breaker.failed(now, self._chance()):
                self.observer.outage(is_on=True)
            return
        else:
            self.limiter.accepted(now, sent, in_flight)
        self._local.succeeded(now)
        if self.breaker.succeeded():
            self.observer.outage(is_on=False)


def _lost_its_connection(error: DigaError | None) -> bool:
    """Whether a call's last connection broke: another idle one may be as stale."""
    return isinstance(error, APIConnectionError) and error.phase == "read"


def _over_budget(error: DigaError) -> DigaError:
    reasons = (error.reason, "not retried: the retry budget is spent")
    return attrs.evolve(error, reason="; ".join(filter(None, reasons)))


def _closed() -> ClientClosedError:
    return ClientClosedError("the client's connections were closed")
