"""
The one operation as HTTP: path, headers, what each status means.

https://docs.diga.io documents ``GET /v1/phone/{phone_id}`` with 200 and 422 only;
the other statuses are those that the rest of the API answers with.
"""

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import attrs
from yarl import URL

from diga_async._api.headers import header, retry_after
from diga_async._api.messages import Endpoint, Request, Response, Secret
from diga_async._models.decoding import UUID_TEXT, inflate, read_json, uuid_of
from diga_async._models.errors import (
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    DigaError,
    InternalServerError,
    InvalidPhoneIdError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    UnprocessableEntityError,
    ValidationDetail,
)
from diga_async._models.phone import Phone
from diga_async._version import __version__

Answer = Phone | DigaError

ERRORS: dict[int, type[APIStatusError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}

_AUTHORITY = r"(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?P<port>:\d{1,5})?"
_BASE_URL = re.compile(
    rf"(?P<scheme>https?)://{_AUTHORITY}(?P<path>(/[a-z0-9._~-]*)*)",
    re.ASCII | re.IGNORECASE,
)
_PROXY = re.compile(
    rf"https?://([\x21-\x2e\x30-\x3f\x41-\x7e]+@)?{_AUTHORITY}(?P<path>/?)",
    re.ASCII | re.IGNORECASE,
)
# A server may quote what it holds, or what it was sent, in an error's text.
_PERSONAL = re.compile(
    r"\+\d[\d ]{6,18}\d|\b(?:https?|sips?):\S+|\bsk-[0-9a-z]{8,}", re.IGNORECASE
)

#: Below this a key of letters alone may be a word that anybody writes.
MIN_TELLING_CHARACTERS = 8
_QUOTED = re.compile(r"""((?<=\bBearer )|(?<=[:=] )|(?<=[:='"`]))\w+""", re.IGNORECASE)


def phone_id_of(value: object) -> UUID:
    """
    Take a phone id, or say that it is none before anything is sent.

    `uuid.UUID` also reads braces, ``urn:`` and digits of other scripts,
    and takes some texts for another id: only the canonical form will do.

    Raises:
        InvalidPhoneIdError: It is no UUID, nor its canonical text.
    """
    if type(value) is UUID:
        return value
    if isinstance(value, UUID):
        return UUID(int=value.int)  # a driver's own kind, whose text may be anything
    if isinstance(value, str):
        match = UUID_TEXT.fullmatch(value)
        if match is not None:
            return uuid_of(match[0])
        raise InvalidPhoneIdError(
            "a phone id is a UUID or its canonical 36 characters, "
            f"not a text of {len(value)}"
        )
    raise InvalidPhoneIdError(
        "a phone id is a UUID or its canonical 36 characters, "
        f"not {type(value).__name__}"
    )


def check_base_url(base_url: object, *, allow_insecure_http: bool = False) -> str:
    """
    Take the server's address, without a slash at its end.

    Raises:
        ConfigurationError: It is no http(s) address, holds credentials or
            a query, or would send the key in clear to another machine.
    """
    match = _sound_match(_BASE_URL, base_url)
    if match is None:
        raise ConfigurationError(
            "base_url must be http(s)://host[:port][/path], "
            "without credentials, query or fragment"
        )
    scheme = match["scheme"].lower()
    if scheme == "http" and not (allow_insecure_http or is_loopback(match["host"])):
        raise ConfigurationError(
            "base_url is plain http to another machine, which shows the key to "
            "everybody on the way; use https, or pass allow_insecure_http=True"
        )
    authority = (match["host"] + (match["port"] or "")).lower()
    return f"{scheme}://{authority}{match['path'].rstrip('/')}"


def _sound_match(pattern: re.Pattern[str], url: object) -> re.Match[str] | None:
    match = pattern.fullmatch(url) if isinstance(url, str) else None
    if match is None or not match["host"].strip("."):
        return None
    try:
        port = urlsplit(match[0]).port  # also reads the address between brackets
    except ValueError:
        return None
    dots = {".", ".."}.intersection(match["path"].split("/"))
    return None if port == 0 or dots else match


def check_proxy(
    proxy: object,
    base_url: str,
    *,
    name: str = "proxy",
    allow_insecure_http: bool = False,
) -> str | None:
    """
    Take a proxy's address, or None.

    Args:
        proxy: The address.
        base_url: Where requests through it go.
        name: The argument or variable that holds it, for the message.
        allow_insecure_http: Whether the proxy may see the key.

    Raises:
        ConfigurationError: It is no http(s) address, or would see the key.
    """
    if proxy is None:
        return None
    match = _sound_match(_PROXY, proxy)
    if match is None:
        raise ConfigurationError(
            f"{name} must be http(s)://[user:password@]host[:port]"
        )
    if base_url.startswith("http:") and not allow_insecure_http:
        raise ConfigurationError("a proxy would see the key; use an https base_url")
    return match[0]


def with_scheme(proxy: str) -> str:
    """
    Read a proxy without a scheme as http, as curl and pip do.

    >>> with_scheme("proxy.example:3128")
    'http://proxy.example:3128'
    """
    return proxy if "://" in proxy else f"http://{proxy}"


def is_loopback(host: str) -> bool:
    """
    Whether *host* is this machine.

    >>> is_loopback("127.0.0.1"), is_loopback("127.0.0.1.example.com")
    (True, False)
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def endpoint_of(base_url: str) -> Endpoint:
    """Return where the phones are, and what every request says of itself."""
    url = URL(f"{base_url}/v1/phone", encoded=True)
    return Endpoint(
        url,
        {
            "Host": url.host_port_subcomponent or "",  # first: RFC 9110 section 7.2
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"diga-async/{__version__}",
        },
    )


def request_for(phones: Endpoint, phone_id: UUID, authorization: Secret) -> Request:
    """Build the request for one of the *phones*."""
    return Request(phones, f"{phones.url.raw_path}/{phone_id}", authorization)


def read(response: Response, phone_id: UUID, authorization: Secret) -> Answer:
    """Make of one response the phone asked for, or say why it is none."""
    try:
        if response.status != 200:  # noqa: PLR2004
            return _refusal(response, _key_of(authorization))
        phone = Phone.from_json(_body_of(response))
    except InvalidResponseError as error:
        # The names of fields are the server's words as well.
        key = _key_of(authorization)
        problems = [_clean(problem, key) for problem in error.problems]
        return attrs.evolve(error, status=response.status, problems=problems)
    return phone if phone.id == phone_id else _foreign()


def _key_of(authorization: Secret) -> Secret:
    return Secret(authorization.removeprefix("Bearer "))


def _foreign() -> InvalidResponseError:
    return InvalidResponseError(
        "the server sent another phone",
        status=200,
        problems=("$.id: not the id asked for",),
        foreign=True,
    )


def _body_of(response: Response) -> bytes:
    if response.body is None:
        raise InvalidResponseError("the body is larger than 1 MiB")
    encoding = header(response, "Content-Encoding")
    if encoding is None:
        return response.body
    return inflate(response.body, encoding.strip().lower())


def _refusal(response: Response, key: Secret) -> DigaError:
    status = response.status
    if 200 < status < 300:  # noqa: PLR2004
        raise InvalidResponseError(f"{status} is not an answer to this request")
    said = _ErrorBody(response, key)
    return _class_for(status)(
        status=status,
        error_code=said.text("error_code"),
        message=said.text("message") or said.text("detail"),
        details=said.details(),
        request_id=said.clean(header(response, "X-Request-Id")),
        retry_after=retry_after(
            header(response, "Retry-After"), header(response, "Date")
        ),
    )


def _class_for(status: int) -> type[APIStatusError]:
    if 500 <= status < 600:  # noqa: PLR2004
        return InternalServerError
    return ERRORS.get(status, APIStatusError)


def _clean(text: str, key: Secret) -> str:
    """Take out the key and what may be personal."""
    known = _without(key, text)[:2000]
    printable = "".join(c if c.isprintable() else " " for c in known)
    return _PERSONAL.sub("***", printable)


def _without(key: Secret, text: str) -> str:
    if len(key) >= MIN_TELLING_CHARACTERS or not key.isalpha():
        return text.replace(key, "***")
    # A test's key, such as "key": taken out where a key stands, left in prose.
    return _QUOTED.sub(lambda m: "***" if m[0] == key else m[0], text)


class _ErrorBody:
    """What an error's body says, in FastAPI's shape, in Diga's, or in none."""

    def __init__(self, response: Response, key: Secret) -> None:
        self._key = key
        try:
            content = read_json(_body_of(response))
        except InvalidResponseError:
            content = None
        self._fields = content if isinstance(content, dict) else {}

    def clean(self, text: object) -> str | None:
        """Return it without the key and what may be personal, if it is text."""
        return _clean(text, self._key) if isinstance(text, str) else None

    def text(self, name: str) -> str | None:
        """Return the field of that name, if it is text."""
        return self.clean(self._fields.get(name))

    def details(self) -> tuple[ValidationDetail, ...]:
        """Return FastAPI's list of complaints, as far as it is one."""
        complaints = self._fields.get("detail")
        if not isinstance(complaints, list):
            return ()
        return tuple(self._detail(c) for c in complaints[:100] if isinstance(c, dict))

    def _detail(self, complaint: dict[str, Any]) -> ValidationDetail:
        loc = complaint.get("loc")
        return ValidationDetail(
            tuple(self._step(s) for s in loc[:8]) if isinstance(loc, list) else (),
            self.clean(complaint.get("msg")) or "",
            self.clean(complaint.get("type")) or "",
        )

    def _step(self, step: object) -> str | int:
        if isinstance(step, int):
            return step
        return (self.clean(step) or "")[:100]
