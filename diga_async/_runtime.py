"""What lives in one event loop: the stages stacked once, and all that is under way."""

import asyncio
import os
import random
from collections.abc import Callable
from ssl import SSLContext
from typing import get_args

import aiohttp
import attrs

from diga_async._api.phones import endpoint_of
from diga_async._bulk.run import Plan, Run
from diga_async._bulk.source import Source
from diga_async._engine.call import Counters
from diga_async._engine.clock import Clock
from diga_async._engine.credentials import Credentials
from diga_async._engine.observer import Hook, Observer
from diga_async._engine.scheduler import Scheduler
from diga_async._engine.single_flight import SingleFlight
from diga_async._engine.stages import Admitted, Retrying, Sending
from diga_async._flow.circuit_breaker import CircuitBreaker
from diga_async._flow.rate_limiter import RateLimiter
from diga_async._flow.retry import RetryBudget
from diga_async._models.errors import ClientClosedError, WrongLoopError
from diga_async._models.events import AnswerKind
from diga_async._models.options import Limits, RetryPolicy, Timeouts
from diga_async._models.stats import ClientStats
from diga_async._transport.transport import Transport

CLOSE_SECONDS = 1.0


@attrs.frozen(eq=False, repr=False, kw_only=True)
class Options:
    """What a client was asked to be, checked."""

    base_url: str
    session: aiohttp.ClientSession | None
    timeouts: Timeouts
    retry: RetryPolicy
    limits: Limits
    proxy: str | None = attrs.field(repr=False)
    ssl: SSLContext | None
    trace_configs: tuple[aiohttp.TraceConfig, ...]
    on_event: Hook | None


class Engine:
    """One client at work in one loop."""

    def __init__(
        self,
        options: Options,
        credentials: Credentials,
        counters: Counters,
        *,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._counters = counters
        self._limits = options.limits
        self._clock = clock = clock or Clock()
        self._limiter = limiter = RateLimiter(**attrs.asdict(options.limits))
        self._breaker = breaker = CircuitBreaker(options.retry.max_outage)
        self._scheduler = Scheduler(limiter, breaker, clock, chance)
        self._transport = Transport(
            connector=_connector_of(options.session),
            trace_configs=options.trace_configs,
            proxy=options.proxy,
            ssl=options.ssl,
        )
        phones = endpoint_of(options.base_url)
        sending = Sending(phones, credentials, self._transport, clock)
        self._observer = observer = Observer(options.on_event)
        admitted = Admitted(
            sending.attempt, self._scheduler, limiter, breaker, clock, chance, observer
        )
        retrying = Retrying(
            admitted.attempt,
            credentials,
            options.retry,
            RetryBudget(),
            breaker,
            clock,
            chance,
        )
        self._look_up = retrying.run
        self.single_flight = SingleFlight(
            self._look_up, clock, counters, observer, limiter.blocked_for
        )
        self._runs: set[Run] = set()

    @property
    def is_here(self) -> bool:
        """Whether the caller is in the loop, thread and process it lives in."""
        return asyncio.get_running_loop() is self.loop and os.getpid() == self._pid

    def run(self, source: Source, plan: Plan) -> Run:
        """Begin a run."""
        concurrency = min(plan.concurrency, self._limits.concurrency)
        run = Run(
            source,
            attrs.evolve(plan, concurrency=concurrency),
            self._look_up,
            self._counters,
            self._breaker,
            self._clock,
            self._observer,
            on_end=self._runs.discard,
        )
        self._runs.add(run)
        return run

    @property
    def outage(self) -> bool:
        """Whether runs are held back because nothing comes back."""
        return self._breaker.is_on

    @property
    def rate(self) -> float | None:
        """Requests a second that the limiter allows now; None when it is free."""
        return self._limiter.rate

    async def close(self) -> None:
        """End everything; whoever waits gets a `ClientClosedError`."""
        runs = tuple(self._runs)
        for run in runs:
            run.halt(ClientClosedError("the client was closed"), at_once=True)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.single_flight.close()
                for run in runs:
                    await run.wait_for_workers()
                await self._transport.close()
        except TimeoutError:  # a caller's own code does not let itself be cancelled
            self.abandon()
        except asyncio.CancelledError:
            self.abandon()
            raise
        finally:
            self._scheduler.close()

    def abandon(self) -> None:
        """Let go without waiting, from any thread, also when the loop is closed."""
        self._transport.abandon()


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


def client_stats(counters: Counters, engine: Engine | None) -> ClientStats:
    """Make a snapshot of a client that may be at work in *engine*."""
    answers = {name: counters.answers[name] for name in get_args(AnswerKind)}
    return ClientStats(
        requests=counters.requests,
        **answers,
        retries=counters.retries,
        in_flight=counters.in_flight,
        rate=None if engine is None else engine.rate,
        outage=engine is not None and engine.outage,
    )
