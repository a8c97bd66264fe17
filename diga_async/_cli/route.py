"""The way to a server, measured step by step: its name, its connection, its TLS."""

import asyncio
import base64
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import attrs

from diga_async._cli.exit_codes import reason_of

#: What the longest step may take.
STEP_SECONDS = 5.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Step = Literal["name", "connection", "proxy tls", "tunnel", "tls"]


class UnreachableError(Exception):
    """
    A step of the way failed.

    Attributes:
        step: Which.
        reason: Why, in the words of the system.
    """

    def __init__(self, step: Step, reason: str) -> None:
        super().__init__(reason)
        self.step = step
        self.reason = reason


@attrs.frozen
class Peer:
    """
    One end of a connection.

    Attributes:
        host: Its name or address.
        port: Its port.
        tls: Whether it speaks TLS.
    """

    host: str
    port: int
    tls: bool

    @classmethod
    def of(cls, url: str) -> "Peer":
        """Return that of a URL that was checked."""
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        return cls(parts.hostname or "", parts.port or (443 if tls else 80), tls)

    def __str__(self) -> str:
        """Write it as an address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@attrs.frozen(kw_only=True)
class Route:
    """
    The way to a server, as it was measured.

    Attributes:
        addresses: The addresses of the server, or of the proxy in front of it.
        name_seconds: How long it took to find them.
        connect_seconds: How long it took to connect, with TLS.
        tls: The version of TLS; None without.
    """

    addresses: tuple[str, ...]
    name_seconds: float
    connect_seconds: float
    tls: str | None


async def measure_route(
    base_url: str, proxy: str | None, context: ssl.SSLContext
) -> Route:
    """
    Connect as a request would, without sending one, and hang up.

    Args:
        base_url: The server.
        proxy: The proxy to go through; None to go straight.
        context: Which certificates are trusted.

    Raises:
        UnreachableError: A step failed, or took longer than five seconds.
    """
    server = Peer.of(base_url)
    first = server if proxy is None else Peer.of(proxy)
    began = time.monotonic()
    found = await _look_up(first)
    named = time.monotonic()
    async with _connected(found) as (reader, writer):
        if first.tls:
            step: Step = "tls" if proxy is None else "proxy tls"
            await _start_tls(writer, first.host, context, step)
        if proxy is not None:
            await _open_tunnel(reader, writer, server, proxy)
            await _start_tls(writer, server.host, context)
        connected = time.monotonic()
        secured = writer.get_extra_info("ssl_object")
        return Route(
            addresses=tuple(dict.fromkeys(str(info[4][0]) for info in found)),
            name_seconds=named - began,
            connect_seconds=connected - named,
            tls=None if secured is None else secured.version(),
        )


async def _look_up(peer: Peer) -> list[Any]:
    loop = asyncio.get_running_loop()
    looking = loop.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)
    try:
        async with asyncio.timeout(STEP_SECONDS):
            return await looking
    except TimeoutError:
        raise _too_slow("name") from None
    except (OSError, UnicodeError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else "not a host name"
        raise UnreachableError("name", reason) from None


def _too_slow(step: Step) -> UnreachableError:
    return UnreachableError(step, f"no answer within {STEP_SECONDS:g} s")


@asynccontextmanager
async def _connected(found: list[Any]) -> AsyncIterator[Streams]:
    """Connect to the first address that accepts; hang up at the end."""
    why = UnreachableError("connection", "it has no address")
    for family, kind, protocol, _, address in found:
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(0.0)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(STEP_SECONDS):
                await loop.sock_connect(connection, address)
            break
        except TimeoutError:
            why = _too_slow("connection")
        except OSError as error:
            # asyncio words the error differently, with the address in it.
            words = os.strerror(error.errno) if error.errno else str(error)
            why = UnreachableError("connection", words[:1].lower() + words[1:])
        connection.close()
    else:
        raise why
    reader, writer = await asyncio.open_connection(sock=connection)
    try:
        yield reader, writer
    finally:
        # `wait_closed` never returns after a handshake that was given up.
        writer.transport.abort()
        await asyncio.sleep(0)


async def _start_tls(
    writer: asyncio.StreamWriter,
    host: str,
    context: ssl.SSLContext,
    step: Step = "tls",
) -> None:
    try:
        async with asyncio.timeout(STEP_SECONDS):
            await writer.start_tls(context, server_hostname=host)
    except TimeoutError:
        raise _too_slow(step) from None
    except ssl.SSLCertVerificationError as error:
        reason = f"certificate verify failed: {error.verify_message}"
        raise UnreachableError(step, reason) from None
    except ssl.SSLError as error:
        words = (error.reason or "the handshake failed").replace("_", " ").lower()
        raise UnreachableError(step, words) from None
    except OSError as error:
        raise UnreachableError(step, reason_of(error)) from None


async def _open_tunnel(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    server: Peer,
    proxy: str,
) -> None:
    """Ask a proxy for a connection to *server* (RFC 9110 section 9.3.6)."""
    lines = [f"CONNECT {server} HTTP/1.1", f"Host: {server}"]
    parts = urlsplit(proxy)
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        token = base64.b64encode(login.encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {token}")
    writer.write("\r\n".join([*lines, "", ""]).encode())
    try:
        async with asyncio.timeout(STEP_SECONDS):
            reply = await reader.readuntil(b"\r\n\r\n")
    except TimeoutError:
        raise _too_slow("tunnel") from None
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
        raise UnreachableError("tunnel", "the proxy hung up") from None
    status = reply.split(b"\r\n", 1)[0].decode(errors="replace").split(" ", 1)[-1]
    if not status.startswith("2"):
        raise UnreachableError("tunnel", f"the proxy says {status[:100]}")
