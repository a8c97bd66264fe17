"""
`Pager`: decides how a listing continues, one answer at a time; it does no I/O.

Ask it for the next `request`, give its answer to `read`, and deliver what that returns.
A listing ends in one of two ways: `request` returns None, or raises why it cannot
continue.

Neither the order of the listing nor what becomes of a cursor whose phone was deleted
or left the filter is documented. Servers answer such a cursor with an error, or, worse,
with an empty page, which looks like the end. So an empty page is checked:

1. The page after an earlier phone is requested, which overlaps with what was read.
2. If that leads nowhere, the cursor's phone is looked up by its id.
"""

from collections import deque
from enum import Enum, auto
from typing import Any, NoReturn, TypeAlias
from uuid import UUID

from diga_async._api.listing import (
    MAX_PAGE_SIZE,
    BadRecord,
    Page,
    PhoneQuery,
    list_phones,
)
from diga_async._api.operation import Answer, Operation
from diga_async._api.phones import get_phone
from diga_async._engine.address_question import wrong_address
from diga_async._models.errors import (
    APIStatusError,
    DigaError,
    InvalidResponseError,
    NotFoundError,
)
from diga_async._models.phone import Phone

PAGES_REMEMBERED = 3
#: What servers answer to a cursor that they cannot use.
_NO_SUCH_CURSOR = frozenset({400, 404, 422})

Doubtful: TypeAlias = Page | APIStatusError
"""An answer that may mean that the cursor's phone is gone."""


class _Step(Enum):
    """What is requested next."""

    PAGE = auto()
    OVERLAP = auto()
    """The page after an earlier phone than the cursor's."""
    LOOKUP = auto()
    """The cursor's phone, by its id."""
    END = auto()


