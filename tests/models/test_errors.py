"""Errors: how callers catch, keep and pickle them."""

import copy
import gc
import pickle
import weakref
from typing import Any
from uuid import UUID

import attrs
import pytest
from hypothesis import given, strategies as st

import diga_async
from diga_async import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    DigaError,
    InternalServerError,
    InvalidPhoneIdError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    PhoneBatch,
    RateLimitError,
    UnprocessableEntityError,
    ValidationDetail,
    WaitError,
    WaitTimeoutError,
    WrongLoopError,
)
from diga_async._models.errors import MAX_FACTS, MAX_TEXT_BYTES, shorten

PHONE_ID = UUID("3c90c3cc-0d44-4b50-8888-8dd25736052a")
MAX_PICKLED = 2048

# class: (its parents, whether it is transient)
FAMILY: dict[type[DigaError], tuple[tuple[type, ...], bool]] = {
    DigaError: ((Exception,), False),
    ConfigurationError: ((DigaError, ValueError), False),
    WaitError: ((DigaError,), False),
    WaitTimeoutError: ((WaitError, TimeoutError), True),
    InvalidPhoneIdError: ((DigaError, ValueError), False),
    ClientClosedError: ((DigaError, RuntimeError), False),
    WrongLoopError: ((DigaError, RuntimeError), False),
    APIConnectionError: ((DigaError,), True),
    APITimeoutError: ((APIConnectionError, TimeoutError), True),
    APIStatusError: ((DigaError,), False),
    AuthenticationError: ((APIStatusError,), False),
    PermissionDeniedError: ((APIStatusError,), False),
    NotFoundError: ((APIStatusError,), False),
    UnprocessableEntityError: ((APIStatusError,), False),
    RateLimitError: ((APIStatusError,), False),
    InternalServerError: ((APIStatusError,), False),
    InvalidResponseError: ((DigaError,), False),
}
DETAILS = (
    ValidationDetail(("path", "phone_id"), "not a UUID", "uuid_parsing"),
    ValidationDetail((), "", ""),
)
FACTS: list[DigaError] = [
    DigaError("it broke", phone_id=PHONE_ID, attempts=4, elapsed=1.5),
    ConfigurationError("no key"),
    WaitError("finished", phone_id=PHONE_ID),
    WaitTimeoutError("late", phone_id=PHONE_ID),
    InvalidPhoneIdError("no id"),
    ClientClosedError("closed", phone_id=PHONE_ID, attempts=0, elapsed=0.0),
    WrongLoopError("another loop"),
    APIConnectionError("refused", phase="connect"),
    APITimeoutError("late", phase="wait", phone_id=PHONE_ID),
    APIStatusError("", status=418, error_code="TEAPOT", message="short and stout"),
    AuthenticationError(status=401, request_id="r-1"),
    PermissionDeniedError(status=403, error_code="INTERNAL_SERVER_ERROR"),
    NotFoundError(status=404, message="Not Found", attempts=1),
    UnprocessableEntityError(status=422, details=DETAILS),
    RateLimitError(status=429, retry_after=3600.0),
    InternalServerError("budget spent", status=503, retry_after=0.0, elapsed=2.25),
    InvalidResponseError(
        "not a Phone", status=200, problems=("$.id: missing",), foreign=True
    ),
    InvalidResponseError("cut", undecodable=True),
]
each_error = pytest.mark.parametrize("error", FACTS, ids=repr)


def facts_of(error: DigaError) -> dict[str, Any]:
    return {a.name: getattr(error, a.name) for a in attrs.fields(type(error))}


def test_every_public_error_has_a_sample_here() -> None:
    names = {name for name in diga_async.__all__ if name.endswith("Error")}

    assert {kind.__name__ for kind in FAMILY} == names
    assert {type(error) for error in FACTS} == set(FAMILY)


