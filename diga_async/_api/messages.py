"""`Request` and `Response`, as the protocol sees them and as bytes."""

from typing import Any, Protocol

import attrs
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
class Endpoint:
    """
    Where requests go, and what all of them say.

    Attributes:
        url: Absolute, encoded; requests are for what lies below it.
        headers: In the order in which they are sent.
        lines: The same as text.
    """

    url: URL
    headers: dict[str, str]
    lines: str = attrs.field(init=False, repr=False)

    @lines.default
    def _lines_of_headers(self) -> str:
        return "".join(f"{name}: {text}\r\n" for name, text in self.headers.items())


@attrs.frozen
class Request:
    """
    One GET.

    Attributes:
        endpoint: Where it goes.
        path: The whole path, encoded.
        authorization: Sent in the header of that name.
    """

    endpoint: Endpoint
    path: str
    authorization: Secret

    @property
    def url(self) -> URL:
        """Where it goes, absolute."""
        return self.endpoint.url.with_path(self.path, encoded=True)

    @property
    def headers(self) -> dict[str, str]:
        """Everything that is sent, the key included."""
        return {**self.endpoint.headers, "Authorization": self.authorization}

    def __bytes__(self) -> bytes:
        """Return it as HTTP/1.1 sends it (RFC 9112 section 2.1), all of it ASCII."""
        return (
            f"GET {self.path} HTTP/1.1\r\n{self.endpoint.lines}"
            f"Authorization: {self.authorization}\r\n\r\n"
        ).encode()


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
