"""FILE of a fetch: opened, unpacked and decoded, and rejected when it holds no ids."""

import gzip
import itertools
import os
import re
import shlex
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import IO
from uuid import UUID

from diga_async._cli.exit_codes import (
    CommandError,
    ExitCode,
    reason_of,
    stopped,
    usage_error,
)
from diga_async._cli.ids import (
    Id,
    IdReader,
    NoSuchColumnError,
    UnclearColumnError,
    UnreadableRowError,
    id_or_text,
    is_phone_number,
)
from diga_async._cli.redaction import HIDDEN, bare, may_be_key, shown
from diga_async._cli.terminal import counted

CSV_SUFFIXES = frozenset({".csv", ".tsv"})
LINES_TO_FIND_AN_ID = 100
SHOWN_CHARACTERS = 80
#: Characters of a cell that are shown.
CELL = 40

_UUID_WITHIN = re.compile(
    "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE
)
_BLOCK = 1 << 20
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0)
_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"


class InputFile:
    """
    The ids of FILE, or of standard input, and how far they were read.

    Attributes:
        name: What messages call it.
        is_regular: Whether it is a file on disk, and not a pipe or a terminal.
        given: How many ids were handed out.
        reader: Reads the ids, and counts what it skips.
    """

    def __init__(
        self, descriptor: int, name: str, *, column: str | None = None
    ) -> None:
        self.name = name
        self.given = 0
        self._descriptor = descriptor
        self._status = os.fstat(descriptor)
        self.is_regular = stat.S_ISREG(self._status.st_mode)
        self._lines = _count_lines(descriptor) if self.is_regular else None
        self._lines_read = 0
        self._first_line = ""
        path = Path(name.removesuffix(".gz"))
        self.reader = IdReader(
            self._numbered(),
            as_csv=path.suffix.lower() in CSV_SUFFIXES,
            column=column,
        )
        self._ids = self._read()

    @property
    def total(self) -> int | None:
        """The number of ids, as far as is known; None for a pipe."""
        if self._lines is None:
            return None
        return self.reader.read + max(0, self._lines - self._lines_read)

    def is_same_file(self, path: str | int) -> bool:
        """Whether *path*, or an open file, is this very file."""
        try:
            return self.is_regular and os.path.samestat(self._status, os.stat(path))  # noqa: PTH116 - it may be a number
        except OSError:
            return False

    def find_id(self) -> None:
        """
        Read until there is an id.

        Raises:
            CommandError: None of the first 100 lines holds one, or the header does
                not say which column does.
        """
        try:
            found = self._read_to_an_id()
        except CommandError as error:
            raise usage_error(str(error)) from None  # nothing was written so far
        self._ids = itertools.chain(found, self._ids)

    def _read_to_an_id(self) -> list[Id]:
        read: list[Id] = []
        for phone_id in itertools.islice(self._ids, LINES_TO_FIND_AN_ID):
            read.append(phone_id)
            if isinstance(phone_id, UUID):
                return read
        if read and self.reader.column is not None:
            raise self._no_ids_in_column(self.reader.column, str(read[0]))
        if read or (self.reader.header and not self.reader.is_named):
            raise self._no_ids()
        # A table that has a header and no rows, or nothing to look up again, is an
        # empty list; a file of nothing is more likely a mistake before this command.
        if not (self.reader.is_named or self.reader.left_out):
            raise self._nothing()
        return read

    def _nothing(self) -> CommandError:
        if not self._lines_read:
            return usage_error(f"{self.name} is empty: it has no ids")
        lines = counted(self._lines_read, "line")
        return usage_error(f"{self.name} has no ids ({lines}: empty, or comments)")

    def _no_ids_in_column(self, column: str, cell: str) -> CommandError:
        first = "a phone number" if is_phone_number(cell) else _shown_start(cell)
        return usage_error(
            f"no phone ids in column {shown(column)} of {self.name}, whose first cell "
            f"is {first}; name another column"
        )

    def _no_ids(self) -> CommandError:
        line = self._first_line.strip()
        if is_phone_number(line):
            return usage_error(
                f"no phone ids in {self.name}, but phone numbers; diga phone list "
                "shows the ids of phones"
            )
        first = HIDDEN if may_be_key(line) else repr(_shortened(line))
        wrong = f"no phone ids in {self.name}, whose first line is {first}"
        if self.is_regular and _UUID_WITHIN.search(self._first_line):
            taken_out = f"grep -oiE '{_UUID_WITHIN.pattern}' {shlex.quote(self.name)}"
            return usage_error(
                f"{wrong}; to take the ids out of other text: {taken_out} | diga phone "
                "fetch -"
            )
        return usage_error(
            f"{wrong}; expected one UUID a line, with its hyphens, a CSV with a column "
            "named phone_id or id (--column names another one), or JSON lines with a "
            "phone_id or id each"
        )

    def __iter__(self) -> Iterator[Id]:
        """
        Yield the ids.

        Raises:
            CommandError: They cannot be read any further.
        """
        for phone_id in self._ids:
            self.given += 1
            yield phone_id

    def _read(self) -> Iterator[Id]:
        try:
            yield from self.reader
        except (OSError, EOFError, zlib.error) as error:
            raise self._unreadable(error) from None
        except UnreadableRowError as error:
            line = self._line(self._lines_read - error.lines + 1)
            raise CommandError(
                ExitCode.STOPPED, f"{line} cannot be read: {error}"
            ) from None
        except NoSuchColumnError as error:
            line = self._line(self._lines_read)
            raise usage_error(
                f"{line} has no column {shown(self.reader.column or '')}; it "
                f"has: {bare(_shortened(str(error)))}"
            ) from None
        except UnclearColumnError as error:
            columns = _shortened(", ".join(error.columns))
            choose = f"give --column NAME, one of: {columns}"
            if not error.columns:
                choose = "give all but one of them another name"
            raise usage_error(f"{self.name} has {error}; {choose}") from None

    def _line(self, number: int) -> str:
        return f"line {number:,} of {self.name}"

    def _unreadable(self, error: Exception) -> CommandError:
        doing = f"cannot read {self.name}"
        if isinstance(error, OSError):
            return stopped(doing, error)
        why = f"{doing}: it is cut short or damaged"
        if self.name == "standard input":
            return CommandError(ExitCode.STOPPED, why)
        test = f"gzip -t {shlex.quote(self.name)}"
        return CommandError(
            ExitCode.STOPPED, f"{why}; copy or pack it again ({test} tests it)"
        )

    def _numbered(self) -> Iterator[str]:
        # Opened here, with the first line: a pipe may keep its readers waiting.
        file = _unpacked(self._descriptor)
        start = _first_bytes(file)
        if start.startswith(_ZIP):
            raise usage_error(
                f"{self.name} is an Excel workbook or a zip; save it as CSV"
            )
        text = TextIOWrapper(
            file, encoding=_encoding_of(start), errors="replace", newline=""
        )
        for line in text:
            self._lines_read += 1
            self._first_line = self._first_line.strip() or line
            yield line


