"""The pager decides how a listing continues."""

import tracemalloc
from functools import cached_property
from uuid import UUID

import pytest
from fakes import phone_fields
from hypothesis import given, settings, strategies as st
from model_api import Project, changes_of, comings_and_goings, ids

from diga_async import (
    APIConnectionError,
    ClientClosedError,
    ConfigurationError,
    InternalServerError,
    InvalidResponseError,
    NotFoundError,
    Phone,
    UnprocessableEntityError,
)
from diga_async._api.listing import BadRecord, Page, PhoneQuery
from diga_async._api.messages import Secret
from diga_async._phones.paging import Pager

A, B, C, D, E = ids(5)
GONE = "$.data: the cursor's phone is gone"


def phone(phone_id, **fields):
    return Phone.from_dict(phone_fields(phone_id, **fields))


def page(*phone_ids, more=True, cursor=..., total=None):
    last = phone_ids[-1] if phone_ids else None
    return Page(
        records=tuple(map(phone, phone_ids)),
        has_more=more,
        cursor=last if cursor is ... else cursor,
        total_pages=total,
    )


NOTHING = page(more=False)


def refused(status):
    kinds = {404: NotFoundError, 422: UnprocessableEntityError}
    return kinds.get(status, InternalServerError)(status=status)


class Listing:
    """Plays answers to a pager; records its requests and phones."""

    def __init__(self, pager, *answers):
        self.asked = []
        self.delivered = []
        for answer in answers:
            operation = pager.request()
            assert operation is not None, "the listing has ended already"
            self.asked.append(place_of(operation.path))
            self.delivered += [p.id for p in pager.read(answer)]
        self.pager = pager

    @cached_property
    def error(self):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - returned
            self.pager.request()
        assert self.pager.request() is None
        return caught.value

    @property
    def ended(self):
        return self.pager.request() is None


def place_of(path):
    """Return the cursor of a page, None for the first; or "id" and the id."""
    if "?" not in path:
        return ("id", UUID(path.rsplit("/", 1)[1]))
    query = dict(part.split("=") for part in path.split("?")[1].split("&"))
    return UUID(query["after"]) if "after" in query else None


def listing(*answers, query=PhoneQuery(), after=None, **options):  # noqa: B008 - frozen
    return Listing(Pager(query, page_size=2, after=after, **options), *answers)


class TestGoingOn:
    def test_pages_follow_their_cursors_to_the_end(self):
        read = listing(page(A, B), page(C, D), page(E, more=False))

        assert read.asked == [None, B, D]
        assert read.delivered == [A, B, C, D, E]
        assert read.ended

    def test_an_empty_project_ends_with_its_first_page(self):
        assert listing(NOTHING).ended

    def test_the_cursor_of_the_server_counts_before_that_of_the_page(self):
        read = listing(page(A, B, cursor=E), page(C, more=False))

        assert read.asked == [None, E]

    def test_an_empty_page_that_has_more_is_passed_over(self):
        read = listing(page(A, B), page(cursor=D), page(E, more=False))

        assert read.asked == [None, B, D]
        assert read.delivered == [A, B, E]
        assert read.ended

    def test_it_starts_after_a_cursor(self):
        read = listing(page(C, more=False), after=B)

        assert read.asked == [B]
        assert read.delivered == [C]

    def test_the_total_is_what_the_server_said_last(self):
        read = listing(page(A, B, total=3), page(C, D), page(E, more=False))

        assert read.pager.total_pages == 3


class TestAServerThatRepeatsItself:
    def test_a_cursor_that_comes_back_is_not_followed(self):
        read = listing(page(A, B), page(C, D, cursor=B))

        assert read.delivered == [A, B, C, D]
        assert read.error.problems == ("$.last_id: a cursor that was there before",)

    def test_the_cursor_that_the_listing_began_with_is_not_followed(self):
        read = listing(page(A, B, cursor=E), after=E)

        assert isinstance(read.error, InvalidResponseError)

    def test_more_without_a_cursor_is_an_error(self):
        read = listing(page(A, B), page(cursor=None))

        assert read.error.problems == ("$.has_more: true, but there is no cursor",)

    def test_a_phone_within_three_pages_is_delivered_once(self):
        read = listing(page(A, B), page(B, C), page(A, D), page(A, E, more=False))

        assert read.delivered == [A, B, C, D, E]

    def test_a_phone_twice_on_a_page_is_delivered_once(self):
        assert listing(page(A, A, more=False)).delivered == [A]


class TestRecordsThatAreNoPhones:
    BAD = Page(
        records=(
            phone(C),
            BadRecord(InvalidResponseError("not a Phone", phone_id=D)),
            phone(E),
        ),
        has_more=True,
        cursor=E,
    )

    def test_the_listing_ends_there_after_the_phones_before(self):
        read = listing(page(A, B), self.BAD)

        assert read.delivered == [A, B, C]
        assert read.error.phone_id == D

    def test_a_walk_passes_over_them(self):
        read = listing(page(A, B), self.BAD, NOTHING, skip_bad_records=True)

        assert read.delivered == [A, B, C, E]
        assert [error.phone_id for error in read.pager.bad_records] == [D]


