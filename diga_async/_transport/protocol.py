"""
`HttpConnection`: our own protocol on a connection that aiohttp made.

aiohttp connects: it handles names, TLS, proxies and the lent pool.
Then this protocol takes the place of aiohttp's, so that a request costs one write and
one future, and none of the objects with which a session follows redirects, keeps
cookies and streams bodies.
"""

import asyncio
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from math import inf
from time import monotonic

import aiohttp
from aiohttp.connector import Connection

from diga_async._api.messages import Request, Response
from diga_async._transport.deadlines import MOST_TURNS, TimeLimits
from diga_async._transport.reader import ResponseReader

Reply = Response | Exception
"""A response, or why there is none; it is a result, so that no future keeps it."""


class Unusable(Exception):  # noqa: N818 - it says what happens next, to this package
    """This connection does not let another protocol take over."""


class HttpConnection(asyncio.Protocol):
    """
    One connection, and at most one request on it.

    Args:
        connection: What aiohttp's connector returned.
        limits: Ends requests that take too long.
        on_idle: Is told when a response has come and another request may follow.
        on_end: Is told when the connection is closed or lost.

    Attributes:
        connected: True, as of every attempt that has its connection.
        seconds: How long the request may take.
        due: When the request expires.
        latest: When the request expires in any case.
        expired: Whether its time limit ended it.
        idle_since: When the last response came.
    """

    __slots__ = (
        "_answer",
        "_early",
        "_ended",
        "_limits",
        "_loop",
        "_on_end",
        "_on_idle",
        "_owner",
        "_poll",
        "_reader",
        "_theirs",
        "_transport",
        "_turns",
        "due",
        "expired",
        "idle_since",
        "latest",
        "seconds",
    )

    connected = True
    pooled = False
    is_late_to_connect = False

    def __init__(
        self,
        connection: Connection,
        limits: TimeLimits,
        *,
        on_idle: Callable[["HttpConnection"], object],
        on_end: Callable[["HttpConnection"], object],
    ) -> None:
        self._owner = connection
        self._limits = limits
        self._loop = limits.loop
        self._on_idle = on_idle
        self._on_end = on_end
        self._answer: asyncio.Future[Reply] | None = None
        self._ended = False
        self._reader = ResponseReader(self._loop)
        self._turns = 0
        self.seconds = self.idle_since = 0.0
        self.due = self.latest = inf
        self.expired = False
        self._take_over(connection)

    def _take_over(self, connection: Connection) -> None:
        transport, theirs = connection.transport, connection.protocol
        if transport is None or theirs is None:
            raise ConnectionError("the connection was lost before it was used")
        self._transport = transport
        self._theirs = theirs
        self._poll = _poll_of(transport)
        # A server may send data first, such as a busy notice, and nothing after it.
        self._early = bytes(getattr(theirs, "_tail", b""))
        self._reader.is_clean = not theirs.should_close
        try:
            transport.set_protocol(self)
            has_taken = transport.get_protocol() is self
        except (AttributeError, NotImplementedError, TypeError):
            has_taken = False
        if not has_taken:
            raise Unusable("its connections let no other protocol take over")

    # --- a request

    def ask(
        self, request: Request, seconds: float | None = None, most: float = inf
    ) -> "asyncio.Future[Reply]":
        """
        Send *request*; return a future of the reply.

        Args:
            request: What to send.
            seconds: How long it may take; None where something else ends it.
            most: How long it may take in any case.
        """
        self._answer = answer = self._loop.create_future()
        self._reader.most = request.max_body
        self._transport.write(bytes(request))
        if seconds is not None:
            self.seconds = seconds
            self.latest = inf if most == inf else monotonic() + most
            self._limits.begin(self, seconds)
        return answer

    def hear_what_came_before(self) -> None:
        """Read what the server sent before the request, as aiohttp would."""
        if self._early:
            self.data_received(self._early)

    def extend(self, seconds: float, most: float = inf) -> None:
        """Let the request take *seconds* from now."""
        self._limits.end(self)
        self.seconds = seconds
        self.latest = inf if most == inf else monotonic() + most
        self._limits.begin(self, seconds)

    def expire(self) -> None:
        """End the request, because its time is over."""
        self.expired = True
        self._reply(TimeoutError())
        self.close()

    def has_more_to_read(self) -> bool:
        """Whether unread bytes have arrived; True only for a limited time."""
        self._turns += 1
        return self._turns <= MOST_TURNS and bool(self._poll(0))

    def disconnect(self) -> None:
        """Close the connection."""
        self.close()

    def is_usable(self, oldest: float) -> bool:
        """
        Whether what comes next can only be meant for the next request.

        Args:
            oldest: The earliest time of its last use.
        """
        # The system may hold bytes of the connection, or its end, for asyncio.
        return not self._ended and self.idle_since >= oldest and not self._poll(0)

    # --- what asyncio tells

    def data_received(self, data: bytes) -> None:
        """Read on; resolve the request when its response is complete."""
        answer = self._answer
        if answer is None or answer.done():  # not requested, or given up
            self.close()
            return
        try:
            response = self._reader.feed(data)
        except Exception as error:  # noqa: BLE001 - a parser may raise any
            self._reply(error.with_traceback(None))
            self.close()
            return
        if response is None:
            return
        self._reply(response)
        if self._reader.is_clean and not self._transport.get_write_buffer_size():
            self.idle_since = monotonic()
            self._on_idle(self)
        else:
            self.close()

    def _reply(self, reply: Reply) -> None:
        answer, self._answer = self._answer, None
        self._limits.end(self)
        if answer is not None and not answer.done():
            answer.set_result(reply)

    def connection_lost(self, error: Exception | None) -> None:
        """Resolve the request with what there is; let aiohttp forget the connection."""
        if self._answer is not None:
            self._reply(self._last(error))
        self._end()
        self._theirs.connection_lost(error)

    def _last(self, error: Exception | None) -> Reply:
        """Return the response that the end completes, or why there is none."""
        if error is not None:
            return error
        try:
            response = self._reader.feed_eof()
        except Exception:  # noqa: BLE001 - a parser may raise any
            return aiohttp.ClientPayloadError()
        return response or aiohttp.ServerDisconnectedError()

    # --- its end

    def close(self) -> None:
        """Close it; a request on it gets no reply."""
        self._limits.end(self)
        self._end()

    def give_back(self) -> None:
        """Return a clean connection to aiohttp's pool."""
        self._ended = True
        self._transport.set_protocol(self._theirs)
        self._owner.release()

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._owner.close()
        self._on_end(self)


def _poll_of(transport: asyncio.BaseTransport) -> Callable[[float], object]:
    """Return a function that says whether a connection has something to be read."""
    sock = transport.get_extra_info("socket")
    descriptor = -1 if sock is None else sock.fileno()
    if descriptor < 0:
        return lambda _: False
    if sys.platform == "win32":
        return lambda seconds: select.select([descriptor], [], [], seconds)[0]
    # Each connection has its own: two threads must not share one.
    poll = select.poll()
    with suppress(OSError):
        poll.register(descriptor, select.POLLIN)
    return poll.poll
