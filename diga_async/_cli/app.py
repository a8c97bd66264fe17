"""The command `diga`: arguments in, an exit code out."""

import os
import re
import sys
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import rich_click as click

from diga_async import DigaError
from diga_async._cli import help_pages, options, sandbox_options
from diga_async._cli.exit_codes import (
    CommandError,
    ExitCode,
    code_of,
    message_of,
    reason_of,
    usage_error,
)
from diga_async._cli.invocation import Invocation
from diga_async._cli.terminal import (
    Messages,
    forgiving_standard_error,
    is_terminal,
    replace_unknown_characters,
    say,
)
from diga_async._cli.usage import Group
from diga_async._version import __version__

# Each command imports what it needs, so that --help stays quick.
# ruff: noqa: PLC0415


def run() -> None:
    """Run the command that the arguments ask for; exit with its code."""
    if re.fullmatch(r"0+", os.environ.get("COLUMNS", "")):
        del os.environ["COLUMNS"]  # a terminal without a size, as in some containers
    with forgiving_standard_error():
        if sys.stdout is None:  # its descriptor would go to a file or a socket
            say("there is no standard output")
            sys.exit(ExitCode.USAGE)
        replace_unknown_characters()
        try:
            diga(prog_name="diga")
        except OSError as error:  # the reader of a help page is gone
            _discard_output()
            say(f"stopped: {reason_of(error)}")
            sys.exit(ExitCode.STOPPED)


def _exits_with_its_code(command: Callable[..., ExitCode]) -> Callable[..., None]:
    """End *command* with its exit code, and an error with one line."""

    @wraps(command)
    def exiting(**given: Any) -> None:
        sys.exit(_code_of(partial(command, **given)))

    return exiting


def _code_of(command: Callable[[], ExitCode]) -> ExitCode:
    try:
        code = command()
        sys.stdout.flush()
    except (CommandError, DigaError) as error:
        say(message_of(error))
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
    # At the exit, Python would try again to print what is left, and complain.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="diga", message="%(prog)s %(version)s")
def diga() -> None:
    """
    Look up phones at the Diga API, a single one or a million.

    Try it without an account: diga demo

    Check that your key works: diga check

    The key comes from DIGA_API_KEY, or from the file that DIGA_API_KEY_FILE names.
    There is no option for the key itself, since others on the same machine can read
    command lines.
    """


@diga.command("check", epilog=help_pages.CHECK_EXIT_CODES)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
@options.reach
@_exits_with_its_code
def diga_check(*, as_json: bool, **given: Any) -> ExitCode:
    """
    Check whether the server can be reached and accepts the key.

    Example: diga check

    It sends one request, for a single phone, and never prints the key.
    """
    from diga_async._cli.check import check
    from diga_async._cli.client_options import ClientOptions

    return check(ClientOptions(**given), as_json=as_json)


@diga.command("demo")
@_exits_with_its_code
def diga_demo() -> ExitCode:
    """
    Look up 2,000 phones on a flaky local server.

    Needs no account and no network, and takes about ten seconds.
    """
    from diga_async._cli.demo import show_demo

    return show_demo()


@diga.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@_exits_with_its_code
def diga_completion(shell: str) -> ExitCode:
    """
    Print the completion script of a shell.

    Example: diga completion bash >> ~/.bashrc

    \b
    For zsh:  diga completion zsh > "${fpath[1]}/_diga"
    For fish: diga completion fish > ~/.config/fish/completions/diga.fish
    """  # noqa: D301 - click looks for the character, not for its name
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    if script is None:  # pragma: no cover - click.Choice allows what click has
        raise usage_error(f"no completion for {shell}")
    click.echo(script(diga, {}, "diga", "_DIGA_COMPLETE").source())
    return ExitCode.ALL_FOUND


@diga.group("phone")
def diga_phone() -> None:
    """Look up, list, watch and wait for phones."""


