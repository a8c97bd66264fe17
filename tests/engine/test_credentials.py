"""The key: requested when needed, as rarely as possible, and within the deadline."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from byte_server import ByteServer, Wire, answer, answers, on_time, phone, until
from fakes import PHONE_ID, FakeClock

from diga_async import (
    APITimeoutError,
    AuthenticationError,
    ConfigurationError,
    DigaClient,
    DigaError,
    Limits,
    RetryPolicy,
    Timeouts,
)
from diga_async._api.messages import Secret, conceal
from diga_async._engine.credentials import KeyRequests, key_opener

OTHER_ID = "00000000-0000-4000-8000-000000000001"
NO_KEYS = [None, "", " ", "sk 1", "sk-1\n", "sk-\xe9", b"sk-1", 1, "x" * 4097]


class Vault:
    """Hands out keys by number, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        return f"sk-number-{self.asked}"

    async def slowly(self) -> str:
        for _ in range(5):
            await asyncio.sleep(0)
        return self()


class Doors:
    """A server that accepts certain keys."""

    def __init__(self, *valid: str) -> None:
        self.valid = {f"Bearer {key}" for key in valid}
        self.seen: list[str] = []

    async def __call__(self, wire: Wire) -> None:
        lines = wire.requests[-1].decode().split("\r\n")
        (key,) = (line[15:] for line in lines if line.startswith("Authorization: "))
        self.seen.append(key.removeprefix("Bearer "))
        right = phone(wire.asked_for)
        await wire.send(right if key in self.valid else answer({}, "401 Who?"))


def client(server: ByteServer, key: Any, **options: Any) -> DigaClient:
    given = {"limits": Limits(adaptive=False), "retry": RetryPolicy(base_delay=0.001)}
    return DigaClient(key, base_url=server.url, **{**given, **options})


# --- a key is a key


@pytest.mark.parametrize("key", NO_KEYS[1:])
def test_an_invalid_key_makes_no_credentials(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="the API key "):
        key_opener(key)


@pytest.mark.parametrize("key", ["k", "sk-1", "!~", "ey.J0/+=_-", "x" * 4096])
async def test_any_printable_text_without_blanks_is_a_key(key: str) -> None:
    held = key_opener(key)().held

    assert isinstance(held, Secret)
    assert held == f"Bearer {key}"


async def test_a_plain_key_is_never_renewed() -> None:
    credentials = key_opener("sk-1")()
    requests = KeyRequests(credentials, FakeClock(), random.random, print)
    secret = await requests.wait(None, seconds=1.0, limit=1.0)

    assert secret is credentials.held
    assert not credentials.is_renewable
    assert await requests.wait(secret, seconds=1.0, limit=1.0) is secret


def test_the_repr_of_a_secret_is_masked() -> None:
    secret = Secret("Bearer sk-1")

    assert "sk-1" not in f"{secret!r} {[secret]} { ({'Authorization': secret}) }"
    assert repr(conceal("sk-1")) == "'***'"
    assert conceal(b"sk-1") == ""
    assert conceal(None) is None


# --- a callable is asked


@pytest.fixture(params=["plain", "async"])
def ask(request: pytest.FixtureRequest) -> tuple[Vault, Callable[[], Any]]:
    vault = Vault()
    return vault, vault if request.param == "plain" else vault.slowly


Ask = tuple[Vault, Callable[[], str | Awaitable[str]]]


async def test_a_callable_is_asked_on_first_use_and_once(ask: Ask) -> None:
    vault, source = ask
    async with ByteServer(answers) as server, client(server, source) as diga:
        assert vault.asked == 0
        await asyncio.gather(*(diga.phones.get(uuid4()) for _ in range(20)))
        await diga.phones.get_many([uuid4() for _ in range(20)])

    assert vault.asked == 1


async def test_a_refused_key_is_renewed_once(ask: Ask) -> None:
    vault, source = ask
    doors = Doors("sk-number-2")
    async with ByteServer(doors) as server, client(server, source) as diga:
        await diga.phones.get(PHONE_ID)
        await diga.phones.get(PHONE_ID)

    assert doors.seen == ["sk-number-1", "sk-number-2", "sk-number-2"]
    assert vault.asked == 2


