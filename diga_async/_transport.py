"""
One `Request` out, one `Response` back; the only place that knows aiohttp's errors.

What aiohttp does by itself and must not do here, each seen on the wire:

- It gives bytes that arrived on an idle connection to the next request:
  another id's answer. `_Guard` never hands out such a connection.
- It cancels whoever waits in a connector that is closed. `_Guard` says so.
- It sends a request again after a lost connection. `_Guard` refuses the second.
- It keeps cookies, follows redirects, reads netrc, unpacks without a bound.
  The session is made without all that.
"""

import asyncio
import select
import sys
import urllib.request
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from diga_async._decoding import MAX_BODY_BYTES
from diga_async._errors import APIConnectionError, APITimeoutError, Phase
from diga_async._wire import Request, Response

_ATTEMPT: ContextVar["_Attempt"] = ContextVar("diga_async_attempt")
_CLOSING: set[asyncio.Task[None]] = set()


class _Attempt:
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
        _ATTEMPT.set(self)
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
        attempt = _ATTEMPT.get()
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


class Transport:
    """Sends requests over one pool at a time, each within its time limit."""

    def __init__(
        self,
        *,
        connector: aiohttp.BaseConnector | None,
        trace_configs: Sequence[aiohttp.TraceConfig],
        proxy: str | None,
        ssl: Any,
    ) -> None:
        self._lent = connector
        self._trace_configs = trace_configs
        self._options: dict[str, Any] = {"allow_redirects": False, "proxy": proxy}
        if ssl is not None:
            self._options["ssl"] = ssl
        self._pool = self._new_pool()
        self._retired: set[Pool] = set()

    def _new_pool(self) -> Pool:
        return Pool(self._lent, self._trace_configs)

    @property
    def closed(self) -> bool:
        """Whether the connections are gone, also when their owner closed them."""
        return self._pool.closed

    async def send(
        self, request: Request, *, seconds: float, connect: float
    ) -> Response | APIConnectionError:
        """Send *request*; return the whole answer, or why there is none."""
        pool = self._pool
        pool.users += 1
        attempt = _Attempt(seconds)
        try:
            with attempt:
                # One turn of the loop: the answers that have come are all read
                # before more is sent, which saves a tenth and more of the CPU.
                await asyncio.sleep(0)
                return await self._exchange(pool.session, request, connect)
        except _ERRORS as error:
            failure = _failure(error, attempt)
        finally:
            pool.users -= 1
            self._drop_if_idle(pool)
        return failure

    async def _exchange(
        self, session: aiohttp.ClientSession, request: Request, connect: float
    ) -> Response:
        response = await session.get(
            URL(request.url, encoded=True),
            headers=request.headers,
            timeout=self._timeout(connect),
            **self._options,
        )
        try:
            body = await _read(response)
        finally:
            if response.connection is not None:  # it did not end well
                response.close()
        return Response(response.status, response.headers, body)

    def _timeout(self, connect: float) -> aiohttp.ClientTimeout:
        # In a lent pool aiohttp's `connect` would count the wait for a slot.
        return aiohttp.ClientTimeout(
            total=None,
            connect=None if self._lent else connect,
            sock_connect=connect if self._lent else None,
            ceil_threshold=float("inf"),
        )

    def retire(self) -> None:
        """
        Trust none of the connections any more.

        New requests go over new ones; the old ones close when the last request
        on them is done. Of a lent connector only the connection of the last
        attempt is closed.
        """
        _ATTEMPT.get().disconnect()
        if self._lent is None:
            retired, self._pool = self._pool, self._new_pool()
            self._retired.add(retired)
            self._drop_if_idle(retired)

    def _drop_if_idle(self, pool: Pool) -> None:
        if pool in self._retired and not pool.users:
            self._retired.discard(pool)
            pool.abandon()

    async def close(self) -> None:
        """Close what is ours."""
        for pool in (self._pool, *self._retired):
            await pool.close()

    def abandon(self) -> None:
        """Let go of everything without waiting, from any thread."""
        for pool in (self._pool, *self._retired):
            pool.abandon()


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    # aiohttp's parser in Python takes the first of two lengths (RFC 9112
    # section 6.3); nobody knows where such an answer ends.
    if len(response.headers.getall("Content-Length", ())) > 1:
        _ATTEMPT.get().disconnect()
        raise aiohttp.ClientPayloadError
    parts, size = [], 0
    while not response.content.at_eof():
        part = await response.content.readany()
        size += len(part)
        if size > MAX_BODY_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


#: What aiohttp raises, and asyncio below it. A name that resolves to nothing
#: is an assertion there, or without assertions a `TypeError`.
_ERRORS = (
    aiohttp.ClientError,
    OSError,
    ValueError,
    RuntimeError,
    AssertionError,
    TypeError,
)


def _failure(error: BaseException, attempt: _Attempt) -> APIConnectionError:
    if not isinstance(error, TimeoutError):
        phase = _phase(error, attempt)
        return APIConnectionError(_REASONS[phase], phase=phase)
    if attempt.connected:
        return APITimeoutError("no complete answer in time", phase="read")
    return APITimeoutError("no connection in time", phase="connect")


_REASONS: dict[Phase, str] = {
    "dns": "the server's name was not found",
    "connect": "the server could not be reached",
    "tls": "the server's certificate or handshake was refused",
    "read": "the connection broke, or what came is not HTTP",
}


def _phase(error: BaseException, attempt: _Attempt) -> Phase:
    if attempt.connected:
        return "read"
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ServerFingerprintMismatch):
        return "tls"
    if isinstance(error, aiohttp.ClientConnectorDNSError) or _is_nowhere(error):
        return "dns"
    return "connect"


def _is_nowhere(error: BaseException) -> bool:
    """Whether a name resolved to no address at all."""
    return isinstance(error, AssertionError | TypeError) or isinstance(
        error.__cause__, StopIteration
    )


def environment_proxy(url: str) -> str | None:
    """Return the proxy that the environment names for *url*, if any."""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get(parts.scheme)
