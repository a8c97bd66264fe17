"""The names of tasks, as a debugger and `python -m asyncio ps PID` show them."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterable

import pytest
from byte_server import ByteServer, hangs, until
from fakes import PHONE_ID, quick_client

OTHER_ID = "00000000-0000-4000-8000-000000000001"


def our_names() -> set[str]:
    names = {task.get_name() for task in asyncio.all_tasks()}
    return {name for name in names if name.startswith("diga_async: ")}


async def test_a_lookup_is_named_by_its_path_and_a_worker_by_its_number() -> None:
    async with ByteServer(hangs()) as server, quick_client(server.url) as diga:
        lookup = asyncio.ensure_future(diga.phones.get(PHONE_ID))
        async with diga.phones.iter_many([OTHER_ID]) as lookups:
            first = asyncio.ensure_future(anext(lookups))
            await until(lambda: len(server.heads) == 2)

            assert our_names() == {
                f"diga_async: /v1/phone/{PHONE_ID}",
                "diga_async: worker 1 of 1",
            }
            await stop([first])
        await stop([lookup])


async def stop(tasks: Iterable["asyncio.Future[object]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="came with Python 3.14")
@pytest.mark.skipif(sys.platform != "linux", reason="needs rights elsewhere")
async def test_the_command_that_lists_tasks_shows_the_lookup() -> None:
    command = [sys.executable, "-m", "asyncio", "ps", str(os.getpid())]
    async with ByteServer(hangs()) as server, quick_client(server.url) as diga:
        lookup = asyncio.ensure_future(diga.phones.get(PHONE_ID))
        await until(lambda: server.heads)
        shown = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, encoding="utf-8"
        )
        await stop([lookup])

    if shown.returncode:
        pytest.skip(f"not permitted here: {shown.stderr.splitlines()[-1:]}")
    assert f"diga_async: /v1/phone/{PHONE_ID}" in shown.stdout
