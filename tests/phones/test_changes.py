"""Which changes hold now, as a value for each history: no I/O, no clock."""

import pickle

import attrs
import pytest
from fakes import phone_fields
from hypothesis import given, settings, strategies as st
from project import number

from diga_async import Change, Phone
from diga_async._models.change import changed_fields
from diga_async._phones.changes import (
    POLLS_UNTIL_LISTING_IS_TRIED,
    ChangeTracker,
    ListingCost,
    next_page_pays,
)

X, Y = number(1), number(2)
SIP = {"termination_uri": "sip.example.org", "allowed_addresses": ["10.0.0.1"]}


def phone(n=1, **fields):
    return Phone.from_dict(phone_fields(number(n), **fields))


def told(tracker):
    """Deliver all; return the changes in short."""
    changes = []
    while (change := tracker.deliver()) is not None:
        before = change.before and change.before.nickname
        after = change.after and change.after.nickname
        changes.append((change.phone_id.int, before, after))
    return changes


# --- fields


@pytest.mark.parametrize(
    ("before", "after", "fields"),
    [
        ({}, {}, set()),
        ({}, {"status": "released"}, {"status"}),
        ({}, {"nickname": "a", "number": "+34"}, {"nickname", "number"}),
        ({"nickname": "a"}, {"nickname": None}, {"nickname"}),
        ({"region_codes": ["a"]}, {"region_codes": ["a"]}, set()),
        ({}, {"tomorrow": 1}, set()),
        ({"tomorrow": 1}, {}, set()),
        ({"tomorrow": 1}, {"tomorrow": 2}, {"extra"}),
        ({"tomorrow": 1}, {"tomorrow": 1, "more": 2}, set()),
        ({"tomorrow": 1}, {"tomorrow": 2, "more": 2}, {"extra"}),
        ({"sip_config": SIP}, {"sip_config": None}, {"sip_config"}),
        ({"sip_config": SIP}, {"sip_config": SIP | {"username": "u"}}, {"sip_config"}),
        ({"sip_config": SIP}, {"sip_config": SIP | {"tomorrow": 1}}, set()),
        (
            {"sip_config": SIP | {"tomorrow": 1}},
            {"sip_config": SIP | {"tomorrow": 2}},
            {"sip_config"},
        ),
    ],
)
def test_fields_are_the_attributes_that_differ(before, after, fields):
    assert changed_fields(phone(**before), phone(**after)) == fields


def test_fields_are_names_of_attributes():
    names = {a.name for a in attrs.fields(Phone)}
    every = phone(
        status="x",
        number="y",
        telephony_provider="z",
        nickname="n",
        sip_config=SIP,
        region_codes=["r"],
    )

    assert changed_fields(phone(), every) < names


def test_a_new_unknown_field_is_not_a_change_but_its_next_value_is():
    tracker = ChangeTracker([X], {X: phone()})
    tracker.read([phone(tomorrow=1)])
    assert told(tracker) == []
    tracker.read([phone(tomorrow=2)])

    change = tracker.deliver()

    assert change.fields == {"extra"}
    assert (change.before.extra["tomorrow"], change.after.extra["tomorrow"]) == (1, 2)


# --- given ids


def test_an_id_gets_its_baseline_at_the_first_poll_that_reads_it():
    tracker = ChangeTracker([X, Y], {})
    tracker.read([phone(1, nickname="a")])
    tracker.missed([Y])
    assert told(tracker) == []
    assert tracker.phones == {X: phone(1, nickname="a"), Y: None}
    tracker.read([phone(1, nickname="b"), phone(2, nickname="c")])

    assert told(tracker) == [(1, "a", "b"), (2, None, "c")]


def test_a_phone_that_is_gone_has_no_after_and_one_that_returns_no_before():
    tracker = ChangeTracker([X], {X: phone(nickname="a")})
    tracker.missed([X])
    assert tracker.deliver() == Change(X, phone(nickname="a"), None, frozenset())
    assert tracker.phones == {X: None}
    tracker.missed([X])
    assert tracker.deliver() is None
    tracker.read([phone()])

    assert tracker.deliver() == Change(X, None, phone(), frozenset())


