"""Phone ids in lines of text: one a line, a column of a CSV, or JSON lines."""

import csv
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

import attrs

from diga_async import InvalidPhoneIdError
from diga_async._api.phones import phone_id_of
from diga_async._cli.redaction import shown
from diga_async._cli.rows import OUTCOMES, unguarded
from diga_async._models.decoding import UUID_TEXT

SEPARATORS = ",;\t"
KEY_CHARACTERS = 100
#: Names of the column of ids, best first; compared without case.
_NAMES = tuple(
    re.compile(name, re.IGNORECASE)
    for name in (r"phone[ _-]?(id|uuid)s?", r"ids?|uuids?")
)
#: Up to 15 digits (ITU-T E.164), and what people write between them. Without a plus
#: sign, fewer than nine may be anything, such as a date.
_NUMBER = re.compile(r"\+?([ ()./-]*\d){7,15}", re.ASCII)
_DIGITS_WITHOUT_PLUS = 9
_NUMBER_CHARACTERS = 40
_SEPARATOR = re.compile(f"[{SEPARATORS}]")
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
# Characters that programs put around an id, and that no terminal shows.
_INVISIBLE = "\ufeff\u200b\u200e\u200f\u2060"

Id = UUID | str
Key = bytes | str


class UnreadableRowError(Exception):
    """
    A row of the input cannot be read.

    Attributes:
        lines: How many lines the row has so far; it began that many lines ago.
    """

    def __init__(self, why: str, lines: int = 1) -> None:
        super().__init__(why)
        self.lines = lines


class NoSuchColumnError(Exception):
    """The input has no column of the name that was given."""


class UnclearColumnError(Exception):
    """
    The header does not say which column holds the ids.

    Attributes:
        columns: The names to choose from; empty when a name cannot tell them apart.
    """

    def __init__(self, why: str, columns: list[str]) -> None:
        super().__init__(why)
        self.columns = columns


@attrs.define(eq=False)
class IdReader:
    """
    Reads the ids in *lines*, or the text in their place.

    Blank lines, and lines that begin with ``#``, are skipped.
    So are a header, and the rows of an earlier OUT that are not failed.

    >>> list(IdReader(["phone_id", "", "no-id, x"]))
    ['no-id']

    Args:
        lines: The text, line by line.
        as_csv: Whether the lines are those of a CSV, whose cells may span lines.
        column: The name of the column, or of the key of a JSON line.

    Attributes:
        header: What the header calls the column of the ids; None before it was read,
            and without one.
        is_named: Whether a name in the header, and not its place, says which column
            holds the ids.
        left_out: How many rows of an earlier OUT were skipped.
        read: How many ids were read.

    Iterating raises

    - `UnreadableRowError` for a broken row of a CSV or a broken JSON line,
    - `NoSuchColumnError` when *column* is not in the header,
    - `UnclearColumnError` when the header of several columns has no name, or several
      names, of a column of ids.
    """

    lines: Iterable[str]
    as_csv: bool = False
    column: str | None = None
    header: str | None = attrs.field(default=None, init=False)
    is_named: bool = attrs.field(default=False, init=False)
    left_out: int = attrs.field(default=0, init=False)
    read: int = attrs.field(default=0, init=False)

    def __iter__(self) -> Iterator[Id]:
        """Yield the ids."""
        lines = iter(self.lines)
        first = next((line for line in lines if _is_of_use(line)), None)
        if first is None:
            return
        separator = None
        if named := _SEPARATOR_LINE.fullmatch(first.strip()):
            separator = named[1]
            first = next(lines, "")
        lines = itertools.chain((first,), lines)
        start = first.lstrip(_INVISIBLE)[:1]
        if start == "[":
            raise UnreadableRowError("it begins a JSON array; jq -c '.[]' unpacks it")
        is_json = start == "{"
        given = self._json_rows(lines) if is_json else self._rows(lines, separator)
        for text in given:
            self.read += 1
            yield id_or_text(text)

    def _json_rows(self, lines: Iterable[str]) -> Iterator[str]:
        for line in filter(_is_of_use, lines):
            row = _object_in(line)
            if _is_settled(row.get("phone_id"), row.get("outcome")):
                self.left_out += 1
                continue
            yield _clean(self._value_in(row))

    def _value_in(self, row: dict[str, Any]) -> str:
        names = ("phone_id", "id") if self.column is None else (self.column,)
        given = next((row[name] for name in names if name in row), None)
        if isinstance(given, str):
            return given
        named = " or ".join(map(shown, names))
        keys = ", ".join(row)[:KEY_CHARACTERS] or "none"
        raise UnreadableRowError(
            f"it has no text named {named}; its keys are: {keys} (--column names the "
            "one that holds the ids)"
        )

    def _rows(self, lines: Iterator[str], separator: str | None) -> Iterator[str]:
        first = next(lines, "")
        likely = separator or max(SEPARATORS, key=first.count)
        header = [_clean(cell) for cell in _cells_of(first, likely)]
        index = self._column_in(header)
        is_table = separator is not None or (index is not None and len(header) > 1)
        lines = itertools.chain((first,), lines)
        as_csv = self.as_csv or is_table
        rows = _csv_rows(lines, likely) if as_csv else _line_rows(lines)
        if index is not None or self._is_header(header):
            next(rows, None)
            self.header, self.is_named = header[index or 0], index is not None
        is_earlier_out = header[:2] == ["phone_id", "outcome"]
        is_unclear = self.header is not None and index is None and len(header) > 1
        for cells in rows:
            if is_unclear and any(UUID_TEXT.fullmatch(_clean(cell)) for cell in cells):
                raise UnclearColumnError("no column named phone_id or id", header)
            given = _clean(cells[index or 0]) if len(cells) > (index or 0) else ""
            if is_earlier_out and len(cells) > 1 and _is_settled(given, cells[1]):
                self.left_out += 1
            elif given and not given.startswith("#"):
                if index is None and len(cells) > 1:
                    _refuse_several(given, cells[1:])
                yield given

    def _column_in(self, header: list[str]) -> int | None:
        """Return the index of the column of ids; None when no name matches."""
        if self.column is not None:
            for alike in (str.strip, str.casefold):
                names = list(map(alike, header))
                if alike(self.column) in names:
                    return names.index(alike(self.column))
            raise NoSuchColumnError(", ".join(header))
        if any(isinstance(id_or_text(cell), UUID) for cell in header):
            return None
        for name in _NAMES:
            found = [i for i, cell in enumerate(header) if name.fullmatch(cell)]
            if len(found) > 1:
                different = {header[i].casefold() for i in found}
                if len(different) > 1:
                    what = "several columns that may hold ids"
                    raise UnclearColumnError(what, header)
                what = f"{len(found)} columns named {shown(header[found[0]])}"
                raise UnclearColumnError(what, [])
            if found:
                return found[0]
        return None

    def _is_header(self, first: list[str]) -> bool:
        """Whether a row without a known name looks like a header."""
        if any(isinstance(id_or_text(cell), UUID) for cell in first):
            return False
        return self.as_csv or len(first) > 1


