"""Which answers end a run, because every other item would fail alike."""

from diga_async._flow.retry import is_throttling
from diga_async._models.errors import (
    APIStatusError,
    AuthenticationError,
    ClientClosedError,
    DigaError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
)


def ends_run(
    error: DigaError, *, is_permitted: bool, is_hopeless: bool, most_seconds: float
) -> bool:
    """
    Whether every other item would fail as this one did.

    Args:
        error: How an item ended.
        is_permitted: Whether an answer has shown that the key may read records.
        is_hopeless: Whether the run has had no answer for too long.
        most_seconds: The longest ``Retry-After`` that a run waits for.
    """
    match error:
        case AuthenticationError() | ClientClosedError():
            return True
        case PermissionDeniedError():
            return not is_permitted
        case APIStatusError(status=407):  # of the proxy: asking again locks accounts
            return True
        case _ if getattr(error, "proxy_status", None) and not error.transient:
            return True
        case _:
            pass
    if not error.transient:
        return False
    # A run waits out any throttling, unless the delay is longer than an outage.
    asked = getattr(error, "retry_after", None) or 0.0
    return is_hopeless or asked > most_seconds or is_throttling(error)


def shows_permission(answer: object) -> bool:
    """Whether the answer shows that the key may read records."""
    if not isinstance(answer, DigaError) or isinstance(answer, NotFoundError):
        return True
    return isinstance(answer, InvalidResponseError) and answer.status == 200  # noqa: PLR2004
