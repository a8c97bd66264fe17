"""Phone ids in lines of text."""

import json
from uuid import UUID

import pytest

from diga_async._cli.ids import (
    IdReader,
    NoSuchColumnError,
    UnclearColumnError,
    UnreadableRowError,
    distinct,
    key_of,
    key_of_text,
)

A = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
B = "9b2d1f6e-0000-4000-8000-00000000000b"


def reader_of(text, **options):
    return IdReader(text.splitlines(keepends=True), **options)


def read(text, *, as_csv=False, column=None):
    """Return the ids of *text* as texts, and the header."""
    reader = reader_of(text, as_csv=as_csv, column=column)
    ids = [str(phone_id) for phone_id in reader]
    assert reader.read == len(ids)
    return ids, reader.header


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
        (f"\u00a0{A}\u200b\n\ufeff{B}\n", [A, B]),
        ("no-id\n", ["no-id"]),
        (f"{A}\nphone_id\n", [A, "phone_id"]),
    ],
)
def test_a_line_holds_an_id_in_its_first_column(text, ids):
    assert read(text) == (ids, None)


@pytest.mark.parametrize(
    ("header", "as_csv"),
    [
        ("phone_id", False),
        ("ID", False),
        ("uuid", False),
        ("Phone ID", False),
        ("teléfono", True),
    ],
)
def test_a_header_is_skipped_and_reported(header, as_csv):
    ids, name = read(f"{header}\n{A}\n", as_csv=as_csv)
    assert ids == [A]
    assert header.startswith(name)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("nombre,phone_id", "phone_id"),
        ("id,phone_id", "phone_id"),
        ("nombre;ID", "ID"),
        ('"nombre"\t"Phone UUID"', "Phone UUID"),
        (",id", "id"),
    ],
)
@pytest.mark.parametrize("as_csv", [False, True])
def test_the_header_says_which_column_holds_the_ids(header, name, as_csv):
    separator = next(c for c in ",;\t" if c in header)
    text = f"{header}\nMadrid{separator}{A}\n{separator}{B}\n"
    assert read(text, as_csv=as_csv) == ([A, B], name)


@pytest.mark.parametrize(
    "header", ["agent_id,phone", "teléfono;nombre", "id\tuuid", "phone_id,Phone UUID"]
)
@pytest.mark.parametrize("as_csv", [False, True])
def test_a_header_that_leaves_open_which_column_is_meant_is_refused(header, as_csv):
    separator = next(c for c in ",;\t" if c in header)
    with pytest.raises(UnclearColumnError) as caught:
        read(f"{header}\n{A}{separator}x\n", as_csv=as_csv)
    assert caught.value.columns == header.split(separator)


def test_a_json_array_is_refused_with_the_way_to_unpack_it():
    with pytest.raises(UnreadableRowError, match=r"jq -c '\.\[\]'"):
        read(f'["{A}"]\n')


@pytest.mark.parametrize(
    ("column", "named"), [(None, "'phone_id' or 'id'"), ("n", "'n'")]
)
def test_a_json_line_without_an_id_is_refused_with_its_keys(column, named):
    with pytest.raises(UnreadableRowError) as caught:
        read('{"phone": "x", "agent": 1}\n', column=column)
    assert f"no text named {named}; its keys are: phone, agent (--column" in str(
        caught.value
    )


def test_a_column_can_be_chosen_by_name():
    text = f"id,Agent,phone_id\n1,{A},{B}\n"
    assert read(text, column="Agent") == ([A], "Agent")
    assert read(text, column="agent")[0] == [A]
    assert read(json.dumps({"id": B, "agent": A}), column="agent")[0] == [A]


@pytest.mark.parametrize("text", ["id,name\n1,x\n", f"{A},x\n"])
def test_a_column_that_is_not_there_is_an_error_that_names_the_first_row(text):
    with pytest.raises(NoSuchColumnError) as caught:
        read(text, column="phone")
    assert str(caught.value) == ", ".join(text.split("\n")[0].split(","))


def test_a_row_without_the_column_is_skipped():
    assert read(f"name,id\nx,{A}\nonly a name\n")[0] == [A]


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;"])
def test_a_line_may_name_the_separator(line):
    """Excel writes and reads it."""
    text = f"{line}\r\nnombre, y más;phone_id\r\nx, y;{A}\r\n"
    assert read(text) == ([A], "phone_id")


def test_after_the_separator_there_may_be_nothing():
    assert read("sep=;\n")[0] == []


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_cell_of_a_csv_may_span_lines(separator):
    text = f'id{separator}note\n{A}{separator}"two\nlines"\n{B}{separator}x\n'
    assert read(text, as_csv=True) == ([A, B], "id")
    assert read(text)[0] == [A, B]


def test_a_csv_row_without_an_id_is_skipped():
    assert read(f"\n{A}\n\n,x\n", as_csv=True)[0] == [A]


def test_a_broken_csv_is_an_error():
    """A missing quote would silently swallow every id after it."""
    with pytest.raises(UnreadableRowError):
        read(f'{A},"lost\n{B},x\n', as_csv=True)


def test_a_broken_quote_in_the_first_row_is_an_error_too():
    with pytest.raises(UnreadableRowError):
        read(f'"{A}"x,y\n', as_csv=True)


@pytest.mark.parametrize("name", ["phone_id", "id"])
def test_a_json_line_has_its_id_by_name(name):
    text = f'{{"{name}": "{A}", "x": 1}}\n\n {{"{name}": "{B.upper()}"}}\r\n'
    assert read(text) == ([A, B], None)


def test_a_phone_id_goes_before_an_id():
    assert read(json.dumps({"id": A, "phone_id": B}))[0] == [B]


@pytest.mark.parametrize(
    "line",
    ['{"phone_id": "', "[1]", '"text"', "{}", '{"id": 1}', "{" * 100_000, "no-id"],
)
def test_a_broken_json_line_is_an_error(line):
    with pytest.raises(UnreadableRowError):
        read(f'{{"id": "{A}"}}\n{line}\n')


OUTCOMES = [(A, "found"), (B, "failed"), ("=x", "failed"), (A, "missing")]
EARLIER_JSON = "".join(
    f'{{"phone_id": "{i}", "outcome": "{o}", "phone": null}}\n' for i, o in OUTCOMES
)
EARLIER_CSV = "phone_id,outcome,id\n" + "".join(
    f"{'' if i != '=x' else chr(39)}{i},{o},{A}\n" for i, o in OUTCOMES
)


@pytest.mark.parametrize("text", [EARLIER_JSON, EARLIER_CSV])
def test_of_an_earlier_output_only_the_failed_rows_count(text):
    reader = reader_of(text)
    assert list(reader) == [UUID(B), "=x"]
    assert reader.left_out == 2


def test_distinct_ids_come_once_and_those_done_not_at_all():
    done = {key_of_text(A)}
    long = "x" * 150
    ids = [UUID(A), UUID(B), UUID(B), "no", "No", "no", long, long + "y"]
    assert list(distinct(ids, done)) == [UUID(B), "no", "No", long]


def test_an_id_has_one_key_however_it_is_written():
    assert key_of(UUID(A)) == key_of_text(A) == key_of_text(A.upper())
    assert key_of("x" * 150) == key_of_text("x" * 100)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_row_of_nothing_but_ids_is_refused(separator):
    """All but the first would be lost."""
    row = separator.join([str(UUID(int=n, version=4)) for n in range(3)])
    with pytest.raises(UnreadableRowError, match="it holds 3 ids"):
        list(IdReader([row]))
