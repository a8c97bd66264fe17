"""The options of `diga sandbox`."""

import re

import rich_click as click

from diga_async._cli.options import AMOUNT, PATH, together

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
    "broken_records": "Make one record of a page something other than a phone.",
}


def _seconds(
    _context: click.Context, _parameter: click.Parameter, text: str
) -> tuple[float, float]:
    """Read seconds, or a range of them."""
    least, dash, most = text.partition("-")
    try:
        return float(least), float(most if dash else least)
    except ValueError:
        raise click.BadParameter("give seconds as 0.05, or as 0.02-0.08") from None


def _not_negative(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> str | None:
    """Refuse a wait that no server asks for; a date, or other text, is passed on."""
    if text is not None and re.fullmatch(r"-[\d.]+", text.strip()):
        raise click.BadParameter("give seconds from 0 on, or an HTTP date")
    return text


settings = together(
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
        type=PATH,
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
        type=AMOUNT,
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
        callback=_not_negative,
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


def name_of(fault: str) -> str:
    """Return the option of a fault."""
    return f"--{fault.replace('_', '-')}"


faults = together(
    *(
        click.option(
            name_of(fault),
            default=0.0,
            metavar="SHARE",
            type=click.FloatRange(0, 1),
            help=text,
        )
        for fault, text in (FAULTS | LISTING_FAULTS).items()
    )
)
