"""`diga.phones`: what a caller asks, and the stream that answers."""

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from diga_async._api.phones import phone_id_of
from diga_async._bulk.run import Plan, Run
from diga_async._bulk.source import PhoneIds, Source
from diga_async._models.errors import ConfigurationError, DigaError
from diga_async._models.options import Timeouts, check_flag
from diga_async._models.outcomes import Failed, Found, Missing, Outcome, PhoneBatch
from diga_async._models.phone import Phone
from diga_async._models.stats import LookupStats
from diga_async._runtime import Engine

_NOTHING = LookupStats(
    found=0,
    missing=0,
    failed=0,
    retries=0,
    throttled=0,
    in_flight=0,
    elapsed=0.0,
    rate=0.0,
    remaining_seconds=None,
)


class Phones:
    """
    The phones of the project that the client's key belongs to.

    Reached as `DigaClient.phones`; not made by users.

    .. versionadded:: 0.1.0
    """

    def __init__(self, engine: Callable[[], Engine], timeouts: Timeouts) -> None:
        self._engine = engine
        self._timeouts = timeouts

    async def get(
        self, phone_id: UUID | str, *, timeouts: Timeouts | float | None = None
    ) -> Phone:
        """
        Look up one phone.

        What may pass is tried again as the client's `RetryPolicy` allows;
        each attempt has its own limit, and the whole lookup one deadline.
        Whoever asks for the same id at the same time shares the request.

        Args:
            phone_id: The phone's id. Text must be the canonical 36 characters.
            timeouts: How long to wait; a number is the `total` in seconds.
                By default as the client was made.

        Returns:
            The phone as the server described it at that moment.

        Raises:
            NotFoundError: The project has no such phone. Not retried.
            AuthenticationError: The key was refused. Not retried, but with
                another key when the client can ask for one.
            PermissionDeniedError: The key lacks *Phones: read*. Not retried.
            RateLimitError: Still throttled at the deadline, or
                ``Retry-After`` asked for more time than there is.
            InternalServerError: The server failed on the last attempt.
            APIStatusError: Any other status. 408 and 425 are retried.
            APITimeoutError: The last attempt, or the wait for one, took too long.
            APIConnectionError: The last attempt brought no answer.
            InvalidResponseError: The answer is not the phone asked for.
            InvalidPhoneIdError: *phone_id* is no UUID; nothing was sent.
            ClientClosedError: The client is closed, or was while waiting.
            WrongLoopError: The client belongs to another event loop.
            ConfigurationError: *timeouts* is no positive number, or the
                callable returned no key.

        .. versionadded:: 0.1.0
        """
        checked = phone_id_of(phone_id)
        return await self._engine().single_flight.get(checked, self._allowed(timeouts))

    def iter_many(
        self,
        phone_ids: PhoneIds,
        *,
        concurrency: int | None = None,
        ordered: bool = False,
        timeouts: Timeouts | float | None = None,
    ) -> "PhoneLookups":
        """
        Look up many phones; stream one outcome for each id.

        Use it as ``async with`` and iterate inside: leaving the block leaves
        nothing behind. Without a block the run ends when the iterator is
        exhausted, closed or collected.
        An id that fails stops nothing. Throttling slows the run and loses
        nothing. An id given again while its lookup is unfinished shares it.

        Args:
            phone_ids: Any iterable or async iterable of ids, also an endless
                one. It is read as the run goes, at most twice *concurrency*
                ids ahead of the consumer. A generator is closed at the end.
            concurrency: Lookups at once; the client's limit holds all the same,
                and is the default.
            ordered: Hand out in the order of the input, not of completion.
            timeouts: How long each id may take; a number is the `total` in
                seconds. It starts with the id's first attempt and stands still
                while the client holds the id back.

        Returns:
            The stream of outcomes. Iterating over it raises

            - `AuthenticationError` when the key is refused,
            - `PermissionDeniedError` when a 403 comes before any 200 or 404,
            - `RateLimitError` or `InternalServerError` when ``Retry-After``
              asks for more than `RetryPolicy.max_outage`,
            - `ClientClosedError` when the client is closed,
            - whatever *phone_ids* raises, after the outcomes of the ids before.

        Raises:
            TypeError: *phone_ids* is one id, or not iterable.
            ConfigurationError: *concurrency* or *timeouts* is out of range,
                or *ordered* is no `bool`.

        .. versionadded:: 0.1.0
        """
        check_flag("ordered", ordered)
        return self._lookups(phone_ids, concurrency, timeouts=timeouts, ordered=ordered)

    async def get_many(
        self,
        phone_ids: PhoneIds,
        *,
        concurrency: int | None = None,
        timeouts: Timeouts | float | None = None,
    ) -> PhoneBatch:
        """
        Look up many phones; collect what became of them.

        As `iter_many`, but each distinct id is asked once, and everything is
        kept in memory. What is no id is told apart by its type and its whole
        text, which is its key in `PhoneBatch.failures`; the ``repr`` stands in
        for the text of what is none. When a value of another type has that key
        already, as None and ``"None"`` may, the later one bears its type behind.

        Args:
            phone_ids: Any finite iterable or async iterable of ids.
            concurrency: As for `iter_many`.
            timeouts: As for `iter_many`.

        Returns:
            The phones, the missing and the failed ids.

        Raises:
            DigaError: The run ended early, as `iter_many` says; `partial` of
                the error holds the batch so far.
            TypeError: *phone_ids* is one id, or not iterable.
            ConfigurationError: *concurrency* or *timeouts* is out of range.

        .. versionadded:: 0.1.0
        """
        lookups = self._lookups(
            phone_ids, concurrency, timeouts=timeouts, distinct=True
        )
        outcomes: dict[UUID | str, Outcome] = {}
        try:
            async with lookups:
                async for outcome in lookups:
                    outcomes[outcome.phone_id] = outcome
        except DigaError as error:
            error.partial = _batch(lookups, outcomes)
            raise
        return _batch(lookups, outcomes)

    def _lookups(
        self, phone_ids: PhoneIds, concurrency: int | None, **plan: Any
    ) -> "PhoneLookups":
        most = sys.maxsize if concurrency is None else concurrency
        if type(most) is not int or most < 1:
            raise ConfigurationError("concurrency must be a whole number from 1 up")
        plan["timeouts"] = self._allowed(plan["timeouts"])
        source, engine = Source(phone_ids), self._engine
        return PhoneLookups(
            lambda: engine().run(source, Plan(concurrency=most, **plan))
        )

    def _allowed(self, timeouts: Timeouts | float | None) -> Timeouts:
        return self._timeouts if timeouts is None else Timeouts.of(timeouts)


