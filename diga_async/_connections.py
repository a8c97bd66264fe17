"""
Clean connections only, each for one request; what aiohttp's pool does not see to.

What aiohttp does by itself and must not do here, each seen on the wire:

- It gives bytes that arrived on an idle connection to the next request:
  another id's answer. `_Guard` never hands out such a connection.
- It cancels whoever waits in a connector that is closed. `_Guard` says so.
- It sends a request again after a lost connection. `_Guard` refuses the second.
- It keeps cookies, reads netrc, unpacks without a bound.
  The session of a `Pool` is made without all that.
"""

import asyncio
import select
import sys
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

CURRENT: ContextVar["Attempt"] = ContextVar("diga_async_attempt")
_CLOSING: set[asyncio.Task[None]] = set()


class Attempt:
    """One request on its way: its time limit, and how far it has come."""

    __slots__ = (
        "_cancelling",
        "_handle",
        "_task",
        "connected",
        "connection",
        "expired",
        "seconds",
        "sent",
    )

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.expired = False
        self.sent = False
        self.connected = False
        self.connection: asyncio.BaseTransport | None = None

    # As asyncio.timeout does it, at a third of its cost.
    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        assert self._task is not None  # noqa: S101 - for the type checker
        self._cancelling = self._task.cancelling()
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(self.seconds, self._expire)
        CURRENT.set(self)
        return self

    def _expire(self) -> None:
        self.expired = True
        assert self._task is not None  # noqa: S101 - for the type checker
        self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._handle.cancel()
        # A timer keeps the context it was made in, and with it the attempt before
        # this one: without this, every attempt would keep all those before it.
        del self._handle
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

    def __init__(self, connector: aiohttp.BaseConnector) -> None:
        super().__init__(limit=0)
        self._lent = connector
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
            connection = await self._clean(req, traces, timeout)
        except asyncio.CancelledError:
            if self._lent.closed and not attempt.is_cancelled:
                raise aiohttp.ClientConnectionError from None
            raise
        attempt.connected = True
        attempt.connection = connection.transport
        return connection

    async def _clean(self, *asked: Any) -> Connection:
        while True:
            connection = await self._lent.connect(*asked)
            if _is_clean(connection.protocol):
                return connection
            connection.close()


def _is_clean(protocol: ResponseHandler | None) -> bool:
    """Whether what comes next on a connection can only be meant for us."""
    if protocol is None or protocol.transport is None:
        return True  # lost already; to send on it will say so
    # What a server says on a new connection is no answer to anybody else,
    # and the next connection would be no better.
    if protocol._parser is None:  # noqa: SLF001 - set by the first request
        return True
    return not (protocol.should_close or _is_readable(protocol.transport))


def _is_readable(transport: asyncio.BaseTransport) -> bool:
    """Whether the system holds bytes of a connection, or its end, for asyncio."""
    sock = transport.get_extra_info("socket")
    descriptor = -1 if sock is None else sock.fileno()
    if descriptor < 0:
        return False
    if sys.platform == "win32":
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


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
        self._owned = lent is None
        self._connector = lent or aiohttp.TCPConnector(limit=0)
        self.session = aiohttp.ClientSession(
            connector=_Guard(self._connector),
            cookie_jar=aiohttp.DummyCookieJar(),
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
        if self._owned:
            await self._connector.close()

    def abandon(self) -> None:
        """Let go without a warning of aiohttp's; the loop closes what is open."""
        self.session.detach()
        if not self._owned:
            return
        if self._loop.is_closed():
            _finish(_close(self._connector))  # nothing is awaited any more
        else:
            self._loop.call_soon_threadsafe(_close_soon, self._connector)


def _close_soon(connector: aiohttp.BaseConnector) -> None:
    closing = asyncio.ensure_future(_close(connector))
    _CLOSING.add(closing)
    closing.add_done_callback(_CLOSING.discard)


async def _close(connector: aiohttp.BaseConnector) -> None:
    await connector.close()


def _finish(closing: Coroutine[Any, Any, None]) -> None:
    with suppress(StopIteration):
        closing.send(None)
    closing.close()