async def test_a_second_refused_key_ends_the_lookup(ask: Ask) -> None:
    vault, source = ask
    doors = Doors("sk-number-3")
    async with ByteServer(doors) as server, client(server, source) as diga:
        with pytest.raises(AuthenticationError) as caught:
            await diga.phones.get(PHONE_ID)

    assert len(doors.seen) == vault.asked == 2
    assert caught.value.attempts == 1  # the first 401 led to another key


async def test_the_same_key_is_not_sent_twice() -> None:
    doors = Doors()
    async with ByteServer(doors) as server, client(server, lambda: "sk-0") as diga:
        with pytest.raises(AuthenticationError) as caught:
            await diga.phones.get(PHONE_ID)

    assert caught.value.attempts == len(doors.seen) == 1


async def test_a_plain_key_that_is_refused_is_sent_once() -> None:
    doors = Doors()
    async with ByteServer(doors) as server, client(server, "sk-0") as diga:
        with pytest.raises(AuthenticationError):
            await diga.phones.get(PHONE_ID)

    assert len(doors.seen) == 1


async def test_no_key_is_requested_without_an_attempt_left() -> None:
    vault, doors, once = Vault(), Doors("sk-number-2"), RetryPolicy(max_attempts=1)
    async with ByteServer(doors) as server, client(server, vault, retry=once) as diga:
        with pytest.raises(AuthenticationError):
            await diga.phones.get(PHONE_ID)

    assert len(doors.seen) == vault.asked == 1


async def test_calls_refused_together_request_one_key(ask: Ask) -> None:
    vault, source = ask
    doors = Doors("sk-number-2")
    async with ByteServer(doors) as server, client(server, source) as diga:
        await asyncio.gather(*(diga.phones.get(uuid4()) for _ in range(20)))

    assert vault.asked == 2


async def test_a_run_goes_on_with_another_key(ask: Ask) -> None:
    vault, source = ask
    doors = Doors("sk-number-1")
    ids = [uuid4() for _ in range(60)]
    async with ByteServer(doors) as server, client(server, source) as diga:
        found = 0
        async with diga.phones.iter_many(ids, concurrency=8) as lookups:
            async for _ in lookups:
                found += 1
                if found == 20:
                    doors.valid = {"Bearer sk-number-2"}

    assert (found, vault.asked) == (60, 2)


async def test_a_late_refusal_requests_no_key() -> None:
    """From a request that was sent with the previous key."""
    vault = Vault()
    credentials = key_opener(vault)()
    requests = KeyRequests(credentials, FakeClock(), random.random, print)
    first = await requests.wait(None, seconds=1.0, limit=1.0)
    for _ in range(2):
        key = await requests.wait(first, seconds=1.0, limit=1.0)
        assert key == "Bearer sk-number-2"

    assert vault.asked == 2


def test_another_loop_requests_the_key_again() -> None:
    vault, doors = Vault(), Doors("sk-number-1", "sk-number-2")

    async def main() -> None:
        async with ByteServer(doors) as server, client(server, vault) as diga:
            await diga.phones.get(PHONE_ID)

    asyncio.run(main())
    asyncio.run(main())

    assert doors.seen == ["sk-number-1", "sk-number-2"]


# --- a callable may fail


@pytest.mark.parametrize("key", NO_KEYS)
async def test_a_callable_without_a_key_fails_before_anything_is_sent(
    key: Any,
) -> None:
    async with ByteServer(answers) as server, client(server, lambda: key) as diga:
        with pytest.raises(ConfigurationError, match="the API key "):
            await diga.phones.get(PHONE_ID)
        with pytest.raises(ConfigurationError, match="the API key ") as caught:
            await diga.phones.get_many([PHONE_ID])

        assert [str(i) for i in caught.value.partial.unanswered] == [PHONE_ID]
        assert server.wires == []


class VaultError(Exception):
    """An exception of the caller's own code."""


