"""Addresses of servers and proxies, checked before anything is sent."""

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import attrs
from yarl import URL

from diga_async._api.messages import Endpoint
from diga_async._models.errors import ConfigurationError
from diga_async._version import __version__

DEFAULT_BASE_URL = "https://api.diga.io"

_OF_THE_API = r"/v1(/phones?(/[0-9a-f-]{36})?)?$"
_AUTHORITY = r"(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?P<port>:\d{1,5})?"
_BASE_URL = rf"(?P<scheme>https?)://{_AUTHORITY}(?P<path>(/[a-z0-9._~-]*)*)"
_PROXY = rf"https?://([\x21-\x2e\x30-\x3f\x41-\x7e]+@)?{_AUTHORITY}(?P<path>/?)"

_HOST = r"https?://(\[[^]/?#]*\]|(?!\[)[^:/?#]*)"
_END = r"([/?#].*)?"
_NUMBER = r"(?!0+(?!\d))([1-5]?\d{1,4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])"
_BRACKETS = r"https?://[^/?#]*([][]|:[^/?#]*:).*"
_NOT_IPV6 = "has a host that is not an IPv6 address between brackets"
#: What may be wrong with a base URL: the first form that it has is its fault. They are
#: compiled for a wrong one only.
_FAULTS = (
    ("is empty", r"\s*"),
    ("has a space or a line break around it", r"\s.*|.*\s"),
    ("has quotes or brackets around it", r"[\"'`<].*|.*[\"'`>]"),
    ("contains a space or a line break", r".*\s.*"),
    ("contains a backslash", r".*\\.*"),
    ("has no :// after its scheme", r"https?(?!://)[:/].*"),
    ("has no scheme (https://)", r"(?!.*://).*|[/:].*"),
    ("has a scheme that is not http or https", r"(?!https?://).*"),
    ("contains a user or a password", r"https?://[^/?#]*@.*"),
    ("has no host", rf"https?://\.*(:[^:/?#]*)?{_END}"),
    (_NOT_IPV6, rf"(?!https?://\[[\da-f:.]*\](:[^:/?#]*)?{_END}$){_BRACKETS}"),
    (
        "has a host with a character other than a-z, 0-9, . and - (xn-- for ñ)",
        r"https?://(?!\[)[\w.-]*[^\w.:/?#-].*",
    ),
    (
        "has a port that is not a number from 1 to 65535",
        rf"{_HOST}:(?!{_NUMBER}{_END}$).*",
    ),
    ("has a query (?...)", r"[^#]*\?.*"),
    ("has a fragment (#...)", r".*#.*"),
    ("has . or .. in its path", r".*/\.\.?(/.*)?"),
    (
        "has a character in its path that is not a letter, a digit or one of ._~-",
        r"https?://[^/]*/.*[^\w.~/-].*",
    ),
    (_NOT_IPV6, r".*"),
)


@attrs.frozen
class Peer:
    """
    The receiver of a request, as errors name it.

    Attributes:
        host: The server's name or address.
        port: The server's port.
        proxy: ``host:port`` of the proxy, without credentials; None when there is none.
    """

    host: str
    port: int
    proxy: str | None = None

    def __str__(self) -> str:
        """Write it as errors and the log do."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        through = f" through {self.proxy}" if self.proxy else ""
        return f"{host}:{self.port}{through}"


def peer_of(url: URL, proxy: str | None = None) -> Peer:
    """
    Return what a request to *url* is sent to.

    >>> peer_of(URL("https://api.diga.io"), "http://user:password@proxy.corp:3128")
    Peer(host='api.diga.io', port=443, proxy='proxy.corp:3128')
    """
    through = None if proxy is None else str(peer_of(URL(proxy)))
    return Peer(url.host or "", url.port or 0, through)


def server_of(base_url: str, proxy: str | None = None) -> str:
    """
    Return the server's name for the log, without credentials of the proxy.

    >>> server_of("https://api.diga.io/x", "http://user:password@proxy.corp:3128")
    'api.diga.io:443 through proxy.corp:3128'
    """
    return str(peer_of(URL(base_url, encoded=True), proxy))


def check_base_url(
    base_url: object, *, name: str = "base_url", allow_insecure_http: bool = False
) -> str:
    """
    Check a base URL; return it without a slash at its end.

    Args:
        base_url: The address.
        name: The argument or variable that holds it, for the message.
        allow_insecure_http: Whether plain http to another machine is allowed.

    Raises:
        ConfigurationError: It is not an http(s) address, contains credentials or
            a query, ends in a path of the API, or would send the key
            unencrypted to another machine. The message says which, and never
            shows the address.
    """
    match = _sound_match(_BASE_URL, base_url)
    if match is None:
        raise ConfigurationError(
            f"{name} {_fault_of(base_url)}; it must be http(s)://host[:port][/path], "
            f"such as {DEFAULT_BASE_URL}"
        )
    scheme = match["scheme"].lower()
    if scheme == "http" and not (allow_insecure_http or is_loopback(match["host"])):
        raise ConfigurationError(
            f"{name} is plain http to another machine, so the key would travel "
            "unencrypted; use https, or pass allow_insecure_http=True"
        )
    path = match["path"].rstrip("/")
    if part := re.search(_OF_THE_API, path):
        raise ConfigurationError(
            f"{name} must not end in {part[0]}: the client adds it to every path"
        )
    authority = (match["host"] + (match["port"] or "")).lower()
    return f"{scheme}://{authority}{path}"


def _fault_of(base_url: object) -> str:
    """
    Say what is wrong with a base URL, without repeating any of it.

    >>> _fault_of("api.diga.io")
    'has no scheme (https://)'
    >>> _fault_of("https://user:password@api.diga.io")
    'contains a user or a password'
    """
    if not isinstance(base_url, str):
        return f"is not text, but {type(base_url).__name__}"
    flags = re.ASCII | re.IGNORECASE | re.DOTALL
    return next(fault for fault, form in _FAULTS if re.fullmatch(form, base_url, flags))


def _sound_match(pattern: str, url: object) -> re.Match[str] | None:
    flags = re.ASCII | re.IGNORECASE
    match = re.fullmatch(pattern, url, flags) if isinstance(url, str) else None
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
    Check a proxy's address; None stays None.

    Args:
        proxy: The address.
        base_url: Where requests through it go.
        name: The argument or variable that holds it, for the message.
        allow_insecure_http: Whether the proxy may see the key.

    Raises:
        ConfigurationError: It is not an http(s) address, or would see the key.
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


def endpoint_of(base_url: str, headers: Mapping[str, str] | None = None) -> Endpoint:
    """Return where requests go, and the headers that all of them have."""
    url, extra = URL(base_url, encoded=True), headers or {}
    own = {
        "Host": url.host_port_subcomponent or "",  # first: RFC 9110 section 7.2
        "Accept": "application/json",
        "Accept-Encoding": "identity",
    }
    if "user-agent" not in map(str.lower, extra):
        own["User-Agent"] = f"diga-async/{__version__}"
    return Endpoint(url, {**own, **extra})
