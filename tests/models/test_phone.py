"""`Phone`: every published answer, and answers that are not phones."""

import copy
import inspect
import json
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any, get_type_hints
from uuid import UUID

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from strategies import (
    PAYLOADS,
    REQUIRED,
    json_values,
    mutations,
    payload,
    phones,
    sip_configs,
)

from diga_async import (
    InvalidResponseError,
    Phone,
    PhoneStatus,
    SipConfig,
    SipMediaEncryption,
    TelephonyProvider,
)

TODAY = "2026-07-22"
SIP = "2026-07-03"


def phone(version: str = TODAY, **changes: Any) -> Phone:
    return Phone.from_dict(payload(version) | changes)


def sip_config(**changes: Any) -> SipConfig:
    config = phone(SIP, sip_config=payload(SIP)["sip_config"] | changes).sip_config
    assert config is not None
    return config


def problems_of(fields: Any) -> tuple[str, ...]:
    with pytest.raises(InvalidResponseError) as caught:
        Phone.from_dict(fields)
    assert not caught.value.transient
    return caught.value.problems


def instants(value: Any) -> Any:
    """Read date-times, so that two ways to write one moment are equal."""
    if isinstance(value, dict):
        return {name: instants(item) for name, item in value.items()}
    if isinstance(value, str) and value[4:5] == "-" and value[10:11] == "T":
        moment = datetime.fromisoformat(value)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return value


# --- the published answers


def test_every_published_response_has_a_payload() -> None:
    assert sorted(PAYLOADS) == [
        "2025-12",
        "2026-03-11",
        "2026-07-03",
        "2026-07-22",
        "future",
    ]


@pytest.mark.parametrize("version", PAYLOADS)
def test_every_published_response_decodes_completely(version: str) -> None:
    sent = payload(version)
    kept = Phone.from_json(PAYLOADS[version].read_bytes()).to_dict()

    assert instants(kept) == instants(kept | sent)
    for name in kept.keys() - sent.keys():
        assert kept[name] == ([] if name == "region_codes" else None)


@pytest.mark.parametrize("version", PAYLOADS)
def test_every_published_response_round_trips(version: str) -> None:
    found = phone(version)
    written = json.dumps(found.to_dict())

    assert Phone.from_dict(found.to_dict()) == found
    assert Phone.from_json(written) == found
    assert Phone.from_json(written.encode()).to_dict() == found.to_dict()


def test_newer_fields_of_the_oldest_response_are_none_or_empty() -> None:
    old = phone("2025-12")

    assert old == Phone(
        id=UUID("00000000-0000-4000-8000-000000002512"),
        number="+34910000001",
        telephony_provider=TelephonyProvider.NETELIP,
        status=PhoneStatus.ASSIGNED,
        nickname="Centralita de ejemplo",
        assigned_at=datetime(2025, 12, 1, 9, 30, tzinfo=UTC),
        inbound_agent_id=UUID("00000000-0000-4000-8000-00000000a001"),
    )
    assert old.scheduled_release_at is None
    assert (old.sip_config, old.checkout_url) == (None, None)
    assert (old.reservation_expires_at, old.region_codes) == (None, ())
    assert old.extra == {}


def test_the_briefs_answer_has_real_types() -> None:
    brief = phone("2026-03-11")

    assert brief.released_at == datetime(2026, 3, 9, 23, 59, 59, 999999, UTC)
    assert brief.scheduled_release_at == datetime(2026, 3, 31, 20, tzinfo=UTC)
    assert brief.scheduled_release_at.utcoffset() == timedelta(hours=2)
    assert brief.status is PhoneStatus.RELEASED
    assert brief.outbound_agent_id == UUID("00000000-0000-4000-8000-00000000a002")


def test_a_response_with_sip_is_complete() -> None:
    assert phone(SIP).sip_config == SipConfig(
        termination_uri="sip.example.invalid",
        username="usuario-de-ejemplo",
        inbound_media_encryption=SipMediaEncryption.REQUIRE,
        outbound_media_encryption=SipMediaEncryption.DISABLE,
        allowed_addresses=("192.0.2.7", "198.51.100.0/24"),
    )


