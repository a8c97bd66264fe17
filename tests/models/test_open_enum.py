"""Future answers: enum values and fields that are not published yet."""

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given, strategies as st

from diga_async import Phone, PhoneStatus, SipMediaEncryption, TelephonyProvider
from diga_async._models.open_enum import Extra, OpenStrEnum

KINDS = [PhoneStatus, TelephonyProvider, SipMediaEncryption]
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text())
def test_an_unknown_value_keeps_its_text_and_equals_it(
    kind: type[OpenStrEnum], text: str
) -> None:
    value = kind(text)

    assert isinstance(value, kind)
    assert value == text
    assert text == value
    assert (value.value, str(value), f"{value}") == (text, text, text)
    assert hash(value) == hash(text)
    assert json.dumps(value) == json.dumps(text)


def test_an_unknown_value_is_named_by_its_text() -> None:
    assert PhoneStatus("hibernating").name == "hibernating"


@pytest.mark.parametrize("kind", KINDS)
def test_only_published_values_are_known(kind: type[OpenStrEnum]) -> None:
    assert all(member.known for member in kind)
    assert not kind("quantum").known
    # Values are compared, not names.
    assert not kind(next(iter(kind)).name).known


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text())
def test_equal_values_have_equal_hashes_known_or_not(
    kind: type[OpenStrEnum], text: str
) -> None:
    assert {kind(text): 1}[kind(text)] == 1
    for member in kind:
        assert hash(member) == hash(member.value)
        assert kind(member.value) is member


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "text", ["hibernating", "", "__class__", "ASSIGNED", "assigned"]
)
def test_values_known_or_not_pickle_and_copy(text: str, protocol: int) -> None:
    """Python 3.11.0 to 3.11.3 pickle an enum by name, which an unknown one lacks."""
    value = PhoneStatus(text)

    for twin in (
        pickle.loads(pickle.dumps(value, protocol)),
        copy.copy(value),
        copy.deepcopy(value),
    ):
        assert type(twin) is PhoneStatus
        assert (twin, twin.value, twin.known) == (value, text, value.known)


def test_a_value_never_pickles_by_name() -> None:
    function, arguments = PhoneStatus("hibernating").__reduce_ex__(5)

    assert (function, arguments) == (PhoneStatus, ("hibernating",))


def test_unknown_values_are_not_cached() -> None:
    """A server could fill the memory with them."""
    first, second = PhoneStatus("hibernating"), PhoneStatus("hibernating")
    assert first is not second
    assert len(PhoneStatus) == len(PhoneStatus._value2member_map_) == 5


@pytest.mark.parametrize("value", [None, 1, b"assigned", ["assigned"], object()])
def test_only_text_is_a_value(value: object) -> None:
    with pytest.raises(ValueError, match="is not a valid PhoneStatus"):
        PhoneStatus(value)  # type: ignore[arg-type]


def test_a_match_over_the_members_needs_a_case_for_the_rest() -> None:
    def sort(status: PhoneStatus) -> str:
        match status:
            case PhoneStatus.RESERVED | PhoneStatus.PENDING_VERIFICATION:
                return "soon"
            case PhoneStatus.ASSIGNED:
                return "now"
            case PhoneStatus.RELEASED | PhoneStatus.FINISHED:
                return "past"
            case _:
                return "who knows"

    assert sort(PhoneStatus("assigned")) == "now"
    assert sort(PhoneStatus("hibernating")) == "who knows"


def test_repr_shows_the_member_or_the_unknown_text() -> None:
    assert repr(PhoneStatus.ASSIGNED) == "<PhoneStatus.ASSIGNED: 'assigned'>"
    assert repr(PhoneStatus("hibernating")) == "<PhoneStatus: hibernating>"


# --- fields


FIELDS: dict[str, Any] = {"colour": "red", "sizes": [1, 2], "none": None}


def test_extra_reads_as_the_mapping_it_was_made_of() -> None:
    extra = Extra(FIELDS)

    assert dict(extra) == FIELDS
    assert extra == FIELDS
    assert list(extra) == ["colour", "sizes", "none"]
    assert (len(extra), len(Extra())) == (3, 0)
    assert extra["colour"] == "red"
    assert extra.get("size") is None
    assert "none" in extra
    with pytest.raises(KeyError):
        extra["size"]


def test_extra_is_read_only() -> None:
    extra: Any = Extra(FIELDS)

    with pytest.raises(TypeError):
        extra["colour"] = "blue"
    with pytest.raises(TypeError):
        del extra["colour"]
    with pytest.raises(AttributeError):
        extra.colour = "blue"
    assert not hasattr(extra, "update")


def test_reading_extra_returns_copies() -> None:
    """A value in a set or a cache must not change, nor its equality."""
    extra = Extra({"new": {"x": [1]}})
    extra["new"]["x"].append(2)
    extra.get("new", {}).clear()
    dict(extra)["new"]["x"].clear()
    for value in extra.values():
        value.clear()

    assert extra == {"new": {"x": [1]}}


def test_extra_is_independent_of_its_source() -> None:
    fields = dict(FIELDS)
    extra = Extra(fields)
    fields["colour"] = "blue"

    assert extra["colour"] == "red"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_extra_pickles_and_copies(protocol: int) -> None:
    extra = Extra(FIELDS)

    assert pickle.loads(pickle.dumps(extra, protocol)) == extra
    assert copy.copy(extra) == extra
    deep = copy.deepcopy(extra)
    assert deep == extra
    assert deep["sizes"] is not extra["sizes"]


def test_repr_of_extra_shows_names_alone() -> None:
    """An unpublished value may be personal."""
    assert repr(Extra(FIELDS)) == "<Extra: colour, sizes, none>"


def test_a_phone_takes_any_mapping_as_extra_and_keeps_an_extra_as_it_is() -> None:
    extra = Extra(FIELDS)
    known: dict[str, Any] = dict.fromkeys(
        ("id", "number", "telephony_provider", "status")
    )

    assert Phone(**known, extra=extra).extra is extra
    assert Phone(**known, extra=FIELDS).extra == extra
    assert isinstance(Phone(**known, extra=FIELDS).extra, Extra)
