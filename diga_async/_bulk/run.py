"""
One run: many items through the engine, with N workers and one bounded buffer.

Workers take items from the source, one at a time, and resolve them; the consumer
takes the results. An item that is taken and not yet delivered occupies one of a fixed
number of slots, so a slow consumer holds the source back and memory does not grow.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar
from uuid import UUID

from diga_async._api.operation import Answer, Operation
from diga_async._bulk.address_doubt import AddressDoubt
from diga_async._bulk.cooperative_yield import CooperativeYield
from diga_async._bulk.early_end import ends_run, shows_permission
from diga_async._bulk.pending import Entry, PendingTable
from diga_async._bulk.plan import Plan
from diga_async._bulk.progress import RunProgress
from diga_async._bulk.semaphore import Semaphore
from diga_async._bulk.source import Source
from diga_async._engine.address_question import wrong_address
from diga_async._engine.call import Call
from diga_async._engine.engine import Engine
from diga_async._engine.observer import lookup_event, outcome_kind
from diga_async._flow.circuit_breaker import Silence
from diga_async._models.errors import DigaError, NotFoundError, WrongLoopError
from diga_async._models.stats import LookupStats

R = TypeVar("R")


class Run(Generic[R]):
    """
    The inside of one run, held by its workers and by the consumer's handle.

    A run ends in one of two ways. When the source ends, or raises, the items taken
    before are still completed. When the run *halts*, nothing more is sent,
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
        self._silence = Silence(engine.breaker)
        self._doubt = AddressDoubt(
            engine.address.check,
            ask=partial(engine.address.ask, plan.timeouts),
            wrong=partial(wrong_address, engine.endpoint.url),
            halt=self.halt,
            on_end=self._end_if_over,
        )
        self._wake = asyncio.Event()
        self._yield = CooperativeYield(engine.clock.now)
        self._feeding = True
        self._error: BaseException | None = None
        self._halted = False
        self._closed = False
        self._orphaned = False
        self._has_ended = False
        self._permitted = plan.permitted
        self._ending: asyncio.Task[None] | None = None
        self._has_told_ending = False
        self._workers: dict[asyncio.Task[None], Entry[R] | None] = {}
        self._cancelled: set[asyncio.Task[None]] = set()
        workers = min(plan.concurrency, source.length or plan.concurrency)
        for number in range(1, workers + 1):
            name = f"diga_async: worker {number} of {workers}"
            worker = self._loop.create_task(self._work(), name=name)
            # With eager tasks (Python 3.12) it may hold an entry already.
            self._workers.setdefault(worker, None)
            worker.add_done_callback(self._worker_done)

    # --- the workers' side

    async def _work(self) -> None:
        worker = asyncio.current_task()
        assert worker is not None  # noqa: S101 - for the type checker
        silence, clock = self._silence, self._clock
        while self._feeding:
            entry = await self._take()
            self._workers[worker] = entry
            await self._yield.wait()  # so a source of repeated items cannot block
            if self._halted:
                return  # the source has swallowed its cancellation
            if entry is None or entry.call is None:
                continue
            silence.begin(clock.now())
            try:
                answer = await self._engine.run(entry.call)
            finally:
                silence.end(clock.now())
            self._workers[worker] = None
            self._resolve(entry, entry.call, answer)

    async def _take(self) -> Entry[R] | None:
        """Take the next item; return its entry if it needs a call."""
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
            silence=self._silence,
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
            if self._ends_with(answer):
                self.halt(answer)
                return
        if not self._permitted:
            self._permitted = shows_permission(answer)
        if isinstance(answer, NotFoundError):
            settle = partial(self._settle, entry, call, answer)
            if self._doubt.holds(settle):
                return
        self._settle(entry, call, answer)

    def _settle(self, entry: Entry[R], call: Call[Any], answer: Answer[Any]) -> None:
        result = self._plan.results.result_of(call, answer, self._clock.now())
        self._pending.resolve(entry, result, outcome_kind(answer))
        self._publish()
        if self._engine.observer.is_on:
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

    def _ends_with(self, error: DigaError) -> bool:
        return ends_run(
            error,
            is_permitted=self._permitted,
            is_hopeless=error.transient
            and self._silence.is_hopeless(self._clock.now()),
            most_seconds=self._engine.breaker.most_seconds,
        )

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
        Send nothing more; raise *error* once the calls in flight are delivered.

        Args:
            error: Why.
            immediately: Cancel what is in flight as well.
        """
        if not self._halted:
            self._halted = True
            self._error = error
        self._stop_feeding()
        if immediately:
            self._doubt.cancel()
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
        self._end_if_over()

    @property
    def _is_over(self) -> bool:
        """Whether nothing more will be resolved."""
        return not self._workers and self._doubt.question is None

    def _end_if_over(self) -> None:
        if not self._is_over or self._has_ended:
            return
        self._has_ended = True
        self._pending.end()
        self._wake.set()
        self._on_end(self)
        if self._orphaned:
            self._source.abandon()
        self._end_if_delivered()

    def _end_if_delivered(self) -> None:
        """End the run's time when the consumer has everything, or wants no more."""
        if not self._has_ended or self._progress.ended is not None:
            return
        if self._closed or self._orphaned or not self._pending.is_ready:
            self._progress.end(self._clock.now())
            on_end = self._plan.on_end or self._engine.observer.run
            is_left = self._closed or self._orphaned
            on_end(self.stats, asyncio.CancelledError() if is_left else self._error)

    def abandon(self) -> None:
        """Cancel everything: nothing more will be consumed."""
        self._feeding = False
        self._halted = True
        self._doubt.cancel()
        for worker in self._workers:
            self._cancel(worker)

    def orphan(self) -> None:
        """Cancel everything, from whatever thread the garbage collector runs in."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._be_orphaned)

    def _be_orphaned(self) -> None:
        self._orphaned = True
        self.abandon()
        if self._is_over:
            self._source.abandon()
            self._end_if_delivered()

    async def aclose(self) -> None:
        """Cancel everything; return when nothing is left."""
        is_alone = self._loop.is_closed()  # nothing of the run continues
        if not is_alone:
            self._require_own_loop()
        self._closed = True
        self._error = None
        if is_alone:
            self._pending.drop()
            self._source.abandon()
            return
        self.abandon()
        # The caller may be cancelled meanwhile, by anyio repeatedly.
        ending = asyncio.create_task(self._end(), name="diga_async: closing a run")
        await asyncio.shield(ending)

    async def _end(self) -> None:
        await self.wait_for_workers()
        self._pending.drop()
        self._end_if_delivered()
        self._wake.set()
        await self._close_source()

    async def _close_source(self) -> None:
        """Close the source once, in a task of its own: its ``finally`` may wait."""
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._source.close())
        await asyncio.wait([self._ending])  # which does not cancel it
        if not self._has_told_ending:
            self._has_told_ending = True
            self._ending.result()

    def _require_own_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise WrongLoopError("the run belongs to another event loop")

    async def wait_for_workers(self) -> None:
        """Return when no worker is left."""
        while not self._is_over:
            question = self._doubt.question
            await asyncio.wait([*self._workers, *filter(None, [question])])
            await asyncio.sleep(0)  # their callbacks run in the next turn of the loop

    # --- the consumer's side

    async def next(self) -> R:
        """
        Return the next result.

        Raises:
            StopAsyncIteration: No result is left.
            WrongLoopError: The run belongs to another loop.
        """
        self._require_own_loop()
        while not self._pending.is_ready:
            if self._is_over:
                await self._finish()
            self._wake.clear()
            await self._wake.wait()
        return self._deliver()

    async def _finish(self) -> None:
        await self._close_source()
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
        if self._has_ended:
            self._end_if_delivered()
        assert entry.result is not None  # noqa: S101 - it is resolved
        return entry.result

    @property
    def unanswered(self) -> tuple[UUID | str, ...]:
        """The items taken that have no result, as often as given."""
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
