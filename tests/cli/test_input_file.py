"""FILE of a fetch: opened, unpacked, decoded and probed."""

import gzip
import io
import itertools
import os
import re
import shlex
import subprocess
import sys
from uuid import UUID

import pytest

from diga_async._cli.exit_codes import CommandError, ExitCode
from diga_async._cli.input_file import input_file

IDS = [UUID(int=n, version=4) for n in range(1, 6)]
TEXT = "".join(f"{i}\n" for i in IDS)
ROW = '{"phone_id": "%s", "outcome": "found", "phone": null}\n'

pytestmark = pytest.mark.usefixtures("blocking_is_fine")


def opened(path, column=None):
    return input_file(str(path), column=column)


def ids_in(path, content, **options):
    """Return the ids that a file with *content* holds."""
    path.write_bytes(content)
    with opened(path, **options) as source:
        source.find_id()
        return list(source)


def refusal_of(path, content, **options):
    """Return the message of a usage error before any id was handed out."""
    with pytest.raises(CommandError) as caught:
        ids_in(path, content, **options)
    assert caught.value.code is ExitCode.USAGE
    return str(caught.value)


@pytest.mark.parametrize("text", [TEXT, TEXT.rstrip(), "\ufeff" + TEXT])
def test_a_file_is_read_to_its_end(tmp_path, text):
    (tmp_path / "ids.txt").write_text(text, encoding="utf-8")
    with opened(tmp_path / "ids.txt") as source:
        assert source.total == 5
        assert list(source) == IDS
        assert (source.total, source.given) == (5, 5)


def test_the_total_counts_ids_and_not_the_header(tmp_path):
    (tmp_path / "ids.csv").write_text(f"phone_id,note\n{IDS[0]},x\n{IDS[1]},y\n")
    with opened(tmp_path / "ids.csv") as source:
        source.find_id()
        assert source.total == 2


def test_the_total_gets_exact_as_the_file_is_read(tmp_path):
    text = f'# ids\n\nid,note\n{IDS[0]},"two\nlines"\n\n{IDS[1]},x'
    (tmp_path / "ids.csv").write_text(text)
    with opened(tmp_path / "ids.csv") as source:
        assert list(source) == IDS[:2]
        assert source.total == 2


def test_a_file_is_read_as_the_run_goes(tmp_path):
    (tmp_path / "ids.txt").write_text(TEXT)
    with opened(tmp_path / "ids.txt") as source:
        source.find_id()
        assert next(iter(source)) == IDS[0]
        assert (source.given, source.reader.read) == (1, 1)


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode("utf-16"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-16-be"),
        gzip.compress(TEXT.encode(), mtime=0),
        gzip.compress(TEXT.encode("utf-16"), mtime=0),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
    ],
)
def test_encodings_gzip_and_line_ends_are_recognised(tmp_path, content):
    """They are recognised by the first bytes, not by the name."""
    assert ids_in(tmp_path / "ids", content) == IDS


def test_the_name_inside_gz_says_that_it_is_a_csv(tmp_path):
    content = gzip.compress(f'x\n{IDS[0]},"a\nb"\n'.encode())
    assert ids_in(tmp_path / "ids.csv.gz", content) == IDS[:1]


def test_text_that_is_not_utf_8_stops_nothing(tmp_path):
    content = b"\xff\n" + TEXT.encode()
    assert ids_in(tmp_path / "ids.txt", content) == ["\ufffd", *IDS]


@pytest.mark.parametrize("name", ["ids.csv", "ids.TSV"])
def test_a_name_says_that_cells_may_span_lines(tmp_path, name):
    content = f'{IDS[0]},"a\nb"\n'.encode()
    assert ids_in(tmp_path / name, content) == IDS[:1]


def test_a_broken_row_after_good_ones_is_an_early_end_that_names_its_line(tmp_path):
    (tmp_path / "ids.csv").write_text(f'{IDS[0]},x\n{IDS[1]},"x"y\n')
    with opened(tmp_path / "ids.csv") as source:
        source.find_id()
        ids = iter(source)
        assert next(ids) == IDS[0]
        with pytest.raises(CommandError, match=r"line 2 of .*ids\.csv") as caught:
            next(ids)
    assert caught.value.code is ExitCode.STOPPED


def test_a_broken_row_before_any_id_is_wrong_usage(tmp_path):
    assert "line 1 of" in refusal_of(tmp_path / "ids.csv", b'"x"y,z\n')


@pytest.mark.parametrize("count", [1, 99, 100, 5000])
def test_a_file_without_ids_is_refused_with_its_first_line(tmp_path, count):
    names = "\n".join(f"Calle {n}" for n in range(count))
    message = refusal_of(tmp_path / "names.txt", names.encode())
    for words in ("names.txt", "'Calle 0'", "UUID", "--column", "JSON"):
        assert words in message


