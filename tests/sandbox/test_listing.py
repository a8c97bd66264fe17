"""The pages of the sandbox's listing."""

from itertools import chain
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, strategies as st

from diga_async.sandbox._faults import Fault
from diga_async.sandbox._listing import (
    CursorGoneError,
    Listing,
    ListingSettings,
    Page,
    Record,
    spoil,
)
from diga_async.sandbox._query import ListingQuery, read_query

AGENT = UUID("3c90c3cc-0d44-4b50-8888-8dd25736052a")


def phones_of(count: int, **fields: object) -> dict[UUID, Record]:
    """Return phones whose ids are 1, 2, 3 and so on."""
    ids = [UUID(int=number) for number in range(1, count + 1)]
    return {phone_id: {"id": str(phone_id), **fields} for phone_id in ids}


def asked(query: str) -> ListingQuery:
    read = read_query(query)
    assert isinstance(read, ListingQuery)
    return read


def page_of(
    phones: dict[UUID, Record],
    query: str,
    fault: Fault | None = None,
    **settings: Any,
) -> Page:
    page = Listing().page(phones, asked(query), ListingSettings(**settings), fault)
    chance = Random(0)  # noqa: S311 - repeatable on purpose
    return spoil(page, asked(query), fault, chance)


def numbers(page: Page) -> list[int]:
    return [UUID(record["id"]).int for record in page.data]


def at(number: int) -> UUID:
    return UUID(int=number)


def collected(
    phones: dict[UUID, Record],
    query: str = "",
    fault: Fault | None = None,
    pages: int = 50,
    **settings: Any,
) -> list[list[int]]:
    """Follow the cursors to the end, or for a number of pages."""
    found, cursor = [], ""
    for _ in range(pages):
        page = page_of(phones, query + cursor, fault, **settings)
        found.append(numbers(page))
        if not page.has_more:
            break
        cursor = f"&after={page.last_id}"
    return found


def test_a_page_has_twenty_phones_and_the_newest_first() -> None:
    page = page_of(phones_of(50), "")

    assert numbers(page) == list(range(50, 30, -1))


@pytest.mark.parametrize(
    ("query", "expected", "has_more"),
    [
        ("order=asc&limit=2", [1, 2], True),
        ("order=desc&limit=2", [5, 4], True),
        ("order=asc&limit=2&page=2", [3, 4], True),
        ("order=asc&limit=2&page=3", [5], False),
        ("order=desc&limit=2&page=3", [1], False),
        ("order=asc&limit=2&page=4", [], False),
        ("order=asc&limit=5", [1, 2, 3, 4, 5], False),
        (f"order=asc&limit=2&after={at(2)}", [3, 4], True),
        (f"order=asc&limit=2&after={at(3)}", [4, 5], False),
        (f"order=asc&limit=2&after={at(5)}", [], False),
        (f"order=desc&limit=2&after={at(4)}", [3, 2], True),
        (f"order=desc&limit=2&after={at(3)}", [2, 1], False),
        (f"order=asc&limit=2&before={at(4)}", [2, 3], True),
        (f"order=asc&limit=2&before={at(3)}", [1, 2], False),
        (f"order=asc&limit=2&before={at(1)}", [], False),
        (f"order=desc&limit=2&before={at(2)}", [4, 3], True),
        (f"order=desc&limit=2&before={at(3)}", [5, 4], False),
        (f"order=asc&limit=2&page=3&after={at(1)}", [2, 3], True),
    ],
)
def test_a_page_is_where_its_number_or_cursor_says(
    query: str, expected: list[int], *, has_more: bool
) -> None:
    page = page_of(phones_of(5), query)

    assert numbers(page) == expected
    assert page.has_more == has_more
    assert page.first_id == (at(expected[0]) if expected else None)
    assert page.last_id == (at(expected[-1]) if expected else None)


@pytest.mark.parametrize(
    ("query", "current", "total"),
    [
        ("limit=2", 1, 3),
        ("limit=2&page=3", 3, 3),
        ("limit=2&page=9", 9, 3),
        ("limit=5", 1, 1),
        ("limit=1", 1, 5),
        ("limit=2&status=none", 1, 0),
        (f"limit=2&after={at(3)}", None, None),
        (f"limit=2&before={at(3)}", None, None),
    ],
)
def test_a_page_has_a_number_unless_it_is_asked_for_by_cursor(
    query: str, current: int | None, total: int | None
) -> None:
    query = query.replace("status=none", f"inbound_agent_id={AGENT}")
    page = page_of(phones_of(5), query)

    assert (page.current_page, page.total_pages) == (current, total)


def test_pages_need_not_be_numbered() -> None:
    page = page_of(phones_of(5), "page=1", numbered_pages=False)

    assert (page.current_page, page.total_pages) == (None, None)