def test_a_phone_back_in_its_former_state_has_no_change():
    tracker = ChangeTracker([X, Y], {X: phone(1), Y: None})
    tracker.read([phone(1, nickname="a"), phone(2)])
    tracker.read([phone(1)])
    tracker.missed([Y])

    assert told(tracker) == []


def test_a_change_is_the_sum_of_all_polls_since_the_state():
    tracker = ChangeTracker([X], {X: phone()})
    tracker.read([phone(nickname="a")])
    tracker.read([phone(nickname="a", status="released")])
    tracker.read([phone(nickname="b")])

    (change,) = iter(tracker.deliver, None)

    assert (change.fields, change.after.nickname) == ({"nickname"}, "b")


def test_the_state_is_that_of_the_last_change_delivered():
    tracker = ChangeTracker([X, Y], {X: phone(1), Y: phone(2)})
    tracker.read([phone(1, nickname="a"), phone(2, nickname="b")])
    assert tracker.phones == {X: phone(1), Y: phone(2)}
    tracker.deliver()

    assert tracker.phones == {X: phone(1, nickname="a"), Y: phone(2)}


def test_the_state_is_a_plain_dictionary_and_a_copy():
    tracker = ChangeTracker(None, {X: phone(1), Y: None})
    state = tracker.phones

    assert pickle.loads(pickle.dumps(state)) == state
    state.clear()
    assert tracker.phones == {X: phone(1), Y: None}


def test_ids_that_are_not_watched_are_neither_kept_nor_delivered():
    tracker = ChangeTracker([X], {Y: phone(2)})
    tracker.read([phone(1), phone(2, nickname="b")])

    assert told(tracker) == []
    assert tracker.phones == {X: phone(1)}


def test_a_finished_phone_is_left_alone_and_the_last_one_ends_the_watch():
    tracker = ChangeTracker([X, Y], {X: phone(1, status="finished")})
    assert tracker.left(()) == [Y]
    assert not tracker.is_over
    tracker.read([phone(2, status="finished")])

    assert tracker.left(()) == []
    assert tracker.is_over


def test_a_missing_id_is_looked_up_again():
    assert ChangeTracker([X, Y], {X: None}).left(()) == [X, Y]


def test_no_ids_are_over_from_the_start():
    assert ChangeTracker([], None).is_over
    assert not ChangeTracker(None, None).is_over


# --- every phone


def test_phones_join_silently_until_the_listing_was_read_to_its_end():
    tracker = ChangeTracker(None, None)
    tracker.read([phone(1)])
    tracker.read([phone(2)])
    tracker.settle([])
    tracker.read([phone(3, nickname="new")])

    assert told(tracker) == [(3, None, "new")]


def test_with_a_baseline_every_other_phone_is_new():
    tracker = ChangeTracker(None, {X: phone(1)})
    tracker.read([phone(1), phone(2, nickname="b")])

    assert told(tracker) == [(2, None, "b")]


def test_a_phone_that_could_not_be_read_when_the_listing_ended_is_not_new():
    tracker = ChangeTracker(None, None)
    tracker.settle([X])
    tracker.read([phone(1), phone(2, nickname="new")])

    assert told(tracker) == [(2, None, "new")]


def test_a_phone_that_the_listing_omits_is_looked_up():
    finished, gone = phone(3, status="finished"), number(4)
    baseline = {X: phone(1), Y: phone(2), finished.id: finished, gone: None}
    tracker = ChangeTracker(None, baseline)
    tracker.read([phone(5)])

    assert tracker.left({X}) == [Y, number(5)]
    tracker.missed([Y, number(5)])
    assert tracker.left({X}) == []


