"""
`ChangeTracker`: the changes that hold now, the pure core of a watch.

It keeps two things: the state as of the last change delivered, and the phones whose
latest reading differs from that state. A phone has at most one pending change, so a
slow consumer gets the sum of the changes, and memory does not grow.
"""

import math
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

from diga_async._models.change import Change, changed_fields
from diga_async._models.phone import Phone, PhoneStatus

State = Mapping[UUID, Phone | None]

#: After this many polls by id, a watch asks again how many pages the listing has.
POLLS_UNTIL_LISTING_IS_TRIED = 50


class ChangeTracker:
    """
    Compares what polls read with the state that was delivered.

    Args:
        phone_ids: The ids to watch, each once; None for every phone that is listed.
        baseline: The state of an earlier watch; None to begin without one.
    """

    def __init__(
        self, phone_ids: Collection[UUID] | None, baseline: State | None
    ) -> None:
        self._ids = None if phone_ids is None else dict.fromkeys(phone_ids)
        self._is_settled = baseline is not None
        self._unread: set[UUID] = set()
        self._delivered = {
            phone_id: phone
            for phone_id, phone in (baseline or {}).items()
            if self._ids is None or phone_id in self._ids
        }
        self._pending: OrderedDict[UUID, Phone | None] = OrderedDict()

    # --- what to ask for

    @property
    def watches_all(self) -> bool:
        """Whether every phone that is listed is watched."""
        return self._ids is None

    @property
    def is_over(self) -> bool:
        """Whether nothing is left that could change."""
        return not self.watches_all and not self.left(())

    def left(self, seen: Collection[UUID]) -> list[UUID]:
        """
        Return the ids that are looked up in a poll whose listing showed *seen*.

        A finished phone never changes. In a watch of all, a phone that is gone
        returns by the listing.
        """
        if self._ids is not None:
            return [i for i in self._ids if i not in seen and not self._is_finished(i)]
        known = {**self._delivered, **self._pending}
        return [
            phone_id
            for phone_id, phone in known.items()
            if phone is not None
            and phone_id not in seen
            and phone.status != PhoneStatus.FINISHED
        ]

    def is_there(self, phone_id: UUID) -> bool:
        """Whether that phone was there when it was last read."""
        return self._latest(phone_id) is not None

    def would_be_told(self, phone_id: UUID) -> bool:
        """Whether the absence of that phone is new."""
        is_known = phone_id in self._pending or phone_id in self._delivered
        return self.is_there(phone_id) or (not self.watches_all and not is_known)

    def _latest(self, phone_id: UUID) -> Phone | None:
        if phone_id in self._pending:
            return self._pending[phone_id]
        return self._delivered.get(phone_id)

    def _is_finished(self, phone_id: UUID) -> bool:
        phone = self._latest(phone_id)
        return phone is not None and phone.status == PhoneStatus.FINISHED

    # --- what a poll has read

    def read(self, phones: Iterable[Phone]) -> None:
        """Record phones as a poll read them, in a listing or each by its id."""
        for phone in phones:
            if self._ids is None or phone.id in self._ids:
                self._read(phone)

    def _read(self, phone: Phone) -> None:
        phone_id = phone.id
        if phone_id not in self._delivered and self._joins_silently(phone_id):
            self._delivered[phone_id] = phone
            return
        before = self._delivered.get(phone_id)
        if before is None:
            self._pending[phone_id] = phone
        elif before == phone:
            self._pending.pop(phone_id, None)
        elif changed_fields(before, phone):
            self._pending[phone_id] = phone
        else:  # a field that is new to this version: from now on it can change
            self._delivered[phone_id] = phone
            self._pending.pop(phone_id, None)

    def _joins_silently(self, phone_id: UUID) -> bool:
        """Whether a phone that is not in the state was there before this watch."""
        is_watched_by_id = self._ids is not None
        return is_watched_by_id or not self._is_settled or phone_id in self._unread

    def missed(self, phone_ids: Iterable[UUID]) -> None:
        """Record ids whose own lookup was answered 404."""
        for phone_id in phone_ids:
            if self._ids is not None:
                self._delivered.setdefault(phone_id, None)
            if self._delivered.get(phone_id) is None:
                self._pending.pop(phone_id, None)
            else:
                self._pending[phone_id] = None

    def settle(self, unread: Iterable[UUID]) -> None:
        """
        Record that a poll has read the listing to its end: other phones are new.

        Args:
            unread: The phones that the listing showed and that could not be read.
        """
        if not self._is_settled:
            self._is_settled = True
            self._unread.update(unread)

    # --- what is delivered

    @property
    def phones(self) -> dict[UUID, Phone | None]:
        """A copy of the state as of the last change delivered."""
        return self._delivered.copy()

    def deliver(self) -> Change | None:
        """Return the next change and make it part of the state; None without one."""
        if not self._pending:
            return None
        phone_id, after = self._pending.popitem(last=False)
        before = self._delivered.get(phone_id)
        self._delivered[phone_id] = after
        fields: frozenset[str] = frozenset()
        if before is not None and after is not None:
            fields = changed_fields(before, after)
        return Change(phone_id, before, after, fields)


class ListingCost:
    """
    Whether a poll of given ids takes fewer requests through the listing.

    Attributes:
        requests: What the last poll by listing took; infinite when it did not pay,
            None when that is not known.
        polls_by_id: Polls since.
    """

    def __init__(self) -> None:
        self.requests: float | None = None
        self.polls_by_id = 0

    def is_worth_a_page(self, ids: int) -> bool:
        """Whether a poll of *ids* ids begins with a page."""
        if ids < 2:  # noqa: PLR2004 - one id is one request
            return False
        if self.requests is None or self.requests < ids:
            return True
        self.polls_by_id += 1
        return self.polls_by_id > POLLS_UNTIL_LISTING_IS_TRIED

    def learn(self, requests: int | None) -> None:
        """Record what a poll by listing took; None when it did not pay, or failed."""
        self.requests = math.inf if requests is None else requests
        self.polls_by_id = 0


def next_page_pays(pages: int, total_pages: int | None, ids: int) -> bool:
    """
    Whether to read another page, rather than to look up the ids that are left.

    Where the server does not say how many pages there are, or is wrong, no more pages
    are read than ids are left, so that at most half of the requests are useless.

    Args:
        pages: Pages read so far.
        total_pages: How many there are; None when the server does not say.
        ids: How many ids are left.
    """
    if total_pages is None or total_pages <= pages:
        return pages < ids
    return total_pages - pages < ids
