"""
`ListedRun`: many lookups through the pages of the listing, and singly where needed.

It is two runs, one after the other. The items of the first are pages: each resolves
the ids that it holds, in a table of all ids. The items of the second are the ids that
no page resolved. Pages are read ahead of the consumer only so far that no more than
*concurrency* of them are open or not delivered.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Self
from uuid import UUID

import attrs

from diga_async._api.listing import Page
from diga_async._api.operation import Answer, Operation
from diga_async._bulk.plan import Plan
from diga_async._bulk.progress import RunProgress
from diga_async._bulk.run import Run
from diga_async._bulk.semaphore import Semaphore
from diga_async._bulk.source import Source
from diga_async._calls import Client, lifecycle_of
from diga_async._engine.call import Call
from diga_async._models.errors import (
    DigaError,
    PermissionDeniedError,
    WrongLoopError,
)
from diga_async._models.outcomes import OUTCOME_NAMES, Outcome
from diga_async._models.parameters import Via
from diga_async._models.stats import LookupStats
from diga_async._phones.id_table import IdTable
from diga_async._phones.page_plan import PagePlan, check_via
from diga_async._runs import starter


class _PageFeed:
    """
    The source of a run of pages, and what its results are.

    Args:
        ids: Every id of the run; read before the first page is requested.
        plan: Decides which pages are requested.
        most: How many pages are open or not delivered, at most.
    """

    def __init__(self, ids: IdTable, plan: PagePlan, most: int) -> None:
        self.plan = plan
        self._ids = ids
        self._slots = Semaphore(most)
        self._news = asyncio.Event()
        self._delivered = 0
        self._page_ends: deque[int] = deque()  # the last outcome of each page

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Operation[Page]:
        await self._ids.read()
        await self._slots.acquire()
        while (operation := self.plan.request(len(self._ids.unresolved))) is None:
            if not self.plan.waits:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return operation

    def operation_of(self, item: Operation[Page]) -> Operation[Page]:
        return item

    def result_of(self, call: Call[Page], answer: Answer[Page], now: float) -> int:
        """Resolve the ids of a page; return how many outcomes that makes ready."""
        self.plan.read(call.operation, answer)
        ready = self._ids.ready
        before = len(ready)
        if isinstance(answer, Page):
            elapsed = call.elapsed(now)
            for phone in answer.phones:
                self._ids.resolve(phone, call.attempts, elapsed, call.request_id)
        if len(ready) > before:
            self._page_ends.append(self._delivered + len(ready))
        else:
            self._slots.release()
        self._news.set()
        return len(ready) - before

    def rejection_of(self, name: str, error: DigaError) -> int:
        """Never called: an operation is never rejected."""
        raise NotImplementedError(name) from error

    def deliver(self) -> None:
        """Record that one more outcome was delivered."""
        self._delivered += 1
        while self._page_ends and self._delivered >= self._page_ends[0]:
            self._page_ends.popleft()
            self._slots.release()


class _Untaken:
    """
    Ids that a run takes one at a time.

    Args:
        names: The ids.
        error: What their own source raised after them.

    Attributes:
        names: Those not taken yet, the next one last.
    """

    def __init__(self, names: list[UUID], error: Exception | None) -> None:
        self.names = names[::-1]
        self._error = error

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[UUID]:
        while self.names:
            yield self.names.pop()
        error, self._error = self._error, None
        if error is not None:
            raise error


def starter_via(
    client: Client, source: Source, plan: Plan[Outcome], via: Via
) -> "Callable[[], Run[Outcome] | ListedRun]":
    """
    Return a function that starts a run through the listing, where *via* says so.

    Raises:
        ConfigurationError: *via* is unknown, or impossible with this source.
    """
    via = check_via(
        via, length=source.length, ordered=plan.ordered, collects=plan.distinct
    )
    if via == "each":
        return starter(client, source, plan)
    return lambda: ListedRun(client, source, plan, via)


class ListedRun:
    """The inside of one run through the listing, as `Run` is of one by ids."""

    def __init__(
        self, client: Client, source: Source, plan: Plan[Outcome], via: Via
    ) -> None:
        self._client = client
        self._plan = plan
        self._loop = asyncio.get_running_loop()
        runtime = lifecycle_of(client).open()
        self._clock = runtime.engine.clock
        self._observer = runtime.engine.observer
        self._progress = RunProgress(self._clock.now(), source.length)
        self._ids = IdTable(source, self._observer, distinct=plan.distinct)
        most = min(plan.concurrency, lifecycle_of(client).options.limits.concurrency)
        self._feed = _PageFeed(self._ids, PagePlan(via), most)
        self._is_over = self._is_closed = self._is_logged = False
        self._why_halted: BaseException | None = None
        self._pages_error: BaseException | None = None
        self._failure: BaseException | None = None
        self._pages: Run[int] = self._start(
            self._feed, results=self._feed, on_end=self._pages_end
        )
        self._singles: Run[Outcome] | None = None
        self._others = _Untaken([], None)

    def _start(self, items: Any, **changes: Any) -> Run[Any]:
        plan: Plan[Any] = attrs.evolve(self._plan, distinct=False, **changes)
        return starter(self._client, items, plan)()

    # --- the two runs

    def _pages_end(self, _: LookupStats, error: BaseException | None) -> None:
        self._pages_error = error
        # Where the first page is forbidden, single ids may not be.
        is_unlisted = isinstance(error, PermissionDeniedError)
        if error is not None and not (is_unlisted and not self._feed.plan.pages):
            self._failure = error
            self._end(error)

    def _singles_end(self, _: LookupStats, error: BaseException | None) -> None:
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        self._is_over = True
        self._progress.end(self._clock.now())
        if not self._is_logged:
            self._is_logged = True
            self._observer.run(self.stats, error)

    def _look_up_the_others(self) -> None:
        """
        Start the second run.

        Raises:
            StopAsyncIteration: Nothing is left to look up.
        """
        if self._is_over or self._is_closed:
            raise StopAsyncIteration
        if self._singles is not None:
            return  # another consumer has started it
        if not self._ids.unresolved:
            self._failure, self._ids.error = self._ids.error, None
            self._end(self._failure)
            self._raise_failure()
            raise StopAsyncIteration
        error, self._ids.error = self._ids.error, None
        self._others = _Untaken(self._ids.take_unresolved(), error)
        self._singles = self._start(
            self._others,
            permitted=self._feed.plan.pages > 0,
            on_end=self._singles_end,
        )
        if self._why_halted is not None:
            self._singles.halt(self._why_halted)

    # --- the consumer's side

    async def next(self) -> Outcome:
        """
        Return the next outcome.

        Raises:
            StopAsyncIteration: No outcome is left.
            WrongLoopError: The run belongs to another loop.
        """
        self._require_own_loop()
        ready = self._ids.ready
        while not ready:
            if self._singles is not None:
                return self._deliver(await self._singles.next())
            self._raise_failure()
            try:
                await self._pages.next()
            except StopAsyncIteration:
                if not ready:
                    self._look_up_the_others()
            except Exception as error:
                if error is not self._pages_error:
                    raise
                self._pages_error = None  # or it would keep this frame alive
        self._feed.deliver()
        return self._deliver(ready.popleft())

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        try:
            if failure is not None:
                raise failure
        finally:
            del failure  # or it would keep this frame alive

    def _deliver(self, outcome: Outcome) -> Outcome:
        self._progress.deliver(OUTCOME_NAMES[type(outcome)], self._clock.now())
        return outcome

    def halt(self, error: BaseException) -> None:
        """Send nothing more; raise *error* once the calls in flight are delivered."""
        self._why_halted = error
        self._current.halt(error)

    async def aclose(self) -> None:
        """Cancel everything; return when nothing is left."""
        if not self._loop.is_closed():
            self._require_own_loop()
        self._is_closed = True
        self._end(None)
        # The caller may be cancelled meanwhile, by anyio repeatedly.
        await asyncio.shield(asyncio.ensure_future(self._close()))

    async def _close(self) -> None:
        await self._current.aclose()
        await self._ids.close()

    def orphan(self) -> None:
        """Cancel everything, from whatever thread the garbage collector runs in."""
        self._current.orphan()

    @property
    def _current(self) -> Run[Any]:
        return self._singles or self._pages

    def _require_own_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise WrongLoopError("the run belongs to another event loop")

    @property
    def unanswered(self) -> tuple[UUID | str, ...]:
        """The ids taken that have no outcome, as often as given."""
        undelivered = self._ids.ready if self._is_closed else ()
        names = (
            *(outcome.phone_id for outcome in undelivered),
            *self._ids.names_without_outcome(),
        )
        if self._singles is None:
            return names
        return (*names, *self._singles.unanswered, *reversed(self._others.names))

    @property
    def seen(self) -> tuple[UUID | str, ...]:
        """The distinct items of a run that remembers them, in the source's order."""
        return self._ids.order

    @property
    def stats(self) -> LookupStats:
        """A snapshot of the run."""
        parts = [run.stats for run in (self._pages, self._singles) if run is not None]
        return attrs.evolve(
            self._progress.stats(self._clock.now()),
            retries=sum(part.retries for part in parts),
            throttled=sum(part.throttled for part in parts),
            in_flight=sum(part.in_flight for part in parts),
        )
