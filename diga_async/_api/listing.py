"""The operation that lists phones, ``GET /v1/phone/``, one page at a time."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, Literal
from urllib.parse import quote
from uuid import UUID

import attrs

from diga_async._api.operation import Operation
from diga_async._models.decoding import (
    MAX_BODY_BYTES,
    MAX_VALUES,
    UUID_TEXT,
    read_json,
    structure,
    uuid_of,
)
from diga_async._models.errors import InvalidResponseError
from diga_async._models.phone import Phone

MAX_PAGE_SIZE = 100
PHONE_BYTES = 1 << 16
PHONE_VALUES = 1 << 11

Order = Literal["asc", "desc"]


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
            "start_assigned_at": self.assigned_from and self.assigned_from.isoformat(),
            "end_assigned_at": self.assigned_until and self.assigned_until.isoformat(),
        }
        return {name: str(value) for name, value in given.items() if value is not None}


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
        records: Its phones, and what was in the place of one, in order.
        has_more: Whether the server says that more follow.
        cursor: The server's ``last_id``, or else the id of the last record.
        total_pages: How many pages there are; None when the server does not say, or
            says something that is not a positive number.
    """

    records: tuple[Phone | BadRecord, ...]
    has_more: bool
    cursor: UUID | None
    total_pages: int | None

    @property
    def phones(self) -> tuple[Phone, ...]:
        """Its phones."""
        return tuple(r for r in self.records if isinstance(r, Phone))


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
    )


def _read_page(page_size: int, body: bytes) -> Page:
    content = read_json(body, max(page_size * PHONE_VALUES, MAX_VALUES))
    if not isinstance(content, dict):
        raise _wrong("$: expected an object")
    data, has_more = content.get("data"), content.get("has_more")
    if not isinstance(data, list):
        raise _wrong("$.data: expected an array")
    if not isinstance(has_more, bool):
        raise _wrong("$.has_more: expected a boolean")
    records = tuple(_record(item, position) for position, item in enumerate(data))
    return Page(
        records=records,
        has_more=has_more,
        cursor=_cursor(content, data),
        total_pages=_positive_or_none(content.get("total_pages")),
    )


def _wrong(problem: str) -> InvalidResponseError:
    return InvalidResponseError("not a page of phones", problems=(problem,))


def _record(item: object, position: int) -> Phone | BadRecord:
    try:
        return structure(item, Phone, f"$.data[{position}]")
    except InvalidResponseError as error:
        named = attrs.evolve(error, phone_id=_id_of(item))
    return BadRecord(named)


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
