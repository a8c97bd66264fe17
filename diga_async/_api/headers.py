"""The headers of a response that say how long to wait, and how to decode its body."""

import re
from datetime import datetime
from email.utils import parsedate_to_datetime

from diga_async._api.messages import Response
from diga_async._models.decoding import MAX_BODY_BYTES, inflate
from diga_async._models.errors import InvalidResponseError

MAX_RETRY_AFTER = 366 * 86400.0
MAX_RESET = 300.0
"""The longest cool-down, in seconds, that a header of an accepted request causes."""

_SECONDS = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)
_EPOCH = 1e9
"""A larger number is not a pause but a time in seconds since 1970."""
_REMAINING = re.compile(r";\s*r=(\d{1,9})\b", re.ASCII)
_RESET = re.compile(r";\s*t=(\d{1,9})\b", re.ASCII)
_PAIRS = (
    ("RateLimit-Remaining", "RateLimit-Reset"),
    ("X-RateLimit-Remaining", "X-RateLimit-Reset"),
)


def header(response: Response, name: str) -> str | None:
    """Return a header's value; None unless it came exactly once."""
    if name not in response.headers:  # the common case
        return None
    values = response.headers.getall(name)
    return values[0] if len(values) == 1 else None


def body_of(response: Response, most: int = MAX_BODY_BYTES) -> bytes:
    """
    Return the decoded body.

    Raises:
        InvalidResponseError: It is larger than *most* bytes, or its encoding is
            unknown, corrupt or cut short.
    """
    if response.body is None:
        raise InvalidResponseError(f"the body is larger than {most >> 20} MiB")
    if "Content-Encoding" not in response.headers:  # the common case
        return response.body
    encoding = header(response, "Content-Encoding")
    if encoding is None:
        return response.body
    return inflate(response.body, encoding.strip().lower(), most)


def retry_after(value: str | None, date: str | None) -> float | None:
    """
    Read ``Retry-After`` (RFC 9110 section 10.2.3) as seconds.

    A date is compared with the response's own ``Date``, so the clocks of the two
    machines need not agree. Any other text is ignored.

    >>> retry_after("120", None)
    120.0
    >>> retry_after("nan", None) is None
    True
    """
    if value is None:
        return None
    seconds = _seconds(value)
    if seconds is None:
        then, now = http_date(value), http_date(date)
        if then is None or now is None:
            return None
        # Both are cut to whole seconds: the same one is less than a second away.
        seconds = 1.0 if then == now else max(0.0, (then - now).total_seconds())
    return seconds if seconds <= MAX_RETRY_AFTER else None


def rate_limit(response: Response) -> tuple[int, float] | None:
    """
    Read how many requests are left, and for how many seconds.

    Reads ``RateLimit`` of draft-ietf-httpapi-ratelimit-headers, and
    ``RateLimit-Remaining`` and ``RateLimit-Reset`` of its early versions, with or
    without a leading ``X-``. A large reset is a time in seconds since 1970.
    """
    names = response.headers
    if not (
        "RateLimit" in names
        or "RateLimit-Remaining" in names
        or "X-RateLimit-Remaining" in names
    ):
        return None  # the common case
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
    now = http_date(header(response, "Date"))
    return None if now is None else max(0.0, reset - now.timestamp())


def _seconds(value: str | None) -> float | None:
    found = None if value is None else _SECONDS.fullmatch(value.strip())
    return None if found is None else float(found[0])


def http_date(value: str | None) -> datetime | None:
    """Read a date of HTTP (RFC 9110 section 5.6.7); None when it is not one."""
    try:
        moment = parsedate_to_datetime(value or "")
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else None
