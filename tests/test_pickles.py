"""Every public value and error pickles, and its pickle names the public path."""

import copy
import pickle
import re
from uuid import UUID

import attrs
import pytest
from strategies import PAYLOADS, payload

import diga_async
from diga_async import (
    APIStatusError,
    AttemptEvent,
    Change,
    DigaError,
    Failed,
    Found,
    Limits,
    LookupEvent,
    Missing,
    Phone,
    PhoneBatch,
    PhonePage,
    PhoneStatus,
    RetryPolicy,
    SipConfig,
    SipMediaEncryption,
    TelephonyProvider,
    Timeouts,
    ValidationDetail,
)

X = UUID(int=7)
PHONE = Phone.from_dict(payload("future"))
DETAIL = ValidationDetail(("path", 0), "not a UUID", "uuid_parsing")
STATS = {
    kind: kind(**{a.name: 1 for a in attrs.fields(kind)})
    for kind in (
        diga_async.ClientStats,
        diga_async.ListingStats,
        diga_async.LookupStats,
        diga_async.WatchStats,
    )
}


def error_of(kind: type[DigaError]) -> DigaError:
    facts = {"phone_id": X, "attempts": 2, "elapsed": 0.5}
    if issubclass(kind, APIStatusError):
        facts |= {"status": 418, "details": (DETAIL,), "request_id": "r"}
    return kind("a reason", **facts)


ERRORS = [
    error_of(thing)
    for thing in (getattr(diga_async, name) for name in diga_async.__all__)
    if isinstance(thing, type) and issubclass(thing, DigaError)
]
VALUES = [
    *ERRORS,
    *STATS.values(),
    *(Phone.from_dict(payload(version)) for version in PAYLOADS),
    AttemptEvent(
        phone_id=X, attempts=1, answer="found", status=200, waited=0.0, elapsed=0.1,
        rate=None,
    ),
    Change(X, None, PHONE, frozenset({"nickname", "status"})),
    DETAIL,
    Failed(X, ERRORS[0], 1, 0.1),
    Found(X, PHONE, 1, 0.1),
    Limits(),
    LookupEvent(phone_id=X, outcome="found", error=None, attempts=1, elapsed=0.1),
    Missing(X, 1, 0.1),
    PHONE.status,
    PhoneBatch(phones={X: PHONE}, failures={"x": ERRORS[0]}),
    PhonePage(phones=(PHONE,), cursor=X, has_more=True, total_pages=3),
    PhoneStatus("a status of tomorrow"),
    RetryPolicy(),
    SipConfig(),
    SipMediaEncryption.REQUIRE,
    TelephonyProvider.NETELIP,
    Timeouts(),
]  # fmt: skip


def names_in(pickled: bytes) -> set[bytes]:
    """Return the texts that look like modules of the library."""
    return set(re.findall(rb"diga_async[\w.]*", pickled))


def same(one: object, other: object) -> bool:
    if isinstance(one, DigaError):
        return type(one) is type(other) and vars(one) == vars(other)
    if isinstance(one, PhoneBatch):
        return repr(one) == repr(other)
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_a_pickle_names_the_public_path_alone(value: object, protocol: int) -> None:
    pickled = pickle.dumps(value, protocol)

    assert same(value, pickle.loads(pickled))
    assert names_in(pickled) == {b"diga_async"}


@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_a_copy_equals_its_original(value: object) -> None:
    assert same(value, copy.deepcopy(value))


def test_every_public_class_is_tried_or_lives() -> None:
    alive = {"DigaClient", "PhoneChanges", "PhoneListing", "PhoneLookups", "Phones"}
    classes = {
        n for n in diga_async.__all__ if isinstance(getattr(diga_async, n), type)
    }

    assert classes - alive == {type(v).__name__ for v in VALUES}


@pytest.mark.parametrize("name", diga_async.__all__)
def test_a_public_class_says_where_it_is_imported_from(name: str) -> None:
    thing = getattr(diga_async, name)

    assert not isinstance(thing, type) or thing.__module__ == "diga_async"
