"""`phones.list` and `phones.list_page`."""

import asyncio
import gc
from datetime import datetime
from uuid import UUID

import pytest
from fakes import KEY, quick_client, response
from hypothesis import given, settings, strategies as st
from model_api import (
    Project,
    changes_of,
    client_of,
    comings_and_goings,
    fails,
    has_a_broken_record,
    ids,
    is_empty,
    is_garbage,
    says,
)

from diga_async import (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    DigaError,
    InternalServerError,
    InvalidPhoneIdError,
    InvalidResponseError,
    Limits,
    NotFoundError,
    PhoneStatus,
    RateLimitError,
    RetryPolicy,
    WrongLoopError,
)
from diga_async.sandbox import Faults, Sandbox


@pytest.fixture
async def sandbox():
    async with Sandbox(phones=57) as sandbox:
        yield sandbox


@pytest.fixture
async def diga(sandbox):
    async with quick_client(sandbox.url, sandbox.api_key) as diga:
        yield diga


async def collect(phones, read):
    """Read to the end; return the error that came before it."""
    try:
        async for phone in phones:
            read.append(phone.id)
    except DigaError as error:
        return error
    return None


async def listed(diga, **options):
    async with diga.phones.list(**options) as phones:
        return [phone.id async for phone in phones]


class TestTheListing:
    @pytest.mark.parametrize("page_size", [1, 10, 57, 100])
    async def test_every_phone_comes_once_in_the_order_of_the_listing(
        self, sandbox, diga, page_size
    ):
        expected = list(sandbox.phone_ids)

        assert await listed(diga, page_size=page_size, order="asc") == expected
        assert await listed(diga, page_size=page_size) == expected[::-1]

    async def test_filters_are_the_server_s(self, sandbox, diga):
        assigned = [i for i, p in sandbox.phones.items() if p["status"] == "assigned"]
        agent = next(
            p["inbound_agent_id"]
            for p in sandbox.phones.values()
            if p["inbound_agent_id"]
        )
        answered = [
            i for i, p in sandbox.phones.items() if p["inbound_agent_id"] == agent
        ]

        found = await listed(diga, status=PhoneStatus.ASSIGNED, order="asc")
        assert found == assigned
        assert await listed(diga, inbound_agent_id=agent, order="asc") == answered

    async def test_without_a_block_it_ends_when_it_is_collected(self, diga):
        phones = diga.phones.list(page_size=5)
        await anext(phones)
        del phones
        gc.collect()
        await asyncio.sleep(0)

    async def test_the_cursor_goes_on_where_it_stopped(self, sandbox, diga):
        read = []
        async with diga.phones.list(page_size=10, after=None) as phones:
            assert phones.cursor is None
            async for phone in phones:
                read.append(phone.id)
                if len(read) == 25:
                    break
            assert phones.cursor == read[-1]
        async with diga.phones.list(page_size=10, after=phones.cursor) as rest:
            assert rest.cursor == read[-1]
            read += [phone.id async for phone in rest]

        assert read == list(sandbox.phone_ids)[::-1]

    async def test_its_stats_count_pages_and_what_was_delivered(self, sandbox, diga):
        async with diga.phones.list(page_size=10) as phones:
            assert phones.stats.pages == phones.stats.phones == 0
            async for _ in phones:
                pass

        stats = phones.stats
        assert (stats.pages, stats.phones, stats.total_pages) == (6, 57, 6)
        assert (stats.retries, stats.throttled) == (0, 0)
        assert stats.elapsed > 0
        assert diga.stats.listed == 6

    async def test_a_throttled_page_is_asked_for_again(self, sandbox, diga):
        sandbox.per_second, sandbox.burst = 200, 1
        async with diga.phones.list(page_size=5) as phones:
            assert len([phone async for phone in phones]) == 57

        assert phones.stats.throttled > 0

    async def test_after_the_end_nothing_is_left(self, diga):
        async with diga.phones.list() as phones:
            async for _ in phones:
                pass
            with pytest.raises(StopAsyncIteration):
                await anext(phones)
        with pytest.raises(StopAsyncIteration):
            await anext(phones)

    async def test_closing_drops_what_was_read(self, diga):
        phones = diga.phones.list()
        await anext(phones)
        await phones.aclose()
        await phones.aclose()

        with pytest.raises(StopAsyncIteration):
            await anext(phones)

    async def test_it_serves_one_loop(self, diga):
        phones = diga.phones.list()
        await anext(phones)

        async def ask():
            with pytest.raises(WrongLoopError):
                await anext(phones)

        await asyncio.to_thread(asyncio.run, ask())
        await phones.aclose()

    async def test_closing_the_client_ends_it_after_what_was_read(self, sandbox):
        diga = quick_client(sandbox.url, sandbox.api_key)
        phones = diga.phones.list(page_size=20)
        read = [await anext(phones)]
        await diga.close()

        error = await collect(phones, read)
        assert isinstance(error, ClientClosedError)
        assert len(read) % 20 == 0