DOUBTFUL = [
    pytest.param(NOTHING, id="an empty page"),
    *(pytest.param(refused(status), id=str(status)) for status in (400, 404, 422)),
]


@pytest.mark.parametrize("answer", DOUBTFUL)
class TestACursorThatMayBeGone:
    def test_the_page_after_an_earlier_phone_goes_past_it(self, answer):
        read = listing(page(A, B), answer, page(C, D), page(E, more=False))

        assert read.asked == [None, B, A, D]
        assert read.delivered == [A, B, C, D, E]
        assert read.ended

    def test_where_the_answer_is_the_same_its_phone_is_looked_up(self, answer):
        read = listing(page(A, B), answer, answer, refused(404))

        assert read.asked == [None, B, A, ("id", B)]
        assert read.error.problems == (GONE,)
        assert read.error.phone_id == B

    def test_where_there_is_no_earlier_phone_its_phone_is_looked_up(self, answer):
        read = listing(answer, refused(404), after=B)

        assert read.asked == [B, ("id", B)]
        assert (read.error.problems, read.error.phone_id) == ((GONE,), B)

    def test_a_phone_that_left_the_filter_is_gone(self, answer):
        query = PhoneQuery(status="reserved")
        read = listing(page(A, B), answer, answer, phone(B), query=query)

        assert read.error.problems == (GONE,)

    def test_the_earlier_phone_may_be_on_an_earlier_page(self, answer):
        read = listing(page(A, B), page(C), answer, page(D, more=False))

        assert read.asked == [None, B, C, B]
        assert read.delivered == [A, B, C, D]

    def test_no_lookup_follows_where_the_overlap_says_that_nothing_follows(
        self, answer
    ):
        read = listing(page(A, B), answer, page(B, more=False))

        assert read.delivered == [A, B]
        assert read.ended

    def test_an_overlap_that_ends_at_the_cursor_again_does_not_loop(self, answer):
        read = listing(page(A, B), answer, page(B))

        assert place_of(read.pager.request().path) == ("id", B)

    def test_two_cursors_in_a_row_may_be_gone(self, answer):
        read = listing(page(A, B), answer, page(C, D), answer, page(E, more=False))

        assert read.asked == [None, B, A, D, C]
        assert read.delivered == [A, B, C, D, E]


class TestACursorThatStands:
    @pytest.mark.parametrize("lookup", [phone(B), refused(500), refused(403)])
    def test_an_empty_page_after_it_is_the_end(self, lookup):
        assert listing(NOTHING, lookup, after=B).ended

    @pytest.mark.parametrize("status", [400, 404, 422])
    def test_an_error_to_it_is_raised(self, status):
        error = refused(status)

        assert listing(error, phone(B), after=B).error is error

    @pytest.mark.parametrize(
        "lookup", [APIConnectionError("away"), ClientClosedError("closed")]
    )
    def test_where_nothing_answers_the_lookup_it_is_not_taken_for_the_end(self, lookup):
        assert listing(NOTHING, lookup, after=B).error is lookup


class TestErrors:
    def test_a_404_without_a_cursor_means_there_is_no_diga_api(self):
        assert isinstance(listing(refused(404)).error, ConfigurationError)

    @pytest.mark.parametrize("status", [400, 403, 422, 500])
    def test_any_other_error_is_raised_as_it_is(self, status):
        error = refused(status)

        assert listing(error).error is error

    @pytest.mark.parametrize("status", [403, 500, 503])
    def test_an_error_in_the_middle_says_nothing_about_the_cursor(self, status):
        error = refused(status)
        read = listing(page(A, B), error)

        assert read.delivered == [A, B]
        assert read.error is error


@given(
    drawn=comings_and_goings(),
    size=st.integers(1, 6),
    gone=st.sampled_from([200, 400, 404, 422]),
)
@settings(max_examples=100, deadline=None)
def test_a_listing_loses_no_phone_that_is_there_throughout(drawn, size, gone):
    """Others come and go between requests; it reaches the end, or raises why not."""
    stable, order, goings, comings = drawn
    project = Project.of(order, gone=gone, changes=changes_of(goings, comings))
    pager = Pager(PhoneQuery(order="asc"), page_size=size)
    delivered, error = [], None
    try:
        while (operation := pager.request()) is not None:
            raw = project.answer(operation.path)
            answer = operation.answer(raw, Secret("Bearer key"))
            delivered += [phone.id for phone in pager.read(answer)]
    except InvalidResponseError as ended:
        error = ended

    assert set(delivered) <= {*stable, *goings, *comings}
    kept = [i for i in delivered if i in set(stable)]
    there = [i for i in order if i in set(stable)]
    if error is None:
        assert kept == there
    else:
        assert error.problems == (GONE,)
        assert error.phone_id in goings
        assert kept == there[: len(kept)]


def test_it_remembers_less_than_100_bytes_a_page():
    count = 3000
    first, *others = [page(i) for i in ids(count)]
    pager = Pager(PhoneQuery(), page_size=1)
    pager.read(first)
    tracemalloc.start()
    for other in others:
        pager.read(other)
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert grown / count < 100
