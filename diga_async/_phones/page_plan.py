"""
`PagePlan`: the pages of the listing that a run by ids requests; it does no I/O.

The listing is read in ascending order, so that phones added meanwhile come at its end.
A problem with it costs requests and no outcome: an id that no page had is looked up
singly.
"""

from enum import Enum, auto
from typing import Final, get_args
from uuid import UUID

from diga_async._api.listing import Page, PhoneQuery, list_phones
from diga_async._api.operation import Answer, Operation
from diga_async._models.arguments import not_one_of
from diga_async._models.errors import ConfigurationError
from diga_async._models.parameters import Via

FEW_IDS = 5
"""Up to this many ids are looked up singly: the first page alone may be wasted."""

_EVERYTHING: Final = PhoneQuery(order="asc")


def check_via(via: object, *, length: int | None, ordered: bool, collects: bool) -> Via:
    """
    Return how a run reads: what the caller asked for, or ``"each"`` where it must.

    Args:
        via: What the caller asked for.
        length: How many ids its source has; None when that is not known.
        ordered: Whether outcomes are delivered in the order of the source.
        collects: Whether the source is read to its end in any case.

    Raises:
        ConfigurationError: *via* is unknown, or ``"list"`` where the ids of a stream
            cannot be read to their end first.
    """
    if via not in get_args(Via):
        given = not_one_of(via, get_args(Via))
        raise ConfigurationError(f"via must be 'each', 'list' or 'auto', {given}")
    if via == "each":
        return "each"
    if collects:
        return "list" if via == "list" else "auto"
    if via == "list":
        if ordered or length is None:
            raise ConfigurationError(
                "via='list' reads all ids first: give ids that have a length, "
                "and do not ask for ordered=True"
            )
        return "list"
    return "each" if ordered or length is None or length <= FEW_IDS else "auto"


class _Mode(Enum):
    START = auto()
    FIRST_PAGE = auto()
    NUMBERS = auto()
    CURSORS = auto()
    END = auto()


class PagePlan:
    """
    The pages of one run: what was requested, and what is requested next.

    Args:
        via: ``"list"``, or ``"auto"`` to list only where that takes fewer requests.

    Attributes:
        pages: How many pages were read.
    """

    def __init__(self, via: Via) -> None:
        self.pages = 0
        self._is_auto = via == "auto"
        self._mode = _Mode.START
        self._open: dict[str, int | None] = {}  # the numbers of pages, by path
        self._number = 1  # the next page
        self._total = 0
        self._first: UUID | None = None  # the cursor of the first page
        self._cursor: UUID | None = None
        self._cursors: set[int] = set()

    @property
    def waits(self) -> bool:
        """Whether an open page has to be read before it is known what comes next."""
        return bool(self._open)

    def request(self, ids_left: int) -> Operation[Page] | None:
        """
        Return the next page to request; None if there is none, or none yet.

        Args:
            ids_left: How many distinct ids no page has had so far.
        """
        if not ids_left or self._is_not_worth(ids_left):
            self._mode = _Mode.END
        match self._mode:
            case _Mode.START if not self._is_auto or ids_left > FEW_IDS:
                self._mode = _Mode.FIRST_PAGE
                return self._numbered()
            case _Mode.NUMBERS if self._number <= self._total:
                return self._numbered()
            case _Mode.CURSORS if None not in self._open.values():
                return self._requested(
                    list_phones(_EVERYTHING, after=self._cursor), None
                )
            case _:
                return None

    def _is_not_worth(self, ids_left: int) -> bool:
        """Whether single lookups take no more requests than the pages that are left."""
        # Decided once, when the first page has said how many there are.
        if not self._is_auto or self._mode is not _Mode.NUMBERS or self._number > 2:  # noqa: PLR2004
            return False
        return ids_left <= self._total - 1

    def read(self, operation: Operation[Page], answer: Answer[Page]) -> None:
        """Take the answer to a request; an error is one more page without phones."""
        number = self._open.pop(operation.path)
        if isinstance(answer, Page):
            self.pages += 1
        if self._mode is _Mode.FIRST_PAGE:
            self._read_first(answer)
        elif number is None:
            self._follow(answer)
        elif isinstance(answer, Page) and self._mode is _Mode.NUMBERS:
            self._compare(number, answer)

    def _numbered(self) -> Operation[Page]:
        number = self._number
        self._number += 1
        return self._requested(list_phones(_EVERYTHING, page=number), number)

    def _requested(
        self, operation: Operation[Page], number: int | None
    ) -> Operation[Page]:
        self._open[operation.path] = number
        return operation

    def _read_first(self, answer: Answer[Page]) -> None:
        if not isinstance(answer, Page) or not answer.has_more:
            self._mode = _Mode.END
            return
        self._first = answer.cursor
        self._total = answer.total_pages or 0
        self._mode = _Mode.NUMBERS
        if self._total < 2 or answer.number not in {None, 1}:  # noqa: PLR2004
            self._distrust(answer.cursor)

    def _compare(self, number: int, page: Page) -> None:
        """Compare what a numbered page says with what the others said."""
        self._total = max(self._total, page.total_pages or 0)
        if page.number not in {None, number} or page.cursor == self._first:
            self._distrust(self._first)  # the server does not number pages
        elif page.has_more and number >= self._total:
            self._distrust(page.cursor)
        elif not page.has_more:
            self._total = min(self._total, number)

    def _distrust(self, cursor: UUID | None) -> None:
        """Go on without numbers: by cursors, or with single ids."""
        self._mode = _Mode.END if self._is_auto else _Mode.CURSORS
        self._go_to(cursor)

    def _follow(self, answer: Answer[Page]) -> None:
        if isinstance(answer, Page) and answer.has_more:
            self._go_to(answer.cursor)
        else:
            self._mode = _Mode.END

    def _go_to(self, cursor: UUID | None) -> None:
        if cursor is None or cursor.int in self._cursors:
            self._mode = _Mode.END
            return
        self._cursors.add(cursor.int)
        self._cursor = cursor