def _is_of_use(line: str) -> bool:
    text = line.strip()
    return bool(text) and not text.startswith("#")


def _object_in(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line.lstrip(_INVISIBLE))
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise UnreadableRowError(
            "it is not a JSON object on a line of its own; correct it first (jq -c . "
            "writes one a line)"
        )
    return row


def _is_settled(phone_id: object, outcome: object) -> bool:
    """Whether a row is one of an earlier OUT, and is not failed."""
    is_row = phone_id is not None and outcome in OUTCOMES
    return is_row and outcome != "failed"


def _cells_of(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return line.split(separator)


def _refuse_several(given: str, cells: list[str]) -> None:
    """
    Refuse a row of nothing but ids: all but the first would be lost.

    Raises:
        UnreadableRowError: It is such a row.
    """
    others = [_clean(part) for cell in cells for part in _SEPARATOR.split(cell)]
    row = [given, *filter(None, others)]
    if len(row) > 1 and all(map(UUID_TEXT.fullmatch, row)):
        raise UnreadableRowError(
            f"it holds {len(row)} ids; write one id a line, or add a header that names "
            "the column of the ids"
        )


def _line_rows(lines: Iterable[str]) -> Iterator[list[str]]:
    for line in lines:
        yield _SEPARATOR.split(line, maxsplit=1)


def _csv_rows(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    reader, before = csv.reader(lines, delimiter=separator, strict=True), 0
    try:
        for row in reader:
            before = reader.line_num
            yield row
    except csv.Error as error:
        of_row = reader.line_num - before
        why = f"{error}; correct it first"
        if of_row > 1:
            why = f"it has a quote that is not closed in its row ({why})"
        raise UnreadableRowError(why, of_row) from None


def _clean(cell: str) -> str:
    bare = unguarded(cell.strip().strip(_INVISIBLE).strip())
    is_quoted = len(bare) > 1 and bare[0] == bare[-1] == '"'
    return bare[1:-1].strip() if is_quoted else bare


def id_or_text(given: str) -> Id:
    """Return the id that *given* is, or else *given*."""
    try:
        return phone_id_of(given)
    except InvalidPhoneIdError:
        return given


def is_phone_number(text: str) -> bool:
    """
    Whether *text* is a phone's number, which no lookup takes.

    >>> is_phone_number("+34 910 000 000"), is_phone_number("20260701")
    (True, False)
    """
    number = text.strip()
    if len(number) > _NUMBER_CHARACTERS or not _NUMBER.fullmatch(number):
        return False
    digits = sum(map(str.isdigit, number))
    return number.startswith("+") or digits >= _DIGITS_WITHOUT_PLUS


def key_of(phone_id: Id) -> Key:
    """
    Return a short key that all occurrences of an id share.

    Text that is not an id is compared as far as a row keeps it.
    """
    return phone_id.bytes if isinstance(phone_id, UUID) else phone_id[:KEY_CHARACTERS]


def key_of_text(text: str) -> Key:
    """Return the key of an id as a row holds it."""
    return key_of(id_or_text(text))


def distinct(ids: Iterable[Id], done: set[Key]) -> Iterator[Id]:
    """Yield each id that is not in *done*, and add it there."""
    for phone_id in ids:
        key = key_of(phone_id)
        if key not in done:
            done.add(key)
            yield phone_id
