"""`PhonePage` and `ListingStats`: one page of the listing, and what was done."""

from uuid import UUID

import attrs

from diga_async._models.phone import Phone


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