WRONG = [
    ({"status": 5}, ConfigurationError),
    ({"inbound_agent_id": "nope"}, ConfigurationError),
    ({"assigned_from": datetime(2026, 1, 1)}, ConfigurationError),  # noqa: DTZ001
    ({"order": "sideways"}, ConfigurationError),
    ({"page_size": 101}, ConfigurationError),
    ({"timeouts": -1}, ConfigurationError),
    ({"after": "nope"}, InvalidPhoneIdError),
]


@pytest.mark.parametrize(("wrong", "kind"), WRONG, ids=str)
@pytest.mark.parametrize("method", ["list", "list_page"])
def test_arguments_are_checked_at_the_call(method, wrong, kind):
    """Nothing is awaited: there is no loop."""
    phones = quick_client("http://127.0.0.1:9").phones

    with pytest.raises(kind):
        getattr(phones, method)(**wrong)


class TestHowFarItReadsAhead:
    async def test_one_page_ahead_of_the_consumer_and_no_further(self):
        project = Project.of(ids(100))
        async with (
            client_of(project) as diga,
            diga.phones.list(page_size=10) as phones,
        ):
            await settled()
            assert len(project.seen) == 1
            for taken in range(1, 31):
                await anext(phones)
                await settled()
                assert len(project.seen) == 2 + (taken - 1) // 10

    async def test_a_cancelled_anext_loses_no_phone(self):
        project = Project.of(ids(25))
        gate = asyncio.Semaphore(0)
        read = []
        async with (
            client_of(project, gate=gate) as diga,
            diga.phones.list(page_size=10, order="asc") as phones,
        ):
            while len(read) < 25:
                waiting = asyncio.ensure_future(anext(phones))
                await settled()
                if waiting.done():
                    read.append((await waiting).id)
                    continue
                waiting.cancel()
                await asyncio.wait([waiting])
                gate.release()
                await settled()

        assert read == ids(25)


async def settled():
    for _ in range(20):
        await asyncio.sleep(0)


