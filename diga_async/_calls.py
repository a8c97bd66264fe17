"""
`send`: the way into the library for one operation; `_runs` has that for many.

`client.phones` uses these two modules, and so does every new operation: see the
recipe *Add an operation* in CONTRIBUTING.
"""

from typing import Protocol, TypeVar

from diga_async._api.operation import Operation
from diga_async._lifecycle import Lifecycle
from diga_async._models.options import Timeouts

T = TypeVar("T")


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
