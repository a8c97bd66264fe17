"""
One `Request` out, one `Response` back, within a time limit.

No redirect is followed, no body decompressed and no request retried here, and no
exception of aiohttp's leaves this module.
"""

import math
import socket
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp

from diga_async._api.addresses import Peer, peer_of, with_scheme
from diga_async._api.messages import Request, Response
from diga_async._models.errors import APIConnectionError
from diga_async._transport.connections import Pool, SecondSend
from diga_async._transport.deadlines import CURRENT, Attempt, Open, TimeLimits
from diga_async._transport.exchange import Exchange
from diga_async._transport.failures import (
    ERRORS,
    Progress,
    Shortage,
    failure_of,
    is_foreign,
    proxy_refusal,
)

if TYPE_CHECKING:
    from diga_async._transport.protocol import HttpConnection, Reply

NO_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=None)
"""Attempts have time limits of their own, which know when the loop was blocked."""

SPARE = 2
"""How many connections are closed after a shortage of descriptors."""

_NOTHING = ConnectionError("nothing came back")

PROXY_LOGIN = 407
"""The status of a proxy that refuses its user (RFC 9110 section 15.5.8)."""


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
        self._limits = TimeLimits()
        self._spare = 0.0
        self._proxy_may_answer = proxy is not None
        self._exchange = self._new_exchange()
        self._retired: set[Exchange] = set()

    def _new_exchange(self) -> Exchange:
        pool = Pool(self._lent, self._trace_configs)
        return Exchange(pool, self._options, self._limits)

    @property
    def closed(self) -> bool:
        """Whether the connections are gone, even when their owner closed them."""
        return self._exchange.pool.closed

    @property
    def blocked(self) -> float:
        """For how many seconds the loop was blocked so far, during requests."""
        return self._limits.blocked

    @property
    def size(self) -> float:
        """The most requests that the pool serves at a time."""
        return self._exchange.pool.size

    def take(self, *, fresh: bool = False) -> "HttpConnection | None":
        """
        Return a connection that is ready for a request: the common case.

        The caller closes it when the wait for the reply is cancelled, and asks
        `failure` what a reply other than a response means.

        Args:
            fresh: Whether a new connection is needed.

        Returns:
            The connection; None when the request needs `send`.
        """
        return None if fresh or self._spare else self._exchange.take()

    async def send(  # noqa: PLR0913 - how long, and how
        self,
        request: Request,
        *,
        seconds: float,
        connect: float,
        most: float = math.inf,
        fresh: bool = False,
        on_begin: Callable[[Open], object] | None = None,
    ) -> Response | APIConnectionError | Shortage:
        """
        Send *request*; return the whole answer, or why there is none.

        Args:
            request: What to send.
            seconds: How long it may take, not counting time in which the loop was
                blocked.
            connect: How long a new connection may take.
            most: How long it may take in any case.
            on_begin: Given the attempt as it begins, to look at and to extend.
            fresh: Whether to open a new connection for it.

        Raises:
            Exception: What a trace hook of the user raised.
        """
        connection = None if fresh else self._exchange.take()
        if connection is None:
            attempt = Attempt(
                self._limits, seconds, connect=connect, most=most, fresh=fresh
            )
            return await self._send(request, attempt, connect, on_begin)
        if on_begin is not None:
            on_begin(connection)
        try:
            reply = await connection.ask(request, seconds, most)
        except BaseException:
            connection.close()
            raise
        if self._spare:
            self._make_room(connection)
        if isinstance(reply, Response):
            return reply
        return self.failure(reply, connection, request, connect)

    async def _send(
        self,
        request: Request,
        attempt: Attempt,
        connect: float,
        on_begin: Callable[[Open], object] | None,
    ) -> Response | APIConnectionError | Shortage:
        """Send over a connection that has to be made first, or through the session."""
        exchange = self._exchange
        exchange.pool.users += 1
        reply: Reply = _NOTHING
        try:
            with attempt:
                if on_begin is not None:
                    on_begin(attempt)
                reply = await exchange.send(request, NO_TIMEOUT)
        except ERRORS as error:
            if attempt.hook_error is None and is_foreign(error):
                raise
            reply = error
        finally:
            exchange.pool.users -= 1
            self._drop_if_idle(exchange)
        if attempt.hook_error is not None:
            attempt.disconnect()
            raise attempt.hook_error
        if not isinstance(reply, Response):
            return self.failure(reply, attempt, request, connect)
        if self._spare:
            self._make_room(attempt)
        if self._proxy_may_answer and reply.status == PROXY_LOGIN:
            return proxy_refusal(PROXY_LOGIN, self._peer_of(request))
        return reply

    def failure(
        self,
        error: BaseException,
        attempt: Open,
        request: Request,
        connect: float = math.inf,
    ) -> APIConnectionError | Shortage:
        """
        Return what *error* means for an attempt.

        Args:
            error: The reply.
            attempt: The attempt, or its connection.
            request: What was sent.
            connect: How long a new connection might have taken.
        """
        progress = Progress(
            connected=attempt.connected,
            expired=attempt.expired and not attempt.is_late_to_connect,
            pooled=attempt.pooled,
            seconds=attempt.seconds,
            connect=connect,
            lacking=None if attempt.connected else _lacking_descriptors(),
        )
        if isinstance(error, SecondSend):
            error = error.__cause__ or error
        failure = failure_of(error, progress, self._peer_of(request))
        if isinstance(failure, Shortage):
            self._spare = max(self._spare, SPARE)
        return failure

    def _peer_of(self, request: Request) -> Peer:
        return peer_of(request.endpoint.url, self._options["proxy"])

    def keep_none(self) -> None:
        """Close every connection after its response."""
        self._spare = math.inf

    def _make_room(self, attempt: Open) -> None:
        """After a shortage, close a few connections: the program needs files too."""
        if self._lent is None and attempt.connected:
            self._spare -= self._exchange.close_idle(attempt)

    def retire(self) -> None:
        """
        Stop using the present connections.

        New requests go over new ones; the old ones close when the last request
        on them is done. Of a lent connector only the connection of the last
        attempt is closed.
        """
        if self._lent is not None:
            CURRENT.get().disconnect()
        elif not self.closed:
            retired, self._exchange = self._exchange, self._new_exchange()
            self._retired.add(retired)
            retired.retire(partial(self._drop_if_idle, retired))
            self._drop_if_idle(retired)

    def _drop_if_idle(self, exchange: Exchange) -> None:
        if exchange in self._retired and not exchange.is_busy:
            self._retired.discard(exchange)
            exchange.abandon()

    async def close(self) -> None:
        """Close what the client owns."""
        for exchange in (self._exchange, *self._retired):
            await exchange.close()

    def abandon(self) -> None:
        """Release everything without waiting, from any thread."""
        for exchange in (self._exchange, *self._retired):
            exchange.abandon()


def _lacking_descriptors() -> int | None:
    """
    Return the number of the error with which the system refuses another descriptor.

    A resolver without one says that the name does not exist.
    """
    try:
        socket.socket().close()
    except OSError as error:
        return error.errno
    return None


def environment_proxy(url: str) -> str | None:
    """Return the proxy that the environment names for *url*, if any."""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    proxy = urllib.request.getproxies().get(parts.scheme)
    return None if proxy is None else with_scheme(proxy)
