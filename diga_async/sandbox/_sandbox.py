"""The sandbox itself: its settings, its phones, and the requests it has seen."""

import asyncio
import contextlib
import math
import re
from functools import partial
from random import Random
from threading import Lock
from time import monotonic
from types import NoneType
from typing import Any, Final, Self
from uuid import UUID

import attrs
from aiohttp import web
from attrs import validators

from diga_async.sandbox import _api as api
from diga_async.sandbox._api import Answer, Asked
from diga_async.sandbox._delivery import Delivery
from diga_async.sandbox._faults import Fault, Faults, LeakyBucket
from diga_async.sandbox._listing import Listing, ListingSettings, Page, spoil
from diga_async.sandbox._query import ListingQuery
from diga_async.sandbox._records import (
    FIELDS,
    SORTABLE,
    PhoneMaker,
    as_json,
    make_key,
)
from diga_async.sandbox._serving import (
    Listener,
    listen,
    serving,
    serving_from_thread,
)
from diga_async.sandbox._settings import (
    a_flag,
    a_number,
    a_text,
    a_whole_number,
    as_id,
    check_type,
    explains_settings,
    is_of,
    of_type,
    one_of,
    warn_of_misspelt,
)

_UNANSWERED: Final = frozenset({Fault.RESETS, Fault.HANGS})
_LEAST_AND_MOST: Final = 2
_FAULTS: Final = {
    name: f"pass faults=Faults({name}=...)" for name in attrs.fields_dict(Faults)
}
_SET_LATER: Final = {
    "down": "set sandbox.down = True once it is made",
    "hidden": "add ids to sandbox.hidden once it is made",
}


def _check_latency(_: object, attribute: "attrs.Attribute[Any]", latency: Any) -> None:
    wanted = f"'{attribute.name}' must be seconds, or the least and the most of them"
    bounds = latency if isinstance(latency, tuple) else (latency, latency)
    if not all(is_of(bound, int, float) for bound in bounds):
        raise TypeError(f"{wanted}, a tuple of two, not {latency!r}")
    if len(bounds) != _LEAST_AND_MOST or not 0 <= bounds[0] <= bounds[1] < math.inf:
        raise ValueError(f"{wanted}: {latency}")


def _check_rate(
    _: object, attribute: "attrs.Attribute[Any]", per_second: float
) -> None:
    if not 0 < per_second < math.inf:
        raise ValueError(f"'{attribute.name}' must be above 0 and finite: {per_second}")


def _check_count(_: object, attribute: "attrs.Attribute[Any]", count: int) -> None:
    if count < 0:
        raise ValueError(f"'{attribute.alias}' must be >= 0: {count}")


def _check_key(_: object, attribute: "attrs.Attribute[Any]", key: str | None) -> None:
    if key is None:
        return
    wanted = f"'{attribute.alias}' must be a text of printable ASCII without blanks"
    if not isinstance(key, str):
        raise TypeError(f"{wanted}, not {type(key).__name__}")
    if not re.fullmatch(r"[!-~]+", key):
        raise ValueError(f"{wanted}, and not empty")


@attrs.frozen
class SeenRequest:
    """
    One request as the sandbox saw it, without the key.

    Attributes:
        request_id: The ``X-Request-Id`` of the answer.
        method: Such as ``GET``.
        path: The path as sent, with its query.
        phone_id: The phone looked up. None for a listing, and for any other path
            that does not name a phone by its UUID.
        status: The status of the answer. None when there was no answer.
        fault: The fault that was drawn. None when there was none.
        at: When it arrived, in seconds since the sandbox was entered.

    .. versionadded:: 0.1.0
    """

    request_id: str
    method: str
    path: str
    phone_id: UUID | None
    status: int | None
    fault: Fault | None
    at: float


