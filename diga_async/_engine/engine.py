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
from diga_async._api.messages import Request, Secret
from diga_async._api.operation import Answer, Operation
from diga_async._engine.address_question import AddressQuestion
from diga_async._engine.call import (
    Call,
    Counters,
    blocked_error,
    deadline_error,
    final,
    kind_of,
    limit_of,
    reason_of,
    status_of,
    throttled_beyond,
)
from diga_async._engine.clock import Clock
from diga_async._engine.credentials import Credentials, KeyRequests
from diga_async._engine.feedback import Feedback
from diga_async._engine.observer import Observer, lookup_event
from diga_async._engine.replies import Replies
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
    DigaError,
    NotFoundError,
)
from diga_async._models.events import AttemptEvent
from diga_async._models.options import Limits, RetryPolicy
from diga_async._transport.failures import Shortage
from diga_async._transport.protocol import Reply
from diga_async._transport.transport import Transport

T = TypeVar("T")


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
        self.endpoint = endpoint_of(settings.base_url, settings.headers)
        self.peer = peer_of(self.endpoint.url, settings.proxy)
        self.limiter = RateLimiter(**attrs.asdict(settings.limits))
        self.breaker = CircuitBreaker(settings.retry.max_outage)
        self.address = AddressQuestion(
            address or AddressCheck(),
            settings.control,
            self.run,
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
        self._replies = Replies(
            transport, self.scheduler, self._feedback, self.clock, self.peer
        )
        self.budget = RetryBudget()
        self.policy = settings.retry
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

    # --- the way of a call

    async def run(self, call: Call[T]) -> Answer[T]:
        """
        Carry *call* to its end; return the value, or why there is none.

        This is the whole way of a call. Nearly always it starts now, a connection is
        ready and the response is the value, so only that response is awaited. What is
        rare has a coroutine of its own: to wait for a permit or the key, to connect,
        and to try again.
        """
        if call.bulk and call.silence is None:
            call.silence = Silence(self.breaker)
        while self._starts_now(call) or await self._waits_to_start(call):
            connection = None
            try:
                request = call.operation.request(self.endpoint, call.authorization)
                connection = self._transport.take(fresh=_lost_its_connection(call.last))
                if connection is None:
                    reply = await self._connect_and_send(call, request)
                else:
                    call.attempt = None if call.bulk else connection
                    most = math.inf if call.bulk else call.left
                    reply = await connection.ask(request, call.seconds, most)
                answer = self._replies.receive(call, request, connection, reply)
            except BaseException:
                if connection is not None:
                    connection.close()
                raise
            finally:
                call.end()
                self.scheduler.release()
            if self.observer.is_on:
                self._report_attempt(call, answer)
            if not isinstance(answer, DigaError):
                self.budget.refund(call.attempts)
                return answer
            if not await self._tries_again(call, answer):
                break
        return self._final(call)

    def _starts_now(self, call: Call[T]) -> bool:
        """Start an attempt that waits for nothing; return whether it has started."""
        if call.sending:
            return True  # a control, which uses the permit of its run
        authorization = self._credentials.held
        if authorization is None or (call.bulk and self.breaker.is_holding):
            return False
        now = self.clock.now()
        permit = self.scheduler.try_acquire(now, bulk=call.bulk)
        if permit is None:
            return False
        call.authorization = authorization
        call.begin(now, permit, 0.0, self._transport.blocked)
        return True

    def _final(self, call: Call[T]) -> DigaError:
        """Return the error with which *call* ends."""
        error, now = call.last, self.clock.now()
        assert error is not None  # noqa: S101 - it has not succeeded
        if isinstance(error, NotFoundError):
            self.budget.refund(call.attempts)
        elif isinstance(error, APIStatusError):
            error = throttled_beyond(error, call, now, self.policy.max_outage)
        return final(call, error, now)

    # --- before an attempt: the key, a permit, a connection

    async def _waits_to_start(self, call: Call[T]) -> bool:
        """
        Wait for the key and for a permit; return whether an attempt has started.

        Where a ``Retry-After`` blocks the client for longer than the call can wait,
        the call was throttled once more.
        """
        while True:
            deadline = call.deadline
            refusal = await self._wait_to_start(call)
            if call.sending:
                return True
            if refusal is not None:
                if not await self._tries_again(call, refusal):
                    return False
            elif call.deadline == deadline:  # no follower with more time has joined
                call.last = deadline_error(call, self.clock.now(), self.peer)
                return False

    async def _wait_to_start(self, call: Call[T]) -> DigaError | None:
        """Return why *call* may not start; None at its start, or its deadline."""
        asked = self.clock.now()
        while True:
            if self._credentials.held is None and await self._key(call) is None:
                return self._no_key(call)
            deadline = _never if call.bulk else lambda: call.deadline
            permit = await self.scheduler.acquire(bulk=call.bulk, deadline=deadline)
            if permit is None:
                return self._rejection(call)
            authorization = self._credentials.held
            if authorization is None:  # forgotten meanwhile
                self.scheduler.release()
            elif permit[2] is Purpose.CONTROL and self._control is not None:
                error = await self._send_control(call, permit, authorization)
                if error is not None:
                    return error
            else:
                call.authorization = authorization
                queued = permit[0] - asked
                begun = self.clock.now() if queued else permit[0]
                call.begin(begun, permit, queued, self._transport.blocked)
                return None

    async def _connect_and_send(
        self, call: Call[T], request: Request
    ) -> Reply | Shortage:
        """Send over a connection that has to be made first, or that is lent."""
        return await self._transport.send(
            request,
            seconds=call.seconds,
            connect=call.timeouts.connect,
            most=math.inf if call.bulk else call.left,
            on_begin=None if call.bulk else call.follow,
            fresh=_lost_its_connection(call.last),
        )

    # --- after an error

    def _report_attempt(self, call: Call[T], answer: Answer[T]) -> None:
        if call.is_short:
            return  # nothing was sent
        event = AttemptEvent(
            phone_id=call.subject,
            attempts=call.attempts,
            answer=kind_of(answer, call.operation),
            status=status_of(answer),
            waited=call.queued,
            elapsed=call.ended - call.permit[0],
            rate=self.limiter.rate,
            reason=reason_of(answer),
        )
        self.observer.attempt(event)

    async def _tries_again(self, call: Call[T], error: DigaError) -> bool:
        """Wait for the next attempt; return whether there is one."""
        call.last = error
        delay = None if call.once else await self._delay(call, error)
        if delay is None:
            return False
        if not self._can_pay(call, error):
            call.last = _over_budget(error)
            return False
        if not call.is_short:
            call.retry()
        if delay > 0.0:
            await self._pause(call, error, delay)
        return True

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
            once=True,
        )
        control.begin(permit[0], permit, 0.0, self._transport.blocked)
        answer = await self.run(control)
        assert call.silence is not None  # noqa: S101 - only a run's call sends it
        if call.silence.is_hopeless(self.clock.now()) and isinstance(answer, DigaError):
            return answer
        return None

    def located(self, call: Call[T], error: NotFoundError) -> NotFoundError:
        """Return a 404 with its URL, which may be wrong."""
        url = call.operation.request(self.endpoint, call.authorization).url
        reason = f"GET {url}"
        if error.error_code is None and not self.address.check.is_right:
            base = f"{self.endpoint.url.origin()}{self.endpoint.path}"
            reason += f"; nothing was found at {base} yet: check base_url"
        return attrs.evolve(error, reason=reason)

    def _rejection(self, call: Call[T]) -> DigaError | None:
        """Return why there was no permit: a ``Retry-After``; None is the deadline."""
        blocked = self.limiter.blocked_for(self.clock.now())
        if not blocked:
            return None
        if call.bulk or call.last is None:
            limit = limit_of(call, self.policy.max_outage)
            return blocked_error(blocked, self.peer, limit)
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


def _lost_its_connection(error: DigaError | None) -> bool:
    """Whether a call's last connection broke: other idle ones may be lost as well."""
    return isinstance(error, APIConnectionError) and error.phase == "read"


def _never() -> float:
    """Return the deadline of a run's call in the queue, where it has none."""
    return math.inf


def _over_budget(error: DigaError) -> DigaError:
    reasons = (error.reason, "not retried: the retry budget is spent")
    return attrs.evolve(error, reason="; ".join(filter(None, reasons)))
