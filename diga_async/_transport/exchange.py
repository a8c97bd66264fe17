"""
One request out, the whole response in; through aiohttp's session or past it.

`ClientSession` sees to redirects, cookies, logins, bodies and second attempts, and
makes a dozen objects to hold them. A lookup has none of them, so it goes straight to a
connection: see `direct`. The session does it all, so that nothing gets lost that
somebody put there,

- with an aiohttp that does not behave as expected: see `self_check`,
- when something else stands in the place of its methods, as aioresponses and some
  tracers put it there,
- when it is not as it was made: it has traces, middlewares, headers of its own,
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
What a session may have that somebody gives to every session of a program, and what
each is in a session of ours. OpenTelemetry does so with traces.
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
"""More of it, whose values in a session of ours are aiohttp's defaults."""


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
    Whether *connector* looks at nothing but where a request goes.

    Nor must it want the server told that the connection will not be kept.
    """
    return type(connector) is TCPConnector and not connector.force_close


class Exchange:
    """
    Sends over one pool.

    *options* are what else aiohttp is to know of each request; of them,
    *proxy* and *ssl* are looked at.
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
            if response.connection is not None:  # it did not end well
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
        """Keep no connection any more; say when the last request is done."""
        if self._direct is not None:
            self._direct.retire(on_drained)

    async def close(self) -> None:
        """Close what is ours."""
        try:
            await self.pool.close()
        finally:
            self._close_direct()

    def abandon(self) -> None:
        """Let go of everything without waiting, from any thread."""
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
    # section 6.3); nobody knows where such an answer ends.
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
