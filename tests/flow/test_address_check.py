"""Whether there is an API at the address, judged by its answers."""

import pytest

from diga_async._flow.address_check import AddressCheck


def test_nothing_is_known_before_the_first_answer() -> None:
    assert AddressCheck().is_right is None


@pytest.mark.parametrize(
    ("status", "is_right"),
    [(404, False), (200, True), (401, True), (403, True), (429, True), (500, True)],
)
def test_any_answer_of_the_listing_but_404_settles_the_question(
    status: int, *, is_right: bool
) -> None:
    check = AddressCheck()
    check.listing_answered(status)

    assert check.is_right is is_right


def test_no_answer_leaves_the_question_open() -> None:
    check = AddressCheck()
    check.listing_answered(None)

    assert check.is_right is None


def test_a_404_is_remembered_until_a_success() -> None:
    check = AddressCheck()
    check.listing_answered(404)
    check.listing_answered(None)
    assert check.is_right is False

    check.succeeded()
    assert check.is_right is True


def test_a_404_of_the_listing_after_a_success_is_nothing() -> None:
    """A gateway may serve lookups and no listing."""
    check = AddressCheck()
    check.succeeded()
    check.listing_answered(404)

    assert check.is_right is True
