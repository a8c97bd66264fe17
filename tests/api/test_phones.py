"""The operation that reads one phone."""

import gzip
import json
from typing import Any
from uuid import UUID

import pytest
from answers import AUTHORIZATION, KEY, X, answer, invalid, read
from fakes import PHONE_ID, phone_fields, response
from hypothesis import given, strategies as st
from multidict import CIMultiDict
from strategies import PAYLOADS

from diga_async import (
    InvalidPhoneIdError,
    InvalidResponseError,
    Phone,
    __version__,
)
from diga_async._api.addresses import (
    endpoint_of,
)
from diga_async._api.messages import Response
from diga_async._api.phones import get_phone, phone_id_of
from diga_async._models.decoding import MAX_BODY_BYTES


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
    *(None, 0, 1, X.int, 1.5, True, [], [PHONE_ID], {}, (PHONE_ID,), ..., UUID),
]


@pytest.mark.parametrize("value", BAD_IDS, ids=lambda value: repr(value)[:50])
def test_other_values_are_not_phone_ids(value: object) -> None:
    with pytest.raises(InvalidPhoneIdError) as caught:
        phone_id_of(value)

    assert caught.value.phone_id is None
    assert len(str(caught.value)) < 120


@given(text=st.text() | st.from_regex(r"[0-9a-fA-F{}:+x_ -]{30,40}"))
def test_an_accepted_text_reads_as_the_same_id(text: str) -> None:
    """`uuid.UUID` reads some texts as a different id."""
    try:
        taken = phone_id_of(text)
    except InvalidPhoneIdError:
        return
    assert str(taken) == text.lower()


@pytest.mark.parametrize("secret", ["+34911234567", "sk-secret"])
def test_the_error_for_a_bad_id_does_not_repeat_it(secret: str) -> None:
    """It may be a phone number, or a key that was pasted into the wrong place."""
    with pytest.raises(InvalidPhoneIdError) as caught:
        phone_id_of(secret)
    assert secret not in repr(caught.value)


def test_a_request_is_one_get_with_the_key_in_its_header() -> None:
    request = get_phone(X).request(endpoint_of("https://api.diga.io"), AUTHORIZATION)

    assert str(request.url) == f"https://api.diga.io/v1/phone/{PHONE_ID}"
    assert request.headers == {
        "Host": "api.diga.io",
        "Authorization": f"Bearer {KEY}",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": f"diga-async/{__version__}",
    }
    assert KEY not in repr(request)


def test_the_path_of_the_base_url_is_kept() -> None:
    request = get_phone(X).request(
        endpoint_of("https://gateway.example/diga"), AUTHORIZATION
    )

    assert str(request.url) == f"https://gateway.example/diga/v1/phone/{PHONE_ID}"


@pytest.mark.parametrize("version", PAYLOADS)
def test_every_published_response_is_read_as_the_phone(version: str) -> None:
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
def test_content_type_and_charset_do_not_matter(
    headers: dict[str, str], encoding: str
) -> None:
    body = json.dumps(phone_fields(nickname="Ñandú")).encode(encoding)

    assert answer(200, body, **headers) == Phone.from_dict(
        phone_fields(nickname="Ñandú")
    )


@pytest.mark.parametrize("name", ["gzip", "GZIP", " x-gzip "])
def test_an_unrequested_encoding_is_decoded(name: str) -> None:
    packed = gzip.compress(json.dumps(phone_fields()).encode())

    assert isinstance(answer(200, packed, Content_Encoding=name), Phone)


def test_two_encodings_are_invalid() -> None:
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
def test_an_invalid_200_names_the_problem(
    body: Any, reason: str, *, transient: bool
) -> None:
    refused = invalid(200, body)

    assert str(refused) == reason
    assert refused.transient is transient


def test_a_body_that_is_too_large_is_not_retried() -> None:
    refused = read(Response(200, CIMultiDict(), None), X, AUTHORIZATION)

    assert isinstance(refused, InvalidResponseError)
    assert str(refused) == "the body is larger than 1 MiB"
    assert not refused.transient


def test_a_decompression_bomb_is_not_retried() -> None:
    bomb = gzip.compress(bytes(MAX_BODY_BYTES * 20), 1)
    refused = invalid(200, bomb, Content_Encoding="gzip")

    assert str(refused) == "the body is larger than 1 MiB"
    assert not refused.transient


@pytest.mark.parametrize("status", [201, 202, 203, 204, 205, 206, 226, 299])
@pytest.mark.parametrize("body", [b"", phone_fields()])
def test_another_2xx_is_an_invalid_response(status: int, body: Any) -> None:
    refused = invalid(status, body)

    assert str(refused) == f"{status} is not an answer to this request"
    assert not refused.transient


def test_a_field_name_that_contains_the_key_is_masked() -> None:
    refused = invalid(200, phone_fields(new={KEY: {"in": "\ud800"}}))

    assert KEY not in repr(refused)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (f"{PHONE_ID}\n", "with blanks or a line break around it"),
        (PHONE_ID.replace("-", ""), "without hyphens"),
        (f"urn:uuid:{PHONE_ID}", "with a prefix or braces"),
        (f"{{{PHONE_ID}}}", "with a prefix or braces"),
        (f"{PHONE_ID[:-1]}g", "a wrong digit"),
        ("+34911234567", "a text of 12"),
    ],
    ids=["line break", "no hyphens", "urn", "braces", "digit", "number"],
)
def test_the_error_for_a_bad_id_names_the_mistake(text: str, form: str) -> None:
    with pytest.raises(InvalidPhoneIdError, match=form) as caught:
        phone_id_of(text)

    assert text not in str(caught.value)
