"""Rows on standard output."""

import asyncio
import errno
import json
import os
import select
from pathlib import Path

import pytest

from diga_async._cli.exit_codes import CommandError, ExitCode
from diga_async._cli.standard_output import StandardOutput

ROW = {"phone_id": "a", "outcome": "missing", "phone": None, "error": None}

pytestmark = pytest.mark.usefixtures("blocking_is_fine")


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    yield reading, StandardOutput(writing)
    os.close(writing)
    os.close(reading)


async def test_a_row_is_written_immediately(pipe):
    reading, output = pipe
    await output.write(ROW)
    assert json.loads(os.read(reading, 1000)) == ROW
    assert output.outcomes == {"missing": 1}


async def test_a_reader_that_does_not_read_holds_up_nothing_else(pipe):
    """A pager would make everything in flight run into its timeout."""
    reading, output = pipe
    big = ROW | {"error": "x" * 300_000}
    writing = asyncio.ensure_future(output.write(big))
    read = b""
    while not read.endswith(b"\n"):
        await asyncio.sleep(0)
        if select.select([reading], [], [], 0)[0]:
            read += os.read(reading, 50_000)
    await writing
    assert json.loads(read) == big


async def test_waiting_for_a_reader_can_be_cancelled(pipe):
    _, output = pipe
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await output.write(ROW | {"error": "x" * 300_000})


async def test_a_reader_that_is_gone_ends_the_command():
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(CommandError, match="closed by its reader") as caught:
        await StandardOutput(writing).write(ROW)
    assert caught.value.code is ExitCode.STOPPED
    os.close(writing)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
async def test_a_full_disk_ends_the_command():
    full = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(CommandError, match="no space left") as caught:
        await StandardOutput(full).write(ROW)
    os.close(full)
    assert caught.value.code is ExitCode.STOPPED


async def test_where_only_sockets_can_be_waited_for_it_writes_immediately(
    pipe, monkeypatch
):
    def sockets_only(*_):
        raise OSError(errno.ENOTSOCK, "not a socket")

    reading, output = pipe
    monkeypatch.setattr(select, "select", sockets_only)
    await output.write(ROW)
    assert json.loads(os.read(reading, 1000)) == ROW