@given(
    count=st.integers(0, 30),
    limit=st.integers(1, 12),
    order=st.sampled_from(["asc", "desc"]),
    hidden=st.sets(st.integers(1, 30)),
)
def test_pages_by_number_and_by_cursor_make_the_same_listing(
    count: int, limit: int, order: str, hidden: set[int]
) -> None:
    phones, query = phones_of(count), f"limit={limit}&order={order}"
    hidden_ids = {at(number) for number in hidden}
    expected = [number for number in range(1, count + 1) if number not in hidden]
    expected = expected if order == "asc" else expected[::-1]
    by_cursor = collected(phones, query, hidden=hidden_ids)
    by_number = [
        numbers(page_of(phones, f"{query}&page={page}", hidden=hidden_ids))
        for page in range(1, len(by_cursor) + 1)
    ]

    assert by_cursor == by_number
    assert list(chain.from_iterable(by_cursor)) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=released", [2]),
        (f"inbound_agent_id={AGENT}", [1, 3]),
        (f"outbound_agent_id={AGENT.hex}", [3]),
        (f"status=assigned&inbound_agent_id={AGENT}", [1]),
        ("start_assigned_at=2026-07-02T00:00:00Z", [2, 3]),
        ("end_assigned_at=2026-07-02T00:00:00Z", [1, 2]),
        ("start_assigned_at=2026-07-02&end_assigned_at=2026-07-02", [2]),
        ("end_assigned_at=2026-07-02T01:00:00%2B02:00", [1]),
    ],
)
def test_a_filter_keeps_the_phones_that_match(query: str, expected: list[int]) -> None:
    phones = phones_of(4, status="assigned")
    phones[at(1)] |= {"assigned_at": "2026-07-01T00:00:00Z"}
    phones[at(1)] |= {"inbound_agent_id": str(AGENT)}
    phones[at(2)] |= {"assigned_at": "2026-07-02T00:00:00Z", "status": "released"}
    phones[at(3)] |= {"assigned_at": "2026-07-03T00:00:00Z", "status": "finished"}
    phones[at(3)] |= {"inbound_agent_id": str(AGENT), "outbound_agent_id": str(AGENT)}
    phones[at(4)] |= {"assigned_at": None}

    page = page_of(phones, f"order=asc&{query}")

    assert numbers(page) == expected
    assert page.total_pages == 1


def test_a_date_that_cannot_be_read_matches_no_filter() -> None:
    phones = phones_of(1, assigned_at="soon")

    assert numbers(page_of(phones, "end_assigned_at=2026-07-02")) == []


def test_a_hidden_phone_is_in_no_page_but_its_cursor_stands() -> None:
    phones = phones_of(5)
    hidden = {at(3), at(99)}

    assert collected(phones, "limit=2", hidden=hidden) == [[5, 4], [2, 1]]
    assert numbers(page_of(phones, f"after={at(3)}", hidden=hidden)) == [2, 1]


def test_a_cursor_of_an_unknown_phone_is_gone() -> None:
    with pytest.raises(CursorGoneError):
        page_of(phones_of(5), f"after={at(9)}")


def test_a_cursor_that_left_the_filter_stands_unless_told_otherwise() -> None:
    phones = phones_of(5, status="assigned")
    phones[at(3)]["status"] = "released"
    query = f"status=assigned&after={at(3)}"

    assert numbers(page_of(phones, query)) == [2, 1]
    with pytest.raises(CursorGoneError):
        page_of(phones, query, filtered_cursors=True)
    assert numbers(page_of(phones, f"after={at(3)}", filtered_cursors=True)) == [2, 1]


def test_filtered_cursors_lose_a_hidden_phone_too() -> None:
    with pytest.raises(CursorGoneError):
        page_of(
            phones_of(5), f"after={at(1)}", filtered_cursors=True, hidden={at(1), at(2)}
        )


def test_phones_can_be_sorted_by_a_field_and_those_without_it_come_last() -> None:
    phones = phones_of(4)
    for number, nickname in ((1, "c"), (2, None), (3, "a"), (4, "b")):
        phones[at(number)]["nickname"] = nickname

    assert collected(phones, "order=asc&limit=2", sort_by="nickname") == [
        [3, 4],
        [1, 2],
    ]
    assert collected(phones, "limit=3", sort_by="nickname") == [[2, 1, 4], [3]]


def test_a_sorted_listing_can_be_filtered() -> None:
    phones = phones_of(4, status="assigned")
    for number, nickname in ((1, "c"), (2, "b"), (3, "a"), (4, "d")):
        phones[at(number)]["nickname"] = nickname
    phones[at(2)]["status"] = "released"
    query = "order=asc&status=assigned"

    assert numbers(page_of(phones, query, sort_by="nickname")) == [3, 1, 4]
    after = f"{query}&after={at(2)}"
    assert numbers(page_of(phones, after, sort_by="nickname")) == [1, 4]