class TestBugsOfOtherLibraries:
    """Each of these is a reported bug of some library that pages."""

    async def test_an_empty_page_that_has_more_does_not_end_it(self):
        project = Project.of(ids(50), faults=[None, is_empty])
        async with client_of(project) as diga:
            read = await listed(diga, page_size=10, order="asc")

        assert read == ids(10) + ids(30, start=21)

    async def test_a_cursor_that_comes_back_is_not_followed_for_ever(self):
        project = Project.of(ids(50))
        loop = says(has_more=True, last_id=str(UUID(int=10)))
        project.faults = [None, None, loop]
        async with client_of(project) as diga:
            with pytest.raises(InvalidResponseError, match="last_id"):
                await listed(diga, page_size=10, order="asc")

        assert len(project.seen) == 3

    @pytest.mark.parametrize("gone", [200, 400, 404, 422])
    async def test_it_does_not_end_silently_when_the_cursor_s_phone_is_deleted(
        self, gone
    ):
        project = Project.of(ids(50), gone=gone)

        def delete(project):
            del project.phones[UUID(int=20)]

        project.changes = [lambda _: None, lambda _: None, delete]
        async with client_of(project) as diga:
            read = await listed(diga, page_size=10, order="asc")

        assert read == ids(50)

    async def test_it_does_not_end_silently_when_the_cursor_s_phone_left_the_filter(
        self, sandbox, diga
    ):
        sandbox.filtered_cursors = True
        for phone_id in sandbox.phone_ids:
            sandbox.change(phone_id, status="reserved")
        read = []
        async with diga.phones.list(
            status="reserved", page_size=10, order="asc"
        ) as phones:
            async for phone in phones:
                read.append(phone.id)
                await settled()
                sandbox.change(phone.id, status="assigned")

        assert read == list(sandbox.phone_ids)

    async def test_one_bad_record_does_not_lose_the_other_99(self):
        project = Project.of(ids(100), faults=[has_a_broken_record])
        read = []
        async with client_of(project) as diga:
            error = await collect(diga.phones.list(order="asc"), read)
            read += await listed(diga, order="asc", after=error.phone_id)

        assert error.phone_id == UUID(int=51)
        assert error.problems[0].startswith("$.data[50].number")
        assert read == ids(50) + ids(49, start=52)

    async def test_a_page_may_be_larger_than_what_one_phone_may_be(self, sandbox, diga):
        for phone_id in sandbox.phone_ids:
            sandbox.change(phone_id, nickname="x" * 60_000)

        assert len(await listed(diga)) == 57

    async def test_every_page_has_its_own_retries(self):
        """Of 400 pages, each fails once."""
        project = Project.of(ids(400), faults=[fails, None] * 400)
        async with (
            client_of(project, retry=RetryPolicy(base_delay=0.0)) as diga,
            diga.phones.list(page_size=1) as phones,
        ):
            assert len([phone async for phone in phones]) == 400

        assert phones.stats.retries == 400


class TestErrors:
    @pytest.mark.parametrize(
        ("fault", "kind"),
        [(fails, InternalServerError), (is_garbage, InvalidResponseError)],
    )
    async def test_an_error_comes_after_every_phone_before_and_the_cursor_goes_on(
        self, fault, kind
    ):
        project = Project.of(ids(30), faults=[None, fault, fault])
        read = []
        async with client_of(project) as diga:
            phones = diga.phones.list(page_size=10, order="asc")
            error = await collect(phones, read)
            assert isinstance(error, kind)
            assert len(read) == 10
            read += await listed(diga, page_size=10, order="asc", after=phones.cursor)

        assert read == ids(30)

    async def test_no_listing_at_the_address_is_a_wrong_address(self, sandbox):
        async with quick_client(f"{sandbox.url}/elsewhere", sandbox.api_key) as diga:
            with pytest.raises(ConfigurationError, match="no Diga API"):
                await listed(diga)
            with pytest.raises(ConfigurationError, match="no Diga API") as caught:
                await diga.phones.list_page()

        assert f" at {sandbox.url}/elsewhere: " in str(caught.value)

    async def test_a_retry_after_beyond_max_outage_is_raised(self):
        def busy(*_):
            return response(429, {}, Retry_After="301")

        project, read = Project.of(ids(20), faults=[None, busy]), []
        async with client_of(project) as diga:
            error = await collect(diga.phones.list(page_size=10), read)

        assert isinstance(error, RateLimitError)
        assert len(read) == 10

    async def test_a_short_retry_after_is_waited_for(self):
        def busy(*_):
            return response(429, {}, Retry_After="0")

        project, read = Project.of(ids(20), faults=[None, *[busy] * 9]), []
        async with client_of(project) as diga:
            phones = diga.phones.list(page_size=10)
            assert await collect(phones, read) is None

        assert len(read) == 20
        assert phones.stats.throttled == 9

    async def test_a_get_goes_ahead_of_pages(self):
        """Two pages wait for the only slot; the lookup that comes last is next."""
        project, gate = Project.of(ids(20)), asyncio.Semaphore(0)
        limits = Limits(concurrency=1, adaptive=False)
        async with client_of(project, gate=gate, limits=limits) as diga:
            pages = [
                asyncio.ensure_future(diga.phones.list_page(page_size=size))
                for size in (5, 6)
            ]
            await settled()
            looked_up = asyncio.ensure_future(diga.phones.get(UUID(int=1)))
            await settled()
            for _ in range(3):
                gate.release()
            await asyncio.gather(*pages, looked_up)

        assert ["?" in path for path in project.seen] == [True, False, True]

    async def test_a_refused_key_is_raised(self, sandbox):
        async with quick_client(sandbox.url, KEY) as diga:
            with pytest.raises(AuthenticationError):
                await listed(diga)


