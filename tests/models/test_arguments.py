"""Mistakes in a call are explained: by the name, the type and the remedy."""

import copy
import inspect
import pickle
from unittest.mock import create_autospec

import attrs
import pytest
from fakes import KEY, PHONE_ID

from diga_async import (
    ConfigurationError,
    DigaClient,
    InvalidPhoneIdError,
    Limits,
    Phones,
    RetryPolicy,
    Timeouts,
)
from diga_async._models.arguments import explains, not_one_of, not_this, similar
from diga_async._phones import habits

CALLS = ["get", "get_many", "iter_many", "list", "list_page", "wait_until", "watch"]


@pytest.fixture
def phones():
    """Give the phones of a client that never opens: nothing is sent."""
    return DigaClient(KEY).phones


def required(call):
    """Return the arguments that a call needs."""
    given = {"phone_id": PHONE_ID, "phone_ids": [PHONE_ID], "status": "assigned"}
    signature = inspect.signature(getattr(Phones, call))
    needed = [p for p in signature.parameters.values() if p.default is p.empty]
    return {p.name: given[p.name] for p in needed if p.name != "self"}


async def called(phones, call, **options):
    """Call with what is required and *options*; wait where that is needed."""
    result = getattr(phones, call)(**required(call), **options)
    if inspect.isawaitable(result):
        await result


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("habit", "remedy"),
    [
        ("retries", "DigaClient(retry=RetryPolicy(max_attempts=4))"),
        ("max_retries", "DigaClient(retry="),
        ("headers", "DigaClient(headers={...})"),
        ("timeouts_", "did you mean 'timeouts'?"),
        ("xyz", "timeouts"),
    ],
)
async def test_a_call_names_what_there_is_instead(phones, call, habit, remedy):
    with pytest.raises(TypeError) as caught:
        await called(phones, call, **{habit: 1})

    assert str(caught.value).startswith(f"{call}() has no {habit!r}: ")
    assert remedy in str(caught.value)


@pytest.mark.parametrize("call", [call for call in CALLS if call != "wait_until"])
async def test_a_timeout_is_answered_with_timeouts_or_asyncio(phones, call):
    with pytest.raises(
        TypeError, match=rf"^{call}\(\) has no 'timeout'.*asyncio.timeo"
    ):
        await called(phones, call, timeout=5)


@pytest.mark.parametrize(
    ("call", "habit", "remedy"),
    [
        ("get_many", "limit", "concurrency="),
        ("iter_many", "max_workers", "concurrency="),
        ("get_many", "return_exceptions", "Failed"),
        ("list", "limit", "page_size="),
        ("list", "cursor", "after="),
        ("list_page", "page", "after="),
        ("list", "agent_id", "inbound_agent_id="),
        ("wait_until", "interval", "every="),
        ("watch", "interval", "every="),
        ("watch", "status", "change.after.status"),
    ],
)
async def test_an_argument_of_another_library_is_answered_with_ours(
    phones, call, habit, remedy
):
    with pytest.raises(TypeError, match=f"has no '{habit}': ") as caught:
        await called(phones, call, **{habit: 1})

    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "habit", "remedy"),
    [
        (DigaClient, "token", "DIGA_API_KEY"),
        (DigaClient, "url", "DIGA_BASE_URL"),
        (DigaClient, "verify", "ssl="),
        (DigaClient, "concurrency", "Limits(concurrency=64)"),
        (DigaClient, "baseurl", "did you mean 'base_url'?"),
        (RetryPolicy, "attempts", "max_attempts=4"),
        (RetryPolicy, "backoff_factor", "base_delay="),
        (Limits, "max_connections", "concurrency=64"),
        (Limits, "rate", "per_second="),
        (Timeouts, "read", "attempt=10.0"),
        (Timeouts, "atempt", "did you mean 'attempt'?"),
    ],
)
def test_an_option_of_another_library_is_answered_with_ours(kind, habit, remedy):
    with pytest.raises(TypeError) as caught:
        kind(**{habit: "secret"})

    assert str(caught.value).startswith(f"{kind.__name__}() has no {habit!r}: ")
    assert remedy in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_subclass_of_the_client_has_arguments_of_its_own():
    class Tenant(DigaClient):
        def __init__(self, tenant, **options):
            super().__init__(KEY, **options)
            self.tenant = tenant

    assert Tenant(tenant="a", base_url="https://diga.example").tenant == "a"


