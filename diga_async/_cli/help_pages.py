"""How --help looks: its groups of options, and the exit codes at its end."""

import rich_click as click

from diga_async._cli.sandbox_options import FAULTS, LISTING_FAULTS, name_of

# rich-click makes one line break of two.
GET_EXIT_CODES = """\
Exit codes:

0    all were found

1    some are missing, or their lookup failed

2    an ID is not a phone id, or an option is wrong; nothing was sent

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
LIST_EXIT_CODES = """\
Exit codes:

0    all phones are listed

1    a record that is not a phone was passed over

2    an option is wrong; nothing was touched

3    the key is refused or not permitted

4    stopped early by an outage, a full disk, a closed pipe or a bad record

130  interrupted

After 3, 4 and 130, --resume continues."""
CHECK_EXIT_CODES = """\
Exit codes:

0    you can start

2    there is no key, or the address is wrong

3    the key is refused or not permitted

4    the server cannot be reached, or does not answer"""
WATCH_EXIT_CODES = """\
Exit codes:

0    every phone is finished, so that nothing can change any more

2    an ID is not a phone id, or an option is wrong; nothing was sent

3    the key is refused or not permitted

4    stopped early by a closed pipe or a full disk

130  interrupted: the usual end"""
WAIT_EXIT_CODES = """\
Exit codes:

0    the phone has the status

1    the status cannot come, or there is no such phone

2    ID is not a phone id, or an option is wrong; nothing was sent

3    the key is refused or not permitted

4    the status did not come in time, or the server was down for too long

130  interrupted"""

_CONNECTION = [
    "--timeout",
    "--base-url",
    "--key-file",
    "--proxy",
    "--allow-insecure-http",
]

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
        {"name": "Speed", "options": ["--concurrency", "--per-second", "--via"]},
        {"name": "Connection", "options": _CONNECTION},
        {"name": "Messages", "options": ["--verbose", "--quiet", "--help"]},
    ],
    "diga phone list": [
        {
            "name": "Which phones",
            "options": [
                "--status",
                "--inbound-agent",
                "--outbound-agent",
                "--assigned-from",
                "--assigned-until",
                "--order",
            ],
        },
        {"name": "Rows", "options": ["--output", "--resume", "--ids", "--csv-raw"]},
        {"name": "Connection", "options": _CONNECTION},
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
            "options": [name_of(fault) for fault in FAULTS],
        },
        {
            "name": "Faults of the listing, as shares of its pages",
            "options": [name_of(fault) for fault in LISTING_FAULTS],
        },
    ],
}
