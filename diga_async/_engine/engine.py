"""
`Engine`: carries one call from the queue to its answer.

A call is a loop of attempts. Each attempt waits for a permit, sends one request and
tells the limits what came back; the rules decide whether another one follows.

An error is returned, not raised, so that it keeps no traceback alive; the caller
raises it.
"""

import math
import random
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs

from diga_async._api.addresses import endpoint_of, peer_of
from diga_async._api.headers import rate_limit
from diga_async._api.messages import Secret
from diga_async._api.operation import Answer, Operation
from diga_async._api.problems import request_id
from diga_async._engine.address_question import AddressQuestion
from diga_async._engine.call import (
    Call,
    Counters,
    blocked_error,
    deadline_error,
    final,
    reason_of,
    status_of,
)
from diga_async._engine.clock import Clock
from diga_async._engine.credentials import Credentials, KeyRequests
from diga_async._engine.feedback import Feedback
from diga_async._engine.observer import Observer, lookup_event
from diga_async._engine.scheduler import Permit, Scheduler
from diga_async._flow.address_check import AddressCheck
from diga_async._flow.circuit_breaker import CircuitBreaker, Purpose, Silence
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
    NotFoundError,
)
from diga_async._models.events import AttemptEvent
from diga_async._models.options import Limits, RetryPolicy
from diga_async._transport.failures import Shortage, timeout_error
from diga_async._transport.transport import Transport

T = TypeVar("T")

#: A server that sends nothing, or only its own failures, may be down.
_FAILURES = (APIConnectionError, InternalServerError)


@attrs.frozen(eq=False, repr=False, kw_only=True)
class Settings:
    """
    The settings that the calls of a client share.

    Attributes:
        base_url: Where requests go.
        proxy: The proxy; None when there is none.
        retry: What is retried.
        limits: How much may be sent.
        control: Makes a call that any server of the API answers: asked whether the
            API is there, and in an outage, whether the server or the ids fail.
        headers: Headers sent with every request, besides the client's own.
    """

    base_url: str
    proxy: str | None = None
    retry: RetryPolicy = RetryPolicy()  # noqa: RUF009 - frozen
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    control: Callable[[], Operation[Any]] | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)


