"""`PhonePage` and `ListingStats`: one page of the listing, and what was done."""

from typing import Any
from uuid import UUID

import attrs

from diga_async._models.phone import Phone
from diga_async._models.pydantic_schema import (
    NULL,
    UUID_TEXT,
    describe_list,
    describe_object,
    describe_record,
    row_schema,
)


@attrs.frozen(kw_only=True)
class PhonePage:
    """
    One page of the listing.

    Attributes:
        phones: Its phones, in the order of the listing.
        cursor: What to pass as *after* for the next page; None when this is the last.
        has_more: Whether more phones follow. A page without phones may say so.
        total_pages: How many pages there are; None when the server does not say.

    .. versionadded:: 0.2.0
    """

    __module__ = "diga_async"

    phones: tuple[Phone, ...]
    cursor: UUID | None
    has_more: bool
    total_pages: int | None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let pydantic, and FastAPI, write the page as JSON."""
        return row_schema(cls, _page_fields)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Any:
        """Describe the page."""
        return describe_object(
            cls.__name__,
            phones=describe_list(describe_record(Phone, written=True)),
            cursor={"anyOf": [UUID_TEXT, NULL]},
            has_more={"type": "boolean"},
            total_pages={"anyOf": [{"type": "integer"}, NULL]},
        )


def _page_fields(page: PhonePage) -> dict[str, Any]:
    return {
        "phones": [phone.to_dict() for phone in page.phones],
        "cursor": None if page.cursor is None else str(page.cursor),
        "has_more": page.has_more,
        "total_pages": page.total_pages,
    }


@attrs.frozen(kw_only=True)
class ListingStats:
    """
    A snapshot of a listing.

    Attributes:
        pages: Pages read.
        phones: Phones delivered.
        retries: Requests that repeated a failed one.
        throttled: Requests that the server throttled.
        elapsed: Seconds since the first page was requested; stands still at the end.
        total_pages: How many pages there are; None when the server has not said.

    .. versionadded:: 0.2.0
    """

    __module__ = "diga_async"

    pages: int
    phones: int
    retries: int
    throttled: int
    elapsed: float
    total_pages: int | None
