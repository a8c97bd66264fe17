"""The options of the commands, and how --help groups them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import rich_click as click

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]

FAULTS = {
    "errors": "Answer 503.",
    "resets": "Reset the connection before an answer.",
    "hangs": "Never answer.",
    "truncated": "Close the connection in the middle of the body.",
    "garbage": "Answer 200 with a body that is not JSON.",
    "slow_bodies": "Send the body in drips over 5 seconds.",
    "repeated": "Send the same answer twice.",
    "wrong_ids": "Answer 200 with another phone's record.",
    "forbidden": "Answer 403.",
    "unknown_fields": "Add fields that no client knows.",
    "unknown_values": "Use enum values that no client knows.",
}
LISTING_FAULTS = {
    "looping_cursors": "Send the cursor that led to a page as the next one.",
    "empty_pages": "Leave out the phones of a page, and say that there is more.",
    "repeated_phones": "Begin a page with the last phone of the page before.",
    "broken_records": "Make one record of a page no phone.",
}

# rich-click makes one line break of two.
GET_EXIT_CODES = """\
Exit codes:

0    all were found

1    some are missing, or their lookup failed

2    an ID is no phone id, or an option is wrong; nothing was sent

3    the key is refused or not permitted

130  interrupted"""
FETCH_EXIT_CODES = """\
Exit codes, for all rows in OUT:

0    all are found

1    some are missing or failed

2    wrong usage; nothing was touched

3    the key is refused or not permitted

4    stopped early by an outage, a full disk or a closed pipe

130  interrupted

After 3, 4 and 130, --resume continues."""

_PATH = click.Path(path_type=Path)
_COUNT = click.IntRange(min=1)
_AMOUNT = click.FloatRange(min=0, min_open=True)


def _together(*added: Decorator) -> Decorator:
    """Return a decorator that adds options in the order of *added*."""

    def add(command: Command) -> Command:
        for option in reversed(added):
            command = option(command)
        return command

    return add


rows = _together(
    click.option(
        "-o",
        "--output",
        "out",
        metavar="OUT",
        type=_PATH,
        help="Where to write: OUT.jsonl or OUT.csv. JSON lines go to standard output "
        "without it. A file that exists is not touched.",
    ),
    click.option("--resume", is_flag=True, help="Continue where OUT ends, or start."),
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
    click.option(
        "--csv-raw",
        is_flag=True,
        help="Write CSV cells as they are. An apostrophe goes before a cell that a "
        "spreadsheet would run as a formula without it.",
    ),
)
speed = _together(
    click.option(
        "--concurrency",
        metavar="N",
        type=_COUNT,
        help="How many lookups run at the same time, at most. [64]",
    ),
    click.option(
        "--per-second",
        metavar="N",
        type=_AMOUNT,
        help="How many requests are sent in a second, at most. Without it, the "
        "server's limit is found.",
    ),
)
connection = _together(
    click.option(
        "--timeout",
        metavar="S",
        type=_AMOUNT,
        help="Seconds for one lookup, with all its retries. [60]",
    ),
    click.option(
        "--base-url",
        metavar="URL",
        help="The server, instead of DIGA_BASE_URL or https://api.diga.io.",
    ),
    click.option(
        "--key-file",
        metavar="FILE",
        type=_PATH,
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
verbose = click.option(
    "--verbose", is_flag=True, help="Log each retry and cool-down to standard error."
)
quiet = click.option("--quiet", is_flag=True, help="Print errors only.")


def _seconds(
    _context: click.Context, _parameter: click.Parameter, text: str
) -> tuple[float, float]:
    """Read seconds, or a range of them."""
    least, _, most = text.partition("-")
    try:
        return float(least), float(most or least)
    except ValueError:
        raise click.BadParameter("give seconds as 0.05, or as 0.02-0.08") from None


sandbox = _together(
    click.option(
        "--port",
        default=0,
        metavar="P",
        type=click.IntRange(0, 65535),
        help="The port to listen on. [any free one]",
    ),
    click.option(
        "--phones",
        default=1000,
        metavar="N",
        type=click.IntRange(min=0),
        help="How many phones to serve. [1000]",
    ),
    click.option(
        "--seed", default=0, metavar="N", help="Makes other phones and another key. [0]"
    ),
    click.option(
        "--write-ids",
        metavar="FILE",
        type=_PATH,
        help="Write the ids of the phones to a new file, one a line.",
    ),
    click.option(
        "--latency",
        default="0",
        metavar="SECONDS",
        callback=_seconds,
        help="Wait before each answer: seconds, or a range such as 0.02-0.08. [0]",
    ),
    click.option(
        "--per-second",
        metavar="N",
        type=_AMOUNT,
        help="How many requests are answered in a second; the others get a 429. [all]",
    ),
    click.option(
        "--burst",
        default=20,
        metavar="N",
        type=click.IntRange(min=0),
        help="How many requests may come ahead of --per-second. [20]",
    ),
    click.option(
        "--retry-after",
        metavar="SECONDS",
        help="The Retry-After header of a 429. [none]",
    ),
    click.option(
        "--sort-by",
        metavar="FIELD",
        help="The field that the listing is sorted by. [order of creation]",
    ),
    click.option(
        "--no-numbered-pages",
        "numbered_pages",
        is_flag=True,
        flag_value=False,
        default=True,
        help="Do not say the number of a page and how many there are.",
    ),
    click.option(
        "--gone-cursor",
        default=200,
        metavar="STATUS",
        type=int,
        help="The answer to a cursor whose phone is gone: 200, 400, 404, 422. [200]",
    ),
    click.option(
        "--filtered-cursors",
        is_flag=True,
        help="Treat a cursor whose phone does not match the filters as gone.",
    ),
)


def _name_of(fault: str) -> str:
    return f"--{fault.replace('_', '-')}"


faults = _together(
    *(
        click.option(
            _name_of(fault),
            default=0.0,
            metavar="SHARE",
            type=click.FloatRange(0, 1),
            help=text,
        )
        for fault, text in (FAULTS | LISTING_FAULTS).items()
    )
)

click.rich_click.FORCE_TERMINAL = None  # a pipe is a pipe, even on GitHub
click.rich_click.STYLE_HELPTEXT = ""  # not dim: help is there to be read
click.rich_click.STYLE_EPILOG_TEXT = ""
click.rich_click.TEXT_PARAGRAPH_LINEBREAKS = "\n\n"
click.rich_click.RANGE_STRING = ""  # the error names the range
click.rich_click.OPTION_GROUPS = {
    "diga phone fetch": [
        {
            "name": "Ids and rows",
            "options": [
                "--output",
                "--resume",
                "--retry-failed",
                "--column",
                "--csv-raw",
            ],
        },
        {"name": "Speed", "options": ["--concurrency", "--per-second"]},
        {
            "name": "Connection",
            "options": [
                "--timeout",
                "--base-url",
                "--key-file",
                "--proxy",
                "--allow-insecure-http",
            ],
        },
        {"name": "Messages", "options": ["--verbose", "--quiet", "--help"]},
    ],
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
            "name": "Listing",
            "options": [
                "--sort-by",
                "--no-numbered-pages",
                "--gone-cursor",
                "--filtered-cursors",
            ],
        },
        {
            "name": "Faults, as shares of the requests from 0 to 1",
            "options": [_name_of(fault) for fault in FAULTS],
        },
        {
            "name": "Faults of the listing, as shares of its pages",
            "options": [_name_of(fault) for fault in LISTING_FAULTS],
        },
    ],
}
