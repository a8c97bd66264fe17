"""How the sandbox's server starts and ends."""

import asyncio
import gc
import socket
import threading
from contextlib import suppress

import pytest
from aiohttp import web

from diga_async.sandbox._serving import listen, serving, serving_from_thread


async def greet(request: web.BaseRequest) -> web.Response:
    return web.Response(text="hello")


def ask(address: tuple[str, int]) -> bytes:
    with socket.create_connection(address, timeout=5) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: client.recv(4096), b""))


def is_closed(client: socket.socket) -> bool:
    """Whether the server has closed a connection that it never answered."""
    client.settimeout(5)
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def server_threads() -> list[threading.Thread]:
    return [item for item in threading.enumerate() if item.name == "diga-sandbox"]


def test_a_thread_serves_and_ends_with_its_block() -> None:
    listener = listen("127.0.0.1", 0)
    with serving_from_thread(greet, listener):
        assert ask(listener.getsockname()).endswith(b"hello")
        assert len(server_threads()) == 1

    assert server_threads() == []
    assert listener.fileno() == -1


def test_a_client_that_connects_before_the_thread_runs_is_served() -> None:
    listener = listen("127.0.0.1", 0)
    with socket.create_connection(listener.getsockname(), timeout=5) as early:
        early.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with serving_from_thread(greet, listener):
            assert early.recv(15) == b"HTTP/1.0 200 OK"


def test_a_thread_can_be_stopped_before_it_runs() -> None:
    for _ in range(20):
        with serving_from_thread(greet, listen("127.0.0.1", 0)):
            pass

    assert server_threads() == []


def test_a_thread_ends_when_its_block_fails() -> None:
    with (
        pytest.raises(LookupError),
        serving_from_thread(greet, listen("127.0.0.1", 0)),
    ):
        raise LookupError

    assert server_threads() == []


@pytest.mark.parametrize("iterations", range(12))
async def test_a_connection_made_just_before_the_end_is_closed(iterations: int) -> None:
    before = asyncio.all_tasks()
    listener = listen("127.0.0.1", 0)
    async with serving(greet, listener):
        client = socket.create_connection(listener.getsockname())
        for _ in range(iterations):
            await asyncio.sleep(0)

    with client:
        assert is_closed(client)
    assert asyncio.all_tasks() == before
    gc.collect()  # a transport left open warns when it is collected


@pytest.mark.parametrize("iterations", range(24))
async def test_a_connection_made_during_the_end_is_closed(iterations: int) -> None:
    loop = asyncio.get_running_loop()
    listener = listen("127.0.0.1", 0)
    address = listener.getsockname()
    clients: list[socket.socket] = []

    def connect_after(left: int) -> None:
        if left:
            loop.call_soon(connect_after, left - 1)
        else:
            with suppress(ConnectionRefusedError):
                clients.append(socket.create_connection(address))

    async with serving(greet, listener):
        connect_after(iterations)
    for _ in range(iterations):
        await asyncio.sleep(0)

    for client in clients:
        with client:
            assert is_closed(client)
    gc.collect()  # a transport left open warns when it is collected


async def test_an_idle_connection_is_closed() -> None:
    listener = listen("127.0.0.1", 0)
    async with serving(greet, listener):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")

    assert await reader.read() == b""
    writer.close()


async def test_a_client_that_does_not_read_does_not_delay_the_end() -> None:
    flood = bytes(64 * 1024 * 1024)

    async def pour(request: web.BaseRequest) -> web.Response:
        return web.Response(body=flood)

    listener = listen("127.0.0.1", 0)
    with socket.socket() as client:
        async with serving(pour, listener):
            client.connect(listener.getsockname())
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            client.settimeout(0)
            await asyncio.get_running_loop().sock_recv(client, 1)

    assert listener.fileno() == -1


@pytest.mark.parametrize("iterations", range(1, 26))
async def test_a_server_cancelled_at_any_moment_leaves_no_connection(
    iterations: int,
) -> None:
    """The start takes one or two iterations of the loop, the end about twenty."""
    listener = listen("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listener.getsockname())

    async def serve() -> None:
        async with serving(greet, listener):
            await asyncio.sleep(0)

    task = asyncio.create_task(serve())
    for _ in range(iterations):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    with suppress(ConnectionError):
        async with asyncio.timeout(10):
            assert await reader.read() == b""
    writer.close()
    for _ in range(3):  # uvloop closes in its next iteration
        await asyncio.sleep(0)
    assert listener.fileno() == -1
