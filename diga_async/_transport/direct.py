"""
`Direct`: requests past aiohttp's session, over connections that its connector makes.

Connections of our own pool are kept here between requests, for as long as aiohttp
would keep them. A connection of a lent pool goes back after each request, because its
owner counts it and may need it.
"""

from collections.abc import Callable
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any

import aiohttp

from diga_async._api.messages import Endpoint, Request
from diga_async._transport.connections import KEEP_ALIVE
from diga_async._transport.deadlines import TimeLimits
from diga_async._transport.protocol import HttpConnection, Reply, Unusable

if TYPE_CHECKING:
    import asyncio


class _Destination(aiohttp.ClientRequest):
    """
    A destination in the form that connectors expect.

    One serves all requests: it has no id and no key, and is never sent.
    """

    @cached_property
    def connection_key(self) -> Any:
        """The key by which connectors group connections; always the same."""
        return super().connection_key


class Direct:
    """
    The connections of one pool that go past the session.

    Args:
        session: Over the connector that connects.
        limits: Ends requests that take too long.
        options: The *ssl* option, where there is one.
        keeps: Whether connections are kept here between requests.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        limits: TimeLimits,
        options: dict[str, Any],
        *,
        keeps: bool,
    ) -> None:
        self._session = session
        self._limits = limits
        self._loop = limits.loop
        self._options = options
        self._keeps = keeps
        self._destination: _Destination | None = None
        self._open: set[HttpConnection] = set()
        self._idle: list[HttpConnection] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._on_drained: Callable[[], object] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a request is open."""
        return len(self._open) > len(self._idle)

    def take(self) -> HttpConnection | None:
        """Return a connection that is ready for a request; None to make a new one."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.is_usable(monotonic() - KEEP_ALIVE):
                return connection
            connection.close()
        return None

    async def send(self, request: Request, timeout: aiohttp.ClientTimeout) -> Reply:  # noqa: ASYNC109 - aiohttp's, passed on
        """
        Send *request* over a connection that the connector makes, or has.

        Args:
            request: What to send.
            timeout: How long a new connection may take.

        Raises:
            Unusable: The connection does not work with a protocol of ours.
        """
        connector = self._session.connector
        if connector is None or connector.closed:
            raise ConnectionError("the connector is closed")
        destination = self._destination_of(request.endpoint, connector)
        theirs = await connector.connect(destination, [], timeout)
        try:
            connection = HttpConnection(
                theirs, self._limits, on_idle=self._rest, on_end=self._forget
            )
        except BaseException:
            theirs.close()
            raise
        self._open.add(connection)
        try:
            reply = connection.ask(request)
            connection.hear_what_came_before()
            return await reply
        except BaseException:
            connection.close()
            raise

    def _destination_of(
        self, endpoint: Endpoint, connector: aiohttp.BaseConnector
    ) -> _Destination:
        destination = self._destination
        if destination is None or destination.url is not endpoint.url:
            if endpoint.url.scheme not in connector.allowed_protocol_schema_set:
                raise ConnectionError(f"the connector is not for {endpoint.url.scheme}")
            destination = self._destination = self._new_destination(endpoint)
        return destination

    def _new_destination(self, endpoint: Endpoint) -> _Destination:
        options = {"loop": self._loop, "session": self._session, **self._options}
        try:
            destination = _Destination("GET", endpoint.url, **options)
            _ = destination.connection_key
        except (AttributeError, TypeError):
            raise Unusable("aiohttp describes requests differently") from None
        return destination

    # --- between requests

    def close_idle(self) -> bool:
        """Close one connection that no request uses; return whether there was one."""
        if not self._idle:
            return False
        self._idle[0].close()
        return True

    def _rest(self, connection: HttpConnection) -> None:
        if not self._keeps:
            self._open.discard(connection)
            connection.give_back()
        elif self._on_drained is not None:
            connection.close()
        else:
            self._idle.append(connection)
            if self._sweep is None:
                self._set_sweep()

    def _set_sweep(self) -> None:
        self._sweep = self._loop.call_later(KEEP_ALIVE, self._close_old)

    def _close_old(self) -> None:
        self._sweep = None
        oldest = monotonic() - KEEP_ALIVE
        for connection in [c for c in self._idle if c.idle_since <= oldest]:
            connection.close()
        if self._idle:
            self._set_sweep()

    def _forget(self, connection: HttpConnection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._on_drained is not None and not self._open:
            self._on_drained()

    # --- the end

    def retire(self, on_drained: Callable[[], object]) -> None:
        """Keep no more connections; call *on_drained* after the last request."""
        self._on_drained = on_drained
        for connection in tuple(self._idle):
            connection.close()

    def close(self) -> None:
        """Close every connection."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in tuple(self._open):
            connection.close()