def test_todays_response_has_the_newest_fields() -> None:
    today = phone(TODAY)

    assert today.status is PhoneStatus.PENDING_VERIFICATION
    assert today.checkout_url == "https://checkout.example.invalid/pay/cs_test_000"
    assert today.reservation_expires_at == datetime(2026, 7, 22, 10, 15, tzinfo=UTC)
    assert today.region_codes == ("ES-AN", "ES-CE")


def test_unknown_fields_and_values_are_kept() -> None:
    future = phone("future")

    assert (future.status, future.status.known) == ("hibernating", False)
    assert (future.telephony_provider.known, future.number) == (False, "+34680000004")
    assert future.extra == {
        "monthly_price": {"amount": 4.5, "currency": "EUR"},
        "labels": ["uno", "dos"],
        "spam_score": 0,
        "verified": True,
        "extra": {"extra": {}},
    }
    assert future.sip_config is not None
    assert future.sip_config.inbound_media_encryption == "quantum"
    assert future.sip_config.extra == {
        "transport": "quic",
        "codecs": [{"name": "opus", "hz": 48000}, None],
    }


# --- the published schemas


PHONE_PROPERTIES = {
    # name: (type, default), as both schemas have it
    "id": (UUID, attrs.NOTHING),
    "number": (str, attrs.NOTHING),
    "telephony_provider": (TelephonyProvider, attrs.NOTHING),
    "status": (PhoneStatus, attrs.NOTHING),
    "nickname": (str | None, None),
    "released_at": (datetime | None, None),
    "scheduled_release_at": (datetime | None, None),
    "assigned_at": (datetime | None, None),
    "inbound_agent_id": (UUID | None, None),
    "outbound_agent_id": (UUID | None, None),
    # only of today's schema
    "sip_config": (SipConfig | None, None),
    "checkout_url": (str | None, None),
    "reservation_expires_at": (datetime | None, None),
    "region_codes": (tuple[str, ...], ()),
}
SIP_PROPERTIES = {
    "termination_uri": (str | None, None),
    "username": (str | None, None),
    "inbound_media_encryption": (SipMediaEncryption, SipMediaEncryption.ALLOW),
    "outbound_media_encryption": (SipMediaEncryption, SipMediaEncryption.ALLOW),
    "allowed_addresses": (tuple[str, ...] | None, None),
}


@pytest.mark.parametrize(
    ("model", "properties"), [(Phone, PHONE_PROPERTIES), (SipConfig, SIP_PROPERTIES)]
)
def test_every_property_of_both_schemas_is_a_field_of_its_type(
    model: type[attrs.AttrsInstance], properties: dict[str, tuple[Any, Any]]
) -> None:
    types = get_type_hints(model)
    fields = {a.name: (types[a.name], a.default) for a in attrs.fields(model)}
    del fields["extra"]

    assert fields == properties


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (
            PhoneStatus,
            ["reserved", "pending_verification", "assigned", "released", "finished"],
        ),
        (TelephonyProvider, ["netelip", "custom"]),
        (SipMediaEncryption, ["disable", "allow", "require"]),
    ],
)
def test_every_published_value_is_a_member(kind: type[Any], values: list[str]) -> None:
    assert [member.value for member in kind] == values
    assert [member.name for member in kind] == [value.upper() for value in values]


def test_a_phone_requires_only_what_every_schema_requires() -> None:
    least = {name: payload(TODAY)[name] for name in REQUIRED}

    assert Phone.from_dict(least).to_dict() == {
        **dict.fromkeys(PHONE_PROPERTIES),
        **least,
        "region_codes": [],
    }


def test_a_sip_config_requires_nothing() -> None:
    assert phone(SIP, sip_config={}).sip_config == SipConfig()
    assert SipConfig().inbound_media_encryption is SipMediaEncryption.ALLOW
    assert SipConfig().outbound_media_encryption is SipMediaEncryption.ALLOW