def _shown_start(cell: str) -> str:
    return shown(cell if may_be_key(cell) else cell[:CELL])


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def _unpacked(descriptor: int) -> BufferedReader | gzip.GzipFile:
    file: BufferedReader = open(descriptor, "rb", closefd=False)  # noqa: SIM115 - closed with the descriptor
    return gzip.GzipFile(fileobj=file) if file.peek(2)[:2] == _GZIP else file


def _first_bytes(file: BufferedReader | gzip.GzipFile) -> bytes:
    return file.peek(4)[:4]


def _encoding_of(start: bytes) -> str:
    r"""
    Return the encoding of a text that begins with *start*.

    >>> _encoding_of(b"9b2d"), _encoding_of(b"9\0b\0")
    ('utf-8-sig', 'utf-16-le')
    """
    if start[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return "utf-16"
    if start[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if start[:1] == b"\0" else "utf-8-sig"


def _count_lines(descriptor: int) -> int | None:
    """Return the number of lines in what is left of a file; None if unreadable."""
    begin = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        file: IO[bytes] = _unpacked(descriptor)  # type: ignore[assignment]
        count, last = 0, b"\n"
        while block := file.read(_BLOCK):
            count += block.count(b"\n")
            last = block.rstrip(b"\0")[-1:]
    except (OSError, EOFError, zlib.error):
        return None
    finally:
        os.lseek(descriptor, begin, os.SEEK_SET)
    return count + (last != b"\n")


@contextmanager
def input_file(name: str, *, column: str | None) -> Iterator[InputFile]:
    """
    Open FILE; ``-`` is standard input.

    Raises:
        CommandError: It cannot be opened.
    """
    if not name:
        raise usage_error(
            "FILE is empty, as of a shell variable that is not set; name a file, or - "
            "for standard input"
        )
    if name == "-" and sys.stdin is None:
        raise usage_error("there is no standard input; name a FILE")
    try:
        # Not `sys.stdin`: a thread that waits in it would hold up the exit.
        descriptor = sys.stdin.fileno() if name == "-" else os.open(name, _FLAGS)
    except OSError as error:
        hint = ""
        if isinstance(id_or_text(name), UUID):
            hint = f"; to look up a single phone: diga phone get {name}"
        raise usage_error(
            f"cannot read {bare(name)}: {reason_of(error)}{hint}"
        ) from None
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise usage_error(f"cannot read {name}: it is a directory")
    called = "standard input" if name == "-" else name
    source = InputFile(descriptor, called, column=column)
    try:
        yield source
    finally:
        # A thread may still be reading from a pipe.
        if source.is_regular and name != "-":
            os.close(descriptor)
