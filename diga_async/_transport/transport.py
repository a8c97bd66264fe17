"""
One `Request` out, one `Response` back, within a time limit.

Nothing is followed, unpacked or tried again here, and no exception of aiohttp's
gets past this room.
"""

import urllib.request
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from diga_async._api.addresses import with_scheme
from diga_async._api.messages import Request, Response
from diga_async._models.errors import APIConnectionError, APITimeoutError, Phase
from diga_async._transport.connections import CURRENT, Attempt, Pool, TimeLimits
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
        self._retired: set[Pool] = set()

    def _new_exchange(self) -> Exchange:
        return Exchange(Pool(self._lent, self._trace_configs), self._options)

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
        on_begin: Callable[[Attempt], object] | None = None,
    ) -> Response | APIConnectionError:
        """
        Send *request*; return the whole answer, or why there is none.

        Args:
            request: What to send.
            seconds: How long it may take.
            connect: How long a new connection may take.
            on_begin: Given the attempt as it begins, to look at and to extend.
        """
        exchange = self._exchange
        exchange.pool.users += 1
        attempt = Attempt(self._limits, seconds)
        try:
            with attempt:
                if on_begin is not None:
                    on_begin(attempt)
                timeout = _timeout(connect, counts_queue=self._lent is None)
                return await exchange.send(request, timeout)
        except _ERRORS as error:
            failure = _failure(error, attempt)
        finally:
            exchange.pool.users -= 1
            self._drop_if_idle(exchange.pool)
        return failure

    def retire(self) -> None:
        """
        Trust none of the connections any more.

        New requests go over new ones; the old ones close when the last request
        on them is done. Of a lent connector only the connection of the last
        attempt is closed.
        """
        CURRENT.get().disconnect()
        if self._lent is None and not self.closed:
            retired, self._exchange = self._exchange.pool, self._new_exchange()
            self._retired.add(retired)
            self._drop_if_idle(retired)

    def _drop_if_idle(self, pool: Pool) -> None:
        if pool in self._retired and not pool.users:
            self._retired.discard(pool)
            pool.abandon()

    async def close(self) -> None:
        """Close what is ours."""
        for pool in (self._exchange.pool, *self._retired):
            await pool.close()

    def abandon(self) -> None:
        """Let go of everything without waiting, from any thread."""
        for pool in (self._exchange.pool, *self._retired):
            pool.abandon()


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


def _failure(error: BaseException, attempt: Attempt) -> APIConnectionError:
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


def _phase(error: BaseException, attempt: Attempt) -> Phase:
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
