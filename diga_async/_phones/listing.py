"""
`PhoneListing`: the whole listing, page after page; `list_page`: one page.

Both ask a `Pager` what to request. The first is a run of one worker, whose source is
the pager: so closing, cancelling and the end of the client are those of a run, and a
page has the retries and the patience of an id in a run.
"""

import asyncio
from collections import deque
from typing import Any, Self
from uuid import UUID

from diga_async._api.listing import Page, PhoneQuery
from diga_async._api.operation import Answer, Operation
from diga_async._bulk.plan import Plan
from diga_async._bulk.stream import AsyncStream, Stream
from diga_async._calls import Client, lifecycle_of, send
from diga_async._engine.call import Call
from diga_async._models.errors import DigaError, WrongLoopError
from diga_async._models.listing import ListingStats, PhonePage
from diga_async._models.options import Timeouts
from diga_async._models.phone import Phone
from diga_async._phones.paging import Pager
from diga_async._runs import starter


class _PageFeed:
    """
    The source of a run of pages, and what its results are: the phones of a page.

    The page after one that brought phones is requested when the consumer has those.

    Attributes:
        pager: Decides what is requested.
        pages: How many pages were read.
    """

    def __init__(self, pager: Pager) -> None:
        self.pager = pager
        self.pages = 0
        self._may_go_on = asyncio.Event()
        self._may_go_on.set()

    def go_on(self) -> None:
        """Allow the next page to be requested."""
        self._may_go_on.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Operation[Any]:
        operation = self.pager.request()
        if operation is None:
            raise StopAsyncIteration
        await self._may_go_on.wait()
        return operation

    def operation_of(self, item: Operation[Any]) -> Operation[Any]:
        return item

    def result_of(
        self, _call: Call[Any], answer: Answer[Any], _now: float
    ) -> tuple[Phone, ...]:
        self.pages += isinstance(answer, Page)
        phones = self.pager.read(answer)
        if phones:
            self._may_go_on.clear()
        return phones

    def rejection_of(self, name: str, error: DigaError) -> tuple[Phone, ...]:
        """Never called: an operation is never rejected."""
        raise NotImplementedError(name) from error


def _stream(
    client: Client, feed: _PageFeed, timeouts: Timeouts | float | None
) -> Stream[tuple[Phone, ...]]:
    plan = Plan(
        results=feed,
        concurrency=1,
        timeouts=lifecycle_of(client).allowed(timeouts),
        on_end=lambda *_: None,  # not a run of ids: its end is not logged
    )
    return Stream(starter(client, feed, plan))


class PhoneListing(AsyncStream[Phone]):
    """
    The phones of a listing: an async iterator, and an async context manager.

    It starts on entering the block, or with the first phone asked for; leaving the
    block leaves nothing behind. The next page is requested while you have the present
    one. Cancelling one ``anext()`` loses no phone and does not end the listing.
    It is read once: after it was closed, as at the end of its block, ``async for``
    raises `RuntimeError`.

    Made by `Phones.list`.

    .. versionadded:: 0.2.0
    """

    __module__ = "diga_async"

    _what = "the listing"
    _another = "call list() again, with after=cursor to go on"

    def __init__(
        self,
        client: Client,
        query: PhoneQuery,
        *,
        page_size: int,
        after: UUID | None,
        timeouts: Timeouts | float | None,
    ) -> None:
        super().__init__()
        base_url = lifecycle_of(client).options.base_url
        pager = Pager(query, page_size=page_size, after=after, base_url=base_url)
        self._feed = _PageFeed(pager)
        self._pages = _stream(client, self._feed, timeouts)
        self._page: deque[Phone] = deque()
        self._cursor = after
        self._delivered = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def _begin(self) -> None:
        self._pages._begin()  # noqa: SLF001 - of the same family

    async def __anext__(self) -> Phone:
        """Return the next phone."""
        loop = asyncio.get_running_loop()
        if self._page and loop is not self._loop:
            raise WrongLoopError("the listing belongs to another event loop")
        while not self._page:
            self._page.extend(await anext(self._pages))
            self._loop = loop
            self._feed.go_on()
        phone = self._page.popleft()
        self._cursor = phone.id
        self._delivered += 1
        return phone

    async def aclose(self) -> None:
        """
        End the listing now; return when nothing of it is left. Idempotent.

        .. versionadded:: 0.2.0
        """
        await self._pages.aclose()
        self._page.clear()
        self._is_closed = True

    @property
    def cursor(self) -> UUID | None:
        """
        The id of the last phone delivered; *after* until the first.

        Another listing with ``after=cursor`` continues there.

        .. versionadded:: 0.2.0
        """
        return self._cursor

    @property
    def stats(self) -> ListingStats:
        """
        A snapshot of the listing; cheap.

        .. versionadded:: 0.2.0
        """
        run = self._pages.stats
        return ListingStats(
            pages=self._feed.pages,
            phones=self._delivered,
            retries=run.retries,
            throttled=run.throttled,
            elapsed=run.elapsed,
            total_pages=self._feed.pager.total_pages,
        )


async def list_page(
    client: Client,
    query: PhoneQuery,
    *,
    page_size: int,
    after: UUID | None,
    timeouts: Timeouts | float | None,
) -> PhonePage:
    """
    Read one page; look up the cursor's phone when the page may be a false end.

    Raises:
        DigaError: Why there is no page.
    """
    base_url = lifecycle_of(client).options.base_url
    pager = Pager(query, page_size=page_size, after=after, base_url=base_url)

    async def answer_of(operation: Operation[Any] | None) -> Answer[Any]:
        assert operation is not None  # noqa: S101 - the pager is not at its end
        try:
            return await send(client, operation, timeouts=timeouts, bulk=True)
        except DigaError as error:
            return error

    page = await answer_of(pager.request())
    try:
        phones = pager.read(page)
        if pager.in_doubt:
            if isinstance(page, DigaError):
                raise page
            pager.read(await answer_of(pager.request()))
        pager.request()  # raises why there is no page
        assert isinstance(page, Page)  # noqa: S101 - or the pager had raised
        return PhonePage(
            phones=phones,
            cursor=page.cursor if page.has_more else None,
            has_more=page.has_more,
            total_pages=page.total_pages,
        )
    finally:
        del page  # or an error would keep this frame alive