async def test_an_exception_of_the_callable_is_unchanged() -> None:
    """And the next lookup asks again."""
    sealed = iter([True, False])

    async def source() -> str:
        await asyncio.sleep(0)
        if next(sealed):
            raise VaultError("sealed")
        return "sk-1"

    async with ByteServer(answers) as server, client(server, source) as diga:
        with pytest.raises(VaultError, match="sealed"):
            await diga.phones.get(PHONE_ID)

        await diga.phones.get(PHONE_ID)
        assert server.attempts == 1


async def test_a_hanging_callable_is_awaited_until_the_deadline() -> None:
    async def source() -> str:
        await asyncio.Event().wait()
        return "sk-1"

    async with ByteServer(answers) as server, client(server, source) as diga:
        with on_time(0.1), pytest.raises(APITimeoutError) as caught:
            await diga.phones.get(PHONE_ID, timeouts=0.1)

        assert (caught.value.phase, caught.value.attempts) == ("wait", 0)
        assert server.wires == []


async def test_a_renewed_key_is_awaited_until_the_deadline() -> None:
    """The last error says the most."""
    asked: list[None] = []

    async def source() -> str:
        asked.append(None)
        if len(asked) > 1:
            await asyncio.Event().wait()
        return "sk-1"

    async with ByteServer(Doors()) as server, client(server, source) as diga:
        with on_time(0.1), pytest.raises(AuthenticationError):
            await diga.phones.get(PHONE_ID, timeouts=Timeouts(0.1))


async def test_a_timeout_of_the_callable_is_unchanged() -> None:
    """A vault that does not answer must not look like a slow Diga."""

    async def source() -> str:
        raise TimeoutError("the vault")

    async with ByteServer(answers) as server, client(server, source) as diga:
        with pytest.raises(TimeoutError, match="the vault"):
            await diga.phones.get(PHONE_ID)


async def test_cancelling_the_call_that_asks_first_disturbs_no_other() -> None:
    vault, sealed = Vault(), asyncio.Event()

    async def source() -> str:
        key = vault()
        await sealed.wait()
        return key

    async with ByteServer(answers) as server, client(server, source) as diga:
        first = asyncio.ensure_future(diga.phones.get(PHONE_ID))
        await until(lambda: vault.asked == 1)
        second = asyncio.ensure_future(diga.phones.get(OTHER_ID))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        sealed.set()

        assert str((await second).id) == OTHER_ID
        assert vault.asked == 1


async def test_the_repr_of_credentials_hides_the_key() -> None:
    credentials = key_opener("sk-fa17ed")()

    assert "sk-fa17ed" not in f"{credentials!r} {vars(credentials)}"


async def test_a_refused_key_is_forgotten_without_retries() -> None:
    """Otherwise a rotated key would always be refused where one attempt is allowed."""
    once = RetryPolicy(max_attempts=1)
    async with (
        ByteServer(Doors("sk-number-2")) as server,
        client(server, Vault(), retry=once) as diga,
    ):
        with pytest.raises(AuthenticationError):
            await diga.phones.get(PHONE_ID)

        assert str((await diga.phones.get(PHONE_ID)).id) == PHONE_ID


@pytest.mark.parametrize("key", ["never asked", "refused"])
async def test_a_follower_with_more_time_extends_the_wait_for_a_key(key: str) -> None:
    """The first caller's time is over while the callable still runs."""
    answering = asyncio.Event()
    asked = 0

    async def vault() -> str:
        nonlocal asked
        asked += 1
        if key == "refused" and asked == 1:
            return "sk-old"
        await answering.wait()
        return "sk-new"

    async with ByteServer(Doors("sk-new")) as server, client(server, vault) as diga:
        first = asyncio.ensure_future(diga.phones.get(PHONE_ID, timeouts=0.1))
        second = asyncio.ensure_future(diga.phones.get(PHONE_ID, timeouts=30.0))
        with pytest.raises(DigaError):
            await first
        answering.set()

        assert str((await second).id) == PHONE_ID
    assert asked == 1 + (key == "refused")
