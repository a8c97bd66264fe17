"""The filters of a listing, as the command line has them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

from diga_async import PhoneStatus, UnprocessableEntityError
from diga_async._cli.exit_codes import message_of, usage_error
from diga_async._cli.redaction import shown


def moment_of(option: str, text: str | None) -> datetime | None:
    """
    Read a date of the command line; one without an offset is UTC.

    >>> moment_of("--assigned-from", "2026-07-01").isoformat()
    '2026-07-01T00:00:00+00:00'

    Raises:
        CommandError: It is not a date.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise usage_error(
            f"{option} must be a date such as 2026-07-01 or 2026-07-01T09:30+02:00, "
            f"not {shown(text)}"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def check_period(filters: Mapping[str, Any]) -> None:
    """
    Reject a period that ends before it begins.

    Raises:
        CommandError: It does, so that no phone can be in it.
    """
    begin, end = filters["assigned_from"], filters["assigned_until"]
    if begin is not None and end is not None and begin > end:
        raise usage_error(
            f"--assigned-from ({begin.isoformat()}) is later than --assigned-until "
            f"({end.isoformat()}): no phone can be in between; swap them"
        )


def refused_filter(error: UnprocessableEntityError, filters: Mapping[str, Any]) -> str:
    """Return what to say of a filter that the server refuses."""
    status = filters.get("status")
    if status is not None and not PhoneStatus(status).known:
        return f"the server refuses --status {unknown_status(status)}"
    return f"the server refuses a filter: {message_of(error)}"


def unknown_status(status: str) -> str:
    """
    Return a status that this version does not know, and those that it knows.

    >>> unknown_status("asigned").partition(";")[0]
    "'asigned' (did you mean 'assigned'?)"
    """
    near = get_close_matches(status.lower(), map(str, PhoneStatus), n=1)
    meant = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{shown(status)}{meant}; known are {', '.join(PhoneStatus)}"
