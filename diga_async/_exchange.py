"""
From a request to the head of its answer: through aiohttp's session, or past it.

`ClientSession._request` sees to redirects, cookies, logins, bodies and second
attempts. A lookup has none of them, and they cost a sixth of it. So its last lines
are done here by themselves - connect, send, read the head - wherever nobody could
see the difference. The session does it all

- with another aiohttp than those that were read for this,
- when something else stands in the place of `_request`, as aioresponses and some
  tracers put it there,
- when the session has traces or middlewares,
- through a proxy.
"""

from collections.abc import Coroutine, Mapping
from types import FunctionType
from typing import Any

import aiohttp
from aiohttp.client_reqrep import ClientRequest
from aiohttp.helpers import TimerNoop

from diga_async._wire import Request


def _is_known(version: str, request: object) -> bool:
    """Whether this is aiohttp as it was read, and *request* its very own."""
    return (
        version.startswith("3.14.")
        and type(request) is FunctionType
        and request.__globals__ is vars(aiohttp.client)
    )


_REQUEST = aiohttp.ClientSession._request  # noqa: SLF001 - what others replace
_IS_KNOWN = _is_known(aiohttp.__version__, _REQUEST)
_NO_TIMER = TimerNoop()


class Complete(ClientRequest):
    """
    A request whose headers are complete, and are sent as they are.

    aiohttp would copy them one by one, and look for each that it adds itself.
    Where a later aiohttp does not ask these methods, it does so, and sends the same.
    """

    def update_headers(self, headers: Any) -> None:
        self.headers = headers

    def update_auto_headers(self, _: Any) -> None:
        pass


def exchange(
    session: aiohttp.ClientSession,
    request: Request,
    timeout: aiohttp.ClientTimeout,
    options: Mapping[str, Any],
) -> Coroutine[Any, Any, aiohttp.ClientResponse]:
    """
    Send *request*; return the response once its head is there.

    Args:
        session: Where connections come from.
        request: What to send.
        timeout: How long a new connection may take.
        options: What else aiohttp is to know; *proxy* and *ssl* are looked at.
    """
    if _is_plain(session, options):
        return _exchange(session, request, timeout, options.get("ssl", True))
    # `session.get` puts an object in between that costs a twentieth of a lookup.
    return session._request(  # noqa: SLF001
        "GET", request.url, headers=request.headers, timeout=timeout, **options
    )


def _is_plain(session: aiohttp.ClientSession, options: Mapping[str, Any]) -> bool:
    return (
        _IS_KNOWN
        and aiohttp.ClientSession._request is _REQUEST  # noqa: SLF001
        and not session._trace_configs  # noqa: SLF001
        and not session._middlewares  # noqa: SLF001
        and options["proxy"] is None
    )


async def _exchange(
    session: aiohttp.ClientSession,
    request: Request,
    timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's, passed on
    ssl: Any,
) -> aiohttp.ClientResponse:
    if session.connector is None or session.closed:
        raise ConnectionError
    asked = Complete(
        "GET",
        request.url,
        headers=request.headers,
        loop=session._loop,  # noqa: SLF001 - to ask for it is a system call in 3.11
        session=session,
        ssl=ssl,
        timer=_NO_TIMER,
    )
    connection = await session.connector.connect(asked, [], timeout)
    response = None
    try:
        assert connection.protocol is not None  # noqa: S101 - for the type checker
        connection.protocol.set_response_params(
            timer=_NO_TIMER, read_until_eof=True, auto_decompress=False
        )
        response = await asked.send(connection)
        return await response.start(connection)
    except BaseException:
        if response is not None:
            response.close()
        connection.close()
        raise
