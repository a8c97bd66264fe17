"""How often the sandbox makes requests fail, and which ones it throttles."""

import math
from collections import Counter
from collections.abc import Iterable
from random import Random
from typing import Any

import attrs
import pytest

from diga_async.sandbox._faults import Fault, Faults, LeakyBucket

SHARES = [
    name for name, field in attrs.fields_dict(Faults).items() if not field.default
]


def faults_of(shares: Iterable[str], share: float) -> Faults:
    settings: dict[str, Any] = dict.fromkeys(shares, share)
    return Faults(**settings)


LISTING_ONLY = {
    Fault.LOOPING_CURSORS,
    Fault.EMPTY_PAGES,
    Fault.REPEATED_PHONES,
    Fault.BROKEN_RECORDS,
}
LOOKUP_FAULTS = set(Fault) - LISTING_ONLY
LISTING_FAULTS = set(Fault) - {Fault.WRONG_IDS}


def drawn(
    faults: Faults, times: int = 10_000, *, listing: bool = False
) -> Counter[Fault | None]:
    chance = Random(7)  # noqa: S311 - repeatable on purpose
    return Counter(faults.draw(chance, listing=listing) for _ in range(times))


@pytest.mark.parametrize("listing", [False, True])
def test_nothing_goes_wrong_by_default(*, listing: bool) -> None:
    assert drawn(Faults(), listing=listing) == {None: 10_000}


@pytest.mark.parametrize("fault", sorted(LOOKUP_FAULTS))
def test_a_fault_with_the_whole_share_affects_every_lookup(fault: Fault) -> None:
    assert drawn(faults_of([fault], 1.0)) == {fault: 10_000}


@pytest.mark.parametrize("fault", sorted(LISTING_FAULTS))
def test_a_fault_with_the_whole_share_affects_every_listing(fault: Fault) -> None:
    assert drawn(faults_of([fault], 1.0), listing=True) == {fault: 10_000}


def test_lookups_and_listings_are_spared_each_others_faults() -> None:
    assert drawn(faults_of(LISTING_ONLY, 0.25)) == {None: 10_000}
    assert drawn(Faults(wrong_ids=1.0), listing=True) == {None: 10_000}


def test_faults_are_as_frequent_as_their_shares() -> None:
    counts = drawn(Faults(errors=0.3, resets=0.1, forbidden=0.05))

    assert counts[Fault.ERRORS] == pytest.approx(3000, rel=0.1)
    assert counts[Fault.RESETS] == pytest.approx(1000, rel=0.1)
    assert counts[Fault.FORBIDDEN] == pytest.approx(500, rel=0.2)
    assert counts.keys() == {None, Fault.ERRORS, Fault.RESETS, Fault.FORBIDDEN}


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf])
def test_a_share_is_between_0_and_1(share: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"'{share}' must be [<>]= "):
        faults_of([share], value)


@pytest.mark.parametrize("setting", [*SHARES, "error_status", "drip_seconds"])
@pytest.mark.parametrize("value", ["1", None, True])
def test_a_value_that_is_not_a_number_is_rejected(setting: str, value: object) -> None:
    settings: dict[str, Any] = {setting: value}

    with pytest.raises(TypeError, match=f"'{setting}' must be a .*, not {value!r}"):
        Faults(**settings)


@pytest.mark.parametrize(
    ("setting", "remedy"),
    [
        ("error", "did you mean 'errors'"),
        ("colour", "it has errors, resets, "),
        ("timeouts", "pass hangs=, or slow_bodies="),
        ("latency", r"pass Sandbox\(latency=\.\.\.\)"),
    ],
)
def test_an_unknown_fault_is_answered_with_what_exists(
    setting: str, remedy: str
) -> None:
    with pytest.raises(TypeError, match=rf"Faults\(\) has no '{setting}': {remedy}"):
        faults_of([setting], 0.1)


def test_the_shares_of_a_lookups_faults_add_up_to_1_at_most() -> None:
    with pytest.raises(ValueError, match=r"add up to 1\.25, more than 1"):
        Faults(wrong_ids=0.75, hangs=0.5)


def test_the_shares_of_a_listings_faults_add_up_to_1_at_most() -> None:
    with pytest.raises(ValueError, match=r"add up to 1\.25, more than 1"):
        Faults(empty_pages=0.75, hangs=0.5)


