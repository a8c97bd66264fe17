"""The listing's query string, read as FastAPI and pydantic read it."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl
from uuid import UUID

import attrs

STATUSES: Final = (
    "reserved",
    "pending_verification",
    "assigned",
    "released",
    "finished",
)
ORDERS: Final = ("asc", "desc")

_LARGEST_PAGE: Final = 100
_UUID_LENGTH: Final = 32
_UUID: Final = re.compile(  # pydantic accepts more than one form
    r"\{?(?:urn:uuid:)?"
    r"([0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\}?",
    re.IGNORECASE,
)
_INTEGER: Final = re.compile(r"\s*([+-]?\d+(?:_\d+)*)(?:\.0*)?\s*")
_TIMESTAMP: Final = re.compile(r"[+-]?\d+(?:\.\d+)?")
_ISO: Final = re.compile(
    r"\d{4}-\d\d-\d\d"
    r"(?:[Tt _]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?\s?(?:[Zz]|[+-]\d\d:?\d\d)?)?"
)
_LATEST_IN_SECONDS: Final = 20_000_000_000  # a larger timestamp is in milliseconds

Detail: TypeAlias = dict[str, Any]


@attrs.frozen(kw_only=True)
class ListingQuery:
    """The query of a listing."""

    after: UUID | None = None
    before: UUID | None = None
    page: int | None = None
    limit: int = 20
    order: str = "desc"
    inbound_agent_id: UUID | None = None
    outbound_agent_id: UUID | None = None
    status: str | None = None
    start_assigned_at: datetime | None = None
    end_assigned_at: datetime | None = None

    @property
    def step(self) -> int:
        """1 if the oldest phone comes first, otherwise -1."""
        return 1 if self.order == "asc" else -1

    @property
    def cursor(self) -> UUID | None:
        """The phone that the page follows or precedes."""
        return self.after or self.before

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The fields that a phone has to have, with their text."""
        names = ("status", "inbound_agent_id", "outbound_agent_id")
        wanted = [(name, getattr(self, name)) for name in names]
        return [(name, str(value)) for name, value in wanted if value is not None]

    @property
    def has_dates(self) -> bool:
        """Whether the moment of assignment is limited."""
        return bool(self.start_assigned_at or self.end_assigned_at)

    @property
    def has_filters(self) -> bool:
        """Whether some phones may not match."""
        return self.has_dates or bool(self.fields)


class _InvalidError(Exception):
    """A value that pydantic refuses; its argument is what the answer's detail says."""


def read_query(text: str) -> ListingQuery | list[Detail]:
    """
    Read a query string; return the details of a 422 if a value in it is invalid.

    >>> read_query("limit=5&order=asc&unknown=1").limit
    5
    >>> [detail["type"] for detail in read_query("limit=0&page=x")]
    ['int_parsing', 'greater_than_equal']
    """
    given = dict(parse_qsl(text, keep_blank_values=True))  # the last of a name counts
    values, details = {}, []
    for name, read in _READERS.items():
        if name in given:
            try:
                values[name] = read(given[name])
            except _InvalidError as error:
                (detail,) = error.args
                input_ = {"loc": ["query", name], "input": given[name]}
                details.append(detail | input_)
    return details or ListingQuery(**values)


def read_uuid(text: str) -> UUID | None:
    """Return the UUID that pydantic reads in *text*; None if it reads none."""
    match = _UUID.fullmatch(text)
    return UUID(match[1]) if match else None


def uuid_detail(text: str) -> Detail:
    """Say why *text* is not a UUID."""
    reason = _why_not_a_uuid(text)
    return {
        "type": "uuid_parsing",
        "msg": f"Input should be a valid UUID, {reason}",
        "ctx": {"error": reason},
    }


def _why_not_a_uuid(text: str) -> str:
    odd = re.search(r"[^0-9A-Fa-f-]", text)
    if odd:
        return f"invalid character: found `{odd[0]}` at {odd.start()}"
    digits = text.replace("-", "")
    if len(digits) != _UUID_LENGTH:
        return f"invalid length: found {len(digits)}"
    return "invalid group length"


def _uuid(text: str) -> UUID:
    phone_id = read_uuid(text)
    if phone_id is None:
        raise _InvalidError(uuid_detail(text))
    return phone_id


def _integer(text: str) -> int:
    match = _INTEGER.fullmatch(text)
    if match is None:
        raise _InvalidError(
            {
                "type": "int_parsing",
                "msg": "Input should be a valid integer, "
                "unable to parse string as an integer",
            }
        )
    return int(match[1])


def _page(text: str) -> int:
    page = _integer(text)
    if page < 1:
        raise _InvalidError(
            {
                "type": "greater_than_equal",
                "msg": "Input should be greater than or equal to 1",
                "ctx": {"ge": 1},
            }
        )
    return page


def _limit(text: str) -> int:
    limit = _page(text)
    if limit > _LARGEST_PAGE:
        raise _InvalidError(
            {
                "type": "less_than_equal",
                "msg": f"Input should be less than or equal to {_LARGEST_PAGE}",
                "ctx": {"le": _LARGEST_PAGE},
            }
        )
    return limit


def _order(text: str) -> str:
    return _one_of(ORDERS, "literal_error", text)


def _status(text: str) -> str:
    return _one_of(STATUSES, "enum", text)


def _one_of(choices: tuple[str, ...], kind: str, text: str) -> str:
    if text in choices:
        return text
    *others, last = map(repr, choices)
    expected = f"{', '.join(others)} or {last}"
    raise _InvalidError(
        {
            "type": kind,
            "msg": f"Input should be {expected}",
            "ctx": {"expected": expected},
        }
    )


def _moment(text: str) -> datetime:
    moment = read_moment(text)
    if moment is None:
        reason = "input is invalid"
        raise _InvalidError(
            {
                "type": "datetime_from_date_parsing",
                "msg": f"Input should be a valid datetime or date, {reason}",
                "ctx": {"error": reason},
            }
        )
    return moment


@lru_cache(maxsize=100_000)
def read_moment(text: str) -> datetime | None:
    """Return the moment that pydantic reads in *text*, aware; None if it reads none."""
    try:
        moment = _read_moment(text)
    except (ValueError, OverflowError, OSError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _read_moment(text: str) -> datetime:
    if _TIMESTAMP.fullmatch(text):
        seconds = float(text)
        in_seconds = abs(seconds) <= _LATEST_IN_SECONDS
        return datetime.fromtimestamp(seconds if in_seconds else seconds / 1000, UTC)
    if not _ISO.fullmatch(text):
        raise ValueError
    return datetime.fromisoformat(text)


_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "after": _uuid,
    "before": _uuid,
    "page": _page,
    "limit": _limit,
    "order": _order,
    "inbound_agent_id": _uuid,
    "outbound_agent_id": _uuid,
    "status": _status,
    "start_assigned_at": _moment,
    "end_assigned_at": _moment,
}
