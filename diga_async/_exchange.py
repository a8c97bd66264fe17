"""
From a request to the head of its answer: through aiohttp's session, or past it.

`ClientSession` sees to redirects, cookies, logins, bodies and second attempts.
A lookup has none of them, and they cost a sixth of it. So the last lines of
`ClientSession._request` are done here by themselves - connect, send, read the head -
wherever nobody could see the difference. The session does it all

- with an aiohttp that was not read for this,
- when something else stands in the place of its methods, as aioresponses and some
  tracers put it there,
- when it is not as it was made: it has traces, middlewares, headers of its own,
- through a proxy.
"""

from collections.abc import Coroutine, Mapping
from types import FunctionType
from typing import Any

import aiohttp

from diga_async._wire import Request

_READ = frozenset({"3.14.4", "3.14.5"})
"""The versions of aiohttp whose `_request` was read, and does no more than this."""

_GET = aiohttp.ClientSession.get
_REQUEST = getattr(aiohttp.ClientSession, "_request", None)


def _is_known(version: str, *methods: object) -> bool:
    """Whether this is an aiohttp that was read, and *methods* are its very own."""
    return version in _READ and all(
        type(method) is FunctionType and method.__globals__ is vars(aiohttp.client)
        for method in methods
    )


_IS_KNOWN = _is_known(aiohttp.__version__, _GET, _REQUEST)


class _Complete(aiohttp.ClientRequest):
    """
    A request whose headers are complete, and are sent as they are.

    aiohttp would copy them one by one, look for each that it adds itself, and send
    the same.
    """

    def update_headers(self, headers: Any) -> None:
        self.headers = headers

    def update_auto_headers(self, _: Any) -> None:
        pass


def request_class() -> type[aiohttp.ClientRequest]:
    """Return what a session is to make requests of."""
    return _Complete if _IS_KNOWN else aiohttp.ClientRequest


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
    "_request_class": _Complete,
    "_response_class": aiohttp.ClientResponse,
    "_trace_configs": [],
    "_trust_env": False,
    "_version": aiohttp.HttpVersion11,
}
"""
What `_request` looks at, and what each is in a session of ours.

Instrumentation, such as that of OpenTelemetry, gives something else to every session
that a program makes.
"""


class Exchange:
    """
    Sends over one session.

    *options* are what else aiohttp is to know of each request; of them,
    *proxy* and *ssl* are looked at.
    """

    def __init__(
        self, session: aiohttp.ClientSession, options: Mapping[str, Any]
    ) -> None:
        self._session = session
        self._options = options
        self._is_plain = (
            _IS_KNOWN
            and options["proxy"] is None
            and all(getattr(session, n, ...) == value for n, value in _AS_MADE.items())
        )

    def send(
        self, request: Request, timeout: aiohttp.ClientTimeout
    ) -> Coroutine[Any, Any, aiohttp.ClientResponse]:
        """
        Send *request*; return the response once its head is there.

        Args:
            request: What to send.
            timeout: How long a new connection may take.
        """
        if self._is_plain and self._is_untouched():
            return self._send(request, timeout)
        return self._session.get(
            request.url, headers=request.headers, timeout=timeout, **self._options
        )

    def _is_untouched(self) -> bool:
        """Whether nobody has put something else in the place of the methods."""
        kind = type(self._session)
        return kind._request is _REQUEST and kind.get is _GET  # noqa: SLF001

    async def _send(
        self,
        request: Request,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's, passed on
    ) -> aiohttp.ClientResponse:
        session = self._session
        connector = session.connector
        if (
            connector is None
            or connector.closed
            or request.url.scheme not in connector.allowed_protocol_schema_set
        ):
            raise ConnectionError
        asked = _Complete(
            "GET",
            request.url,
            headers=request.headers,
            loop=session._loop,  # noqa: SLF001 - to ask for it is a system call in 3.11
            session=session,
            ssl=self._options.get("ssl", True),
        )
        connection = await connector.connect(asked, [], timeout)
        response = None
        try:
            assert connection.protocol is not None  # noqa: S101 - for the type checker
            connection.protocol.set_response_params(
                read_until_eof=True, auto_decompress=False
            )
            response = await asked.send(connection)
            return await response.start(connection)
        except BaseException:
            if response is not None:
                response.close()
            connection.close()
            raise
