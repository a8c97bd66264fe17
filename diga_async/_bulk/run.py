"""
One run: many items through the engine, with N workers and one bounded buffer.

Workers take items from the source, one at a time, and resolve them; the consumer
takes the results. An item that is taken and not yet delivered occupies one of a fixed
number of slots, so a slow consumer holds the source back and memory does not grow.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from uuid import UUID

from diga_async._api.operation import Answer, Operation
from diga_async._bulk.cooperative_yield import CooperativeYield
from diga_async._bulk.pending import Entry, PendingTable
from diga_async._bulk.plan import Plan
from diga_async._bulk.progress import RunProgress
from diga_async._bulk.semaphore import Semaphore
from diga_async._bulk.source import Source
from diga_async._engine.call import Call
from diga_async._engine.engine import Engine
from diga_async._engine.observer import lookup_event, outcome_kind
from diga_async._flow.retry import is_throttling
from diga_async._models.errors import (
    AuthenticationError,
    ClientClosedError,
    DigaError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    WrongLoopError,
)
from diga_async._models.stats import LookupStats

R = TypeVar("R")


class Run(Generic[R]):
    """
    The inside of one run, held by its workers and by the consumer's handle.

    A run ends in one of two ways. When the source ends, or raises, the items taken
    before are still carried to their end. When the run *halts*, nothing more is sent,
    what is in flight is awaited, and the other items stay without a result.
    """

    def __init__(
        self,
        engine: Engine,
        source: Source,
        plan: Plan[R],
        on_end: Callable[["Run[R]"], None],
    ) -> None:
        self._engine = engine
        self._clock = engine.clock
        self._source = source
        self._plan = plan
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._slots = Semaphore(2 * plan.concurrency)
        self._pending: PendingTable[R] = PendingTable(
            ordered=plan.ordered, distinct=plan.distinct
        )
        self._progress = RunProgress(engine.clock.now(), source.length)
        self._counters = (engine.counters, self._progress.counters)
        self._wake = asyncio.Event()
        self._yield = CooperativeYield(engine.clock.now)
        self._feeding = True
        self._error: BaseException | None = None
        self._halted = False
        self._closed = False
        self._orphaned = False
        self._permitted = False
        self._workers: dict[asyncio.Task[None], Entry[R] | None] = {}
        self._cancelled: set[asyncio.Task[None]] = set()
        for _ in range(min(plan.concurrency, source.length or plan.concurrency)):
            worker = asyncio.ensure_future(self._work())
            # With eager tasks (Python 3.12) it may hold an entry already.
            self._workers.setdefault(worker, None)
            worker.add_done_callback(self._worker_done)

    # --- the workers' side

    async def _work(self) -> None:
        worker = asyncio.current_task()
        assert worker is not None  # noqa: S101 - for the type checker
        breaker, clock = self._engine.breaker, self._clock
        while self._feeding:
            entry = await self._take()
            self._workers[worker] = entry
            await self._yield.wait()  # so a source of repeated items cannot block
            if entry is None or entry.call is None:
                continue
            breaker.begin(clock.now())
            try:
                answer = await self._engine.run(entry.call)
            finally:
                breaker.end(clock.now())
            self._workers[worker] = None
            self._resolve(entry, entry.call, answer)

    async def _take(self) -> Entry[R] | None:
        """Take one more from the source; return it if it is to be called for."""
        if not self._slots.try_acquire():
            await self._slots.acquire()
        try:
            given = await self._source.take()
        except StopAsyncIteration:
            self._stop_feeding()
            return None
        try:
            operation = self._plan.results.operation_of(given)
        except DigaError as error:
            self._reject(given, error)
            return None
        return self._admit(operation)

    def _admit(self, operation: Operation[Any]) -> Entry[R] | None:
        if self._pending.is_repeated(operation.subject or operation.path):
            self._slots.release()
            return None
        if self._pending.join(operation.path):
            self._publish()
            return None
        call = Call(
            operation=operation,
            timeouts=self._plan.timeouts,
            bulk=True,
            counters=self._counters,
        )
        return self._pending.add(call)

    def _reject(self, given: object, error: DigaError) -> None:
        error = error.with_traceback(None)
        rejected = self._pending.reject(
            given, lambda name: self._plan.results.rejection_of(name, error)
        )
        if rejected is None:
            self._slots.release()
            return
        self._publish()
        if self._engine.observer.is_on:
            event = lookup_event(rejected[0], error)
            self._tell(lambda: self._engine.observer.lookup(event))

    def _resolve(self, entry: Entry[R], call: Call[Any], answer: Answer[Any]) -> None:
        if isinstance(answer, DigaError):
            if self._halted and answer.transient:
                return  # it did not get all its attempts
            if self._is_fatal(answer):
                self.halt(answer)
                return
        self._permitted = self._permitted or _shows_permission(answer)
        result = self._plan.results.result_of(call, answer, self._clock.now())
        self._pending.resolve(entry, result, outcome_kind(answer))
        self._publish()
        self._tell(lambda: self._engine.report(call, answer))

    def _tell(self, report: Callable[[], None]) -> None:
        """Report an outcome; what the user's hook raises ends the run."""
        try:
            report()
        except Exception as error:  # noqa: BLE001 - a hook may raise any exception
            self.halt(error)

    def _publish(self) -> None:
        if self._pending.is_ready:
            self._wake.set()

    def _is_fatal(self, error: DigaError) -> bool:
        """Whether every other item would fail alike."""
        breaker = self._engine.breaker
        if isinstance(error, PermissionDeniedError):
            return not self._permitted
        if error.transient and breaker.is_hopeless(self._clock.now()):
            return True
        if isinstance(error, AuthenticationError | ClientClosedError):
            return True
        if getattr(error, "proxy_status", None) is not None and not error.transient:
            return True
        # A run waits out any throttling, unless the delay is longer than an outage.
        asked = getattr(error, "retry_after", None) or 0.0
        too_long = error.transient and asked > breaker.most_seconds
        return too_long or is_throttling(error)

    # --- the end

    def _stop_feeding(self) -> None:
        self._feeding = False
        for worker, entry in self._workers.items():
            if entry is None and worker is not asyncio.current_task():
                self._cancel(worker)

    def _cancel(self, worker: asyncio.Task[None]) -> None:
        """Cancel a worker once: again would interrupt the source's ``finally``."""
        if worker not in self._cancelled:
            self._cancelled.add(worker)
            worker.cancel()

    def halt(self, error: BaseException, *, immediately: bool = False) -> None:
        """
        Send nothing more; raise *error* once what is in flight was delivered.

        Args:
            error: Why.
            immediately: Cancel what is in flight as well.
        """
        if not self._halted:
            self._halted = True
            self._error = error
        self._stop_feeding()
        for worker, entry in self._workers.items():
            call = None if entry is None else entry.call
            if call is None or worker is asyncio.current_task():
                continue
            call.halted = True
            if immediately or not call.sending:
                self._cancel(worker)

    def _worker_done(self, worker: asyncio.Task[None]) -> None:
        entry = self._workers.pop(worker)
        self._cancelled.discard(worker)
        error = _error_of(worker)
        if error is not None and entry is None:
            self._error = self._error or error  # the source raised
            self._stop_feeding()
        elif error is not None:
            self.halt(error)
        if not self._workers:
            self._progress.end(self._clock.now())
            self._pending.end()
            self._wake.set()
            self._engine.observer.run(self.stats, self._error)
            self._on_end(self)
            if self._orphaned:
                self._source.abandon()

    def abandon(self) -> None:
        """Cancel everything: nothing more will be consumed."""
        self._feeding = False
        self._halted = True
        for worker in self._workers:
            self._cancel(worker)

    def orphan(self) -> None:
        """Cancel everything, from whatever thread the garbage collector runs in."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._be_orphaned)

    def _be_orphaned(self) -> None:
        self._orphaned = True
        self.abandon()
        if not self._workers:
            self._source.abandon()

    async def aclose(self) -> None:
        """Cancel everything; return when nothing is left."""
        if not self._loop.is_closed():
            self._require_own_loop()
        self._closed = True
        self._error = None
        self.abandon()
        # The caller may be cancelled meanwhile, by anyio again and again.
        await asyncio.shield(asyncio.ensure_future(self._end()))

    async def _end(self) -> None:
        await self.wait_for_workers()
        self._pending.drop()
        self._wake.set()
        await self._source.close()

    def _require_own_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise WrongLoopError("the run belongs to another event loop")

    async def wait_for_workers(self) -> None:
        """Return when no worker is left."""
        while self._workers:
            await asyncio.wait(tuple(self._workers))
            await asyncio.sleep(0)  # their callbacks run in the next turn of the loop

    # --- the consumer's side

    async def next(self) -> R:
        """
        Return the next result.

        Raises:
            StopAsyncIteration: There is no more.
            WrongLoopError: The run belongs to another loop.
        """
        self._require_own_loop()
        while not self._pending.is_ready:
            if not self._workers:
                await self._finish()
            self._wake.clear()
            await self._wake.wait()
        return self._deliver()

    async def _finish(self) -> None:
        await self._source.close()
        error, self._error = self._error, None
        if error is None:
            raise StopAsyncIteration
        try:
            raise error
        finally:
            del error  # or it would keep this frame alive

    def _deliver(self) -> R:
        entry = self._pending.deliver()
        self._slots.release()
        self._progress.deliver(entry.kind, self._clock.now())
        assert entry.result is not None  # noqa: S101 - it is resolved
        return entry.result

    @property
    def unanswered(self) -> tuple[UUID | str, ...]:
        """What was taken and has no result, as often as given."""
        return self._pending.unanswered(resolved=self._closed)

    @property
    def seen(self) -> tuple[UUID | str, ...]:
        """The distinct items of a run that remembers them, in the source's order."""
        return tuple(self._pending.seen or ())

    @property
    def stats(self) -> LookupStats:
        """A snapshot of the run."""
        return self._progress.stats(self._clock.now())


def _error_of(worker: asyncio.Task[None]) -> BaseException | None:
    """Return what ended *worker*; None when it was the run itself."""
    if not worker.cancelled():
        return worker.exception()
    # Not cancelled by the run: the source raised it.
    return None if worker.cancelling() else asyncio.CancelledError()


def _shows_permission(answer: object) -> bool:
    """Whether the answer shows that the key may read records."""
    if not isinstance(answer, DigaError) or isinstance(answer, NotFoundError):
        return True
    return isinstance(answer, InvalidResponseError) and answer.status == 200  # noqa: PLR2004
