"""`Request` and `Response`, as the protocol sees them."""

from typing import Any, Protocol

import attrs
from multidict import CIMultiDict
from yarl import URL


class Secret(str):
    """
    Text that frames, logs and crash reports show as stars.

    Headers keep the object they are given, so no frame that holds them
    shows the key.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        """Show nothing of it."""
        return "'***'"


def conceal(key: Any) -> Any:
    """
    Hide a key that was just received, before anything else is done with it.

    >>> conceal("sk-1")
    '***'
    """
    if isinstance(key, bytes):  # never a key; but perhaps one by mistake
        return Secret()
    return Secret(key) if isinstance(key, str) else key


class Headers(Protocol):
    """An answer's headers: names in any case, a name perhaps more than once."""

    def __contains__(self, key: object) -> bool:
        """Whether there is a header of that name."""

    def getall(self, key: str) -> list[str]:
        """Return every value of that name, in order."""


@attrs.frozen
class Request:
    """
    One GET.

    Attributes:
        url: Absolute, encoded.
        headers: Everything that is sent, the key included.
    """

    url: URL
    headers: CIMultiDict[str]


@attrs.frozen
class Response:
    """
    One complete answer.

    Attributes:
        status: The HTTP status.
        headers: As they came.
        body: As it came, still encoded; None when it was larger than allowed.
    """

    status: int
    headers: Headers
    body: bytes | None
