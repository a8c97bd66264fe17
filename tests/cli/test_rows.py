"""Rows: the outcome of one lookup as a line, and back."""

import csv
import io
import json
from uuid import UUID

import pytest
from fakes import PHONE_ID, phone_fields
from hypothesis import example, given, settings, strategies as st

from diga_async import APIConnectionError, Failed, Found, Missing, NotFoundError, Phone
from diga_async._cli.rows import (
    CSV_COLUMNS,
    Csv,
    JsonLines,
    guarded,
    json_text,
    unguarded,
)
from diga_async._models.outcomes import row_of

FORMATS = [JsonLines(), Csv()]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
ID = UUID(PHONE_ID)


def found(**changes):
    return Found(ID, Phone.from_dict(phone_fields(**changes)), 1, 0.1)


def failed(phone_id=ID, **facts):
    return Failed(phone_id, APIConnectionError("no answer", **facts), 4, 0.1)


def cells(line):
    (row,) = csv.reader(io.StringIO(line.decode(), newline=""))
    return dict(zip(CSV_COLUMNS, row, strict=True))


def test_a_found_row_holds_the_phone():
    row = row_of(found(nickname="Ventas"))
    assert list(row) == ["phone_id", "outcome", "phone", "error"]
    assert row["phone_id"] == PHONE_ID
    assert row["outcome"] == "found"
    assert row["phone"]["nickname"] == "Ventas"
    assert row["error"] is None


def test_a_missing_row_holds_the_id_alone():
    assert row_of(Missing(ID, 1, 0.1)) == {
        "phone_id": PHONE_ID,
        "outcome": "missing",
        "phone": None,
        "error": None,
    }


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (
            APIConnectionError("no answer"),
            {"type": "APIConnectionError", "status": None, "message": "no answer"},
        ),
        (
            NotFoundError(status=410, message="gone"),
            {"type": "NotFoundError", "status": 410, "message": "410: gone"},
        ),
    ],
)
def test_a_failed_row_holds_the_errors_class_status_and_words(error, fields):
    row = row_of(Failed("no-id", error, 1, 0.1))
    assert row["phone_id"] == "no-id"
    assert row["error"] == fields


@settings(deadline=None)
@given(TEXTS)
def test_a_json_row_is_one_line_whatever_it_holds(text):
    line = JsonLines().encode(row_of(found(nickname=text)))
    assert len(line.decode().splitlines()) == 1
    assert line.endswith(b"\n")
    assert json.loads(line)["phone"]["nickname"] == text


@settings(deadline=None)
@given(TEXTS.filter(bool))
def test_a_csv_row_keeps_every_text(text):
    line = Csv(raw=True).encode(row_of(found(nickname=text)))
    assert cells(line)["nickname"] == text
    assert (
        unguarded(cells(Csv().encode(row_of(found(nickname=text))))["nickname"]) == text
    )


def test_a_csv_row_has_a_cell_for_each_field():
    sip = {"termination_uri": "sip.example", "username": None}
    row = row_of(found(sip_config=sip, region_codes=["ES-MD"], color="red"))
    values = cells(Csv().encode(row))
    assert tuple(values)[:2] == ("phone_id", "outcome")
    assert tuple(values)[-1] == "error"
    assert values["id"] == PHONE_ID
    assert values["number"] == "+34911234567"
    assert values["nickname"] == values["error"] == ""
    assert json.loads(values["region_codes"]) == ["ES-MD"]
    assert json.loads(values["sip_config"])["termination_uri"] == "sip.example"
    assert json.loads(values["extra"]) == {"color": "red"}


def test_a_csv_row_of_a_failure_has_the_error_in_its_last_cell():
    values = cells(Csv().encode(row_of(failed())))
    assert values["error"] == "APIConnectionError: no answer"
    assert values["outcome"] == "failed"
    assert values["number"] == ""


def test_a_csv_names_its_columns_in_its_first_line():
    assert Csv.header.decode() == ",".join(CSV_COLUMNS) + "\n"


