"""
The file a fetch writes to: one run at a time, whole rows, nothing lost or repeated.

Progress is kept nowhere else: the rows in the file say which ids are done.
"""

import os
import shlex
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from diga_async._cli import lock
from diga_async._cli.exit_codes import (
    CommandError,
    ExitCode,
    reason_of,
    stopped,
    usage_error,
)
from diga_async._cli.failures import Failures
from diga_async._cli.ids import Key, key_of_text
from diga_async._cli.redaction import bare
from diga_async._cli.rows import Csv, Format, JsonLines, Row

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FLAGS = (
    os.O_RDWR
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # opening a named pipe must not block
    | getattr(os, "O_BINARY", 0)
)
# Windows cannot rename an open file.
OPEN_FILES_CAN_MOVE = os.name != "nt"


def format_of(
    path: Path,
    *,
    csv_raw: bool = False,
    lines: Callable[[], Format] = JsonLines,
    table: Callable[[bool], Format] = Csv,
) -> Format:
    """
    Return the format that the suffix of *path* names.

    Args:
        path: OUT.
        csv_raw: Whether CSV cells are written as they are.
        lines: Makes the format of JSON lines.
        table: Makes that of CSV, raw or not.

    Raises:
        CommandError: It names no format, or *csv_raw* does not apply to it.
    """
    match path.suffix.lower():
        case ".csv":
            return table(csv_raw)
        case ".jsonl" if csv_raw:
            raise usage_error(f"--csv-raw needs an OUT that ends in .csv, not {path}")
        case ".jsonl":
            return lines()
        case _:
            raise usage_error(suffix_message(path, ".jsonl or .csv"))


def suffix_message(path: Path, suffixes: str) -> str:
    """Return what is wrong with the name of an OUT that ends in none of *suffixes*."""
    if str(path) == "-":
        return "standard output is where rows go without -o; leave -o - out"
    return f"the name of OUT must end in {suffixes}: {bare(str(path))}"


