"""Phone ids out of lines of text: one a line, or the first column of a CSV."""

import csv
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from uuid import UUID

from diga_async import InvalidPhoneIdError
from diga_async._api.phones import phone_id_of

SEPARATORS = ",;\t"
KEY_CHARACTERS = 100
_SEPARATOR = re.compile(f"[{SEPARATORS}]")
_NAME_OF_IDS = re.compile(r"(phone)?[ _-]?(id|uuid)s?", re.IGNORECASE)

Id = UUID | str
Key = bytes | str


def ids_in(
    lines: Iterable[str], *, as_csv: bool, on_header: Callable[[str], object]
) -> Iterator[Id]:
    """
    Yield the ids, or what stands in their place.

    Blank lines, and lines that begin with ``#``, are passed over.
    So is the first row when it is no id and looks like a header.

    >>> list(ids_in(["phone_id", "", "no-id, x"], as_csv=False, on_header=print))
    phone_id
    ['no-id']

    Args:
        lines: The text, line by line.
        as_csv: Whether rows are those of a CSV, whose cells may span lines.
        on_header: Is told of the header.

    Raises:
        csv.Error: *as_csv*, and it is none.
    """
    rows = _csv_rows(lines) if as_csv else _line_rows(lines)
    is_first = True
    for cells in rows:
        given = cells[0].strip() if cells else ""
        if not given or given.startswith("#"):
            continue
        phone_id = _id_or_text(given)
        if is_first and _is_header(phone_id, cells, as_csv=as_csv):
            on_header(given)
        else:
            yield phone_id
        is_first = False


def _line_rows(lines: Iterable[str]) -> Iterator[list[str]]:
    for line in lines:
        yield [cell.strip().strip('"') for cell in _SEPARATOR.split(line, maxsplit=1)]


def _csv_rows(lines: Iterable[str]) -> Iterator[list[str]]:
    lines = iter(lines)
    first = next(lines, "")
    separator = max(SEPARATORS, key=first.count)
    return csv.reader(
        itertools.chain((first,), lines), delimiter=separator, strict=True
    )


def _id_or_text(given: str) -> Id:
    try:
        return phone_id_of(given)
    except InvalidPhoneIdError:
        return given


def _is_header(first: Id, cells: list[str], *, as_csv: bool) -> bool:
    if isinstance(first, UUID):
        return False
    return as_csv or len(cells) > 1 or _NAME_OF_IDS.fullmatch(first) is not None


def key_of(phone_id: Id) -> Key:
    """
    Return what two occurrences of one id have in common, in few bytes.

    Text that is no id is told apart by as much of it as a row keeps.
    """
    return phone_id.bytes if isinstance(phone_id, UUID) else phone_id[:KEY_CHARACTERS]


def key_of_text(text: str) -> Key:
    """Return the key of an id as a row holds it."""
    return key_of(_id_or_text(text))


def distinct(ids: Iterable[Id], done: set[Key]) -> Iterator[Id]:
    """Yield each id that is not in *done*, and add it there."""
    for phone_id in ids:
        key = key_of(phone_id)
        if key not in done:
            done.add(key)
            yield phone_id