@pytest.mark.parametrize("form", FORMATS)
@settings(deadline=None)
@given(phone_id=TEXTS, nickname=TEXTS)
def test_the_next_run_reads_the_id_and_outcome_of_a_row(form, phone_id, nickname):
    rows = [row_of(failed(phone_id)), row_of(found(nickname=nickname))]
    raw = b"".join(form.encode(row) for row in rows)
    records = list(form.records(io.BytesIO(raw)))
    expected = [(phone_id, "failed"), (PHONE_ID, "found")]
    assert [form.decode(record) for record in records] == expected


@pytest.mark.parametrize("form", FORMATS)
@settings(deadline=None)
@given(nickname=TEXTS, data=st.data())
def test_a_row_cut_anywhere_is_torn(form, nickname, data):
    row = form.encode(row_of(found(nickname=nickname)))
    cut = row[: data.draw(st.integers(1, len(row) - 1))]
    records = list(form.records(io.BytesIO(cut)))
    assert form.decode(records[-1]) is None
    assert form.is_torn(records[-1])


@pytest.mark.parametrize(
    "record",
    [
        b"hello\n",
        b"\xff\xfe\n",
        b"[1]\n",
        b'{"phone_id": 1, "outcome": "found"}\n',
        b'{"phone_id": "a"}\n',
        b'{"phone_id": "a", "outcome": "lost"}\n',
        b"notes without an end",
    ],
)
def test_a_line_that_is_not_a_row_is_neither_read_nor_cut_off(record):
    assert JsonLines().decode(record) is None
    assert not JsonLines().is_torn(record)


def test_zeros_after_a_power_failure_are_torn():
    assert JsonLines().is_torn(b'{"phone_id": "3c9\0\0\0\0')
    assert JsonLines().is_torn(b"\0\0\0\0")


def test_a_missing_quote_does_not_make_rows_look_torn():
    """Cutting it off would lose all rows after it."""
    row = Csv().encode(row_of(failed(phone_id="x")))
    records = list(Csv().records([b'"lost,\n', row, Csv().encode(row_of(found()))]))
    assert len(records) == 1
    assert not Csv().is_torn(records[0])


def test_json_can_be_indented():
    assert json_text({"a": ["ñ\x9b"]}, indent=1) == '{\n "a": [\n  "ñ\\u009b"\n ]\n}'


# --- cells that a spreadsheet would run


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "@SUM(A1)",
        "-1+1",
        "+1+1",
        "+cmd|' /C calc'!A0",
        "\t=1+1",
        "\r=1+1",
        "\n=1+1",
        "'=1+1",
        "''-x",
    ],
)
def test_a_cell_that_a_spreadsheet_would_run_gets_an_apostrophe(text):
    """OWASP calls it CSV injection; nicknames are other people's text."""
    row = cells(Csv().encode(row_of(found(nickname=text))))
    assert row["nickname"] == f"'{text}"
    assert unguarded(row["nickname"]) == text


@pytest.mark.parametrize("text", ["+34910000000", "+34 910 000 000", "'tis", "x=1", ""])
def test_a_harmless_cell_stays_as_it_is(text):
    row = cells(Csv().encode(row_of(found(nickname=text, number=text or "1"))))
    assert row["nickname"] == text
    assert unguarded(text) == text


@given(text=TEXTS)
@example("'''=")
def test_the_apostrophe_comes_off_again(text):
    assert unguarded(guarded(text)) == text


@pytest.mark.parametrize("text", ["=1+1", "'=1+1", "-"])
def test_raw_cells_stay_as_they_are(text):
    record = Csv(raw=True).encode(row_of(failed(phone_id=text)))
    assert record.startswith(f"{text},failed".encode())
    assert Csv(raw=True).decode(record) == (text, "failed")


@pytest.mark.parametrize("text", ["=1+1", "'=1+1", '=HYPERLINK("x")', "\n"])
def test_a_guarded_id_is_read_back_as_it_was_given(text):
    record = Csv().encode(row_of(failed(phone_id=text)))
    assert Csv().decode(record) == (text, "failed")
