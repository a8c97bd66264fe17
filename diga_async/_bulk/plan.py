"""`Plan`: the options of a run, and how its items become results."""

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import attrs

from diga_async._api.operation import Answer, Operation
from diga_async._engine.call import Call
from diga_async._models.errors import DigaError
from diga_async._models.options import Timeouts
from diga_async._models.stats import LookupStats

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
T = TypeVar("T")


class Results(Protocol[R_co]):
    """Says what to send for an item of a source, and how to report its end."""

    def operation_of(self, item: Any) -> Operation[Any]:
        """
        Return what is sent for *item*.

        Raises:
            DigaError: *item* cannot be sent; the run goes on.
        """

    def result_of(self, call: Call[Any], answer: Answer[Any], now: float) -> R_co:
        """Return the result of a call that ended with *answer*."""

    def rejection_of(self, name: str, error: DigaError) -> R_co:
        """Return the result of an item that could not be sent."""


@attrs.frozen
class Result(Generic[T]):
    """
    The result of one operation of a run.

    Attributes:
        operation: The operation.
        answer: The value, or why there is none.
        attempts: Requests sent, except those answered 429.
        elapsed: Seconds from the first attempt to the answer.
    """

    operation: Operation[T]
    answer: Answer[T]
    attempts: int
    elapsed: float


class OperationResults(Generic[T]):
    """The results of a run whose source gives operations."""

    def operation_of(self, item: Operation[T]) -> Operation[T]:
        """Return the operation itself."""
        return item

    def result_of(self, call: Call[T], answer: Answer[T], now: float) -> Result[T]:
        """Return the operation with its answer."""
        return Result(call.operation, answer, call.attempts, call.elapsed(now))

    def rejection_of(self, name: str, error: DigaError) -> Result[T]:
        """Never called: an operation is never rejected."""
        raise NotImplementedError(name) from error


@attrs.frozen(eq=False, repr=False, kw_only=True)
class Plan(Generic[R]):
    """
    The options of a run.

    Attributes:
        results: Makes operations of its items, and results of their answers.
        concurrency: How many calls are under way at the same time, at most.
        timeouts: How long each call may take.
        ordered: Deliver in the order of the source.
        distinct: Take each distinct item once, and remember them all.
        permitted: Whether the key is known to be allowed to read: a 403 is then a
            failure of one item, and does not end the run.
        on_end: Told how the run ended, and why if early; None tells the observer.
    """

    results: Results[R]
    concurrency: int
    timeouts: Timeouts
    ordered: bool = False
    distinct: bool = False
    permitted: bool = False
    on_end: Callable[[LookupStats, BaseException | None], object] | None = None
