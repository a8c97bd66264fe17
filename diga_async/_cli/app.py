"""The command `diga`: arguments in, an exit code out."""

import os
import sys
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from diga_async import DigaError
from diga_async._cli.exit_codes import (
    CommandError,
    ExitCode,
    code_of,
    reason_of,
    usage_error,
)
from diga_async._cli.terminal import forgive_encodings, is_terminal, say
from diga_async._version import __version__

if TYPE_CHECKING:
    from diga_async import DigaClient

# Everything heavy is imported by the command that needs it: --help must be quick.
# ruff: noqa: PLC0415

FAULTS = {
    "errors": "Answered 503.",
    "resets": "The connection is reset before an answer.",
    "hangs": "Nothing comes back.",
    "truncated": "The connection is closed in the middle of the body.",
    "garbage": "200 with a body that is no JSON.",
    "slow_bodies": "The body drips for 5 seconds.",
    "repeated": "The same answer comes a second time, unasked.",
    "wrong_ids": "200 with another phone's record.",
    "forbidden": "403.",
    "unknown_fields": "Phones with fields that nobody announced.",
    "unknown_values": "Phones with enum values that nobody announced.",
}

click.rich_click.FORCE_TERMINAL = None  # a pipe is a pipe, on GitHub too
click.rich_click.STYLE_HELPTEXT = ""  # what is said is to be read, so it is not dim
click.rich_click.TEXT_PARAGRAPH_LINEBREAKS = "\n\n"
click.rich_click.RANGE_STRING = ""  # whoever is out of a range is told of it
click.rich_click.OPTION_GROUPS = {
    "diga sandbox": [
        {
            "name": "Options",
            "options": [
                "--port",
                "--phones",
                "--seed",
                "--write-ids",
                "--latency",
                "--per-second",
                "--burst",
                "--retry-after",
                "--help",
            ],
        },
        {
            "name": "Faults, as shares of the requests from 0 to 1",
            "options": [f"--{name.replace('_', '-')}" for name in FAULTS],
        },
    ],
}


def run() -> None:
    """Run the command that the arguments ask for; exits with its code."""
    if sys.stdout is None:  # its number would go to a file or a socket
        say("there is no standard output")
        sys.exit(ExitCode.USAGE)
    forgive_encodings()
    diga(prog_name="diga")


def _ending(command: Callable[..., ExitCode]) -> Callable[..., None]:
    """Make *command* end with its exit code, and with a line instead of a traceback."""

    @wraps(command)
    def ended(**options: Any) -> None:
        sys.exit(_code_of(partial(command, **options)))

    return ended


def _code_of(command: Callable[[], ExitCode]) -> ExitCode:
    try:
        code = command()
        sys.stdout.flush()
    except (CommandError, DigaError) as error:
        say(str(error))
        return code_of(error, otherwise=ExitCode.NOT_ALL_FOUND)
    except KeyboardInterrupt:
        say("interrupted")
        return ExitCode.INTERRUPTED
    except OSError as error:
        _discard_output()
        say(f"stopped: {reason_of(error)}")
        return ExitCode.STOPPED
    return code


def _discard_output() -> None:
    # Python would try once more to print what is left, and complain.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _connection(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say where the server is."""
    for option in (
        click.option(
            "--allow-insecure-http",
            is_flag=True,
            help="Allow plain http to another machine: whoever is on the way sees "
            "the key.",
        ),
        click.option(
            "--base-url",
            metavar="URL",
            help="The server, instead of DIGA_BASE_URL or https://api.diga.io.",
        ),
    ):
        command = option(command)
    return command


def _make_client(
    *, base_url: str | None, allow_insecure_http: bool, **limits: Any
) -> "DigaClient":
    from diga_async import DigaClient, Limits

    given = {name: value for name, value in limits.items() if value is not None}
    return DigaClient(
        base_url=base_url,
        allow_insecure_http=allow_insecure_http,
        limits=Limits(**given),
    )


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="diga", message="%(prog)s %(version)s")
def diga() -> None:
    """
    Look up phones at the Diga API, one by one or by the million.

    The key comes from DIGA_API_KEY; there is no option for it,
    since others on the same machine can read command lines.
    """


@diga.command()
@_ending
def demo() -> ExitCode:
    """
    Look 2,000 phones up in a sandbox that misbehaves.

    Needs no account and no network; takes about ten seconds.
    """
    from diga_async._cli import demo

    return demo.demo()


@diga.group()
def phone() -> None:
    """Look up one phone, or a file of them."""


@phone.command()
@click.argument("phone_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print everything, as JSON.")
@_connection
@_ending
def get(phone_id: str, *, as_json: bool, **connection: Any) -> ExitCode:
    """
    Show one phone.

    \b
    Exit codes:
      0  it was found
      1  it is missing, or the lookup failed
      2  ID is none, or an option is wrong
      3  the key is refused or not permitted
    """  # noqa: D301 - click looks for the character, not for its name
    from diga_async._cli import get

    make_client = partial(_make_client, **connection)
    return get.get(make_client, phone_id, as_json=as_json)