def test_a_listing_follows_phones_that_come_go_and_move() -> None:
    listing, phones, settings = Listing(), phones_of(3), ListingSettings(sort_by="n")
    for number, record in enumerate(phones.values()):
        record["n"] = str(number)
    query = asked("order=asc")
    assert numbers(listing.page(phones, query, settings)) == [1, 2, 3]

    phones[at(1)]["n"] = "9"
    assert numbers(listing.page(phones, query, settings)) == [2, 3, 1]

    del phones[at(2)]
    phones[at(7)] = {"id": str(at(7)), "n": "x"}
    assert numbers(listing.page(phones, query, settings)) == [3, 1, 7]
    after = asked(f"order=asc&after={at(1)}")
    assert numbers(listing.page(phones, after, settings)) == [7]
    by_creation = ListingSettings()
    assert numbers(listing.page(phones, query, by_creation)) == [1, 3, 7]


def test_looping_cursors_give_the_same_page_for_ever() -> None:
    found = collected(phones_of(9), "limit=2", Fault.LOOPING_CURSORS, pages=5)

    assert found == [[9, 8], [7, 6], [7, 6], [7, 6], [7, 6]]


def test_looping_cursors_loop_backwards_too() -> None:
    page = page_of(phones_of(9), f"before={at(3)}&limit=2", Fault.LOOPING_CURSORS)

    assert (page.first_id, page.has_more) == (at(3), True)


def test_empty_pages_lead_on_to_the_end() -> None:
    phones = phones_of(5)
    page = page_of(phones, "limit=2", Fault.EMPTY_PAGES)

    assert (page.data, page.last_id, page.has_more) == ([], at(4), True)
    assert collected(phones, "limit=2", Fault.EMPTY_PAGES) == [[], [], [], []]


def test_repeated_phones_come_again_and_none_is_lost() -> None:
    found = collected(phones_of(7), "limit=3", Fault.REPEATED_PHONES)

    assert found == [[7, 6, 5], [5, 4, 3], [3, 2, 1]]


def test_repeated_phones_come_again_in_the_next_numbered_page() -> None:
    page = page_of(phones_of(7), "limit=3&page=2", Fault.REPEATED_PHONES)

    assert numbers(page) == [5, 4, 3]


@pytest.mark.parametrize("query", ["limit=1", f"limit=3&before={at(2)}", "page=9"])
def test_repeated_phones_need_a_page_that_can_hold_two(query: str) -> None:
    phones = phones_of(4)

    assert page_of(phones, query, Fault.REPEATED_PHONES) == page_of(phones, query)


def test_pages_of_one_phone_end_with_repeated_phones_too() -> None:
    found = collected(phones_of(3), "limit=1", Fault.REPEATED_PHONES)

    assert found == [[3], [2], [1]]


def test_a_broken_record_is_one_of_its_page_and_broken_in_four_ways() -> None:
    phones = phones_of(3, number="+34910000000", status="assigned")
    query = asked("order=asc")
    page = Listing().page(phones, query, ListingSettings())
    chance = Random(0)  # noqa: S311 - repeatable on purpose
    broken = []
    for _ in range(100):
        data = spoil(page, query, Fault.BROKEN_RECORDS, chance).data
        assert len(data) == 3
        changed = [
            new
            for new, old in zip(data, phones.values(), strict=True)
            if new is not old
        ]
        assert len(changed) == 1
        broken += changed

    assert {how_broken(record) for record in broken} == {
        "null",
        "number is null",
        "status is missing",
        "id is no UUID",
    }
    assert page.data == list(phones.values())


def how_broken(record: Record | None) -> str:
    if record is None:
        return "null"
    if "status" not in record:
        return "status is missing"
    return "number is null" if record["number"] is None else "id is no UUID"


@pytest.mark.parametrize("fault", Fault)
def test_a_listing_without_phones_has_no_fault(fault: Fault) -> None:
    page = page_of({}, "", fault)

    assert page == Page(
        data=[],
        first_id=None,
        last_id=None,
        has_more=False,
        current_page=1,
        total_pages=0,
    )


@pytest.mark.parametrize(
    "fault",
    [
        Fault.LOOPING_CURSORS,
        Fault.EMPTY_PAGES,
        Fault.REPEATED_PHONES,
        Fault.BROKEN_RECORDS,
    ],
)
def test_a_fault_does_not_stay_in_the_phones(fault: Fault) -> None:
    phones = phones_of(5)

    page_of(phones, f"after={at(4)}", fault)

    assert phones == phones_of(5)
