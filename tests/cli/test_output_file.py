"""The file a fetch writes to."""

import errno
import os
from collections import Counter
from types import SimpleNamespace
from uuid import UUID

import pytest
from fakes import phone_fields
from hypothesis import HealthCheck, given, settings, strategies as st

from diga_async import (
    APIConnectionError,
    Failed,
    Found,
    Missing,
    Phone,
)
from diga_async._cli import lock as lock_module, output_file as output_module
from diga_async._cli.exit_codes import CommandError, ExitCode
from diga_async._cli.ids import key_of
from diga_async._cli.output_file import format_of, output_file
from diga_async._cli.rows import Csv
from diga_async._models.outcomes import row_of

SUFFIXES = [".jsonl", ".csv"]
IDS = [UUID(int=n, version=4) for n in range(1, 6)]
ROWS = [
    row_of(Found(IDS[0], Phone.from_dict(phone_fields(IDS[0])), 1, 0.1)),
    row_of(Missing(IDS[1], 1, 0.1)),
    row_of(Failed(IDS[2], APIConnectionError("no answer\nat all"), 4, 0.1)),
    row_of(Failed("no, id", APIConnectionError("no answer"), 0, 0.0)),
    row_of(Found(IDS[4], Phone.from_dict(phone_fields(IDS[4], nickname='"')), 1, 0.1)),
]
KEYS = {key_of(i) for i in (*IDS[:3], "no, id", IDS[4])}


@pytest.fixture(params=SUFFIXES)
def path(request, tmp_path):
    return tmp_path / f"out{request.param}"


def opened(path, *, resume, retry_failed):
    return output_file(path, format_of(path), resume=resume, retry_failed=retry_failed)


async def write(path, *rows, resume=False, retry_failed=False):
    with opened(path, resume=resume, retry_failed=retry_failed) as output:
        for row in rows:
            await output.write(row)
        output.finish()
        return output


def stock(path, **options):
    options = {"resume": True, "retry_failed": False, **options}
    with opened(path, **options) as output:
        return output


def refused(path, **options):
    with pytest.raises(CommandError) as caught:
        stock(path, **options)
    assert caught.value.code is ExitCode.USAGE
    return str(caught.value)


pytestmark = pytest.mark.usefixtures("blocking_is_fine")


async def test_the_next_run_knows_the_rows(path):
    written = await write(path, *ROWS)
    again = stock(path)
    assert again.done == KEYS
    assert again.outcomes == written.outcomes == Counter(found=2, failed=2, missing=1)
    assert again.torn_bytes == 0


async def test_the_next_run_appends(path):
    await write(path, *ROWS[:2])
    first = path.read_bytes()
    await write(path, *ROWS[2:], resume=True)
    assert path.read_bytes().startswith(first)
    assert stock(path).done == KEYS


async def test_resuming_a_file_that_is_not_there_starts_it(path):
    await write(path, ROWS[0], resume=True)
    assert stock(path).outcomes.total() == 1


