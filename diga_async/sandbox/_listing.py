"""Pages of the listing: which phones one holds, and what it says about the others."""

from bisect import bisect_left
from collections.abc import Sequence, Set as AbstractSet
from random import Random
from typing import Any, Final, TypeAlias
from uuid import UUID

import attrs

from diga_async.sandbox._faults import Fault
from diga_async.sandbox._query import ListingQuery, read_moment

Record: TypeAlias = dict[str, Any]


class CursorGoneError(Exception):
    """The phone that the cursor names is not in the listing."""


@attrs.frozen(kw_only=True)
class ListingSettings:
    """
    Settings for what the API leaves open.

    Attributes:
        sort_by: The field that phones are sorted by; None for the order of creation.
        numbered_pages: Whether a page says its number and how many there are.
        filtered_cursors: Whether a cursor has to match the filters itself.
        hidden: The phones that the listing does not show.
    """

    sort_by: str | None = None
    numbered_pages: bool = True
    filtered_cursors: bool = False
    hidden: AbstractSet[UUID] = frozenset()


@attrs.frozen(kw_only=True)
class Page:
    """One page; the records that a fault has broken are not phones."""

    data: list[Any]
    first_id: UUID | None
    last_id: UUID | None
    has_more: bool
    current_page: int | None = None
    total_pages: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the page as the API writes it."""
        return {
            "data": self.data,
            "first_id": _text(self.first_id),
            "last_id": _text(self.last_id),
            "has_more": self.has_more,
            "current_page": self.current_page,
            "total_pages": self.total_pages,
        }


NO_PHONES: Final = Page(data=[], first_id=None, last_id=None, has_more=False)


@attrs.define
class Listing:
    """
    Finds the pages of a changing collection of phones.

    It remembers their order for as long as no id comes, goes or moves.
    """

    _arranged: tuple[list[UUID], list[Any]] = attrs.field(default=([], []), init=False)
    _is_sorted: bool = attrs.field(default=False, init=False)
    _order: Sequence[int] = attrs.field(default=(), init=False)
    _ids: list[UUID] = attrs.field(factory=list, init=False)
    _positions: dict[UUID, int] = attrs.field(factory=dict, init=False)

    def page(
        self,
        phones: dict[UUID, Record],
        query: ListingQuery,
        settings: ListingSettings,
        fault: Fault | None = None,
    ) -> Page:
        """
        Return the page that *query* asks for.

        Raises:
            CursorGoneError: The cursor's phone is not in the listing.
        """
        phones = phones.copy()  # other threads may change it meanwhile
        self._arrange(phones, settings.sort_by)
        line = self._shown(phones, query, settings.hidden)[:: query.step]
        low, high = self._bounds(line, query, filtered=settings.filtered_cursors)
        if fault is Fault.REPEATED_PHONES:
            low, high = _one_earlier(low, high, query)
        ids = [self._ids[position] for position in line[low:high]]
        numbered = settings.numbered_pages and query.cursor is None
        return Page(
            data=[phones[phone_id] for phone_id in ids],
            first_id=ids[0] if ids else None,
            last_id=ids[-1] if ids else None,
            has_more=low > 0 if query.before else high < len(line),
            current_page=query.page or 1 if numbered else None,
            total_pages=-(-len(line) // query.limit) if numbered else None,
        )

    def _arrange(self, phones: dict[UUID, Record], sort_by: str | None) -> None:
        ids, keys = list(phones), []
        if sort_by is not None:
            keys = [record.get(sort_by) for record in phones.values()]
        if (ids, keys) == self._arranged:
            return
        self._arranged = ids, keys
        self._is_sorted = sort_by is not None
        self._order = _order_of(keys) if self._is_sorted else range(len(ids))
        self._ids = [ids[at] for at in self._order]
        self._positions = {phone_id: at for at, phone_id in enumerate(self._ids)}

    def _shown(
        self,
        phones: dict[UUID, Record],
        query: ListingQuery,
        hidden_ids: AbstractSet[UUID],
    ) -> Sequence[int]:
        """Return the positions of the phones that the listing shows, ascending."""
        shown: Sequence[int] = range(len(self._ids))
        if hidden_ids:
            hidden = set(map(self._positions.get, tuple(hidden_ids)))
            shown = [at for at in shown if at not in hidden]
        records = list(phones.values())
        if query.has_filters and self._is_sorted:
            records = [records[at] for at in self._order]
        for field, wanted in query.fields:
            shown = [at for at in shown if records[at].get(field) == wanted]
        if query.has_dates:
            shown = [at for at in shown if _is_assigned_within(records[at], query)]
        return shown

    def _bounds(
        self, line: Sequence[int], query: ListingQuery, *, filtered: bool
    ) -> tuple[int, int]:
        """Return where on *line*, the phones in the order asked for, a page is."""
        if query.cursor is None:
            low = min(((query.page or 1) - 1) * query.limit, len(line))
            return low, min(low + query.limit, len(line))
        position = self._positions.get(query.cursor)
        if position is None:
            raise CursorGoneError
        low = bisect_left(line, query.step * position, key=query.step.__mul__)
        is_shown = low < len(line) and line[low] == position
        if filtered and not is_shown:
            raise CursorGoneError
        if query.before:
            return max(0, low - query.limit), low
        low += is_shown
        return low, min(low + query.limit, len(line))


def spoil(page: Page, query: ListingQuery, fault: Fault | None, chance: Random) -> Page:
    """Return *page* with the listing's own *fault*; a page without phones has none."""
    match fault:
        case Fault.LOOPING_CURSORS if query.cursor and page.data:
            return attrs.evolve(
                page,
                first_id=query.before or page.first_id,
                last_id=query.after or page.last_id,
                has_more=True,
            )
        case Fault.EMPTY_PAGES if page.data:
            return attrs.evolve(page, data=[], has_more=True)
        case Fault.BROKEN_RECORDS if page.data:
            return attrs.evolve(page, data=_with_one_broken(page.data, chance))
        case _:
            return page


def _one_earlier(low: int, high: int, query: ListingQuery) -> tuple[int, int]:
    # A page of one phone would be the page before it: such a listing never ends.
    if query.before or query.limit == 1 or low in {0, high}:
        return low, high
    return low - 1, min(high, low - 1 + query.limit)


def _with_one_broken(data: list[Any], chance: Random) -> list[Any]:
    at = chance.randrange(len(data))
    record = data[at]
    broken = (
        record | {"number": None},
        {name: value for name, value in record.items() if name != "status"},
        record | {"id": "unknown"},
        None,
    )
    return [*data[:at], chance.choice(broken), *data[at + 1 :]]


def _order_of(keys: list[Any]) -> list[int]:
    # Null comes last, as in PostgreSQL.
    return sorted(range(len(keys)), key=lambda at: (keys[at] is None, str(keys[at])))


def _is_assigned_within(record: Record, query: ListingQuery) -> bool:
    assigned_at = read_moment(str(record.get("assigned_at")))
    if assigned_at is None:
        return False
    start, end = query.start_assigned_at, query.end_assigned_at
    return (not start or start <= assigned_at) and (not end or assigned_at <= end)


def _text(phone_id: UUID | None) -> str | None:
    return None if phone_id is None else str(phone_id)