class OutputFile:
    """
    An open OUT, locked.

    Attributes:
        path: Where it is.
        outcomes: How many of its rows are found, missing and failed.
        done: The keys of the ids that have a row.
        failures: Those that failed.
        torn_bytes: The length of the torn row that was cut off on opening.
        is_damaged: Whether another program took rows away during the run.
        is_new: Whether the run created it.
    """

    def __init__(
        self, path: Path, form: Format, descriptor: int, *, is_new: bool = False
    ) -> None:
        self.path = path
        self.is_new = is_new
        self.outcomes: Counter[str] = Counter()
        self.done: set[Key] = set()
        self.failures = Failures()
        self.torn_bytes = 0
        self.is_damaged = False
        self._format = form
        self._descriptor = descriptor
        self._end = 0

    async def write(self, row: Row) -> None:
        """
        Append one row, unbuffered.

        Raises:
            CommandError: It could not be written, and nothing of it is left;
                or the file is no longer what the run has written.
        """
        self._append(self._format.encode(row))
        self._check()
        self.outcomes[self._format.outcome_of(row)] += 1

    def _append(self, line: bytes) -> None:
        try:
            _write_all(self._descriptor, line)
        except OSError as error:
            with suppress(OSError):
                if os.fstat(self._descriptor).st_size > self._end:
                    os.ftruncate(self._descriptor, self._end)
            raise stopped(f"cannot write to {self.path}", error) from None
        self._end += len(line)

    def _check(self) -> None:
        """Make sure that the path still names this file, with all its rows."""
        try:
            size = os.fstat(self._descriptor).st_size
            is_there = lock.is_at(self._descriptor, str(self.path))
        except OSError as error:
            raise self._damage(
                f"cannot be read any more ({reason_of(error)})"
            ) from None
        if not is_there:
            raise self._damage("was removed, renamed or replaced")
        if size < self._end:
            raise self._damage("was cut short")
        if size > self._end:
            raise self._damage("was written to by another program")

    def _damage(self, what: str) -> CommandError:
        self.is_damaged = True
        reason = f"{self.path} {what} while this run wrote to it"
        return CommandError(ExitCode.STOPPED, reason)

    def finish(self) -> None:
        """
        Make sure that the rows are there and outlast a power failure.

        Raises:
            CommandError: That cannot be made sure.
        """
        self._check()
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise stopped(f"cannot write to {self.path}", error) from None

    def read_rows(self) -> None:
        """
        Read which ids are done; cut off a torn row.

        Raises:
            CommandError: The rows are not those that this version writes.
        """
        size = os.fstat(self._descriptor).st_size
        for record, phone_id, outcome in self._rows():
            self._end += len(record)
            self.outcomes[outcome] += 1
            self.done.add(key_of_text(phone_id))
            if outcome == "failed":
                self.failures.add_earlier(phone_id, record)
            elif outcome == "missing":
                self.failures.add_missing(phone_id)
        self.torn_bytes = size - self._end
        os.ftruncate(self._descriptor, self._end)
        if not self._end:
            self._append(self._format.header)

    def _rows(self) -> Iterator[tuple[bytes, str, str]]:
        """Yield the whole rows; `_end` is left after the header."""
        with open(self._descriptor, "rb", closefd=False) as file:
            file.seek(0)
            # An editor may have added a byte order mark and CRLF line ends.
            mark = file.read(len(BYTE_ORDER_MARK))
            start = len(mark) if mark == BYTE_ORDER_MARK else 0
            file.seek(start)
            header = file.readline(len(self._format.header) + 1)
            if not self._has_header(header if self._format.header else b""):
                return
            self._end = file.seek(start + self._end)
            for number, record in enumerate(self._format.records(file), 1):
                row = self._format.decode(record)
                if row is None and self._format.is_torn(record) and not file.read(1):
                    return
                if row is None:
                    raise self._refusal(
                        f"row {number} is not one that this command writes"
                    )
                yield record, *row

    def _has_header(self, line: bytes) -> bool:
        """Return whether *line* is the header; set `_end` to its length."""
        header = self._format.header
        self._end = 0
        if line.rstrip(b"\r\n") == header.rstrip(b"\n"):
            is_whole = line.endswith(b"\n") or not header
            self._end = len(line) if is_whole else 0
            return is_whole
        if line.endswith(b"\n") or not header.startswith(line):
            raise self._refusal("its columns are not those that this command writes")
        return False

    def _refusal(self, why: str) -> CommandError:
        return usage_error(
            f"cannot resume {self.path}: {why}; choose another OUT (nothing was "
            "changed)"
        )

    def drop_failed(self) -> None:
        """
        Replace the file, in one step, by one without its failed rows.

        Owner, group and mode stay the same.

        Raises:
            CommandError: It could not be done; the file is as it was.
        """
        if not self.outcomes["failed"]:
            return
        try:
            self._replace_by(self.path.with_name(f".{self.path.name}.retry"))
        except OSError as error:
            raise stopped(f"cannot rewrite {self.path}", error) from None

    def _replace_by(self, temporary: Path) -> None:
        before = os.fstat(self._descriptor)
        temporary.unlink(missing_ok=True)  # left by a run that was killed right here
        descriptor = os.open(temporary, _FLAGS | os.O_EXCL, 0o600)
        try:
            self._keep_owner(descriptor, before)
            temporary.chmod(stat.S_IMODE(before.st_mode))
            # Locked before it replaces OUT, so that OUT is never without a lock.
            lock.lock(descriptor)
            self._copy_to(descriptor)
            os.fsync(descriptor)
            descriptor = self._put_in_place(temporary, descriptor)
        except BaseException:
            temporary.unlink(missing_ok=True)
            with suppress(OSError):  # it may be closed already
                os.close(descriptor)
            raise
        self._descriptor = descriptor
        _sync_folder(self.path.parent)

    def _keep_owner(self, descriptor: int, before: os.stat_result) -> None:
        owner = before.st_uid, before.st_gid
        now = os.fstat(descriptor)
        if (now.st_uid, now.st_gid) == owner:
            return
        try:
            os.fchown(descriptor, *owner)
        except PermissionError:
            raise usage_error(
                f"cannot rewrite {self.path}: only its owner or root can keep its "
                f"owner and group ({owner[0]}:{owner[1]}); nothing was changed"
            ) from None

    def _copy_to(self, descriptor: int) -> None:
        end = len(self._format.header)
        done, outcomes = set[Key](), Counter[str]()
        _write_all(descriptor, self._format.header)
        for record, phone_id, outcome in self._rows():
            if outcome != "failed":
                _write_all(descriptor, record)
                end += len(record)
                outcomes[outcome] += 1
                done.add(key_of_text(phone_id))
        self._end, self.done, self.outcomes = end, done, outcomes
        self.failures = Failures()

    def _put_in_place(self, temporary: Path, descriptor: int) -> int:
        if not OPEN_FILES_CAN_MOVE:
            os.close(self._descriptor)
            os.close(descriptor)
            temporary.replace(self.path)
            return _open_locked(self.path, resume=True)[0]
        temporary.replace(self.path)
        os.close(self._descriptor)
        return descriptor

    def remove_if_untouched(self) -> None:
        """Remove a file that the run created, and that has no rows."""
        if self.is_new and not self.outcomes and not self.is_damaged:
            with suppress(CommandError, OSError):  # Windows removes no open file
                self._check()
                self.path.unlink()

    def close(self) -> None:
        """Close the file and end its lock."""
        os.close(self._descriptor)


