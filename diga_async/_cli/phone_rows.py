"""The rows of a listing: a phone as a line of JSON or CSV, or only its id."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import attrs

from diga_async._cli.rows import PHONE_COLUMNS, Csv, JsonLines, Row, phone_values

#: What every row of a listing is counted as.
LISTED = "listed"

_UUID = rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# As `rows` does: our own rows are recognised by their two ends, without a parser.
_JSON_ROW = re.compile(rb'\{"id": "(%s)", "number": .*\}\r?\n' % _UUID)
_ID_ROW = re.compile(rb"(%s)\r?\n" % _UUID)
_TORN_ID = re.compile(rb"[0-9a-f-]{0,36}\r?\0*")


class PhoneLines(JsonLines):
    """One JSON object a line, as `Phone.to_dict` returns it."""

    start: ClassVar[bytes] = b'{"id":'

    def outcome_of(self, row: Row) -> str:  # noqa: ARG002 - as the protocol has it
        """Return what every row is counted as."""
        return LISTED

    def decode(self, record: bytes) -> tuple[str, str] | None:
        """Return the id of a whole row; None when it is not one."""
        if known := _JSON_ROW.fullmatch(record):
            return known[1].decode(), LISTED
        try:
            row = json.loads(record)
        except ValueError:
            return None
        is_phone = isinstance(row, dict) and isinstance(row.get("number"), str)
        if not (is_phone and isinstance(row.get("id"), str)):
            return None
        return (row["id"], LISTED) if record.endswith(b"\n") else None


@attrs.frozen
class PhoneCsv(Csv):
    """Comma-separated values, a column for each field of a phone."""

    header: ClassVar[bytes] = ",".join(PHONE_COLUMNS).encode() + b"\n"
    start: ClassVar[re.Pattern[bytes]] = re.compile(rb"(%s),()" % _UUID)
    row_within: ClassVar[re.Pattern[bytes]] = re.compile(rb"\n%s,[+\d]" % _UUID)

    def values_of(self, row: Row) -> list[Any]:
        """Return the values of a row, one for each column."""
        return phone_values(row)

    def outcome_of(self, row: Row) -> str:  # noqa: ARG002 - as the protocol has it
        """Return what every row is counted as."""
        return LISTED

    def decode(self, record: bytes) -> tuple[str, str] | None:
        """Return the id of a whole row; None when it is not one."""
        decoded = super().decode(record)
        return None if decoded is None else (decoded[0], LISTED)


@attrs.frozen
class IdLines:
    """
    One id a line, ready for a fetch.

    Attributes:
        header: The name of the column in a CSV; else nothing.
    """

    header: bytes = b""

    def encode(self, row: Row) -> bytes:
        """Return the row, with its line end."""
        return f"{row['id']}\n".encode()

    def records(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Return the lines; each is a row."""
        return iter(lines)

    def outcome_of(self, row: Row) -> str:  # noqa: ARG002 - as the protocol has it
        """Return what every row is counted as."""
        return LISTED

    def decode(self, record: bytes) -> tuple[str, str] | None:
        """Return the id of a whole row; None when it is not one."""
        row = _ID_ROW.fullmatch(record)
        return None if row is None else (row[1].decode(), LISTED)

    def is_torn(self, record: bytes) -> bool:
        """Whether the last record is only the beginning of a row."""
        return _TORN_ID.fullmatch(record) is not None
