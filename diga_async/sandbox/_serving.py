"""Serving a handler on a socket, from the running loop or from a thread."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from threading import Thread
from typing import Any, Final, TypeAlias

from aiohttp import web

Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_BACKLOG: Final = 4096  # a client may open all its connections together
_ITERATIONS: Final = 10  # of the loop; an accepted connection is made within four


class Listener(socket.socket):
    """A listening socket that can stop accepting before it is closed."""

    accepts = True

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection, unless it has stopped accepting."""
        if not self.accepts:
            raise BlockingIOError
        return super().accept()


def listen(host: str, port: int) -> Listener:
    """Bind and listen; connections made from now on wait until they are served."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    return Listener(fileno=bound.detach())


@contextlib.asynccontextmanager
async def serving(handler: Handler, listener: Listener) -> AsyncIterator[None]:
    """Serve from the running loop; drop all connections and *listener* at the end."""
    server = web.Server(handler, access_log=None, handler_cancellation=True)
    loop = asyncio.get_running_loop()
    with listener:
        acceptor = await loop.create_server(server, sock=listener, backlog=_BACKLOG)
        try:
            yield
        finally:
            ending = asyncio.ensure_future(_end(server, acceptor, listener))
            try:
                await asyncio.shield(ending)
            finally:
                await (
                    ending
                )  # even when cancelled; it takes a few iterations of the loop


async def _end(
    server: web.Server, acceptor: asyncio.Server, listener: Listener
) -> None:
    await _stop_accepting(acceptor, listener)
    await _drop(server)


async def _stop_accepting(acceptor: asyncio.Server, listener: Listener) -> None:
    # Python 3.11 loses a connection that is accepted just before its server is closed,
    # and the client waits: https://github.com/python/cpython/issues/109564
    listener.accepts = False
    await _let_connections_be_made()
    acceptor.close()
    await _let_connections_be_made()  # uvloop accepts without asking the listener


async def _let_connections_be_made() -> None:
    for _ in range(_ITERATIONS):
        await asyncio.sleep(0)


async def _drop(server: web.Server) -> None:
    for transport in filter(None, [open_.transport for open_ in server.connections]):
        transport.abort()  # closing would wait for clients that do not read
    while server.connections:  # noqa: ASYNC110 - aiohttp has no event for the last
        await asyncio.sleep(0)


@contextlib.contextmanager
def serving_from_thread(handler: Handler, listener: Listener) -> Iterator[None]:
    """Serve from a new thread, which ends with the block."""
    leave = Future[None]()
    thread = Thread(
        target=asyncio.run,
        args=(_serve_until(leave, handler, listener),),
        name="diga-sandbox",
        daemon=True,  # an interpreter that exits inside the block does not wait
    )
    thread.start()
    try:
        yield
    finally:
        leave.set_result(None)
        thread.join()


async def _serve_until(
    leave: "Future[None]", handler: Handler, listener: Listener
) -> None:
    async with serving(handler, listener):
        await asyncio.wrap_future(leave)
