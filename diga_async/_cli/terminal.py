"""Messages on standard error, safe to show wherever their text comes from."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import attrs


def printable(text: str) -> str:
    r"""
    Replace control characters: servers and files send any text.

    >>> printable("Ventas\x1b[2J")
    'Ventas\ufffd[2J'
    """
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def counted(count: int, noun: str) -> str:
    """
    Write a number of things.

    >>> counted(1, "lookup"), counted(2000, "lookup")
    ('1 lookup', '2,000 lookups')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def say(text: str) -> None:
    """Print one line on standard error, if there is one."""
    if sys.stderr is not None:
        sys.stderr.write(f"diga: {printable(text)}\n")
        sys.stderr.flush()


@attrs.frozen
class Messages:
    """
    The messages of a command to its user.

    Attributes:
        quiet: Whether only errors are printed.
    """

    quiet: bool = False

    def note(self, text: str) -> None:
        """Print a line, unless only errors are wanted."""
        if not self.quiet:
            say(text)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether *stream* is a terminal."""
    return stream is not None and stream.isatty()


def replace_unknown_characters() -> None:
    """Print question marks where the terminal's encoding lacks a character."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")


class _Forgiving(io.FileIO):
    """A file that drops what it cannot write."""

    def write(self, data: Any) -> int:
        """Write *data*, or drop it."""
        with suppress(OSError):
            super().write(data)
        return memoryview(data).nbytes


@contextmanager
def forgiving_standard_error() -> Iterator[None]:
    """
    Drop messages that cannot be written, for as long as the block lasts.

    A full disk or a closed pipe behind standard error changes neither the rows
    nor the exit code of a command.
    """
    before = sys.stderr
    try:
        descriptor = before.fileno()
    except (AttributeError, OSError):  # None, or not a file
        yield
        return
    with suppress(OSError):
        before.flush()
    raw = _Forgiving(descriptor, "w", closefd=False)
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=before.encoding,
        errors="replace",
        line_buffering=True,
    )
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = before
