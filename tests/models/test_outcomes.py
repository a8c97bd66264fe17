"""`Found`, `Missing`, `Failed`, and the counters of a run."""

import copy
import pickle
from typing import Any, assert_never
from uuid import UUID

import attrs
import pytest
from fakes import PHONE_ID, phone_fields

from diga_async import (
    APIStatusError,
    ClientStats,
    Failed,
    Found,
    InvalidPhoneIdError,
    LookupStats,
    Missing,
    Outcome,
    Phone,
    PhoneBatch,
    RateLimitError,
)
from diga_async._models.outcomes import found

X = UUID(PHONE_ID)
PHONE = Phone.from_dict(phone_fields())
ERROR = RateLimitError(status=429, phone_id=X)
BATCH = PhoneBatch(
    phones={X: PHONE},
    missing=(UUID(int=1), UUID(int=2)),
    failures={UUID(int=3): ERROR, "nope": InvalidPhoneIdError("no")},
    unanswered=(UUID(int=4),),
)
OUTCOMES: list[Outcome] = [
    Found(X, PHONE, 1, 0.25),
    Missing(X, 2, 0.5),
    Failed(X, ERROR, 4, 1.5),
    Failed("nope", InvalidPhoneIdError("no"), 0, 0.0),
]
NUMBERS = dict.fromkeys((a.name for a in attrs.fields(LookupStats)), 1)
VALUES: list[Any] = [*OUTCOMES, BATCH, LookupStats(**NUMBERS)]


def name_of(outcome: Outcome) -> str:
    match outcome:
        case Found(phone=phone):
            return f"found {phone.number}"
        case Missing(phone_id=phone_id):
            return f"missing {phone_id}"
        case Failed(phone_id=phone_id, error=error):
            return f"failed {phone_id} {type(error).__name__}"
        case _:
            assert_never(outcome)


def test_a_match_over_outcomes_is_exhaustive() -> None:
    assert [name_of(outcome) for outcome in OUTCOMES] == [
        "found +34911234567",
        f"missing {X}",
        f"failed {X} RateLimitError",
        "failed nope InvalidPhoneIdError",
    ]
    assert all(isinstance(outcome, Outcome) for outcome in OUTCOMES)


def test_failures_of_the_same_facts_are_equal() -> None:
    other = RateLimitError(status=429, phone_id=X, retry_after=1.0)

    assert Failed(X, copy.copy(ERROR), 4, 1.5) == Failed(X, ERROR, 4, 1.5)
    assert len({Failed(X, copy.copy(ERROR), 4, 1.5), Failed(X, ERROR, 4, 1.5)}) == 1
    assert Failed(X, other, 4, 1.5) != Failed(X, ERROR, 4, 1.5)
    assert Failed(X, APIStatusError(status=429, phone_id=X), 4, 1.5) != Failed(
        X, ERROR, 4, 1.5
    )


def test_every_outcome_has_its_id_attempts_and_elapsed_time() -> None:
    facts = [(o.phone_id, o.attempts, o.elapsed) for o in OUTCOMES]

    assert facts == [(X, 1, 0.25), (X, 2, 0.5), (X, 4, 1.5), ("nope", 0, 0.0)]


def test_outcomes_compare_by_value() -> None:
    assert Found(X, PHONE, 1, 0.25) == OUTCOMES[0]
    assert Found(X, PHONE, 2, 0.25) != OUTCOMES[0]
    assert Missing(X, 2, 0.5) == OUTCOMES[1]
    assert len({*OUTCOMES, Missing(X, 2, 0.5)}) == 4


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_are_frozen_and_slotted(value: Any) -> None:
    for attribute in attrs.fields(type(value)):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, attribute.name, None)
    assert not hasattr(value, "__dict__")


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_pickle_and_copy(value: Any) -> None:
    for twin in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):
        assert type(twin) is type(value)
        assert repr(twin) == repr(value)
        for attribute in attrs.fields(type(value)):
            kept, before = (getattr(v, attribute.name) for v in (twin, value))
            # Errors are equal to themselves alone.
            assert repr(kept) == repr(before)


def test_the_repr_of_a_batch_counts_its_ids() -> None:
    assert repr(BATCH) == "PhoneBatch(phones=1, missing=2, failures=2, unanswered=1)"
    assert repr(PhoneBatch()) == (
        "PhoneBatch(phones=0, missing=0, failures=0, unanswered=0)"
    )


def test_a_batch_raises_every_failure_and_nothing_else() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        BATCH.raise_for_failures()

    assert caught.value.message == "2 lookups failed"
    assert list(caught.value.exceptions) == list(BATCH.failures.values())


def test_a_group_is_sorted_by_except_star() -> None:
    throttled: list[BaseException] = []
    rest: list[BaseException] = []
    try:
        BATCH.raise_for_failures()
    except* RateLimitError as group:
        throttled += group.exceptions
    except* ValueError as group:
        rest += group.exceptions

    assert throttled == [ERROR]
    assert [type(error) for error in rest] == [InvalidPhoneIdError]


def test_a_batch_without_failures_raises_nothing() -> None:
    """A missing phone is an answer, and an unanswered id is not a failure."""
    attrs.evolve(BATCH, failures={}).raise_for_failures()


def test_batches_and_numbers_are_keyword_only() -> None:
    for kind in (PhoneBatch, LookupStats, ClientStats):
        assert all(a.kw_only for a in attrs.fields(kind))


def test_stats_have_no_defaults() -> None:
    """Otherwise a new one would be zero wherever it is forgotten."""
    for kind in (LookupStats, ClientStats):
        assert all(a.default is attrs.NOTHING for a in attrs.fields(kind))


def test_a_batch_is_as_long_as_its_phones_and_iterates_over_them() -> None:
    phone = Phone.from_dict(phone_fields())
    batch = PhoneBatch(phones={phone.id: phone}, missing=(UUID(int=1),))

    assert (len(batch), list(batch)) == (1, [phone])


def test_a_run_makes_the_same_found_as_its_constructor() -> None:
    phone = Phone.from_dict(phone_fields())
    made, other = (
        make(phone.id, phone, 2, 0.5, "a request") for make in (found, Found)
    )

    assert type(made) is Found
    assert (made, repr(made), attrs.astuple(made, recurse=False)) == (
        other,
        repr(other),
        attrs.astuple(other, recurse=False),
    )
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        made.attempts = 3  # type: ignore[misc]
