"""
`send_many`: the way into the library for many operations.

Programs that only look up single phones do not import this module.
"""

import sys
from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any, TypeVar

from diga_async._api.operation import Operation
from diga_async._bulk.plan import OperationResults, Plan, Result, Results
from diga_async._bulk.run import Run
from diga_async._bulk.source import Source
from diga_async._bulk.stream import Stream
from diga_async._calls import Client, lifecycle_of
from diga_async._models.options import Timeouts, check_count

T = TypeVar("T")
R = TypeVar("R")


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