@phone.command()
@click.argument("file", metavar="[FILE|-]", required=False)
@click.option(
    "-o",
    "--output",
    "out",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="Where to write: OUT.jsonl or OUT.csv. JSON lines to standard output "
    "without it. A file that exists is not touched.",
)
@click.option("--resume", is_flag=True, help="Go on where OUT ends, or start it.")
@click.option(
    "--retry-failed",
    is_flag=True,
    help="Take the failed rows out of OUT, then go on as with --resume.",
)
@click.option(
    "--concurrency",
    metavar="N",
    type=click.IntRange(min=1),
    help="Lookups at once, at most. [64]",
)
@click.option(
    "--per-second",
    metavar="N",
    type=click.FloatRange(min=0, min_open=True),
    help="Requests a second, at most. The limit of the server is found without it.",
)
@_connection
@_ending
def fetch(
    file: str | None,
    out: Path | None,
    *,
    resume: bool,
    retry_failed: bool,
    **client_options: Any,
) -> ExitCode:
    """
    Look up every id in FILE; write one row for each distinct one.

    FILE has one id a line, or ids in its first column, as a CSV.
    Blank lines, lines that begin with # and a header are passed over.
    Without FILE, or with -, ids come from standard input.

    The first Ctrl-C waits for what is under way, the second does not.

    \b
    Exit codes, of all that is in OUT:
      0    all are found
      1    some are missing or failed
      2    wrong usage; nothing was touched
      3    the key is refused or not permitted
      4    stopped early by an outage, a full disk or a closed pipe
      130  interrupted
    After 3, 4 and 130, --resume goes on.
    """  # noqa: D301 - click looks for the character, not for its name
    if out is None and retry_failed:
        raise usage_error("--retry-failed needs -o OUT")
    if out is None and resume:
        say("nothing to resume without -o OUT; starting afresh")
    if file is None and is_terminal(sys.stdin):
        raise usage_error("name a FILE with phone ids, or send them to standard input")
    from diga_async._cli import fetch

    job = fetch.Job(
        file="-" if file is None else file,
        out=out,
        resume=resume,
        retry_failed=retry_failed,
    )
    return fetch.fetch(partial(_make_client, **client_options), job)


def _shares(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each fault."""
    for name, text in reversed(FAULTS.items()):
        option = f"--{name.replace('_', '-')}"
        share = click.FloatRange(0, 1)
        add = click.option(option, default=0.0, metavar="SHARE", type=share, help=text)
        command = add(command)
    return command


def _seconds(
    _context: click.Context, _parameter: click.Parameter, text: str
) -> tuple[float, float]:
    """Read seconds, or the least and the most of them."""
    least, _, most = text.partition("-")
    try:
        return float(least), float(most or least)
    except ValueError:
        raise click.BadParameter("give seconds as 0.05, or as 0.02-0.08") from None


@diga.command()
@click.option(
    "--port",
    default=0,
    metavar="P",
    type=click.IntRange(0, 65535),
    help="The port to listen on. [any that is free]",
)
@click.option(
    "--phones",
    default=1000,
    metavar="N",
    type=click.IntRange(min=0),
    help="How many phones to serve. [1000]",
)
@click.option(
    "--seed", default=0, metavar="N", help="Makes other phones and another key. [0]"
)
@click.option(
    "--write-ids",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the ids of the phones to a new file, one a line.",
)
@click.option(
    "--latency",
    default="0",
    metavar="SECONDS",
    callback=_seconds,
    help="Before each answer: seconds, or a range such as 0.02-0.08. [0]",
)
@click.option(
    "--per-second",
    metavar="N",
    type=click.FloatRange(min=0, min_open=True),
    help="Requests a second that are let through; the rest is answered 429. [all]",
)
@click.option(
    "--burst",
    default=20,
    metavar="N",
    type=click.IntRange(min=0),
    help="Requests that may come ahead of --per-second. [20]",
)
@click.option(
    "--retry-after",
    metavar="SECONDS",
    help="What a 429 asks for in Retry-After. [nothing]",
)
@_shares
@_ending
def sandbox(write_ids: Path | None, **settings: Any) -> ExitCode:
    """
    Serve made-up phones on this machine, to point other programs at.

    Prints where it is and its key, as lines for a shell; serves until Ctrl-C.
    """
    from diga_async._cli import serve
    from diga_async.sandbox import Faults, Sandbox

    shares = {name: settings.pop(name) for name in FAULTS}
    try:
        served = Sandbox(faults=Faults(**shares), **settings)
    except ValueError as error:
        raise usage_error(str(error)) from None
    return serve.serve(served, write_ids)