def test_a_csv_begins_with_its_header_even_when_empty(tmp_path):
    stock(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == Csv.header


@pytest.mark.parametrize("resume", [False, True])
async def test_a_file_that_the_run_created_can_be_removed_until_it_has_a_row(
    path, resume
):
    with opened(path, resume=resume, retry_failed=False) as output:
        assert path.exists()
        output.remove_if_untouched()
    assert not path.exists()
    with opened(path, resume=resume, retry_failed=False) as output:
        await output.write(ROWS[0])
        output.remove_if_untouched()
    assert stock(path).outcomes.total() == 1


def test_a_folder_in_the_place_of_a_file_is_recognised(path):
    path.mkdir()
    assert refused(path, resume=False).endswith("is a directory; name a file in it")


async def test_a_file_that_was_there_is_never_removed(path):
    path.touch()
    with opened(path, resume=True, retry_failed=False) as output:
        output.remove_if_untouched()
    assert path.exists()


async def test_a_file_in_the_place_of_ours_is_never_removed(path):
    with opened(path, resume=False, retry_failed=False) as output:
        path.rename(path.with_name("moved"))
        path.write_text("mine")
        output.remove_if_untouched()
    assert path.read_text() == "mine"


async def test_the_failed_ids_of_earlier_runs_are_known(path):
    await write(path, *ROWS)
    failures = stock(path).failures
    assert (failures.passing, failures.malformed) == (1, 1)
    said = f"failed: {IDS[2]}: failed in an earlier run: no answer at all"
    assert failures.first[0] == said
    assert failures.first[1].startswith("failed: 'no, id': a phone id is a UUID")
    assert stock(path, retry_failed=True).failures.count == 0


async def test_a_file_that_exists_is_left_alone(path):
    path.write_text("mine")
    assert "exists" in refused(path, resume=False)
    assert path.read_text() == "mine"


@settings(
    deadline=None,  # a disk is slow
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
async def test_a_torn_end_is_cut_off_wherever_it_was_torn(path, data):
    path.unlink(missing_ok=True)
    await write(path, *ROWS[:2])
    whole = path.read_bytes()
    await write(path, ROWS[2], resume=True)
    size = data.draw(st.integers(len(whole) + 1, path.stat().st_size - 1))
    os.truncate(path, size)
    again = stock(path)
    assert again.torn_bytes == size - len(whole)
    assert path.read_bytes() == whole
    assert again.outcomes == Counter(found=1, missing=1)


@pytest.mark.parametrize("size", [1, len(Csv.header) - 1])
def test_a_torn_header_is_written_again(tmp_path, size):
    path = tmp_path / "out.csv"
    path.write_bytes(Csv.header[:size])
    assert stock(path).torn_bytes == size
    assert path.read_bytes() == Csv.header


def test_another_set_of_columns_is_refused(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("phone_id,outcome,number\n")
    assert "columns" in refused(path)
    assert path.read_text() == "phone_id,outcome,number\n"


@pytest.mark.parametrize("text", ["hello", "hello\n", '{"a": 1}\n', "{}\n\n"])
def test_a_file_of_other_content_is_refused(tmp_path, text):
    path = tmp_path / "out.jsonl"
    path.write_text(text)
    assert "row 1 is not one that this command writes" in refused(path)
    assert path.read_text() == text


async def test_a_bad_row_in_the_middle_is_refused(path):
    """It is not torn, and its outcome is unknown."""
    await write(path, *ROWS)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1 + (path.suffix == ".csv")] = b'{"phone_id": \n'
    path.write_bytes(b"".join(lines))
    assert "row 2 is not one that this command writes" in refused(path)
    assert path.read_bytes() == b"".join(lines)


async def test_a_second_run_on_the_same_file_is_refused(path):
    await write(path, ROWS[0])
    with opened(path, resume=True, retry_failed=False):
        assert "another run" in refused(path)
        assert "another run" in refused(path, retry_failed=True)
    stock(path)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
async def test_failed_rows_are_dropped(path):
    await write(path, *ROWS)
    path.chmod(0o664)
    again = stock(path, retry_failed=True)
    assert again.done == {key_of(i) for i in (IDS[0], IDS[1], IDS[4])}
    assert again.outcomes == Counter(found=2, missing=1)
    assert path.stat().st_mode & 0o777 == 0o664
    assert list(path.parent.iterdir()) == [path]


async def test_without_failed_rows_the_file_stays_the_same_one(path):
    await write(path, *ROWS[:2])
    before = path.stat().st_ino
    stock(path, retry_failed=True)
    assert path.stat().st_ino == before


async def test_the_lock_outlives_the_replacement(path):
    await write(path, *ROWS)
    with opened(path, resume=True, retry_failed=True) as output:
        assert "another run" in refused(path)
        await output.write(ROWS[2])
    assert stock(path).outcomes == Counter(found=2, missing=1, failed=1)


async def test_the_lock_is_on_the_new_file_before_it_takes_its_place(path, monkeypatch):
    """A run that starts between the two steps would lock it too."""
    await write(path, *ROWS)
    replace, refusals = os.replace, []

    def replace_and_try(source, target):
        refusals.append(refused(path))
        replace(source, target)
        refusals.append(refused(path))

    monkeypatch.setattr("pathlib.Path.replace", replace_and_try)
    stock(path, retry_failed=True)
    assert [("another run" in refusal) for refusal in refusals] == [True, True]


async def test_a_file_that_was_replaced_while_it_was_locked_is_opened_again(
    path, monkeypatch
):
    await write(path, *ROWS)
    lock, fresh = lock_module.lock, path.with_name("fresh")

    def replaced_first(descriptor):
        if fresh.exists():
            fresh.replace(path)
        return lock(descriptor)

    fresh.write_bytes(b"" if path.suffix == ".jsonl" else Csv.header)
    monkeypatch.setattr(lock_module, "lock", replaced_first)
    assert stock(path).outcomes.total() == 0


async def test_a_file_that_was_removed_while_it_was_locked_is_created_again(
    path, monkeypatch
):
    lock, removed = lock_module.lock, []

    def removed_first(descriptor):
        if not removed:
            path.unlink()
            removed.append(True)
        return lock(descriptor)

    monkeypatch.setattr(lock_module, "lock", removed_first)
    await write(path, ROWS[0], resume=True)
    assert stock(path).outcomes.total() == 1


@pytest.mark.parametrize("step", ["fsync", "replace", "write"])
async def test_a_replacement_that_fails_leaves_the_file_as_it_was(
    path, monkeypatch, step
):
    await write(path, *ROWS)
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    where = "pathlib.Path.replace" if step == "replace" else f"os.{step}"
    with monkeypatch.context() as patch:
        patch.setattr(where, full)
        with pytest.raises(CommandError) as caught:
            stock(path, retry_failed=True)
    assert caught.value.code is ExitCode.STOPPED
    assert "no space left on device" in str(caught.value)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


async def test_the_rest_of_a_killed_replacement_is_removed(path):
    await write(path, *ROWS)
    path.with_name(f".{path.name}.retry").write_text("half")
    assert stock(path, retry_failed=True).outcomes["failed"] == 0
    assert list(path.parent.iterdir()) == [path]


async def test_where_open_files_cannot_move_they_are_closed_first(path, monkeypatch):
    monkeypatch.setattr(output_module, "OPEN_FILES_CAN_MOVE", False)
    await write(path, *ROWS)
    with opened(path, resume=True, retry_failed=True) as output:
        assert "another run" in refused(path)
        await output.write(ROWS[2])
    assert stock(path).outcomes == Counter(found=2, missing=1, failed=1)


async def test_a_row_that_does_not_fit_leaves_nothing_behind(path, monkeypatch):
    write_one = os.write

    def half_of_it(descriptor, line):
        if len(line) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_one(descriptor, line[: len(line) // 2])

    await write(path, ROWS[0])
    before = path.read_bytes()
    with opened(path, resume=True, retry_failed=False) as output:
        monkeypatch.setattr(os, "write", half_of_it)
        with pytest.raises(CommandError, match="no space left on device") as caught:
            await output.write(ROWS[1])
    assert caught.value.code is ExitCode.STOPPED
    assert path.read_bytes() == before


async def test_a_disk_that_fails_at_the_end_is_an_error(path, monkeypatch):
    def broken(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(CommandError, match="input/output error"):
        await write(path, ROWS[0])


@pytest.mark.skipif(os.name != "posix", reason="named pipes of POSIX")
@pytest.mark.parametrize("resume", [False, True])
def test_only_a_regular_file_is_written_to(tmp_path, resume):
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "link.csv").symlink_to(tmp_path / "pipe.csv")
    (tmp_path / "circle.csv").symlink_to(tmp_path / "circle.csv")
    why = {
        "folder": "is a directory",
        "pipe": "not a regular file",
        "link": "not a regular file",
        "circle": "symbolic links",
    }
    for name, words in why.items():
        expected = words if resume else "exists"
        assert expected in refused(tmp_path / f"{name}.csv", resume=resume)


async def test_a_symbolic_link_is_followed(tmp_path):
    """Results on another disk are linked to."""
    link, target = tmp_path / "out.csv", tmp_path / "elsewhere" / "rows"
    target.parent.mkdir()
    link.symlink_to(target)

    await write(link, ROWS[2], ROWS[0])
    assert "exists" in refused(link, resume=False)
    with opened(link, resume=True, retry_failed=False):
        assert "another run" in refused(target.parent / ".." / "out.csv")
    await write(link, ROWS[1], resume=True, retry_failed=True)

    assert link.is_symlink()
    assert target.read_bytes().count(b"\n") == 3
    assert b"failed" not in target.read_bytes()
    assert [file.name for file in target.parent.iterdir()] == ["rows"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    message = refused(tmp_path / "no" / "out.csv")
    assert "no such file or directory; create its folder: mkdir -p " in message
    assert message.endswith("/no")


@pytest.mark.parametrize("name", ["out", "out.txt", "out.json", "out.csv.gz"])
def test_a_name_must_ask_for_a_format(tmp_path, name):
    with pytest.raises(CommandError, match=r"\.jsonl or \.csv"):
        format_of(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_raw_cells_are_for_csv_only(tmp_path):
    assert format_of(tmp_path / "out.csv", csv_raw=True) == Csv(raw=True)
    with pytest.raises(CommandError, match="--csv-raw"):
        format_of(tmp_path / "out.jsonl", csv_raw=True)


BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize("mark", [b"", BYTE_ORDER_MARK])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
async def test_an_editor_may_change_line_ends_and_add_a_byte_order_mark(
    path, mark, line_end
):
    await write(path, *ROWS[:2], ROWS[4])
    edited = mark + path.read_bytes().replace(b"\n", line_end)
    path.write_bytes(edited)

    await write(path, ROWS[2], resume=True)
    again = stock(path)
    assert path.read_bytes().startswith(edited)
    assert again.done == {key_of(i) for i in (*IDS[:3], IDS[4])}

    await write(path, ROWS[3], resume=True, retry_failed=True)
    assert stock(path).outcomes == Counter(found=2, missing=1, failed=1)


@pytest.mark.parametrize("mark", [b"", BYTE_ORDER_MARK])
async def test_a_row_torn_before_its_line_feed_is_cut_off(path, mark):
    await write(path, *ROWS[:2])
    whole = mark + path.read_bytes().replace(b"\n", b"\r\n")
    path.write_bytes(whole[:-1])
    again = stock(path)
    assert again.torn_bytes
    assert again.done == {key_of(IDS[0])}
    assert whole.startswith(path.read_bytes())


@pytest.mark.parametrize("end", [b"", b"\r"])
def test_a_header_without_its_line_feed_is_written_again(tmp_path, end):
    path = tmp_path / "out.csv"
    path.write_bytes(Csv.header.rstrip() + end)
    assert stock(path).torn_bytes
    assert path.read_bytes() == Csv.header


def removed(path):
    path.unlink()


def renamed(path):
    path.rename(path.with_name("other"))


def replaced(path):
    path.with_name("other").write_bytes(path.read_bytes())
    path.with_name("other").replace(path)


def truncated(path):
    os.truncate(path, 0)


def appended(path):
    with path.open("ab") as file:
        file.write(b"hello\n")


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (removed, "removed, renamed or replaced"),
        (renamed, "removed, renamed or replaced"),
        (replaced, "removed, renamed or replaced"),
        (truncated, "cut short"),
        (appended, "written to by another program"),
    ],
)
@pytest.mark.parametrize("step", ["write", "finish"])
async def test_a_file_that_others_change_ends_the_run(path, tamper, words, step):
    with opened(path, resume=False, retry_failed=False) as output:
        await output.write(ROWS[0])
        tamper(path)
        with pytest.raises(CommandError, match=words) as caught:
            await output.write(ROWS[1]) if step == "write" else output.finish()
        assert output.is_damaged
        assert output.outcomes.total() == 1
    assert caught.value.code is ExitCode.STOPPED
    assert str(path) in str(caught.value)


async def test_a_folder_that_turned_into_a_file_ends_the_run(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with opened(folder / "out.csv", resume=False, retry_failed=False) as output:
        folder.rename(tmp_path / "elsewhere")
        folder.write_text("")
        with pytest.raises(CommandError, match="not a directory"):
            output.finish()


async def test_a_full_disk_does_not_lengthen_a_file_that_was_cut_short(
    path, monkeypatch
):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    await write(path, ROWS[0])
    with opened(path, resume=True, retry_failed=False) as output:
        os.truncate(path, 10)
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(CommandError, match="no space left"):
            await output.write(ROWS[1])
    assert path.stat().st_size == 10


def is_root():
    return hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.mark.skipif(not is_root(), reason="only root can give files away")
async def test_a_replacement_keeps_owner_group_and_mode(path):
    """A run of root must not take OUT away from its owner."""
    await write(path, *ROWS)
    os.chown(path, 1234, 1235)
    path.chmod(0o640)
    stock(path, retry_failed=True)
    status = path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (1234, 1235, 0o640)


@pytest.mark.skipif(os.name != "posix", reason="owners of POSIX")
async def test_without_the_right_to_keep_its_owner_a_file_is_not_replaced(
    path, monkeypatch
):
    """Its owner could no longer resume it."""

    def forbidden(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    def as_if_of_another_user(output, descriptor, _):
        keep_owner(output, descriptor, SimpleNamespace(st_uid=1234, st_gid=1235))

    await write(path, *ROWS)
    before = path.read_bytes()
    keep_owner = output_module.OutputFile._keep_owner
    monkeypatch.setattr(output_module.OutputFile, "_keep_owner", as_if_of_another_user)
    monkeypatch.setattr(os, "fchown", forbidden)
    assert "1234:1235" in refused(path, retry_failed=True)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
