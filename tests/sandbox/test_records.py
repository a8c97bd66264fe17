"""The phones that the sandbox makes up."""

import json
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest

from diga_async.sandbox._records import (
    AS_OF,
    FIELDS,
    LANDLINE_REGIONS,
    PhoneMaker,
    as_json,
    make_key,
)


def make_phones(count: int, seed: int) -> list[dict[str, Any]]:
    maker = PhoneMaker(seed)
    return [maker.make() for _ in range(count)]


PHONES = make_phones(2000, seed=3)
DATES = ("assigned_at", "released_at", "scheduled_release_at", "reservation_expires_at")


class Status(StrEnum):
    RELEASED = "released"


def having(**fields: object) -> list[dict[str, Any]]:
    return [phone for phone in PHONES if fields.items() <= phone.items()]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_key_has_the_form_of_digas_keys() -> None:
    assert re.fullmatch(r"sk-[0-9a-f]{64}", make_key(0))


def test_each_seed_has_its_own_key() -> None:
    assert make_key(1) == make_key(1) != make_key(2)


def test_the_phones_of_a_seed_are_always_the_same() -> None:
    assert make_phones(50, seed=5) == make_phones(50, seed=5)


def test_another_seed_makes_other_phones() -> None:
    ids = [phone["id"] for seed in (1, 2) for phone in make_phones(50, seed)]

    assert len(set(ids)) == 100


def test_the_id_of_a_phone_is_a_random_uuid() -> None:
    for phone in PHONES:
        assert UUID(phone["id"]).version == 4
        assert str(UUID(phone["id"])) == phone["id"]


@pytest.mark.parametrize("status", ["reserved", "assigned", "released", "finished"])
def test_a_phone_can_be_made_with_a_status(status: str) -> None:
    maker = PhoneMaker(0)

    assert {maker.make(status)["status"] for _ in range(20)} == {status}


def test_a_phone_can_be_made_with_a_provider() -> None:
    maker = PhoneMaker(0)
    made = [maker.make("released", "custom") for _ in range(5)]

    assert {phone["telephony_provider"] for phone in made} == {"custom"}
    assert {phone["status"] for phone in made} == {"released"}


@pytest.mark.parametrize("kind", [("reserved", "custom"), ("unheard of", None)])
def test_a_kind_of_phone_that_does_not_exist_is_drawn_instead(
    kind: tuple[str, str | None],
) -> None:
    assert PhoneMaker(0).make(*kind) == PhoneMaker(0).make()


def test_values_are_written_as_the_api_writes_them() -> None:
    agent = UUID("3c90c3cc-0d44-4b50-8888-8dd25736052a")
    codes = ("ES-MD",)
    given = {
        "status": Status.RELEASED,
        "inbound_agent_id": agent,
        "released_at": datetime(2026, 7, 1, tzinfo=UTC),
        "region_codes": codes,
        "number": None,
    }

    assert as_json(given) == {
        "status": "released",
        "inbound_agent_id": str(agent),
        "released_at": "2026-07-01T00:00:00Z",
        "region_codes": ["ES-MD"],
        "number": None,
    }
    assert type(as_json(given)["status"]) is str


def test_a_value_that_is_not_json_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="A set cannot be written as JSON"):
        as_json({"region_codes": {"ES-MD"}})


def test_the_first_seven_show_every_status_with_its_providers() -> None:
    kinds = [(phone["status"], phone["telephony_provider"]) for phone in PHONES[:7]]

    assert sorted(kinds) == [
        ("assigned", "custom"),
        ("assigned", "netelip"),
        ("finished", "netelip"),
        ("pending_verification", "netelip"),
        ("released", "custom"),
        ("released", "netelip"),
        ("reserved", "netelip"),
    ]


def test_every_phone_has_the_fields_of_the_published_answer_in_their_order() -> None:
    published = [
        "id",
        "nickname",
        "number",
        "telephony_provider",
        "status",
        "released_at",
        "scheduled_release_at",
        "assigned_at",
        "inbound_agent_id",
        "outbound_agent_id",
        "sip_config",
        "checkout_url",
        "reservation_expires_at",
        "region_codes",
    ]

    assert list(FIELDS) == published
    assert all(list(phone) == published for phone in PHONES)


def test_phones_are_json() -> None:
    assert json.loads(json.dumps(PHONES)) == PHONES


def test_phones_do_not_share_mutable_values() -> None:
    first, second = having(telephony_provider="custom")[:2]

    assert first["sip_config"] is not second["sip_config"]
    assert len({id(phone["region_codes"]) for phone in PHONES}) == len(PHONES)
    lists = [
        phone["sip_config"]["allowed_addresses"]
        for phone in having(telephony_provider="custom")
        if phone["sip_config"]["allowed_addresses"]
    ]
    assert len({id(addresses) for addresses in lists}) == len(lists)


def test_spanish_numbers_have_nine_digits() -> None:
    numbers = {phone["number"] for phone in PHONES if phone["number"][0] == "+"}

    assert all(re.fullmatch(r"\+34[679]\d{8}", number) for number in numbers)


def test_many_numbers_are_landlines_and_many_are_mobiles() -> None:
    landlines = [phone for phone in PHONES if phone["region_codes"]]
    mobiles = [phone for phone in PHONES if re.match(r"\+34[67]", phone["number"])]

    assert len(landlines) > 500
    assert len(mobiles) > 400


