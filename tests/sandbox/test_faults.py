"""What goes wrong in the sandbox, and how often."""

import math
from collections import Counter
from collections.abc import Iterable
from random import Random
from typing import Any

import attrs
import pytest

from diga_async.sandbox._faults import Fault, Faults

SHARES = [
    name for name, field in attrs.fields_dict(Faults).items() if not field.default
]


def faults_of(shares: Iterable[str], share: float) -> Faults:
    settings: dict[str, Any] = dict.fromkeys(shares, share)
    return Faults(**settings)


def drawn(faults: Faults, times: int = 10_000) -> Counter[Fault | None]:
    chance = Random(7)  # noqa: S311 - repeatable on purpose
    return Counter(faults.draw(chance) for _ in range(times))


def test_nothing_goes_wrong_unless_asked() -> None:
    assert drawn(Faults()) == {None: 10_000}


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_with_the_whole_share_befalls_every_request(fault: Fault) -> None:
    assert drawn(faults_of([fault], 1.0)) == {fault: 10_000}


def test_faults_come_as_often_as_their_shares_say() -> None:
    counts = drawn(Faults(errors=0.3, resets=0.1, forbidden=0.05))

    assert counts[Fault.ERRORS] == pytest.approx(3000, rel=0.1)
    assert counts[Fault.RESETS] == pytest.approx(1000, rel=0.1)
    assert counts[Fault.FORBIDDEN] == pytest.approx(500, rel=0.2)
    assert counts.keys() == {None, Fault.ERRORS, Fault.RESETS, Fault.FORBIDDEN}


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf])
def test_a_share_must_be_between_0_and_1(share: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"'{share}' must be [<>]= "):
        faults_of([share], value)


def test_shares_of_which_only_one_can_come_true_add_up_to_1_at_most() -> None:
    with pytest.raises(ValueError, match=r"add up to 1\.25, more than 1"):
        Faults(errors=0.75, hangs=0.5)


def test_nine_shares_of_a_ninth_are_not_too_many() -> None:
    faults = faults_of(Fault, 1 / 9)

    assert drawn(faults, 1000).keys() == set(Fault)


def test_new_fields_and_values_add_to_every_other_fault() -> None:
    Faults(errors=1.0, unknown_fields=1.0, unknown_values=1.0)


@pytest.mark.parametrize("status", [499, 600])
def test_an_error_is_a_5xx(status: int) -> None:
    with pytest.raises(ValueError, match="'error_status' must be"):
        Faults(error_status=status)


@pytest.mark.parametrize("seconds", [-1, math.inf, math.nan])
def test_a_drip_takes_a_finite_time(seconds: float) -> None:
    with pytest.raises(ValueError, match="'drip_seconds' must be"):
        Faults(drip_seconds=seconds)


RECORD: dict[str, Any] = {
    "status": "assigned",
    "sip_config": {"inbound_media_encryption": "allow"},
}


def altered(record: dict[str, Any], *shares: str) -> dict[str, Any]:
    chance = Random(0)  # noqa: S311 - repeatable on purpose
    return faults_of(shares, 1.0).alter(record, chance)


def test_a_record_is_served_as_it_is_unless_asked() -> None:
    assert altered(RECORD) is RECORD


def test_new_fields_come_beside_the_known_ones_at_both_levels() -> None:
    record = altered(RECORD, "unknown_fields")

    assert record == RECORD | {
        "country_code": "ES",
        "capabilities": {"voice": True, "sms": False},
        "sip_config": {"inbound_media_encryption": "allow", "transport": "tls"},
    }


def test_new_values_come_in_every_enum() -> None:
    assert altered(RECORD, "unknown_values") == {
        "status": "suspended",
        "telephony_provider": "operator",
        "sip_config": {"inbound_media_encryption": "dtls"},
    }


@pytest.mark.parametrize("share", ["unknown_fields", "unknown_values"])
def test_a_phone_without_a_trunk_gets_none(share: str) -> None:
    assert altered({"sip_config": None}, share)["sip_config"] is None


@pytest.mark.parametrize("share", ["unknown_fields", "unknown_values"])
def test_what_is_new_does_not_stay_in_the_record(share: str) -> None:
    record = {"status": "assigned", "sip_config": {"username": None}}

    altered(record, share)

    assert record == {"status": "assigned", "sip_config": {"username": None}}