@pytest.mark.parametrize("name", sorted(PHONE_PROPERTIES.keys() - set(REQUIRED)))
def test_null_in_an_optional_field_reads_as_missing(name: str) -> None:
    """A server that begins to send null for a missing field breaks nothing."""
    fields = payload(TODAY)
    fields.pop(name, None)
    found = Phone.from_dict(fields | {name: None})

    assert found == Phone.from_dict(fields)
    assert Phone.from_dict(found.to_dict()) == found


@pytest.mark.parametrize("name", sorted(SIP_PROPERTIES))
def test_null_in_a_sip_config_reads_as_missing(name: str) -> None:
    config = phone(SIP, sip_config={name: None}).sip_config

    assert config == SipConfig()


# --- not a phone


@pytest.mark.parametrize("version", PAYLOADS)
@pytest.mark.parametrize("name", REQUIRED)
def test_a_required_field_that_is_missing_is_named(name: str, version: str) -> None:
    fields = payload(version)
    del fields[name]

    assert problems_of(fields) == (f"$.{name}: missing",)


@pytest.mark.parametrize("version", PAYLOADS)
@pytest.mark.parametrize("name", REQUIRED)
def test_a_required_field_that_is_null_is_named(name: str, version: str) -> None:
    assert problems_of(payload(version) | {name: None}) == (
        f"$.{name}: expected a string, got null",
    )


UNTOLD = "untold-secret-7"


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("id", 12345678, "expected a string, got a number"),
        ("id", UNTOLD, "not a UUID"),
        ("id", "", "not a UUID"),
        ("id", "00000000000040008000000000002512", "not a UUID"),
        ("id", "{00000000-0000-4000-8000-000000002512}", "not a UUID"),
        ("id", "urn:uuid:00000000-0000-4000-8000-000000002512", "not a UUID"),
        ("id", "+0000000-0000-4000-8000-000000002512", "not a UUID"),
        ("id", "0x000000-0000-4000-8000-000000002512", "not a UUID"),
        (
            "id",
            "\uff10\uff10\uff10\uff10\uff10\uff10\uff10\uff10-0000-4000-8000-000000002512",
            "not a UUID",
        ),
        ("id", "00000000-0000-4000-8000-000000002512\n", "not a UUID"),
        ("number", 34910000001, "expected a string, got a number"),
        ("number", 3.9, "expected a string, got a number"),
        ("number", True, "expected a string, got a boolean"),
        ("number", ["+34910000001"], "expected a string, got an array"),
        ("number", {"e164": "+34910000001"}, "expected a string, got an object"),
        ("number", b"+34910000001", "expected a string, got something that is no"),
        ("number", "\ud800", "text that is not Unicode"),
        ("status", 1, "expected a string, got a number"),
        ("status", False, "expected a string, got a boolean"),
        ("status", "\udfff", "text that is not Unicode"),
        ("telephony_provider", [], "expected a string, got an array"),
        ("nickname", 0, "expected a string, got a number"),
        ("nickname", {}, "expected a string, got an object"),
        ("released_at", 1767225600, "expected a string, got a number"),
        ("released_at", UNTOLD, "not a date-time"),
        ("released_at", "2026-01-01", "not a date-time"),
        ("released_at", "20260101T000000Z", "not a date-time"),
        ("released_at", "2026-W01-1T00:00:00", "not a date-time"),
        ("released_at", "2026-13-01T00:00:00Z", "not a date-time"),
        ("released_at", "2026-02-30T00:00:00Z", "not a date-time"),
        ("released_at", "2026-01-01T00:00:00+24:00", "not a date-time"),
        ("released_at", "٢٠٢٦-01-01T00:00:00Z", "not a date-time"),
        ("released_at", " 2026-01-01T00:00:00Z", "not a date-time"),
        ("released_at", "", "not a date-time"),
        ("scheduled_release_at", [], "expected a string, got an array"),
        ("assigned_at", True, "expected a string, got a boolean"),
        ("inbound_agent_id", "agent", "not a UUID"),
        ("outbound_agent_id", 7, "expected a string, got a number"),
        ("sip_config", [], "expected an object, got an array"),
        ("sip_config", "sip", "expected an object, got a string"),
        ("checkout_url", 1, "expected a string, got a number"),
        ("reservation_expires_at", "soon", "not a date-time"),
        ("region_codes", "ES-MD", "expected an array, got a string"),
        ("region_codes", {"ES-MD": 1}, "expected an array, got an object"),
    ],
)
def test_a_wrong_type_is_named_never_coerced_never_shown(
    name: str, value: Any, complaint: str
) -> None:
    with pytest.raises(InvalidResponseError) as caught:
        phone(TODAY, **{name: value})

    (problem,) = caught.value.problems
    assert problem.startswith(f"$.{name}: {complaint}")
    shown = [str(caught.value), repr(caught.value), problem]
    assert not any(UNTOLD in text for text in shown)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"sip_config": {"username": 1}},
            "$.sip_config.username: expected a string, got a number",
        ),
        (
            {"sip_config": {"allowed_addresses": "abc"}},
            "$.sip_config.allowed_addresses: expected an array, got a string",
        ),
        (
            {"sip_config": {"allowed_addresses": ["a", None]}},
            "$.sip_config.allowed_addresses[1]: expected a string, got null",
        ),
        (
            {"sip_config": {"inbound_media_encryption": 1}},
            "$.sip_config.inbound_media_encryption: expected a string, got a number",
        ),
        (
            {"sip_config": {"new": {"deep": ["\ud800"]}}},
            "$.sip_config.new.deep[0]: text that is not Unicode",
        ),
        (
            {"region_codes": ["ES-MD", 28]},
            "$.region_codes[1]: expected a string, got a number",
        ),
        ({"new": ["\ud800"]}, "$.new[0]: text that is not Unicode"),
        ({"new": {"when": datetime.now(UTC)}}, "$.new.when: expected JSON, got some"),
        ({"\ud800": 1}, "$: text that is not Unicode"),
    ],
)
def test_a_problem_names_its_path(changes: dict[str, Any], problem: str) -> None:
    (found,) = problems_of(payload(TODAY) | changes)

    assert found.startswith(problem)