def test_what_goes_by_name_is_not_taken_by_position(phones):
    with pytest.raises(TypeError, match=r"^list\(\) takes no argument by .*: status=,"):
        phones.list("assigned")
    with pytest.raises(TypeError, match=r"takes phone_id by position; .*: status=,"):
        phones.wait_until(PHONE_ID, "assigned")
    with pytest.raises(TypeError, match=r"^Limits\(\) takes no .*: concurrency=,"):
        Limits(10)
    with pytest.raises(TypeError, match="takes api_key by position"):
        DigaClient(KEY, "https://api.diga.io")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"timeouts": "5"},
            "timeouts must be a number of seconds or a Timeouts, not str",
        ),
        (
            {"timeouts": None},
            "timeouts must be a number of seconds or a Timeouts, not None",
        ),
        ({"timeouts": -1}, "timeouts must be a finite number above 0, not -1"),
        (
            {"limits": 10},
            "limits must be a Limits, not 10: pass limits=Limits(concurren",
        ),
        (
            {"retry": "3"},
            "retry must be a RetryPolicy, not str: pass retry=RetryPolicy(",
        ),
        (
            {"retry": None},
            "retry must be a RetryPolicy, not None: RetryPolicy(max_attempts=1) turns",
        ),
        (
            {"headers": {"AUTHORIZATION": "secret"}},
            "headers: AUTHORIZATION is set by the client itself; pass api_key=",
        ),
        (
            {"headers": {"X-Token: secret": ""}},
            "headers: a name has ':' after 'X-Token', which no header name has",
        ),
        (
            {"headers": {"\nsecret": ""}},
            r"headers: a name has '\n' at its beginning, which no header name has",
        ),
        ({"headers": {"": "secret"}}, "headers: a name is empty"),
        (
            {"headers": {"X" * 101: ""}},
            "headers: a name is longer than 100 characters",
        ),
        ({"headers": {b"X": "secret"}}, "headers: a name must be text, not bytes"),
        (
            {"ssl": False},
            "ssl must be an SSLContext, not False: pass ssl=, an ssl.SSLC",
        ),
        ({"session": "x"}, "session must be a ClientSession, not str"),
        ({"trust_env": "no"}, "trust_env must be True or False, not str"),
        ({"on_event": 5}, "on_event must be a plain function, not 5"),
        ({"headers": [1]}, "headers must be a mapping of names to text, not list"),
        ({"api_key": b"sk-secret"}, "the API key must be text, not bytes"),
    ],
    ids=repr,
)
def test_a_wrong_option_is_named_with_what_was_given(options, text):
    with pytest.raises(ConfigurationError) as caught:
        DigaClient(**{"api_key": KEY, **options})

    assert str(caught.value).startswith(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "options", "text"),
    [
        (
            "get_many",
            {"concurrency": "8"},
            "concurrency must be a whole number from 1 up, not str",
        ),
        (
            "get",
            {"timeouts": (1, 2)},
            "timeouts must be a number of seconds or a Timeouts, not tuple",
        ),
        ("iter_many", {"ordered": "no"}, "ordered must be True or False, not str"),
        ("iter_many", {"via": True}, "via must be 'each', 'list' or 'auto', not True"),
        (
            "list",
            {"page_size": 101},
            "page_size must be a whole number from 1 to 100, not 101",
        ),
        ("list", {"order": "up"}, "order must be 'asc' or 'desc', not 'up'"),
        (
            "list",
            {"order": "ASC"},
            "order must be 'asc' or 'desc', not 'ASC': did you mean 'asc'?",
        ),
        (
            "list_page",
            {"order": "descending"},
            "order must be 'asc' or 'desc', not 'descending': did you mean 'desc'?",
        ),
        ("list", {"order": None}, "order must be 'asc' or 'desc', not None"),
        (
            "get_many",
            {"via": "lists"},
            "via must be 'each', 'list' or 'auto', not 'lists': did you mean 'list'?",
        ),
        (
            "list",
            {"outbound_agent_id": "x\n"},
            r"outbound_agent_id must be a UUID, not 'x\n'",
        ),
        (
            "list",
            {"status": ["assigned"]},
            "status must be a PhoneStatus or text, not list",
        ),
        ("list", {"inbound_agent_id": 7}, "inbound_agent_id must be a UUID, not 7"),
        (
            "wait_until",
            {"every": "30"},
            "every must be a finite number above 0, not str",
        ),
        (
            "watch",
            {"baseline": [1]},
            "baseline must be a mapping of ids to phones, not list",
        ),
        (
            "watch",
            {"baseline": {PHONE_ID: {}}},
            "baseline must have a Phone or None under each id, not dict",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "(" not in value else None,
)
async def test_a_wrong_argument_is_named_with_what_was_given(
    phones, call, options, text
):
    with pytest.raises(ConfigurationError) as caught:
        await called(phones, call, **options)

    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (None, "not None"),
        (5, "not 5"),
        (b"x", "not bytes"),
        ([PHONE_ID], "not list: get_many() and iter_many() take several"),
        ({"id": PHONE_ID}, "not dict: pass the id that it holds"),
        ("", "not a text of 0 characters"),
    ],
)
async def test_what_is_not_an_id_is_named_with_the_remedy(phones, given, text):
    with pytest.raises(InvalidPhoneIdError) as caught:
        await phones.get(given)

    assert str(caught.value).endswith(text)


