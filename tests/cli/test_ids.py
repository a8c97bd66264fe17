"""Phone ids out of lines of text."""

import csv
from uuid import UUID

import pytest

from diga_async._cli.ids import distinct, ids_in, key_of, key_of_text

A = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
B = "9b2d1f6e-0000-4000-8000-00000000000b"


def read(text, *, as_csv=False):
    headers = []
    ids = list(
        ids_in(text.splitlines(keepends=True), as_csv=as_csv, on_header=headers.append)
    )
    return [str(i) for i in ids], headers


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", []),
        (f"{A}\n{B}\n", [A, B]),
        (f"{A}\r\n{B}", [A, B]),
        (f"\n  {A}  \n\n# a comment\n{B}\n", [A, B]),
        (f"{A},Ventas,1\n{B};Cobros\n{A}\tx\n", [A, B, A]),
        (f'"{A}","Ventas"\n', [A]),
        (f"{A.upper()}\n", [A]),
        ("no-id\n", ["no-id"]),
        (f"{A}\nphone_id\n", [A, "phone_id"]),
    ],
)
def test_a_line_gives_what_stands_in_its_first_column(text, ids):
    assert read(text) == (ids, [])


@pytest.mark.parametrize(
    ("header", "as_csv"),
    [
        ("phone_id", False),
        ("ID", False),
        ("uuid", False),
        ("Phone ID", False),
        ("teléfono,nombre", False),
        ("teléfono", True),
        ("teléfono;nombre", True),
    ],
)
def test_a_header_is_passed_over_and_told_of(header, as_csv):
    ids, headers = read(f"{header}\n{A}\n", as_csv=as_csv)
    assert ids == [A]
    assert [header[: len(h)] for h in headers] == headers
    assert len(headers) == 1


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_csv_may_have_cells_of_many_lines(separator):
    text = f'id{separator}note\n{A}{separator}"two\nlines"\n{B}{separator}x\n'
    assert read(text, as_csv=True) == ([A, B], ["id"])


def test_a_csv_row_without_cells_is_passed_over():
    assert read(f"\n{A}\n\n,x\n", as_csv=True)[0] == [A]


def test_a_csv_that_is_none_is_an_error():
    """A lost quote would swallow every id after it without a word."""
    with pytest.raises(csv.Error):
        read(f'{A},"lost\n{B},x\n', as_csv=True)


def test_distinct_ids_come_once_and_not_again():
    done = {key_of_text(A)}
    long = "x" * 150
    ids = [UUID(A), UUID(B), UUID(B), "no", "No", "no", long, long + "y"]
    assert list(distinct(ids, done)) == [UUID(B), "no", "No", long]


def test_an_id_has_one_key_however_it_is_written():
    assert key_of(UUID(A)) == key_of_text(A) == key_of_text(A.upper())
    assert key_of("x" * 150) == key_of_text("x" * 100)