def test_all_problems_are_reported_together() -> None:
    fields = payload(TODAY) | {"number": None, "status": 1, "region_codes": [1]}
    del fields["id"]

    assert sorted(problems_of(fields)) == [
        "$.id: missing",
        "$.number: expected a string, got null",
        "$.region_codes[0]: expected a string, got a number",
        "$.status: expected a string, got a number",
    ]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null"),
        ([], "an array"),
        ("phone", "a string"),
        (1, "a number"),
        (True, "a boolean"),
        (object(), "something that is not JSON"),
    ],
)
def test_other_json_than_an_object_is_not_a_phone(value: Any, kind: str) -> None:
    assert problems_of(value) == (f"$: expected an object, got {kind}",)


def test_field_names_are_text() -> None:
    strange: dict[Any, Any] = {**payload(TODAY), 1: "one"}

    assert problems_of(strange) == ("$: expected a string, got a number",)


@given(value=json_values())
@pytest.mark.parametrize("name", ["number", "nickname", "checkout_url"])
def test_text_is_kept_unchanged_or_rejected(name: str, value: Any) -> None:
    """Nothing turns null into 'None', or 3.9 into '3.9'."""
    nothing = value is None and name != "number"
    if isinstance(value, str) or nothing:
        assert getattr(phone(TODAY, **{name: value}), name) == value
    else:
        assert problems_of(payload(TODAY) | {name: value})


@given(value=json_values())
def test_a_list_of_text_is_kept_unchanged_or_rejected(value: Any) -> None:
    """Nothing turns 'abc' into three items, or a dictionary into its names."""
    texts = [] if value is None else value
    if isinstance(texts, list) and all(isinstance(item, str) for item in texts):
        assert phone(TODAY, region_codes=value).region_codes == tuple(texts)
    else:
        assert problems_of(payload(TODAY) | {"region_codes": value})


