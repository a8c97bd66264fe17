"""
Clean connections only, each for one request; what aiohttp's pool does not see to.

What aiohttp does by itself and must not do here, each seen on the wire:

- It gives bytes that arrived on an idle connection to the next request:
  another id's answer. `_Guard` hands out no connection that has any.
- It cancels whoever waits in a connector that is closed. `_Guard` says so.
- It sends a request again after a lost connection. `_Guard` refuses the second.
- It keeps cookies, reads netrc, unpacks without a bound.
  The session of a `Pool` is made without all that.
"""

import asyncio
import select
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context, ContextVar
from http.cookies import SimpleCookie
from types import TracebackType
from typing import Any, Protocol, Self
from weakref import WeakSet

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

CURRENT: ContextVar["Attempt"] = ContextVar("diga_async_attempt")
_CLOSING: set[asyncio.Task[None]] = set()


READ_BYTES = 1 << 16
"""
How much asyncio reads at once.

Its own 256 KiB come from the system and go back to it for every answer, which
costs three system calls; this much comes out of what the process has.
"""

KEEP_ALIVE = 15.0
"""How many seconds a connection may be idle: aiohttp's default."""

EARLY = 1e-3
"""Seconds by which the loop's timers may be early; uvloop counts milliseconds."""


class Limited(Protocol):
    """What takes its time: an attempt, or a request on a connection."""

    timer: asyncio.TimerHandle | None

    def expire(self) -> None:
        """End it, because its time is over."""


class Open(Protocol):
    """An open request, as a call looks at it."""

    connected: bool

    def extend(self, seconds: float) -> None:
        """Let it take so many seconds from now instead."""


class TimeLimits:
    """
    Ends attempts that take too long; one timer for all of them.

    Nearly all attempts may take equally long, so the one that began first is
    the first to end: they stand in a line, and the timer in its head's place.
    Who may take less than those before has a timer of its own.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._line: dict[Limited, float] = {}
        self._latest = 0.0
        self._timer: asyncio.TimerHandle | None = None
        # A timer keeps the context it was made in. In that of an attempt it would
        # keep the attempt before this one, and so all those before it. One for
        # each loop: a context can be entered by one thread at a time.
        self._context = Context()

    def begin(self, attempt: Limited, seconds: float) -> None:
        """Cancel the task of *attempt* in so many seconds..."""
        due = self.loop.time() + seconds
        if due < self._latest and self._line:
            attempt.timer = self._call_at(due, attempt.expire)
            return
        self._line[attempt] = self._latest = due
        if self._timer is None:
            self._timer = self._call_at(due, self._ring)

    def end(self, attempt: Limited) -> None:
        """...unless it ends before."""
        if attempt.timer is not None:
            attempt.timer.cancel()
            attempt.timer = None
            return
        self._line.pop(attempt, None)
        if self._timer is not None and not self._line:
            self._timer.cancel()
            self._timer = None

    def _call_at(
        self, due: float, callback: Callable[[], object]
    ) -> asyncio.TimerHandle:
        return self.loop.call_at(due, callback, context=self._context)

    def _ring(self) -> None:
        self._timer = None
        now = self.loop.time()
        for attempt, due in tuple(self._line.items()):
            if due > now + EARLY:
                self._timer = self._call_at(due, self._ring)
                return
            del self._line[attempt]
            attempt.expire()


class Attempt:
    """One request on its way: its time limit, and how far it has come."""

    __slots__ = (
        "_cancelling",
        "_limits",
        "_seconds",
        "_task",
        "connected",
        "connection",
        "expired",
        "sent",
        "timer",
    )

    def __init__(self, limits: TimeLimits, seconds: float) -> None:
        self._limits = limits
        self._seconds = seconds
        self.timer: asyncio.TimerHandle | None = None
        self.expired = False
        self.sent = False
        self.connected = False
        self.connection: asyncio.BaseTransport | None = None

    # As asyncio.timeout does it, at a fraction of its cost.
    def __enter__(self) -> Self:
        self._task = task = asyncio.current_task(self._limits.loop)
        assert task is not None  # noqa: S101 - for the type checker
        self._cancelling = task.cancelling()
        self._limits.begin(self, self._seconds)
        CURRENT.set(self)
        return self

    def extend(self, seconds: float) -> None:
        """Let it take so many seconds from now instead."""
        self._limits.end(self)
        self._limits.begin(self, seconds)

    def expire(self) -> None:
        """End it, because its time is over."""
        self.expired = True
        assert self._task is not None  # noqa: S101 - for the type checker
        self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._limits.end(self)
        task, self._task = self._task, None
        if not self.expired or task is None:
            return
        # Somebody else's cancellation goes on; only our own becomes a timeout.
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from None

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody, the time limit included, cancelled its task."""
        return self._task is not None and self._task.cancelling() > self._cancelling

    def disconnect(self) -> None:
        """Close its connection, wherever that has gone in the meantime."""
        if self.connection is not None:
            self.connection.close()


class _SecondSend(aiohttp.ClientConnectionError):
    """aiohttp wanted to send the request again."""