def _batch(lookups: "PhoneLookups", outcomes: dict[UUID | str, Outcome]) -> PhoneBatch:
    in_order = [outcomes[i] for i in lookups.distinct_ids if i in outcomes]
    return PhoneBatch(
        phones={o.phone_id: o.phone for o in in_order if isinstance(o, Found)},
        missing=tuple(o.phone_id for o in in_order if isinstance(o, Missing)),
        failures={o.phone_id: o.error for o in in_order if isinstance(o, Failed)},
        unanswered=lookups.unanswered,
    )


class PhoneLookups:
    """
    A run: an async context manager and an async iterator of outcomes.

    It begins on entering the block, or with the first outcome asked for.
    Cancelling one ``anext()`` loses no outcome and does not end the run.

    .. versionadded:: 0.1.0
    """

    def __init__(self, begin: Callable[[], Run]) -> None:
        self._begin = begin
        self._run: Run | None = None
        self._closed = False

    def _begun(self) -> Run:
        if self._run is None:
            self._run = self._begin()
        return self._run

    async def __aenter__(self) -> Self:
        """Begin the run."""
        self._begun()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the run; nothing of it is left."""
        await self.aclose()

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> Outcome:
        """Return the next outcome."""
        if self._closed:
            raise StopAsyncIteration
        return await self._begun().next()

    async def aclose(self) -> None:
        """
        End the run now; return when nothing of it is left. Idempotent.

        .. versionadded:: 0.1.0
        """
        if self._run is not None:
            await self._run.aclose()
        self._closed = True

    def halt(self, error: BaseException) -> None:
        """
        Send nothing more; raise *error* once what is in flight was delivered.

        Pauses before retries end, and their ids are left unanswered.
        The command line calls this at the first Ctrl-C.
        """
        if self._run is not None:
            self._run.halt(error)

    @property
    def stats(self) -> LookupStats:
        """
        A snapshot of where the run stands; cheap.

        .. versionadded:: 0.1.0
        """
        return _NOTHING if self._run is None else self._run.stats

    @property
    def unanswered(self) -> tuple[UUID | str, ...]:
        """
        The ids that were taken from the source and have no outcome.

        What was given and is no UUID is here as its text.

        After an early end these are the ones to ask again,
        together with what the source still holds.

        .. versionadded:: 0.1.0
        """
        return () if self._run is None else self._run.unanswered

    @property
    def distinct_ids(self) -> tuple[UUID | str, ...]:
        """The ids of a `get_many`, each once, in the order of the input."""
        return () if self._run is None else self._run.seen

    def __reduce__(self) -> str:
        """Refuse to be copied or pickled: the copy would end the run."""
        raise TypeError("a run cannot be copied or pickled")

    def __del__(self) -> None:
        """End a run that nobody listens to any more."""
        if self._run is not None:
            self._run.orphan()