class Pager:
    """
    The state of one listing: what was read, and what is requested next.

    It remembers the ids of three pages, and of every cursor a number: less than
    100 bytes a page.

    Args:
        query: Which phones are listed.
        page_size: How many phones a page has at most.
        after: The cursor to begin after; None begins at the start.
        skip_bad_records: Collect what is not a phone in `bad_records`, and continue.
        base_url: The server, for the error of one without a listing.

    Attributes:
        total_pages: How many pages there are, as the server said last; None when it
            never said.
        bad_records: Why records were passed over; each names the record's id if that
            can be read.
    """

    def __init__(
        self,
        query: PhoneQuery,
        *,
        page_size: int = MAX_PAGE_SIZE,
        after: UUID | None = None,
        skip_bad_records: bool = False,
        base_url: str = "this address",
    ) -> None:
        self.total_pages: int | None = None
        self.bad_records: list[InvalidResponseError] = []
        self._query = query
        self._page_size = page_size
        self._skips = skip_bad_records
        self._base_url = base_url
        self._step = _Step.PAGE
        self._error: DigaError | None = None
        self._cursor = self._after = after
        self._doubtful: Doubtful | None = None
        # Numbers, as they hash in C and take half of the memory of a UUID.
        self._cursors = {} if after is None else {after.int: None}
        self._pages: deque[dict[int, UUID]] = deque(maxlen=PAGES_REMEMBERED)

    @property
    def in_doubt(self) -> bool:
        """Whether the next request only finds out if the cursor's phone is there."""
        return self._step is _Step.LOOKUP

    def request(self) -> Operation[Any] | None:
        """
        Return what to request next; None at the end of the listing.

        Raises:
            DigaError: Why the listing cannot continue; this ends it.
        """
        if self._error is not None:
            self._raise_error()
        if self._step is _Step.END:
            return None
        if self._step is _Step.LOOKUP:
            assert self._cursor is not None  # noqa: S101 - only a cursor is in doubt
            return get_phone(self._cursor)
        return list_phones(self._query, page_size=self._page_size, after=self._after)

    def _raise_error(self) -> NoReturn:
        error, self._error, self._step = self._error, None, _Step.END
        assert error is not None  # noqa: S101 - the caller has looked
        try:
            raise error
        finally:
            del error  # or it would keep this frame alive

    def read(self, answer: Answer[Any]) -> tuple[Phone, ...]:
        """Take the answer to the request; return the phones to deliver."""
        if self._step is _Step.LOOKUP:
            self._judge_cursor(answer)
        elif isinstance(answer, Page) and (answer.records or answer.has_more):
            return self._accept(answer)
        elif self._cursor is not None and (doubtful := _doubtful(answer)):
            self._doubt(doubtful)
        elif isinstance(answer, Page):
            self.total_pages = answer.total_pages or self.total_pages
            self._step = _Step.END
        else:
            is_wrong = self._cursor is None and isinstance(answer, NotFoundError)
            self._error = wrong_address(self._base_url) if is_wrong else answer
        return ()

    def _accept(self, page: Page) -> tuple[Phone, ...]:
        self.total_pages = page.total_pages or self.total_pages
        phones, bad_record = self._new_phones(page)
        if bad_record is not None:
            self._error = bad_record.error
        elif not page.has_more:
            self._step = _Step.END
        elif self._step is _Step.OVERLAP and page.cursor == self._cursor:
            self._step = _Step.LOOKUP  # the page after it has been answered before
        else:
            self._advance(page.cursor)
        return phones

    def _new_phones(self, page: Page) -> tuple[tuple[Phone, ...], BadRecord | None]:
        """Return the phones not seen lately, up to the record that ends the listing."""
        phones: list[Phone] = []
        ids: dict[int, UUID] = {}
        for record in page.records:
            if isinstance(record, BadRecord):
                if not self._skips:
                    return tuple(phones), record
                self.bad_records.append(record.error)
                continue
            number = record.id.int
            if number not in ids and not any(number in seen for seen in self._pages):
                phones.append(record)
            ids[number] = record.id
        if ids:
            self._pages.append(ids)
        return tuple(phones), None

    def _advance(self, cursor: UUID | None) -> None:
        if cursor is None:
            self._error = _invalid("$.has_more: true, but there is no cursor")
        elif cursor.int in self._cursors:
            self._error = _invalid("$.last_id: a cursor that was there before")
        else:
            self._cursors[cursor.int] = None
            self._cursor = self._after = cursor
            self._step = _Step.PAGE

    # --- whether a cursor still stands

    def _doubt(self, answer: Doubtful) -> None:
        if self._step is _Step.OVERLAP:
            self._step = _Step.LOOKUP
            return
        self._doubtful = answer
        earlier = self._earlier_phone()
        if earlier is None:
            self._step = _Step.LOOKUP
        else:
            self._step = _Step.OVERLAP
            self._after = earlier

    def _earlier_phone(self) -> UUID | None:
        """
        Return the phone to go back to; None when there is none.

        It is the first one of the last page: a page that begins there reaches beyond
        the cursor, and a consumer that makes phones leave the filter has dealt with
        those of earlier pages by now. A page of one phone has only the cursor's.
        """
        newest_first = iter(reversed(self._pages))
        candidates = [
            *next(newest_first, {}).values(),
            *(i for page in newest_first for i in reversed(page.values())),
        ]
        return next((i for i in candidates if i != self._cursor), None)

    def _judge_cursor(self, answer: Answer[Phone]) -> None:
        is_gone = isinstance(answer, NotFoundError) or (
            isinstance(answer, Phone) and not self._query.matches(answer)
        )
        if is_gone:
            gone = _invalid("$.data: the cursor's phone is gone", self._cursor)
            self._error = gone
        elif isinstance(answer, DigaError) and not _is_of_the_server(answer):
            self._error = answer
        elif isinstance(self._doubtful, Page):
            self._step = _Step.END
        else:
            self._error = self._doubtful


def _doubtful(answer: Answer[Page]) -> Doubtful | None:
    """Return *answer* if it may mean that the cursor's phone is gone."""
    if isinstance(answer, Page):
        return answer
    if isinstance(answer, APIStatusError) and answer.status in _NO_SUCH_CURSOR:
        return answer
    return None


def _is_of_the_server(error: DigaError) -> bool:
    return isinstance(error, APIStatusError | InvalidResponseError)


def _invalid(problem: str, phone_id: UUID | None = None) -> InvalidResponseError:
    return InvalidResponseError(
        "the listing cannot go on", status=200, problems=(problem,), phone_id=phone_id
    )
