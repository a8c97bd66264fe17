"""
Connections of aiohttp's pool, clean ones only, each for one request.

aiohttp does the following, each seen on the wire, and must not do it here:

- It gives bytes that arrived on an idle connection to the next request:
  another id's answer. `_Guard` hands out no connection that has such bytes.
- It cancels requests that wait in a connector that is closed. `_Guard` raises
  `aiohttp.ClientConnectionError` instead.
- It sends a request again after a lost connection. `_Guard` refuses the second.
- It keeps cookies, reads netrc and decompresses without a limit.
  The session of a `Pool` does none of that.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from http.cookies import SimpleCookie
from math import inf
from typing import Any, cast
from weakref import WeakSet

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from diga_async._transport.deadlines import CURRENT, Attempt
from diga_async._transport.hooks import watched
from diga_async._transport.polling import Poller, is_readable

_CLOSING: set[asyncio.Task[None]] = set()


READ_BYTES = 1 << 16
"""
How many bytes asyncio reads at a time.

A buffer of asyncio's own 256 KiB is mapped and unmapped for every answer, which
costs three system calls; one of this size comes from memory that the process has.
"""

KEEP_ALIVE = 15.0
"""Seconds for which a connection may be idle: aiohttp's default."""


class SecondSend(aiohttp.ClientConnectionError):
    """aiohttp wanted to send the request again; the cause is why."""


class _Guard(aiohttp.BaseConnector):
    """
    Hands out another connector's connections, clean ones only, once a request.

    It owns nothing, so lent and own connectors are treated alike.
    """

    def __init__(self, connector: aiohttp.BaseConnector, *, owned: bool) -> None:
        super().__init__(limit=0)
        self._lent = connector
        self._owned = owned
        self._poller = Poller()
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
            raise SecondSend from attempt.loss
        attempt.sent = True
        attempt.begin_to_connect()
        if not self._owned:
            traces = [*traces, cast("Trace", _PoolWait(attempt))]
        try:
            connection = await self._clean(attempt, req, traces, timeout)
        except asyncio.CancelledError:
            if self._lent.closed and not attempt.is_cancelled:
                raise aiohttp.ClientConnectionError from None
            raise
        finally:
            attempt.end_to_connect()
        attempt.connected = True
        attempt.connection = transport = connection.transport
        if self._owned and getattr(transport, "max_size", 0) > READ_BYTES:
            transport.max_size = READ_BYTES  # type: ignore[union-attr]
        return connection

    async def _clean(
        self,
        attempt: Attempt,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's, passed on
    ) -> Connection:
        """Take connections until one is clean, and new if *attempt* needs that."""
        aside: list[Connection] = []
        try:
            while True:
                connection = await self._lent.connect(req, traces, timeout)
                broken = attempt.hook_error or attempt.swallowed
                if broken is not None:
                    connection.close()
                    raise broken
                if not self._is_clean(connection.protocol):
                    connection.close()
                elif not (attempt.fresh and self._is_used(connection.protocol)):
                    if connection.protocol is not None:
                        self._used.add(connection.protocol)
                    return connection
                elif self._owned:
                    aside.append(connection)
                else:  # a lent pool may have no other to give while this one is held
                    connection.close()
        finally:
            for connection in aside:
                connection.release()

    def _is_clean(self, protocol: ResponseHandler | None) -> bool:
        """Whether what comes next on a connection can only be meant for us."""
        if protocol is None or protocol.transport is None:
            return True  # lost already; sending will report it
        if not self._is_used(protocol):
            self._expect_no_more(protocol, protocol.transport)
            return True
        return not (
            protocol.should_close or is_readable(protocol.transport, self._poller)
        )

    def _is_used(self, protocol: ResponseHandler | None) -> bool:
        """Whether a request was sent over a connection before, by us or by others."""
        return protocol is not None and (
            protocol in self._used or protocol._parser is not None  # noqa: SLF001 - set by the first request
        )

    def _expect_no_more(
        self, protocol: ResponseHandler, transport: asyncio.BaseTransport
    ) -> None:
        """Use a new connection once if the server sent data before any request."""
        # Such data, as a busy notice is, answers no later request, and the next
        # connection would bring it again. Over TLS there is always something to read.
        is_tls = transport.get_extra_info("sslcontext") is not None
        if protocol.should_close or (
            not is_tls and is_readable(transport, self._poller)
        ):
            protocol.force_close()


class _PoolWait:
    """Tells an attempt that it waits for a connection of a lent pool."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    async def send_connection_queued_start(self) -> None:
        self._attempt.pooled = True
        self._attempt.end_to_connect()

    async def send_connection_queued_end(self) -> None:
        self._attempt.pooled = False
        self._attempt.begin_to_connect()

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, None]]:
        return _ignore  # every other signal of a trace


async def _ignore(*_: object, **__: object) -> None:
    pass


class _NoCookies(aiohttp.DummyCookieJar):
    """Keeps no cookies, and makes no new empty jar for each request."""

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
            trace_configs=[watched(config) for config in trace_configs],
        )
        self.users = 0

    @property
    def size(self) -> float:
        """The most connections to one server that a lent connector gives."""
        if self.owned:
            return inf
        limits = (self.connector.limit, self.connector.limit_per_host)
        return min((float(limit) for limit in limits if limit), default=inf)

    @property
    def closed(self) -> bool:
        """Whether it can no longer send."""
        return self.session.closed

    async def close(self) -> None:
        """Close what the client owns."""
        await self.session.close()
        if self.owned:
            await self.connector.close()

    def abandon(self, close_more: Callable[[], object]) -> None:
        """
        Release everything without aiohttp's warning; the loop closes what is open.

        Args:
            close_more: Closes connections that the connector does not hold.
        """
        self.session.detach()
        if self._loop.is_closed():
            if self.owned:
                _finish(_close(self.connector))  # it awaits nothing
            close_more()
        else:
            self._loop.call_soon_threadsafe(self._close_soon, close_more)

    def _close_soon(self, close_more: Callable[[], object]) -> None:
        close_more()
        if self.owned:
            # Now, up to where it waits: a loop that ends cancels the task before that.
            _finish(_close(self.connector))
            closing = asyncio.ensure_future(_close(self.connector))
            _CLOSING.add(closing)
            closing.add_done_callback(_CLOSING.discard)


async def _close(connector: aiohttp.BaseConnector) -> None:
    await connector.close()


def _finish(closing: Coroutine[Any, Any, None]) -> None:
    with suppress(StopIteration):
        closing.send(None)
    closing.close()
