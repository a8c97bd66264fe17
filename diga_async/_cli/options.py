"""The options of the commands that ask a server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import rich_click as click

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]

#: The filters of a listing that are passed on as they are given.
FILTERS = ("status", "inbound_agent_id", "outbound_agent_id", "order")


class _Path(click.Path):
    """The name of a file; an empty one would be the current folder."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """Refuse an empty name, as of a shell variable that is not set."""
        if value == "":
            self.fail("it is empty; name a file", param, ctx)
        return super().convert(value, param, ctx)


PATH = _Path(path_type=Path)
COUNT = click.IntRange(min=1)
AMOUNT = click.FloatRange(min=0, min_open=True)


def together(*added: Decorator) -> Decorator:
    """Return a decorator that adds options in the order of *added*."""

    def add(command: Command) -> Command:
        for option in reversed(added):
            command = option(command)
        return command

    return add


_RESUME = click.option(
    "--resume", is_flag=True, help="Continue where OUT ends, or start."
)
_CSV_RAW = click.option(
    "--csv-raw",
    is_flag=True,
    help="Write CSV cells as they are. An apostrophe goes before a cell that a "
    "spreadsheet would run as a formula without it.",
)


def _output(help_text: str) -> Decorator:
    return click.option(
        "-o", "--output", "out", metavar="OUT", type=PATH, help=help_text
    )


rows = together(
    _output(
        "Where to write: OUT.jsonl or OUT.csv. JSON lines go to standard output "
        "without it. A file that exists is not touched."
    ),
    _RESUME,
    click.option(
        "--retry-failed",
        is_flag=True,
        help="Take the failed rows out of OUT, then continue as with --resume.",
    ),
    click.option(
        "--column",
        metavar="NAME",
        help="The column of the ids in a CSV, or their key in JSON lines.",
    ),
    _CSV_RAW,
)
list_rows = together(
    _output(
        "Where to write: OUT.jsonl or OUT.csv, with --ids OUT.txt or OUT.csv. "
        "Without it, a terminal gets a table, and a pipe JSON lines. A file that "
        "exists is not touched."
    ),
    _RESUME,
    click.option(
        "--ids", "ids_only", is_flag=True, help="Write ids only, ready for fetch."
    ),
    _CSV_RAW,
)


def _once(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> str | None:
    """Refuse an option that is given again: the first value would be dropped."""
    if len(values) > 1:
        raise click.BadParameter("it can be given once: the API filters by one value")
    return values[0] if _not_empty(_context, _parameter, values) else None


def _not_empty(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    """Refuse an empty status, as of a shell variable that is not set."""
    if not all(map(str.strip, values)):
        raise click.BadParameter("it is empty; name a status, such as assigned")
    return values


filters = together(
    click.option(
        "--status",
        metavar="S",
        multiple=True,
        callback=_once,
        help="Only phones of this status: reserved, pending_verification, assigned, "
        "released, finished.",
    ),
    click.option(
        "--inbound-agent",
        "inbound_agent_id",
        metavar="ID",
        help="Only phones whose calls this agent answers.",
    ),
    click.option(
        "--outbound-agent",
        "outbound_agent_id",
        metavar="ID",
        help="Only phones that this agent calls from.",
    ),
    click.option(
        "--assigned-from",
        metavar="D",
        help="Only phones assigned at this date or later, such as 2026-07-01 or "
        "2026-07-01T09:30+02:00; without an offset it is UTC.",
    ),
    click.option(
        "--assigned-until",
        metavar="D",
        help="Only phones assigned at this date or earlier; a day means its start.",
    ),
    click.option(
        "--order",
        type=click.Choice(["asc", "desc"]),
        metavar="asc|desc",
        default="desc",
        help="The direction of the listing. [desc]",
    ),
)
speed = together(
    click.option(
        "--concurrency",
        metavar="N",
        type=COUNT,
        help="How many lookups run at the same time, at most. [64]",
    ),
    click.option(
        "--per-second",
        metavar="N",
        type=AMOUNT,
        help="How many requests are sent in a second, at most. Without it, the "
        "server's limit is found.",
    ),
    click.option(
        "--via",
        type=click.Choice(["each", "list", "auto"]),
        metavar="each|list|auto",
        default="each",
        help="Look up each id singly, or find the ids in the listing, 100 phones a "
        "request; auto does what takes fewer requests. list and auto read all ids "
        "first. [each]",
    ),
)
reach = together(
    click.option(
        "--base-url",
        metavar="URL",
        help="The server, instead of DIGA_BASE_URL or https://api.diga.io.",
    ),
    click.option(
        "--key-file",
        metavar="FILE",
        type=PATH,
        help="The file that holds the key, instead of DIGA_API_KEY or "
        "DIGA_API_KEY_FILE.",
    ),
    click.option(
        "--proxy",
        metavar="URL",
        help="The proxy to go through, instead of HTTPS_PROXY and NO_PROXY.",
    ),
    click.option(
        "--allow-insecure-http",
        is_flag=True,
        help="Allow plain http to another machine, which shows the key to the network.",
    ),
)


def _timeout(what: str) -> Decorator:
    return click.option(
        "--timeout",
        metavar="S",
        type=AMOUNT,
        help=f"Seconds for {what}, with all its retries. [60]",
    )


connection = together(_timeout("one lookup"), reach)
list_connection = together(_timeout("one page"), reach)
watch_connection = together(_timeout("one request"), reach)


def every(seconds: int) -> Decorator:
    """Return the option for the seconds between two polls."""
    return click.option(
        "--every",
        metavar="S",
        type=AMOUNT,
        default=seconds,
        help=f"Seconds from poll to poll. [{seconds}]",
    )


wait_for = together(
    click.option(
        "--status",
        "statuses",
        metavar="S",
        multiple=True,
        required=True,
        callback=_not_empty,
        help="The status to wait for; any of them if it is given several times.",
    ),
    every(30),
    click.option(
        "--timeout",
        metavar="S",
        type=AMOUNT,
        help="Seconds for the whole wait. [no limit]",
    ),
)
verbose = click.option(
    "--verbose", is_flag=True, help="Log each retry and cool-down to standard error."
)
quiet = click.option("--quiet", is_flag=True, help="Print errors only.")