@pytest.mark.parametrize("kind", FAMILY)
def test_errors_inherit_what_a_user_would_catch(kind: type[DigaError]) -> None:
    parents, transient = FAMILY[kind]

    assert kind.__bases__ == parents
    assert kind().transient is transient


@each_error
def test_errors_are_raised_and_caught_as_themselves(error: DigaError) -> None:
    with pytest.raises(type(error)) as caught:
        raise error
    assert caught.value is error


def test_an_error_outside_a_lookup_has_no_lookup_facts() -> None:
    error = DigaError("no")

    assert (error.phone_id, error.attempts, error.elapsed) == (None, None, None)
    assert error.partial is None


# --- pickling and copying


@each_error
def test_every_error_pickles_with_all_its_facts(error: DigaError) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        twin = pickle.loads(pickle.dumps(error, protocol))

        assert type(twin) is type(error)
        assert facts_of(twin) == facts_of(error)
        assert (str(twin), repr(twin)) == (str(error), repr(error))


@each_error
@pytest.mark.parametrize("twin_of", [copy.copy, copy.deepcopy])
def test_every_error_copies_with_all_its_facts(error: DigaError, twin_of: Any) -> None:
    twin = twin_of(error)

    assert twin is not error
    assert type(twin) is type(error)
    assert facts_of(twin) == facts_of(error)
    assert twin.args == error.args


@each_error
def test_notes_are_kept(error: DigaError) -> None:
    noted = copy.deepcopy(error)
    noted.add_note("while billing")

    assert copy.copy(noted).__notes__ == ["while billing"]
    assert copy.deepcopy(noted).__notes__ == ["while billing"]
    assert pickle.loads(pickle.dumps(noted)).__notes__ == ["while billing"]
    assert not hasattr(error, "__notes__")


@each_error
def test_pickling_and_copying_drop_partial(
    error: DigaError,
) -> None:
    """It may hold a million phones."""
    ended = copy.copy(error)
    ended.partial = PhoneBatch(missing=(PHONE_ID,))

    for twin in (
        copy.copy(ended),
        copy.deepcopy(ended),
        pickle.loads(pickle.dumps(ended)),
    ):
        assert twin.partial is None
    assert ended.partial == PhoneBatch(missing=(PHONE_ID,))


@each_error
def test_pickling_and_copying_drop_traceback_and_cause(error: DigaError) -> None:
    class Live:
        pass

    def fail() -> None:
        live = Live()
        alive.append(weakref.ref(live))
        try:
            alive.index(live)
        except ValueError as cause:
            raise copy.copy(error) from cause

    alive: list[Any] = []
    twins: list[DigaError] = []
    try:
        fail()
    except DigaError as raised:
        twins += [copy.copy(raised), copy.deepcopy(raised)]
        twins.append(pickle.loads(pickle.dumps(raised)))
    gc.collect()

    assert alive[0]() is None
    for twin in twins:
        assert (twin.__traceback__, twin.__cause__) == (None, None)
        assert twin.__context__ is None


def test_a_users_subclass_pickles_and_copies() -> None:
    twin = pickle.loads(pickle.dumps(OwnError("no", attempts=2)))

    assert (type(twin), twin.reason, twin.attempts) == (OwnError, "no", 2)


class OwnError(APIStatusError):
    pass


# --- size

HOSTILE = st.text(max_size=300) | st.sampled_from(
    ["x", "é", "☎", "📞", "\ud800", "\x00", "\U000e0001"]
).map(lambda character: character * 300)
# A location arrives cleaned and cut.
STEPS = st.lists(
    st.text(max_size=100)
    | st.sampled_from(["x" * 100, "📞" * 100])
    | st.integers(-(10**100), 10**100),
    max_size=8,
).map(tuple)


@given(text=HOSTILE)
def test_shortened_text_is_short_and_unicode(text: str) -> None:
    short = shorten(text)

    assert len(short.encode()) <= MAX_TEXT_BYTES


