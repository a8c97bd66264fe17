"""Bytes to JSON, bounded; JSON to values, strictly."""

import gzip
import json
import zlib
from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st
from strategies import json_values

from diga_async import InvalidResponseError
from diga_async._models.decoding import (
    MAX_BODY_BYTES,
    MAX_DEPTH,
    MAX_INTEGER_DIGITS,
    MAX_NESTING,
    MAX_VALUES,
    inflate,
    read_json,
    structure,
    unstructure,
)
from diga_async._models.open_enum import Extra


def refusal_of(body: bytes | str) -> InvalidResponseError:
    with pytest.raises(InvalidResponseError) as caught:
        read_json(body)
    assert_has_no_past(caught.value)
    return caught.value


def assert_has_no_past(error: InvalidResponseError) -> None:
    """Errors of json and zlib hold the whole body, even where they do not show it."""
    assert (error.__cause__, error.__context__) == (None, None)


# --- bytes to JSON


@given(
    value=json_values(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    ascii_only=st.booleans(),
)
def test_json_is_read_in_every_encoding_of_the_standard(
    value: Any, encoding: str, *, ascii_only: bool
) -> None:
    """RFC 8259 section 8.1, and the byte order marks that it forbids."""
    body = json.dumps(value, ensure_ascii=ascii_only)

    assert read_json(body) == value
    assert read_json(body.encode(encoding)) == value


@pytest.mark.parametrize(
    "encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
)
def test_a_byte_order_mark_is_optional(encoding: str) -> None:
    assert read_json('{"número": "☎"}'.encode(encoding)) == {"número": "☎"}


@pytest.mark.parametrize("body", [b"\n {} ", b"\t{}\r\n", b" \xef\xbb\xbf{}"[1:]])
def test_blanks_around_json_are_accepted(body: bytes) -> None:
    assert read_json(body) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"number": "+349',
        b"{}{}",
        b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>",
        b"OK",
        b"undefined",
        b"{'number': 1}",
        b'{"number": "\xff"}',
        b'{"number": "\xed\xa0\x80"}',
        b'"\xc3"',
        b'{"a": "\x01"}',
        b"\xff\xfe{",
        b"\x00\x00\x00",
        b"\x1f\x8b\x08\x00",
        " {}".encode("cp037"),
    ],
)
def test_text_that_is_not_json_is_undecodable(body: bytes) -> None:
    """It cannot be told from a truncated answer, so it is worth a retry."""
    refused = refusal_of(body)

    assert str(refused) == "the body is not JSON"
    assert refused.transient


@pytest.mark.parametrize("body", [b"", ""])
def test_an_empty_body_is_named(body: bytes | str) -> None:
    refused = refusal_of(body)

    assert str(refused) == "the body is empty"
    assert refused.transient


@pytest.mark.parametrize(
    "body",
    [
        "1" * (MAX_INTEGER_DIGITS + 1),
        '{"id": -' + "1" * 5000 + "}",
        "[" * 100_000,
        '{"a":' * 100_000,
        "[" * 100_000 + "]" * 100_000,
        "[" + "0," * MAX_VALUES + "0]",
        "[" + '{"":0},' * MAX_VALUES + "0]",
        "[" + "[[[0]]]," * MAX_VALUES + "0]",
        "[" * (MAX_NESTING + 1) + "]" * (MAX_NESTING + 1),
        '{"[\\"": ' * (MAX_NESTING + 1) + '"}\\',
    ],
)
def test_json_of_unreasonable_size_is_not_retried(body: str) -> None:
    for written in (body, body.encode()):
        refused = refusal_of(written)
        assert str(refused) == "the body is JSON of unreasonable size"
        assert not refused.transient


