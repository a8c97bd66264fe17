"""Which pages a run by ids requests: rules without I/O."""

import pytest
from fakes import phone_fields
from model_api import ids, query_of

from diga_async import ConfigurationError, InternalServerError, NotFoundError, Phone
from diga_async._api.listing import Page
from diga_async._phones.page_plan import PagePlan, check_via

FAILED = InternalServerError(status=500)


def page(*phone_ids, more=True, total=None, number=None):
    return Page(
        records=tuple(Phone.from_dict(phone_fields(i)) for i in phone_ids),
        has_more=more,
        cursor=phone_ids[-1] if phone_ids else None,
        number=number,
        total_pages=total,
    )


class Plan:
    """A plan, from which all pages allowed are requested."""

    def __init__(self, via, left):
        self.plan = PagePlan(via)
        self.left = left
        self.open = []

    def ask(self):
        """Return the numbers, or cursors, of the pages that are requested now."""
        while (operation := self.plan.request(self.left)) is not None:
            self.open.append(operation)
        return [place_of(operation) for operation in self.open]

    def answer(self, answer):
        self.plan.read(self.open.pop(0), answer)
        return self.ask()


def place_of(operation):
    query = query_of(operation.path)
    assert (query["limit"], query["order"]) == ("100", "asc")
    return query.get("after") or int(query["page"])


class TestVia:
    @pytest.mark.parametrize(
        ("via", "length", "ordered", "collects", "expected"),
        [
            ("each", None, True, False, "each"),
            ("list", 3, False, False, "list"),
            ("list", None, False, True, "list"),
            ("auto", None, False, True, "auto"),
            ("auto", 6, False, False, "auto"),
            ("auto", 5, False, False, "each"),
            ("auto", None, False, False, "each"),
            ("auto", 100, True, False, "each"),
        ],
    )
    def test_auto_is_each_where_the_ids_cannot_be_read_first(
        self, via, length, ordered, collects, expected
    ):
        checked = check_via(via, length=length, ordered=ordered, collects=collects)

        assert checked == expected

    @pytest.mark.parametrize(
        ("via", "length", "ordered"),
        [("list", None, False), ("list", 10, True), ("pages", 10, False)],
    )
    def test_list_and_what_is_unknown_are_refused(self, via, length, ordered):
        with pytest.raises(ConfigurationError, match="via"):
            check_via(via, length=length, ordered=ordered, collects=False)


class TestTheFirstPage:
    @pytest.mark.parametrize(("left", "asked"), [(0, []), (5, []), (6, [1])])
    def test_auto_lists_more_than_five_ids(self, left, asked):
        assert Plan("auto", left).ask() == asked

    @pytest.mark.parametrize(("left", "asked"), [(0, []), (1, [1])])
    def test_list_lists_any(self, left, asked):
        assert Plan("list", left).ask() == asked

    def test_nothing_else_is_requested_before_it_is_read(self):
        plan = Plan("list", 1000)
        plan.ask()

        assert plan.ask() == [1]
        assert plan.plan.waits

    @pytest.mark.parametrize(
        "answer", [FAILED, NotFoundError(status=404), page(*ids(3), more=False)]
    )
    @pytest.mark.parametrize("via", ["auto", "list"])
    def test_it_is_the_only_one_where_it_fails_or_has_everything(self, via, answer):
        plan = Plan(via, 1000)
        plan.ask()

        assert plan.answer(answer) == []
        assert not plan.plan.waits


class TestNumberedPages:
    def begun(self, via, left, total, **fields):
        plan = Plan(via, left + 100)
        plan.ask()
        plan.left = left
        return plan, plan.answer(page(*ids(100), total=total, **fields))

    def test_the_others_are_requested_side_by_side(self):
        _, asked = self.begun("auto", 1000, 5, number=1)

        assert asked == [2, 3, 4, 5]

    @pytest.mark.parametrize(("left", "pages"), [(4, 0), (5, 4)])
    def test_auto_lists_where_that_takes_fewer_requests(self, left, pages):
        assert len(self.begun("auto", left, 5)[1]) == pages

    def test_list_lists_in_any_case(self):
        assert self.begun("list", 1, 5)[1] == [2, 3, 4, 5]

    def test_none_is_requested_once_every_id_is_found(self):
        plan = PagePlan("list")
        plan.read(plan.request(1000), page(*ids(100), total=5))
        second = plan.request(1000)
        assert place_of(second) == 2
        plan.read(second, page(*ids(100, 101), total=5))

        assert plan.request(0) is None
        assert not plan.waits

    def test_a_page_that_fails_is_passed_over(self):
        plan, _ = self.begun("auto", 1000, 5)

        assert plan.answer(FAILED) == [3, 4, 5]

    def test_a_project_that_grows_has_more_pages(self):
        plan, _ = self.begun("auto", 1000, 3)

        assert plan.answer(page(*ids(100, 101), total=4)) == [3, 4]

    def test_a_project_that_shrinks_has_fewer(self):
        plan = PagePlan("auto")
        plan.read(plan.request(1000), page(*ids(100), total=5))
        plan.read(plan.request(1000), page(*ids(9, 101), total=2, more=False))

        assert plan.request(900) is None


CONTRADICTIONS = {
    "there is more after the last page": page(*ids(100, 101), total=2),
    "it is another page": page(*ids(100, 101), number=1),
    "it is the first page again": page(*ids(100), total=2),
}


class TestPagesWithoutNumbers:
    @pytest.mark.parametrize(
        "first",
        [
            page(*ids(100)),
            page(*ids(100), total=1),
            page(*ids(100), total=9, number=7),
        ],
        ids=["not said", "too few", "another number"],
    )
    def test_auto_lists_no_further_and_list_follows_cursors(self, first):
        auto, listed = Plan("auto", 1000), Plan("list", 1000)
        auto.ask()
        listed.ask()

        assert auto.answer(first) == []
        assert listed.answer(first) == [str(first.cursor)]

    @pytest.mark.parametrize("contradiction", CONTRADICTIONS.values(), ids=str)
    def test_a_number_that_pages_contradict_is_ignored(self, contradiction):
        for via, most in {"auto": 0, "list": 1}.items():
            plan = Plan(via, 1000)
            plan.ask()
            plan.answer(page(*ids(100), total=2))

            assert len(plan.answer(contradiction)) == most

    def followed(self, *answers):
        plan = Plan("list", 1000)
        plan.ask()
        for answer in answers:
            asked = plan.answer(answer)
        return asked

    def test_each_page_leads_to_the_next(self):
        first, second = page(*ids(100)), page(*ids(100, 101))

        assert self.followed(first, second) == [str(second.cursor)]

    @pytest.mark.parametrize(
        "end",
        [
            FAILED,
            page(*ids(3), more=False),
            page(),
            page(*ids(100)),
        ],
        ids=["an error", "the last", "no cursor", "a cursor seen before"],
    )
    def test_they_end_with(self, end):
        assert self.followed(page(*ids(100)), end) == []
