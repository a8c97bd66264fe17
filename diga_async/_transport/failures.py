"""
Why an attempt failed: from an exception of aiohttp, or below, to an error of ours.

Pure: `failure_of` uses only an exception and how far the attempt had got. The errors
contain no text of the server.
"""

import errno
import os
import re
import ssl
import sys
from typing import Literal, TypeAlias

import aiohttp
import attrs
from aiohttp.http_exceptions import HttpProcessingError

from diga_async._api.addresses import Peer
from diga_async._models.errors import APIConnectionError, APITimeoutError, Phase

ERRORS = (
    aiohttp.ClientError,
    HttpProcessingError,
    aiohttp.EofStream,
    OSError,
    ValueError,
    RuntimeError,
    AssertionError,
    TypeError,
    MemoryError,
)
"""
The exceptions of a failed attempt: of aiohttp, its parser, and asyncio below it.

A name that resolves to no address is an assertion in aiohttp, or a `TypeError` where
assertions are off.
"""

LOCAL = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EADDRNOTAVAIL,  # every ephemeral port is in use
        errno.EAGAIN,
    }
)
"""Error numbers which mean that this machine, not the server, lacks a resource."""

_REMEDIES = {
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the system's limit of open files",
}

_LIBRARIES = {
    "aiodns",
    "aiohappyeyeballs",
    "aiohttp",
    "diga_async",
    "multidict",
    "pycares",
    "uvloop",
    "yarl",
}

Limit: TypeAlias = Literal["total", "attempt", "connect"]
End: TypeAlias = Literal["server", "proxy", "either"]


@attrs.frozen(eq=False, repr=False, kw_only=True)
class Progress:
    """
    How far an attempt had got when it failed.

    Attributes:
        connected: Whether it had a connection.
        expired: Whether its own time limit ended it.
        pooled: Whether it waited for a connection of a lent pool.
        seconds: Its time limit.
        connect: The time limit of a new connection.
        lacking: The number of the error with which this machine refuses to open one
            more descriptor; None when it does not.
    """

    connected: bool = False
    expired: bool = False
    pooled: bool = False
    seconds: float = 0.0
    connect: float = 0.0
    lacking: int | None = None


@attrs.frozen(eq=False, repr=False)
class Shortage:
    """
    Nothing was sent, because this machine lacks a resource.

    Attributes:
        error: What is raised if that does not change.
    """

    error: APIConnectionError


def failure_of(
    error: BaseException, progress: Progress, peer: Peer
) -> APIConnectionError | Shortage:
    """Return what *error* means for an attempt that had got this far."""
    if isinstance(error, TimeoutError) and error.errno is None:
        return _timeout(progress, peer)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return proxy_refusal(error.status, peer)
    if progress.connected:
        return _error("read", _read_reason(error), peer, _number(error))
    number = _lack(error) or (progress.lacking if _is_lookup(error) else None)
    if number is not None:
        return Shortage(_error("connect", _text(number), peer, number))
    return _no_connection(error, peer)


_MISSING: dict[Phase, str] = {"read": "complete answer", "wait": "free slot"}


def timeout_error(
    peer: Peer, phase: Phase, limit: Limit, seconds: float, *, pooled: bool = False
) -> APITimeoutError:
    """Return the error of an attempt, or a call, that *limit* ended."""
    missing = _MISSING.get(phase, "connection")
    if pooled:
        missing = "free connection in the lent session's pool"
    return APITimeoutError(
        f"no {missing} within {seconds:g} s (Timeouts.{limit})",
        phase=phase,
        **attrs.asdict(peer),
    )


def proxy_refusal(status: int, peer: Peer) -> APIConnectionError:
    """Return the error of a proxy that refused to connect."""
    said = f"the proxy answered {status}"
    if status == 407:  # noqa: PLR2004
        said += " Proxy Authentication Required; check the user and password"
    facts = attrs.asdict(peer)
    return APIConnectionError(said, phase="connect", proxy_status=status, **facts)


def _timeout(progress: Progress, peer: Peer) -> APITimeoutError | Shortage:
    if progress.connected:
        return timeout_error(peer, "read", "attempt", progress.seconds)
    if not progress.expired:
        return timeout_error(peer, "connect", "connect", progress.connect)
    error = timeout_error(
        peer, "connect", "attempt", progress.seconds, pooled=progress.pooled
    )
    return Shortage(error) if progress.pooled else error


def _error(
    phase: Phase, reason: str, peer: Peer, number: int | None = None
) -> APIConnectionError:
    return APIConnectionError(reason, phase=phase, errno=number, **attrs.asdict(peer))


def _no_connection(error: BaseException, peer: Peer) -> APIConnectionError:
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ServerFingerprintMismatch):
        return _error("tls", _tls_reason(_below(error), _end_of(error, peer)), peer)
    if _is_lookup(error):
        asked = "" if peer.proxy is None else f" of {peer.proxy.rpartition(':')[0]}"
        why = f"name resolution{asked} failed: {_resolver_words(_below(error))}"
        return _error("dns", why, peer, _number(error))
    return _error("connect", _connect_reason(error), peer, _number(error))


