"""
One `Request` out, one `Response` back, within a time limit.

Nothing is followed, unpacked or tried again here, and no exception of aiohttp's
gets past this room.
"""

import urllib.request
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from diga_async._api.addresses import with_scheme
from diga_async._api.messages import Request, Response
from diga_async._models.errors import APIConnectionError, APITimeoutError, Phase
from diga_async._transport.connections import CURRENT, Attempt, Open, Pool, TimeLimits
from diga_async._transport.exchange import Exchange


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
        self._exchange = self._new_exchange()
        self._retired: set[Exchange] = set()

    def _new_exchange(self) -> Exchange:
        pool = Pool(self._lent, self._trace_configs)
        return Exchange(pool, self._options, self._limits)

    @property
    def closed(self) -> bool:
        """Whether the connections are gone, also when their owner closed them."""
        return self._exchange.pool.closed

    async def send(
        self,
        request: Request,
        *,
        seconds: float,
        connect: float,
        on_begin: Callable[[Open], object] | None = None,
    ) -> Response | APIConnectionError:
        """
        Send *request*; return the whole answer, or why there is none.

        Args:
            request: What to send.
            seconds: How long it may take.
            connect: How long a new connection may take.
            on_begin: Given the attempt as it begins, to look at and to extend.
        """
        connection = self._exchange.take()
        if connection is None:
            return await self._send(request, seconds, connect, on_begin)
        if on_begin is not None:
            on_begin(connection)
        try:
            reply = await connection.ask(bytes(request), request.max_body, seconds)
        except BaseException:
            connection.close()
            raise
        if isinstance(reply, Response):
            return reply
        return _failure(reply, connection)

    async def _send(
        self,
        request: Request,
        seconds: float,
        connect: float,
        on_begin: Callable[[Open], object] | None,
    ) -> Response | APIConnectionError:
        """Send over a connection that has to be made first, or through the session."""
        exchange = self._exchange
        exchange.pool.users += 1
        attempt = Attempt(self._limits, seconds)
        try:
            with attempt:
                if on_begin is not None:
                    on_begin(attempt)
                timeout = _timeout(connect, counts_queue=self._lent is None)
                reply = await exchange.send(request, timeout)
        except _ERRORS as error:
            reply = error
        finally:
            exchange.pool.users -= 1
            self._drop_if_idle(exchange)
        return reply if isinstance(reply, Response) else _failure(reply, attempt)

    def retire(self) -> None:
        """
        Trust none of the connections any more.

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
        """Close what is ours."""
        for exchange in (self._exchange, *self._retired):
            await exchange.close()

    def abandon(self) -> None:
        """Let go of everything without waiting, from any thread."""
        for exchange in (self._exchange, *self._retired):
            exchange.abandon()


@lru_cache(maxsize=16)  # a client has one, perhaps a few calls their own
def _timeout(connect: float, *, counts_queue: bool) -> aiohttp.ClientTimeout:
    # In a lent pool aiohttp's `connect` would count the wait for a slot.
    return aiohttp.ClientTimeout(
        total=None,
        connect=connect if counts_queue else None,
        sock_connect=None if counts_queue else connect,
        ceil_threshold=float("inf"),
    )


#: What aiohttp raises, its parser, and asyncio below it. A name that resolves to
#: nothing is an assertion there, or without assertions a `TypeError`.
_ERRORS = (
    aiohttp.ClientError,
    HttpProcessingError,
    aiohttp.EofStream,
    OSError,
    ValueError,
    RuntimeError,
    AssertionError,
    TypeError,
)


def _failure(error: BaseException, attempt: Open) -> APIConnectionError:
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


def _phase(error: BaseException, attempt: Open) -> Phase:
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
    proxy = urllib.request.getproxies().get(parts.scheme)
    return None if proxy is None else with_scheme(proxy)