@pytest.mark.parametrize(
    ("last", "most", "encoding"),
    [
        ("😀", MAX_BODY_BYTES // 4, "utf-8"),
        ("\\ud83d\\ude00", MAX_BODY_BYTES // 4, "utf-8"),
        ("\\uD83D\\uDE00", MAX_BODY_BYTES // 4, "utf-8"),
        ("中", MAX_BODY_BYTES // 2, "utf-8"),
        ("\\u4e2d", MAX_BODY_BYTES // 2, "utf-8"),
        ("😀", MAX_BODY_BYTES // 4, "utf-16"),
        ("😀", MAX_BODY_BYTES // 8, "utf-32"),
    ],
)
def test_a_body_is_bounded_by_the_memory_of_its_text(
    last: str, most: int, encoding: str
) -> None:
    """Every character of a text takes as many bytes as the widest one."""
    narrow, wide = (f'"{"x" * length}{last}"' for length in (most - 20, most))

    assert read_json(narrow.encode(encoding)) == json.loads(narrow)
    refused = refusal_of(wide.encode(encoding))
    assert str(refused) == "the body is JSON of unreasonable size"


def test_many_values_side_by_side_are_not_deep() -> None:
    many = [[{}]] * (MAX_NESTING + 1)

    assert read_json(json.dumps(many)) == many


@pytest.mark.parametrize("text", ["[" * 20_000, '\\"[{' * 5_000, "\\" * 5_000 + '"['])
def test_brackets_in_a_string_are_text(text: str) -> None:
    assert read_json(json.dumps([text])) == [text]


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_any_bytes_type_is_read(kind: Any) -> None:
    assert read_json(kind(b'{"a": 1}')) == {"a": 1}
    assert str(refusal_of(kind(b"{"))) == "the body is not JSON"
    assert str(refusal_of(kind(b""))) == "the body is empty"


@pytest.mark.parametrize("body", [None, 5, [123], {}, object()])
def test_other_types_than_bytes_and_text_are_type_errors(
    body: Any,
) -> None:
    with pytest.raises(TypeError, match="a body is bytes or text, not "):
        read_json(body)


def test_integers_are_read_up_to_the_bound() -> None:
    assert read_json("1" * MAX_INTEGER_DIGITS) == int("1" * MAX_INTEGER_DIGITS)


@given(body=st.binary(max_size=40))
def test_any_bytes_are_json_or_an_invalid_response(body: bytes) -> None:
    try:
        read_json(body)
    except InvalidResponseError as error:
        assert error.transient  # noqa: PT017 - of those that are refused


# --- unrequested encodings

BODY = b'{"number": "+34910000001"}'


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("", BODY),
        ("identity", BODY),
        ("gzip", gzip.compress(BODY, mtime=0)),
        ("x-gzip", gzip.compress(BODY, mtime=0)),
        ("deflate", zlib.compress(BODY)),
    ],
)
def test_a_compressed_body_is_decoded(encoding: str, body: bytes) -> None:
    assert inflate(body, encoding) == BODY


@pytest.mark.parametrize(
    ("encoding", "body", "reason"),
    [
        ("gzip", gzip.compress(BODY, mtime=0)[:-1], "truncated encoding"),
        ("gzip", gzip.compress(BODY, mtime=0)[:12], "truncated encoding"),
        ("gzip", b"", "truncated encoding"),
        ("deflate", zlib.compress(BODY)[:-1], "truncated encoding"),
        ("gzip", BODY, "corrupt encoding"),
        ("gzip", gzip.compress(BODY, mtime=0)[:-8] + bytes(8), "corrupt encoding"),
        ("br", BODY, "unknown Content-Encoding"),
        ("zstd", BODY, "unknown Content-Encoding"),
        ("gzip, gzip", BODY, "unknown Content-Encoding"),
        ("\x00", BODY, "unknown Content-Encoding"),
    ],
)
def test_a_corrupt_encoding_is_transient(
    encoding: str, body: bytes, reason: str
) -> None:
    with pytest.raises(InvalidResponseError) as caught:
        inflate(body, encoding)

    assert str(caught.value) == reason
    assert caught.value.transient
    assert_has_no_past(caught.value)


def test_a_compressed_body_is_decoded_up_to_its_bound() -> None:
    assert len(inflate(gzip.compress(bytes(MAX_BODY_BYTES)), "gzip")) == MAX_BODY_BYTES


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 50 * MAX_BODY_BYTES])
def test_a_decompression_bomb_is_not_retried(size: int) -> None:
    bomb = gzip.compress(bytes(size), compresslevel=1)

    with pytest.raises(InvalidResponseError, match="larger than 1 MiB") as caught:
        inflate(bomb, "gzip")
    assert not caught.value.transient


# --- JSON to values


@attrs.frozen
class Box:
    """A value that is not published."""

    label: str
    sizes: tuple[str, ...] = ()
    inner: "Box | None" = None
    extra: Extra = attrs.field(factory=Extra)


attrs.resolve_types(Box)


def nested(depth: int) -> Any:
    value: Any = 0
    for level in range(depth):
        value = [value] if level % 2 else {"in": value}
    return value


def test_any_frozen_class_is_structured_in_the_same_way() -> None:
    fields = {"label": "a", "sizes": [], "inner": {"label": "b", "x": 1}, "y": [2]}
    box = structure(fields, Box)

    assert box == Box("a", (), Box("b", extra=Extra({"x": 1})), Extra({"y": [2]}))
    assert unstructure(box) == {
        "label": "a",
        "sizes": [],
        "inner": {"label": "b", "sizes": [], "inner": None, "x": 1},
        "y": [2],
    }


def test_an_error_names_the_class_and_the_path() -> None:
    with pytest.raises(InvalidResponseError) as caught:
        structure({"label": "a", "inner": {"inner": {"sizes": [1]}}}, Box)

    assert str(caught.value) == (
        "not a Box: $.inner.label: missing; $.inner.inner.label: missing; "
        "$.inner.inner.sizes[0]: expected a string, got a number"
    )


def test_unknown_fields_may_be_nested_up_to_a_bound() -> None:
    """It is copied, and copying must not run out of stack."""
    deep = structure({"label": "", "new": nested(MAX_DEPTH - 1)}, Box)
    assert deep.extra["new"] == nested(MAX_DEPTH - 1)

    with pytest.raises(InvalidResponseError) as caught:
        structure({"label": "", "new": nested(MAX_DEPTH + 1)}, Box)
    assert not caught.value.transient
    assert caught.value.problems[0].startswith("$.new.in[0]")


def test_a_long_path_is_cut() -> None:
    with pytest.raises(InvalidResponseError, match="nested too deeply"):
        structure({"label": "", "new": nested(MAX_DEPTH + 1)}, Box)


SECRET_NAMES = ["sk-0123456789", "+34910000001", "Name", "x" * 33, "", "a b"]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_name_that_may_be_data_is_not_shown(name: str) -> None:
    with pytest.raises(InvalidResponseError) as caught:
        structure({"label": "", "new": {name: {"in": "\ud800"}}}, Box)

    assert caught.value.problems == ("$.new.*.in: text that is not Unicode",)


@pytest.mark.parametrize("text", ["NaN", "1e999", "-Infinity"])
def test_numbers_that_are_not_json_are_rejected_in_a_field(text: str) -> None:
    with pytest.raises(InvalidResponseError, match="expected a string, got a number"):
        structure(read_json(f'{{"label": {text}}}'), Box)


@given(value=json_values(leaves=20))
def test_unknown_fields_are_kept_unchanged(value: Any) -> None:
    box = structure({"label": "", "new": value}, Box)

    assert box.extra["new"] == value
    assert unstructure(box)["new"] == value


def test_tuples_in_unknown_fields_become_lists() -> None:
    """`from_dict` may be given values that were never JSON text."""
    assert structure({"label": "", "new": (1, (2,))}, Box).extra["new"] == [1, [2]]
