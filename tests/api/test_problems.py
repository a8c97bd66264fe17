"""Responses that are not a success."""

import gzip
import json
from typing import Any

import pytest
from answers import AUTHORIZATION, KEY, X, read, refusal
from fakes import PHONE_ID, response
from hypothesis import given, strategies as st
from multidict import CIMultiDict
from strategies import json_values

from diga_async import (
    APIStatusError,
    AuthenticationError,
    InternalServerError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    UnprocessableEntityError,
    ValidationDetail,
)
from diga_async._api.headers import header
from diga_async._api.messages import Response, Secret
from diga_async._api.problems import ERRORS

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


def test_every_error_status_has_its_class() -> None:
    for status, kind in CLASSES.items():
        refused = refusal(status)
        assert (type(refused), refused.status) == (kind, status)


def test_the_table_of_classes_is_complete() -> None:
    """A class that no status maps to would never be raised."""
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
def test_the_class_follows_the_status_not_the_code(
    status: int, code: str, kind: type[APIStatusError]
) -> None:
    body = {"status": "error", "error_code": code, "message": "words"}
    refused = refusal(status, body)

    assert type(refused) is kind
    assert (refused.error_code, refused.message) == (code, "words")
    assert refused.transient is (status in {429, 500})


def test_fastapis_validation_errors_are_details() -> None:
    """As FastAPI words them, without its internal details."""
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
def test_an_error_body_without_text_changes_nothing(body: bytes) -> None:
    for status in (400, 404, 422, 502):
        refused = refusal(status, body)

        assert type(refused) is CLASSES[status]
        assert (refused.error_code, refused.message) == (None, None)
        assert (refused.details, str(refused)) == ((), str(status))


def test_an_error_body_that_is_too_large_is_ignored() -> None:
    refused = read(Response(500, CIMultiDict(), None), X, AUTHORIZATION)

    assert isinstance(refused, InternalServerError)
    assert refused.message is None


def test_an_error_body_may_be_compressed() -> None:
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
def test_an_incomplete_detail_is_kept_as_far_as_it_goes(
    detail: Any, read_as: ValidationDetail
) -> None:
    assert refusal(422, {"detail": [None, detail]}).details == (read_as,)


def test_only_the_first_of_many_details_are_read() -> None:
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
def test_server_text_is_kept_without_secrets_or_personal_data(
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
def test_a_scheme_in_capitals_is_recognized(words: str) -> None:
    """RFC 3986 section 3.1."""
    assert refusal(400, {"message": words}).message == "***"


@pytest.mark.parametrize("length", [8, 64, 1999, 3000, 4096])
def test_a_key_of_any_length_is_masked_anywhere(length: int) -> None:
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
def test_a_short_key_is_masked_only_where_a_key_is_quoted(
    key: str, words: str, kept: str
) -> None:
    """Keys of tests and sandboxes are short words, which prose contains too."""
    refused = read(response(401, {"message": words}), X, Secret(f"Bearer {key}"))

    assert isinstance(refused, AuthenticationError)
    assert refused.message == kept


def test_the_request_id_is_the_header_of_the_response() -> None:
    assert refusal(500, X_Request_Id="req-1").request_id == "req-1"
    assert refusal(500).request_id is None
    assert refusal(500, X_Request_Id=f"r {KEY}").request_id == "r ***"
    assert refusal(500, X_Request_Id="r" * 5000).request_id == "r" * 100


def test_a_header_that_comes_twice_is_ignored() -> None:
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
def test_any_response_is_read_as_a_phone_or_a_library_error(
    status: int, body: bytes, headers: dict[str, str]
) -> None:
    found = read(Response(status, CIMultiDict(headers), body), X, AUTHORIZATION)

    assert isinstance(found, InvalidResponseError | APIStatusError)
    assert found.status == status
