"""`get_many` and `iter_many` through the listing."""

import asyncio
import gc
import logging
from collections import Counter

import pytest
from fakes import KEY, quick_client, response
from hypothesis import given, settings, strategies as st
from model_api import (
    Project,
    client_of,
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
    Failed,
    Found,
    Limits,
    LookupEvent,
    Missing,
    PermissionDeniedError,
    RetryPolicy,
    WrongLoopError,
)
from diga_async.sandbox import Faults, Sandbox

UNKNOWN = ids(10, start=10**9)
LISTED = pytest.mark.parametrize("via", ["list", "auto"])


@pytest.fixture
async def sandbox():
    async with Sandbox(phones=450) as sandbox:
        yield sandbox


@pytest.fixture
async def diga(sandbox):
    async with quick_client(sandbox.url, sandbox.api_key) as diga:
        yield diga


async def settled():
    for _ in range(40):
        await asyncio.sleep(0)


async def collect(lookups, ids_read):
    """Read to the end; return the error that came before it."""
    try:
        async for outcome in lookups:
            ids_read.append(outcome.phone_id)
    except (DigaError, LookupError) as error:
        return error
    return None


async def many(project, given, via, **options):
    async with client_of(project, **options) as diga:
        return await diga.phones.get_many(given, via=via)


class TestOutcomes:
    @LISTED
    async def test_every_id_has_its_own(self, sandbox, diga, via):
        given = [*sandbox.phone_ids, *UNKNOWN, "nope", *sandbox.phone_ids[:3]]
        lookups = diga.phones.iter_many(given, via=via)
        outcomes = [outcome async for outcome in lookups]

        kinds = Counter(type(outcome) for outcome in outcomes)
        assert kinds == {Found: 453, Missing: 10, Failed: 1}
        assert {o.phone_id: o.phone.id for o in outcomes if isinstance(o, Found)} == {
            i: i for i in sandbox.phone_ids
        }
        stats = lookups.stats
        assert (stats.found, stats.missing, stats.failed) == (453, 10, 1)
        assert stats.remaining_seconds == 0.0
        assert lookups.unanswered == ()
        assert len(sandbox.requests) == 5 + 10

    @LISTED
    @pytest.mark.parametrize("concurrency", [1, 2, 64])
    async def test_a_batch_keeps_the_order_of_its_input(
        self, sandbox, diga, via, concurrency
    ):
        given = [*UNKNOWN[:5], *reversed(sandbox.phone_ids), *UNKNOWN[5:], None, "None"]
        batch = await diga.phones.get_many(
            iter([*given, *given]), via=via, concurrency=concurrency
        )

        assert list(batch.phones) == list(reversed(sandbox.phone_ids))
        assert batch.missing == tuple(UNKNOWN)
        assert list(batch.failures) == ["None", "None (str)"]

    async def test_a_found_out_of_a_page_has_the_attempts_of_the_page(self):
        project = Project.of(ids(50), faults=[fails])
        async with client_of(project) as diga:
            outcomes = [o async for o in diga.phones.iter_many(ids(50), via="list")]

        assert {outcome.attempts for outcome in outcomes} == {2}
        assert len({outcome.elapsed for outcome in outcomes}) == 1

    async def test_each_phone_found_by_listing_has_its_event(self, sandbox):
        events = []
        async with quick_client(
            sandbox.url, sandbox.api_key, on_event=events.append
        ) as diga:
            await diga.phones.get_many(sandbox.phone_ids, via="list")
            await settled()

        lookups = [e for e in events if isinstance(e, LookupEvent)]
        assert [e.phone_id for e in lookups] == list(sandbox.phone_ids)
        pages = [e for e in events if e not in lookups]
        assert {(e.phone_id, e.answer) for e in pages} == {(None, "listed")}

    async def test_a_listed_run_is_logged_as_one_run(self, sandbox, diga, caplog):
        caplog.set_level(logging.INFO, logger="diga_async")
        await diga.phones.get_many([*sandbox.phone_ids, *UNKNOWN], via="list")

        (record,) = [r for r in caplog.records if r.name == "diga_async"]
        assert (record.run.found, record.run.missing) == (450, 10)

    @LISTED
    async def test_no_ids_make_no_requests(self, sandbox, diga, via):
        batch = await diga.phones.get_many([], via=via)

        assert batch.phones == {}
        assert sandbox.requests == []


