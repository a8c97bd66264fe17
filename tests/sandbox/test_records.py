"""The made-up phones."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from diga_async.sandbox._data import AS_OF, LANDLINE_REGIONS, make_key, make_phones

PHONES = list(make_phones(2000, seed=3).values())
DATES = ("assigned_at", "released_at", "scheduled_release_at", "reservation_expires_at")


def having(**fields: object) -> list[dict[str, Any]]:
    return [phone for phone in PHONES if fields.items() <= phone.items()]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_key_looks_like_one_of_diga() -> None:
    assert re.fullmatch(r"sk-[0-9a-f]{64}", make_key(0))


def test_a_seed_makes_the_same_key_and_another_seed_another() -> None:
    assert make_key(1) == make_key(1) != make_key(2)


def test_the_first_phones_are_the_same_however_many_are_made() -> None:
    few, many = make_phones(20, seed=5), make_phones(300, seed=5)

    assert list(many.items())[:20] == list(few.items())


def test_another_seed_makes_other_phones() -> None:
    assert not make_phones(50, seed=1).keys() & make_phones(50, seed=2).keys()


def test_a_phone_is_kept_under_its_id_which_looks_random() -> None:
    for phone_id, phone in make_phones(50, seed=0).items():
        assert phone["id"] == str(phone_id)
        assert phone_id.version == 4


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
    for phone in PHONES:
        assert list(phone) == [
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


def test_phones_are_json() -> None:
    assert json.loads(json.dumps(PHONES)) == PHONES


def test_phones_share_nothing_that_a_test_could_change() -> None:
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


def test_every_fourth_number_or_more_is_a_mobile_or_a_landline() -> None:
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
def test_a_landline_prefix_stands_for_its_regions(
    prefix: str, regions: tuple[str, ...]
) -> None:
    assert LANDLINE_REGIONS[prefix] == regions


def test_all_nineteen_regions_have_a_prefix() -> None:
    regions = {region for regions in LANDLINE_REGIONS.values() for region in regions}

    assert len(regions) == 19


def test_no_prefix_begins_another() -> None:
    for prefix in LANDLINE_REGIONS:
        assert not any(
            other != prefix and other.startswith(prefix) for other in LANDLINE_REGIONS
        )


def test_region_codes_follow_from_the_number() -> None:
    for phone in PHONES:
        regions: list[tuple[str, ...]] = [
            regions
            for prefix, regions in LANDLINE_REGIONS.items()
            if phone["number"].startswith(f"+34{prefix}")
        ]
        assert [tuple(phone["region_codes"])] == (regions or [()])


def test_only_custom_phones_have_a_trunk_and_may_have_a_sip_identifier() -> None:
    for phone in PHONES:
        custom = phone["telephony_provider"] == "custom"
        assert (phone["sip_config"] is not None) == custom
        assert custom or phone["number"].startswith("+34")


def test_custom_phones_have_numbers_of_both_sorts() -> None:
    starts = {phone["number"][:3] for phone in having(telephony_provider="custom")}

    assert starts == {"+34", "sip"}


def test_everything_in_a_trunk_that_may_be_null_sometimes_is() -> None:
    trunks = [phone["sip_config"] for phone in having(telephony_provider="custom")]

    for field in ("termination_uri", "username", "allowed_addresses"):
        assert {trunk[field] is None for trunk in trunks} == {True, False}
    for field in ("inbound_media_encryption", "outbound_media_encryption"):
        assert {trunk[field] for trunk in trunks} == {"disable", "allow", "require"}


def test_nicknames_have_letters_beyond_ascii_and_are_sometimes_null() -> None:
    nicknames = {phone["nickname"] for phone in PHONES}

    assert None in nicknames
    assert any(nickname and not nickname.isascii() for nickname in nicknames)


def test_agents_are_few_and_only_with_assigned_phones() -> None:
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
def test_a_status_has_its_dates_and_no_others(
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


def test_a_checkout_leads_nowhere() -> None:
    for phone in having(status="reserved"):
        assert phone["checkout_url"].startswith("https://checkout.example/")


def test_a_released_phone_rests_for_thirty_days_and_then_is_finished() -> None:
    for phone in having(status="released"):
        assert moment(phone["released_at"]) >= AS_OF - timedelta(days=30)
    for phone in having(status="finished"):
        assert moment(phone["released_at"]) <= AS_OF - timedelta(days=30)


def test_a_phone_was_assigned_before_it_was_released() -> None:
    for phone in having(status="released") + having(status="finished"):
        assert phone["assigned_at"] < phone["released_at"]


def test_an_assigned_phone_was_so_before_now_and_leaves_later() -> None:
    for phone in having(status="assigned"):
        assert moment(phone["assigned_at"]) <= AS_OF
        leaves_at = phone["scheduled_release_at"]
        assert leaves_at is None or moment(leaves_at) >= AS_OF