def test_a_new_phone_that_is_gone_before_delivery_has_no_change():
    tracker = ChangeTracker(None, {})
    tracker.read([phone(1)])
    tracker.missed([X])

    assert told(tracker) == []
    assert tracker.phones == {}


# --- any history

records = st.one_of(
    st.none(),
    st.builds(
        phone,
        nickname=st.sampled_from(["a", "b", None]),
        status=st.sampled_from(["assigned", "released"]),
    ),
)


@st.composite
def histories(draw):
    """
    Draw polls of a project, and the consumer's actions after each.

    A poll reads or misses each phone, or cannot read it. The consumer takes some
    changes, and may be killed after one, before it has stored the state.
    """
    steps = []
    for _ in range(draw(st.integers(1, 12))):
        world = {n: draw(records) for n in draw(st.sets(st.integers(1, 4)))}
        steps.append((world, draw(st.integers(0, 4)), draw(st.booleans())))
    return steps


@settings(max_examples=300)
@given(steps=histories(), watches_all=st.booleans())
def test_a_consumer_that_is_killed_hears_every_change_that_still_holds(
    steps, watches_all
):
    ids = None if watches_all else [number(n) for n in range(1, 5)]
    stored = heard = {} if watches_all else dict.fromkeys(ids)
    world = {}
    tracker = ChangeTracker(ids, stored)
    for changed, taken, is_killed in steps:
        world |= changed
        read(tracker, changed)
        for _ in range(taken):
            if (change := tracker.deliver()) is None:
                break
            assert change.before == heard.get(change.phone_id)
            assert change.before != change.after
            if is_killed:
                break
            heard = {**heard, change.phone_id: change.after}
            stored = tracker.phones
            assert stored == heard
        if is_killed:
            tracker = ChangeTracker(ids, stored)
    read(tracker, world)
    while (change := tracker.deliver()) is not None:
        heard = {**heard, change.phone_id: change.after}

    there = {number(n): record_of(n, r) for n, r in world.items() if r is not None}
    assert {i: p for i, p in heard.items() if p is not None} == there


def read(tracker, world):
    tracker.read([record_of(n, r) for n, r in world.items() if r is not None])
    tracker.missed([number(n) for n, r in world.items() if r is None])


def record_of(n, record):
    return attrs.evolve(record, id=number(n))


def test_at_most_one_change_waits_for_each_phone():
    tracker = ChangeTracker(None, {})
    for round_ in range(1000):
        tracker.read([phone(n, nickname=str(round_)) for n in range(3)])

    assert len(told(tracker)) == 3


def test_many_changes_are_delivered_in_the_order_in_which_they_were_read():
    tracker = ChangeTracker(None, {})
    tracker.read([phone(n) for n in (3, 1, 2)])

    assert [change.phone_id.int for change in iter(tracker.deliver, None)] == [3, 1, 2]


# --- fewer requests


@pytest.mark.parametrize(
    ("pages", "total", "ids", "pays"),
    [
        (1, 3, 50, True),
        (1, 3, 2, False),
        (1, 3, 3, True),
        (2, 1, 3, True),
        (2, 1, 2, False),
        (2, None, 3, True),
        (2, None, 2, False),
        (1, None, 0, False),
        (1, 1, 0, False),
    ],
)
def test_pages_are_read_while_they_are_fewer_than_the_ids_left(pages, total, ids, pays):
    assert next_page_pays(pages, total, ids) is pays


def test_a_single_id_is_never_worth_a_page():
    assert not ListingCost().is_worth_a_page(1)
    assert ListingCost().is_worth_a_page(2)


def test_a_listing_that_did_not_pay_is_tried_again_later():
    cost = ListingCost()
    cost.learn(11)
    assert cost.is_worth_a_page(12)
    assert not cost.is_worth_a_page(11)
    cost.learn(None)

    tried = [cost.is_worth_a_page(1000) for _ in range(POLLS_UNTIL_LISTING_IS_TRIED)]

    assert not any(tried)
    assert cost.is_worth_a_page(1000)
