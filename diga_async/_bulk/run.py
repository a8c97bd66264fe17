"""
Many ids through one lookup: one source, N workers, one bounded buffer.

Workers take ids from the source one at a time and settle them;
the consumer takes the outcomes.
An id that is taken and not yet handed out holds one of a fixed number of
semaphore, so a slow consumer holds the source back and memory does not grow.
"""

import asyncio
from collections.abc import Callable
from uuid import UUID

import attrs

from diga_async._api.phones import Answer, phone_id_of
from diga_async._bulk.cooperative_yield import CooperativeYield
from diga_async._bulk.pending import Entry, PendingTable
from diga_async._bulk.rate_meter import RateMeter
from diga_async._bulk.semaphore import Semaphore
from diga_async._bulk.source import Source
from diga_async._engine.call import Call, Stage, Counters, outcome_of
from diga_async._engine.clock import Clock
from diga_async._engine.observer import Observer
from diga_async._flow.circuit_breaker import CircuitBreaker
from diga_async._flow.retry import is_throttling
from diga_async._models.errors import (
    AuthenticationError,
    ClientClosedError,
    DigaError,
    InvalidPhoneIdError,
    InvalidResponseError,
    PermissionDeniedError,
    WrongLoopError,
)
from diga_async._models.options import Timeouts
from diga_async._models.outcomes import Failed, Found, Missing, Outcome
from diga_async._models.stats import LookupStats


@attrs.frozen(eq=False, repr=False, kw_only=True)
class Plan:
    """
    How a run is to be done.

    Attributes:
        concurrency: Lookups at once.
        timeouts: How long each may take.
        ordered: Hand out in the order of the source.
        distinct: Ask each distinct id once, and remember them all.
    """

    concurrency: int
    timeouts: Timeouts
    ordered: bool = False
    distinct: bool = False


@attrs.define(eq=False, repr=False)
class _Counts:
    found: int = 0
    missing: int = 0
    failed: int = 0