class TestRequests:
    async def test_five_ids_are_looked_up_singly(self, sandbox, diga):
        await diga.phones.get_many(sandbox.phone_ids[:5] * 3, via="auto")

        assert None not in {request.phone_id for request in sandbox.requests}

    async def test_few_ids_of_a_large_project_take_one_page_more(self):
        project = Project.of(ids(2000))
        batch = await many(project, ids(10, start=1500), "auto")

        assert len(batch.phones) == 10
        assert len(project.seen) == 11

    async def test_a_project_of_one_page_takes_one(self):
        project = Project.of(ids(80))
        await many(project, ids(80), "auto")

        assert len(project.seen) == 1

    async def test_without_numbers_auto_asks_singly_and_list_follows_cursors(self):
        for via, requests in {"auto": 1 + 150, "list": 3}.items():
            project = Project.of(ids(250), numbered=False)
            batch = await many(project, ids(250), via)

            assert len(batch.phones) == 250
            assert len(project.seen) == requests

    async def test_pages_are_requested_until_every_id_is_found(self):
        project = Project.of(ids(5000))
        await many(project, ids(150), "list", limits=Limits(concurrency=2))

        assert len(project.seen) <= 4

    @pytest.mark.parametrize("concurrency", [1, 2, 3])
    async def test_no_more_pages_are_open_or_undelivered_than_the_concurrency(
        self, concurrency
    ):
        """One id on each page: outcomes are delivered page by page."""
        project = Project.of(ids(2000))
        wanted = ids(2000)[::100]
        async with (
            client_of(project) as diga,
            diga.phones.iter_many(
                wanted, via="list", concurrency=concurrency
            ) as lookups,
        ):
            for delivered in range(20):
                await settled()
                assert len(project.seen) - delivered <= concurrency
                await anext(lookups)
            with pytest.raises(StopAsyncIteration):
                await anext(lookups)


class TestUnreadablePages:
    @pytest.mark.parametrize(
        "fault", [fails, is_garbage, has_a_broken_record, is_empty]
    )
    @LISTED
    async def test_a_page_or_record_is_passed_over_and_its_ids_asked_singly(
        self, via, fault
    ):
        """Both attempts at the second page fail."""
        project = Project.of(ids(400), faults=[None, fault, fault])
        batch = await many(project, ids(400), via, limits=Limits(concurrency=1))

        assert len(batch.phones) == 400

    @pytest.mark.parametrize("fault", [fails, is_garbage])
    @LISTED
    async def test_without_a_first_page_every_id_is_asked_singly(self, via, fault):
        project = Project.of(ids(40), faults=[fault] * 2)
        batch = await many(project, ids(40), via)

        assert len(batch.phones) == 40
        assert len(project.seen) == 42

    @pytest.mark.parametrize("status", [403, 404, 422])
    async def test_with_a_refused_listing_every_id_is_asked_singly(self, status):
        project = Project.of(ids(40), faults=[refuses(status)])
        batch = await many(project, ids(40), "auto")

        assert len(batch.phones) == 40

    async def test_a_page_by_cursor_that_fails_ends_the_listing(self):
        project = Project.of(
            ids(500), numbered=False, faults=[None, None, fails, fails]
        )
        batch = await many(project, ids(500), "list")

        assert len(batch.phones) == 500
        assert len(project.looked_up) == 300

    @pytest.mark.parametrize("total", [1, 3, 99])
    @LISTED
    async def test_a_total_that_is_wrong_costs_no_outcome(self, via, total):
        project = Project.of(ids(500), faults=[says(total_pages=total)] * 99)
        batch = await many(project, ids(500), via)

        assert len(batch.phones) == 500

    async def test_a_phone_that_the_listing_hides_is_found_singly(self):
        hidden = set(ids(500)[::7])
        project = Project.of(ids(500), hidden=hidden)
        batch = await many(project, ids(500), "list")

        assert set(batch.phones) == set(ids(500))
        assert set(project.looked_up) == hidden

    async def test_a_403_after_a_page_fails_one_id_only(self, sandbox, diga):
        """The pages have shown that the key may read."""
        wanted = [*sandbox.phone_ids, *UNKNOWN]
        lookups = diga.phones.iter_many(wanted, via="list")
        outcomes = [await anext(lookups) for _ in sandbox.phone_ids]
        sandbox.faults = Faults(forbidden=1.0)
        outcomes = [outcome async for outcome in lookups]

        assert {type(outcome.error) for outcome in outcomes} == {PermissionDeniedError}
        assert {outcome.phone_id for outcome in outcomes} == set(UNKNOWN)


