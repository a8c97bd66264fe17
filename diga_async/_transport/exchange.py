"""
One exchange: a request out, the whole answer in; through aiohttp's session or past it.

`ClientSession` sees to redirects, cookies, logins, bodies and second attempts, and
makes a dozen objects to hold them. A lookup has none of them. So the request is
written to aiohttp's connection here, and the answer taken from its parser. The
session does it all, so that nothing gets lost that somebody put there,

- with an aiohttp that was not read for this,
- when something else stands in the place of its methods, as aioresponses and some
  tracers put it there,
- when it is not as it was made: it has traces, middlewares, headers of its own,
- with a lent connector that is not simply one of aiohttp's own,
- through a proxy.
"""

from collections.abc import Coroutine, Mapping
from functools import cached_property
from types import FunctionType
from typing import Any

import aiohttp
from aiohttp import ClientSession, TCPConnector
from aiohttp.connector import Connection
from aiohttp.http import StreamWriter

from diga_async._api.messages import Headers, Request, Response
from diga_async._transport.connections import Pool
from diga_async._transport.deadlines import CURRENT

_READ = frozenset({"3.14.4", "3.14.5"})
"""
The versions of aiohttp that were read for this.

What the methods below do for a lookup is done here. Two things are left out: to wait
where the system takes no more bytes, which an answer waits for anyway, and to look
for a connection that closes just now, which the answer will tell.
"""

_METHODS = [
    (owner, name, getattr(owner, name, None))
    for owner, name in [
        (ClientSession, "get"),
        (ClientSession, "_request"),
        (aiohttp.ClientRequest, "__init__"),
        (aiohttp.ClientRequest, "send"),
        (aiohttp.ClientResponse, "__init__"),
        (aiohttp.ClientResponse, "start"),
        (TCPConnector, "connect"),
        (StreamWriter, "write_headers"),
    ]
]
"""What others put something else in the place of, and what is there."""


def _is_known(version: str, *methods: object) -> bool:
    """Whether this is an aiohttp that was read, and *methods* are its very own."""
    return version in _READ and all(
        type(method) is FunctionType
        and method.__globals__["__name__"].startswith("aiohttp.")
        for method in methods
    )


_IS_KNOWN = _is_known(aiohttp.__version__, *[method for _, _, method in _METHODS])


def _is_untouched() -> bool:
    """Whether nobody has put something else in the place of the methods since."""
    for owner, name, method in _METHODS:  # noqa: SIM110 - at half the cost of all()
        if getattr(owner, name, None) is not method:
            return False
    return True


_AS_MADE: dict[str, Any] = {
    "_default_auth": None,
    "_default_headers": {},
    "_default_proxy": None,
    "_max_field_size": 8190,
    "_max_headers": 128,
    "_max_line_size": 8190,
    "_middlewares": (),
    "_raise_for_status": False,
    "_read_bufsize": 1 << 18,
    "_request_class": aiohttp.ClientRequest,
    "_response_class": aiohttp.ClientResponse,
    "_trace_configs": [],
    "_trust_env": False,
    "_version": aiohttp.HttpVersion11,
}
"""
What `_request` looks at that somebody may give to every session of a program, and
what each is in a session of ours. OpenTelemetry does so with traces.
"""


def _is_as_made(session: aiohttp.ClientSession) -> bool:
    return type(session) is ClientSession and all(
        getattr(session, n, ...) == value for n, value in _AS_MADE.items()
    )


def _is_simple(connector: aiohttp.BaseConnector) -> bool:
    """
    Whether *connector* looks at nothing but where a request goes.

    Nor must it want the server told that the connection will not be kept.
    """
    return type(connector) is TCPConnector and not connector.force_close


class _Destination(aiohttp.ClientRequest):
    """
    Where to connect to, as connectors want to be told.

    One serves all requests: it has no id and no key, and is never sent.
    """

    @cached_property
    def connection_key(self) -> Any:
        """What tells connections apart, which is always the same."""
        return super().connection_key


class Exchange:
    """
    Sends over one pool.

    *options* are what else aiohttp is to know of each request; of them,
    *proxy* and *ssl* are looked at.
    """

    def __init__(self, pool: Pool, options: Mapping[str, Any]) -> None:
        self.pool = pool
        self._session = pool.session
        self._options = options
        self._destination: _Destination | None = None
        self._is_plain = (
            _IS_KNOWN
            and options["proxy"] is None
            and _is_simple(pool.connector)
            and _is_as_made(pool.session)
        )

    def send(
        self, request: Request, timeout: aiohttp.ClientTimeout
    ) -> Coroutine[Any, Any, Response]:
        """
        Send *request*; return the whole answer.

        Args:
            request: What to send.
            timeout: How long a new connection may take.
        """
        is_short = self._is_plain and _is_untouched()
        way = self._send if is_short else self._send_through_session
        return way(request, timeout)

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

    async def _send(
        self,
        request: Request,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's, passed on
    ) -> Response:
        connector = self._session.connector
        if connector is None or connector.closed:
            raise ConnectionError("the connector is closed")
        destination = self._destination
        if destination is None or destination.url is not request.endpoint.url:
            destination = self._destination = self._destination_of(request, connector)
        connection = await connector.connect(destination, [], timeout)
        try:
            response = await _ask(connection, request)
        except BaseException:
            connection.close()
            raise
        # Which closes it unless the answer ended well. aiohttp does it where the last
        # bytes come in; nothing that comes between can be for anybody else.
        connection.release()
        return response

    def _destination_of(
        self, request: Request, connector: aiohttp.BaseConnector
    ) -> _Destination:
        url = request.endpoint.url
        if url.scheme not in connector.allowed_protocol_schema_set:
            raise ConnectionError(f"the connector is not for {url.scheme}")
        return _Destination(
            "GET",
            url,
            loop=self._session._loop,  # noqa: SLF001 - to ask for it is a system call
            session=self._session,
            ssl=self._options.get("ssl", True),
        )


async def _note_loss(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Remember why a connection was lost: aiohttp forgets it, to try again."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        CURRENT.get().loss = error
        raise


async def _ask(connection: Connection, request: Request) -> Response:
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None:
        raise ConnectionError("the connection was lost before it was used")
    protocol.set_response_params(read_until_eof=True, auto_decompress=False)
    transport.write(bytes(request))
    protocol.start_timeout()  # there is none: ends that of who had it before
    head, content = await protocol.read()
    while _is_interim(head.code):
        head, content = await protocol.read()
    response = await _received(head.code, head.headers, content, request.max_body)
    if transport.get_write_buffer_size():
        protocol.force_close()  # it answered before it had read the request
    return response


def _is_interim(status: int) -> bool:
    """Whether another head follows (RFC 9110 section 15.2); after 101 none does."""
    return 100 <= status < 200 and status != 101  # noqa: PLR2004


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