@contextmanager
def output_file(
    path: Path, form: Format, *, resume: bool, retry_failed: bool = False
) -> Iterator[OutputFile]:
    """
    Open OUT.

    Raises:
        CommandError: It exists and *resume* is false, another run has it,
            or it cannot be used. Nothing was changed.
    """
    path = _target_of(path)
    descriptor, is_new = _open_locked(path, resume=resume)
    output = OutputFile(path, form, descriptor, is_new=is_new)
    try:
        output.read_rows()
        if retry_failed:
            output.drop_failed()
        yield output
    finally:
        output.close()


def refuse_existing(path: Path) -> None:
    """
    Refuse an OUT that exists; one that cannot be looked for is refused when opened.

    Raises:
        CommandError: It exists.
    """
    if os.path.exists(path):  # noqa: PTH110 - `Path.exists` raises for a long name
        raise _exists_error(path)


def _exists_error(path: Path) -> CommandError:
    if path.is_dir():
        return usage_error(f"{path} exists and is a directory; name a file in it")
    return usage_error(
        f"{path} exists; nothing was touched. --resume continues where it ends"
    )


def _target_of(path: Path) -> Path:
    """Follow a symbolic link, so that replacing OUT leaves the link alone."""
    is_link = os.path.islink(path)  # noqa: PTH114 - the method raises for a long name
    return Path(os.path.realpath(path)) if is_link else path


def _open_locked(path: Path, *, resume: bool) -> tuple[int, bool]:
    """Open *path*; return its descriptor, and whether it was created."""
    try:
        while True:
            descriptor, is_new = _open(path, resume=resume)
            try:
                if _is_ours(descriptor, path):
                    return descriptor, is_new
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
    except FileExistsError:
        raise _exists_error(path) from None
    except FileNotFoundError as error:
        raise usage_error(no_folder_message(path, error)) from None
    except OSError as error:
        raise usage_error(f"cannot open {path}: {reason_of(error)}") from None


def _open(path: Path, *, resume: bool) -> tuple[int, bool]:
    try:
        return os.open(path, _FLAGS | os.O_EXCL, 0o666), True
    except FileExistsError:
        if not resume:
            raise
        return os.open(path, _FLAGS, 0o666), False


def no_folder_message(path: Path, error: OSError) -> str:
    """Return why a file could not be created, and the folder that it lacks."""
    if path.parent.is_dir():
        return f"cannot open {path}: {reason_of(error)}"
    folder = shlex.quote(str(path.parent))
    return (
        f"cannot open {path}: {reason_of(error)}; create its folder: mkdir -p {folder}"
    )


def _is_ours(descriptor: int, path: Path) -> bool:
    """Lock the open file; return whether it is still the one at *path*."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise usage_error(f"cannot write to {path}: it is not a regular file")
    if not lock.lock(descriptor):
        raise usage_error(f"another run is writing to {path}; nothing was touched")
    # A run that dropped failed rows may just have put another file there.
    return lock.is_at(descriptor, str(path))


def _write_all(descriptor: int, line: bytes) -> None:
    """Write *line*, in one call unless the disk is filling up."""
    left = memoryview(line)
    while left:
        left = left[os.write(descriptor, left) :]


def _sync_folder(folder: Path) -> None:
    """Make sure that a new name outlasts a power failure, where that is possible."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