def refuses(status):
    return lambda *_: response(status, {})


class TestEnds:
    @LISTED
    async def test_a_refused_key_ends_it_and_every_id_is_unanswered(self, sandbox, via):
        async with quick_client(sandbox.url, KEY) as diga:
            with pytest.raises(AuthenticationError) as caught:
                await diga.phones.get_many([*sandbox.phone_ids, "nope"], via=via)

        batch = caught.value.partial
        assert set(batch.unanswered) == set(sandbox.phone_ids)
        assert set(batch.failures) == {"nope"}
        assert len(sandbox.requests) == 1

    async def test_a_key_that_may_not_read_ends_it(self, sandbox, diga):
        sandbox.faults = Faults(forbidden=1.0)
        with pytest.raises(PermissionDeniedError) as caught:
            await diga.phones.get_many(sandbox.phone_ids, via="auto")

        assert set(caught.value.partial.unanswered) == set(sandbox.phone_ids)

    async def test_an_error_comes_after_what_was_found(self, sandbox, diga):
        lookups = diga.phones.iter_many(
            [*sandbox.phone_ids, *UNKNOWN], via="list", concurrency=1
        )
        found = [(await anext(lookups)).phone_id for _ in range(150)]
        sandbox.api_key = "sk-another"
        error = await collect(lookups, found)

        assert isinstance(error, AuthenticationError)
        assert set(found).isdisjoint(lookups.unanswered)
        assert {*found, *lookups.unanswered} == {*sandbox.phone_ids, *UNKNOWN}
        with pytest.raises(StopAsyncIteration):
            await anext(lookups)

    async def test_an_outage_ends_it_after_max_outage(self, sandbox):
        sandbox.down = True
        retry = RetryPolicy(base_delay=0.001, max_outage=0.2)
        async with quick_client(sandbox.url, sandbox.api_key, retry=retry) as diga:
            with pytest.raises(Exception) as caught:  # noqa: PT011 - its batch counts
                await diga.phones.get_many(sandbox.phone_ids, via="auto")

        batch = caught.value.partial
        assert len(batch.unanswered) + len(batch.failures) == 450

    async def test_breaking_off_leaves_nothing(self, sandbox, diga):
        async with diga.phones.iter_many(sandbox.phone_ids, via="list") as lookups:
            async for _ in lookups:
                break
        await lookups.aclose()

        assert len(lookups.unanswered) == 449
        assert diga.stats.in_flight == 0
        with pytest.raises(StopAsyncIteration):
            await anext(lookups)

    async def test_breaking_off_the_second_run_leaves_nothing(self, sandbox, diga):
        given = [*sandbox.phone_ids, *UNKNOWN]
        async with diga.phones.iter_many(given, via="list", concurrency=2) as lookups:
            seen = [await anext(lookups) for _ in range(452)]

        assert {o.phone_id for o in seen}.isdisjoint(lookups.unanswered)
        assert len(lookups.unanswered) == 8

    @pytest.mark.parametrize("delivered", [1, 450, 455])
    async def test_halting_sends_nothing_more_and_loses_no_id(
        self, sandbox, diga, delivered
    ):
        """While pages are read, before and after the first single lookup."""
        given = [*sandbox.phone_ids, *UNKNOWN]
        async with diga.phones.iter_many(given, via="list", concurrency=2) as lookups:
            seen = [(await anext(lookups)).phone_id for _ in range(delivered)]
            sent = len(sandbox.requests) + diga.stats.in_flight
            lookups.halt(LookupError())
            assert isinstance(await collect(lookups, seen), LookupError)

        assert len(sandbox.requests) <= sent
        assert Counter([*seen, *lookups.unanswered]) == Counter(given)

    @pytest.mark.parametrize("delivered", [1, 452])
    async def test_halting_it_delivers_what_is_in_flight_first(
        self, sandbox, diga, delivered
    ):
        """In the first run, or in the second."""
        given = [*sandbox.phone_ids, *UNKNOWN]
        lookups = diga.phones.iter_many(given, via="list", concurrency=2)
        seen = [(await anext(lookups)).phone_id for _ in range(delivered)]
        lookups.halt(LookupError())

        assert isinstance(await collect(lookups, seen), LookupError)
        assert Counter([*seen, *lookups.unanswered]) == Counter(given)
        with pytest.raises(StopAsyncIteration):
            await anext(lookups)

    async def test_it_ends_when_it_is_collected(self, sandbox, diga):
        lookups = diga.phones.iter_many(sandbox.phone_ids, via="list")
        await anext(lookups)
        del lookups
        gc.collect()
        await settled()

    async def test_closing_the_client_ends_it(self, sandbox):
        diga = quick_client(sandbox.url, sandbox.api_key)
        lookups = diga.phones.iter_many(sandbox.phone_ids, via="list", concurrency=1)
        found = [(await anext(lookups)).phone_id]
        await diga.close()
        error = await collect(lookups, found)

        assert isinstance(error, ClientClosedError)
        assert {*found, *lookups.unanswered} == set(sandbox.phone_ids)

    async def test_an_error_of_the_source_comes_after_the_ids_before_it(self, diga):
        def source():
            yield from UNKNOWN
            raise LookupError

        with pytest.raises(LookupError):
            await diga.phones.get_many(source(), via="list")
        outcomes = []
        lookups = diga.phones.iter_many(Sized(source(), 20), via="list")
        assert isinstance(await collect(lookups, outcomes), LookupError)
        assert outcomes == UNKNOWN

    async def test_an_error_of_a_source_without_ids_is_raised(self, diga):
        def source():
            yield "nope"
            raise LookupError

        outcomes = []
        lookups = diga.phones.iter_many(Sized(source(), 20), via="list")
        assert isinstance(await collect(lookups, outcomes), LookupError)
        assert outcomes == ["nope"]

    @LISTED
    async def test_an_async_source_is_closed(self, sandbox, diga, via):
        closed = []

        async def source():
            try:
                for phone_id in sandbox.phone_ids:
                    yield phone_id
            finally:
                closed.append(True)

        batch = await diga.phones.get_many(source(), via=via)

        assert len(batch.phones) == 450
        assert closed == [True]

    async def test_a_cancelled_anext_loses_no_outcome(self):
        project, gate = Project.of(ids(350)), asyncio.Semaphore(0)
        given, outcomes = [*ids(350), *UNKNOWN], []
        async with (
            client_of(project, gate=gate) as diga,
            diga.phones.iter_many(given, via="list", concurrency=2) as lookups,
        ):
            while len(outcomes) < 360:
                waiting = asyncio.ensure_future(anext(lookups))
                await settled()
                if waiting.done():
                    outcomes.append((await waiting).phone_id)
                    continue
                waiting.cancel()
                await asyncio.wait([waiting])
                gate.release()

        assert Counter(outcomes) == Counter(given)

    async def test_two_consumers_share_the_outcomes(self, sandbox, diga):
        given = [*sandbox.phone_ids, *UNKNOWN]
        lookups = diga.phones.iter_many(given, via="list", concurrency=4)

        async def consume():
            return [outcome.phone_id async for outcome in lookups]

        parts = await asyncio.gather(consume(), consume(), consume())
        assert Counter(i for part in parts for i in part) == Counter(given)

    async def test_it_serves_one_loop(self, sandbox, diga):
        lookups = diga.phones.iter_many(sandbox.phone_ids, via="list")
        await anext(lookups)

        async def ask():
            with pytest.raises(WrongLoopError):
                await anext(lookups)

        await asyncio.to_thread(asyncio.run, ask())
        await lookups.aclose()