class Run:
    """
    The inside of one run; its workers hold it, and the consumer's handle does too.

    An end has two kinds. When the source ends, or raises, what was taken is
    still looked up to the end. When the run *halts*, nothing more is sent,
    what is in shared is awaited, and the rest stays without an outcome.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - one place puts it together
        self,
        source: Source,
        plan: Plan,
        run: Stage,
        counters: Counters,
        breaker: CircuitBreaker,
        clock: Clock,
        observer: Observer,
        on_end: Callable[["Run"], None],
    ) -> None:
        self._source = source
        self._plan = plan
        self._look_up = run
        self._counters = Counters()
        self._all_counters = (counters, self._counters)
        self._clock = clock
        self._breaker = breaker
        self._observer = observer
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._slots = Semaphore(2 * plan.concurrency)
        self._pending = PendingTable(ordered=plan.ordered, distinct=plan.distinct)
        self._wake = asyncio.Event()
        self._yield = CooperativeYield(clock.now)
        self._feeding = True
        self._error: BaseException | None = None
        self._halted = False
        self._closed = False
        self._orphaned = False
        self._permitted = False
        self._counts = _Counts()
        self._meter = RateMeter()
        self._begun = clock.now()
        self._ended: float | None = None
        self._workers: dict[asyncio.Task[None], Entry | None] = {}
        self._cancelled: set[asyncio.Task[None]] = set()
        for _ in range(min(plan.concurrency, source.length or plan.concurrency)):
            worker = asyncio.ensure_future(self._work())
            # With eager tasks (Python 3.12) it is at work already.
            self._workers.setdefault(worker, None)
            worker.add_done_callback(self._worker_done)

    # --- the workers' side

    async def _work(self) -> None:
        worker = asyncio.current_task()
        assert worker is not None  # noqa: S101 - for the type checker
        while self._feeding:
            entry = await self._take()
            self._workers[worker] = entry
            await self._yield.wait()  # so a source of nothing new cannot block
            if entry is None or entry.lookup is None:
                continue
            self._breaker.begin(self._clock.now())
            try:
                answer = await self._look_up(entry.lookup)
            finally:
                self._breaker.end(self._clock.now())
            self._workers[worker] = None
            self._settle(entry, entry.lookup, answer)

    async def _take(self) -> Entry | None:
        """Take one more from the source; return it if it is to be looked up."""
        if not self._slots.try_acquire():
            await self._slots.take()
        try:
            given = await self._source.take()
        except StopAsyncIteration:
            self._stop_feeding()
            return None
        try:
            phone_id = phone_id_of(given)
        except InvalidPhoneIdError as error:
            self._refuse(given, error)
            return None
        return self._admit(phone_id)

    def _admit(self, phone_id: UUID) -> Entry | None:
        if self._pending.is_repeated(phone_id):
            self._slots.release()
            return None
        if self._pending.join(phone_id):
            self._publish()
            return None
        lookup = Call(
            phone_id=phone_id,
            timeouts=self._plan.timeouts,
            bulk=True,
            counters_of=self._all_counters,
        )
        return self._pending.open(lookup)

    def _refuse(self, given: object, error: InvalidPhoneIdError) -> None:
        failed = self._pending.refuse(given, error)
        if failed is None:
            self._slots.release()
            return
        self._observer.lookup(failed)
        self._publish()

    def _settle(self, entry: Entry, lookup: Call, answer: Answer) -> None:
        if isinstance(answer, DigaError):
            if self._halted and answer.transient:
                return  # it was not given all its attempts
            if self._is_fatal(answer):
                self.halt(answer)
                return
        outcome = outcome_of(lookup, answer, self._clock.now())
        if self._observer.is_on:
            self._observer.lookup(outcome)
        self._permitted = self._permitted or _is_success(outcome)
        self._pending.settle(entry, outcome)
        self._publish()

    def _publish(self) -> None:
        if self._pending.is_ready:
            self._wake.set()

    def _is_fatal(self, error: DigaError) -> bool:
        """Whether every other id would fail alike."""
        if isinstance(error, PermissionDeniedError):
            return not self._permitted
        if error.transient and self._breaker.is_hopeless(self._clock.now()):
            return True
        if isinstance(error, AuthenticationError | ClientClosedError):
            return True
        # A run waits out any throttling, and any delay but one that is too long.
        asked = getattr(error, "retry_after", None) or 0.0
        too_long = error.transient and asked > self._breaker.most_seconds
        return too_long or is_throttling(error)

    # --- the end

    def _stop_feeding(self) -> None:
        self._feeding = False
        for worker, entry in self._workers.items():
            if entry is None and worker is not asyncio.current_task():
                self._cancel(worker)

    def _cancel(self, worker: asyncio.Task[None]) -> None:
        """Cancel a worker once: a second time would cut a source's ``finally`` off."""
        if worker not in self._cancelled:
            self._cancelled.add(worker)
            worker.cancel()

    def halt(self, error: BaseException, *, at_once: bool = False) -> None:
        """
        Send nothing more; raise *error* once what is in flight was handed out.

        Args:
            error: Why.
            at_once: Break off what is in shared as well.
        """
        if not self._halted:
            self._halted = True
            self._error = error
        self._stop_feeding()
        for worker, entry in self._workers.items():
            lookup = None if entry is None else entry.lookup
            if lookup is None or worker is asyncio.current_task():
                continue
            lookup.halted = True
            if at_once or not lookup.sending:
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
            self._ended = self._clock.now()
            self._pending.end()
            self._wake.set()
            self._observer.run(self.stats, self._error)
            self._on_end(self)
            if self._orphaned:
                self._source.abandon()

    def abandon(self) -> None:
        """Break off, because nobody will ask any more."""
        self._feeding = False
        self._halted = True
        for worker in self._workers:
            self._cancel(worker)

    def orphan(self) -> None:
        """Break off from wherever the garbage collector happens to run."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._be_orphaned)

    def _be_orphaned(self) -> None:
        self._orphaned = True
        self.abandon()
        if not self._workers:
            self._source.abandon()

    async def aclose(self) -> None:
        """Break off; return when nothing is left."""
        if not self._loop.is_closed():
            self._require_home()
        self._closed = True
        self._error = None
        self.abandon()
        # Whoever leaves may be cancelled meanwhile, by anyio again and again.
        await asyncio.shield(asyncio.ensure_future(self._end()))

    async def _end(self) -> None:
        await self.wait_for_workers()
        self._pending.drop()
        self._wake.set()
        await self._source.close()

    def _require_home(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise WrongLoopError("the run lives in another event loop")

    async def wait_for_workers(self) -> None:
        """Return when no worker is left."""
        while self._workers:
            await asyncio.wait(tuple(self._workers))
            await asyncio.sleep(0)  # their callbacks run in the next turn

    # --- the consumer's side

    async def next(self) -> Outcome:
        """
        Return the next outcome.

        Raises:
            StopAsyncIteration: There is no more.
            WrongLoopError: The run lives in another loop.
        """
        self._require_home()
        while not self._pending.is_ready:
            if not self._workers:
                await self._finish()
            self._wake.clear()
            await self._wake.wait()
        return self._hand_out()

    async def _finish(self) -> None:
        await self._source.close()
        error, self._error = self._error, None
        if error is None:
            raise StopAsyncIteration
        try:
            raise error
        finally:
            del error  # or it would keep this very frame alive

    def _hand_out(self) -> Outcome:
        outcome = self._pending.hand_out()
        self._slots.release()
        self._meter.count(self._clock.now())
        self._count(outcome)
        return outcome

    def _count(self, outcome: Outcome) -> None:
        match outcome:
            case Found():
                self._counts.found += 1
            case Missing():
                self._counts.missing += 1
            case Failed():
                self._counts.failed += 1

    @property
    def unanswered(self) -> tuple[UUID | str, ...]:
        """The ids that were taken and have no outcome, each as often as given."""
        return self._pending.unanswered(settled=self._closed)

    @property
    def seen(self) -> tuple[UUID | str, ...]:
        """The distinct ids of a run that remembers them, in the source's order."""
        return tuple(self._pending.seen or ())

    @property
    def stats(self) -> LookupStats:
        """Where the run stands."""
        now = self._clock.now() if self._ended is None else self._ended
        rate = self._meter.rate(now)
        return LookupStats(
            **attrs.asdict(self._counts),
            retries=self._counters.retries,
            throttled=self._counters.answers["throttled"],
            in_flight=self._counters.in_flight,
            elapsed=now - self._begun,
            rate=rate,
            remaining_seconds=self._remaining(rate),
        )

    def _remaining(self, rate: float) -> float | None:
        if self._source.length is None:
            return None
        done = self._counts.found + self._counts.missing + self._counts.failed
        left = self._source.length - done
        if left <= 0:
            return 0.0
        return left / rate if rate else None


def _error_of(worker: asyncio.Task[None]) -> BaseException | None:
    """Return what ended *worker*; None when it was the run itself."""
    if not worker.cancelled():
        return worker.exception()
    # Nobody asked for it: the source raised it.
    return None if worker.cancelling() else asyncio.CancelledError()


def _is_success(outcome: Outcome) -> bool:
    """Whether the answer shows that the key may look phones up."""
    error = outcome.error if isinstance(outcome, Failed) else None
    return error is None or (
        isinstance(error, InvalidResponseError) and error.status == 200  # noqa: PLR2004
    )