class _Guard(aiohttp.BaseConnector):
    """
    Hands out another connector's connections, clean ones only, once a request.

    It owns nothing, so that a lent connector is treated as our own is.
    """

    def __init__(self, connector: aiohttp.BaseConnector, *, owned: bool) -> None:
        super().__init__(limit=0)
        self._lent = connector
        self._owned = owned
        self._polls: dict[int, select.poll] = {}
        self._used: WeakSet[ResponseHandler] = WeakSet()
        self.allowed_protocol_schema_set = connector.allowed_protocol_schema_set

    @property
    def closed(self) -> bool:
        return super().closed or self._lent.closed

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> Connection:
        attempt = CURRENT.get()
        if attempt.sent:
            raise _SecondSend
        attempt.sent = True
        try:
            connection = await self._lent.connect(req, traces, timeout)
            while not self._is_clean(connection.protocol):
                connection.close()
                connection = await self._lent.connect(req, traces, timeout)
        except asyncio.CancelledError:
            if self._lent.closed and not attempt.is_cancelled:
                raise aiohttp.ClientConnectionError from None
            raise
        attempt.connected = True
        attempt.connection = transport = connection.transport
        if self._owned and getattr(transport, "max_size", 0) > READ_BYTES:
            transport.max_size = READ_BYTES  # type: ignore[union-attr]
        return connection

    def _is_clean(self, protocol: ResponseHandler | None) -> bool:
        """Whether what comes next on a connection can only be meant for us."""
        if protocol is None or protocol.transport is None:
            return True  # lost already; to send on it will say so
        is_new = protocol not in self._used
        self._used.add(protocol)
        if is_new and protocol._parser is None:  # noqa: SLF001 - of its first request
            self._expect_no_more(protocol, protocol.transport)
            return True
        return not (protocol.should_close or self._is_readable(protocol.transport))

    def _expect_no_more(
        self, protocol: ResponseHandler, transport: asyncio.BaseTransport
    ) -> None:
        """Let a new connection on which the server spoke first serve one request."""
        # What it said, as that it is busy, is no answer to anybody else, and the next
        # connection would be no better. Over TLS there is always something to read.
        is_tls = transport.get_extra_info("sslcontext") is not None
        if protocol.should_close or (not is_tls and self._is_readable(transport)):
            protocol.force_close()

    def _is_readable(self, transport: asyncio.BaseTransport) -> bool:
        """Whether the system holds bytes of a connection, or its end, for asyncio."""
        sock = transport.get_extra_info("socket")
        descriptor = -1 if sock is None else sock.fileno()
        if descriptor < 0:
            return False
        if sys.platform == "win32":
            return bool(select.select([descriptor], [], [], 0)[0])
        return bool(self._poll_of(descriptor).poll(0))

    def _poll_of(self, descriptor: int) -> "select.poll":
        # It knows a number only, so it serves whatever connection has that number
        # now. A fork beside a poll would leave it unusable: so none outlives a guard.
        poll = self._polls.get(descriptor)
        if poll is None:
            poll = self._polls[descriptor] = select.poll()
            poll.register(descriptor, select.POLLIN)
        return poll


class _NoCookies(aiohttp.DummyCookieJar):
    """Keeps no cookies, and makes no new jar of none for each request."""

    _none: SimpleCookie = SimpleCookie()

    def filter_cookies(self, _: Any) -> SimpleCookie:
        return self._none


class Pool:
    """
    A session of our own over a connector, our own or a lent one.

    Of a lent session only its connector is used: its headers, cookies, auth,
    middlewares and timeouts stay its own.
    """

    def __init__(
        self,
        lent: aiohttp.BaseConnector | None,
        trace_configs: Sequence[aiohttp.TraceConfig],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.owned = lent is None
        self.connector = lent or aiohttp.TCPConnector(
            limit=0, keepalive_timeout=KEEP_ALIVE
        )
        self.session = aiohttp.ClientSession(
            connector=_Guard(self.connector, owned=self.owned),
            cookie_jar=_NoCookies(),
            auto_decompress=False,
            trust_env=False,
            trace_configs=list(trace_configs),
        )
        self.users = 0

    @property
    def closed(self) -> bool:
        """Whether it can carry nothing any more."""
        return self.session.closed

    async def close(self) -> None:
        """Close what is ours."""
        await self.session.close()
        if self.owned:
            await self.connector.close()

    def abandon(self, close_more: Callable[[], object]) -> None:
        """
        Let go without a warning of aiohttp's; the loop closes what is open.

        Args:
            close_more: Closes connections that the connector does not hold.
        """
        self.session.detach()
        if self._loop.is_closed():
            if self.owned:
                _finish(_close(self.connector))  # nothing is awaited any more
            close_more()
        else:
            self._loop.call_soon_threadsafe(self._close_soon, close_more)

    def _close_soon(self, close_more: Callable[[], object]) -> None:
        close_more()
        if self.owned:
            closing = asyncio.ensure_future(_close(self.connector))
            _CLOSING.add(closing)
            closing.add_done_callback(_CLOSING.discard)


async def _close(connector: aiohttp.BaseConnector) -> None:
    await connector.close()


def _finish(closing: Coroutine[Any, Any, None]) -> None:
    with suppress(StopIteration):
        closing.send(None)
    closing.close()