def test_shares_of_a_lookup_and_of_a_listing_are_not_added() -> None:
    Faults(wrong_ids=1.0, empty_pages=1.0)


@pytest.mark.parametrize("listing", [False, True])
def test_equal_shares_that_add_up_to_1_are_accepted(*, listing: bool) -> None:
    faults = LISTING_FAULTS if listing else LOOKUP_FAULTS
    equal = faults_of(faults, 1 / len(faults))

    assert drawn(equal, 1000, listing=listing).keys() == faults


def test_unknown_fields_and_values_come_on_top_of_other_faults() -> None:
    Faults(errors=1.0, unknown_fields=1.0, unknown_values=1.0)


@pytest.mark.parametrize("status", [499, 600])
def test_the_status_of_errors_is_a_5xx(status: int) -> None:
    with pytest.raises(ValueError, match="'error_status' must be"):
        Faults(error_status=status)


@pytest.mark.parametrize("seconds", [-1, math.inf, math.nan])
def test_a_slow_body_takes_a_finite_time(seconds: float) -> None:
    with pytest.raises(ValueError, match="'drip_seconds' must be"):
        Faults(drip_seconds=seconds)


RECORD: dict[str, Any] = {
    "status": "assigned",
    "sip_config": {"inbound_media_encryption": "allow"},
}


def altered(record: dict[str, Any], *shares: str) -> dict[str, Any]:
    chance = Random(0)  # noqa: S311 - repeatable on purpose
    return faults_of(shares, 1.0).alter(record, chance)


def test_a_record_is_not_altered_by_default() -> None:
    assert altered(RECORD) is RECORD


def test_unknown_fields_are_added_to_the_phone_and_to_its_sip_config() -> None:
    record = altered(RECORD, "unknown_fields")

    assert record == RECORD | {
        "country_code": "ES",
        "capabilities": {"voice": True, "sms": False},
        "sip_config": {"inbound_media_encryption": "allow", "transport": "tls"},
    }


def test_unknown_values_are_in_every_enum() -> None:
    assert altered(RECORD, "unknown_values") == {
        "status": "suspended",
        "telephony_provider": "operator",
        "sip_config": {"inbound_media_encryption": "dtls"},
    }


@pytest.mark.parametrize("share", ["unknown_fields", "unknown_values"])
def test_a_phone_without_a_sip_config_does_not_get_one(share: str) -> None:
    assert altered({"sip_config": None}, share)["sip_config"] is None


@pytest.mark.parametrize("share", ["unknown_fields", "unknown_values"])
def test_the_record_itself_stays_as_it_was(share: str) -> None:
    record = {"status": "assigned", "sip_config": {"username": None}}

    altered(record, share)

    assert record == {"status": "assigned", "sip_config": {"username": None}}


def accepted(
    bucket: LeakyBucket, *moments: float, per_second: float = 10, burst: int = 0
) -> list[bool]:
    return [bucket.accepts(at, per_second=per_second, burst=burst) for at in moments]


def test_the_first_request_is_always_accepted() -> None:
    assert accepted(LeakyBucket(), 1234.5, per_second=0.001) == [True]


def test_without_a_burst_requests_closer_than_the_rate_are_throttled() -> None:
    assert accepted(LeakyBucket(), 0, 0.05, 0.125, 0.25) == [True, False, True, True]


def test_a_burst_is_accepted_in_one_moment() -> None:
    assert accepted(LeakyBucket(), 0, 0, 0, 0, burst=2) == [True, True, True, False]


def test_a_throttled_request_does_not_fill_the_bucket() -> None:
    bucket = LeakyBucket()

    accepted(bucket, 0, 0, 0, 0, 0, burst=1)

    assert accepted(bucket, 0.125, 0.125, burst=1) == [True, False]


def test_a_pause_saves_up_no_more_than_the_burst() -> None:
    bucket = LeakyBucket()
    accepted(bucket, 0, burst=1)

    assert accepted(bucket, 1000, 1000, 1000, burst=1) == [True, True, False]


def test_the_rate_is_kept_over_time() -> None:
    bucket = LeakyBucket()
    times = accepted(bucket, *(at / 1000 for at in range(10_000)), burst=5)

    assert sum(times) == 105


def test_the_rate_can_change_between_requests() -> None:
    bucket = LeakyBucket()
    accepted(bucket, 0)

    assert accepted(bucket, 0.05, per_second=100) == [True]
