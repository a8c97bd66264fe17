"""`Request` and `Response`: one HTTP exchange as plain values."""

import re
from collections.abc import Mapping
from typing import Any, Protocol

import attrs
from yarl import URL

from diga_async._models.arguments import not_this
from diga_async._models.decoding import MAX_BODY_BYTES
from diga_async._models.errors import ConfigurationError


class Secret(str):
    """
    Text that frames, logs and crash reports show as stars.

    Headers keep the object they are given, so a frame that holds them does not
    show the key.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        """Hide the text."""
        return "'***'"


class NotText(Secret):
    """What is left of a key that was given as bytes: it is empty."""

    __slots__ = ()


def conceal(key: Any) -> Any:
    """
    Hide a key as soon as it is received.

    >>> conceal("sk-1")
    '***'
    """
    if isinstance(key, bytes):  # never a key, but may have been meant as one
        return NotText()
    if isinstance(key, Secret):
        return key
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
    The address of requests, and the headers that all of them have.

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


# Not frozen, as one is made for each attempt: to set a field of a frozen instance is a
# call. Nothing changes them.
@attrs.define
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


@attrs.define
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


# Texts, which are compiled on first use: few clients have headers of their own.
_HEADER_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}"
_HEADER_VALUE = r"[\x21-\x7e]([\x20-\x7e\t]{0,4094}[\x21-\x7e])?|"
#: What the client itself sets: on a request, its connection and its body.
_RESERVED = (
    r"(?i)authorization|host|accept(-.*)?|connection|content-.*|keep-alive|te|trailer"
    r"|transfer-encoding|upgrade|expect|cookie|proxy-.*"
)


def check_headers(headers: object) -> dict[str, Secret]:
    """
    Check headers for every request; their values may be secret, and stay hidden.

    Raises:
        ConfigurationError: They are not a mapping of names (RFC 9110 section 5.1) to
            printable ASCII, or name a header that the client sets itself.
    """
    if not isinstance(headers, Mapping):
        raise ConfigurationError(
            f"headers must be a mapping of names to text, not {type(headers).__name__}"
        )
    checked: dict[str, Secret] = {}
    for name, value in headers.items():
        if not isinstance(name, str) or re.fullmatch(_HEADER_NAME, name) is None:
            raise ConfigurationError(f"headers: a name {_fault_of_name(name)}")
        if re.fullmatch(_RESERVED, name):
            remedy = "; pass api_key=" if name.lower() == "authorization" else ""
            text = f"headers: {name} is set by the client itself{remedy}"
            raise ConfigurationError(text)
        if not isinstance(value, str) or re.fullmatch(_HEADER_VALUE, value) is None:
            raise ConfigurationError(f"headers: {name} must be printable ASCII text")
        checked[name] = Secret(value)
    if len({name.lower() for name in checked}) < len(checked):
        raise ConfigurationError("headers: a name is given twice")
    return checked


def _fault_of_name(name: object) -> str:
    """
    Say what is wrong with the name of a header, up to its first wrong character.

    What follows may be a value that was meant to stay hidden.

    >>> _fault_of_name("X-Token: secret")
    "has ':' after 'X-Token', which no header name has"
    """
    if not isinstance(name, str):
        return f"must be text, {not_this(name)}"
    if not name:
        return "is empty"
    sound = re.match(r"[!#$%&'*+.^_`|~0-9A-Za-z-]*", name)
    begin = sound[0] if sound else ""
    if begin == name:
        return "is longer than 100 characters"
    where = f"after {begin[:40]!r}" if begin else "at its beginning"
    return f"has {name[len(begin)]!r} {where}, which no header name has"
