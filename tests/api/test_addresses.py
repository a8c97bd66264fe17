"""Addresses of servers and proxies."""

from typing import Any
from uuid import UUID

import pytest
from fakes import PHONE_ID
from hypothesis import given, strategies as st

from diga_async import (
    ConfigurationError,
)
from diga_async._api.addresses import (
    check_base_url,
    check_proxy,
    is_loopback,
    with_scheme,
)
from diga_async._api.messages import Secret

X = UUID(PHONE_ID)
KEY = "sk-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
AUTHORIZATION = Secret(f"Bearer {KEY}")


@pytest.mark.parametrize(
    ("base_url", "taken_as"),
    [
        ("https://api.diga.io", "https://api.diga.io"),
        ("https://api.diga.io/", "https://api.diga.io"),
        ("https://api.diga.io:8443//", "https://api.diga.io:8443"),
        ("HTTPS://API.Diga.IO", "https://api.diga.io"),
        ("https://gateway.example/Diga/eu/", "https://gateway.example/Diga/eu"),
        ("https://xn--espaa-rta.example", "https://xn--espaa-rta.example"),
        ("https://192.0.2.1", "https://192.0.2.1"),
        ("https://[2001:DB8::1]:443", "https://[2001:db8::1]:443"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://LOCALHOST", "http://localhost"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://127.255.255.254", "http://127.255.255.254"),
        ("http://[::1]:65535", "http://[::1]:65535"),
    ],
)
def test_a_trailing_slash_of_the_base_url_is_removed(
    base_url: str, taken_as: str
) -> None:
    assert check_base_url(base_url) == taken_as
    assert check_base_url(taken_as) == taken_as


@pytest.mark.parametrize(
    "base_url",
    [
        *("", " ", "/", "api.diga.io", "//api.diga.io", "https://", "https:///v1"),
        *("https:api.diga.io", "https:/api.diga.io", "https:\\\\api.diga.io"),
        *(
            "ftp://api.diga.io",
            "file:///etc/passwd",
            "ws://api.diga.io",
            "javascript:1",
        ),
        *("httpss://api.diga.io", "http\u017f://api.diga.io", "+https://api.diga.io"),
        # credentials, queries and fragments
        "https://user@api.diga.io",
        "https://user:secret@api.diga.io",
        "https://:secret@api.diga.io",
        "https://@api.diga.io",
        "https://api.diga.io@evil.example",
        "https://api.diga.io?key=secret",
        "https://api.diga.io?",
        "https://api.diga.io/v1?x",
        "https://api.diga.io#secret",
        "https://api.diga.io/#",
        # what parsers disagree about
        "https://api.diga.io\\@evil.example",
        "https://api.diga.io/..",
        "https://api.diga.io/a/../b",
        "https://api.diga.io/./",
        "https://api.diga.io/%2e%2e",
        "https://api.diga.io/a%2fb",
        "https://api.diga.io/a b",
        "https://api.diga.io/ñ",
        "https://api.diga.io/\x00",
        "https://api.diga.io/\r\nX: y",
        "https://api.diga.io\n",
        "\thttps://api.diga.io",
        " https://api.diga.io",
        "https://api.diga.io ",
        "https://api\u3002diga.io",
        "https://\uff41pi.diga.io",
        "https://api.diga.i\u043e",
        "https://españa.example",
        "https://.",
        "https://..",
        # ports and addresses
        "https://api.diga.io:",
        "https://api.diga.io:0",
        "https://api.diga.io:65536",
        "https://api.diga.io:99999",
        "https://api.diga.io:-1",
        "https://api.diga.io:443:443",
        "https://api.diga.io:port",
        "https://api.diga.io:\u0661",
        "https://[::1",
        "https://::1",
        "https://[]",
        "https://[:::1]",
        "https://[1.2.3.4]",
        "https://[::1]evil.example",
        "https://[fe80::1%25eth0]",
        *(None, 1, b"https://api.diga.io", ["https://api.diga.io"], ...),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_other_values_are_not_base_urls_and_are_not_repeated(base_url: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_base_url(base_url, allow_insecure_http=True)

    text = str(caught.value)
    assert text.startswith("base_url ")
    assert text.endswith(
        "; it must be http(s)://host[:port][/path], such as https://api.diga.io"
    )
    for secret in ("evil", "secret", "passwd", "key="):
        assert secret not in text


@pytest.mark.parametrize(
    ("base_url", "fault"),
    [
        (b"https://api.diga.io", "is not text, but bytes"),
        ("", "is empty"),
        ("https://api.diga.io\n", "has a space or a line break around it"),
        ('"https://api.diga.io"', "has quotes or brackets around it"),
        ("<https://api.diga.io>", "has quotes or brackets around it"),
        ("https://api.diga.io/a b", "contains a space or a line break"),
        ("https://api.diga.io\\v1", "contains a backslash"),
        ("api.diga.io", "has no scheme (https://)"),
        ("localhost:8000", "has no scheme (https://)"),
        ("https:api.diga.io", "has no :// after its scheme"),
        ("https:/api.diga.io", "has no :// after its scheme"),
        ("https//api.diga.io", "has no :// after its scheme"),
        ("https:8443", "has no :// after its scheme"),
        ("ftp://api.diga.io", "has a scheme that is not http or https"),
        ("https://user:pass@api.diga.io", "contains a user or a password"),
        ("https://user@api.diga.io?x", "contains a user or a password"),
        ("https:///", "has no host"),
        ("https://:8443", "has no host"),
        ("https://[1.2.3.4]", "not an IPv6 address between brackets"),
        ("https://::1", "not an IPv6 address between brackets"),
        ("https://2001:db8::1", "not an IPv6 address between brackets"),
        ("https://españa.example", "a character other than"),
        ("https://{host}", "has a host with a character other than"),
        ("https://a.example,b.example", "a character other than"),
        ("https://api.diga.io:", "has a port that is not a number from 1 to 65535"),
        ("https://api.diga.io:port", "has a port that is not a number"),
        ("https://api.diga.io:99999", "has a port that is not a number"),
        ("https://api.diga.io:0/x", "has a port that is not a number"),
        ("https://[::1]:65536", "has a port that is not a number"),
        ("https://[:::1]:1", "not an IPv6 address between brackets"),
        ("https://api.diga.io?x=1", "has a query (?...)"),
        ("https://api.diga.io/#x", "has a fragment (#...)"),
        ("https://api.diga.io/a/../b", "has . or .. in its path"),
        ("https://api.diga.io/a%2fb", "has a character in its path"),
    ],
)
def test_the_message_says_which_part_of_a_base_url_is_wrong(
    base_url: Any, fault: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_base_url(base_url, name="DIGA_BASE_URL")

    assert str(caught.value).startswith("DIGA_BASE_URL ")
    assert fault in str(caught.value)


@given(
    rest=st.text(alphabet="ab:/@?#[]\\ %.ñ\"'<>\n0", max_size=12),
    scheme=st.sampled_from(["", "https:", "https://", "http//", "ftp://"]),
)
def test_any_address_is_accepted_or_its_fault_is_named(scheme: str, rest: str) -> None:
    """No text is rejected with a fault that it does not have, or with a crash."""
    try:
        accepted = check_base_url(scheme + rest, allow_insecure_http=True)
    except ConfigurationError as error:
        text = str(error)
        for mark, fault in (("?", "a query"), ("#", "a fragment"), ("@", "a user")):
            assert fault not in text or mark in rest
    else:
        assert check_base_url(accepted, allow_insecure_http=True) == accepted


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/", "/v1/phone", "/v1/phone/", "/v1/phones", f"/v1/phone/{X}"]
)
def test_a_path_of_the_api_does_not_belong_into_the_base_url(path: str) -> None:
    with pytest.raises(ConfigurationError, match=r"must not end in /v1.*adds it"):
        check_base_url(f"https://gateway.example/diga{path}")

    assert check_base_url("https://gateway.example/v1/phone/diga")


ELSEWHERE = [
    "http://api.diga.io",
    "http://localhost.evil.example",
    "http://127.0.0.1.evil.example",
    "http://127.evil.example",
    "http://evil.example/127.0.0.1",
    "http://0.0.0.0",
    "http://192.168.0.1",
    "http://10.0.0.1",
    "http://2130706433",
    "http://0x7f.0.0.1",
    "http://0177.0.0.1",
    "http://127.1",
    "http://[2001:db8::1]",
    "http://[::]",
    "http://169.254.169.254",
]


@pytest.mark.parametrize("base_url", ELSEWHERE)
def test_plain_http_is_for_loopback_unless_allowed(base_url: str) -> None:
    with pytest.raises(ConfigurationError, match="plain http to another machine"):
        check_base_url(base_url)

    assert check_base_url(base_url, allow_insecure_http=True) == base_url


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("LocalHost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("", False),
        ("localhost.", False),
        ("128.0.0.1", False),
        ("::2", False),
        ("localhost.example", False),
    ],
)
def test_loopback_is_recognized_by_every_name(host: str, *, here: bool) -> None:
    assert is_loopback(host) is here


@pytest.mark.parametrize(
    "proxy",
    [
        "http://proxy.example",
        "http://proxy.example:3128",
        "https://user:password@proxy.example:3128/",
        "http://192.0.2.1:8080",
        "http://[2001:db8::1]:8080",
        None,
    ],
)
def test_a_proxy_is_an_address_with_optional_credentials(proxy: str | None) -> None:
    assert check_proxy(proxy, "https://api.diga.io") == proxy


@pytest.mark.parametrize(
    "proxy",
    [
        *("", " ", "proxy.example", "proxy.example:3128", "http://", "http://@"),
        "socks5://proxy.example",
        "ftp://proxy.example",
        "http://proxy.example/path",
        "http://proxy.example?x",
        "http://proxy.example#x",
        "http://a@b@proxy.example",
        "http://proxy.example\r\nX: y",
        "http://pro xy.example",
        *(1, b"http://proxy.example", ...),
    ],
    ids=repr,
)
def test_other_values_are_not_proxies_and_are_not_repeated(proxy: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_proxy(proxy, "https://api.diga.io")

    assert str(caught.value) == ("proxy must be http(s)://[user:password@]host[:port]")


@pytest.mark.parametrize(
    "proxy",
    [
        "http://:3128",
        "http://proxy.example:",
        "http://proxy.example:port",
        "http://proxy.example:99999",
        "http://proxy.example:0",
        "http://[::1",
        "http://pro\x00xy.example",
        "http\u017f://proxy.example",
        "http://proxy\\evil.example",
    ],
    ids=repr,
)
def test_an_impossible_proxy_is_rejected_before_use(proxy: str) -> None:
    with pytest.raises(ConfigurationError):
        check_proxy(proxy, "https://api.diga.io")


def test_the_message_names_the_variable_that_holds_the_proxy() -> None:
    with pytest.raises(ConfigurationError, match=r"^HTTPS_PROXY must be http"):
        check_proxy("socks5://proxy.example", "https://x.example", name="HTTPS_PROXY")


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("proxy.example:3128", "http://proxy.example:3128"),
        ("user:p%40ss@proxy.example:3128", "http://user:p%40ss@proxy.example:3128"),
        ("https://proxy.example", "https://proxy.example"),
        ("socks5://proxy.example", "socks5://proxy.example"),
    ],
)
def test_a_proxy_without_a_scheme_is_read_as_http(text: str, proxy: str) -> None:
    assert with_scheme(text) == proxy


def test_a_proxy_never_sees_the_key() -> None:
    """Over plain http it would; over https it only sees where to."""
    with pytest.raises(ConfigurationError, match="a proxy would see the key"):
        check_proxy("http://proxy.example", "http://localhost:8000")

    assert check_proxy(
        "http://proxy.example", "http://localhost:8000", allow_insecure_http=True
    )
