"""Words for people: on standard error, and safe to show whoever they come from."""

import sys
from typing import TextIO


def printable(text: str) -> str:
    r"""
    Replace what would steer a terminal: servers and files send any text.

    >>> printable("Ventas\x1b[2J")
    'Ventas\ufffd[2J'
    """
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def say(text: str) -> None:
    """Print one line on standard error."""
    if sys.stderr is not None:
        sys.stderr.write(f"diga: {printable(text)}\n")
        sys.stderr.flush()


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody may be looking."""
    return stream is not None and stream.isatty()


def forgive_encodings() -> None:
    """Let a terminal that knows few letters show question marks instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
