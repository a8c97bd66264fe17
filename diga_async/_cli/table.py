"""Phones as a table on a terminal, printed line by line as they come."""

import sys
from collections import Counter
from collections.abc import Iterator

import attrs
from rich.console import Console
from rich.text import Text

from diga_async._cli.display import STATUS_STYLES, console_for
from diga_async._cli.ids import Key
from diga_async._cli.phone_rows import LISTED
from diga_async._cli.rows import Row
from diga_async._cli.terminal import printable

_GAP = "  "
#: The columns, the most useful first, and the least width of each.
_COLUMNS = {
    "number": 16,
    "status": 20,
    "id": 36,
    "nickname": 10,
    "telephony_provider": 8,
}
_NAMES = {"telephony_provider": "provider"}
#: What is left of a line goes to the last of these that is shown, up to its width.
_GROWING = {"nickname": 40, "number": 24}


def column_widths(width: int) -> dict[str, int]:
    """
    Return the columns that fit a terminal, and how wide they are.

    >>> column_widths(40)
    {'number': 18, 'status': 20}
    >>> list(column_widths(100))
    ['number', 'status', 'id', 'nickname', 'telephony_provider']
    """
    widths: dict[str, int] = {}
    left = width
    for name, least in _COLUMNS.items():
        gap = len(_GAP) if widths else 0
        if widths and gap + least > left:
            break
        widths[name] = least
        left -= gap + least
    for name, most in _GROWING.items():
        if name in widths:
            widths[name] = min(most, widths[name] + max(0, left))
            break
    return widths


@attrs.define(eq=False)
class PhoneTable:
    """
    A table of phones on standard output, a terminal.

    Attributes:
        outcomes: How many lines it has.
        done: The keys of the ids that have a line already: none are known.
        torn_bytes: Always 0.
    """

    outcomes: Counter[str] = attrs.field(factory=Counter)
    done: set[Key] = attrs.field(factory=set)
    torn_bytes: int = 0
    _console: Console = attrs.field(init=False)
    _widths: dict[str, int] = attrs.field(init=False)

    @_console.default
    def _console_of_output(self) -> Console:
        return console_for(sys.stdout)

    @_widths.default
    def _widths_of_console(self) -> dict[str, int]:
        return column_widths(self._console.width)

    async def write(self, row: Row) -> None:
        """Print one line, and the header before the first."""
        if not self.outcomes:
            names = {name: _NAMES.get(name, name) for name in self._widths}
            self._print(Text(text, style="bold") for text in names.values())
        self._print(_cell(name, row) for name in self._widths)
        self.outcomes[LISTED] += 1

    def _print(self, cells: Iterator[Text]) -> None:
        line = Text(no_wrap=True, end="")
        for cell, width in zip(cells, self._widths.values(), strict=True):
            cell.truncate(width, overflow="ellipsis", pad=True)
            line.append_text(cell).append(_GAP)
        line.rstrip()
        self._console.print(line, soft_wrap=True)

    def finish(self) -> None:
        """Do nothing: each line was printed."""


def _cell(name: str, row: Row) -> Text:
    text = printable(row[name] or "")
    style = STATUS_STYLES.get(text, "") if name == "status" else ""
    return Text(text, style=style)
