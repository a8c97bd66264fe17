"""The lean decoder makes the same values as the strict hooks, or defers to them."""

import copy
import json
import pickle
from typing import Any
from uuid import UUID

import attrs
import pytest
from fakes import phone_fields
from hypothesis import given, strategies as st
from strategies import PAYLOADS, json_values, payload, phones, spoiled_records

from diga_async import InvalidResponseError, Phone, SipConfig
from diga_async._models import decoding, lean
from diga_async._models.decoding import (
    MAX_INTEGER_DIGITS,
    strictly,
    structure,
    structure_each,
)
from diga_async._models.open_enum import NO_EXTRA, Extra

NAMES = [a.name for a in attrs.fields(Phone)]


def made(decode: Any, value: Any, kind: type[Any] = Phone) -> tuple[object, ...]:
    """Return the result of *decode* for *value*: every field, or every complaint."""
    try:
        record = decode(copy.deepcopy(value), kind, "$.data[3]")
    except InvalidResponseError as error:
        return str(error), error.problems, error.undecodable
    assert type(record) is kind
    return tuple((getattr(record, n), type(getattr(record, n))) for n in NAMES)


@given(fields=phones())
def test_a_phone_is_the_same_either_way(fields: dict[str, Any]) -> None:
    assert made(structure, fields) == made(strictly, fields)


@given(fields=phones(), name=st.sampled_from(NAMES), value=json_values())
def test_complaints_about_a_value_are_the_same_either_way(
    fields: dict[str, Any], name: str, value: Any
) -> None:
    changed = {**fields, name: value}

    assert made(structure, changed) == made(strictly, changed)


@given(fields=phones(), name=st.sampled_from([a.name for a in attrs.fields(SipConfig)]),
       value=json_values())  # fmt: skip
def test_complaints_about_a_nested_value_are_the_same_either_way(
    fields: dict[str, Any], name: str, value: Any
) -> None:
    changed = {
        **fields,
        "sip_config": {**(fields.get("sip_config") or {}), name: value},
    }

    assert made(structure, changed) == made(strictly, changed)


@given(fields=spoiled_records())
def test_complaints_about_a_spoiled_record_are_the_same_either_way(
    fields: dict[str, Any],
) -> None:
    assert made(structure, fields) == made(strictly, fields)


def fourth_of_an_array(value: Any, kind: type[Any], _: str) -> Any:
    """Decode *value* as an array's fourth item."""
    *_others, read = structure_each([phone_fields()] * 3 + [value], kind, "$.data")
    if isinstance(read, InvalidResponseError):
        assert read.__traceback__ is None
        raise read
    return read


@given(value=phones() | spoiled_records() | json_values())
def test_an_item_of_an_array_is_the_same_either_way(value: Any) -> None:
    assert made(fourth_of_an_array, value) == made(strictly, value)


def test_the_items_of_an_array_are_decoded_without_the_hooks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoding, "strictly", None)

    assert len(list(structure_each([phone_fields()] * 3, Phone))) == 3


@given(value=json_values() | st.dictionaries(st.sampled_from(NAMES), json_values()))
def test_complaints_about_other_json_are_the_same_either_way(value: Any) -> None:
    assert made(structure, value) == made(strictly, value)


@given(fields=phones(), gone=st.sets(st.sampled_from(NAMES)))
def test_complaints_about_missing_fields_are_the_same_either_way(
    fields: dict[str, Any], gone: set[str]
) -> None:
    kept = {name: value for name, value in fields.items() if name not in gone}

    assert made(structure, kept) == made(strictly, kept)


