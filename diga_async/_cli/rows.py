"""Rows: what one lookup came to, as a line of JSON or of CSV, and back."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import attrs

from diga_async import DigaError, Failed, Found, Missing, Outcome, Phone

PHONE_COLUMNS = tuple(field.name for field in attrs.fields(Phone))
CSV_COLUMNS = ("phone_id", "outcome", *PHONE_COLUMNS, "error")
OUTCOMES = {Found: "found", Missing: "missing", Failed: "failed"}

Row = dict[str, Any]

# What ends a line somewhere, or steers a terminal, and JSON does not escape.
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029]")
_QUOTED = re.compile('[",\r\n]')
_CSV_START = re.compile(rb'("(?:[^"]|"")*"|[^",\r\n]*),(found|missing|failed),')
_CSV_ROW_WITHIN = re.compile(rb"\n[0-9a-f-]{36},(found|missing|failed),")
_JSON_START = b'{"phone_id":'
# Our own rows are known by their two ends: reading a million takes its time.
_JSON_ROW = re.compile(
    rb'{"phone_id": "([0-9a-f-]{36})", "outcome": "(found|missing|failed)", .*}\n'
)


def row_of(outcome: Outcome) -> Row:
    """Return the row of *outcome*."""
    return {
        "phone_id": str(outcome.phone_id),
        "outcome": outcome_name(outcome),
        "phone": outcome.phone.to_dict() if isinstance(outcome, Found) else None,
        "error": _error_fields(outcome.error) if isinstance(outcome, Failed) else None,
    }


def outcome_name(outcome: Outcome) -> str:
    """Return what a row calls *outcome*."""
    return OUTCOMES[type(outcome)]


def _error_fields(error: DigaError) -> Row:
    return {
        "type": type(error).__name__,
        "status": getattr(error, "status", None),
        "message": str(error),
    }


def json_text(value: Any, indent: int | None = None) -> str:
    r"""
    Write JSON that people can read, and that nothing takes for more than one line.

    >>> json_text({"nickname": "Recepción\u2028"})
    '{"nickname": "Recepción\\u2028"}'
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class Format(Protocol):
    """How rows are written to a file, and told from what was torn off."""

    header: bytes

    def encode(self, row: Row) -> bytes:
        """Return the row, its line's end included."""

    def records(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Put the lines together that belong to one row."""

    def decode(self, record: bytes) -> tuple[str, str] | None:
        """Return the id and the outcome of a whole row; None when it is none."""

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

    def decode(self, record: bytes) -> tuple[str, str] | None:
        """Return the id and the outcome of a whole row; None when it is none."""
        if known := _JSON_ROW.fullmatch(record):
            return known[1].decode(), known[2].decode()
        try:
            match json.loads(record):
                case {"phone_id": str(phone_id), "outcome": str(outcome)} if (
                    outcome in OUTCOMES.values() and record.endswith(b"\n")
                ):
                    return phone_id, outcome
        except ValueError:
            pass
        return None

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

    def decode(self, record: bytes) -> tuple[str, str] | None:
        """Return the id and the outcome of a whole row; None when it is none."""
        start = _CSV_START.match(record)
        if start is None or not _is_whole(record):
            return None
        cell, outcome = (part.decode(errors="replace") for part in start.groups())
        quoted = cell.startswith('"')
        return cell[1:-1].replace('""', '"') if quoted else cell, outcome

    def is_torn(self, record: bytes) -> bool:
        """Whether the last record is the beginning of a row, and no more."""
        # A quote that somebody lost would make one row of all that follows.
        return not _is_whole(record) and _CSV_ROW_WITHIN.search(record) is None


def _is_whole(record: bytes) -> bool:
    return record.endswith(b"\n") and record.count(b'"') % 2 == 0


def _begins_alike(record: bytes, start: bytes) -> bool:
    # A machine that went down may leave zeros where it had not written yet.
    written = record.rstrip(b"\0")
    return written.startswith(start) or start.startswith(written)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json_text(value)
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text
