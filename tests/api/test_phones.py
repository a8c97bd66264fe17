"""The one operation as HTTP: what is sent, and what each answer means."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from uuid import UUID

import pytest
from fakes import PHONE_ID, phone_fields, response
from hypothesis import example, given, strategies as st
from multidict import CIMultiDict
from strategies import PAYLOADS, json_values

from diga_async import (
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    InternalServerError,
    InvalidPhoneIdError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    Phone,
    RateLimitError,
    UnprocessableEntityError,
    ValidationDetail,
    __version__,
)
from diga_async._api.headers import MAX_RETRY_AFTER, header, retry_after
from diga_async._api.messages import Response, Secret
from diga_async._api.phones import (
    ERRORS,
    Answer,
    check_base_url,
    check_proxy,
    endpoint_of,
    is_loopback,
    phone_id_of,
    read,
    request_for,
    with_scheme,
)
from diga_async._models.decoding import MAX_BODY_BYTES

X = UUID(PHONE_ID)
KEY = "sk-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
AUTHORIZATION = Secret(f"Bearer {KEY}")


def answer(status: int = 200, body: Any = None, **headers: str) -> Answer:
    return read(response(status, body, **headers), X, AUTHORIZATION)


def refusal(status: int, body: Any = b"", **headers: str) -> APIStatusError:
    refused = answer(status, body, **headers)
    assert isinstance(refused, APIStatusError)
    return refused


def invalid(status: int = 200, body: Any = b"", **headers: str) -> InvalidResponseError:
    refused = answer(status, body, **headers)
    assert isinstance(refused, InvalidResponseError)
    assert refused.status == status
    return refused


# --- phone ids


@pytest.mark.parametrize(
    "value", [X, PHONE_ID, PHONE_ID.upper(), "3C90c3cc-0d44-4b50-8888-8DD25736052a"]
)
def test_a_phone_id_is_a_uuid_or_its_canonical_text(value: object) -> None:
    assert phone_id_of(value) == X


@given(phone_id=st.uuids())
def test_every_uuid_is_a_phone_id(phone_id: UUID) -> None:
    assert phone_id_of(phone_id) == phone_id_of(str(phone_id)) == phone_id


BAD_IDS: list[Any] = [
    *("", " ", ".", "..", "/", "../", "%2e%2e", "null", "None", "*", "\x00"),
    X.hex,
    X.urn,
    f"{{{PHONE_ID}}}",
    f" {PHONE_ID}",
    f"{PHONE_ID} ",
    f"{PHONE_ID}\n",
    f"{PHONE_ID}?a=b",
    f"{PHONE_ID}/../{PHONE_ID}",
    PHONE_ID[:-1],
    f"{PHONE_ID}0",
    f"+{PHONE_ID[1:]}",
    f"0x{PHONE_ID[2:]}",
    f"{PHONE_ID[:9]}_{PHONE_ID[10:]}",
    PHONE_ID.replace("-", "\u2010"),
    PHONE_ID.replace("-", "\u2212"),
    PHONE_ID.replace("3", "\uff13"),
    PHONE_ID.replace("3", "\u0663"),
    PHONE_ID.replace("-", ""),
    PHONE_ID.replace("c", "g"),
    "3c90c3cc0-d44-4b50-8888-8dd25736052a",
    "\ud800" * 36,
    "x" * 1_000_000,
    PHONE_ID.encode(),
    bytearray(X.bytes),
    *(None, 0, 1, X.int, 1.5, True, [], [PHONE_ID], {}, (PHONE_ID,), object(), UUID),
]


@pytest.mark.parametrize("value", BAD_IDS, ids=lambda value: repr(value)[:50])
def test_nothing_else_is_a_phone_id(value: object) -> None:
    with pytest.raises(InvalidPhoneIdError) as caught:
        phone_id_of(value)

    assert caught.value.phone_id is None
    assert len(str(caught.value)) < 120


@given(text=st.text() | st.from_regex(r"[0-9a-fA-F{}:+x_ -]{30,40}"))
def test_what_is_taken_as_an_id_is_the_id_it_says(text: str) -> None:
    """`uuid.UUID` reads some texts as another id than they say."""
    try:
        taken = phone_id_of(text)
    except InvalidPhoneIdError:
        return
    assert str(taken) == text.lower()


@pytest.mark.parametrize("secret", ["+34911234567", "sk-secret"])
def test_a_bad_id_is_not_repeated(secret: str) -> None:
    """It may be a phone number, or a key that was pasted into the wrong place."""
    with pytest.raises(InvalidPhoneIdError) as caught:
        phone_id_of(secret)
    assert secret not in repr(caught.value)


# --- the server's address


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
def test_a_base_url_is_taken_without_the_slash_at_its_end(
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
        *(None, 1, b"https://api.diga.io", ["https://api.diga.io"], object()),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_nothing_else_is_a_base_url_and_it_is_not_repeated(base_url: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_base_url(base_url, allow_insecure_http=True)

    assert str(caught.value) == (
        "base_url must be http(s)://host[:port][/path], "
        "without credentials, query or fragment"
    )


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
def test_plain_http_goes_to_this_machine_only_unless_allowed(base_url: str) -> None:
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
def test_this_machine_is_known_by_its_own_names(host: str, *, here: bool) -> None:
    assert is_loopback(host) is here


# --- the proxy


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
def test_a_proxy_is_an_address_perhaps_with_credentials(proxy: str | None) -> None:
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
        *(1, b"http://proxy.example", object()),
    ],
    ids=repr,
)
def test_nothing_else_is_a_proxy_and_it_is_not_repeated(proxy: Any) -> None:
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
def test_a_proxy_that_cannot_be_is_refused_before_it_is_used(proxy: str) -> None:
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


# --- the request


def test_a_request_is_one_get_with_the_key_in_its_header() -> None:
    request = request_for(endpoint_of("https://api.diga.io"), X, AUTHORIZATION)

    assert str(request.url) == f"https://api.diga.io/v1/phone/{PHONE_ID}"
    assert request.headers == {
        "Host": "api.diga.io",
        "Authorization": f"Bearer {KEY}",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": f"diga-async/{__version__}",
    }
    assert KEY not in repr(request)


def test_a_path_before_the_operation_is_kept() -> None:
    request = request_for(endpoint_of("https://gateway.example/diga"), X, AUTHORIZATION)

    assert str(request.url) == f"https://gateway.example/diga/v1/phone/{PHONE_ID}"


# --- 200


@pytest.mark.parametrize("version", PAYLOADS)
def test_every_published_answer_is_the_phone(version: str) -> None:
    body = PAYLOADS[version].read_bytes()
    phone = Phone.from_json(body)

    assert read(response(200, body), phone.id, AUTHORIZATION) == phone


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content_Type": "text/html"},
        {"Content_Type": "application/json; charset=klingon"},
        {"Content_Type": "application/json; charset=latin-1"},
        {"Content_Encoding": "identity"},
        {"Content_Encoding": ""},
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-le"])
def test_what_the_body_is_called_does_not_matter(
    headers: dict[str, str], encoding: str
) -> None:
    body = json.dumps(phone_fields(nickname="Ñandú")).encode(encoding)

    assert answer(200, body, **headers) == Phone.from_dict(
        phone_fields(nickname="Ñandú")
    )


@pytest.mark.parametrize("name", ["gzip", "GZIP", " x-gzip "])
def test_an_encoding_nobody_asked_for_is_undone(name: str) -> None:
    packed = gzip.compress(json.dumps(phone_fields()).encode())

    assert isinstance(answer(200, packed, Content_Encoding=name), Phone)


def test_two_encodings_are_none() -> None:
    headers = CIMultiDict([("Content-Encoding", "gzip"), ("Content-Encoding", "br")])
    plain = json.dumps(phone_fields()).encode()

    assert isinstance(read(Response(200, headers, plain), X, AUTHORIZATION), Phone)


def test_the_record_of_another_phone_is_never_returned() -> None:
    refused = invalid(200, phone_fields("00000000-0000-4000-8000-000000000000"))

    assert refused.problems == ("$.id: not the id asked for",)
    assert refused.foreign
    assert refused.transient


@pytest.mark.parametrize(
    ("body", "reason", "transient"),
    [
        (b"", "the body is empty", True),
        (b"<html>login</html>", "the body is not JSON", True),
        (b'{"id": "3c90', "the body is not JSON", True),
        (b'{"number": "\xff"}', "the body is not JSON", True),
        (b"null", "not a Phone: $: expected an object, got null", False),
        (b"[]", "not a Phone: $: expected an object, got an array", False),
        (b"[" * 99999, "the body is JSON of unreasonable size", False),
        (b"9" * 5000, "the body is JSON of unreasonable size", False),
        (
            phone_fields(number=None),
            "not a Phone: $.number: expected a string, got null",
            False,
        ),
    ],
)
def test_a_200_that_is_no_phone_says_why(
    body: Any, reason: str, *, transient: bool
) -> None:
    refused = invalid(200, body)

    assert str(refused) == reason
    assert refused.transient is transient


def test_a_body_that_was_too_large_is_refused_for_good() -> None:
    refused = read(Response(200, CIMultiDict(), None), X, AUTHORIZATION)

    assert isinstance(refused, InvalidResponseError)
    assert str(refused) == "the body is larger than 1 MiB"
    assert not refused.transient


def test_a_bomb_is_refused_for_good() -> None:
    bomb = gzip.compress(bytes(MAX_BODY_BYTES * 20), 1)
    refused = invalid(200, bomb, Content_Encoding="gzip")

    assert str(refused) == "the body is larger than 1 MiB"
    assert not refused.transient


@pytest.mark.parametrize("status", [201, 202, 203, 204, 205, 206, 226, 299])
@pytest.mark.parametrize("body", [b"", phone_fields()])
def test_another_success_is_no_answer_to_a_get(status: int, body: Any) -> None:
    refused = invalid(status, body)

    assert str(refused) == f"{status} is not an answer to this request"
    assert not refused.transient


def test_a_name_that_quotes_the_key_is_masked() -> None:
    refused = invalid(200, phone_fields(new={KEY: {"in": "\ud800"}}))

    assert KEY not in repr(refused)


# --- what each status means

CLASSES: dict[int, type[APIStatusError]] = {
    **dict.fromkeys((*range(100, 200), *range(300, 500)), APIStatusError),
    **dict.fromkeys(range(500, 600), InternalServerError),
    **dict.fromkeys((0, 99, 600, 999), APIStatusError),
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}


def test_every_status_but_success_has_its_class() -> None:
    for status, kind in CLASSES.items():
        refused = refusal(status)
        assert (type(refused), refused.status) == (kind, status)


def test_the_table_of_classes_is_complete() -> None:
    """A class of its own that no status leads to would never be raised."""
    kinds = APIStatusError.__subclasses__()
    ours = {kind for kind in kinds if kind.__module__.startswith("diga_async")}

    assert {*ERRORS.values(), InternalServerError} == ours


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "INTERNAL_SERVER_ERROR", PermissionDeniedError),
        (403, "UNATHORIZED_ROLE", PermissionDeniedError),
        (401, "INTERNAL_SERVER_ERROR", AuthenticationError),
        (404, "INVALID_API_KEY", NotFoundError),
        (422, "INVALID_PAGINATION_PARAMETERS", UnprocessableEntityError),
        (500, "PHONE_NOT_FOUND", InternalServerError),
        (400, "INTERNAL_SERVER_ERROR", APIStatusError),
        (429, "INTERNAL_SERVER_ERROR", RateLimitError),
    ],
)
def test_the_status_counts_and_not_the_code(
    status: int, code: str, kind: type[APIStatusError]
) -> None:
    body = {"status": "error", "error_code": code, "message": "words"}
    refused = refusal(status, body)

    assert type(refused) is kind
    assert (refused.error_code, refused.message) == (code, "words")
    assert refused.transient is (status in {429, 500})


# --- error bodies


def test_fastapis_validation_errors_are_details() -> None:
    """As FastAPI words them, with what it says about its own insides left out."""
    refused = refusal(
        422,
        {
            "detail": [
                {
                    "type": "uuid_parsing",
                    "loc": ["path", "phone_id", 0],
                    "msg": "Input should be a valid UUID",
                    "input": "+34911234567",
                    "ctx": {"error": "invalid"},
                    "url": "https://errors.pydantic.dev/2/v/uuid_parsing",
                }
            ]
        },
    )

    assert refused.details == (
        ValidationDetail(
            ("path", "phone_id", 0), "Input should be a valid UUID", "uuid_parsing"
        ),
    )
    assert refused.message is None
    assert str(refused) == "422: path.phone_id.0: Input should be a valid UUID"


@pytest.mark.parametrize("words", ["Not Found", "Method Not Allowed"])
def test_fastapis_plain_detail_is_the_message(words: str) -> None:
    refused = refusal(404, {"detail": words})

    assert (refused.message, refused.error_code) == (words, None)
    assert refused.details == ()


def test_digas_own_shape_is_code_and_message_under_any_status() -> None:
    body = {"status": "error", "error_code": "BAD_PARAMETER", "message": "Bad"}
    for status in (400, 401, 403, 404, 422, 429, 500, 503):
        refused = refusal(status, body)
        assert (refused.error_code, refused.message) == ("BAD_PARAMETER", "Bad")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b"Bad Gateway",
        b"<html><head><title>502 Bad Gateway</title></head></html>",
        b'{"detail": "cut sho',
        b"\xff\xfe\xff",
        b"[" * 99999,
        b"9" * 5000,
        b"null",
        b"7",
        b'"words"',
        b"[]",
        b"{}",
        b'{"detail": null, "message": 7, "error_code": ["X"]}',
        b'{"detail": {"loc": []}}',
        b'{"detail": []}',
        b'{"detail": [null, 1, "x", []]}',
    ],
    ids=lambda body: repr(body[:30]),
)
def test_a_body_that_says_nothing_changes_nothing(body: bytes) -> None:
    for status in (400, 404, 422, 502):
        refused = refusal(status, body)

        assert type(refused) is CLASSES[status]
        assert (refused.error_code, refused.message) == (None, None)
        assert (refused.details, str(refused)) == ((), str(status))


def test_an_error_body_that_was_too_large_says_nothing() -> None:
    refused = read(Response(500, CIMultiDict(), None), X, AUTHORIZATION)

    assert isinstance(refused, InternalServerError)
    assert refused.message is None


def test_an_error_body_may_be_packed() -> None:
    packed = gzip.compress(b'{"detail": "Not Found"}')

    assert refusal(404, packed, Content_Encoding="gzip").message == "Not Found"
    assert refusal(404, packed[:-9], Content_Encoding="gzip").message is None


@pytest.mark.parametrize(
    ("detail", "read_as"),
    [
        ({}, ValidationDetail((), "", "")),
        ({"loc": "path", "msg": 1, "type": None}, ValidationDetail((), "", "")),
        (
            {"loc": [1.5, None, {}, "a", 2], "msg": "m"},
            ValidationDetail(("", "", "", "a", 2), "m", ""),
        ),
        ({"loc": list("abcdefghij")}, ValidationDetail(tuple("abcdefgh"), "", "")),
    ],
)
def test_half_a_detail_is_taken_for_what_it_is(
    detail: Any, read_as: ValidationDetail
) -> None:
    assert refusal(422, {"detail": [None, detail]}).details == (read_as,)


def test_of_very_many_details_the_first_are_read() -> None:
    body = {"detail": [{"loc": [n], "msg": "m", "type": "t"} for n in range(9999)]}

    assert [d.loc for d in refusal(422, body).details] == [(n,) for n in range(8)]


WORDS = [
    (f"Invalid key {KEY}", "Invalid key ***"),
    (f"{KEY}{KEY}", "******"),
    ("Invalid key sk-ffffffffffffffff", "Invalid key ***"),
    ("+34911234567 is taken", "*** is taken"),
    ("+34 911 23 45 67 is taken", "*** is taken"),
    ("pay at https://checkout.example/pay/1?x=2 now", "pay at *** now"),
    ("see sip:user@sip.example.com", "see ***"),
    ("see sips:user@sip.example.com", "see ***"),
    ("two\nlines\x1b[31m red\x00", "two lines [31m red "),
    ("x" * 5000, "x" * 100),
    (f"Phone with id {PHONE_ID} not found", f"Phone with id {PHONE_ID} not found"),
]


@pytest.mark.parametrize(("words", "kept"), WORDS)
def test_what_a_server_says_is_kept_without_what_is_secret_or_personal(
    words: str, kept: str
) -> None:
    diga = refusal(400, {"error_code": words, "message": words})
    assert (diga.error_code, diga.message) == (kept, kept)

    fastapi = refusal(422, {"detail": [{"loc": [words], "msg": words, "type": words}]})
    assert fastapi.details == (ValidationDetail((kept,), kept, kept),)

    plain = refusal(404, {"detail": words})
    assert plain.message == kept
    assert KEY not in f"{diga!r} {fastapi!r} {plain!r} {diga.args} {fastapi.args}"


@pytest.mark.parametrize(
    "words",
    [
        "HTTPS://checkout.example/pay/1",
        "SIP:user@sip.example.com",
        "Sip:user@sip.example.com",
    ],
)
def test_a_scheme_in_capitals_is_one(words: str) -> None:
    """RFC 3986 section 3.1."""
    assert refusal(400, {"message": words}).message == "***"


@pytest.mark.parametrize("length", [8, 64, 1999, 3000, 4096])
def test_a_key_of_any_length_is_masked_wherever_it_stands(length: int) -> None:
    key = "K" * length
    for before in ("", "y" * 50, "y" * 1990):
        refused = read(
            response(401, {"message": f"{before}{key}"}), X, Secret(f"Bearer {key}")
        )
        assert isinstance(refused, AuthenticationError)
        assert "K" not in (refused.message or "")


@pytest.mark.parametrize(
    ("key", "words", "kept"),
    [
        ("key", "Invalid or missing API key", "Invalid or missing API key"),
        ("key", "the keyring of key holders", "the keyring of key holders"),
        ("key", "Invalid API key: key", "Invalid API key: ***"),
        ("secret", "Incorrect key 'secret'", "Incorrect key '***'"),
        ("secret", 'api_key="secret"', 'api_key="***"'),
        ("secret", "Authorization: Bearer secret", "Authorization: Bearer ***"),
        ("secret", "bearer secret, secrets: none", "bearer ***, secrets: none"),
        ("k1", "k1 is unknown, as is xk1x", "*** is unknown, as is x***x"),
        ("sk-1", "unknown: sk-1", "unknown: ***"),
        ("password", "your password is password", "your *** is ***"),
    ],
)
def test_a_short_word_is_masked_only_where_a_key_stands(
    key: str, words: str, kept: str
) -> None:
    """Keys of tests and sandboxes are short; prose would be eaten."""
    refused = read(response(401, {"message": words}), X, Secret(f"Bearer {key}"))

    assert isinstance(refused, AuthenticationError)
    assert refused.message == kept


def test_the_request_id_is_the_servers_header() -> None:
    assert refusal(500, X_Request_Id="req-1").request_id == "req-1"
    assert refusal(500).request_id is None
    assert refusal(500, X_Request_Id=f"r {KEY}").request_id == "r ***"
    assert refusal(500, X_Request_Id="r" * 5000).request_id == "r" * 100


def test_a_header_that_came_twice_is_no_statement() -> None:
    headers = CIMultiDict([("Retry-After", "1"), ("retry-after", "2"), ("A", "b")])
    twice = Response(429, headers, b"")

    assert header(twice, "RETRY-AFTER") is None
    assert (header(twice, "a"), header(twice, "missing")) == ("b", None)
    refused = read(twice, X, AUTHORIZATION)
    assert isinstance(refused, RateLimitError)
    assert refused.retry_after is None


@given(
    status=st.sampled_from(
        [200, 204, 302, 400, 401, 403, 404, 422, 429, 500, 503, 999]
    ),
    body=st.binary(max_size=60)
    | json_values().map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("detail", "message", "error_code"), json_values())
    ).map(lambda value: json.dumps(value).encode()),
    headers=st.dictionaries(
        st.sampled_from(
            ["Content-Encoding", "Retry-After", "Date", "X-Request-Id", "Content-Type"]
        ),
        st.text(max_size=30) | st.sampled_from(["gzip", "deflate", "1", "-1"]),
    ),
)
def test_whatever_a_server_sends_is_read_as_an_error_of_ours(
    status: int, body: bytes, headers: dict[str, str]
) -> None:
    found = read(Response(status, CIMultiDict(headers), body), X, AUTHORIZATION)

    assert isinstance(found, InvalidResponseError | APIStatusError)
    assert found.status == status


# --- Retry-After

MOMENT = datetime(2026, 7, 22, 10, tzinfo=UTC)
DATE = format_datetime(MOMENT, usegmt=True)


def date_in(seconds: float) -> str:
    return format_datetime(MOMENT + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("1", 1.0),
        (" 120 ", 120.0),
        ("1.5", 1.5),
        ("3600", 3600.0),
        ("007", 7.0),
        (str(int(MAX_RETRY_AFTER)), MAX_RETRY_AFTER),
        (date_in(30), 30.0),
        (date_in(0), 0.0),
        (date_in(-30), 0.0),
        ("Wednesday, 22-Jul-26 10:00:05 GMT", 5.0),
        ("Wed, 22 Jul 2026 12:00:05 +0200", 5.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float) -> None:
    assert retry_after(value, DATE) == seconds
    assert refusal(429, Retry_After=value, Date=DATE).retry_after == seconds
    assert refusal(503, Retry_After=value, Date=DATE).retry_after == seconds


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "nan", "NaN", "inf", "-inf", "Infinity", "-1", "-0", "+1"),
        *("1e30", "1e3", "0x10", "1_000", "1,5", "1s", "1 2", ".5", "1.", "soon"),
        *("9" * 12, "9" * 400, "\u0661", "\uff11", "\x00", "None", "1;2"),
        str(int(MAX_RETRY_AFTER) + 1),
        "Wed, 22 Jul 2126 10:00:00 GMT",
        "Wed, 99 Jul 2026 10:00:00 GMT",
        "Wed, 22 Jul 2026 10:00:00 -0000",
        "22 Jul",
        "2026-07-22T10:00:00Z",
    ],
)
def test_any_other_retry_after_is_ignored(value: str) -> None:
    assert retry_after(value, DATE) is None


@pytest.mark.parametrize("date", [None, "", "yesterday", "1"])
def test_a_date_is_measured_against_the_answers_own_or_not_at_all(
    date: str | None,
) -> None:
    """No clock of ours has to agree with the server's."""
    assert retry_after(date_in(30), date) is None
    assert retry_after("30", date) == 30.0
    assert retry_after(None, date) is None


HEADER_TEXT = st.text(max_size=40) | st.from_regex(
    r"[A-Za-z]{3},? ?[0-9]{1,9} [A-Za-z]{3} [0-9]{1,12} [0-9:.]{1,12} ?[+-]?[0-9]{0,9}",
    fullmatch=True,
)


@given(value=HEADER_TEXT, date=st.none() | HEADER_TEXT | st.just(DATE))
@example("Mon, 1 Jan 0001 00:00:00 +2359", DATE)
@example("Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 1 Jan 0001 00:00:00 +2359")
@example("Wed, 22 Jul 2026 10:00:00 +9999999999", DATE)
def test_no_header_breaks_the_reading(value: str, date: str | None) -> None:
    seconds = retry_after(value, date)

    assert seconds is None or 0.0 <= seconds <= MAX_RETRY_AFTER
