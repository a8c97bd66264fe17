"""Rows: the outcome of one lookup as a line of JSON or CSV, and back."""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Protocol

import attrs

from diga_async import Phone
from diga_async._models.outcomes import OUTCOME_NAMES

PHONE_COLUMNS = tuple(field.name for field in attrs.fields(Phone))
CSV_COLUMNS = ("phone_id", "outcome", *PHONE_COLUMNS, "error")
OUTCOMES = tuple(OUTCOME_NAMES.values())

#: What is shown of a reason in a row.
REASON_CHARACTERS = 200

Row = dict[str, Any]

# Line ends of some programs and control characters that JSON does not escape.
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029]")
_QUOTED = re.compile('[",\r\n]')
# A spreadsheet runs a cell that begins like this (OWASP: CSV injection).
# The number of a phone begins with a plus sign and is harmless.
_FORMULA = re.compile(r"'*(?![+][\d ]+$)[=+\-@\t\r\n]")
# Parsing a million rows as JSON is slow; our own are recognised by their two ends.
_JSON_ROW = re.compile(
    rb'{"phone_id": "([0-9a-f-]{36})", "outcome": "(found|missing|failed)", .*}\r?\n'
)


def json_text(value: Any, indent: int | None = None) -> str:
    r"""
    Write readable JSON that no program takes for more than one line.

    >>> json_text({"nickname": "Recepción\u2028"})
    '{"nickname": "Recepción\\u2028"}'
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def guarded(text: str) -> str:
    """
    Put an apostrophe before *text* that a spreadsheet would run as a formula.

    >>> guarded("=1+1"), guarded("+34910000000")
    ("'=1+1", '+34910000000')
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """
    Take the apostrophe off again.

    >>> unguarded("'=1+1"), unguarded("'tis")
    ('=1+1', "'tis")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


class Format(Protocol):
    """The format of rows in a file; it tells whole rows from torn ones."""

    @property
    def header(self) -> bytes:
        """The first line of a file; empty for none."""

    def encode(self, row: Row) -> bytes:
        """Return the row, with its line end."""

    def records(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Join the lines that belong to one row."""

    def outcome_of(self, row: Row) -> str:
        """Return what the row is counted as."""

    def decode(self, record: bytes) -> tuple[str, str] | None:
        """Return the id and outcome of a whole row; None when it is not one."""

    def is_torn(self, record: bytes) -> bool:
        """Whether the last record is only the beginning of a row."""


class JsonLines:
    """One JSON object a line."""

    header: ClassVar[bytes] = b""
    #: How every row begins.
    start: ClassVar[bytes] = b'{"phone_id":'

    def encode(self, row: Row) -> bytes:
        """Return the row, with its line end."""
        return json_text(row).encode() + b"\n"

    def records(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Return the lines; each is a row."""
        return iter(lines)

    def outcome_of(self, row: Row) -> str:
        """Return what the row is counted as."""
        return str(row["outcome"])

    def decode(self, record: bytes) -> tuple[str, str] | None:
        """Return the id and outcome of a whole row; None when it is not one."""
        if known := _JSON_ROW.fullmatch(record):
            return known[1].decode(), known[2].decode()
        try:
            match json.loads(record):
                case {"phone_id": str(phone_id), "outcome": str(outcome)} if (
                    outcome in OUTCOMES and record.endswith(b"\n")
                ):
                    return phone_id, outcome
        except ValueError:
            pass
        return None

    def is_torn(self, record: bytes) -> bool:
        """Whether the last record is only the beginning of a row."""
        return not record.endswith(b"\n") and begins_alike(record, self.start)


@attrs.frozen
class Csv:
    """
    Comma-separated values (RFC 4180), with LF as line end.

    Attributes:
        raw: Whether cells that a spreadsheet would run are written as they are.
    """

    raw: bool = False

    header: ClassVar[bytes] = ",".join(CSV_COLUMNS).encode() + b"\n"
    #: How every row begins; its groups are the cell of the id, and the outcome.
    start: ClassVar[re.Pattern[bytes]] = re.compile(
        rb'("(?:[^"]|"")*"|[^",\r\n]*),(found|missing|failed),'
    )
    #: The beginning of another row in the middle of one.
    row_within: ClassVar[re.Pattern[bytes]] = re.compile(
        rb"\n[0-9a-f-]{36},(found|missing|failed),"
    )

    def encode(self, row: Row) -> bytes:
        """Return the row, with its line end."""
        return ",".join(map(self._cell, self.values_of(row))).encode() + b"\n"

    def values_of(self, row: Row) -> list[Any]:
        """Return the values of a row, one for each column."""
        error = row["error"]
        return [
            row["phone_id"],
            row["outcome"],
            *phone_values(row["phone"] or {}),
            error and f"{error['type']}: {error['message']}",
        ]

    def outcome_of(self, row: Row) -> str:
        """Return what the row is counted as."""
        return str(row["outcome"])

    def records(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Join the lines of a quoted cell."""
        record = b""
        for line in lines:
            record += line
            if record.count(b'"') % 2 == 0:
                yield record
                record = b""
        if record:
            yield record

    def decode(self, record: bytes) -> tuple[str, str] | None:
        """Return the id and outcome of a whole row; None when it is not one."""
        start = self.start.match(record)
        if start is None or not _is_whole(record):
            return None
        cell, outcome = (part.decode(errors="replace") for part in start.group(1, 2))
        if cell.startswith('"'):
            cell = cell[1:-1].replace('""', '"')
        return cell if self.raw else unguarded(cell), outcome

    def is_torn(self, record: bytes) -> bool:
        """Whether the last record is only the beginning of a row."""
        # A missing quote joins all that follows into one record.
        return not _is_whole(record) and self.row_within.search(record) is None

    def _cell(self, value: Any) -> str:
        if value is None:
            return ""
        text = value if isinstance(value, str) else json_text(value)
        text = text if self.raw else guarded(text)
        return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def reason_in(record: bytes) -> str | None:
    """
    Return why the lookup of a failed row failed; None when the row does not say.

    >>> reason_in(b'{"phone_id": "x", "error": {"type": "E", "message": "gone"}}')
    'gone'
    """
    text = record.decode(errors="replace")
    if text.startswith("{"):
        try:
            reason = json.loads(text)["error"]["message"]
        except (ValueError, LookupError, TypeError, RecursionError):
            return None
    else:
        try:
            cells = next(csv.reader([text]), [])
        except csv.Error:
            return None
        reason = cells[-1].partition(": ")[2] if len(cells) > 1 else None
    if not isinstance(reason, str):
        return None
    return " ".join(reason[:REASON_CHARACTERS].split())


def phone_values(phone: dict[str, Any]) -> list[Any]:
    """Return the values of a phone's columns; *phone* is as `to_dict` has it."""
    extra = {name: phone[name] for name in phone if name not in PHONE_COLUMNS}
    columns = phone | {"extra": extra or None}
    return [columns.get(name) for name in PHONE_COLUMNS]


def _is_whole(record: bytes) -> bool:
    return record.endswith(b"\n") and record.count(b'"') % 2 == 0


def begins_alike(record: bytes, start: bytes) -> bool:
    """Whether one of the two is the beginning of the other."""
    # A power failure may leave zeros where nothing had been written yet.
    written = record.rstrip(b"\0")
    return written.startswith(start) or start.startswith(written)
