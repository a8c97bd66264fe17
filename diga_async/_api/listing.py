"""The operation that lists phones, ``GET /v1/phone/``, one page at a time."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, get_args
from urllib.parse import quote
from uuid import UUID

import attrs

from diga_async._api.operation import Operation
from diga_async._models.arguments import not_one_of, not_this, similar, warn
from diga_async._models.decoding import (
    MAX_BODY_BYTES,
    MAX_VALUES,
    UUID_TEXT,
    read_json,
    structure_each,
    uuid_of,
)
from diga_async._models.errors import ConfigurationError, InvalidResponseError
from diga_async._models.parameters import Order
from diga_async._models.phone import Phone, PhoneStatus

MAX_PAGE_SIZE = 100
PHONE_BYTES = 1 << 16
PHONE_VALUES = 1 << 11


@attrs.frozen(kw_only=True)
class PhoneQuery:
    """
    Which phones are listed, in which order; None means any.

    Attributes:
        status: Phones of this status.
        inbound_agent_id: Phones whose calls this agent answers.
        outbound_agent_id: Phones that this agent calls from.
        assigned_from: Phones assigned at this time or later; aware.
        assigned_until: Phones assigned at this time or earlier; aware.
        order: The direction of the listing.
    """

    status: str | None = None
    inbound_agent_id: UUID | None = None
    outbound_agent_id: UUID | None = None
    assigned_from: datetime | None = None
    assigned_until: datetime | None = None
    order: Order = "desc"

    def parameters(self) -> dict[str, str]:
        """Return the filters and the order as the API names them."""
        given = {
            "order": self.order,
            "inbound_agent_id": self.inbound_agent_id,
            "outbound_agent_id": self.outbound_agent_id,
            "status": self.status,
            "start_assigned_at": self.assigned_from and _rfc_3339(self.assigned_from),
            "end_assigned_at": self.assigned_until and _rfc_3339(self.assigned_until),
        }
        return {name: str(value) for name, value in given.items() if value is not None}

    def matches(self, phone: Phone) -> bool:
        """Whether the listing would show *phone*."""
        wanted = (
            (self.status, phone.status),
            (self.inbound_agent_id, phone.inbound_agent_id),
            (self.outbound_agent_id, phone.outbound_agent_id),
        )
        if any(value not in {None, actual} for value, actual in wanted):
            return False
        if self.assigned_from is None and self.assigned_until is None:
            return True
        at = phone.assigned_at
        return (
            at is not None
            and (self.assigned_from is None or self.assigned_from <= at)
            and (self.assigned_until is None or at <= self.assigned_until)
        )


def _rfc_3339(moment: datetime) -> str:
    # Offsets of the 19th century have seconds, unknown to RFC 3339 section 5.6.
    offset = moment.utcoffset() or timedelta()
    return (moment.astimezone(UTC) if offset.seconds % 60 else moment).isoformat()


def query_of(  # noqa: PLR0913 - the filters of the API
    *,
    order: object = "desc",
    status: object = None,
    inbound_agent_id: object = None,
    outbound_agent_id: object = None,
    assigned_from: object = None,
    assigned_until: object = None,
) -> PhoneQuery:
    """
    Check what a caller asks to list, before anything is sent.

    Raises:
        ConfigurationError: A value is wrong.
    """
    if order not in get_args(Order):
        given = not_one_of(order, get_args(Order))
        raise ConfigurationError(f"order must be 'asc' or 'desc', {given}")
    return PhoneQuery(
        status=None if status is None else status_of(status),
        inbound_agent_id=_agent_or_none("inbound_agent_id", inbound_agent_id),
        outbound_agent_id=_agent_or_none("outbound_agent_id", outbound_agent_id),
        assigned_from=_moment_or_none("assigned_from", assigned_from),
        assigned_until=_moment_or_none("assigned_until", assigned_until),
        order="asc" if order == "asc" else "desc",
    )


def check_page_size(page_size: object) -> int:
    """
    Return *page_size*, a whole number from 1 to 100.

    Raises:
        ConfigurationError: It is anything else.
    """
    if type(page_size) is int and 1 <= page_size <= MAX_PAGE_SIZE:
        return page_size
    raise ConfigurationError(
        f"page_size must be a whole number from 1 to {MAX_PAGE_SIZE}, "
        f"{not_this(page_size)}"
    )


def status_of(value: object, *, awaited: bool = False) -> str:
    """
    Return a status as the API has it; warn of a text that is probably misspelt.

    A `PhoneStatus` of an unknown value was made on purpose, and gets no warning.

    Args:
        value: The status.
        awaited: Whether it is waited for, perhaps for ever: then any unknown text gets
            a warning.

    Raises:
        ConfigurationError: *value* is not text.
    """
    if not isinstance(value, str) or any("\ud800" <= c <= "\udfff" for c in value):
        raise ConfigurationError(f"status must be a PhoneStatus or text, {_not(value)}")
    text = str(value)
    if not isinstance(value, PhoneStatus) and not PhoneStatus(text).known:
        near = similar(text, map(str, PhoneStatus))
        meant = f": is it {near!r}?" if near else ""
        known = f"; known are {', '.join(PhoneStatus)}" if awaited else ""
        if meant or known:
            warn(f"{text!r} is no status that this version knows{meant}{known}")
    return text


def _not(value: object) -> str:
    return "not a text that UTF-8 has" if isinstance(value, str) else not_this(value)


def _agent_or_none(name: str, value: object) -> UUID | None:
    if value is None or type(value) is UUID:
        return value
    if isinstance(value, UUID):
        return UUID(int=value.int)  # a database driver's subclass, of any text
    agent_id = _uuid_or_none(value)
    if agent_id is None:
        raise ConfigurationError(f"{name} must be a UUID, {not_one_of(value)}")
    return agent_id


def _moment_or_none(name: str, value: object) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime) or value.utcoffset() is None:
        naive = isinstance(value, datetime)
        given = "not one without" if naive else not_this(value)
        raise ConfigurationError(f"{name} must be a datetime with a time zone, {given}")
    return value


@attrs.frozen
class BadRecord:
    """
    A record of a page that is not a phone.

    Attributes:
        error: What is wrong and where; its `phone_id` is the record's id, if that
            can be read.
    """

    error: InvalidResponseError


@attrs.frozen(kw_only=True)
class Page:
    """
    One page of a listing, as the server sent it.

    Attributes:
        records: Its phones, and a `BadRecord` in place of what is not one, in order.
        has_more: Whether the server says that more follow.
        cursor: The server's ``last_id``, or else the id of the last record.
        number: The number that the server gives the page; None when it gives none.
        total_pages: How many pages there are; None when the server does not say, or
            says something that is not a positive number.
    """

    records: tuple[Phone | BadRecord, ...]
    has_more: bool
    cursor: UUID | None
    number: int | None = None
    total_pages: int | None = None

    @property
    def phones(self) -> tuple[Phone, ...]:
        """Its phones."""
        return tuple(r for r in self.records if isinstance(r, Phone))

    @property
    def bad_records(self) -> tuple[BadRecord, ...]:
        """The records that are not phones."""
        return tuple(r for r in self.records if isinstance(r, BadRecord))


def list_phones(
    query: PhoneQuery,
    *,
    page_size: int = MAX_PAGE_SIZE,
    after: UUID | None = None,
    page: int | None = None,
) -> Operation[Page]:
    """
    Return the operation that reads one page.

    Args:
        query: Which phones.
        page_size: How many at most, 1 to 100.
        after: The cursor: the id of the phone before the page.
        page: The number of the page, instead of a cursor; the first is 1.
    """
    named: dict[str, object] = {"limit": page_size}
    if after is not None:
        named["after"] = after
    if page is not None:
        named["page"] = page
    named.update(query.parameters())
    # Percent-encoded as RFC 3986 section 3.4 asks; `+` would be read as a space.
    text = "&".join(f"{name}={quote(str(named[name]), safe='')}" for name in named)
    return Operation(
        f"/v1/phone/?{text}",
        partial(_read_page, page_size),
        success="listed",
        max_body=max(page_size * PHONE_BYTES, MAX_BODY_BYTES),
        redact=_redact,
    )


def _read_page(page_size: int, body: bytes) -> Page:
    content = read_json(
        body,
        max(page_size * PHONE_VALUES, MAX_VALUES),
        max(page_size * PHONE_BYTES, MAX_BODY_BYTES),
    )
    if not isinstance(content, dict):
        raise _wrong("$: expected an object")
    data, has_more = content.get("data"), content.get("has_more")
    if not isinstance(data, list):
        raise _wrong("$.data: expected an array")
    if not isinstance(has_more, bool):
        raise _wrong("$.has_more: expected a boolean")
    return Page(
        records=tuple(_records(data)),
        has_more=has_more,
        cursor=_cursor(content, data),
        number=_positive_or_none(content.get("current_page")),
        total_pages=_positive_or_none(content.get("total_pages")),
    )


def _wrong(problem: str) -> InvalidResponseError:
    return InvalidResponseError("not a page of phones", problems=(problem,))


def _records(data: list[Any]) -> Iterator[Phone | BadRecord]:
    bad_records = 0
    for item, read in zip(data, structure_each(data, Phone, "$.data"), strict=True):
        if isinstance(read, Phone):
            yield read
            continue
        bad_records += 1
        if bad_records > MAX_PAGE_SIZE:  # an error takes up to 400 times its record
            raise _wrong(f"$.data: over {MAX_PAGE_SIZE} records that are not phones")
        yield BadRecord(attrs.evolve(read, phone_id=_id_of(item), status=200))


def _redact(page: Page, clean: Callable[[str], str]) -> Page:
    """Remove secrets from the names of fields in the problems of bad records."""
    if not page.bad_records:
        return page
    records = tuple(
        record if isinstance(record, Phone) else _cleaned(record, clean)
        for record in page.records
    )
    return attrs.evolve(page, records=records)


def _cleaned(record: BadRecord, clean: Callable[[str], str]) -> BadRecord:
    problems = tuple(map(clean, record.error.problems))
    return BadRecord(attrs.evolve(record.error, problems=problems))


def _id_of(item: object) -> UUID | None:
    return _uuid_or_none(item.get("id")) if isinstance(item, Mapping) else None


def _cursor(content: Mapping[str, Any], data: list[Any]) -> UUID | None:
    last = content.get("last_id")
    if last is None:
        return _id_of(data[-1]) if data else None
    cursor = _uuid_or_none(last)
    if cursor is None:
        raise _wrong("$.last_id: not a UUID")
    return cursor


def _uuid_or_none(value: object) -> UUID | None:
    if isinstance(value, str) and UUID_TEXT.fullmatch(value):
        return uuid_of(value)
    return None


def _positive_or_none(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return value if is_count else None  # type: ignore[return-value]