@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=mutations())
def test_mutations_raise_nothing_but_invalid_response_error(body: bytes) -> None:
    try:
        found = Phone.from_json(body)
    except InvalidResponseError as error:
        assert len(pickle.dumps(error)) < 2048  # noqa: PT017 - of some of them
    else:
        assert Phone.from_dict(found.to_dict()) == found


@given(fields=phones())
def test_every_phone_of_the_schema_round_trips(fields: dict[str, Any]) -> None:
    found = Phone.from_dict(fields)

    assert found.to_dict().keys() >= fields.keys() | PHONE_PROPERTIES.keys()
    assert found.extra == {
        name: value for name, value in fields.items() if name not in PHONE_PROPERTIES
    }
    assert Phone.from_dict(found.to_dict()) == found
    assert Phone.from_json(json.dumps(found.to_dict())) == found
    assert pickle.loads(pickle.dumps(found)) == found


@given(fields=sip_configs())
def test_every_sip_config_of_the_schema_round_trips(fields: dict[str, Any]) -> None:
    found = phone(SIP, sip_config=fields)

    assert found.sip_config is not None
    assert found.to_dict()["sip_config"].items() >= fields.items()
    assert Phone.from_dict(found.to_dict()) == found


# --- date-times


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-07-22T10:15:00", datetime(2026, 7, 22, 10, 15, tzinfo=UTC)),
        ("2026-07-22T10:15:00Z", datetime(2026, 7, 22, 10, 15, tzinfo=UTC)),
        ("2026-07-22 10:15:00+00:00", datetime(2026, 7, 22, 10, 15, tzinfo=UTC)),
        ("2026-07-22T12:15:00+02:00", datetime(2026, 7, 22, 10, 15, tzinfo=UTC)),
        ("2026-07-22T04:45:00-05:30", datetime(2026, 7, 22, 10, 15, tzinfo=UTC)),
        ("2026-07-22T10:15:00.5", datetime(2026, 7, 22, 10, 15, 0, 500000, UTC)),
        ("2026-07-22T10:15:00.1234567Z", datetime(2026, 7, 22, 10, 15, 0, 123456, UTC)),
    ],
)
def test_date_times_are_aware_and_a_naive_one_is_utc(
    text: str, moment: datetime
) -> None:
    found = phone(TODAY, reservation_expires_at=text).reservation_expires_at

    assert found is not None
    assert found == moment
    assert found.utcoffset() is not None


def test_a_lower_case_date_time_is_read() -> None:
    """RFC 3339 section 5.6 allows ``t`` and ``z``; the pattern does, too."""
    found = phone(TODAY, reservation_expires_at="2026-07-22t10:15:00z")

    assert found.reservation_expires_at == datetime(2026, 7, 22, 10, 15, tzinfo=UTC)


# --- the value itself


def test_repr_shows_id_number_provider_status_and_nickname_only() -> None:
    assert repr(phone(SIP)) == (
        "Phone(id=UUID('00000000-0000-4000-8000-000000070301'), "
        "number='ejemplo-sip-0001', telephony_provider='custom', "
        "status='assigned', nickname='Tronco de ejemplo')"
    )


@pytest.mark.parametrize("version", PAYLOADS)
def test_repr_never_shows_the_payment_link_or_sip_data(version: str) -> None:
    found = phone(version)
    shown = f"{found!r} {found} {found.sip_config!r} {found.extra!r}"

    for secret in (
        "checkout",
        "usuario-de-ejemplo",
        "sip.example.invalid",
        "192.0.2.7",
        "198.51",
        "quic",
        "opus",
        "EUR",
    ):
        assert secret not in shown


def test_repr_of_a_sip_config_shows_its_encryption_only() -> None:
    assert repr(sip_config()) == (
        "SipConfig(inbound_media_encryption='require', "
        "outbound_media_encryption='disable')"
    )