def test_a_cursor_that_is_not_an_id_is_named(phones):
    with pytest.raises(InvalidPhoneIdError, match=r"^after: a phone id is a UUID"):
        phones.list(after="x")


@pytest.mark.parametrize("call", ["get_many", "iter_many", "watch"])
@pytest.mark.parametrize("given", [PHONE_ID, 5, len])
async def test_what_is_not_a_source_of_ids_is_named(phones, call, given):
    with pytest.raises(TypeError, match=r"^phone_ids must be an iterable of ids"):
        await getattr(phones, call)(given)


@pytest.mark.parametrize("call", CALLS)
def test_the_signature_is_that_of_the_call(call):
    """For editors, for documentation, and for mocks."""
    parameters = inspect.signature(getattr(Phones, call)).parameters.values()

    kinds = {parameter.kind.name for parameter in parameters}
    assert kinds <= {"POSITIONAL_OR_KEYWORD", "KEYWORD_ONLY"}


@pytest.mark.parametrize("call", ["get", "get_many"])
async def test_a_mock_of_the_phones_is_awaited_where_the_phones_are(call):
    mock = create_autospec(Phones, instance=True)
    method = getattr(mock, call)
    method.return_value = 5

    assert inspect.iscoroutinefunction(getattr(Phones, call))
    assert await method(**required(call)) == 5
    with pytest.raises(TypeError):
        method(**required(call), xyz=1)


@pytest.mark.parametrize(
    "options", [Limits(per_second=5.0), RetryPolicy(), Timeouts(5)]
)
def test_options_are_still_plain_values(options):
    changes = {attrs.fields(type(options))[0].name: 7}

    assert pickle.loads(pickle.dumps(options)) == options == copy.deepcopy(options)
    assert attrs.evolve(options, **changes) == attrs.evolve(options, **changes)


def test_a_number_is_shown_and_a_text_never():
    assert not_this(float("nan")) == "not nan"
    assert not_this(float("inf")) == "not inf"
    assert not_this(10**20) == not_this(0).replace("0", "int") == "not int"
    assert not_this("sk-1") == "not str"


def test_a_choice_is_shown_and_a_long_one_cut():
    assert not_one_of("x" * 36) == f"not {'x' * 36!r}"
    assert not_one_of("x" * 37) == f"not {'x' * 36 + '...'!r}"
    assert not_one_of(None) == "not None"


@pytest.mark.parametrize("off", [False, 0])
def test_a_retry_that_is_off_is_answered_with_how_to_turn_it_off(off):
    with pytest.raises(TypeError, match=r"RetryPolicy\(max_attempts=1\) turns retries"):
        DigaClient(KEY, retry=off)


def test_a_name_that_is_far_from_all_others_is_not_guessed():
    assert similar("colour", ["status", "order"]) is None


def test_an_error_of_the_function_itself_is_not_explained():
    @explains({})
    def fail(_self, value):
        raise TypeError(value)

    with pytest.raises(TypeError, match=r"^mine$"):
        fail(None, "mine")


@pytest.mark.parametrize(
    ("call", "hints"),
    [
        ("get", habits.ONE),
        ("get_many", habits.MANY),
        ("iter_many", habits.MANY),
        ("list", habits.LISTING),
        ("wait_until", habits.WAITING),
        ("watch", habits.WATCHING),
    ],
)
def test_a_habit_that_has_become_an_argument_is_none(call, hints):
    names = set(inspect.signature(getattr(Phones, call)).parameters)

    assert names.isdisjoint(hints)
