"""A handler served on a socket, from the running loop or from a thread of its own."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from threading import Thread
from typing import Final, TypeAlias

from aiohttp import web

Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_BACKLOG: Final = 4096  # a client may open all its connections at once
_TURNS: Final = 10  # of the loop; a connection accepted just now appears within four


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen; whoever connects from now on waits until it is served."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


@contextlib.asynccontextmanager
async def serving(handler: Handler, listener: socket.socket) -> AsyncIterator[None]:
    """Serve from the running loop; drop every connection and *listener* at the end."""
    server = web.Server(handler, access_log=None, handler_cancellation=True)
    loop = asyncio.get_running_loop()
    with listener:
        acceptor = await loop.create_server(server, sock=listener, backlog=_BACKLOG)
        try:
            yield
        finally:
            acceptor.close()
            await _drop(server)


async def _drop(server: web.Server) -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    for transport in filter(None, [open_.transport for open_ in server.connections]):
        transport.abort()  # a polite close waits for clients that do not read
    while server.connections:  # noqa: ASYNC110 - aiohttp tells nobody of the last
        await asyncio.sleep(0)


@contextlib.contextmanager
def serving_from_thread(handler: Handler, listener: socket.socket) -> Iterator[None]:
    """Serve from a new thread, which has ended when the block has."""
    leave = Future[None]()
    thread = Thread(
        target=asyncio.run,
        args=(_serve_until(leave, handler, listener),),
        name="diga-sandbox",
        daemon=True,  # an interpreter that exits inside the block need not wait
    )
    thread.start()
    try:
        yield
    finally:
        leave.set_result(None)
        thread.join()


async def _serve_until(
    leave: "Future[None]", handler: Handler, listener: socket.socket
) -> None:
    async with serving(handler, listener):
        await asyncio.wrap_future(leave)
