"""
A server on loopback that sends exactly the bytes of a test's script.

A script is a list of moves, one for each request, the last one for all that
follow. A move gets the `Wire` it happens on; when it returns and the wire is
still open, the next request is awaited on it.

    async with ByteServer(resets(), says(phone())) as server:
        ...
    assert server.attempts == 2
"""

import asyncio
import json
import re
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Self
from uuid import UUID

import aiohttp
import pytest
import trustme
from fakes import PHONE_ID, phone_fields

Move = Callable[["Wire"], Awaitable[None]]

#: How late a busy machine may be. What ends unaided needs less; the limits
#: that must not have ended it are larger.
LATE = 2.0
#: Turns of the loop after which a task that waits for no I/O is over.
AT_ONCE = 50


class Wire:
    """One connection, as the server holds it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.requests: list[bytes] = []

    async def request(self) -> bytes | None:
        """Return the next request's head, or None when the client has gone."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, OSError):
            return None
        self.requests.append(head)
        return head

    @property
    def asked_for(self) -> UUID:
        """The id of the last request."""
        return asked_for(self.requests[-1])

    async def send(self, data: bytes) -> None:
        """Send; a client that has left is not an error."""
        self.writer.write(data)
        with suppress(OSError):
            await self.writer.drain()

    def close(self) -> None:
        """Close normally."""
        self.writer.close()

    def reset(self) -> None:
        """Close with a RST."""
        reset_when_closed(self.writer.get_extra_info("socket"))
        self.writer.transport.abort()

    @property
    def is_left(self) -> bool:
        """Whether the client has closed its side."""
        lost = self.reader.at_eof() or self.reader.exception() is not None
        return lost or self.writer.is_closing()

    async def gone(self) -> None:
        """Return when the client has closed its side; for moves."""
        with suppress(OSError):
            while await self.reader.read(65536):
                pass


class ByteServer:
    """
    Answers according to its script.

    Attributes:
        wires: The connections, in the order they came.
        asked: For each request, the place of its connection in `wires`.
        heads: The requests, in the order they came.
        arrived: Set by every request; a test clears it.
    """

    def __init__(
        self,
        *script: Move,
        tls: ssl.SSLContext | None = None,
        first: Move | None = None,
    ) -> None:
        self.script = list(script)
        self.wires: list[Wire] = []
        self.asked: list[int] = []
        self.heads: list[bytes] = []
        self.arrived = asyncio.Event()
        self._tls = tls
        self._first = first
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def attempts(self) -> int:
        """How many requests were seen."""
        return len(self.heads)

    @property
    def url(self) -> str:
        """The address to give a client."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, ssl=self._tls, limit=1 << 20
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for wire in self.wires:
            wire.writer.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _accept(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        wire = Wire(reader, writer)
        self.wires.append(wire)
        # A cancelled handler makes the streams of Python 3.11 complain.
        with suppress(asyncio.CancelledError):
            await self._serve(wire)

    async def _serve(self, wire: Wire) -> None:
        if self._first is not None:
            await self._first(wire)
        while not wire.writer.is_closing():
            head = await wire.request()
            if head is None:
                wire.close()
                return
            self.heads.append(head)
            self.asked.append(self.wires.index(wire))
            self.arrived.set()
            move = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            await move(wire)


def asked_for(head: bytes) -> UUID:
    """Return the id a request asks for."""
    match = re.match(rb"GET /v1/phone/([0-9a-f-]{36}) HTTP/1\.1\r\n", head)
    assert match is not None, head
    return UUID(match[1].decode())


def reset_when_closed(sock: Any) -> None:
    """Let a socket be closed with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def once_connected(
    monkeypatch: pytest.MonkeyPatch, meddle: Callable[[Any], Awaitable[None]]
) -> None:
    """Do something to each connection before aiohttp's connector returns it."""
    connect = aiohttp.TCPConnector.connect

    async def meddling(self: Any, *given: Any) -> Any:
        connection = await connect(self, *given)
        await meddle(connection)
        return connection

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", meddling)


