"""The ids of a fetch as an async iterator."""

import asyncio
import os
from uuid import UUID

import pytest

from diga_async._cli.exit_codes import CommandError, ExitCode
from diga_async._cli.feed import Feed, ThreadedFeed, feed_of
from diga_async._cli.input_file import input_file

IDS = [UUID(int=n, version=4) for n in range(1, 6)]
TEXT = "".join(f"{i}\n" for i in IDS)

pytestmark = pytest.mark.usefixtures("blocking_is_fine")


async def drain(feed):
    return [phone_id async for phone_id in feed]


def opened(path):
    return input_file(str(path), column=None)


@pytest.fixture
def pipe():
    """Return the two ends of a pipe; the one to read from as a path."""
    if os.name != "posix":
        pytest.skip("needs /dev/fd")
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", buffering=1) as file:
        yield f"/dev/fd/{reading}", file
    os.close(reading)


async def test_a_file_is_read_as_the_run_goes(tmp_path):
    (tmp_path / "ids.txt").write_text(TEXT)
    with opened(tmp_path / "ids.txt") as source:
        feed = feed_of(source, set())
        assert await anext(feed) == IDS[0]
        assert (source.given, feed.taken) == (1, 1)
        assert await drain(feed) == IDS[1:]


async def test_a_stopped_feed_ends():
    feed = Feed(iter(IDS))
    assert await anext(feed) == IDS[0]
    feed.stop()
    assert await drain(feed) == []


async def test_ids_come_as_they_are_written(pipe):
    name, writer = pipe
    with opened(name) as source:
        feed = feed_of(source, set())
        assert isinstance(feed, ThreadedFeed)
        assert source.total is None
        for phone_id in IDS:
            writer.write(f"{phone_id}\n")
            assert await anext(feed) == phone_id
        writer.close()
        assert await drain(feed) == []
        assert await drain(feed) == []


async def test_a_feed_that_waits_for_a_writer_can_be_stopped(pipe):
    name, _ = pipe
    with opened(name) as source:
        feed = feed_of(source, set())
        waiting = asyncio.ensure_future(drain(feed))
        await asyncio.sleep(0)
        feed.stop()
        assert await waiting == []


async def test_the_thread_reads_at_most_a_thousand_ids_ahead():
    read = []
    feed = ThreadedFeed(read.append(n) or str(n) for n in range(5000))
    assert await anext(feed) == "0"
    assert len(read) <= 1002
    assert len(await drain(feed)) == 4999


async def test_an_error_in_the_thread_is_raised_after_the_ids_before_it():
    def failing():
        yield IDS[0]
        raise CommandError(ExitCode.STOPPED, "broken")

    feed = ThreadedFeed(failing())
    assert await anext(feed) == IDS[0]
    with pytest.raises(CommandError, match="broken"):
        await anext(feed)


def test_a_thread_that_outlives_its_loop_is_silent(pipe):
    name, writer = pipe
    writer.write(TEXT)
    with opened(name) as source:
        feed = feed_of(source, set())
        asyncio.run(anext(feed))
        writer.write(TEXT)
        writer.close()