def is_foreign(error: BaseException) -> bool:
    """
    Whether code of the user raised *error*, such as the resolver of a lent connector.

    Such code may raise any exception; only an `OSError` is about the network.
    """
    may_be = isinstance(error, ValueError | RuntimeError | AssertionError | TypeError)
    innermost = error.__traceback__
    if not may_be or innermost is None:
        return False
    if isinstance(error, OSError | aiohttp.ClientError | HttpProcessingError):
        return False
    while innermost.tb_next is not None:
        innermost = innermost.tb_next
    module = str(innermost.tb_frame.f_globals.get("__name__")).partition(".")[0]
    return module not in sys.stdlib_module_names | _LIBRARIES


# --- what an exception says


def _below(error: BaseException) -> BaseException:
    """Return the exception that aiohttp wrapped."""
    wrapped = getattr(error, "certificate_error", None)
    found = wrapped or getattr(error, "os_error", error)
    return found if isinstance(found, BaseException) else error


def _number(error: BaseException) -> int | None:
    number = getattr(_below(error), "errno", None)
    if not isinstance(number, int) or isinstance(_below(error), ssl.SSLError):
        return None  # OpenSSL has numbers of its own
    return number


def _lack(error: BaseException) -> int | None:
    """Return the number of a local shortage; None for other errors."""
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return errno.EAGAIN  # as pthread_create says
    number = _number(error)
    return number if number in LOCAL else None


def _is_lookup(error: BaseException) -> bool:
    """Whether the name was not resolved, or to no address at all."""
    return (
        isinstance(error, aiohttp.ClientConnectorDNSError | AssertionError | TypeError)
        # A resolver without an answer: aiohttp takes the first of none.
        or isinstance(error.__cause__, StopIteration)
    )


def _text(number: int) -> str:
    """Return the system's text of an error, and what helps."""
    text = os.strerror(number)
    remedy = _REMEDIES.get(number)
    return f"{text[:1].lower()}{text[1:]}{f'; {remedy}' if remedy else ''}"


def _system_reason(error: BaseException) -> str | None:
    number = _number(error)
    if number is None or number < 0:
        return None
    if sys.platform == "win32":  # it has numbers that `os.strerror` does not know
        return str(getattr(_below(error), "strerror", None) or _text(number))
    return _text(number)


def _connect_reason(error: BaseException) -> str:
    reason = _system_reason(error)
    if reason is not None:
        return reason
    # Each address of a name failed in its own way.
    numbers = dict.fromkeys(
        map(int, re.findall(r"\[Errno (\d+)\]", str(_below(error))))
    )
    reasons = ", ".join(f"{_text(n).split(';')[0]} (errno {n})" for n in numbers)
    return reasons or "the connection was refused or lost"


def _resolver_words(error: BaseException) -> str:
    words = getattr(error, "strerror", None) or str(error)
    is_plain = isinstance(error, OSError) and bool(words)
    return words if is_plain else "the name has no address"


def _end_of(error: BaseException, peer: Peer) -> End:
    """Return the end of the connection that did not agree on TLS."""
    if peer.proxy is None:
        return "server"
    host, port = getattr(error, "host", None), getattr(error, "port", None)
    if not isinstance(host, str):
        return "either"
    failed = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return "proxy" if failed == peer.proxy else "server"


#: What comes before a reason, and what helps if the port speaks plain http.
_PLAIN_HTTP: dict[End, tuple[str, str]] = {
    "server": ("", "the port may speak plain http"),
    "proxy": ("the proxy: ", "if it speaks plain http, write http:// in its address"),
    "either": (
        "the proxy or the server: ",
        "if the proxy speaks plain http, write http:// in its address",
    ),
}


def _tls_reason(error: BaseException, end: End) -> str:
    subject, plain_http = _PLAIN_HTTP[end]
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.rstrip(".")
        reason = f"{subject}certificate verify failed: {why[:1].lower()}{why[1:]}"
        is_trusted = "mismatch" in why or "expired" in why
        return reason if is_trusted else f"{reason}; trust its authority with ssl="
    if isinstance(error, aiohttp.ServerFingerprintMismatch):
        return f"{subject}the certificate has another fingerprint"
    name = getattr(error, "reason", None) or "the handshake failed"
    reason = str(name).replace("_", " ").lower()
    if name == "WRONG_VERSION_NUMBER":
        return f"{subject}TLS handshake failed: {reason}; {plain_http}"
    return f"{subject}TLS handshake failed: {reason}"


def _read_reason(error: BaseException) -> str:
    reason = _system_reason(error)
    if reason is not None:
        return reason
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError):
        return "the connection was closed before the answer was complete"
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.EofStream):
        return "the answer is incomplete, or is not valid HTTP"
    if isinstance(error, MemoryError):
        return "out of memory"
    return "the answer is not valid HTTP"
