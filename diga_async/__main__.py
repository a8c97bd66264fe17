"""The command `diga`; without the extra `cli`, one line that says how to get it."""

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

INTERRUPTED = 130
_EXTRA_MODULES = {"click", "rich", "rich_click"}


def process() -> None:
    """
    Run the command line as a process of its own: Ctrl-C prints no traceback.

    .. versionadded:: 0.2.0
    """
    # While modules are imported, nothing is open, and a `KeyboardInterrupt` would be
    # raised wherever the import is. A command handles the signal itself.
    signal.signal(signal.SIGINT, _end)
    try:
        main()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the exit code is decided


def _end(_number: int, _frame: "FrameType | None") -> "NoReturn":
    try:
        show_cursor = b"\x1b[?25h" if sys.stderr.isatty() else b""
        os.write(sys.stderr.fileno(), show_cursor + b"diga: interrupted\n")
    finally:
        os._exit(INTERRUPTED)


def main() -> None:
    """
    Run the command line; exit with its code.

    .. versionadded:: 0.1.0
    """
    try:
        from diga_async._cli import app  # noqa: PLC0415 - the extra may be missing
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA_MODULES:
            raise
        sys.exit(_without_extra())
    app.run()


def _without_extra() -> int:
    sys.stderr.write(
        'diga: the command line needs an extra: pip install "diga-async[cli]"\n'
    )
    return 2


if __name__ == "__main__":  # pragma: no cover - runs in processes of its own
    process()