@pytest.mark.parametrize(
    ("prefix", "regions"),
    [
        ("91", ("ES-MD",)),
        ("93", ("ES-CT",)),
        ("922", ("ES-CN",)),
        ("948", ("ES-NC",)),
        ("968", ("ES-MC",)),
        ("971", ("ES-IB",)),
        ("985", ("ES-AS",)),
        ("952", ("ES-AN", "ES-ML")),
        ("956", ("ES-AN", "ES-CE")),
    ],
)
def test_a_landline_prefix_has_its_regions(
    prefix: str, regions: tuple[str, ...]
) -> None:
    assert LANDLINE_REGIONS[prefix] == regions


def test_all_nineteen_regions_have_a_prefix() -> None:
    regions = {region for regions in LANDLINE_REGIONS.values() for region in regions}

    assert len(regions) == 19


def test_no_landline_prefix_starts_with_another() -> None:
    for prefix in LANDLINE_REGIONS:
        assert not any(
            other != prefix and other.startswith(prefix) for other in LANDLINE_REGIONS
        )


def test_the_region_codes_are_those_of_the_number() -> None:
    for phone in PHONES:
        regions: list[tuple[str, ...]] = [
            regions
            for prefix, regions in LANDLINE_REGIONS.items()
            if phone["number"].startswith(f"+34{prefix}")
        ]
        assert [tuple(phone["region_codes"])] == (regions or [()])


def test_only_custom_phones_have_a_sip_config_or_a_sip_identifier() -> None:
    for phone in PHONES:
        custom = phone["telephony_provider"] == "custom"
        assert (phone["sip_config"] is not None) == custom
        assert custom or phone["number"].startswith("+34")


def test_custom_phones_have_spanish_numbers_and_sip_identifiers() -> None:
    starts = {phone["number"][:3] for phone in having(telephony_provider="custom")}

    assert starts == {"+34", "sip"}


def test_every_nullable_field_of_a_sip_config_is_sometimes_null() -> None:
    sip_configs = [phone["sip_config"] for phone in having(telephony_provider="custom")]

    for field in ("termination_uri", "username", "allowed_addresses"):
        assert {sip_config[field] is None for sip_config in sip_configs} == {
            True,
            False,
        }
    for field in ("inbound_media_encryption", "outbound_media_encryption"):
        assert {sip_config[field] for sip_config in sip_configs} == {
            "disable",
            "allow",
            "require",
        }


def test_nicknames_go_beyond_ascii_and_are_sometimes_null() -> None:
    nicknames = {phone["nickname"] for phone in PHONES}

    assert None in nicknames
    assert any(nickname and not nickname.isascii() for nickname in nicknames)


def test_eight_agents_share_the_assigned_phones() -> None:
    agents = set()
    for phone in PHONES:
        both = {phone["inbound_agent_id"], phone["outbound_agent_id"]}
        assert phone["status"] == "assigned" or both == {None}
        agents |= both

    assert len(agents - {None}) == 8
    assert all(str(UUID(agent)) == agent for agent in agents - {None})


def test_dates_are_written_as_pydantic_writes_them() -> None:
    texts = {phone[field] for phone in PHONES for field in DATES} - {None}

    assert all(
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", text)
        for text in texts
    )
    assert all(moment(text).tzinfo == UTC for text in texts)


@pytest.mark.parametrize(
    ("status", "always", "sometimes"),
    [
        ("reserved", {"reservation_expires_at", "checkout_url"}, set()),
        ("pending_verification", set(), set()),
        ("assigned", {"assigned_at"}, {"scheduled_release_at"}),
        ("released", {"assigned_at", "released_at"}, set()),
        ("finished", {"assigned_at", "released_at"}, set()),
    ],
)
def test_a_status_has_its_own_dates_only(
    status: int, always: set[str], sometimes: set[str]
) -> None:
    fields = {*DATES, "checkout_url"}
    shown = [
        frozenset(field for field in fields if phone[field] is not None)
        for phone in having(status=status)
    ]

    assert set(shown) == {frozenset(always), frozenset(always | sometimes)}


def test_a_reservation_ends_within_half_an_hour() -> None:
    for phone in having(status="reserved"):
        left = moment(phone["reservation_expires_at"]) - AS_OF
        assert timedelta() <= left <= timedelta(minutes=30)


def test_a_checkout_url_is_on_a_reserved_domain() -> None:
    for phone in having(status="reserved"):
        assert phone["checkout_url"].startswith("https://checkout.example/")


def test_a_released_phone_is_finished_after_thirty_days() -> None:
    for phone in having(status="released"):
        assert moment(phone["released_at"]) >= AS_OF - timedelta(days=30)
    for phone in having(status="finished"):
        assert moment(phone["released_at"]) <= AS_OF - timedelta(days=30)


def test_a_phone_was_assigned_before_it_was_released() -> None:
    for phone in having(status="released") + having(status="finished"):
        assert phone["assigned_at"] < phone["released_at"]


def test_an_assigned_phone_was_assigned_in_the_past_and_leaves_in_the_future() -> None:
    for phone in having(status="assigned"):
        assert moment(phone["assigned_at"]) <= AS_OF
        leaves_at = phone["scheduled_release_at"]
        assert leaves_at is None or moment(leaves_at) >= AS_OF