class TestOnePage:
    async def test_pages_follow_each_other_by_their_cursors(self, sandbox, diga):
        read, cursor, requests = [], None, 0
        while True:
            page = await diga.phones.list_page(page_size=20, after=cursor, order="asc")
            read += [phone.id for phone in page.phones]
            requests += 1
            if not page.has_more:
                break
            cursor = page.cursor

        assert read == list(sandbox.phone_ids)
        assert page.cursor is None
        assert requests == len(sandbox.requests) == 3

    async def test_the_first_says_how_many_there_are(self, diga):
        assert (await diga.phones.list_page(page_size=10)).total_pages == 6

    async def test_an_empty_page_is_the_end_where_the_cursor_stands(
        self, sandbox, diga
    ):
        last = sandbox.phone_ids[-1]
        page = await diga.phones.list_page(after=last, order="asc")

        assert (page.phones, page.has_more) == ((), False)
        assert [r.phone_id for r in sandbox.requests] == [None, last]

    async def test_an_empty_page_is_an_error_where_the_cursor_is_gone(
        self, sandbox, diga
    ):
        gone = sandbox.phone_ids[30]
        sandbox.remove(gone)

        with pytest.raises(InvalidResponseError, match="is gone") as caught:
            await diga.phones.list_page(after=gone)
        assert caught.value.phone_id == gone

    async def test_a_404_to_a_cursor_is_raised_as_it_is(self, sandbox, diga):
        gone = sandbox.phone_ids[30]
        sandbox.remove(gone)
        sandbox.gone_cursor = 404

        with pytest.raises(NotFoundError):
            await diga.phones.list_page(after=gone)
        assert len(sandbox.requests) == 1

    async def test_an_empty_page_that_has_more_is_a_page(self, sandbox, diga):
        sandbox.faults = Faults(empty_pages=1.0)
        page = await diga.phones.list_page(page_size=10)

        assert page.phones == ()
        assert page.has_more
        assert page.cursor is not None

    async def test_a_bad_record_is_an_error_that_names_it(self):
        project = Project.of(ids(10), faults=[has_a_broken_record])
        async with client_of(project) as diga:
            with pytest.raises(InvalidResponseError) as caught:
                await diga.phones.list_page(order="asc")

        assert caught.value.phone_id == UUID(int=6)


@given(
    drawn=comings_and_goings(),
    size=st.integers(1, 6),
    gone=st.sampled_from([200, 400, 404, 422]),
)
@settings(max_examples=60, deadline=None)
def test_a_phone_that_is_there_throughout_is_delivered_once(drawn, size, gone):
    """While others come and go; or an error says that this is uncertain."""
    stable, order, goings, comings = drawn
    project = Project.of(order, gone=gone, changes=changes_of(goings, comings))

    async def run():
        read = []
        async with client_of(project) as diga:
            phones = diga.phones.list(page_size=size, order="asc")
            return await collect(phones, read), read

    error, read = asyncio.run(run())
    kept = [i for i in read if i in set(stable)]
    there = [i for i in order if i in set(stable)]
    assert kept == (there if error is None else there[: len(kept)])
    assert error is None or error.phone_id in goings
