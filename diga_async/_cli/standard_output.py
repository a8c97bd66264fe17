"""Rows on standard output, as long as its reader takes them."""

import asyncio
import os
import select
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from diga_async._cli.exit_codes import CommandError, ExitCode, stopped
from diga_async._cli.failures import Failures
from diga_async._cli.ids import Key
from diga_async._cli.rows import Format, JsonLines, Row

# A pipe that has any space takes this much without blocking (POSIX: at least 512).
PIPE_BYTES = getattr(select, "PIPE_BUF", 4096)


@attrs.define(eq=False)
class StandardOutput:
    """
    JSON lines on standard output.

    Attributes:
        descriptor: Its file descriptor.
        outcomes: How many of the rows are found, missing and failed.
        done: The keys of the ids that have a row already: none are known.
        failures: The ids that failed.
        torn_bytes: Always 0.
        form: How a row is written.
    """

    descriptor: int
    form: Format = attrs.field(factory=JsonLines)
    outcomes: Counter[str] = attrs.field(factory=Counter)
    done: set[Key] = attrs.field(factory=set)
    failures: Failures = attrs.field(factory=Failures)
    torn_bytes: int = 0

    async def write(self, row: Row) -> None:
        """
        Print one row, unbuffered.

        Waiting for a slow reader, such as a pager, does not block the lookups
        that are in flight.

        Raises:
            CommandError: The reader is gone, or the disk is full.
        """
        await self.write_bytes(self.form.encode(row))
        self.outcomes[self.form.outcome_of(row)] += 1

    async def write_bytes(self, content: bytes) -> None:
        """
        Print text that is not a row, as `write` does.

        Raises:
            CommandError: As for `write`.
        """
        left = memoryview(content)
        try:
            while left:
                await _room_in(self.descriptor)
                left = left[os.write(self.descriptor, left[:PIPE_BYTES]) :]
        except BrokenPipeError:
            reason = "standard output was closed by its reader"
            raise CommandError(ExitCode.STOPPED, reason) from None
        except OSError as error:
            raise stopped("cannot write to standard output", error) from None

    def finish(self) -> None:
        """Do nothing: each row was written unbuffered."""


async def _room_in(descriptor: int) -> None:
    """Wait until *descriptor* takes more."""
    try:
        _, ready, _ = select.select((), (descriptor,), (), 0)
    except (OSError, ValueError):  # Windows selects sockets only
        return
    if ready:
        return
    loop = asyncio.get_running_loop()
    has_room = asyncio.Event()
    loop.add_writer(descriptor, has_room.set)
    try:
        await has_room.wait()
    finally:
        loop.remove_writer(descriptor)


@contextmanager
def standard_output(form: Format | None = None) -> Iterator[StandardOutput]:
    """Use standard output for rows; for those of a fetch without *form*."""
    sys.stdout.flush()
    yield StandardOutput(sys.stdout.fileno(), form or JsonLines())
