"""
The file a fetch writes to: one run at a time, whole rows, nothing lost or done twice.

What is done is not kept anywhere else: the file itself says so.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from diga_async._cli import lock
from diga_async._cli.exit_codes import CommandError, reason_of, stopped, usage_error
from diga_async._cli.ids import Key, key_of_text
from diga_async._cli.rows import Csv, Format, JsonLines, Row

FORMATS: dict[str, type[Format]] = {".jsonl": JsonLines, ".csv": Csv}

_FLAGS = (
    os.O_RDWR
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a named pipe must not hold us up
    | getattr(os, "O_BINARY", 0)
)
# Windows renames no file that is open.
OPEN_FILES_CAN_MOVE = os.name != "nt"


def format_of(path: Path) -> Format:
    """
    Return the format that the name asks for.

    Raises:
        CommandError: It asks for none.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise usage_error(f"the name of OUT must end in .jsonl or .csv: {path}")
    return kind()


class OutputFile:
    """
    An open OUT, locked.

    Attributes:
        path: Where it is.
        outcomes: How many of its rows are found, missing and failed.
        done: The keys of the ids it has a row for.
        torn_bytes: What was cut off its end when it was opened.
    """

    def __init__(self, path: Path, form: Format, descriptor: int) -> None:
        self.path = path
        self.outcomes: Counter[str] = Counter()
        self.done: set[Key] = set()
        self.torn_bytes = 0
        self._format = form
        self._descriptor = descriptor
        self._end = 0

    async def write(self, row: Row) -> None:
        """
        Append one row, at once.

        Raises:
            CommandError: It could not be written; nothing of it is left.
        """
        self._append(self._format.encode(row))
        self.outcomes[row["outcome"]] += 1

    def _append(self, line: bytes) -> None:
        try:
            _write_all(self._descriptor, line)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._end)
            raise stopped(f"cannot write to {self.path}", error) from None
        self._end += len(line)

    def take_stock(self) -> None:
        """
        Read what is there; cut off what was torn.

        Raises:
            CommandError: It is not a file that this version would go on with.
        """
        size = os.fstat(self._descriptor).st_size
        for record, phone_id, outcome in self._rows():
            self._end += len(record)
            self.outcomes[outcome] += 1
            self.done.add(key_of_text(phone_id))
        self.torn_bytes = size - self._end
        os.ftruncate(self._descriptor, self._end)
        if not self._end:
            self._append(self._format.header)

    def _rows(self) -> Iterator[tuple[bytes, str, str]]:
        with open(self._descriptor, "rb", closefd=False) as file:
            file.seek(0)
            if not self._has_header(file.readline(len(self._format.header))):
                return
            for number, record in enumerate(self._format.records(file), 1):
                row = self._format.decode(record)
                if row is None and self._format.is_torn(record) and not file.read(1):
                    return
                if row is None:
                    raise self._refusal(f"row {number} is not one of ours")
                yield record, *row

    def _has_header(self, start: bytes) -> bool:
        """Whether the header is there, or else nothing is, or a torn header."""
        header = self._format.header
        if start == header:
            self._end = len(header)
            return True
        if not header.startswith(start):
            raise self._refusal("its columns are not those this version writes")
        return False

    def _refusal(self, why: str) -> CommandError:
        return usage_error(
            f"cannot go on with {self.path}: {why}; choose another OUT (nothing was "
            "changed)"
        )

    def drop_failed(self) -> None:
        """
        Replace the file, in one step, by one without its failed rows.

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
        mode = stat.S_IMODE(os.fstat(self._descriptor).st_mode)
        temporary.unlink(missing_ok=True)  # of a run that was killed right here
        descriptor = os.open(temporary, _FLAGS | os.O_EXCL, 0o600)
        try:
            temporary.chmod(mode)
            # Locked before it takes its place, so that OUT is never without a lock.
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

    def _copy_to(self, descriptor: int) -> None:
        self._end = 0
        self.done.clear()
        self.outcomes.clear()
        _write_all(descriptor, self._format.header)
        for record, phone_id, outcome in self._rows():
            if outcome != "failed":
                _write_all(descriptor, record)
                self._end += len(record)
                self.outcomes[outcome] += 1
                self.done.add(key_of_text(phone_id))

    def _put_in_place(self, temporary: Path, descriptor: int) -> int:
        if not OPEN_FILES_CAN_MOVE:
            os.close(self._descriptor)
            os.close(descriptor)
            temporary.replace(self.path)
            return _open_locked(self.path)
        temporary.replace(self.path)
        os.close(self._descriptor)
        return descriptor

    def close(self) -> None:
        """Make sure that it outlasts a power failure; let the next run have it."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise stopped(f"cannot write to {self.path}", error) from None
        finally:
            os.close(self._descriptor)


@contextmanager
def output_file(
    path: Path, *, resume: bool, retry_failed: bool
) -> Iterator[OutputFile]:
    """
    Open OUT.

    Raises:
        CommandError: It is there and *resume* is false, another run has it,
            or it cannot be used. Nothing was changed.
    """
    form = format_of(path)
    path = _target_of(path)
    output = OutputFile(path, form, _open_locked(path, is_new=not resume))
    try:
        output.take_stock()
        if retry_failed:
            output.drop_failed()
        yield output
    finally:
        output.close()


def _target_of(path: Path) -> Path:
    """Follow a symbolic link, so that what takes OUT's place leaves the link alone."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _open_locked(path: Path, *, is_new: bool = False) -> int:
    try:
        while True:
            descriptor = os.open(path, _FLAGS | (os.O_EXCL if is_new else 0), 0o666)
            try:
                if _is_ours(descriptor, path):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
    except FileExistsError:
        raise usage_error(
            f"{path} exists; nothing was touched. --resume goes on where it ends"
        ) from None
    except OSError as error:
        raise usage_error(f"cannot open {path}: {reason_of(error)}") from None


def _is_ours(descriptor: int, path: Path) -> bool:
    """Lock the open file; say whether it is still the one at *path*."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise usage_error(f"cannot write to {path}: it is no ordinary file")
    if not lock.lock(descriptor):
        raise usage_error(f"another run is writing to {path}; nothing was touched")
    # A run that dropped failed rows may just have put another file there.
    return lock.is_at(descriptor, str(path))


def _write_all(descriptor: int, line: bytes) -> None:
    """Write *line*: in one go, but when the disk is filling up."""
    left = memoryview(line)
    while left:
        left = left[os.write(descriptor, left) :]


def _sync_folder(folder: Path) -> None:
    """Make sure that a new name outlasts a power failure, where that can be said."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