@diga_phone.command("get", epilog=help_pages.GET_EXIT_CODES)
@click.argument("phone_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each.")
@options.connection
@options.verbose
@_exits_with_its_code
def diga_phone_get(
    phone_ids: tuple[str, ...], *, as_json: bool, verbose: bool, **given: Any
) -> ExitCode:
    """
    Show phones, in the order of their ids.

    Example: diga phone get 3c90c3cc-0d44-4b50-8888-8dd25736052a
    """
    from diga_async._cli.client_options import ClientOptions
    from diga_async._cli.get import get_phones
    from diga_async._cli.log import verbose_log

    client_options = ClientOptions(**given)
    client = client_options.client(Messages())
    try:
        with verbose_log(is_on=verbose):
            return get_phones(
                client,
                phone_ids,
                server=client_options.server,
                as_json=as_json,
                check=Invocation.current().check(),
            )
    except DigaError as error:
        if remedy := client_options.remedy_for(error):
            reason = f"{message_of(error)}; {remedy}"
            raise CommandError(ExitCode.REFUSED, reason) from None
        raise


@diga_phone.command("fetch", epilog=help_pages.FETCH_EXIT_CODES)
@click.argument("file", metavar="[FILE|-]", required=False)
@options.rows
@options.speed
@options.connection
@options.verbose
@options.quiet
@_exits_with_its_code
def diga_phone_fetch(file: str | None, out: Path | None, **given: Any) -> ExitCode:
    """
    Look up every id in FILE; write one row for each distinct one.

    Example: diga phone fetch ids.csv -o phones.jsonl

    FILE has one id a line, or it is a CSV with a column named phone_id or id, or it
    has JSON lines with a phone_id or id each. It may be UTF-16, and packed by gzip.
    Of an earlier OUT, only the failed rows are looked up.
    Without FILE, or with -, ids come from standard input.

    The first Ctrl-C finishes the requests in flight, the second stops now.
    """
    messages, verbose = _messages(given.pop("quiet"), given.pop("verbose"))
    resume, retry_failed = given.pop("resume"), given.pop("retry_failed")
    csv_raw = given.pop("csv_raw")
    if out is None and retry_failed:
        raise usage_error("--retry-failed needs -o OUT")
    if out is None and csv_raw:
        raise usage_error("--csv-raw needs -o OUT.csv")
    if out is None and resume:
        messages.note("nothing to resume without -o OUT; starting from the beginning")
    if file is None and is_terminal(sys.stdin):
        raise usage_error("name a FILE with phone ids, or pipe them in")
    from diga_async._cli.client_options import ClientOptions
    from diga_async._cli.fetch import Job, fetch_phones
    from diga_async._cli.log import verbose_log

    job = Job(
        invocation=Invocation.current(),
        file="-" if file is None else file,
        out=out,
        resume=resume,
        retry_failed=retry_failed,
        column=given.pop("column"),
        csv_raw=csv_raw,
        via=given.pop("via"),
        messages=messages,
    )
    with verbose_log(is_on=verbose):
        return fetch_phones(ClientOptions(**given), job)


@diga_phone.command("list", epilog=help_pages.LIST_EXIT_CODES)
@options.filters
@options.list_rows
@options.list_connection
@options.verbose
@options.quiet
@_exits_with_its_code
def diga_phone_list(
    out: Path | None, *, resume: bool, ids_only: bool, csv_raw: bool, **given: Any
) -> ExitCode:
    """
    List the phones of the project.

    Example: diga phone list --status assigned -o phones.csv
    """
    messages, verbose = _messages(given.pop("quiet"), given.pop("verbose"))
    if out is None and csv_raw:
        raise usage_error("--csv-raw needs -o OUT.csv")
    if out is None and resume:
        messages.note("nothing to resume without -o OUT; starting from the beginning")
    from diga_async._cli.client_options import ClientOptions
    from diga_async._cli.filters import check_period, moment_of
    from diga_async._cli.listing import ListJob, list_phones
    from diga_async._cli.log import verbose_log

    filters = {name: given.pop(name) for name in options.FILTERS}
    for name in ("assigned_from", "assigned_until"):
        option = f"--{name.replace('_', '-')}"
        filters[name] = moment_of(option, given.pop(name))
    check_period(filters)
    job = ListJob(
        invocation=Invocation.current(),
        filters=filters,
        out=out,
        resume=resume,
        ids_only=ids_only,
        csv_raw=csv_raw,
        messages=messages,
    )
    with verbose_log(is_on=verbose):
        return list_phones(ClientOptions(**given), job)


