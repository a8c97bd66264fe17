"""`diga sandbox`: serve phones on this machine until Ctrl-C."""

import asyncio
import os
import shlex
import sys
from pathlib import Path

from diga_async._cli.exit_codes import ExitCode, reason_of, stopped, usage_error
from diga_async._cli.output_file import no_folder_message
from diga_async._cli.signals import Interruption
from diga_async._cli.terminal import counted, say
from diga_async.sandbox import Sandbox


def serve_until_stopped(sandbox: Sandbox, ids_file: Path | None) -> ExitCode:
    """
    Serve until Ctrl-C.

    Args:
        sandbox: What to serve.
        ids_file: Where to write the ids, one a line; None for nowhere.

    Raises:
        CommandError: The port is taken, or the file exists and holds something else.
    """
    if ids_file is not None:
        _write_ids(sandbox, ids_file)
    with Interruption() as interruption:
        try:
            asyncio.run(_serve(sandbox, interruption))
        except OSError as error:
            raise usage_error(_cannot_serve(sandbox, error)) from None
    return ExitCode.ALL_FOUND


async def _serve(sandbox: Sandbox, interruption: Interruption) -> None:
    stop = asyncio.Event()
    interruption.listen(stop.set)
    async with sandbox:
        try:
            sys.stdout.write(_exports(sandbox))
            sys.stdout.flush()
        except OSError as error:
            raise stopped("cannot write to standard output", error) from None
        phones = counted(len(sandbox.phones), "phone")
        say(f"serving {phones} at {sandbox.url}; Ctrl-C stops")
        await stop.wait()


def _exports(sandbox: Sandbox) -> str:
    """Return the lines that point a shell's programs at the sandbox."""
    key = shlex.quote(sandbox.api_key)
    return f"export DIGA_BASE_URL={sandbox.url}\nexport DIGA_API_KEY={key}\n"


def _cannot_serve(sandbox: Sandbox, error: OSError) -> str:
    # asyncio adds the address to the words of the system.
    words = os.strerror(error.errno).lower() if error.errno else reason_of(error)
    return (
        f"cannot serve on {sandbox.host}:{sandbox.port}: {words}; choose another "
        "--port, or none for any free one"
    )


def _write_ids(sandbox: Sandbox, ids_file: Path) -> None:
    text = "".join(f"{phone_id}\n" for phone_id in sandbox.phone_ids)
    try:
        with ids_file.open("x", encoding="ascii") as file:
            file.write(text)
    except FileExistsError:
        if not _holds(ids_file, text):
            raise usage_error(
                f"cannot write {ids_file}: it exists, and holds something else; name "
                "another file for --write-ids, or remove this one"
            ) from None
    except FileNotFoundError as error:
        raise usage_error(no_folder_message(ids_file, error)) from None
    except OSError as error:
        raise usage_error(f"cannot write {ids_file}: {reason_of(error)}") from None


def _holds(path: Path, text: str) -> bool:
    """Whether *path* has this very content, such as from an earlier start."""
    try:
        return path.is_file() and path.read_bytes() == text.encode("ascii")
    except OSError:
        return False