@explains_settings(_FAULTS | _SET_LATER)
@attrs.define(eq=False, repr=False)
class Sandbox:
    """
    A Diga server on loopback, with made-up phones and faults on request.

    It serves a phone by its id, ``GET /v1/phone/{phone_id}``, and the listing,
    ``GET /v1/phone/``, with both kinds of paging and every filter.

    ``async with`` serves from the running loop. A plain ``with`` serves from a thread
    of its own, for code that has no loop or blocks the one it has.
    Every setting but *phones* and *seed* can be changed while it runs, from any thread,
    and the next request meets the change.
    Leaving the block drops every connection. A sandbox can be entered again.

    >>> with Sandbox(10) as sandbox:
    ...     sandbox.url.startswith("http://127.0.0.1:"), len(sandbox.phone_ids)
    (True, 10)

    Attributes:
        phones: The JSON objects it serves, by id, in the order of their creation.
            Pass a number to have that many made, about 1 KiB each.
            :meth:`change`, :meth:`add` and :meth:`remove` change them safely from any
            thread; a single-threaded program may also change the dictionary itself.
            The telephone numbers are made up and may be in use: do not call them.
        seed: What phones, key and faults are drawn from. The first phones of a seed
            are the same however many are made; their dates do not follow the clock.
        api_key: The only key that is accepted. None makes one from the seed;
            setting another revokes it.
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
        latency: Seconds before each answer, or the least and the most of them.
        per_second: Requests a second that are accepted, as nginx counts them;
            the others are answered 429. None accepts all.
        burst: How many requests may come ahead of *per_second*.
        retry_after: What a 429 asks for in ``Retry-After``: seconds, or any text.
            None sends no such header.
        faults: What goes wrong, and how often.
        keep_requests: How many *requests* keeps at most, about 0.4 KiB each;
            when it is full, the older half is dropped.
        sort_by: The field of a phone that the listing is sorted by; phones without it
            come last. None sorts by creation.
        numbered_pages: Whether a page of the listing that was not asked for by cursor
            says its number and the number of pages. Servers may leave both null.
        gone_cursor: The status that answers a cursor whose phone is gone: 400, 404 or
            422; or 200 with an empty page, as from an SQL query that finds no such row.
        filtered_cursors: Whether a cursor's phone also counts as gone while it is
            hidden or does not match the filters.
        hidden: The ids of phones that the listing does not show. A lookup finds them.
        requests: The requests it has seen, oldest first: :class:`SeenRequest`.
            You may clear it.
        down: True resets every connection that sends a request.

    Raises:
        TypeError: A setting is of the wrong type, when it is made or changed,
            or has a name that does not exist.
        ValueError: A setting is out of range, when it is made or changed.

    .. versionadded:: 0.1.0

    .. versionchanged:: 0.2.0
        Serves the listing; can be changed by its methods.
    """

    _count: int = attrs.field(
        default=1000,
        alias="phones",
        validator=_check_count,
    )
    seed: int = attrs.field(
        default=0,
        kw_only=True,
        validator=a_whole_number,
        on_setattr=attrs.setters.frozen,
    )
    _key: str | None = attrs.field(
        default=None,
        alias="api_key",
        kw_only=True,
        validator=_check_key,
    )
    host: str = attrs.field(default="127.0.0.1", kw_only=True, validator=a_text)
    port: int = attrs.field(
        default=0,
        kw_only=True,
        validator=[a_whole_number, validators.ge(0), validators.le(65535)],
    )
    latency: float | tuple[float, float] = attrs.field(
        default=0.0, kw_only=True, validator=_check_latency
    )
    per_second: float | None = attrs.field(
        default=None,
        kw_only=True,
        validator=validators.optional([a_number, _check_rate]),
    )
    burst: int = attrs.field(
        default=20, kw_only=True, validator=[a_whole_number, validators.ge(0)]
    )
    retry_after: float | str | None = attrs.field(
        default=None,
        kw_only=True,
        validator=of_type("seconds, a text or None", int, float, str, NoneType),
    )
    faults: Faults = attrs.field(
        factory=Faults, kw_only=True, validator=of_type("a Faults(...)", Faults)
    )
    keep_requests: int = attrs.field(
        default=100_000, kw_only=True, validator=[a_whole_number, validators.ge(1)]
    )
    sort_by: str | None = attrs.field(
        default=None,
        kw_only=True,
        validator=validators.optional(one_of(*SORTABLE)),
    )
    numbered_pages: bool = attrs.field(default=True, kw_only=True, validator=a_flag)
    gone_cursor: int = attrs.field(
        default=200, kw_only=True, validator=one_of(*api.CURSOR_GONE)
    )
    filtered_cursors: bool = attrs.field(default=False, kw_only=True, validator=a_flag)
    hidden: set[UUID] = attrs.field(factory=set, init=False)
    down: bool = attrs.field(default=False, init=False, validator=a_flag)
    _maker: PhoneMaker = attrs.field(init=False)
    phones: dict[UUID, dict[str, Any]] = attrs.field(init=False)
    requests: list[SeenRequest] = attrs.field(factory=list, init=False)
    _seeded_key: str = attrs.field(init=False)
    _bucket: LeakyBucket = attrs.field(factory=LeakyBucket, init=False)
    _listing: Listing = attrs.field(factory=Listing, init=False)
    _changing: Lock = attrs.field(factory=Lock, init=False)
    _chance: Random = attrs.field(init=False)
    _seen: int = attrs.field(default=0, init=False)
    _entered_at: float = attrs.field(default=0.0, init=False)
    _listener: Listener | None = attrs.field(default=None, init=False)
    _address: tuple[str, int] | None = attrs.field(default=None, init=False)
    _exits: contextlib.ExitStack = attrs.field(factory=contextlib.ExitStack, init=False)
    _async_exits: contextlib.AsyncExitStack = attrs.field(
        factory=contextlib.AsyncExitStack, init=False
    )

    @_maker.default
    def _make_maker(self) -> PhoneMaker:
        return PhoneMaker(self.seed)

    @phones.default
    def _make_phones(self) -> dict[UUID, dict[str, Any]]:
        # Validators run after defaults, which is too late for this one.
        wanted = "how many to make, a whole number"
        check_type("phones", self._count, wanted, int)
        made = (self._maker.make() for _ in range(self._count))
        return {UUID(record["id"]): record for record in made}

    @_seeded_key.default
    def _make_key(self) -> str:
        return make_key(self.seed)

    @_chance.default
    def _make_chance(self) -> Random:
        return Random(f"faults {self.seed}")  # noqa: S311 - repeatable on purpose

    def __repr__(self) -> str:
        """Show where it is and what it serves, but not the key."""
        where = self.url if self._address else "not entered yet"
        return f"<Sandbox {where}, {len(self.phones)} phones>"

    @property
    def api_key(self) -> str:
        """
        The only key that is accepted; setting another revokes it.

        .. versionadded:: 0.1.0
        """
        return self._seeded_key if self._key is None else self._key

    @api_key.setter
    def api_key(self, api_key: str | None) -> None:
        self._key = api_key

    @property
    def url(self) -> str:
        """
        Its address; after it has stopped, the last one.

        Raises:
            RuntimeError: It was never entered.

        .. versionadded:: 0.1.0
        """
        if self._address is None:
            raise RuntimeError("The sandbox has no URL before its block is entered.")
        host, port = self._address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def phone_ids(self) -> tuple[UUID, ...]:
        """
        The ids of the phones it serves, in the order of their creation.

        .. versionadded:: 0.1.0
        """
        return tuple(self.phones)

    def change(self, phone_id: UUID | str, /, **fields: Any) -> None:
        """
        Change fields of a phone, all in one step; the next request sees them.

        Args:
            phone_id: The phone to change.
            fields: The new values: JSON types, enums, UUIDs or dates. Nothing checks
                them, so ``number=None`` makes a record that is not a phone. A name
                that looks like a misspelt field is stored, with a warning.

        Raises:
            KeyError: There is no such phone.
            TypeError: A value cannot be written as JSON, or *phone_id* is no id.
            ValueError: *phone_id* is a text that is not a UUID.

        .. versionadded:: 0.2.0
        """
        key, values = as_id("phone_id", phone_id), as_json(fields)
        warn_of_misspelt(values, FIELDS)
        with self._changing:
            # A new object, so that no answer has only some of the new values.
            self.phones[key] = self._phone(key) | values

    def add(self, **fields: Any) -> UUID:
        """
        Add a phone, the newest in the listing, and return its id.

        It is the next phone of the seed, of the status and provider in *fields*.

        Args:
            fields: Values that replace the made-up ones, as in :meth:`change`. Its
                ``id`` may be among them.

        Raises:
            ValueError: There is a phone with this id, or it is not a UUID.
            TypeError: A value cannot be written as JSON, or the id is not a text.

        .. versionadded:: 0.2.0
        """
        values = as_json(fields)
        warn_of_misspelt(values, FIELDS)
        if "id" in values:
            as_id("id", values["id"])  # before a phone of the seed is used up
        with self._changing:
            record = self._maker.make(
                values.get("status"), values.get("telephony_provider")
            )
            record |= values
            phone_id = UUID(record["id"])
            if phone_id in self.phones:
                raise ValueError(f"The sandbox already has a phone with id {phone_id}.")
            self.phones[phone_id] = record
        return phone_id

    def remove(self, phone_id: UUID | str, /) -> None:
        """
        Remove a phone: a lookup of it is answered 404.

        Raises:
            KeyError: There is no such phone.
            TypeError: *phone_id* is neither a UUID nor a text.
            ValueError: It is a text that is not a UUID.

        .. versionadded:: 0.2.0
        """
        key = as_id("phone_id", phone_id)
        with self._changing:
            self._phone(key)
            del self.phones[key]

    def _phone(self, phone_id: UUID) -> dict[str, Any]:
        if phone_id not in self.phones:
            raise KeyError(f"no phone {phone_id} in the sandbox")
        return self.phones[phone_id]

    def __enter__(self) -> Self:
        """Serve from a thread of its own."""
        self._exits.enter_context(serving_from_thread(self._handle, self._listen()))
        return self

    def __exit__(self, *_: object) -> None:
        """Drop every connection and end the thread."""
        self._exits.close()

    async def __aenter__(self) -> Self:
        """Serve from the running loop."""
        await self._async_exits.enter_async_context(
            serving(self._handle, self._listen())
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Drop every connection."""
        await self._async_exits.aclose()

    def _listen(self) -> Listener:
        if self._listener is not None and self._listener.fileno() != -1:
            raise RuntimeError("The sandbox is running already.")
        self._listener = listen(self.host, self.port)
        self._address = self._listener.getsockname()[:2]
        self._entered_at = monotonic()
        return self._listener

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        asked = Asked(
            method=request.method,
            path=request.path,
            query=request.raw_path.partition("?")[2],
            authorization=request.headers.get("Authorization"),
        )
        answer, fault = self._decide(asked)
        delivery = Delivery(
            request=request,
            answer=answer,
            request_id=self._record(asked, request.raw_path, answer, fault),
            fault=fault,
            drip_seconds=self.faults.drip_seconds,
        )
        if self.latency:
            await asyncio.sleep(self._draw_latency())
        return await delivery.send()

    def _decide(self, asked: Asked) -> tuple[Answer, Fault | None]:
        fault = (
            Fault.RESETS
            if self.down
            else self.faults.draw(self._chance, listing=asked.is_listing)
        )
        if fault is not Fault.RESETS and not self._accepts():
            return api.rate_limited(self.retry_after), None
        if fault is Fault.ERRORS:
            return api.server_error(self.faults.error_status, self._chance), fault
        if fault is Fault.GARBAGE:
            return api.garbage(self._chance), fault
        return api.perform(asked, self._project(fault)), fault

    def _accepts(self) -> bool:
        per_second = self.per_second  # read once: another thread may lift the limit
        return per_second is None or self._bucket.accepts(
            monotonic(), per_second=per_second, burst=self.burst
        )

    def _project(self, fault: Fault | None) -> api.Project:
        return api.Project(
            api_key=self.api_key,
            permitted=fault is not Fault.FORBIDDEN,
            gone_cursor=self.gone_cursor,
            record_of=partial(self._record_of, fault),
            page_of=partial(self._page_of, fault),
        )

    def _record_of(self, fault: Fault | None, phone_id: UUID) -> dict[str, Any] | None:
        record = self.phones.get(phone_id)
        if record is None:
            return None
        if fault is Fault.WRONG_IDS:
            record = record | {"id": str(UUID(int=phone_id.int ^ 1))}
        return self.faults.alter(record, self._chance)

    def _page_of(self, fault: Fault | None, query: ListingQuery) -> Page:
        settings = ListingSettings(
            sort_by=self.sort_by,
            numbered_pages=self.numbered_pages,
            filtered_cursors=self.filtered_cursors,
            hidden=self.hidden,
        )
        page = self._listing.page(self.phones, query, settings, fault)
        data = [self.faults.alter(record, self._chance) for record in page.data]
        return spoil(attrs.evolve(page, data=data), query, fault, self._chance)

    def _record(
        self, asked: Asked, path: str, answer: Answer, fault: Fault | None
    ) -> str:
        """Record a request as seen, and return its id."""
        self._seen += 1
        request_id = f"sandbox-{self._seen:08}"
        if len(self.requests) >= self.keep_requests:
            del self.requests[: (self.keep_requests + 1) // 2]
        self.requests.append(
            SeenRequest(
                request_id=request_id,
                method=asked.method,
                path=path,
                phone_id=asked.phone_id,
                status=None if fault in _UNANSWERED else answer.status,
                fault=fault,
                at=monotonic() - self._entered_at,
            )
        )
        return request_id

    def _draw_latency(self) -> float:
        if isinstance(self.latency, tuple):
            return self._chance.uniform(*self.latency)
        return self.latency
