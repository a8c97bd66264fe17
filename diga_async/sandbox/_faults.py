"""Faults and the rate limit: what happens to a request instead of a plain answer."""

import math
from enum import StrEnum
from random import Random
from typing import Any, Final

import attrs
from attrs import validators

from diga_async.sandbox._settings import a_number, a_whole_number, explains_settings


def _share() -> float:
    # The annotation makes type checkers see a float, not the attribute.
    field: float = attrs.field(
        default=0.0, validator=[a_number, validators.ge(0.0), validators.le(1.0)]
    )
    return field


class Fault(StrEnum):
    """
    The fault of one request, named as the field of :class:`Faults`.

    .. versionadded:: 0.1.0
    """

    ERRORS = "errors"
    RESETS = "resets"
    HANGS = "hangs"
    TRUNCATED = "truncated"
    GARBAGE = "garbage"
    SLOW_BODIES = "slow_bodies"
    REPEATED = "repeated"
    WRONG_IDS = "wrong_ids"
    FORBIDDEN = "forbidden"
    LOOPING_CURSORS = "looping_cursors"
    EMPTY_PAGES = "empty_pages"
    REPEATED_PHONES = "repeated_phones"
    BROKEN_RECORDS = "broken_records"


_LISTING_ONLY: Final = (
    Fault.LOOPING_CURSORS,
    Fault.EMPTY_PAGES,
    Fault.REPEATED_PHONES,
    Fault.BROKEN_RECORDS,
)
_LOOKUP_FAULTS: Final = tuple(fault for fault in Fault if fault not in _LISTING_ONLY)
_LISTING_FAULTS: Final = tuple(fault for fault in Fault if fault != Fault.WRONG_IDS)


@explains_settings(
    {
        "latency": "pass Sandbox(latency=...)",
        "per_second": "pass Sandbox(per_second=...)",
        **dict.fromkeys(("timeout", "timeouts"), "pass hangs=, or slow_bodies="),
    }
)
@attrs.frozen(kw_only=True)
class Faults:
    """
    How often each fault happens, as shares between 0 and 1.

    A request has one fault at most, so the shares that a lookup can have add up to 1
    at most, and so do those that a page of the listing can have.
    The last two, unknown fields and values, are drawn for every phone, on top.
    The sandbox draws from its seed, in the order requests arrive.

    Attributes:
        errors: The answer is *error_status*, as Diga's JSON or as a proxy's HTML.
        resets: The connection is reset before an answer.
        hangs: Nothing is sent until the client leaves.
        truncated: The connection is closed in the middle of the body.
        garbage: The answer is a 200 whose body is not JSON.
        slow_bodies: The body takes *drip_seconds*.
        repeated: A second copy of the answer follows on the connection, unasked.
        wrong_ids: The record of a lookup has another phone's id.
        forbidden: The answer is 403, as for a key without *Phones: read*.
        looping_cursors: The page after a cursor gives that cursor again as the next,
            and says that there is more. Pages by number are not affected.
        empty_pages: A page leaves out its phones and says that there is more. Its
            cursor leads to the page after it.
        repeated_phones: A page begins with the phone that ends the page before it.
            The first page is not affected, nor are pages of one phone.
        broken_records: One record of a page is not a phone: its number is null, its
            status is missing, its id is not a UUID, or it is null itself.
        unknown_fields: A phone has fields that the published API does not have.
        unknown_values: A phone has enum values that the published API does not have.
        error_status: The status of *errors*, 500 to 599.
        drip_seconds: How long a slow body takes.

    Raises:
        TypeError: A value is not a number, or has a name that does not exist.
        ValueError: A share is not between 0 and 1, or they add up to more than 1.

    .. versionadded:: 0.1.0

    .. versionchanged:: 0.2.0
        The faults of the listing.
    """

    errors: float = _share()
    resets: float = _share()
    hangs: float = _share()
    truncated: float = _share()
    garbage: float = _share()
    slow_bodies: float = _share()
    repeated: float = _share()
    wrong_ids: float = _share()
    forbidden: float = _share()
    looping_cursors: float = _share()
    empty_pages: float = _share()
    repeated_phones: float = _share()
    broken_records: float = _share()
    unknown_fields: float = _share()
    unknown_values: float = _share()
    error_status: int = attrs.field(
        default=503, validator=[a_whole_number, validators.ge(500), validators.le(599)]
    )
    drip_seconds: float = attrs.field(
        default=5.0, validator=[a_number, validators.ge(0), validators.lt(math.inf)]
    )

    def __attrs_post_init__(self) -> None:
        """Reject shares that a single draw cannot honour."""
        for faults in (_LOOKUP_FAULTS, _LISTING_FAULTS):
            total = math.fsum(getattr(self, fault) for fault in faults)
            if total > 1 + 1e-9:
                raise ValueError(
                    f"The shares of faults add up to {total:g}, more than 1."
                )

    def draw(self, chance: Random, *, listing: bool = False) -> Fault | None:
        """
        Draw the fault of one request; None if it has none.

        .. versionadded:: 0.1.0
        """
        drawn = chance.random()
        for fault in _LISTING_FAULTS if listing else _LOOKUP_FAULTS:
            drawn -= getattr(self, fault)
            if drawn < 0:
                return fault
        return None

    def alter(self, record: dict[str, Any], chance: Random) -> dict[str, Any]:
        """
        Return *record* with the unknown fields and values that are drawn.

        .. versionadded:: 0.1.0
        """
        if chance.random() < self.unknown_fields:
            record = _with_unknown_fields(record)
        if chance.random() < self.unknown_values:
            record = _with_unknown_values(record)
        return record


def _with_unknown_fields(record: dict[str, Any]) -> dict[str, Any]:
    news = {"country_code": "ES", "capabilities": {"voice": True, "sms": False}}
    return record | news | _sip_config_with(record, {"transport": "tls"})


def _with_unknown_values(record: dict[str, Any]) -> dict[str, Any]:
    news = {"status": "suspended", "telephony_provider": "operator"}
    return (
        record | news | _sip_config_with(record, {"inbound_media_encryption": "dtls"})
    )


def _sip_config_with(record: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
    sip_config = record.get("sip_config")
    return {"sip_config": sip_config | news} if sip_config else {}


@attrs.define(eq=False)
class LeakyBucket:
    """
    Rate limit that counts as nginx's ``limit_req`` with ``nodelay`` does.

    Requests beyond the rate fill the bucket up to the burst. A request that would
    make it overflow is throttled and adds nothing.
    See https://nginx.org/en/docs/http/ngx_http_limit_req_module.html.

    >>> bucket = LeakyBucket()
    >>> [bucket.accepts(0.0, per_second=10, burst=1) for _ in range(3)]
    [True, True, False]
    >>> bucket.accepts(0.1, per_second=10, burst=1)
    True
    """

    _excess: float = attrs.field(default=0.0, init=False)
    _last: float | None = attrs.field(default=None, init=False)

    def accepts(self, now: float, *, per_second: float, burst: int) -> bool:
        """Whether a request at *now* is accepted; if so, count it."""
        excess = self._excess_at(now, per_second)
        if excess > burst:
            return False
        self._excess, self._last = excess, now
        return True

    def _excess_at(self, now: float, per_second: float) -> float:
        if self._last is None:
            return 0.0
        return max(0.0, self._excess - per_second * (now - self._last) + 1)
