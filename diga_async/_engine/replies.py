"""`Replies`: what came back for an attempt becomes an answer, and tells the limits."""

from typing import TypeVar

import attrs

from diga_async._api.addresses import Peer
from diga_async._api.headers import rate_limit
from diga_async._api.messages import Request, Response
from diga_async._api.operation import Answer
from diga_async._api.problems import explained, key_of, request_id
from diga_async._engine.call import Call
from diga_async._engine.clock import Clock
from diga_async._engine.feedback import Feedback
from diga_async._engine.scheduler import Scheduler
from diga_async._flow.circuit_breaker import Purpose
from diga_async._flow.retry import is_throttling
from diga_async._models.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    ClientClosedError,
    DigaError,
    InternalServerError,
    InvalidResponseError,
    NotFoundError,
)
from diga_async._transport.failures import Shortage, timeout_error
from diga_async._transport.protocol import HttpConnection, Reply
from diga_async._transport.transport import Transport

T = TypeVar("T")

#: A server that sends nothing, or only its own failures, may be down.
_FAILURES = (APIConnectionError, InternalServerError)


class Replies:
    """
    Reads the replies of the attempts of a client.

    Args:
        transport: Has sent the requests.
        scheduler: Has given the permits.
        feedback: Tells the limits of the answers.
        clock: The time.
        peer: What requests are sent to, as errors name it.
    """

    def __init__(
        self,
        transport: Transport,
        scheduler: Scheduler,
        feedback: Feedback,
        clock: Clock,
        peer: Peer,
    ) -> None:
        self._transport = transport
        self._scheduler = scheduler
        self._feedback = feedback
        self._clock = clock
        self._peer = peer

    def receive(
        self,
        call: Call[T],
        request: Request,
        connection: HttpConnection | None,
        reply: Reply | Shortage,
    ) -> Answer[T]:
        """
        Read a reply; tell the limits what it shows.

        Args:
            call: Its open attempt has this reply.
            request: What was sent.
            connection: Where, if over one that was ready.
            reply: What came back.
        """
        blocked = self._transport.blocked
        if blocked > call.blocked:
            if call.bulk:
                call.deadline += blocked - call.blocked
            self._feedback.stood_still(blocked)
        call.is_short = False
        if isinstance(reply, Response):
            answer = self._read(call, reply)
        else:
            answer = self._no_response(call, request, connection, reply)
        call.ended = now = self._clock.now()
        if isinstance(answer, DigaError):
            self._learn(call, answer, now)
        else:
            call.succeed()
            self._feedback.succeeded(call, now)
        return answer

    def _read(self, call: Call[T], response: Response) -> Answer[T]:
        call.rate_limit = rate_limit(response)
        call.request_id = request_id(response, call.authorization)
        answer = call.operation.answer(response, call.authorization)
        if not isinstance(answer, DigaError) or isinstance(answer, NotFoundError):
            return answer  # a 404 is nearly always an answer, and common in runs
        return self._explained(call, response, answer)

    def _explained(
        self, call: Call[T], response: Response, error: DigaError
    ) -> DigaError:
        """Return *error* with the server's name, its meaning, and what to check."""
        named = explained(error, response, key_of(call.authorization), str(self._peer))
        if not isinstance(named, InvalidResponseError):
            return named
        if named.foreign:
            self._transport.retire()
        if named is error or call.has_had_a_value:
            return named
        reason = f"{named.reason}; check base_url or the proxy"
        return attrs.evolve(named, reason=reason)

    def _no_response(
        self,
        call: Call[T],
        request: Request,
        connection: HttpConnection | None,
        reply: Exception | Shortage,
    ) -> DigaError:
        """Return why there is no response."""
        if connection is not None and isinstance(reply, Exception):
            reply = self._transport.failure(reply, connection, request)
        if isinstance(reply, Shortage):
            call.is_short = True
            reply = reply.error
        if self._transport.closed:
            return ClientClosedError("the client's connections were closed")
        assert isinstance(reply, APIConnectionError)  # noqa: S101 - or `send` raises
        return self._named(reply, call)

    def _learn(self, call: Call[T], error: DigaError, now: float) -> None:
        """Tell the limits about an attempt that brought no value."""
        if call.is_short:
            self._feedback.fell_short(call, error, now, self._scheduler.in_flight)
            return
        sent, _, purpose = call.permit
        is_failure = isinstance(error, _FAILURES) and not is_throttling(error)
        counts = purpose is Purpose.CALL or not is_failure
        call.fail(error, now - sent, counts=counts)
        self._feedback.advised(call, now)
        if is_failure:
            self._feedback.failed(call, error, now)
        else:
            self._feedback.answered(call, error, now)
        if isinstance(error, APIStatusError) and error.retry_after:
            self._feedback.cool_down(error, now, error.retry_after)
            self._scheduler.reject_blocked(now)

    def _named(self, error: APIConnectionError, call: Call[T]) -> APIConnectionError:
        """Let a timeout name `Timeouts.total`, where that left less than `attempt`."""
        left = call.left
        if not isinstance(error, APITimeoutError) or left >= call.timeouts.attempt:
            return error
        if error.phase == "connect" and left >= call.timeouts.connect:
            return error
        total = call.timeouts.total
        return timeout_error(
            self._peer, error.phase, "total", total, pooled=call.is_short
        )