@contextmanager
def on_time(seconds: float) -> Iterator[None]:
    """Fail what ends earlier than *seconds*, or by another limit than that."""
    started = time.monotonic()
    yield
    assert seconds - 0.01 <= time.monotonic() - started < seconds + LATE


async def at_once(task: asyncio.Future[Any]) -> None:
    """Fail unless *task* is over without waiting for the network or a timer."""
    for _ in range(AT_ONCE):
        if task.done():
            return
        await asyncio.sleep(0)
    pytest.fail(f"after {AT_ONCE} turns of the loop it still waits: {task}")


async def until(holds: Callable[[], object]) -> None:
    """Let the loop turn until *holds* does, which must be soon."""
    async with asyncio.timeout(10.0):
        while not holds():  # noqa: ASYNC110 - there is nothing else to wait for
            await asyncio.sleep(0)


# --- answers


def answer(
    body: bytes | object = b"",
    status: str = "200 OK",
    *,
    length: int | None = None,
    **headers: Any,
) -> bytes:
    """Write one answer; a body other than bytes is written as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers.setdefault("Content_Length", str(len(raw) if length is None else length))
    lines = [f"HTTP/1.1 {status}"]
    lines += [f"{n.replace('_', '-')}: {v}" for n, v in headers.items() if v]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + raw


def phone(phone_id: object = PHONE_ID, **changes: Any) -> bytes:
    """Write an answer with a phone."""
    return answer(phone_fields(phone_id, **changes), Content_Type="application/json")


# --- moves


def says(*parts: bytes) -> Move:
    """Send these bytes, and keep the connection."""

    async def move(wire: Wire) -> None:
        for part in parts:
            await wire.send(part)

    return move


EMPTY_LISTING = answer({"data": [], "has_more": False, "last_id": None})


def is_listing(head: bytes) -> bool:
    """Whether a request asks for the listing."""
    return head.startswith(b"GET /v1/phone/?")


async def answers(wire: Wire) -> None:
    """Send the phone or listing requested; keep the connection."""
    if is_listing(wire.requests[-1]):
        await wire.send(EMPTY_LISTING)
    else:
        await wire.send(phone(wire.asked_for))


def closes(*parts: bytes) -> Move:
    """Send these bytes and close."""

    async def move(wire: Wire) -> None:
        await says(*parts)(wire)
        wire.close()

    return move


def resets(*parts: bytes) -> Move:
    """Send these bytes; once they are read, reset the connection."""

    async def move(wire: Wire) -> None:
        await says(*parts)(wire)
        if parts:  # a reset overtakes what the client has not read yet
            await asyncio.sleep(0.02)
        wire.reset()

    return move


def hangs(*parts: bytes) -> Move:
    """Send these bytes, and nothing more until the client gives up."""

    async def move(wire: Wire) -> None:
        await says(*parts)(wire)
        await wire.gone()
        wire.close()

    return move


def drips(part: bytes, drop: bytes, pause: float = 0.02) -> Move:
    """Send *part*, and then for ever a *drop* and a *pause*."""

    async def move(wire: Wire) -> None:
        await wire.send(part)
        while not (wire.reader.at_eof() or wire.writer.is_closing()):
            await wire.send(drop)
            await asyncio.sleep(pause)
        wire.close()

    return move


def tunnels(port: int) -> Move:
    """Join the connection to another port of this machine, until either closes."""

    async def move(wire: Wire) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        there = asyncio.ensure_future(_pump(wire.reader, writer))
        try:
            await _pump(reader, wire.writer)
        finally:
            there.cancel()
            writer.transport.abort()
            await asyncio.wait([there])

    return move


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


# --- certificates


@cache
def authority() -> trustme.CA:
    """Return the authority that tests trust."""
    return trustme.CA()


def server_tls(*names: str, **options: Any) -> ssl.SSLContext:
    """Make a server's context with a certificate for *names*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer = options.pop("authority", None) or authority()
    issuer.issue_cert(*(names or ("127.0.0.1",)), **options).configure_cert(context)
    return context


def client_tls() -> ssl.SSLContext:
    """Make a context that trusts `authority`."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context