def test_a_given_extra_is_copied_deeply() -> None:
    given: dict[str, Any] = {"new": {"x": [1]}}
    config = SipConfig(extra=given)
    given["new"]["x"].append(2)

    assert config.extra == {"new": {"x": [1]}}


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize(
    ("field", "path"),
    [
        ('"new": TEXT', "$.new"),
        ('"new": [1.5, TEXT]', "$.new[1]"),
        ('"new": {"deep": [{"er": TEXT}]}', "$.new.deep[0].er"),
        ('"nickname": TEXT', "$.nickname"),
        ('"sip_config": {"termination_uri": "x", "new": TEXT}', "$.sip_config.new"),
    ],
)
def test_a_number_without_a_finite_value_is_refused_with_its_path(
    field: str, path: str, text: str
) -> None:
    """Such a number cannot be written as JSON again."""
    rest = json.dumps(payload(TODAY))[1:]
    body = f"{{{field.replace('TEXT', text)}, {rest}".encode()
    if field.startswith(('"nickname', '"sip')):  # the last of two fields counts
        body = f"{{{rest[:-1]}, {field.replace('TEXT', text)}}}".encode()

    with pytest.raises(InvalidResponseError) as caught:
        Phone.from_json(body)
    assert caught.value.problems[0].startswith(f"{path}: ")
    assert not caught.value.transient


def test_a_large_number_with_a_finite_value_is_kept() -> None:
    body = json.dumps(payload(TODAY) | {"new": [1e308, -1e308, 10**90]})

    assert Phone.from_json(body).extra["new"] == [1e308, -1e308, 10**90]


def test_phones_are_equal_when_every_field_is_extra_included() -> None:
    found = phone("future")

    assert found == phone("future")
    assert found != phone("future", spam_score=1)
    assert found != phone("future", nickname=None)
    assert found != phone("future", sip_config=None)
    assert found != object()
    assert sip_config() != sip_config(new=1)


def test_hashes_ignore_extra() -> None:
    """It may hold values that cannot be hashed."""
    assert hash(phone("future")) == hash(phone("future", spam_score=[1]))
    assert hash(sip_config()) == hash(sip_config(new={}))
    assert len({phone("future"), phone("future"), phone("2025-12")}) == 2


@pytest.mark.parametrize("value", [phone("future"), sip_config()])
def test_values_are_frozen_and_slotted(value: Any) -> None:
    for name in ("number", "username", "extra", "brand_new"):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, name, None)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del value.extra
    assert not hasattr(value, "__dict__")


def test_fields_are_keyword_only() -> None:
    for model in (Phone, SipConfig):
        parameters = inspect.signature(model).parameters.values()
        assert {p.kind for p in parameters} == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("version", PAYLOADS)
def test_phones_pickle_and_copy(version: str) -> None:
    found = phone(version)
    protocols = range(pickle.HIGHEST_PROTOCOL + 1)

    for twin in (
        *(pickle.loads(pickle.dumps(found, protocol)) for protocol in protocols),
        copy.copy(found),
        copy.deepcopy(found),
    ):
        assert twin == found
        assert hash(twin) == hash(found)
        assert twin.status.known == found.status.known


def test_a_phone_shares_no_object_with_its_input() -> None:
    fields = payload("future")
    found = Phone.from_dict(fields)
    fields["labels"].append("tres")
    fields["sip_config"]["codecs"].clear()
    found.to_dict()["labels"].append("cuatro")

    assert found == phone("future")


def test_a_subclass_reads_instances_of_itself() -> None:
    class Own(Phone):
        __slots__ = ()

    assert type(Own.from_json(PAYLOADS[TODAY].read_bytes())) is Own


@given(fields=phones())
def test_dictionaries_are_json_types_only(fields: dict[str, Any]) -> None:
    def check(value: Any) -> None:
        assert type(value) in {type(None), bool, int, float, str, list, dict}
        if isinstance(value, dict):
            check(list(value))
            check(list(value.values()))
        if isinstance(value, list):
            for item in value:
                check(item)

    check(Phone.from_dict(fields).to_dict())


@given(phones())
def test_json_text_is_read_back_as_the_same_phone(fields: dict[str, Any]) -> None:
    phone = Phone.from_dict(fields)

    assert Phone.from_json(phone.to_json()) == phone
    assert json.loads(phone.to_json()) == phone.to_dict()