class Sized:
    def __init__(self, items, length):
        self.items, self.length = items, length

    def __iter__(self):
        return iter(self.items)

    def __len__(self):
        return self.length


class TestArguments:
    @pytest.mark.parametrize(
        ("given", "options"),
        [
            ((i for i in UNKNOWN), {"via": "list"}),
            (UNKNOWN, {"via": "list", "ordered": True}),
            (UNKNOWN, {"via": "pages"}),
            (UNKNOWN, {"via": None}),
        ],
    )
    def test_they_are_checked_at_the_call(self, given, options):
        with pytest.raises(ConfigurationError, match="via"):
            quick_client("http://127.0.0.1:9").phones.iter_many(given, **options)

    @pytest.mark.parametrize("options", [{"ordered": True}, {}])
    async def test_auto_is_each_where_the_source_cannot_be_read_first(
        self, sandbox, diga, options
    ):
        given = iter(sandbox.phone_ids) if not options else sandbox.phone_ids
        lookups = diga.phones.iter_many(given, via="auto", **options)
        outcomes = [outcome.phone_id async for outcome in lookups]

        assert set(outcomes) == set(sandbox.phone_ids)
        assert len(sandbox.requests) == 450
        if options:
            assert outcomes == list(sandbox.phone_ids)

    async def test_an_id_alone_is_a_mistake(self, diga):
        with pytest.raises(TypeError):
            await diga.phones.get_many(str(UNKNOWN[0]), via="auto")


