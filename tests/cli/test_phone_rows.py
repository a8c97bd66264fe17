"""Rows of a listing: a phone, or its id, as a line and back."""

import csv
import io
import json

import pytest
from fakes import PHONE_ID, phone_fields

from diga_async import Phone
from diga_async._cli.phone_rows import LISTED, IdLines, PhoneCsv, PhoneLines
from diga_async._cli.rows import PHONE_COLUMNS

FORMATS = {
    "lines": PhoneLines(),
    "csv": PhoneCsv(),
    "raw csv": PhoneCsv(raw=True),
    "ids": IdLines(),
    "csv of ids": IdLines(b"id\n"),
}
every_format = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)


def row(**changes):
    return Phone.from_dict(phone_fields(**changes)).to_dict()


@every_format
@pytest.mark.parametrize("nickname", [None, "Ventas", 'a "b",\nc', "=1+1", "\u2028"])
def test_a_whole_row_is_read_back(form, nickname):
    record = form.encode(row(nickname=nickname))
    assert form.decode(record) == (PHONE_ID, LISTED)
    assert list(form.records(record.splitlines(keepends=True))) == [record]
    assert form.outcome_of(row()) == LISTED


@every_format
def test_the_beginning_of_a_row_is_torn_and_no_row(form):
    record = form.encode(row(nickname="Ventas"))
    for length in range(1, len(record)):
        assert form.decode(record[:length]) is None
        assert form.is_torn(record[:length])
    assert form.is_torn(b"\0\0")


@every_format
@pytest.mark.parametrize(
    "other", [b"hello\n", b'{"phone_id": "a"}\n', b"[1]\n", b"1\n"]
)
def test_a_line_that_is_not_a_row_of_a_listing_is_not_read(form, other):
    assert form.decode(other) is None
    assert not form.is_torn(other)


def test_a_line_is_the_phone_as_to_dict_has_it():
    assert json.loads(PhoneLines().encode(row(future=1))) == row(future=1)


def test_a_line_that_another_program_wrote_is_read():
    compact = json.dumps(row(), separators=(",", ":"), sort_keys=True).encode()
    assert PhoneLines().decode(compact + b"\n") == (PHONE_ID, LISTED)
    assert PhoneLines().decode(compact) is None


def test_a_csv_has_a_column_for_each_field():
    form = PhoneCsv()
    text = form.header + form.encode(row(region_codes=["ES-MD"], future=1))
    (read,) = csv.DictReader(io.StringIO(text.decode(), newline=""))
    assert tuple(read) == PHONE_COLUMNS
    assert read["id"] == PHONE_ID
    assert read["region_codes"] == '["ES-MD"]'
    assert read["extra"] == '{"future": 1}'


@pytest.mark.parametrize(("raw", "cell"), [(False, "'=1+1"), (True, "=1+1")])
def test_a_cell_that_a_spreadsheet_would_run_is_guarded_unless_raw(raw, cell):
    line = PhoneCsv(raw=raw).encode(row(nickname="=1+1")).decode()
    assert next(csv.reader([line]))[PHONE_COLUMNS.index("nickname")] == cell


def test_rows_that_a_lost_quote_joins_are_not_torn():
    """They were written whole, and cutting them off would lose them."""
    form = PhoneCsv()
    first, second = form.encode(row(nickname="a,b")), form.encode(row())
    (joined,) = form.records(
        (first.replace(b'b"', b"b") + second).splitlines(keepends=True)
    )
    assert form.decode(joined) is None
    assert not form.is_torn(joined)
