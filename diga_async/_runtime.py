"""`Runtime`: assembles the parts of one open client."""

import asyncio
import os
import random
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import aiohttp
import attrs

from diga_async._api.addresses import server_of
from diga_async._api.operation import Operation
from diga_async._engine.call import Counters
from diga_async._engine.clock import Clock
from diga_async._engine.credentials import Credentials
from diga_async._engine.engine import Engine, Settings
from diga_async._engine.observer import Hook, Observer
from diga_async._engine.single_flight import SingleFlight
from diga_async._flow.address_check import AddressCheck
from diga_async._flow.rate_limiter import RateLimiter
from diga_async._models.errors import (
    ClientClosedError,
    WrongLoopError,
)
from diga_async._models.events import AnswerKind
from diga_async._models.options import Limits, RetryPolicy, Timeouts
from diga_async._transport.transport import Transport

if TYPE_CHECKING:
    from diga_async._bulk.plan import Plan
    from diga_async._bulk.run import Run
    from diga_async._bulk.source import Source
    from diga_async._models.stats import ClientStats

# Not every program has runs or reads statistics, and few need the control.
# ruff: noqa: PLC0415

CLOSE_SECONDS = 1.0

R = TypeVar("R")


@attrs.frozen(eq=False, repr=False, kw_only=True)
class Options:
    """The options of a client, checked."""

    base_url: str
    session: aiohttp.ClientSession | None
    timeouts: Timeouts
    retry: RetryPolicy
    limits: Limits
    proxy: str | None = attrs.field(repr=False)
    ssl: SSLContext | None
    trace_configs: tuple[aiohttp.TraceConfig, ...]
    on_event: Hook | None
    headers: Mapping[str, str] = attrs.field(factory=dict)


class Runtime:
    """One client at work in one event loop."""

    def __init__(  # noqa: PLR0913 - tests replace the last two
        self,
        options: Options,
        credentials: Credentials,
        counters: Counters,
        address: AddressCheck | None = None,
        *,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.chance = chance
        self._pid = os.getpid()
        self._limits = options.limits
        self._transport = Transport(
            connector=_connector_of(options.session),
            trace_configs=options.trace_configs,
            proxy=options.proxy,
            ssl=options.ssl,
        )
        self.engine = Engine(
            Settings(
                base_url=options.base_url,
                proxy=options.proxy,
                retry=options.retry,
                limits=options.limits,
                control=_shortest_listing,
                headers=options.headers,
            ),
            credentials,
            self._transport,
            counters,
            address=address,
            observer=Observer(
                options.on_event, server_of(options.base_url, options.proxy)
            ),
            clock=clock,
            chance=chance,
        )
        self.single_flight = SingleFlight(self.engine)
        self.bulk_flight = SingleFlight(self.engine, bulk=True)
        self._runs: set[Run[Any]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pauses: set[asyncio.Future[None]] = set()
        self._closing = False

    @property
    def is_current(self) -> bool:
        """Whether the caller is in the loop, thread and process it belongs to."""
        # In this order: a forked child has no running loop.
        return os.getpid() == self._pid and asyncio.get_running_loop() is self.loop

    def start(self, source: "Source", plan: "Plan[R]") -> "Run[R]":
        """Start a run."""
        from diga_async._bulk.run import Run

        concurrency = min(plan.concurrency, self._limits.concurrency)
        plan = attrs.evolve(plan, concurrency=concurrency)
        run = Run(self.engine, source, plan, self._ended)
        self._runs.add(run)
        return run

    def _ended(self, run: "Run[Any]") -> None:
        self._runs.discard(run)
        if not self._runs:
            self.engine.breaker.no_run_is_left()

    def keep_no_connections(self) -> None:
        """Close each connection after its response: nothing will close it later."""
        self._transport.keep_none()

    async def close_connections(self) -> None:
        """Close the connections: the loop ends, and other generators with it."""
        for flight in (self.single_flight, self.bulk_flight):
            await flight.wait(CLOSE_SECONDS)  # for the requests of those generators
        await self._transport.close()

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Start a task of the client's own, which ends when the client is closed."""
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def sleep(self, seconds: float) -> None:
        """
        Wait between two polls.

        Raises:
            ClientClosedError: The client is closed meanwhile.
        """
        if self._closing:
            raise _closed()
        pause = self.loop.create_future()
        timer = self.engine.clock.call_later(seconds, partial(_end, pause))
        self._pauses.add(pause)
        try:
            await pause
        finally:
            timer.cancel()
            self._pauses.discard(pause)

    async def close(self) -> None:
        """End everything under way, with a `ClientClosedError`."""
        self._closing = True
        for pause in self._pauses:
            if not pause.done():
                pause.set_exception(_closed())
        runs = tuple(self._runs)
        for run in runs:
            run.halt(_closed(), immediately=True)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.single_flight.close()
                await self.bulk_flight.close()
                for run in runs:
                    await run.wait_for_workers()
                await self.engine.close()
                if self._tasks:
                    await asyncio.wait(tuple(self._tasks))
                await self._transport.close()
        except TimeoutError:  # the user's own code ignores its cancellation
            self.abandon()
        except asyncio.CancelledError:
            self.abandon()
            raise
        finally:
            self.engine.scheduler.close()

    def abandon(self) -> None:
        """Drop the connections without waiting, from any thread or a closed loop."""
        self._transport.abandon()


def _shortest_listing() -> Operation[Any]:
    from diga_async._api.listing import PhoneQuery, list_phones

    return list_phones(PhoneQuery(), page_size=1)


def _end(pause: "asyncio.Future[None]") -> None:
    if not pause.done():
        pause.set_result(None)


def _closed() -> ClientClosedError:
    return ClientClosedError("the client was closed")


def _connector_of(
    session: aiohttp.ClientSession | None,
) -> aiohttp.BaseConnector | None:
    if session is None:
        return None
    connector = session.connector
    if connector is None or connector.closed:
        raise ClientClosedError("the session that was lent is closed")
    if connector._loop is not asyncio.get_running_loop():  # noqa: SLF001 - no other way
        raise WrongLoopError("the session that was lent belongs to another event loop")
    return connector


def client_stats(
    counters: Counters, limits: Limits, runtime: Runtime | None
) -> "ClientStats":
    """Return a snapshot of a client; *runtime* is None while it is not open."""
    from diga_async._models.stats import ClientStats

    answers = {name: counters.answers[name] for name in get_args(AnswerKind)}
    if runtime is None:
        engine, believed = None, RateLimiter(**attrs.asdict(limits)).snapshot(0.0)
    else:
        engine = runtime.engine
        believed = engine.limiter.snapshot(engine.clock.now())
    return ClientStats(
        requests=counters.requests,
        **answers,
        retries=counters.retries,
        in_flight=counters.in_flight,
        limiter=believed.state,
        rate=believed.rate,
        slots=believed.slots,
        resumes_in=believed.resumes_in,
        outage=engine is not None and engine.breaker.is_open,
        last_error=None if engine is None else engine.last_error,
    )
