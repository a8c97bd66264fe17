"""
A user's program, for type checkers: it is checked, and never run.

What must be accepted stands here plainly. What must be rejected has an ``ignore``,
which the checkers call unused as soon as they accept it.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, assert_never, assert_type
from uuid import UUID

import aiohttp

from diga_async import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    Change,
    ClientStats,
    DigaClient,
    DigaError,
    Failed,
    Found,
    InvalidResponseError,
    Limits,
    ListingStats,
    LookupStats,
    Missing,
    Outcome,
    Phone,
    PhoneBatch,
    PhoneChanges,
    PhoneListing,
    PhoneLookups,
    PhonePage,
    PhoneStatus,
    RateLimitError,
    RetryPolicy,
    SipConfig,
    TelephonyProvider,
    Timeouts,
    UnprocessableEntityError,
    ValidationDetail,
    WaitError,
    WatchStats,
)
from diga_async.sandbox import Faults, Sandbox, SeenRequest

Phase = Literal["dns", "connect", "tls", "read", "wait"]


def describe(outcome: Outcome) -> str:
    match outcome:
        case Found(phone=phone):
            assert_type(phone, Phone)
            assert_type(outcome.phone_id, UUID)
            return phone.number
        case Missing(phone_id=phone_id):
            assert_type(phone_id, UUID)
            return f"{phone_id} is missing"
        case Failed(phone_id=given, error=error):
            assert_type(given, UUID | str)
            assert_type(error, DigaError)
            return f"{given}: {error}"
        case _:
            assert_never(outcome)


def forget_one(outcome: Outcome) -> str:
    match outcome:
        case Found():
            return "found"
        case Missing():
            return "missing"
        case _:
            assert_never(outcome)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def change_what_is_frozen(phone: Phone, outcome: Found, stats: ClientStats) -> None:
    phone.number = "+34910000000"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    outcome.attempts = 0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    stats.requests = 0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    Timeouts().total = 1.0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    phone.extra["country_code"] = "ES"  # type: ignore[index]  # pyright: ignore[reportIndexIssue]


def make_what_cannot_be(client: DigaClient) -> None:
    DigaClient(42)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    DigaClient("sk-1", "https://api.diga.io")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Phone(UUID(int=0), "+34910000000")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.phones.get(UUID(int=0), timeout=5)  # type: ignore[call-arg, unused-coroutine]  # pyright: ignore[reportCallIssue]
    client.phones.list("assigned")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    list(client.phones.list())  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    client.phones.iter_many([])[0]  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    client.phones.iter_many([1, 2])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


def read_a_phone(phone: Phone) -> None:
    assert_type(phone.id, UUID)
    assert_type(phone.number, str)
    assert_type(phone.telephony_provider, TelephonyProvider)
    assert_type(phone.status, PhoneStatus)
    assert_type(phone.status.known, bool)
    assert_type(phone.nickname, str | None)
    assert_type(phone.assigned_at, datetime | None)
    assert_type(phone.outbound_agent_id, UUID | None)
    assert_type(phone.sip_config, SipConfig | None)
    assert_type(phone.region_codes, tuple[str, ...])
    assert_type(phone.extra, Mapping[str, Any])
    assert_type(phone.to_dict(), dict[str, Any])
    assert_type(Phone.from_json(b"{}"), Phone)
    assert_type(Phone.from_dict({}), Phone)


def is_ready(status: PhoneStatus) -> bool:
    match status:
        case PhoneStatus.ASSIGNED:
            return True
        case _:
            return False


async def look_one_up(client: DigaClient) -> None:
    phone_id = UUID("3c90c3cc-0d44-4b50-8888-8dd25736052a")
    assert_type(await client.phones.get(phone_id), Phone)
    assert_type(await client.phones.get(str(phone_id), timeouts=2.0), Phone)
    assert_type(await client.phones.get(phone_id, timeouts=Timeouts(2.0)), Phone)
    assert_type(client.stats, ClientStats)
    assert_type(client.closed, bool)


def given_ids() -> Iterator[str]:
    yield "3c90c3cc-0d44-4b50-8888-8dd25736052a"


async def asked_ids() -> AsyncIterator[UUID]:
    yield UUID("3c90c3cc-0d44-4b50-8888-8dd25736052a")


async def look_many_up(client: DigaClient) -> None:
    ids = ["3c90c3cc-0d44-4b50-8888-8dd25736052a"]
    lookups = client.phones.iter_many(ids, concurrency=8, ordered=True, timeouts=5)
    assert_type(lookups, PhoneLookups)
    async with lookups:
        async for outcome in lookups:
            assert_type(outcome, Outcome)
            describe(outcome)
    assert_type(lookups.stats, LookupStats)
    assert_type(lookups.unanswered, tuple[UUID | str, ...])
    assert_type([o async for o in client.phones.iter_many(given_ids())], list[Outcome])
    async with client.phones.iter_many(asked_ids()) as stream:
        assert_type(stream, PhoneLookups)
        assert_type(await anext(stream), Outcome)
        await stream.aclose()


async def collect(client: DigaClient) -> None:
    batch = await client.phones.get_many({UUID(int=1), UUID(int=2)}, concurrency=2)
    assert_type(batch, PhoneBatch)
    assert_type(batch.phones, Mapping[UUID, Phone])
    assert_type(batch.missing, tuple[UUID, ...])
    assert_type(batch.failures, Mapping[UUID | str, DigaError])
    assert_type(batch.unanswered, tuple[UUID | str, ...])
    batch.raise_for_failures()


async def list_all(client: DigaClient, now: datetime) -> None:
    listing = client.phones.list(
        status=PhoneStatus.ASSIGNED, assigned_from=now, order="asc", page_size=50
    )
    assert_type(listing, PhoneListing)
    async with listing as phones:
        assert_type(phones, PhoneListing)
        async for phone in phones:
            assert_type(phone, Phone)
        assert_type(phones.cursor, UUID | None)
        assert_type(phones.stats, ListingStats)
    assert_type([p async for p in client.phones.list(status="sold")], list[Phone])
    client.phones.list(order="up")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def list_one_page(client: DigaClient) -> None:
    page = await client.phones.list_page(page_size=20, after=UUID(int=1), timeouts=5)
    assert_type(page, PhonePage)
    assert_type(page.phones, tuple[Phone, ...])
    assert_type(page.cursor, UUID | None)
    assert_type(page.total_pages, int | None)
    task = asyncio.create_task(client.phones.list_page())
    assert_type(await task, PhonePage)


async def look_up_by_listing(client: DigaClient, via: Literal["list", "auto"]) -> None:
    assert_type(await client.phones.get_many([], via=via), PhoneBatch)
    assert_type(client.phones.iter_many([], via="each"), PhoneLookups)
    client.phones.iter_many([], via="pages")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def read_an_error(error: DigaError) -> None:
    assert_type(error.phone_id, UUID | None)
    assert_type(error.attempts, int | None)
    assert_type(error.elapsed, float | None)
    match error:
        case UnprocessableEntityError():
            assert_type(error.details, tuple[ValidationDetail, ...])
        case RateLimitError():
            assert_type(error.retry_after, float | None)
        case APIStatusError():
            assert_type(error.status, int)
            assert_type(error.request_id, str | None)
        case APITimeoutError() | APIConnectionError():
            assert_type(error.phase, Phase)
        case InvalidResponseError():
            assert_type(error.problems, tuple[str, ...])
        case _:
            raise error


async def wait(client: DigaClient, phone_id: UUID) -> None:
    waiting = client.phones.wait_until
    assert_type(await waiting(phone_id, status="assigned"), Phone)
    await waiting(str(phone_id), status=PhoneStatus.ASSIGNED, every=5, timeout=60)
    await waiting(phone_id, status={PhoneStatus.RELEASED, "finished"}, timeouts=5.0)
    await waiting(phone_id)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await waiting(phone_id, status=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    try:
        await waiting(phone_id, status="assigned", timeout=1.0)
    except WaitError as error:
        assert_type(error.phone_id, UUID | None)
    except TimeoutError:
        pass


async def watch(client: DigaClient, saved: dict[UUID, Phone]) -> None:
    client.phones.watch([*saved, str(UUID(int=7))], every=10, timeouts=5.0)
    client.phones.watch(baseline={UUID(int=7): None})
    client.phones.watch(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with client.phones.watch(baseline=saved) as changes:
        assert_type(changes, PhoneChanges)
        async for change in changes:
            assert_type(change, Change)
            assert_type(change.before, Phone | None)
            assert_type(change.after, Phone | None)
            assert_type(change.fields, frozenset[str])
            assert_type(changes.phones, dict[UUID, Phone | None])
        assert_type(changes.stats, WatchStats)
        client.phones.watch(baseline=changes.phones)


async def ask_a_vault() -> str:
    return "sk-1"


async def make_clients(session: aiohttp.ClientSession) -> None:
    async with DigaClient() as client:
        assert_type(client, DigaClient)
    DigaClient("sk-1", base_url="http://127.0.0.1:8080", timeouts=30)
    DigaClient(lambda: "sk-1")
    DigaClient(ask_a_vault)
    DigaClient(
        session=session,
        timeouts=Timeouts(30.0, attempt=5.0, connect=2.0),
        retry=RetryPolicy(max_attempts=1),
        limits=Limits(concurrency=8, per_second=50),
        proxy="http://proxy.example:3128",
        ssl=ssl.create_default_context(),
        trust_env=True,
        trace_configs=[aiohttp.TraceConfig()],
        allow_insecure_http=True,
    )


async def rehearse() -> None:
    async with Sandbox(phones=10, faults=Faults(errors=0.1)) as sandbox:
        assert_type(sandbox.url, str)
        assert_type(sandbox.api_key, str)
        assert_type(sandbox.phone_ids, tuple[UUID, ...])
        assert_type(sandbox.requests, list[SeenRequest])
        sandbox.down = True
        sandbox.hidden.add(sandbox.add(status="reserved"))
        sandbox.change(sandbox.phone_ids[0], status=PhoneStatus.RELEASED)
        sandbox.remove(str(sandbox.phone_ids[0]))
    with Sandbox(5) as sandbox:
        assert_type(sandbox, Sandbox)