@pytest.mark.parametrize(
    "odd",
    [
        {"number": "\ud800"},
        {"nickname": "Recepción"},
        {"nickname": "\ud800"},
        {"status": "a status of tomorrow"},
        {"status": ["assigned"]},
        {"status": {}},
        {"telephony_provider": None},
        {"id": "{3c90c3cc-0d44-4b50-8888-8dd25736052a}"},
        {"assigned_at": "2026-02-30T00:00:00Z"},
        {"assigned_at": "2026-02-20t00:00:00z"},
        {"region_codes": ["ES", 1]},
        {"region_codes": ["É"]},
        {"region_codes": ("ES",)},
        {"extra": 1},
        {"new": {"a": [1, "\ud800"]}},
        {"sip_config": {"inbound_media_encryption": None}},
        {"sip_config": {"inbound_media_encryption": "new", "new": [1]}},
        {"sip_config": []},
    ],
    ids=repr,
)
def test_odd_values_are_the_same_either_way(odd: dict[str, Any]) -> None:
    fields = phone_fields(**odd)

    assert made(structure, fields) == made(strictly, fields)


@pytest.mark.parametrize("version", PAYLOADS)
def test_every_published_version_is_decoded_without_the_hooks(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(decoding, "strictly", None)
    fields = payload(version)

    if set(fields.get("sip_config") or {}) >= {"new"} or version == "future":
        pytest.skip("it has values of tomorrow")
    assert type(structure(fields, Phone)) is Phone


def test_a_record_that_was_made_leanly_is_frozen_and_whole() -> None:
    phone = structure(phone_fields(), Phone)

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        phone.number = "1"  # type: ignore[misc]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del phone.number
    assert phone.extra is NO_EXTRA
    assert pickle.loads(pickle.dumps(phone)) == copy.deepcopy(phone) == phone
    assert hash(phone) == hash(Phone.from_json(json.dumps(phone_fields())))
    assert attrs.evolve(phone, nickname="x").nickname == "x"


def test_an_id_that_was_made_leanly_is_a_normal_uuid() -> None:
    text = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
    lean_id, other = decoding.uuid_of(text), UUID(text)

    assert type(lean_id) is UUID
    assert (lean_id, hash(lean_id), str(lean_id)) == (other, hash(other), text)
    assert lean_id.is_safe is other.is_safe
    assert pickle.loads(pickle.dumps(lean_id)) == other
    with pytest.raises(TypeError):
        lean_id.int = 1  # type: ignore[misc]


@attrs.frozen(kw_only=True)
class _Node:
    name: str
    inner: "_Node | None" = None
    extra: Any = NO_EXTRA


attrs.resolve_types(_Node, globals(), locals())


def test_a_class_that_refers_to_itself_is_decoded_to_any_depth() -> None:
    value: dict[str, Any] = {"name": "0"}
    for depth in range(1, 50):
        value = {"name": str(depth), "inner": value}

    node: _Node | None = lean.decoder_of(_Node, decoding._HELPERS)(value)

    for depth in reversed(range(50)):
        assert node is not None
        assert node.name == str(depth)
        node = node.inner
    assert node is None


class _Plain(Phone):
    """A subclass of the user's, with a dictionary."""


@attrs.frozen(kw_only=True)
class _Checked:
    name: str = attrs.field(validator=attrs.validators.min_len(3))
    extra: Any = NO_EXTRA


@attrs.frozen(kw_only=True)
class _Counted:
    name: str
    extra: Any = NO_EXTRA

    def __attrs_post_init__(self) -> None:
        """Do something unknown to decoders."""


@pytest.mark.parametrize("kind", [_Plain, _Checked, _Counted])
def test_a_class_that_has_to_make_its_instances_itself_is_left_to_the_hooks(
    kind: Any,
) -> None:
    with pytest.raises(lean.UncommonError):
        lean.decoder_of(kind, decoding._HELPERS)(phone_fields(name="xyz"))


def test_a_subclass_of_phone_is_made_as_before() -> None:
    phone = _Plain.from_dict(phone_fields(new=1))

    assert type(phone) is _Plain
    assert (phone.number, phone.extra) == ("+34911234567", Extra({"new": 1}))


def test_large_integers_are_kept_to_the_digit() -> None:
    digits = "9" * MAX_INTEGER_DIGITS
    body = json.dumps(phone_fields()).replace("{", f'{{"new": {digits}, ', 1)

    assert Phone.from_json(body).extra["new"] == int(digits)