@pytest.mark.parametrize(
    "line", [f"'{IDS[0]}'", f"https://x.example/{IDS[0]}", f"x;{IDS[0]}", f"{IDS[0]} y"]
)
def test_ids_within_other_text_are_refused_with_a_way_to_take_them_out(tmp_path, line):
    path = tmp_path / "the ids.txt"
    message = refusal_of(path, f"{line}\n".encode())
    command = re.search(r"grep -oiE .* \| diga phone fetch -$", message)[0]
    taken_out = subprocess.run(
        shlex.split(command)[:4], capture_output=True, text=True, check=True
    )
    assert taken_out.stdout == f"{IDS[0]}\n"


@pytest.mark.parametrize("name", ["", "DIGA_API_KEY=", "export KEY="])
@pytest.mark.parametrize("options", [{}, {"column": "phone"}])
def test_a_file_that_holds_the_key_is_not_printed(tmp_path, name, options):
    key = "sk-fa17ed00fa17ed00fa17ed00"
    content = f"{name}{key}\n".encode()
    message = refusal_of(tmp_path / "key", content, **options)
    assert "***" in message
    assert key not in message


def test_an_id_within_the_first_hundred_lines_is_enough(tmp_path):
    bad = [f"no-{n}" for n in range(99)]
    content = "\n".join([*bad, TEXT]).encode()
    assert ids_in(tmp_path / "ids.txt", content) == [*bad, *IDS]
    refusal_of(tmp_path / "ids.txt", b"no\n" + content)


@pytest.mark.parametrize("options", [{}, {"column": "phone"}])
@pytest.mark.parametrize("text", [b"x" * 200_000, b"x," * 100_000])
def test_a_long_first_line_is_cut(tmp_path, text, options):
    assert len(refusal_of(tmp_path / "ids.txt", text, **options)) < 500


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty: it has no ids"),
        ("\n\n", "has no ids (2 lines: empty, or comments)"),
        ("# none today\n", "has no ids (1 line: empty, or comments)"),
    ],
)
def test_a_file_of_nothing_is_refused(tmp_path, text, words):
    assert words in refusal_of(tmp_path / "ids.txt", text.encode())


@pytest.mark.parametrize("text", ["phone_id\n", "id,name\n", "name;phone_id\n\n"])
def test_a_table_without_rows_is_an_empty_list(tmp_path, text):
    assert ids_in(tmp_path / "ids.csv", text.encode()) == []


@pytest.mark.parametrize("name", ["names.txt", "names.csv"])
def test_a_single_line_that_names_no_column_of_ids_is_refused(tmp_path, name):
    """It looks like a header, but more likely the file is the wrong one."""
    assert "'Calle Mayor, 3'" in refusal_of(tmp_path / name, b"Calle Mayor, 3\n")


def test_an_earlier_output_without_failed_rows_is_an_empty_list(tmp_path):
    rows = "".join(ROW % phone_id for phone_id in IDS)
    assert ids_in(tmp_path / "out.jsonl", rows.encode()) == []


def test_a_workbook_is_recognised(tmp_path):
    message = refusal_of(tmp_path / "ids.xlsx", b"PK\x03\x04rest")
    assert "save it as CSV" in message


def test_a_column_that_is_not_there_is_named(tmp_path):
    message = refusal_of(tmp_path / "ids.csv", b"a,b\n1,2\n", column="c")
    assert message.endswith("ids.csv has no column 'c'; it has: a, b")
    assert message.startswith("line 1 of ")


def test_columns_that_are_unclear_are_listed(tmp_path):
    content = f"agent,phone\n{IDS[0]},{IDS[1]}\n".encode()
    message = refusal_of(tmp_path / "ids.csv", content)
    assert message.endswith("give --column NAME, one of: agent, phone")


def test_a_gzip_that_is_cut_short_keeps_the_ids_before(tmp_path):
    many = "".join(f"{UUID(int=n, version=4)}\n" for n in range(5000))
    content = gzip.compress(many.encode())[:-2000]
    (tmp_path / "ids.gz").write_bytes(content)
    read = []
    with opened(tmp_path / "ids.gz") as source:
        source.find_id()
        assert source.total is None
        with pytest.raises(CommandError, match="cut short or damaged") as caught:
            read.extend(source)
        assert source.given > 1000
    assert caught.value.code is ExitCode.STOPPED


def test_a_gz_file_that_is_not_gzip_is_wrong_usage(tmp_path):
    assert "cannot read" in refusal_of(tmp_path / "ids", b"\x1f\x8bnot at all")


