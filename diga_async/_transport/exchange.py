"""
One request out, the whole response in; through aiohttp's session or past it.

`ClientSession` handles redirects, cookies, logins, bodies and second attempts, and
makes a dozen objects to hold them. A lookup has none of them, so it goes straight to a
connection: see `direct`. The session, and what others added to it, is used

- with an aiohttp that does not behave as expected: see `self_check`,
- when its methods are replaced, as aioresponses and some tracers do,
- when it was changed: it has traces, middlewares or headers of its own,
- with a lent connector that is not simply one of aiohttp's own,
- through a proxy.
"""

from collections.abc import Callable, Mapping
from functools import cache
from inspect import signature
from typing import Any

import aiohttp
from aiohttp import ClientSession, TCPConnector

from diga_async._api.messages import Headers, Request, Response
from diga_async._transport import self_check
from diga_async._transport.connections import Pool
from diga_async._transport.deadlines import CURRENT, Open, TimeLimits
from diga_async._transport.direct import Direct
from diga_async._transport.protocol import HttpConnection, Reply, Unusable

_AS_MADE: dict[str, Any] = {
    "_default_auth": None,
    "_default_headers": {},
    "_default_proxy": None,
    "_middlewares": (),
    "_request_class": aiohttp.ClientRequest,
    "_response_class": aiohttp.ClientResponse,
    "_trace_configs": [],
}
"""
Attributes that other code may set on every session of a program, as OpenTelemetry
does with traces, and their values in a session of ours.
"""

_DEFAULTS = (
    "max_field_size",
    "max_headers",
    "max_line_size",
    "raise_for_status",
    "read_bufsize",
    "trust_env",
    "version",
)
"""More such attributes, whose values in a session of ours are aiohttp's defaults."""


@cache
def _as_made() -> dict[str, Any]:
    parameters = signature(ClientSession.__init__).parameters
    defaults = {f"_{n}": parameters[n].default for n in _DEFAULTS if n in parameters}
    return {**_AS_MADE, **defaults}


def _is_as_made(session: aiohttp.ClientSession) -> bool:
    return type(session) is ClientSession and all(
        getattr(session, n, value) == value for n, value in _as_made().items()
    )


def _is_simple(connector: aiohttp.BaseConnector) -> bool:
    """
    Whether *connector* uses nothing of a request but its destination.

    It must not want to tell the server that the connection is not kept, either.
    """
    return type(connector) is TCPConnector and not connector.force_close


class Exchange:
    """
    Sends over one pool.

    *options* are further arguments of aiohttp's requests, such as *proxy* and *ssl*.
    """

    def __init__(
        self, pool: Pool, options: Mapping[str, Any], limits: TimeLimits
    ) -> None:
        self.pool = pool
        self._session = pool.session
        self._options = options
        self._direct: Direct | None = None
        self_check.check()
        if (
            options["proxy"] is None
            and _is_simple(pool.connector)
            and _is_as_made(pool.session)
        ):
            tls = {name: options[name] for name in options if name == "ssl"}
            self._direct = Direct(pool.session, limits, tls, keeps=pool.owned)

    def take(self) -> HttpConnection | None:
        """Return a connection that is ready for a request: the common case."""
        if self._direct is None or not self_check.may_pass():
            return None
        return self._direct.take()

    async def send(
        self,
        request: Request,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's, passed on
    ) -> Reply:
        """
        Send *request* over a connection that is made or lent; return the reply.

        Args:
            request: What to send.
            timeout: How long a new connection may take.
        """
        if self._direct is not None and self_check.may_pass():
            try:
                return await self._direct.send(request, timeout)
            except Unusable as error:
                self_check.disable(str(error))
                CURRENT.get().sent = False
        return await self._send_through_session(request, timeout)

    async def _send_through_session(
        self,
        request: Request,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's, passed on
    ) -> Response:
        response = await self._session.get(
            request.url,
            headers=request.headers,
            timeout=timeout,
            middlewares=(*self._session._middlewares, _note_loss),  # noqa: SLF001
            **self._options,
        )
        try:
            return await _received(
                response.status, response.headers, response.content, request.max_body
            )
        finally:
            if response.connection is not None:  # it did not end cleanly
                response.close()

    def close_idle(self, attempt: Open) -> bool:
        """
        Close a connection that no request uses; return whether there was one.

        Args:
            attempt: The last one. Its own connection may serve another by now.
        """
        if self._direct is not None and self_check.may_pass():
            return self._direct.close_idle()
        attempt.disconnect()
        return True

    # --- the end

    @property
    def is_busy(self) -> bool:
        """Whether a request is open."""
        return self.pool.users > 0 or (
            self._direct is not None and self._direct.is_busy
        )

    def retire(self, on_drained: Callable[[], object]) -> None:
        """Keep no more connections; call *on_drained* after the last request."""
        if self._direct is not None:
            self._direct.retire(on_drained)

    async def close(self) -> None:
        """Close what the client owns."""
        try:
            await self.pool.close()
        finally:
            self._close_direct()

    def abandon(self) -> None:
        """Release everything without waiting, from any thread."""
        self.pool.abandon(self._close_direct)

    def _close_direct(self) -> None:
        if self._direct is not None:
            self._direct.close()


async def _received(
    status: int, headers: Headers, content: aiohttp.StreamReader, most: int
) -> Response:
    _refuse_two_lengths(headers)
    # Nearly always the whole answer came together.
    body = content.read_nowait() if content.is_eof() else await _read(content, most)
    return Response(status, headers, body if len(body) <= most else None)


def _refuse_two_lengths(headers: Headers) -> None:
    # aiohttp's parser in Python takes the first of two lengths (RFC 9112
    # section 6.3); the end of such an answer is unknown.
    if "Content-Length" in headers and len(headers.getall("Content-Length")) > 1:
        CURRENT.get().disconnect()
        raise aiohttp.ClientPayloadError


async def _read(content: aiohttp.StreamReader, most: int) -> bytes:
    body = bytearray()
    while not content.at_eof() and len(body) <= most:
        body += await content.readany()
    return bytes(body)


async def _note_loss(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Remember why a connection was lost: aiohttp forgets it, to try again."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        CURRENT.get().loss = error
        raise
