"""`Phones`: what `client.phones` offers."""

from uuid import UUID

from diga_async._api.operation import Answer, Operation
from diga_async._api.phones import get_phone, phone_id_of
from diga_async._calls import Client, make_plan, send, starter
from diga_async._engine.call import Call
from diga_async._models.errors import DigaError, NotFoundError
from diga_async._models.options import Timeouts, check_flag
from diga_async._models.outcomes import (
    Failed,
    Found,
    Missing,
    Outcome,
    PhoneBatch,
    found,
)
from diga_async._models.phone import Phone
from diga_async._phones.lookups import PhoneIds, PhoneLookups


class Phones:
    """
    The phones of the project that the client's key belongs to.

    Reached as `DigaClient.phones`; not made by users.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"

    def __init__(self, client: Client) -> None:
        self._client = client

    def __repr__(self) -> str:
        """Show the client that the phones are read with."""
        return f"<phones of {self._client!r}>"

    async def get(
        self, phone_id: UUID | str, *, timeouts: Timeouts | float | None = None
    ) -> Phone:
        """
        Look up one phone.

        Transient failures are retried as the client's `RetryPolicy` allows; each
        attempt has its own limit, and the whole lookup one deadline.
        Concurrent lookups of one id share a single request.

        Args:
            phone_id: The phone's id. Text must be the canonical 36 characters.
            timeouts: How long to wait; a number is the `total` in seconds.
                By default the client's.

        Returns:
            The phone as the server described it at that moment.

        Raises:
            NotFoundError: The project has no such phone. Not retried.
            AuthenticationError: The key was refused. Not retried, except with
                another key when the client has a callable that returns one.
            PermissionDeniedError: The key lacks *Phones: read*. Not retried.
            RateLimitError: Still throttled at the deadline, or ``Retry-After``
                asks for more time than is left.
            InternalServerError: The server failed on the last attempt.
            APIStatusError: Any other status. 408 and 425 are retried.
            APITimeoutError: The last attempt, or the wait for one, took too long.
            APIConnectionError: The last attempt brought no response.
            InvalidResponseError: The response is not the phone asked for.
            InvalidPhoneIdError: *phone_id* is not a UUID; nothing was sent.
            ClientClosedError: The client is closed, or was closed meanwhile.
            WrongLoopError: The client belongs to another event loop.
            ConfigurationError: *timeouts* is not a positive number, or the
                callable returned something that is not a key.

        .. versionadded:: 0.1.0
        """
        operation = get_phone(phone_id_of(phone_id))
        return await send(self._client, operation, timeouts=timeouts)

    def iter_many(
        self,
        phone_ids: PhoneIds,
        *,
        concurrency: int | None = None,
        ordered: bool = False,
        timeouts: Timeouts | float | None = None,
    ) -> PhoneLookups:
        """
        Look up many phones; stream one outcome for each id.

        Use it as ``async with`` and iterate inside: leaving the block leaves
        nothing behind. Without a block the run ends when the iterator is
        exhausted, closed or collected.
        A failed id never stops the others. Throttling slows the run and loses no
        id. An id that is given again while its lookup is unfinished shares it.

        Args:
            phone_ids: Any iterable or async iterable of ids, even an infinite
                one. It is read lazily, at most twice *concurrency* ids ahead of
                the consumer. A generator is closed at the end.
            concurrency: How many lookups are under way at the same time; the
                client's own limit is the default, and the maximum.
            ordered: Deliver in the order of the input, not of completion.
            timeouts: How long each id may take; a number is the `total` in
                seconds. It starts with the id's first attempt and stands still
                while the client is throttled.

        Returns:
            The stream of outcomes. Iterating over it raises

            - `AuthenticationError` when the key is refused,
            - `PermissionDeniedError` when a 403 comes before any 200 or 404,
            - `RateLimitError` or `InternalServerError` when ``Retry-After``
              asks for more than `RetryPolicy.max_outage`,
            - the last error when no answer came for `RetryPolicy.max_outage`,
            - `ClientClosedError` when the client is closed,
            - what *phone_ids* raises, after the outcomes of the ids before.

        Raises:
            TypeError: *phone_ids* is one id, or not iterable.
            ConfigurationError: *concurrency* or *timeouts* is out of range,
                or *ordered* is not a `bool`.

        .. versionadded:: 0.1.0
        """
        check_flag("ordered", ordered)
        return self._lookups(phone_ids, concurrency, timeouts, ordered=ordered)

    async def get_many(
        self,
        phone_ids: PhoneIds,
        *,
        concurrency: int | None = None,
        timeouts: Timeouts | float | None = None,
    ) -> PhoneBatch:
        """
        Look up many phones; collect the outcomes.

        As `iter_many`, except that each distinct id is looked up once, and all
        outcomes are kept in memory.

        An item that is not an id is identified by its type and its whole text
        (its ``repr`` if it is not text), which is its key in
        `PhoneBatch.failures`. When a value of another type has that key already,
        as None and ``"None"`` do, the type of the later one is appended.

        Args:
            phone_ids: Any finite iterable or async iterable of ids.
            concurrency: As for `iter_many`.
            timeouts: As for `iter_many`.

        Returns:
            The phones, the missing and the failed ids.

        Raises:
            DigaError: The run ended early, as described at `iter_many`; `partial`
                of the error holds the batch so far.
            TypeError: *phone_ids* is one id, or not iterable.
            ConfigurationError: *concurrency* or *timeouts* is out of range.

        .. versionadded:: 0.1.0
        """
        lookups = self._lookups(phone_ids, concurrency, timeouts, distinct=True)
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
        self,
        phone_ids: PhoneIds,
        concurrency: int | None,
        timeouts: Timeouts | float | None,
        **order: bool,
    ) -> PhoneLookups:
        client, results = self._client, PhoneOutcomes()
        plan = make_plan(
            client, results, concurrency=concurrency, timeouts=timeouts, **order
        )
        return PhoneLookups(starter(client, phone_ids, plan))


class PhoneOutcomes:
    """The items of a run are phone ids, and its results are outcomes."""

    def operation_of(self, item: object) -> Operation[Phone]:
        return get_phone(phone_id_of(item))

    def result_of(
        self, call: Call[Phone], answer: Answer[Phone], now: float
    ) -> Outcome:
        phone_id, elapsed = call.operation.subject, call.elapsed(now)
        assert phone_id is not None  # noqa: S101 - it is a phone's operation
        match answer:
            case Phone():
                return found(phone_id, answer, call.attempts, elapsed, call.request_id)
            case NotFoundError():
                return Missing(phone_id, call.attempts, elapsed)
            case error:
                return Failed(phone_id, error, call.attempts, elapsed)

    def rejection_of(self, name: str, error: DigaError) -> Outcome:
        return Failed(name, error, 0, 0.0)


def _batch(lookups: PhoneLookups, outcomes: dict[UUID | str, Outcome]) -> PhoneBatch:
    in_order = [outcomes[i] for i in lookups.distinct_ids if i in outcomes]
    return PhoneBatch(
        phones={o.phone_id: o.phone for o in in_order if isinstance(o, Found)},
        missing=tuple(o.phone_id for o in in_order if isinstance(o, Missing)),
        failures={o.phone_id: o.error for o in in_order if isinstance(o, Failed)},
        unanswered=lookups.unanswered,
    )
