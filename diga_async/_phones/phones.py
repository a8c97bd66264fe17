"""`Phones`: what `client.phones` offers."""

from collections.abc import Coroutine, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from diga_async._api.phones import get_phone, phone_id_of
from diga_async._calls import Client, lifecycle_of, send
from diga_async._models.arguments import explains
from diga_async._models.errors import InvalidPhoneIdError
from diga_async._models.options import Timeouts
from diga_async._models.parameters import Order, PhoneIds, Statuses, Via
from diga_async._models.phone import Phone, PhoneStatus
from diga_async._phones.habits import LISTING, MANY, ONE, WAITING, WATCHING

if TYPE_CHECKING:
    from diga_async._models.listing import PhonePage
    from diga_async._models.outcomes import PhoneBatch
    from diga_async._phones.listing import PhoneListing
    from diga_async._phones.lookups import PhoneLookups
    from diga_async._phones.watching import PhoneChanges

# Few programs need every method: each imports its implementation.
# ruff: noqa: PLC0415


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

    @explains(ONE)
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

    @explains(MANY)
    def iter_many(
        self,
        phone_ids: PhoneIds,
        *,
        concurrency: int | None = None,
        ordered: bool = False,
        timeouts: Timeouts | float | None = None,
        via: Via = "each",
    ) -> "PhoneLookups":
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
            via: ``"each"`` sends a request for every id. ``"list"`` reads the pages of
                the listing, and looks up singly only the ids that were not there.
                ``"auto"`` does what takes fewer requests. Both read *phone_ids* to
                the end first, so ``"list"`` needs a source with a length and does
                not go with *ordered*; ``"auto"`` is ``"each"`` there.

        Returns:
            The stream of outcomes. Iterating over it raises

            - `AuthenticationError` when the key is refused,
            - `PermissionDeniedError` when a 403 comes before any 200 or 404,
            - `ConfigurationError` when there is no Diga API at the client's
              address: at its first 404 the client asks the listing as well,
            - `RateLimitError` or `InternalServerError` when ``Retry-After``
              asks for more than `RetryPolicy.max_outage`,
            - the last error when no answer came for `RetryPolicy.max_outage`,
            - `ClientClosedError` when the client is closed,
            - what *phone_ids* raises, after the outcomes of the ids before.

        Raises:
            TypeError: *phone_ids* is one id, or not iterable.
            ConfigurationError: *concurrency* or *timeouts* is out of range,
                *ordered* is not a `bool`, or *via* is unknown or impossible here.

        .. versionadded:: 0.1.0

        .. versionchanged:: 0.2.0
            *via*.
        """
        from diga_async._phones.lookups import look_up_many

        return look_up_many(
            self._client,
            phone_ids,
            concurrency=concurrency,
            ordered=ordered,
            timeouts=timeouts,
            via=via,
        )

    @explains(MANY)
    async def get_many(
        self,
        phone_ids: PhoneIds,
        *,
        concurrency: int | None = None,
        timeouts: Timeouts | float | None = None,
        via: Via = "each",
    ) -> "PhoneBatch":
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
            via: As for `iter_many`, with any source.

        Returns:
            The phones, the missing and the failed ids.

        Raises:
            DigaError: The run ended early, as described at `iter_many`; `partial`
                of the error holds the batch so far.
            TypeError: *phone_ids* is one id, or not iterable.
            ConfigurationError: *concurrency* or *timeouts* is out of range, or
                *via* is unknown.

        .. versionadded:: 0.1.0

        .. versionchanged:: 0.2.0
            *via*.
        """
        from diga_async._phones.lookups import collect, look_up_many

        return await collect(
            look_up_many(
                self._client,
                phone_ids,
                concurrency=concurrency,
                distinct=True,
                timeouts=timeouts,
                via=via,
            )
        )

    @explains(LISTING)
    def list(  # noqa: PLR0913 - the filters of the API
        self,
        *,
        status: PhoneStatus | str | None = None,
        inbound_agent_id: UUID | str | None = None,
        outbound_agent_id: UUID | str | None = None,
        assigned_from: datetime | None = None,
        assigned_until: datetime | None = None,
        order: Order = "desc",
        page_size: int = 100,
        after: UUID | str | None = None,
        timeouts: Timeouts | float | None = None,
    ) -> "PhoneListing":
        """
        List the phones of the project; stream them.

        Use it as ``async with`` and iterate inside: leaving the block leaves
        nothing behind. The API documents neither the order nor whether every
        status is shown. Throttling slows the listing and does not end it.

        Args:
            status: Only phones of this status; any text, even one that this version
                does not know.
            inbound_agent_id: Only phones whose calls this agent answers.
            outbound_agent_id: Only phones that this agent calls from.
            assigned_from: Only phones assigned at this time or later; aware.
            assigned_until: Only phones assigned at this time or earlier; aware.
            order: The direction of the listing: ``"asc"`` or ``"desc"``.
            page_size: How many phones a request brings, 1 to 100.
            after: The id of a phone: begin after it. `PhoneListing.cursor` is one.
            timeouts: How long each page may take; a number is the `total` in
                seconds. It stands still while the client is throttled.

        Returns:
            The stream of phones. Iterating over it raises, after every phone that
            was read before,

            - `InvalidResponseError` when a record is not a phone (`phone_id` is its
              id, and ``after=phone_id`` goes past it), when the phone of a cursor is
              gone, or when the server repeats itself,
            - `ConfigurationError` when there is no listing at this address,
            - what `get` raises, for a page that cannot be read; ``after=cursor``
              continues there.

        Raises:
            ConfigurationError: A filter, *order*, *page_size* or *timeouts* is not
                of its kind, or a date is naive; nothing was sent.
            InvalidPhoneIdError: *after* is not a UUID.

        .. versionadded:: 0.2.0
        """
        from diga_async._api.listing import check_page_size, query_of
        from diga_async._phones.listing import PhoneListing

        query = query_of(
            status=status,
            inbound_agent_id=inbound_agent_id,
            outbound_agent_id=outbound_agent_id,
            assigned_from=assigned_from,
            assigned_until=assigned_until,
            order=order,
        )
        return PhoneListing(
            self._client,
            query,
            page_size=check_page_size(page_size),
            after=_cursor_of(after),
            timeouts=timeouts,
        )

    @explains(LISTING)
    def list_page(  # noqa: PLR0913 - the filters of the API
        self,
        *,
        status: PhoneStatus | str | None = None,
        inbound_agent_id: UUID | str | None = None,
        outbound_agent_id: UUID | str | None = None,
        assigned_from: datetime | None = None,
        assigned_until: datetime | None = None,
        order: Order = "desc",
        page_size: int = 100,
        after: UUID | str | None = None,
        timeouts: Timeouts | float | None = None,
    ) -> Coroutine[Any, Any, "PhonePage"]:
        """
        Read one page of the listing, for a program that pages itself.

        One request; a second one looks up the phone of *after* when the page after it
        is empty, as it is when that phone was deleted.

        Args:
            status: As for `list`.
            inbound_agent_id: As for `list`.
            outbound_agent_id: As for `list`.
            assigned_from: As for `list`.
            assigned_until: As for `list`.
            order: As for `list`.
            page_size: As for `list`.
            after: The `PhonePage.cursor` of the page before.
            timeouts: As for `list`.

        Returns:
            The page. A page without phones may have more after it.

        Raises:
            InvalidResponseError: A record is not a phone, or the phone of *after* is
                gone; `phone_id` is its id.
            DigaError: As for `list`.

        .. versionadded:: 0.2.0
        """
        from diga_async._api.listing import check_page_size, query_of
        from diga_async._phones.listing import list_page

        query = query_of(
            status=status,
            inbound_agent_id=inbound_agent_id,
            outbound_agent_id=outbound_agent_id,
            assigned_from=assigned_from,
            assigned_until=assigned_until,
            order=order,
        )
        return list_page(
            self._client,
            query,
            page_size=check_page_size(page_size),
            after=_cursor_of(after),
            timeouts=lifecycle_of(self._client).allowed(timeouts),
        )

    @explains(WAITING)
    def wait_until(
        self,
        phone_id: UUID | str,
        *,
        status: Statuses,
        every: float = 30.0,
        timeout: float | None = None,
        timeouts: Timeouts | float | None = None,
    ) -> Coroutine[Any, Any, Phone]:
        """
        Wait until a phone has a status.

        The first poll is immediate. Waits for one id share the requests that are
        under way at the same time, and single lookups go ahead of every wait.
        Transient failures, throttling and outages do not end the wait.

        Args:
            phone_id: The phone's id. Text must be the canonical 36 characters.
            status: What to wait for: a `PhoneStatus` or any other text, or an
                iterable of them, any of which will do. A plain text that this version
                does not know gets a warning.
            every: Seconds from the start of a poll to the start of the next, give or
                take a tenth; a poll that takes longer is followed at the next
                multiple.
            timeout: Seconds for everything, a poll under way included; None waits
                for ever, and only an outage of `RetryPolicy.max_outage` ends that.
            timeouts: How long each poll may take; a number is the `total` in
                seconds, which stands still while the client is throttled.

        Returns:
            The phone, with one of the statuses.

        Raises:
            WaitError: The phone is ``finished``, which is final.
            WaitTimeoutError: The status did not come within *timeout*; its
                ``__cause__`` is the failure of the last poll, if that failed or an
                outage held it back.
            NotFoundError: The project has no such phone.
            AuthenticationError: The key was refused.
            PermissionDeniedError: The key lacks *Phones: read*.
            DigaError: Anything else that `get` does not retry; without *timeout*,
                including the last failure of an outage.
            InvalidPhoneIdError: *phone_id* is not a UUID; nothing was sent.
            ConfigurationError: Another argument is wrong; nothing was sent.

        .. versionadded:: 0.2.0
        """
        from diga_async._phones.waiting import start_wait

        return start_wait(
            self._client,
            phone_id,
            status=status,
            every=every,
            timeout=timeout,
            timeouts=timeouts,
        )

    @explains(WATCHING)
    def watch(
        self,
        phone_ids: Iterable[UUID | str] | None = None,
        *,
        every: float = 60.0,
        baseline: Mapping[UUID, Phone | None] | None = None,
        timeouts: Timeouts | float | None = None,
    ) -> "PhoneChanges":
        """
        Watch phones; stream their changes.

        Use it as ``async with`` and iterate inside: leaving the block leaves nothing
        behind. Polls never overlap. A poll that fails is skipped: the next one
        delivers what has changed since the last that succeeded, however long ago.

        The first poll makes the baseline and delivers nothing, unless *baseline*
        holds one. A phone is gone only when its own lookup says so. A phone that is
        ``finished`` never changes again and is not polled again.

        Args:
            phone_ids: The phones to watch, read once; None for every phone that the
                listing shows. The listing is used where that takes fewer requests.
                The iterator ends when all of them are finished.
            every: Seconds from the start of a poll to the start of the next; a poll
                that takes longer is followed at the next multiple.
            baseline: The `PhoneChanges.phones` of an earlier watch: what changed
                since is delivered. In a watch of all, a phone that it does not hold
                is new, so that ``baseline={}`` delivers every phone first.
            timeouts: How long each page and each lookup may take; a number is the
                `total` in seconds.

        Returns:
            The stream of `Change`. Iterating over it raises, after the changes that
            were read before,

            - `AuthenticationError` when the key is refused,
            - `PermissionDeniedError` when it lacks *Phones: read*,
            - `ConfigurationError` when there is no Diga API at the first poll,
            - `ClientClosedError` when the client is closed.

        Raises:
            TypeError: *phone_ids* is one id, or not a plain iterable.
            InvalidPhoneIdError: *phone_ids* or *baseline* has something that is not
                an id.
            ConfigurationError: Another argument is wrong.

        .. versionadded:: 0.2.0
        """
        from diga_async._phones.watching import watch

        return watch(
            self._client,
            phone_ids,
            every=every,
            baseline=baseline,
            timeouts=timeouts,
        )


def _cursor_of(after: UUID | str | None) -> UUID | None:
    try:
        return None if after is None else phone_id_of(after)
    except InvalidPhoneIdError as error:
        raise InvalidPhoneIdError(f"after: {error.reason}") from None