@pytest.mark.parametrize(
    "text",
    [
        "a" * 101,
        "é" * 101,
        "\ud800" * 101,
    ],
)
def test_text_is_cut_at_a_hundred_characters(text: str) -> None:
    assert len(shorten(text)) == 100


@pytest.mark.parametrize("text", ["", "a", "a" * 100, "é" * 100])
def test_text_of_a_hundred_characters_is_kept(text: str) -> None:
    assert shorten(text) == text


@given(
    reason=HOSTILE,
    code=HOSTILE,
    message=HOSTILE,
    request_id=HOSTILE,
    details=st.lists(st.builds(ValidationDetail, STEPS, HOSTILE, HOSTILE), max_size=12),
)
def test_a_status_error_stays_small_for_any_response(
    reason: str,
    code: str,
    message: str,
    request_id: str,
    details: list[ValidationDetail],
) -> None:
    error = UnprocessableEntityError(
        reason,
        status=422,
        error_code=code,
        message=message,
        details=details,
        request_id=request_id,
        retry_after=1e7,
        phone_id=PHONE_ID,
        attempts=1000,
        elapsed=1.0 / 3,
    )

    assert len(pickle.dumps(error)) < MAX_PICKLED
    assert len(error.details) <= MAX_FACTS
    assert isinstance(str(error).encode(), bytes)


@given(reason=HOSTILE, problems=st.lists(HOSTILE, max_size=12))
def test_an_invalid_response_error_stays_small(
    reason: str, problems: list[str]
) -> None:
    error = InvalidResponseError(
        reason,
        status=200,
        problems=tuple(problems),
        phone_id=PHONE_ID,
        attempts=1000,
        elapsed=1.0 / 3,
    )

    assert len(pickle.dumps(error)) < MAX_PICKLED
    assert len(error.problems) <= MAX_FACTS
    assert isinstance(str(error).encode(), bytes)


def test_the_first_eight_facts_are_kept() -> None:
    problems = tuple(f"$.field_{n}: missing" for n in range(100))
    details = tuple(ValidationDetail((n,), "no", "no") for n in range(100))

    assert InvalidResponseError(problems=problems).problems == problems[:8]
    assert APIStatusError(details=details).details == details[:8]


def test_eight_ordinary_details_fit() -> None:
    """As FastAPI words them."""
    details = tuple(
        ValidationDetail(
            ("path", "phone_id"),
            "Input should be a valid UUID, invalid length: expected length 32",
            "uuid_parsing",
        )
        for _ in range(8)
    )
    error = UnprocessableEntityError(status=422, details=details)

    assert len(pickle.dumps(error)) < MAX_PICKLED
    assert error.details == details


@pytest.mark.parametrize("character", ["x", "é"])
def test_eight_problems_of_full_length_fit(character: str) -> None:
    problems = tuple(f"{n}{character * 300}" for n in range(20))
    error = InvalidResponseError(
        "not a Phone", status=200, problems=problems, phone_id=PHONE_ID
    )

    assert error.problems == tuple(problem[:100] for problem in problems[:8])
    assert len(pickle.dumps(error)) < MAX_PICKLED


def test_eight_details_fit_beside_every_other_fact() -> None:
    details = tuple(
        ValidationDetail(("path", "phone_id"), f"{n}{'x' * 300}", "uuid_parsing")
        for n in range(20)
    )
    error = UnprocessableEntityError(
        status=422,
        error_code="c" * 300,
        message="m" * 300,
        details=details,
        request_id="r" * 300,
        retry_after=1e7,
        phone_id=PHONE_ID,
        attempts=1000,
        elapsed=1.0 / 3,
    )

    assert error.details == details[:8]
    assert len(pickle.dumps(error)) < MAX_PICKLED


def test_some_of_many_long_details_are_kept() -> None:
    loc = ("body", *("campo-de-ejemplo-número-" + str(n) * 60 for n in range(7)))
    error = UnprocessableEntityError(
        status=422, details=(ValidationDetail(loc, "é" * 100, "é" * 100),)
    )

    assert len(pickle.dumps(error)) < MAX_PICKLED
    assert error.details


