"""
`Poller`: the requests of one poll of a watch, one poll at a time.

Phones that the listing does not show are looked up by id, and only a 404 to that
lookup says that a phone is gone. But a gateway may answer 404 for a server that is
down: where that is possible, the listing is requested as well, and if that is a 404
too, no phone counts as gone.
"""

import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from uuid import UUID

from diga_async._api.listing import Page, PhoneQuery, list_phones
from diga_async._api.operation import Answer, Operation
from diga_async._api.phones import get_phone
from diga_async._bulk.plan import OperationResults, Plan
from diga_async._bulk.stream import Stream
from diga_async._calls import Client, lifecycle_of
from diga_async._engine.address_question import wrong_address
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
from diga_async._runs import starter

T = TypeVar("T")

#: These end a watch whenever they come.
_FATAL = (AuthenticationError, ClientClosedError, WrongLoopError)


class PollResult:
    """
    The result of one poll.

    Attributes:
        is_first: Whether it is the first poll of its watch.
        seen: The phones that the listing has shown.
        unreadable: The ids of records of the listing that are not phones; None stands
            for those without a readable id.
        left: The given ids that the listing has not shown.
        pages: How many pages were read.
        missing: The ids whose own lookup was answered 404.
        has_success: Whether anything was answered with a 200.
        error: The last failure; None when there was none.
        is_failed: Whether the poll as a whole failed.
    """

    def __init__(self, *, is_first: bool) -> None:
        self.is_first = is_first
        self.seen: set[UUID] = set()
        self.unreadable: set[UUID | None] = set()
        self.left: dict[UUID, None] = {}
        self.pages = 0
        self.missing: list[UUID] = []
        self.has_success = False
        self.error: DigaError | None = None
        self.is_failed = False

    def show(self, phones: Iterable[Phone]) -> None:
        """Record what the listing showed."""
        for phone in phones:
            self.seen.add(phone.id)
            self.left.pop(phone.id, None)

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
    """

    def __init__(
        self,
        client: Client,
        tracker: ChangeTracker,
        timeouts: Timeouts,
        on_read: Callable[[], None],
    ) -> None:
        self._client = client
        self._base_url = lifecycle_of(client).options.base_url
        self._tracker = tracker
        self._timeouts = timeouts
        self._on_read = on_read
        self._cost = ListingCost()
        self._run: Stream[Any] | None = None
        self._retries = self._throttled = 0
        self._is_permitted = False

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
        self._is_permitted |= result.has_success
        return result

    async def _poll_all(self, result: PollResult) -> None:
        tracker = self._tracker
        error = await self._read_listing(result)
        if error is not None:
            result.fail(error)
            return
        left = tracker.left(result.seen)
        new = [i for i in result.unreadable if i and not tracker.is_there(i)]
        if left or new:
            await self._look_up(result, [*left, *new])
        if None not in result.unreadable:  # which could be any phone
            tracker.settle(filter(None, result.unreadable))

    async def _poll_ids(self, result: PollResult) -> None:
        result.left = dict.fromkeys(self._tracker.left(()))
        if self._cost.is_worth_a_page(len(result.left)):
            error = await self._read_listing(result)
            if isinstance(error, ConfigurationError):
                result.fail(error)  # the first page is a 404
                return
            result.error = error
            requests = None if error else result.pages + len(result.left)
            self._cost.learn(requests)
        if result.left:
            await self._look_up(result, list(result.left))

    # --- the listing

    async def _read_listing(self, result: PollResult) -> DigaError | None:
        """Read pages for as long as it pays; return why the end was not reached."""
        pager = Pager(
            PhoneQuery(order="asc"), skip_bad_records=True, base_url=self._base_url
        )
        try:
            while self._goes_on(pager, result):
                operation = pager.request()
                if operation is None:
                    break
                answer = await self._answer(result, operation)
                if isinstance(answer, Page):
                    result.has_success = True
                    result.pages += 1
                phones = pager.read(answer)
                result.show(phones)
                self._read(phones)
        except DigaError as error:
            result.require_not_fatal(error)
            return error.with_traceback(None)
        result.unreadable.update(error.phone_id for error in pager.bad_records)
        return None

    def _goes_on(self, pager: Pager, result: PollResult) -> bool:
        if self._tracker.watches_all or not result.pages:
            return True
        return next_page_pays(result.pages, pager.total_pages, len(result.left))

    # --- single lookups

    async def _look_up(self, result: PollResult, phone_ids: list[UUID]) -> None:
        answered = False
        last: DigaError | None = None

        def take(operation: Operation[Phone], answer: Answer[Phone]) -> None:
            nonlocal answered, last
            if isinstance(answer, Phone):
                answered = True
                result.has_success = True
                self._read((answer,))
            elif isinstance(answer, NotFoundError):
                answered = True
                assert operation.subject is not None  # noqa: S101 - it is a phone's
                result.missing.append(operation.subject)
            else:
                last = answer

        operations = [get_phone(phone_id) for phone_id in phone_ids]
        ended = await self._ask(result, operations, take)
        error = ended or last
        if error is not None and (ended or not (answered or result.has_success)):
            result.fail(error)
        elif error is not None:
            result.error = error
        if result.missing and await self._is_missing_for_sure(result):
            self._tracker.missed(result.missing)
            self._on_read()

    async def _is_missing_for_sure(self, result: PollResult) -> bool:
        """Ask the listing where the 404s may be those of a gateway."""
        counters = lifecycle_of(self._client).open().engine.counters
        is_told = any(map(self._tracker.would_be_told, result.missing))
        if result.has_success and not (is_told and counters.answers["listed"]):
            return True
        answer = await self._answer(result, list_phones(PhoneQuery(), page_size=1))
        if isinstance(answer, NotFoundError):
            wrong = wrong_address(self._base_url)
            result.fail(answer if result.has_success else wrong)
            return False
        if isinstance(answer, DigaError) and answer.transient:
            if not result.has_success:
                result.fail(answer)
            return result.has_success
        return True

    # --- requests

    def _read(self, phones: Iterable[Phone]) -> None:
        self._tracker.read(phones)
        self._on_read()

    async def _answer(self, result: PollResult, operation: Operation[T]) -> Answer[T]:
        """Send one operation; return its answer."""
        answers: list[Answer[T]] = []
        error = await self._ask(result, [operation], lambda _, a: answers.append(a))
        return answers[0] if error is None else error

    async def _ask(
        self,
        result: PollResult,
        operations: list[Operation[T]],
        take: Callable[[Operation[T], Answer[T]], None],
    ) -> DigaError | None:
        """Send all; return why the run ended early, None when it did not."""
        plan = Plan(
            results=OperationResults[T](),
            concurrency=sys.maxsize,
            timeouts=self._timeouts,
            permitted=self._is_permitted or result.has_success,
            on_end=lambda *_: None,  # not a run of ids: its end is not logged
        )
        run = self._run = Stream(starter(self._client, operations, plan))
        try:
            async with run:
                async for done in run:
                    take(done.operation, done.answer)
        except DigaError as error:
            result.require_not_fatal(error)
            return error.with_traceback(None)
        finally:
            self._run = None
            self._retries += run.stats.retries
            self._throttled += run.stats.throttled
        return None