def test_a_file_that_cannot_be_opened_is_wrong_usage(tmp_path):
    for name, words in (("no.txt", "no such file"), (".", "is a directory")):
        with (
            pytest.raises(CommandError, match=words) as caught,
            opened(tmp_path / name),
        ):
            pass
        assert caught.value.code is ExitCode.USAGE


def test_a_file_that_cannot_be_read_any_further_ends_the_run(tmp_path, monkeypatch):
    (tmp_path / "ids.txt").write_text(TEXT)

    class Broken(io.BufferedReader):
        def read1(self, _size=-1):
            raise OSError(5, "Input/output error")

    with opened(tmp_path / "ids.txt") as source:
        broken = Broken(io.FileIO(source._descriptor, closefd=False))
        monkeypatch.setattr("diga_async._cli.input_file._unpacked", lambda _: broken)
        with pytest.raises(CommandError, match="input/output error") as caught:
            list(source)
    assert caught.value.code is ExitCode.STOPPED


def test_an_id_in_place_of_a_file_is_recognised():
    with (
        pytest.raises(CommandError, match=f"diga phone get {IDS[0]}"),
        opened(str(IDS[0])),
    ):
        pass


def test_standard_input_stays_open(tmp_path, monkeypatch):
    (tmp_path / "ids.txt").write_text(TEXT)
    with (tmp_path / "ids.txt").open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with opened("-") as source:
            assert list(source) == IDS
            assert source.name == "standard input"
        assert os.fstat(stdin.fileno())


def test_without_standard_input_a_file_is_asked_for(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CommandError, match="no standard input"), opened("-"):
        pass


def test_a_file_is_the_same_however_it_is_named(tmp_path):
    path, link, hard = (tmp_path / name for name in ("ids", "link", "hard"))
    path.write_text(TEXT)
    link.symlink_to(path)
    hard.hardlink_to(path)
    (tmp_path / "copy").write_text(TEXT)
    with opened(path) as source:
        for other in (path, link, hard, tmp_path / "." / "ids"):
            assert source.is_same_file(str(other))
        assert not source.is_same_file(str(tmp_path / "copy"))
        assert not source.is_same_file(str(tmp_path / "none"))


def test_a_device_is_never_the_same_file():
    with opened(os.devnull) as source:
        assert not source.is_same_file(os.devnull)


@pytest.mark.skipif(os.name != "posix", reason="needs /dev/fd")
def test_a_pipe_has_no_total(tmp_path):
    reading, writing = os.pipe()
    os.write(writing, TEXT.encode())
    os.close(writing)
    with opened(f"/dev/fd/{reading}") as source:
        source.find_id()
        assert source.total is None
        assert list(itertools.islice(source, 9)) == IDS
    os.close(reading)


def test_a_quote_that_is_not_closed_is_named_by_the_line_where_it_opens(tmp_path):
    rows = "".join(f"{i},ok\n" for i in IDS)
    path = tmp_path / "ids.csv"
    path.write_text(f'id,note\n{IDS[0]},"open\n{rows}')
    with pytest.raises(CommandError) as caught, opened(path) as source:
        list(source)
    assert str(caught.value).startswith(f"line 2 of {path} cannot be read: it has a")


def test_a_column_without_ids_is_named_with_one_of_its_cells(tmp_path):
    content = f"id,name,number\n{IDS[0]},Ana,+34910000000\n".encode()
    path = tmp_path / "ids.csv"
    said = refusal_of(path, content, column="name")
    assert said.startswith(f"no phone ids in column 'name' of {path}, whose first cell")
    assert said.endswith("is 'Ana'; name another column")
    assert "is a phone number;" in refusal_of(path, content, column="number")


def test_numbers_instead_of_ids_are_answered_with_where_the_ids_are(tmp_path):
    said = refusal_of(tmp_path / "ids.txt", b"+34 910 000 000\n+34 910 000 001\n")
    assert said.endswith("but phone numbers; diga phone list shows the ids of phones")
    assert "910" not in said


def test_two_columns_of_one_name_cannot_be_chosen_by_name(tmp_path):
    said = refusal_of(tmp_path / "ids.csv", f"id,id\n{IDS[0]},{IDS[1]}\n".encode())
    assert said.endswith("2 columns named 'id'; give all but one of them another name")


@pytest.mark.parametrize(
    ("header", "column"),
    [("uuid", 0), ("Phone ID", 0), ("id,phone_id", 1), ("phone_uuid,ids", 0)],
)
def test_the_best_name_of_a_header_names_the_column(tmp_path, header, column):
    row = ",".join(map(str, IDS[: header.count(",") + 1]))
    content = f"{header}\n{row}\n".encode()
    assert ids_in(tmp_path / "ids.csv", content) == [IDS[column]]