# --- a project that changes meanwhile

STABLE, HIDDEN, MOVING = ids(260), ids(12, start=1001), ids(12, start=2001)
FAULTS = [
    None,
    fails,
    is_garbage,
    is_empty,
    has_a_broken_record,
    says(total_pages=2),
    says(total_pages=None),
    says(has_more=False),
    says(has_more=True),
    says(current_page=1),
    says(last_id=None),
    says(last_id=str(STABLE[7]), has_more=True),
    says(data=None),
]


@st.composite
def projects(draw):
    """Draw a project in which phones come, go and move, and pages fail."""
    order = draw(st.permutations(STABLE[: draw(st.sampled_from([3, 120, 260]))]))
    project = Project.of(
        [*order, *HIDDEN, *MOVING[:6]],
        hidden=set(HIDDEN),
        numbered=draw(st.booleans()),
        faults=draw(st.lists(st.sampled_from(FAULTS), max_size=8)),
    )

    def change(phone_id, position):
        def changed(project):
            if position is None:
                project.phones.pop(phone_id, None)
            else:
                project.move(phone_id, position)

        return changed

    places = st.none() | st.integers(0, 280)
    changes = st.builds(change, st.sampled_from(MOVING), places)
    shuffles = st.builds(change, st.sampled_from(order), st.integers(0, 280))
    project.changes = draw(st.lists(changes | shuffles, max_size=12))
    return project, [*order, *HIDDEN]


@given(
    drawn=projects(),
    via=st.sampled_from(["list", "auto"]),
    concurrency=st.sampled_from([1, 2, 8]),
    repeats=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_every_id_that_is_there_throughout_is_found_once(
    drawn, via, concurrency, repeats
):
    """Nothing is invented, and nothing is missing without its own 404."""
    project, there = drawn
    wanted = [*there, *MOVING, *UNKNOWN, *(there[:5] if repeats else ())]

    async def run():
        async with client_of(project) as diga:
            lookups = diga.phones.iter_many(wanted, via=via, concurrency=concurrency)
            return [outcome async for outcome in lookups]

    outcomes = asyncio.run(run())

    assert Counter(o.phone_id for o in outcomes) == Counter(wanted)
    found = {o.phone_id for o in outcomes if isinstance(o, Found)}
    missing = {o.phone_id for o in outcomes if isinstance(o, Missing)}
    assert all(o.phone.id == o.phone_id for o in outcomes if isinstance(o, Found))
    assert found >= set(there)
    assert missing >= set(UNKNOWN)
    assert missing <= set(project.looked_up)
    assert len(found) + len(missing) == len(set(wanted))
