"""The ids of a fetch, from a file or from another program."""

import asyncio
import os
import sys
from uuid import UUID

import pytest

from diga_async._cli.exit_codes import CommandError, ExitCode
from diga_async._cli.feed import Feed, ThreadedFeed, feed_of, input_lines

IDS = [UUID(int=n, version=4) for n in range(1, 6)]
TEXT = "".join(f"{i}\n" for i in IDS)

pytestmark = pytest.mark.usefixtures("blocking_is_fine")


async def drain(feed):
    return [phone_id async for phone_id in feed]


def ignore(_header):
    pass


@pytest.fixture
def pipe():
    """Return the two ends of a pipe; the one to read from as a path."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", buffering=1) as file:
        yield f"/dev/fd/{reading}", file
    os.close(reading)


@pytest.mark.parametrize("text", [TEXT, TEXT.rstrip(), "\ufeff" + TEXT])
async def test_a_file_is_read_to_its_end(tmp_path, text):
    (tmp_path / "ids.txt").write_text(text, encoding="utf-8")
    with input_lines(str(tmp_path / "ids.txt")) as source:
        feed = feed_of(source, set(), ignore)
        assert await drain(feed) == IDS
    assert (source.total, source.read, feed.taken) == (text.count("\n"), 5, 5)


async def test_a_file_is_read_as_the_run_goes(tmp_path):
    (tmp_path / "ids.txt").write_text(TEXT)
    with input_lines(str(tmp_path / "ids.txt")) as source:
        feed = feed_of(source, set(), ignore)
        assert await anext(feed) == IDS[0]
        assert source.read == 1


async def test_text_that_is_not_utf_8_stops_nothing(tmp_path):
    (tmp_path / "ids.txt").write_bytes(b"\xff\n" + TEXT.encode())
    with input_lines(str(tmp_path / "ids.txt")) as source:
        assert await drain(feed_of(source, set(), ignore)) == ["\ufffd", *IDS]


@pytest.mark.parametrize("name", ["ids.csv", "ids.TSV"])
async def test_a_name_says_that_cells_may_span_lines(tmp_path, name):
    (tmp_path / name).write_text(f'id,note\n{IDS[0]},"a\nb"\n')
    with input_lines(str(tmp_path / name)) as source:
        assert await drain(feed_of(source, set(), ignore)) == IDS[:1]


async def test_a_csv_that_is_none_names_the_line(tmp_path):
    (tmp_path / "ids.csv").write_text(f'{IDS[0]},x\n{IDS[1]},"x"y\n')
    with (
        input_lines(str(tmp_path / "ids.csv")) as source,
        pytest.raises(CommandError, match="line 2") as caught,
    ):
        await drain(feed_of(source, set(), ignore))
    assert caught.value.code is ExitCode.USAGE


async def test_a_stopped_feed_ends(tmp_path):
    feed = Feed(iter(IDS))
    assert await anext(feed) == IDS[0]
    feed.stop()
    assert await drain(feed) == []


async def test_ids_come_as_they_are_written(pipe):
    name, writer = pipe
    with input_lines(name) as source:
        feed = feed_of(source, set(), ignore)
        assert isinstance(feed, ThreadedFeed)
        assert source.total is None
        for phone_id in IDS:
            writer.write(f"{phone_id}\n")
            assert await anext(feed) == phone_id
        writer.close()
        assert await drain(feed) == []
        assert await drain(feed) == []


async def test_a_feed_that_waits_for_its_writer_can_be_stopped(pipe):
    name, _ = pipe
    with input_lines(name) as source:
        feed = feed_of(source, set(), ignore)
        waiting = asyncio.ensure_future(drain(feed))
        await asyncio.sleep(0)
        feed.stop()
        assert await waiting == []


async def test_a_thread_reads_only_so_far_ahead():
    read = []
    feed = ThreadedFeed(read.append(n) or str(n) for n in range(5000))
    assert await anext(feed) == "0"
    assert len(read) <= 1002
    assert len(await drain(feed)) == 4999


async def test_an_error_in_the_thread_comes_after_the_ids_before():
    def failing():
        yield IDS[0]
        raise CommandError(ExitCode.STOPPED, "broken")

    feed = ThreadedFeed(failing())
    assert await anext(feed) == IDS[0]
    with pytest.raises(CommandError, match="broken"):
        await anext(feed)


def test_a_thread_that_outlives_its_loop_says_nothing(pipe):
    name, writer = pipe
    writer.write(TEXT)
    with input_lines(name) as source:
        feed = feed_of(source, set(), ignore)
        asyncio.run(anext(feed))
        writer.write(TEXT)
        writer.close()


def test_what_cannot_be_opened_is_told_of(tmp_path):
    for name, words in (("no.txt", "no such file"), (".", "is a directory")):
        with (
            pytest.raises(CommandError, match=words) as caught,
            input_lines(str(tmp_path / name)),
        ):
            pass
        assert caught.value.code is ExitCode.USAGE


async def test_a_file_that_cannot_be_read_any_further_is_told_of(tmp_path, monkeypatch):
    (tmp_path / "ids.txt").write_text(TEXT)
    with input_lines(str(tmp_path / "ids.txt")) as source:

        def broken():
            yield TEXT[:37]
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(source, "_lines", broken)
        feed = feed_of(source, set(), ignore)
        assert await anext(feed) == IDS[0]
        with pytest.raises(CommandError, match="input/output error") as caught:
            await anext(feed)
    assert caught.value.code is ExitCode.STOPPED


async def test_standard_input_stays_open(tmp_path, monkeypatch):
    (tmp_path / "ids.txt").write_text(TEXT)
    with (tmp_path / "ids.txt").open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with input_lines("-") as source:
            assert await drain(feed_of(source, set(), ignore)) == IDS
        assert os.fstat(stdin.fileno())


def test_without_standard_input_a_file_is_asked_for(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CommandError, match="no standard input"), input_lines("-"):
        pass