def test_a_reason_is_shortened() -> None:
    assert len(pickle.dumps(InvalidPhoneIdError("x" * 5000))) < MAX_PICKLED


def test_an_error_without_traceback_is_small() -> None:
    errors = [InvalidResponseError("cut", undecodable=True) for _ in range(1000)]

    assert len(pickle.dumps(errors)) < 1000 * MAX_PICKLED


# --- text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DigaError(), ""),
        (DigaError("it broke"), "it broke"),
        (APIStatusError(status=418), "418"),
        (
            NotFoundError(status=404, error_code="PHONE_NOT_FOUND", message="no"),
            "404: PHONE_NOT_FOUND: no",
        ),
        (
            UnprocessableEntityError(status=422, details=DETAILS[:1] * 2),
            "422: path.phone_id: not a UUID; path.phone_id: not a UUID",
        ),
        (
            UnprocessableEntityError(status=422, message="no", details=DETAILS),
            "422: no",
        ),
        (InternalServerError("tired", status=503), "503: tired"),
        (InvalidResponseError("not a Phone"), "not a Phone"),
        (
            InvalidResponseError("not a Phone", problems=("$.id: missing", "$.a: b")),
            "not a Phone: $.id: missing; $.a: b",
        ),
    ],
)
def test_the_text_of_an_error_states_what_happened(error: DigaError, text: str) -> None:
    assert str(error) == text
    assert repr(error) == f"{type(error).__name__}({text!r})"


def test_the_text_of_a_detail_names_place_and_problem() -> None:
    assert str(DETAILS[0]) == "path.phone_id: not a UUID"
    assert DETAILS[0] == ValidationDetail(
        ("path", "phone_id"), "not a UUID", "uuid_parsing"
    )


# --- transient errors


@pytest.mark.parametrize(
    ("status", "transient"),
    [
        *((s, False) for s in (0, 99, 301, 400, 401, 403, 404, 405, 410, 422, 499)),
        *((s, True) for s in (408, 425, 429, 500, 502, 503, 504, 520, 599)),
        *((s, False) for s in (600, 999)),
    ],
)
def test_transient_statuses_are_few(status: int, *, transient: bool) -> None:
    assert APIStatusError(status=status).transient is transient


@pytest.mark.parametrize(
    ("phase", "transient"),
    [("dns", True), ("connect", True), ("tls", False), ("read", True), ("wait", True)],
)
def test_a_refused_handshake_is_not_transient(phase: Any, *, transient: bool) -> None:
    assert APIConnectionError(phase=phase).transient is transient
    assert APITimeoutError(phase=phase).transient is transient


@pytest.mark.parametrize(
    ("facts", "transient"),
    [({}, False), ({"undecodable": True}, True), ({"foreign": True}, True)],
)
def test_only_undecodable_and_foreign_responses_are_transient(
    facts: dict[str, bool], *, transient: bool
) -> None:
    assert InvalidResponseError(**facts).transient is transient  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InternalServerError(status=503), "503"),
        (
            InternalServerError(status=503, phone_id=UUID(int=7), attempts=4),
            f"503 (phone {UUID(int=7)}, 4 attempts)",
        ),
        (
            NotFoundError(f"no {UUID(int=7)}", phone_id=UUID(int=7), attempts=1),
            f"0: no {UUID(int=7)} (1 attempt)",
        ),
        (
            RateLimitError(status=429, phone_id=UUID(int=7), attempts=0),
            f"429 (phone {UUID(int=7)})",
        ),
    ],
    ids=["no lookup", "attempts", "named already", "throttled"],
)
def test_the_text_of_an_error_names_the_phone_and_the_attempts(
    error: DigaError, text: str
) -> None:
    assert str(error) == text
    assert error.describe() == text.partition(" (")[0]