class Engine:
    """
    Carries the calls of a client in one event loop.

    Attributes:
        clock: The time.
        counters: What the client has done.
        limiter: How fast it may send.
        breaker: Whether runs are held back.
        observer: Is told of attempts and calls.
        policy: What is retried.
        endpoint: Where requests go.
        address: The question whether there is an API.
        peer: What requests are sent to, as errors name it.
    """

    def __init__(  # noqa: PLR0913 - tests replace the last four
        self,
        settings: Settings,
        credentials: Credentials,
        transport: Transport,
        counters: Counters,
        *,
        address: AddressCheck | None = None,
        observer: Observer | None = None,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.clock = clock or Clock()
        self.counters = counters
        self.limiter = RateLimiter(**attrs.asdict(settings.limits))
        self.breaker = CircuitBreaker(settings.retry.max_outage)
        self.address = AddressQuestion(
            address or AddressCheck(),
            settings.control,
            self._attempt,
            clock=self.clock,
            seconds=settings.retry.max_outage,
            counters=counters,
        )
        self.observer = observer or Observer(None)
        local = LocalLimit(min(transport.size, settings.limits.concurrency))
        self.scheduler = Scheduler(
            self.limiter, self.breaker, self.clock, chance, local
        )
        self._feedback = Feedback(
            self.limiter,
            self.breaker,
            local,
            self.address.check,
            observer=self.observer,
            chance=chance,
        )
        self.budget = RetryBudget()
        self.policy = settings.retry
        self.endpoint = endpoint_of(settings.base_url, settings.headers)
        self.peer = peer_of(self.endpoint.url, settings.proxy)
        self._credentials = credentials
        self._keys = KeyRequests(
            credentials, self.clock, chance, self.observer.key_hangs
        )
        self._control = settings.control
        self._transport = transport
        self._chance = chance

    @property
    def last_error(self) -> DigaError | None:
        """Why the last attempt had no answer or a 5xx; None once the server answers."""
        return self._feedback.last_error

    # --- the one loop that retries

    async def run(self, call: Call[T]) -> Answer[T]:
        """Carry *call* to its end; return the value, or why there is none."""
        if call.bulk and call.silence is None:
            call.silence = Silence(self.breaker)
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
                return self._final(call, answer)
            if not self._can_pay(call, answer):
                return final(call, _over_budget(answer), self.clock.now())
            if not call.is_short:
                call.retry()
            if delay > 0.0:
                await self._pause(call, answer, delay)

    def _final(self, call: Call[T], error: DigaError) -> DigaError:
        if isinstance(error, NotFoundError):
            self.budget.refund(call.attempts)
        return final(call, error, self.clock.now())

    def _too_late(self, call: Call[T]) -> DigaError:
        """Return the error of a call whose deadline has passed."""
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
        if call.halted or (call.silence is not None and call.silence.is_hopeless(now)):
            return None
        if call.is_short:
            return 0.0  # the scheduler delays it, until its deadline
        if isinstance(error, AuthenticationError):
            return 0.0 if await self._renews(call) else None
        call.renewed = False
        return delay_after(error, call, self.policy, now, self._chance())

    def _can_pay(self, call: Call[T], error: DigaError) -> bool:
        """Spend the retry budget of single calls; return whether enough was left."""
        free = call.bulk or not error.transient or is_throttling(error)
        return free or call.is_short or self.budget.spend()

    # --- the key

    async def _renews(self, call: Call[T]) -> bool:
        """Ask once for another key; return whether there is one."""
        if call.renewed:
            return False
        if self.policy.max_attempts == 1 and not call.bulk:
            self._credentials.forget(call.authorization)  # the next call asks
            return False
        call.renewed = True
        begun = self.clock.now()
        key = await self._key(call, call.authorization)
        if key is None or key == call.authorization:
            return False
        call.uncount()
        if call.bulk:
            call.deadline += self.clock.now() - begun
        return True

    async def _key(self, call: Call[T], refused: Secret | None = None) -> Secret | None:
        """Return the key, perhaps the *refused* one again; None when time is over."""
        limit = call.timeouts.attempt
        if call.bulk:
            limit = min(limit, call.timeouts.total)
        while (left := self._patience(call)) > 0.0:
            key = await self._keys.wait(refused, seconds=left, limit=limit)
            if key is not None:
                return key
        return None

    def _patience(self, call: Call[T]) -> float:
        """Return how many seconds *call* waits for a key."""
        now = self.clock.now()
        if call.silence is None:
            return call.deadline - now
        call.silence.failed(now)
        return call.silence.left(now)

    # --- one attempt

    async def _attempt(self, call: Call[T]) -> Answer[T] | None:
        """
        Make one attempt when it gets a permit; None when the deadline came first.

        Where a ``Retry-After`` blocks the client for longer than the call can wait,
        nothing is sent, and the answer is that it was throttled once more.
        """
        asked = now = self.clock.now()
        while True:
            authorization = self._credentials.held
            if authorization is None:
                if await self._key(call) is None:
                    return self._no_key(call)
                now, authorization = self.clock.now(), self._credentials.held
            permit = self.scheduler.try_acquire(now, bulk=call.bulk)
            if permit is None:
                permit = await self._wait_for_permit(call)
                authorization = self._credentials.held
            if permit is None:
                return self._rejection(call)
            if authorization is None:  # forgotten meanwhile
                self.scheduler.release()
            elif permit[2] is Purpose.CONTROL and self._control is not None:
                error = await self._send_control(call, permit, authorization)
                if error is not None:
                    return error
            else:
                call.authorization = authorization
                return await self._exchange(call, permit, permit[0] - asked)
            now = self.clock.now()

    async def _wait_for_permit(self, call: Call[T]) -> Permit | None:
        deadline = _never if call.bulk else lambda: call.deadline
        return await self.scheduler.acquire(bulk=call.bulk, deadline=deadline)

    async def _exchange(
        self, call: Call[T], permit: Permit, queued: float
    ) -> Answer[T]:
        """Send one request; tell the limits what came back."""
        sent, _, purpose = permit
        # A waiter runs after it was given its permit; long after in a busy loop.
        begun = self.clock.now() if queued else sent
        call.begin(begun, queued + begun - sent)
        try:
            answer = await self._send(call)
            now = self.clock.now()
            if call.is_short:
                self._feedback.fell_short(call, answer, now, self.scheduler.in_flight)
                return answer
            is_failure = isinstance(answer, _FAILURES) and not is_throttling(answer)
            counts = purpose is Purpose.CALL or not is_failure
            kind = call.note(answer, now - sent, counts=counts)
            if call.rate_limit is not None:
                self.limiter.advised(now, *call.rate_limit)
            if is_failure:
                self._feedback.failed(call, answer, now, permit)
            else:
                self._feedback.answered(call, answer, now, permit)
            if isinstance(answer, APIStatusError) and answer.retry_after:
                self._feedback.cool_down(answer, now, answer.retry_after)
                self.scheduler.reject_blocked(now)
        finally:
            call.end()
            self.scheduler.release()
        if self.observer.is_on:
            event = AttemptEvent(
                phone_id=call.subject,
                attempts=call.attempts,
                answer=kind,
                status=status_of(answer),
                waited=queued,
                elapsed=now - sent,
                rate=self.limiter.rate,
                reason=reason_of(answer),
            )
            self.observer.attempt(event)
        return answer

    async def _send(self, call: Call[T]) -> Answer[T]:
        """Send one request; read the response."""
        begun = self.clock.now()
        left, blocked = call.deadline - begun, self._transport.blocked
        response = await self._transport.send(
            call.operation.request(self.endpoint, call.authorization),
            seconds=call.seconds(begun),
            connect=call.timeouts.connect,
            most=math.inf if call.bulk else left,
            on_begin=None if call.bulk else call.follow,
            fresh=call.last is not None and _lost_its_connection(call.last),
        )
        if self._transport.blocked > blocked:
            if call.bulk:
                call.deadline += self._transport.blocked - blocked
            self._feedback.stood_still(self._transport.blocked)
        call.is_short = isinstance(response, Shortage)
        if isinstance(response, Shortage):
            response = response.error
        if isinstance(response, APIConnectionError):
            if self._transport.closed:
                return _closed()
            return self._named(response, call, left)
        call.rate_limit = rate_limit(response)
        call.request_id = request_id(response, call.authorization)
        answer = call.operation.answer(response, call.authorization)
        if isinstance(answer, InvalidResponseError) and answer.foreign:
            self._transport.retire()
        return answer

    def _no_key(self, call: Call[T]) -> APITimeoutError | None:
        """Return why a run got no key; None is the deadline of a single call."""
        if not call.bulk:
            return None
        seconds = self.breaker.most_seconds
        reason = f"the callable for the key returned none for {seconds:g} s"
        error = APITimeoutError(reason, phase="wait", **attrs.asdict(self.peer))
        if self.breaker.nothing_could_be_sent():
            self.observer.outage_began(error, self.clock.now(), seconds)
        return error

    # --- is it the server, or the ids?

    async def _send_control(
        self, call: Call[T], permit: Permit, authorization: Secret
    ) -> DigaError | None:
        """Send a call that has been answered before; return what ends *call*."""
        assert self._control is not None  # noqa: S101 - the caller has looked
        operation = self._feedback.next_answered() or self._control()
        control: Call[Any] = Call(
            operation=operation,
            timeouts=call.timeouts,
            bulk=True,
            counters=(self.counters,),
            authorization=authorization,
            silence=call.silence,
        )
        answer = await self._exchange(control, permit, 0.0)
        assert call.silence is not None  # noqa: S101 - only a run's call sends it
        if call.silence.is_hopeless(self.clock.now()) and isinstance(answer, DigaError):
            return answer
        return None

    def located(self, call: Call[T], error: NotFoundError) -> NotFoundError:
        """Return a 404 with its URL, which may be wrong."""
        url = call.operation.request(self.endpoint, call.authorization).url
        return attrs.evolve(error, reason=f"GET {url}")

    def _named(
        self, error: APIConnectionError, call: Call[T], left: float
    ) -> APIConnectionError:
        """Let a timeout name `Timeouts.total`, where that left less than `attempt`."""
        if not isinstance(error, APITimeoutError) or left >= call.timeouts.attempt:
            return error
        if error.phase == "connect" and left >= call.timeouts.connect:
            return error
        total = call.timeouts.total
        return timeout_error(
            self.peer, error.phase, "total", total, pooled=call.is_short
        )

    def _rejection(self, call: Call[T]) -> DigaError | None:
        """Return why there was no permit: a ``Retry-After``; None is the deadline."""
        blocked = self.limiter.blocked_for(self.clock.now())
        if not blocked:
            return None
        if call.bulk or call.last is None:
            return blocked_error(blocked)
        # The call's own last error says more than that nothing was sent.
        if isinstance(call.last, APIStatusError):
            return attrs.evolve(call.last, retry_after=blocked)
        return None

    def report(self, call: Call[T], answer: Answer[T]) -> None:
        """Tell the observer how a call about one record ended."""
        if self.observer.is_on and call.subject is not None:
            event = lookup_event(
                call.subject,
                answer,
                attempts=call.attempts,
                elapsed=call.elapsed(self.clock.now()),
            )
            self.observer.lookup(event)

    async def close(self) -> None:
        """Stop asking for keys and checking the address."""
        await self._keys.close()
        await self.address.close()


def _lost_its_connection(error: DigaError) -> bool:
    """Whether a call's last connection broke: other idle ones may be lost as well."""
    return isinstance(error, APIConnectionError) and error.phase == "read"


def _never() -> float:
    """Return the deadline of a run's call in the queue, where it has none."""
    return math.inf


def _over_budget(error: DigaError) -> DigaError:
    reasons = (error.reason, "not retried: the retry budget is spent")
    return attrs.evolve(error, reason="; ".join(filter(None, reasons)))


def _closed() -> ClientClosedError:
    return ClientClosedError("the client's connections were closed")
