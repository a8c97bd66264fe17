"""
`Poller`: the requests of one poll of a watch, one poll at a time.

What the listing does not show is looked up by id, and only that lookup's own 404 says
that a phone is gone. A gateway may answer 404 for a server that is away, though: where
that could be so, the listing is asked as well, and if it is not found either, no phone
is gone.
"""

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

import attrs

from diga_async._api.listing import Page, PhoneQuery, list_phones
from diga_async._api.operation import Answer, Operation
from diga_async._api.phones import get_phone
from diga_async._bulk.plan import OperationResults, Plan
from diga_async._bulk.stream import Stream
from diga_async._calls import Client, lifecycle_of, starter
from diga_async._models.errors import (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    DigaError,
    NotFoundError,
    PermissionDeniedError,
    WrongLoopError,
)
from diga_async._models.options import Timeouts
from diga_async._models.phone import Phone
from diga_async._phones.changes import ChangeTracker, ListingCost, next_page_pays
from diga_async._phones.paging import Pager

#: These end a watch whenever they come.
_FATAL = (AuthenticationError, ClientClosedError, WrongLoopError)


@attrs.define(kw_only=True)
class PollResult:
    """
    What one poll has come to.

    Attributes:
        is_first: Whether it is the first poll of its watch.
        seen: The phones that the listing has shown.
        unreadable: The ids of records of the listing that are not phones.
        missing: The ids whose own lookup was answered 404.
        has_success: Whether anything was answered with a 200.
        error: The last failure; None when there was none.
        is_failed: Whether the poll as a whole failed.
    """

    is_first: bool
    seen: set[UUID] = attrs.field(factory=set)
    unreadable: set[UUID] = attrs.field(factory=set)
    missing: list[UUID] = attrs.field(factory=list)
    has_success: bool = False
    error: DigaError | None = None
    is_failed: bool = False

    def fail(self, error: DigaError) -> None:
        """
        Record why the poll failed.

        Raises:
            DigaError: It ends the watch.
        """
        self.require_not_fatal(error)
        self.error = error
        self.is_failed = True

    def require_not_fatal(self, error: DigaError) -> None:
        """
        Raise an error that ends the watch.

        Raises:
            DigaError: The key is refused or lacks its permission, the client cannot
                be used, or there is no Diga API at the first poll.
        """
        is_denied = isinstance(error, PermissionDeniedError) and not (
            self.has_success or self.missing
        )
        is_wrong = isinstance(error, ConfigurationError) and self.is_first
        if is_denied or is_wrong or isinstance(error, _FATAL):
            raise error


class Poller:
    """
    Asks the server for the phones that a tracker watches.

    Args:
        client: Sends the requests, with the priority and the patience of a run.
        tracker: Is told what was read.
        timeouts: How long each page and each lookup may take.
        on_read: Called when phones have been read.

    Attributes:
        retries: Requests that repeated a failed one, in the runs that have ended.
        throttled: Requests that the server throttled, in those runs.
    """

    def __init__(
        self,
        client: Client,
        tracker: ChangeTracker,
        timeouts: Timeouts,
        on_read: Callable[[], None],
    ) -> None:
        self._client = client
        self._tracker = tracker
        self._timeouts = timeouts
        self._on_read = on_read
        self._cost = ListingCost()
        self._run: Stream[Any] | None = None
        self._retries = self._throttled = 0

    @property
    def retries(self) -> int:
        """Requests that repeated a failed one."""
        return self._retries + (self._run.stats.retries if self._run else 0)

    @property
    def throttled(self) -> int:
        """Requests that the server throttled."""
        return self._throttled + (self._run.stats.throttled if self._run else 0)

    async def poll(self, *, is_first: bool) -> PollResult:
        """
        Poll once; tell the tracker what was read.

        Raises:
            DigaError: The watch ends.
        """
        result = PollResult(is_first=is_first)
        if self._tracker.watches_all:
            await self._poll_all(result)
        else:
            await self._poll_ids(result)
        return result

    async def _poll_all(self, result: PollResult) -> None:
        error = await self._read_listing(result)
        if error is not None:
            result.fail(error)
            return
        self._tracker.read_to_its_end()
        new = filter(self._tracker.is_unknown, result.unreadable)
        await self._look_up(result, [*self._tracker.left(result.seen), *new])

    async def _poll_ids(self, result: PollResult) -> None:
        tracker = self._tracker
        if not self._cost.is_worth_a_page(len(tracker.left(()))):
            await self._look_up(result, tracker.left(()))
            return
        error = await self._read_listing(result)
        if isinstance(error, ConfigurationError):
            result.fail(error)  # the first page is a 404
            return
        left = tracker.left(result.seen)
        self._cost.learn(None if error else result.pages + len(left))
        await self._look_up(result, left)

    # --- the listing

    async def _read_listing(self, result: PollResult) -> DigaError | None:
        """Read pages for as long as it pays; return why the end was not reached."""
        pager = Pager(PhoneQuery(order="asc"), skip_bad_records=True)
        try:
            while self._goes_on(pager, result):
                operation = pager.request()
                if operation is None:
                    break
                answer = await self._answer(result, operation)
                result.has_success |= isinstance(answer, Page)
                result.pages += isinstance(answer, Page)
                phones = pager.read(answer)
                result.seen.update(phone.id for phone in phones)
                self._read(phones)
        except DigaError as error:
            result.require_not_fatal(error)
            return error.with_traceback(None)
        ids = (error.phone_id for error in pager.bad_records)
        result.unreadable.update(i for i in ids if i is not None)
        return None

    def _goes_on(self, pager: Pager, result: PollResult) -> bool:
        if self._tracker.watches_all or not result.pages:
            return True
        left = len(self._tracker.left(result.seen))
        return next_page_pays(result.pages, pager.total_pages, left)

    # --- single lookups

    async def _look_up(self, result: PollResult, phone_ids: list[UUID]) -> None:
        errors: list[DigaError] = []
        found = 0

        def take(phone_id: UUID, answer: Answer[Phone]) -> None:
            nonlocal found
            if isinstance(answer, Phone):
                found += 1
                result.has_success = True
                self._read((answer,))
            elif isinstance(answer, NotFoundError):
                result.missing.append(phone_id)
            else:
                errors.append(answer)

        operations = [get_phone(phone_id) for phone_id in phone_ids]
        ended = await self._ask(operations, take)
