"""What a server's headers say about waiting: ``Retry-After`` and the rate limits."""

import re
from datetime import datetime
from email.utils import parsedate_to_datetime

from diga_async._api.messages import Response

MAX_RETRY_AFTER = 366 * 86400.0
#: Nobody is held for longer by a header that refuses nothing.
MAX_RESET = 300.0

_SECONDS = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)
#: Larger than any pause: a moment, in seconds since 1970, as some servers send.
_EPOCH = 1e9
_REMAINING = re.compile(r";\s*r=(\d{1,9})\b", re.ASCII)
_RESET = re.compile(r";\s*t=(\d{1,9})\b", re.ASCII)
_PAIRS = (
    ("RateLimit-Remaining", "RateLimit-Reset"),
    ("X-RateLimit-Remaining", "X-RateLimit-Reset"),
)


def header(response: Response, name: str) -> str | None:
    """Return a header that came exactly once; a contradiction is no statement."""
    if name not in response.headers:  # as nearly always
        return None
    values = response.headers.getall(name)
    return values[0] if len(values) == 1 else None


def retry_after(value: str | None, date: str | None) -> float | None:
    """
    Read ``Retry-After`` (RFC 9110 section 10.2.3) as seconds.

    A date is measured against the answer's own ``Date``, so that no clock of
    ours has to agree with the server's. Anything else is ignored.

    >>> retry_after("120", None)
    120.0
    >>> retry_after("nan", None) is None
    True
    """
    if value is None:
        return None
    seconds = _seconds(value)
    if seconds is None:
        then, now = _http_date(value), _http_date(date)
        if then is None or now is None:
            return None
        seconds = max(0.0, (then - now).total_seconds())
    return seconds if seconds <= MAX_RETRY_AFTER else None


def rate_limit(response: Response) -> tuple[int, float] | None:
    """
    Read how many requests are left, and for how many seconds.

    Understood are ``RateLimit`` of draft-ietf-httpapi-ratelimit-headers,
    ``RateLimit-Remaining`` and ``-Reset`` of its early versions,
    and the same with ``X-`` before; a reset may be a moment since 1970.
    """
    field = header(response, "RateLimit")
    if field is not None:
        remaining, reset = _REMAINING.search(field), _RESET.search(field)
        if remaining is None or reset is None:
            return None
        return _bounded(int(remaining[1]), float(reset[1]))
    for remaining_name, reset_name in _PAIRS:
        left = _seconds(header(response, remaining_name))
        if left is None:
            continue
        ends = _seconds(header(response, reset_name))
        if ends is not None:
            return _bounded(int(left), _from_now(ends, response))
    return None


def _bounded(remaining: int, seconds: float | None) -> tuple[int, float] | None:
    if seconds is None or seconds > MAX_RESET:
        return None
    return remaining, seconds


def _from_now(reset: float, response: Response) -> float | None:
    if reset < _EPOCH:
        return reset
    now = _http_date(header(response, "Date"))
    return None if now is None else max(0.0, reset - now.timestamp())


def _seconds(value: str | None) -> float | None:
    found = None if value is None else _SECONDS.fullmatch(value.strip())
    return None if found is None else float(found[0])


def _http_date(value: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value or "")
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else None
