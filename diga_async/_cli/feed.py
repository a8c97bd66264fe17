"""The ids of a fetch, read as the run goes, from a file or from another program."""

import asyncio
import csv
import os
import stat
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self, TextIO

from diga_async._cli.exit_codes import CommandError, reason_of, stopped, usage_error
from diga_async._cli.ids import Id, Key, distinct, ids_in

CSV_SUFFIXES = frozenset({".csv", ".tsv"})
_AHEAD = 1000
_BLOCK = 1 << 20
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0)


class Input:
    """
    Lines of text, and how far they were read.

    Attributes:
        total: How many lines there are; None when only the end will tell.
        read: How many were read.
    """

    def __init__(self, file: TextIO, name: str) -> None:
        self.name = name
        self.read = 0
        self._file = file
        mode = os.fstat(file.fileno()).st_mode
        self.is_ordinary = stat.S_ISREG(mode)
        self.total = _count_lines(file) if self.is_ordinary else None

    def ids(self, on_header: Callable[[str], object]) -> Iterator[Id]:
        """
        Yield the ids.

        Raises:
            CommandError: They cannot be read any further.
        """
        as_csv = Path(self.name).suffix.lower() in CSV_SUFFIXES
        try:
            yield from ids_in(self._lines(), as_csv=as_csv, on_header=on_header)
        except OSError as error:
            raise stopped(f"cannot read {self.name}", error) from None
        except csv.Error as error:
            raise usage_error(f"{self.name}, line {self.read}: {error}") from None

    def _lines(self) -> Iterator[str]:
        for line in self._file:
            self.read += 1
            yield line


def _count_lines(file: TextIO) -> int:
    descriptor = os.dup(file.fileno())
    with open(descriptor, "rb") as raw:  # noqa: PTH123 - a descriptor has no path
        begin = raw.tell()
        count = sum(block.count(b"\n") for block in iter(lambda: raw.read(_BLOCK), b""))
        raw.seek(begin)
    return count


@contextmanager
def input_lines(name: str) -> Iterator[Input]:
    """
    Open FILE; ``-`` is standard input.

    Raises:
        CommandError: It cannot be opened.
    """
    if name == "-" and sys.stdin is None:
        raise usage_error("there is no standard input; name a file")
    try:
        # Not `sys.stdin`: a thread that waits in it would hold up the exit.
        descriptor = sys.stdin.fileno() if name == "-" else os.open(name, _FLAGS)
        file = open(  # noqa: SIM115 - closed below
            descriptor,
            encoding="utf-8-sig",
            errors="replace",
            newline="",
            closefd=False,
        )
    except OSError as error:
        raise usage_error(f"cannot read {name}: {reason_of(error)}") from None
    source = Input(file, "standard input" if name == "-" else name)
    try:
        yield source
    finally:
        # From a pipe, a thread may be reading still.
        if source.is_ordinary and name != "-":
            os.close(descriptor)


class Feed:
    """
    An async iterator of ids that can be told to end.

    Attributes:
        taken: How many ids were handed out.
    """

    def __init__(self, ids: Iterator[Id]) -> None:
        self.taken = 0
        self._ids = ids
        self._is_stopped = False

    def stop(self) -> None:
        """Hand out no more."""
        self._is_stopped = True

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> Id:
        """Return the next id."""
        for phone_id in self._ids if not self._is_stopped else ():
            self.taken += 1
            return phone_id
        raise StopAsyncIteration


class ThreadedFeed(Feed):
    """A feed whose source may keep us waiting, and so is read in a thread."""

    def __init__(self, ids: Iterator[Id]) -> None:
        super().__init__(ids)
        self._ready: deque[Id] = deque()
        self._room = threading.Semaphore(_AHEAD)
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: Exception | None = None

    def stop(self) -> None:
        """Hand out no more."""
        super().stop()
        self._news.set()

    async def __anext__(self) -> Id:
        """Return the next id."""
        if self._loop is None:
            self._start(asyncio.get_running_loop())
        while not (self._ready or self._end or self._is_stopped):
            self._news.clear()
            await self._news.wait()
        if self._is_stopped:
            raise StopAsyncIteration
        if self._end and not self._ready:
            raise self._end
        self._room.release()
        self.taken += 1
        return self._ready.popleft()

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # Nothing can wake a thread out of a read, so nobody waits for its end.
        threading.Thread(target=self._pump, args=(loop,), daemon=True).start()

    def _pump(self, loop: asyncio.AbstractEventLoop) -> None:
        end: Exception = StopAsyncIteration()
        try:
            for phone_id in self._ids:
                self._room.acquire()
                self._ready.append(phone_id)
                self._tell(loop)
        except CommandError as error:
            end = error
        self._end = end
        self._tell(loop)

    def _tell(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the run is over, and its loop closed
            loop.call_soon_threadsafe(self._news.set)


def feed_of(source: Input, done: set[Key], on_header: Callable[[str], object]) -> Feed:
    """Return what feeds a run with each id of *source* that is not *done*."""
    ids = distinct(source.ids(on_header), done)
    return Feed(ids) if source.is_ordinary else ThreadedFeed(ids)
