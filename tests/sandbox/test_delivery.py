"""The bytes that a client receives when the sandbox breaks an answer."""

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from aiohttp import web

from diga_async.sandbox import Fault, Faults, Sandbox
from diga_async.sandbox._api import Answer
from diga_async.sandbox._delivery import Delivery
from diga_async.sandbox._serving import listen, serving


@contextlib.asynccontextmanager
async def asking(
    sandbox: Sandbox, path: str | None = None
) -> AsyncIterator[asyncio.StreamReader]:
    """Look up the first phone on a plain socket, or send another path."""
    host, port = sandbox.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(
        f"GET {path or f'/v1/phone/{sandbox.phone_ids[0]}'} HTTP/1.1\r\n"
        f"Host: {host}\r\n"
        f"Authorization: Bearer {sandbox.api_key}\r\n\r\n".encode()
    )
    try:
        yield reader
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def read_head(reader: asyncio.StreamReader) -> tuple[str, int]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    ((_, length),) = re.findall(r"(Content-Length): (\d+)", head)
    return head, int(length)


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


async def test_an_answer_without_a_fault_is_whole_and_leaves_the_connection_open() -> (
    None
):
    async with Sandbox(1) as sandbox, asking(sandbox) as reader:
        head, length = await read_head(reader)

        assert head.startswith("HTTP/1.1 200 OK\r\n")
        assert json.loads(await reader.readexactly(length))["id"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await reader.read(1)


async def test_a_reset_comes_before_any_byte() -> None:
    async with Sandbox(1, faults=Faults(resets=1.0)) as sandbox:
        async with asking(sandbox) as reader:
            with pytest.raises(ConnectionResetError):
                await reader.read()

        (seen,) = sandbox.requests
        assert (seen.status, seen.fault) == (None, Fault.RESETS)


async def test_a_truncated_body_ends_in_the_middle() -> None:
    async with Sandbox(1, faults=Faults(truncated=1.0)) as sandbox:
        async with asking(sandbox) as reader:
            _, length = await read_head(reader)
            body = await reader.read()

        assert len(body) == length // 2
        assert body.startswith(b'{"id":"')
        (seen,) = sandbox.requests
        assert (seen.status, seen.fault) == (200, Fault.TRUNCATED)


async def test_a_listing_is_truncated_as_a_lookup_is() -> None:
    async with Sandbox(3, faults=Faults(truncated=1.0)) as sandbox:
        async with asking(sandbox, "/v1/phone/?limit=3") as reader:
            _, length = await read_head(reader)
            body = await reader.read()

        assert len(body) == length // 2
        assert body.startswith(b'{"data":[{"id":"')


async def test_a_repeated_answer_comes_twice_on_one_connection() -> None:
    async with (
        Sandbox(1, faults=Faults(repeated=1.0)) as sandbox,
        asking(sandbox) as reader,
    ):
        first_head, length = await read_head(reader)
        first = await reader.readexactly(length)
        second_head, length = await read_head(reader)
        second = await reader.readexactly(length)

        assert (first_head, first) == (second_head, second)
        assert len(sandbox.requests) == 1


async def test_a_slow_body_arrives_in_pieces_and_is_whole_in_the_end() -> None:
    faults = Faults(slow_bodies=1.0, drip_seconds=0.1)
    async with Sandbox(1, faults=faults) as sandbox, asking(sandbox) as reader:
        _, length = await read_head(reader)
        loop = asyncio.get_running_loop()
        began = loop.time()
        body = await reader.readexactly(length)

        assert loop.time() - began > 0.08
        assert json.loads(body) == sandbox.phones[sandbox.phone_ids[0]]


@pytest.mark.parametrize("fault", ["slow_bodies", "truncated", "repeated"])
async def test_a_body_of_two_bytes_can_be_broken(fault: str) -> None:
    shares: dict[str, Any] = {fault: 1.0}
    async with Sandbox(1, faults=Faults(**shares, drip_seconds=0)) as sandbox:
        sandbox.phones[sandbox.phone_ids[0]].clear()
        async with asking(sandbox) as reader:
            _, length = await read_head(reader)

            assert length == 2
            assert await reader.read(1) == b"{"


async def test_a_hang_sends_nothing_and_ends_with_the_block() -> None:
    sandbox = Sandbox(1, faults=Faults(hangs=1.0))
    async with contextlib.AsyncExitStack() as stack:
        async with sandbox:
            reader = await stack.enter_async_context(asking(sandbox))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await reader.read(1)

            (seen,) = sandbox.requests
            assert (seen.status, seen.fault) == (None, Fault.HANGS)
        assert await reader.read() == b""


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not reached():  # noqa: ASYNC110 - it is not an event
            await asyncio.sleep(0)


@pytest.mark.parametrize("faults", [Faults(hangs=1.0), Faults(slow_bodies=1.0)])
async def test_a_request_ends_when_its_client_leaves(faults: Faults) -> None:
    before = asyncio.all_tasks()
    async with Sandbox(1, faults=faults) as sandbox:
        async with asking(sandbox):
            await until(lambda: bool(sandbox.requests))

        await until(lambda: asyncio.all_tasks() == before)


@pytest.mark.parametrize("fault", sorted({*Fault, None} - {Fault.HANGS}, key=str))
async def test_an_answer_to_a_closing_connection_is_not_an_error(
    fault: Fault | None,
) -> None:
    """Aiohttp learns one iteration of the loop later that a client has left."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        delivery = Delivery(
            request=request,
            answer=Answer(200, b"{}"),
            request_id="1",
            fault=fault,
            drip_seconds=0,
        )
        delivery.transport.close()
        return await delivery.send()

    listener = listen("127.0.0.1", 0)
    async with serving(handle, listener):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        with contextlib.suppress(ConnectionError):
            received = await reader.read()
        writer.close()

        assert received == b""
