"""`Request` and `Response`: one HTTP exchange as plain values."""

from typing import Any, Protocol

import attrs
from yarl import URL

from diga_async._models.decoding import MAX_BODY_BYTES


class Secret(str):
    """
    Text that frames, logs and crash reports show as stars.

    Headers keep the object they are given, so a frame that holds them does not
    show the key.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        """Show none of it."""
        return "'***'"


def conceal(key: Any) -> Any:
    """
    Hide a key as soon as it is received.

    >>> conceal("sk-1")
    '***'
    """
    if isinstance(key, bytes):  # never a key, but may have been meant as one
        return Secret()
    return Secret(key) if isinstance(key, str) else key


class Headers(Protocol):
    """The headers of a response: names in any case, repeated names allowed."""

    def __contains__(self, key: object) -> bool:
        """Whether there is a header of that name."""

    def getall(self, key: str) -> list[str]:
        """Return every value of that name, in order."""


@attrs.frozen
class Endpoint:
    """
    Where requests go, and the headers that all of them have.

    Attributes:
        url: The base URL, absolute and encoded, without a slash at its end.
        headers: In the order in which they are sent.
        path: The path of *url*.
        lines: The headers as text.
    """

    url: URL
    headers: dict[str, str]
    path: str = attrs.field(init=False)
    lines: str = attrs.field(init=False, repr=False)

    @path.default
    def _path_of_url(self) -> str:
        return self.url.raw_path.rstrip("/")

    @lines.default
    def _lines_of_headers(self) -> str:
        return "".join(f"{name}: {text}\r\n" for name, text in self.headers.items())


@attrs.frozen
class Request:
    """
    One GET.

    Attributes:
        endpoint: Where it goes.
        path: Path and query below the endpoint, encoded.
        authorization: The value of the Authorization header.
        max_body: How many bytes of a body are read.
    """

    endpoint: Endpoint
    path: str
    authorization: Secret
    max_body: int = MAX_BODY_BYTES

    @property
    def url(self) -> URL:
        """The absolute address."""
        text = f"{self.endpoint.url.origin()}{self.endpoint.path}{self.path}"
        return URL(text, encoded=True)

    @property
    def headers(self) -> dict[str, str]:
        """Every header that is sent, with the key."""
        return {**self.endpoint.headers, "Authorization": self.authorization}

    def __bytes__(self) -> bytes:
        """Return the request as HTTP/1.1 sends it (RFC 9112 section 2.1), in ASCII."""
        return (
            f"GET {self.endpoint.path}{self.path} HTTP/1.1\r\n{self.endpoint.lines}"
            f"Authorization: {self.authorization}\r\n\r\n"
        ).encode()


@attrs.frozen
class Response:
    """
    One complete response.

    Attributes:
        status: The HTTP status.
        headers: As received.
        body: As received, still encoded; None when it is larger than allowed.
    """

    status: int
    headers: Headers
    body: bytes | None
