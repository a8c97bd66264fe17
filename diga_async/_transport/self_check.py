"""
Whether this aiohttp lets requests go past its session, tested without its version.

Once a process, canned responses are given to aiohttp's parser, through the reader that
will be used. What only a connection can show is checked on the first real one, see
`disable`. Where anything is not as expected, requests go through aiohttp's session.
"""

import asyncio
import logging
from types import FunctionType

import aiohttp
from aiohttp import http

from diga_async._api.messages import Response
from diga_async._transport.reader import ResponseReader

LOG = logging.getLogger("diga_async")

_MOST = 100
_HEAD = b"HTTP/1.1 200 OK\r\nX-Check: yes\r\n"
_WHOLE = _HEAD + b"Content-Length: 2\r\n\r\n{}"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"

#: The status and body of a response, and whether the connection may be used again;
#: None is an error.
_Seen = tuple[int, bytes | None, bool] | None

#: What is fed, piece by piece, and the expected result.
_CANNED: tuple[tuple[str, tuple[bytes, ...], _Seen], ...] = (
    ("a response", (_WHOLE,), (200, b"{}", True)),
    ("a response in pieces", (_WHOLE[:9], _WHOLE[9:-1], b"}"), (200, b"{}", True)),
    ("chunks", (_CHUNKED,), (200, b"{}", True)),
    ("chunks in pieces", (_CHUNKED[:-9], _CHUNKED[-9:]), (200, b"{}", True)),
    ("an interim head", (b"HTTP/1.1 103 E\r\n\r\n" + _WHOLE,), (200, b"{}", True)),
    ("no body", (b"HTTP/1.1 204 No Content\r\n\r\n",), (204, b"", True)),
    ("a 404", (_WHOLE.replace(b"200 OK", b"404 No"),), (404, b"{}", True)),
    ("the last response", (_HEAD + b"Connection: close\r\n" + _WHOLE[len(_HEAD):],),
     (200, b"{}", False)),
    ("a response without a length", (_HEAD + b"\r\n{}", b""), (200, b"{}", False)),
    ("two responses", (_WHOLE * 2,), (200, b"{}", False)),
    ("the start of another", (_WHOLE + b"HTTP/1.1 2",), (200, b"{}", False)),
    ("a large body", (_WHOLE.replace(b": 2", b": 200") + bytes(198),),
     (200, None, True)),
    ("a body cut short", (_WHOLE[:-1], b""), None),
    ("chunks cut short", (_CHUNKED[:-5], b""), None),
    ("a bad chunk", (_CHUNKED.replace(b"1\r\n{", b"x\r\n{"),), None),
    ("two lengths", (_WHOLE.replace(b"X-Check: yes", b"Content-Length: 1"), b""), None),
    ("no HTTP", (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b""), None),
)  # fmt: skip


def _read(pieces: tuple[bytes, ...]) -> _Seen:
    """Feed *pieces*, an empty one as the end; return the result."""
    reader, response = ResponseReader(asyncio.get_running_loop()), None
    reader.most = _MOST
    try:
        for piece in pieces:
            response = reader.feed(piece) if piece else reader.feed_eof()
    except Exception:  # noqa: BLE001 - a parser may raise any
        return None
    return None if response is None else _seen(response, is_clean=reader.is_clean)


def _seen(response: Response, *, is_clean: bool) -> _Seen:
    if response.status == 200 and response.headers.getall("x-check") != ["yes"]:  # noqa: PLR2004
        return None
    return response.status, response.body, is_clean


def _difference() -> str | None:
    """Return what aiohttp's parser does differently; None when nothing."""
    for name, pieces, expected in _CANNED:
        try:
            seen = _read(pieces)
        except Exception as error:  # noqa: BLE001 - it may have changed in any way
            return f"aiohttp's parser cannot be used ({type(error).__name__})"
        if seen != expected:
            return f"aiohttp's parser reads {name} differently"
    return None


# --- aiohttp's methods, which other libraries may replace


def methods() -> tuple[object, ...]:
    """Return the present values of the methods that other libraries replace."""
    session, request, response = (
        aiohttp.client.ClientSession,
        aiohttp.ClientRequest,
        aiohttp.ClientResponse,
    )
    return (
        session.__init__,
        session.get,
        session._request,  # noqa: SLF001 - aioresponses and tracers replace it
        request.__init__,
        request.send,
        response.__init__,
        response.start,
        aiohttp.TCPConnector.connect,
        http.StreamWriter.write_headers,
        http.HttpResponseParser,
    )


def _replaced(found: tuple[object, ...]) -> bool:
    return not all(map(_is_of_aiohttp, found[:-1]))


def _is_of_aiohttp(method: object) -> bool:
    if type(method) is not FunctionType:
        return False
    module = method.__globals__.get("__name__")  # generated code may have none
    return isinstance(module, str) and module.startswith("aiohttp.")


# --- the verdict, one for the process


class _Verdict:
    """Whether requests may go past the session, and why not."""

    def __init__(self) -> None:
        self.methods: tuple[object, ...] = ()
        self.objection: str | None = None
        self.is_known = False


_VERDICT = _Verdict()


def check() -> None:
    """Find out, once a process; write to the log which way is used, and why."""
    if _VERDICT.is_known:
        return
    _VERDICT.is_known = True
    try:
        _VERDICT.methods = methods()
    except AttributeError as error:
        disable(f"aiohttp no longer has {error.name}")
        return
    objection = _difference()
    if objection is None and _replaced(_VERDICT.methods):
        objection = "another library has replaced methods of aiohttp"
    if objection is not None:
        disable(objection)
        return
    LOG.info("aiohttp %s: %s", aiohttp.__version__, way())


def disable(objection: str) -> None:
    """Send everything through aiohttp's session from now on, in this process."""
    if _VERDICT.objection is None:
        _VERDICT.objection = objection
        LOG.warning("aiohttp %s: %s", aiohttp.__version__, way())


def way() -> str:
    """Return which way requests take, and why."""
    if _VERDICT.objection is None:
        return "requests go straight to aiohttp's connections"
    return f"requests go through aiohttp's session: {_VERDICT.objection}"


def may_pass() -> bool:
    """Whether a request may go past the session now, at 0.2 µs."""
    return _VERDICT.objection is None and methods() == _VERDICT.methods