@diga_phone.command("watch", epilog=help_pages.WATCH_EXIT_CODES)
@click.argument("phone_ids", metavar="[ID...]", nargs=-1)
@options.every(60)
@options.watch_connection
@options.verbose
@options.quiet
@_exits_with_its_code
def diga_phone_watch(
    phone_ids: tuple[str, ...], *, every: float, **given: Any
) -> ExitCode:
    """
    Watch phones; print a line for each change.

    Example: diga phone watch --every 30

    Without an ID, every phone of the project is watched. Changes are those since the
    first poll. A pipe gets JSON lines.
    """
    messages, verbose = _messages(given.pop("quiet"), given.pop("verbose"))
    from diga_async._cli.client_options import ClientOptions
    from diga_async._cli.get import checked_id
    from diga_async._cli.log import verbose_log
    from diga_async._cli.watch import WatchJob, watch_phones

    job = WatchJob(
        phone_ids=[checked_id(text) for text in phone_ids],
        every=every,
        messages=messages,
    )
    with verbose_log(is_on=verbose):
        return watch_phones(ClientOptions(**given), job)


@diga_phone.command("wait", epilog=help_pages.WAIT_EXIT_CODES)
@click.argument("phone_id", metavar="ID")
@options.wait_for
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON.")
@options.reach
@options.verbose
@options.quiet
@_exits_with_its_code
def diga_phone_wait(
    phone_id: str,
    *,
    statuses: tuple[str, ...],
    every: float,
    timeout: float | None,
    as_json: bool,
    **given: Any,
) -> ExitCode:
    """
    Wait until a phone has a status; show it then.

    Example: diga phone wait 3c90c3cc-0d44-4b50-8888-8dd25736052a --status assigned
    """
    messages, verbose = _messages(given.pop("quiet"), given.pop("verbose"))
    from diga_async._cli.client_options import ClientOptions
    from diga_async._cli.get import checked_id
    from diga_async._cli.log import verbose_log
    from diga_async._cli.wait import WaitJob, wait_for_phone

    job = WaitJob(
        phone_id=checked_id(phone_id),
        statuses=statuses,
        every=every,
        timeout=timeout,
        as_json=as_json,
        messages=messages,
    )
    with verbose_log(is_on=verbose):
        return wait_for_phone(ClientOptions(**given), job)


def _messages(quiet: bool, verbose: bool) -> tuple[Messages, bool]:  # noqa: FBT001
    if quiet and verbose:
        raise usage_error("--quiet and --verbose exclude each other")
    return Messages(quiet=quiet), verbose


@diga.command("sandbox")
@sandbox_options.settings
@sandbox_options.faults
@_exits_with_its_code
def diga_sandbox(write_ids: Path | None, **settings: Any) -> ExitCode:
    """
    Serve made-up phones on this machine, for other programs to look up.

    Example: diga sandbox --port 8080 --errors 0.05

    Prints its address and its key as lines for a shell, and serves until Ctrl-C.
    """
    from diga_async._cli.serve import serve_until_stopped
    from diga_async.sandbox import Faults, Sandbox

    shares = {
        name: settings.pop(name)
        for name in sandbox_options.FAULTS | sandbox_options.LISTING_FAULTS
    }
    try:
        sandbox = Sandbox(faults=Faults(**shares), **settings)
    except ValueError as error:
        raise usage_error(_setting_message(error)) from None
    return serve_until_stopped(sandbox, write_ids)


def _setting_message(error: ValueError) -> str:
    """Return the message of attrs, with the option where it names the setting."""
    message = str(error.args[0])
    return re.sub(
        r"^'(\w+)'", lambda name: f"--{name[1].replace('_', '-')}", message, count=1
    )
