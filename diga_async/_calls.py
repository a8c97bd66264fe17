"""
`send` and `send_many`: the way into the library for every operation.

`client.phones` uses these two functions, and so does every new operation: see the
recipe *Add an operation* in CONTRIBUTING.
"""

import sys
from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any, Protocol, TypeVar

from diga_async._api.operation import Operation
from diga_async._bulk.plan import OperationResults, Plan, Result, Results
from diga_async._bulk.run import Run
from diga_async._bulk.source import Source
from diga_async._bulk.stream import Stream
from diga_async._lifecycle import Lifecycle
from diga_async._models.options import Timeouts, check_count

T = TypeVar("T")
R = TypeVar("R")


class Client(Protocol):
    """The part of a `DigaClient` that sending uses."""

    _lifecycle: Lifecycle


def lifecycle_of(client: Client) -> Lifecycle:
    """Return the lifecycle of *client*."""
    return client._lifecycle  # noqa: SLF001 - the one place that looks inside


async def send(
    client: Client,
    operation: Operation[T],
    *,
    timeouts: Timeouts | float | None = None,
    bulk: bool = False,
) -> T:
    """
    Send one operation; concurrent calls of the same operation share a request.

    Args:
        client: Sends it, with its retries, limits, key and observer.
        operation: What is sent.
        timeouts: How long to wait; by default the client's.
        bulk: Whether it has the priority and the patience of a run: single calls go
            first, throttling is waited out, and `Timeouts.total` stands still
            meanwhile.

    Raises:
        DigaError: Why there is no value.
    """
    lifecycle = lifecycle_of(client)
    allowed = lifecycle.allowed(timeouts)
    runtime = lifecycle.open()
    flight = runtime.bulk_flight if bulk else runtime.single_flight
    return await flight.send(operation, allowed)


def send_many(
    client: Client,
    operations: Iterable[Operation[T]] | AsyncIterable[Operation[T]],
    *,
    concurrency: int | None = None,
    ordered: bool = False,
    timeouts: Timeouts | float | None = None,
) -> Stream[Result[T]]:
    """
    Send many operations; stream a `Result` for each.

    Args:
        client: Sends them, with its retries, limits, key and observer.
        operations: Any iterable or async iterable, read lazily.
        concurrency: How many are under way at the same time, at most.
        ordered: Deliver in the order of the source, not of completion.
        timeouts: How long each may take; by default the client's.

    Raises:
        TypeError: *operations* is not iterable.
        ConfigurationError: An option is out of range.
    """
    plan = make_plan(
        client,
        OperationResults[T](),
        concurrency=concurrency,
        timeouts=timeouts,
        ordered=ordered,
    )
    return Stream(starter(client, operations, plan))


def starter(
    client: Client,
    items: Iterable[Any] | AsyncIterable[Any] | Source,
    plan: Plan[R],
) -> Callable[[], Run[R]]:
    """
    Return a function that starts a run; it keeps *client* alive.

    Raises:
        TypeError: *items* is one id, or not iterable.
    """
    source = items if isinstance(items, Source) else Source(items)
    return lambda: lifecycle_of(client).open().start(source, plan)


def make_plan(  # noqa: PLR0913 - the options of a run
    client: Client,
    results: Results[R],
    *,
    concurrency: int | None,
    timeouts: Timeouts | float | None,
    ordered: bool = False,
    distinct: bool = False,
) -> Plan[R]:
    """
    Return a checked plan for a run.

    Raises:
        ConfigurationError: An option is out of range.
    """
    most = sys.maxsize if concurrency is None else concurrency
    check_count("concurrency", most)
    allowed = lifecycle_of(client).allowed(timeouts)
    return Plan(
        results=results,
        concurrency=most,
        timeouts=allowed,
        ordered=ordered,
        distinct=distinct,
    )
