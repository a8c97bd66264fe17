"""Rows: what one lookup came to, as a line of JSON or of CSV, and back."""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import attrs

from diga_async import DigaError, Failed, Found, Missing, Outcome, Phone

PHONE_COLUMNS = tuple(field.name for field in attrs.fields(Phone))
CSV_COLUMNS = ("phone_id", "outcome", *PHONE_COLUMNS, "error")
OUTCOMES = frozenset({"found", "missing", "failed"})

Row = dict[str, Any]

# What ends a line somewhere, or steers a terminal, and JSON does not escape.
_UNSAFE = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}
_QUOTED = re.compile('[",\r\n]')
_CSV_ROW_WITHIN = re.compile(rb"\n[0-9a-f-]{36},(found|missing|failed),")
_JSON_START = b'{"phone_id": '


def row_of(outcome: Outcome) -> Row:
    """Return the row of *outcome*."""
    row = {"phone_id": str(outcome.phone_id), "phone": None, "error": None}
    match outcome:
        case Found(phone=phone):
            return _row("found", row | {"phone": phone.to_dict()})
        case Missing():
            return _row("missing", row)
        case Failed(error=error):
            return _row("failed", row | {"error": _error_fields(error)})


def _row(outcome: str, row: Row) -> Row:
    return {"phone_id": row["phone_id"], "outcome": outcome} | row


def _error_fields(error: DigaError) -> Row:
    return {
        "type": type(error).__name__,
        "status": getattr(error, "status", None),
        "message": str(error),
    }


def json_text(value: Any, indent: int | None = None) -> str:
    """
    Write JSON for people and programs: readable, one value a line, no surprises.

    >>> json_text({"nickname": "Recepción\\u2028"})
    '{"nickname": "Recepción\\\\u2028"}'
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return text if text.isascii() else text.translate(_UNSAFE)


class Format(Protocol):
    """How rows are written to a file, and told from what was torn off."""

    header: bytes

    def encode(self, row: Row) -> bytes:
        """Return the row, its line's end included."""

    def records(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Put the lines together that belong to one row."""

    def decode(self, record: bytes) -> tuple[str, str]:
        """
        Return the id and the outcome of a row.

        Raises:
            ValueError: It is no row.
        """

    def is_torn(self, record: bytes) -> bool:
        """Whether the last record is the beginning of a row, and no more."""


class JsonLines:
    """One JSON object a line."""

    header = b""

    def encode(self, row: Row) -> bytes:
        """Return the row, its line's end included."""
        return json_text(row).encode() + b"\n"

    def records(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Return the lines: each is a row."""
        return iter(lines)

    def decode(self, record: bytes) -> tuple[str, str]:
        """Return the id and the outcome of a row."""
        row = json.loads(record)
        if not isinstance(row, dict):
            raise ValueError("not an object")  # noqa: TRY004 - as the other complaints
        return _checked(row.get("phone_id"), row.get("outcome"))

    def is_torn(self, record: bytes) -> bool:
        """Whether the last record is the beginning of a row, and no more."""
        return not record.endswith(b"\n") and _begins_alike(record, _JSON_START)


class Csv:
    """Comma-separated values as RFC 4180 has them, with lines that end in LF."""

    header = ",".join(CSV_COLUMNS).encode() + b"\n"

    def encode(self, row: Row) -> bytes:
        """Return the row, its line's end included."""
        phone, error = row["phone"] or {}, row["error"]
        extra = {name: phone[name] for name in phone if name not in PHONE_COLUMNS}
        columns = phone | {"extra": extra or None}
        cells = [
            row["phone_id"],
            row["outcome"],
            *(columns.get(name) for name in PHONE_COLUMNS),
            error and f"{error['type']}: {error['message']}",
        ]
        return ",".join(map(_cell, cells)).encode() + b"\n"

    def records(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Put the lines together that belong to one row: those of a quoted cell."""
        record = b""
        for line in lines:
            record += line
            if record.count(b'"') % 2 == 0:
                yield record
                record = b""
        if record:
            yield record

    def decode(self, record: bytes) -> tuple[str, str]:
        """Return the id and the outcome of a row."""
        # csv would keep a line's end in a cell, but not at the end of a row.
        cells = next(csv.reader([record.decode()]), [])
        if len(cells) != len(CSV_COLUMNS):
            raise ValueError("not as many cells as columns")
        return _checked(*cells[:2])

    def is_torn(self, record: bytes) -> bool:
        """Whether the last record is the beginning of a row, and no more."""
        is_whole = record.endswith(b"\n") and record.count(b'"') % 2 == 0
        # A quote that somebody lost would make one row of all that follows.
        return not is_whole and _CSV_ROW_WITHIN.search(record) is None


def _checked(phone_id: object, outcome: object) -> tuple[str, str]:
    if not (isinstance(phone_id, str) and isinstance(outcome, str)):
        raise ValueError("no id or no outcome")  # noqa: TRY004 - as the other complaints
    if outcome not in OUTCOMES:
        raise ValueError("not an outcome")
    return phone_id, outcome


def _begins_alike(record: bytes, start: bytes) -> bool:
    # A machine that went down may leave zeros where it had not written yet.
    written = record.rstrip(b"\0")
    return written.startswith(start) or start.startswith(written)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json_text(value)
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text
