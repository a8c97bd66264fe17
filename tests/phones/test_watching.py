"""`watch`: polls, and the changes that they find."""

import asyncio
import gc
import logging
import pickle
import sys
import threading

import attrs
import pytest
from fakes import phone_fields, response
from hypothesis import example, given, settings, strategies as st
from project import LOST, NOT_FOUND, Project, idle, number, page_of, soon

from diga_async import (
    AuthenticationError,
    Change,
    ClientClosedError,
    ConfigurationError,
    InvalidPhoneIdError,
    Limits,
    NotFoundError,
    PermissionDeniedError,
    Phone,
    RetryPolicy,
    WatchStats,
    WrongLoopError,
)

X, Y, Z = number(1), number(2), number(3)
ONCE = RetryPolicy(max_attempts=1)
BROKEN = response(500)


class Consumer:
    """Takes every change as soon as it comes."""

    def __init__(self, changes):
        self.changes = changes
        self.heard = []
        self.task = asyncio.ensure_future(self._consume())

    async def _consume(self):
        async for change in self.changes:
            self.heard.append(change)

    def take(self):
        """Return the changes since the last time, in short."""
        taken, self.heard = self.heard, []
        return [(c.phone_id.int, kind_of(c)) for c in taken]


def kind_of(change):
    if change.before is None or change.after is None:
        return "new" if change.before is None else "gone"
    return ",".join(sorted(change.fields))


class Watching:
    """A watch of a project, with its client and a consumer."""

    def __init__(self, project, *arguments, client=None, **options):
        self.project = project
        self.client = project.client(**(client or {"retry": ONCE}))
        self.changes = self.client.phones.watch(*arguments, **options)

    async def __aenter__(self):
        self.consumer = Consumer(self.changes)
        await self.project.advance(1.0)
        return self

    async def __aexit__(self, *_):
        await self.changes.aclose()
        await self.client.close()
        if not self.consumer.task.done():
            self.consumer.task.cancel()
        await asyncio.gather(self.consumer.task, return_exceptions=True)

    async def poll(self, seconds=60.0):
        await self.project.advance(seconds)
        return self.consumer.take()

    @property
    def stats(self):
        return self.changes.stats


def stored(project):
    return {i: Phone.from_dict(record) for i, record in project.phones.items()}


# --- arguments


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"phone_ids": X}, TypeError),
        ({"phone_ids": str(X)}, TypeError),
        ({"phone_ids": b"x"}, TypeError),
        ({"phone_ids": 7}, TypeError),
        ({"phone_ids": ["x"]}, InvalidPhoneIdError),
        ({"phone_ids": [None]}, InvalidPhoneIdError),
        ({"every": 0.0}, ConfigurationError),
        ({"every": None}, ConfigurationError),
        ({"timeouts": -1}, ConfigurationError),
        ({"baseline": [X]}, ConfigurationError),
        ({"baseline": {X: 1}}, ConfigurationError),
        ({"baseline": {"x": None}}, InvalidPhoneIdError),
        ({"baseline": {X: Phone.from_dict(phone_fields(Y))}}, ConfigurationError),
    ],
)
async def test_arguments_are_checked_at_the_call(arguments, error):
    async with Project().client() as diga:
        with pytest.raises(error):
            diga.phones.watch(**arguments)


async def test_an_async_iterable_is_refused():
    async def ids():
        yield X

    async with Project().client() as diga:
        with pytest.raises(TypeError):
            diga.phones.watch(ids())


async def test_ids_are_read_once_at_the_call():
    project = Project(1, 2)
    given_ids = iter([X, str(Y), X])
    async with Watching(project, given_ids) as watching:
        assert list(given_ids) == []
        assert list(watching.changes.phones) == [X, Y]


async def test_no_ids_end_immediately():
    project = Project(1)
    async with project.client() as diga, diga.phones.watch([]) as changes:
        assert [change async for change in changes] == []

    assert project.requests == []


# --- polls


async def test_the_first_poll_makes_the_baseline_and_yields_nothing():
    async with Watching(Project(1, 2)) as watching:
        assert watching.consumer.take() == []
        assert watching.changes.phones == stored(watching.project)


async def test_changes_of_all_phones_are_delivered():
    project = Project(1, 2, 3)
    async with Watching(project) as watching:
        project.change(1, status="released", nickname="a")
        project.remove(2)
        project.add(4)
        assert sorted(await watching.poll()) == [
            (1, "nickname,status"),
            (2, "gone"),
            (4, "new"),
        ]
        assert watching.changes.phones == {**stored(project), Y: None}
        assert watching.stats == WatchStats(
            polls=2,
            failed_polls=0,
            last_error=None,
            seconds_since_success=1.0,
            changes=3,
            retries=0,
            throttled=0,
            elapsed=61.0,
        )


@pytest.mark.parametrize("ids", [[1], [1, 2, 3]], ids=["by id", "by listing"])
async def test_changes_of_given_ids_are_delivered(ids):
    project = Project(1, 2, 3)
    async with Watching(project, map(number, ids)) as watching:
        project.change(1, status="released")
        assert await watching.poll() == [(1, "status")]
        project.remove(1)
        assert await watching.poll() == [(1, "gone")]
        assert await watching.poll() == []
        project.add(1)
        assert await watching.poll() == [(1, "new")]


async def test_a_change_carries_both_phones():
    project = Project(1)
    async with Watching(project, [X]) as watching:
        before = Phone.from_dict(project.phones[X])
        project.change(1, status="released")
        await project.advance(60.0)

        (change,) = watching.consumer.heard
        after = attrs.evolve(before, status=change.after.status)
        assert change == Change(X, before, after, frozenset({"status"}))


async def test_an_id_that_was_missing_is_new_when_it_comes():
    project = Project(1)
    async with Watching(project, [X, Y]) as watching:
        assert watching.changes.phones == {**stored(project), Y: None}
        project.add(2)
        assert await watching.poll() == [(2, "new")]


async def test_a_baseline_is_compared_with_the_first_poll():
    project = Project(1, 2, 3)
    baseline = stored(project)
    project.change(1, nickname="a")
    project.remove(2)
    project.add(4)
    async with Watching(project, baseline=baseline) as watching:
        told = sorted(watching.consumer.take())

    assert told == [(1, "nickname"), (2, "gone"), (4, "new")]


async def test_an_empty_baseline_tells_every_phone():
    async with Watching(Project(1, 2), baseline={}) as watching:
        assert watching.consumer.take() == [(1, "new"), (2, "new")]


async def test_an_id_missing_from_the_baseline_has_no_first_change():
    project = Project(1, 2)
    async with Watching(project, [X, Y], baseline={X: None}) as watching:
        assert watching.consumer.take() == [(1, "new")]
        project.change(2, nickname="b")
        assert await watching.poll() == [(2, "nickname")]


async def test_the_interval_of_polls_counts_from_start_to_start():
    project = Project(1)
    project.seconds = 5.0
    async with Watching(project, [X], every=20.0):
        await project.advance(61.0)
        starts = [at - project.requests[0][0] for at, _ in project.requests]
        assert starts == [0.0, 20.0, 40.0, 60.0]


async def test_polls_never_overlap():
    project = Project(*range(1, 260))
    project.seconds = 9.0
    async with Watching(project, every=20.0):
        await project.advance(200.0)
        firsts = [at for at, p in project.requests if "after" not in page_of(p)]
        assert [at - firsts[0] for at in firsts] == [0, 40, 80, 120, 160, 200]
        assert project.most_open == 1


async def test_a_failed_poll_is_skipped_and_the_next_one_tells_everything_since():
    project = Project(1, 2, 3)
    async with Watching(project) as watching:
        project.change(1, status="released")
        project.answer = lambda _: LOST
        assert await watching.poll(600.0) == []
        assert watching.stats.failed_polls == 10
        assert watching.stats.seconds_since_success == 601.0
        assert type(watching.stats.last_error).__name__ == "APIConnectionError"
        project.answer = lambda _: None
        project.change(2, nickname="b")
        project.remove(3)
        told = await watching.poll()

        assert sorted(told) == [(1, "status"), (2, "nickname"), (3, "gone")]
        assert watching.stats.failed_polls == 0


async def test_a_watch_outlives_any_outage():
    project = Project(1, 2, 3)
    async with Watching(project, client={}) as watching:
        project.answer = lambda _: LOST
        await project.advance(7200.0)
        project.change(1, status="released")
        project.answer = lambda _: None
        await project.advance(120.0)

        assert watching.consumer.take() == [(1, "status")]


async def test_a_watch_by_id_outlives_any_outage():
    project = Project(*range(1, 31), numbered=False, page_size=1)
    ids = [number(n) for n in range(1, 31)]
    async with Watching(project, ids, client={}) as watching:
        project.answer = lambda _: LOST
        await project.advance(7200.0)
        assert watching.stats.failed_polls > 0
        project.change(1, status="released")
        project.answer = lambda _: None
        await project.advance(120.0)

        assert watching.consumer.take() == [(1, "status")]


async def test_throttling_loses_nothing_and_is_counted():
    project = Project(1, 2)
    answers = iter([response(429), response(429), None])
    project.answer = lambda _: next(answers, None)
    async with Watching(project, client={}) as watching:
        await project.advance(10.0)
        assert watching.changes.phones == stored(project)
        assert watching.stats.throttled == 2
        assert watching.stats.retries == 2


# --- phones that a poll cannot see


async def test_a_phone_that_the_listing_does_not_show_is_not_gone():
    project = Project(1, 2)
    async with Watching(project) as watching:
        project.hidden = {X}
        assert await watching.poll() == []
        project.change(1, nickname="a")
        assert await watching.poll() == [(1, "nickname")]
        project.hidden = set()
        assert await watching.poll() == []


async def test_a_phone_that_moves_between_pages_is_neither_gone_nor_new():
    project = Project(*range(1, 7), page_size=2)
    async with Watching(project) as watching:

        def move(path):
            if page_of(path).get("after") == str(Y):  # the first page has been read
                project.phones = {number(5): project.phones.pop(number(5))} | (
                    project.phones
                )

        project.answer = move
        project.forget()
        assert await watching.poll() == []
        assert project.lookups == [number(5)]
        project.answer = lambda _: None
        assert await watching.poll() == []


@pytest.mark.parametrize(
    "broken",
    [{"number": None}, {"status": 7}, {"id": "unknown"}],
)
async def test_a_record_that_cannot_be_read_is_neither_gone_nor_new(broken):
    project = Project(1, 2, 3)
    async with Watching(project) as watching:
        project.broken = {Y: phone_fields(Y) | broken}
        project.change(3, nickname="c")
        assert await watching.poll() == [(3, "nickname")]
        project.answer = lambda path: BROKEN if str(Y) in path else None
        assert await watching.poll() == []
        project.answer, project.broken = lambda _: None, {}
        assert await watching.poll() == []


@pytest.mark.parametrize("broken", [{"number": None}, {"id": "unknown"}])
async def test_a_record_that_the_first_poll_cannot_read_is_not_new_later(broken):
    project = Project(1, 2)
    project.broken = {Y: phone_fields(Y) | broken}
    project.answer = lambda path: BROKEN if "?" not in path else None
    async with Watching(project) as watching:
        project.broken = {}
        assert await watching.poll() == []
        project.add(3)
        assert await watching.poll() == [(3, "new")]


async def test_a_broken_record_of_a_new_phone_is_read_by_its_id():
    project = Project(1)
    async with Watching(project) as watching:
        project.add(2)
        project.broken = {Y: phone_fields(Y) | {"number": None}}
        assert await watching.poll() == [(2, "new")]


@pytest.mark.parametrize("failure", [LOST, BROKEN, NOT_FOUND])
async def test_a_listing_that_breaks_off_says_nothing_about_the_rest(failure):
    project = Project(*range(1, 7), page_size=2)
    async with Watching(project) as watching:
        project.change(1, nickname="a")
        project.remove(6)
        project.answer = lambda path: failure if "after" in path else None
        assert await watching.poll() == [(1, "nickname")]
        assert watching.stats.failed_polls == 1
        assert set(project.lookups) <= {Y}  # the cursor's phone
        project.answer = lambda _: None
        assert await watching.poll() == [(6, "gone")]


async def test_until_the_listing_was_read_to_its_end_no_phone_is_new():
    project = Project(*range(1, 7), page_size=2)
    project.answer = lambda path: BROKEN if "after" in path else None
    async with Watching(project) as watching:
        assert await watching.poll() == []
        project.answer = lambda _: None
        assert await watching.poll() == []
        project.add(7)
        assert await watching.poll() == [(7, "new")]


async def test_a_listing_whose_cursor_is_gone_has_no_end():
    """Many servers answer with an empty page when the cursor's phone is gone."""
    project = Project(*range(1, 7), page_size=2)

    def remove_the_cursor(path):
        if page_of(path) and page_of(path).get("after") == str(Y):
            project.phones.pop(Y, None)

    project.answer = remove_the_cursor
    async with Watching(project) as watching:
        project.answer = lambda _: None
        assert await watching.poll() == [(2, "gone")]
        assert watching.changes.phones == {**stored(project), Y: None}


async def test_a_lookup_that_fails_leaves_the_phone_as_it_was():
    project = Project(1)
    async with Watching(project, [X]) as watching:
        project.answer = lambda _: BROKEN
        assert await watching.poll() == []
        assert watching.stats.failed_polls == 1
        project.answer = lambda _: None
        assert await watching.poll() == []


async def test_one_id_that_always_fails_does_not_hold_back_the_others():
    project = Project(1, 2, 3)
    project.hidden = {X}
    async with Watching(project, [X, Y, Z]) as watching:
        project.answer = lambda path: BROKEN if str(X) in path else None
        project.change(2, nickname="b")
        assert await watching.poll() == [(2, "nickname")]
        assert watching.stats.last_error.status == 500


# --- a gateway's 404 page


@pytest.mark.parametrize("ids", [None, [1], [1, 2, 3]], ids=["all", "one", "three"])
async def test_a_minute_of_a_gateways_404_page_reports_nothing(ids):
    project = Project(1, 2, 3)
    given_ids = None if ids is None else [number(n) for n in ids]
    async with Watching(project, given_ids, every=10.0) as watching:
        project.answer = lambda _: NOT_FOUND
        assert await watching.poll(60.0) == []
        assert watching.stats.failed_polls == 6
        project.answer = lambda _: None
        assert await watching.poll(10.0) == []
        assert watching.stats.failed_polls == 0


@pytest.mark.parametrize("ids", [None, range(1, 31)], ids=["all", "given"])
@pytest.mark.parametrize("begins", range(1, 12))
async def test_a_gateway_that_breaks_during_a_poll_reports_nothing(ids, begins):
    project = Project(*range(1, 31), page_size=10)
    project.hidden = {number(n) for n in (3, 6, 17, 25)}
    baseline = stored(project)
    given_ids = None if ids is None else [number(n) for n in ids]
    async with Watching(project, given_ids, baseline=baseline) as watching:
        project.forget()
        project.answer = lambda _: NOT_FOUND if len(project.paths) > begins else None
        assert await watching.poll() == []
        project.answer = lambda _: None
        assert await watching.poll() == []


async def test_a_poll_whose_first_page_is_a_404_looks_nothing_up():
    project = Project(1, 2, 3)
    async with Watching(project) as watching:
        project.forget()
        project.answer = lambda _: NOT_FOUND
        await watching.poll()

        assert len(project.paths) == 1


@pytest.mark.parametrize("ids", [None, [X], [X, Y]])
async def test_no_api_at_the_first_poll_ends_the_watch(ids):
    project = Project()
    project.answer = lambda _: NOT_FOUND
    async with project.client() as diga, diga.phones.watch(ids) as changes:
        with pytest.raises(ConfigurationError):
            await anext(changes)
        with pytest.raises(StopAsyncIteration):
            await anext(changes)


async def test_a_poll_with_404s_alone_asks_the_listing_once():
    project = Project(2)
    async with Watching(project, [X]) as watching:
        project.forget()
        assert await watching.poll() == []
        lookup, page = project.paths
        assert page_of(lookup) is None
        assert page_of(page)["limit"] == "1"
        assert watching.stats.failed_polls == 0
        project.add(1)
        assert await watching.poll() == [(1, "new")]
        project.remove(1)
        assert await watching.poll() == [(1, "gone")]


async def test_a_listing_that_cannot_answer_leaves_a_404_in_doubt():
    project = Project(1)
    async with Watching(project, [X]) as watching:
        project.remove(1)
        project.answer = lambda path: BROKEN if page_of(path) else None
        assert await watching.poll() == []
        assert watching.stats.failed_polls == 1
        project.answer = lambda _: None
        assert await watching.poll() == [(1, "gone")]


async def test_a_server_without_a_listing_still_says_that_a_phone_is_gone():
    project = Project(1)
    async with Watching(project, [X]) as watching:
        project.remove(1)
        project.answer = lambda path: response(422) if page_of(path) else None
        assert await watching.poll() == [(1, "gone")]


# --- what ends a watch


@pytest.mark.parametrize(
    ("status", "error"), [(401, AuthenticationError), (403, PermissionDeniedError)]
)
@pytest.mark.parametrize("ids", [None, [X], [X, Y]])
async def test_a_refused_key_ends_a_watch(status, error, ids):
    project = Project(1, 2)
    async with project.client() as diga, diga.phones.watch(ids) as changes:
        taking = await soon(anext(changes))
        project.answer = lambda _: response(status)
        await project.advance(60.0)

        with pytest.raises(error):
            await taking
        assert changes.stats.last_error.status == status
        assert [change async for change in changes] == []


async def test_a_record_that_may_not_be_read_does_not_end_a_watch():
    project = Project(1, 2)
    project.hidden = {X}
    forbidden = response(403)
    project.answer = lambda path: forbidden if str(X) in path else None
    async with Watching(project, [X, Y]) as watching:
        project.change(2, nickname="b")
        assert await watching.poll() == [(2, "nickname")]


async def test_changes_that_were_read_come_before_the_error():
    project = Project(*range(1, 7), page_size=2)
    baseline = stored(project)
    project.change(1, nickname="a")
    project.answer = lambda path: response(401) if "after" in path else None
    async with (
        project.client() as diga,
        diga.phones.watch(baseline=baseline) as changes,
    ):
        await project.advance(1.0)
        assert (await anext(changes)).phone_id == X
        with pytest.raises(AuthenticationError):
            await anext(changes)


async def test_a_watch_of_finished_phones_ends():
    project = Project(1, 2)
    async with Watching(project, [X, Y]) as watching:
        project.change(1, status="finished")
        assert await watching.poll() == [(1, "status")]
        project.forget()
        assert await watching.poll() == []
        assert project.lookups == [Y]
        project.change(2, status="finished")
        assert await watching.poll() == [(2, "status")]

        assert watching.consumer.task.done()
        project.forget()
        await project.advance(600.0)
        assert project.requests == []


async def test_phones_that_the_baseline_has_as_finished_are_not_polled():
    project = Project(1)
    project.change(1, status="finished")
    async with Watching(project, [X], baseline=stored(project)) as watching:
        assert watching.consumer.task.done()

    assert project.requests == []


async def test_a_finished_or_gone_phone_is_not_looked_up_in_a_watch_of_all():
    project = Project(1, 2, 3)
    async with Watching(project) as watching:
        project.change(1, status="finished")
        project.remove(2)
        assert sorted(await watching.poll()) == [(1, "status"), (2, "gone")]
        project.hidden = {X}
        project.forget()
        assert await watching.poll() == []
        assert (project.pages, project.lookups) == (1, [])
        project.add(2)
        assert await watching.poll() == [(2, "new")]


# --- fewer requests


async def test_given_ids_are_read_by_the_listing_where_that_is_fewer_requests():
    project = Project(*range(1, 251))
    async with Watching(project, map(number, range(1, 201))) as watching:
        assert project.pages + len(project.lookups) == 2
        project.forget()
        project.change(150, nickname="a")
        assert await watching.poll() == [(150, "nickname")]
        assert project.pages + len(project.lookups) == 2


async def test_few_ids_of_a_large_project_are_looked_up_each():
    project = Project(*range(1, 1001))
    ids = [number(n) for n in (5, 500, 900)]
    async with Watching(project, ids) as watching:
        assert project.pages == 1
        project.forget()
        await watching.poll()
        project.change(900, nickname="a")

        assert await watching.poll() == [(900, "nickname")]
        assert project.pages == 0
        assert len(project.lookups) == 6


async def test_a_listing_that_cannot_be_read_leaves_given_ids_to_lookups():
    project = Project(1, 2, 3)
    project.answer = lambda path: BROKEN if page_of(path) else None
    async with Watching(project, [X, Y, Z]) as watching:
        project.change(3, nickname="c")
        assert await watching.poll() == [(3, "nickname")]
        assert watching.stats.failed_polls == 0
        assert watching.stats.last_error.status == 500


async def test_a_get_goes_ahead_of_a_poll():
    project = Project(*range(1, 301))
    project.seconds = 1.0
    limits = Limits(adaptive=False, concurrency=1)
    async with Watching(project, client={"limits": limits}) as watching:
        getting = await soon(watching.client.phones.get(X))
        await project.advance(2.0)

        assert (await getting).id == X
        assert project.lookups == [X]
        assert project.pages < 4


# --- the consumer


async def test_a_slow_consumer_gets_the_sum_of_the_changes():
    project = Project(1, 2, 3)
    async with project.client() as diga, diga.phones.watch() as changes:
        await project.advance(1.0)
        for round_ in range(50):
            project.change(1, nickname=str(round_))
            project.change(2, nickname=str(round_))
            project.change(3, status="released" if round_ % 2 == 0 else "assigned")
            await project.advance(60.0)
        assert changes.stats.polls == 51

        first, second = await anext(changes), await anext(changes)
        assert (first.phone_id, first.after.nickname) == (X, "49")
        assert (second.phone_id, second.after.nickname) == (Y, "49")
        waiting = await soon(anext(changes))
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_cancelling_one_anext_loses_no_change():
    project = Project(1)
    async with project.client() as diga, diga.phones.watch([X]) as changes:
        waiting = await soon(anext(changes))
        waiting.cancel()
        await asyncio.wait([waiting])
        project.change(1, nickname="a")
        await project.advance(60.0)

        assert (await anext(changes)).after.nickname == "a"


async def test_the_state_stays_as_it_is_while_a_change_is_dealt_with():
    project = Project(1, 2)
    async with project.client() as diga, diga.phones.watch() as changes:
        await project.advance(1.0)
        project.change(1, nickname="a")
        project.change(2, nickname="b")
        await project.advance(60.0)
        await anext(changes)
        state = changes.phones
        await project.advance(600.0)

        assert state == changes.phones
        assert [state[i].nickname for i in (X, Y)] == ["a", None]
        assert pickle.loads(pickle.dumps(state)) == state


async def test_without_a_block_it_begins_with_the_first_change_asked_for():
    project = Project(1)
    async with project.client() as diga:
        changes = diga.phones.watch(baseline={})
        await project.advance(60.0)
        assert project.requests == []
        assert changes.stats.polls == 0
        assert (await anext(changes)).phone_id == X
        await changes.aclose()
        await changes.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(changes)
        project.forget()
        with pytest.raises(RuntimeError, match="the watch is closed"):
            await changes.__aenter__()
        await project.advance(60.0)
        assert project.requests == []


async def test_leaving_the_block_during_a_poll_leaves_nothing():
    project = Project(1)
    project.seconds = 5.0
    async with project.client() as diga:
        async with diga.phones.watch([X]):
            await idle()
            assert project.open == 1
        assert project.open == 0
        assert project.clock.waiting == []


async def test_leaving_the_block_between_polls_leaves_nothing():
    project = Project(1)
    async with project.client() as diga:
        async with diga.phones.watch([X]) as changes:
            await project.advance(1.0)
        assert project.clock.waiting == []
        elapsed = changes.stats.elapsed
        await project.advance(60.0)
        assert changes.stats.elapsed == elapsed


async def test_a_watch_that_is_dropped_ends():
    project = Project(1)
    async with project.client() as diga:
        changes = diga.phones.watch([X])
        waiting = await soon(anext(changes))
        waiting.cancel()
        await asyncio.wait([waiting])
        del changes, waiting
        gc.collect()
        await idle()

        assert project.clock.waiting == []


@pytest.mark.parametrize("seconds", [0.0, 5.0], ids=["between polls", "during a poll"])
async def test_closing_the_client_ends_a_watch(seconds):
    project = Project(1)
    project.seconds = seconds
    async with project.client() as diga:
        changes = diga.phones.watch([X])
        waiting = await soon(anext(changes))
        await diga.close()

        with pytest.raises(ClientClosedError):
            await waiting
    assert project.clock.waiting == []


async def test_a_watch_belongs_to_its_loop():
    project = Project(1)
    raised = []

    def elsewhere():
        with asyncio.Runner() as runner:
            try:
                runner.run(changes.__anext__())
            except WrongLoopError as error:
                raised.append(error)

    async with project.client() as diga, diga.phones.watch([X]) as changes:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.get_running_loop().run_in_executor(None, thread.join)

    assert len(raised) == 1


async def test_a_watch_cannot_be_copied():
    async with Project().client() as diga:
        with pytest.raises(TypeError):
            pickle.dumps(diga.phones.watch())


async def test_the_log_says_once_that_polls_fail_and_once_that_they_succeed(caplog):
    caplog.set_level(logging.INFO, "diga_async")
    project = Project(1)
    async with Watching(project, [X]) as watching:
        await watching.poll()
        project.answer = lambda _: BROKEN
        await watching.poll(300.0)
        project.answer = lambda _: None
        await watching.poll(120.0)

    fail, succeed = caplog.records
    assert (fail.levelname, succeed.levelname) == ("WARNING", "INFO")
    assert fail.getMessage() == (
        "watch: polls fail, and continue: x:443 answered 500; "
        "what has changed is delivered when one succeeds"
    )
    assert succeed.getMessage() == "watch: polls of x:443 succeed again"


async def test_the_last_error_holds_no_frames():
    project = Project(1)
    async with Watching(project, [X]) as watching:
        project.answer = lambda _: LOST
        await watching.poll()

        assert watching.stats.last_error.__traceback__ is None
        assert pickle.loads(pickle.dumps(watching.stats)).failed_polls == 1


async def test_a_first_404_of_a_single_id_is_trusted_when_the_listing_answers():
    project = Project(2)
    async with Watching(project, [X], baseline={X: None}) as watching:
        assert watching.consumer.take() == []
        assert not isinstance(watching.stats.last_error, NotFoundError)


# --- killed and restarted

KINDS = ["change", "remove", "add", "hide", "show", "fail", "gateway", "kill", "wait"]
steps = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(1, 6), st.sampled_from("ab")),
    min_size=1,
    max_size=14,
)


class Bot:
    """Deals with changes, stores the state after each, and is killed and restarted."""

    def __init__(self, project, diga, ids, fates):
        self.project = project
        self.diga = diga
        self.ids = ids
        self.fates = fates
        self.stored = {} if ids is None else dict.fromkeys(ids)
        self.start()

    def start(self):
        baseline = self.stored
        self.changes = self.diga.phones.watch(self.ids, baseline=baseline)
        self.left = self.fates.pop() if self.fates else 1000
        self.task = asyncio.ensure_future(self.work())

    async def work(self):
        async for change in self.changes:
            assert change.before == self.stored.get(change.phone_id)
            assert change.after != change.before
            assert change.after == stored(self.project).get(change.phone_id)
            if not self.left:
                return  # killed after it has dealt with a change, before it is stored
            self.left -= 1
            self.stored = self.changes.phones

    async def restart(self):
        self.task.cancel()
        await asyncio.wait([self.task])
        if not self.task.cancelled() and (error := self.task.exception()):
            assert isinstance(error, ConfigurationError)  # a gateway at its first poll
        await self.changes.aclose()
        self.start()


def alter(project, kind, n, text):
    is_there = number(n) in project.phones
    answers = {"fail": BROKEN, "gateway": NOT_FOUND}
    project.answer = lambda _: answers.get(kind)
    if kind == "change" and is_there:
        project.change(n, nickname=text)
    elif kind == "remove" and is_there:
        project.remove(n)
    elif kind == "add" and not is_there:
        project.add(n)
    elif kind == "hide":
        project.hidden.add(number(n))
    elif kind == "show":
        project.hidden.discard(number(n))


@settings(max_examples=60, deadline=None)
@example(history=[("fail", 1, "a")] * 3, fates=[], watches_all=False)
@given(
    history=steps,
    fates=st.lists(st.integers(0, 5), max_size=6),
    watches_all=st.booleans(),
)
def test_a_bot_that_is_killed_at_any_point_hears_every_change_that_still_holds(
    history, fates, watches_all
):
    async def live():
        project = Project(1, 2, 3, page_size=2)
        ids = None if watches_all else [number(n) for n in range(1, 7)]
        async with project.client(retry=ONCE) as diga:
            bot = Bot(project, diga, ids, list(fates))
            for kind, n, text in history:
                alter(project, kind, n, text)
                await project.advance(60.0)
                if kind == "kill" or bot.task.done():
                    await bot.restart()
            project.answer, project.hidden, bot.fates = lambda _: None, set(), []
            await bot.restart()
            await project.advance(5.0)  # an outage is probed once a second
            there = {i: p for i, p in bot.stored.items() if p is not None}
            bot.task.cancel()
            await asyncio.wait([bot.task])
            await bot.changes.aclose()
        assert there == stored(project)

    asyncio.run(live())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
async def test_eager_tasks_change_nothing():
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    project = Project(1, 2)
    async with Watching(project, baseline={}) as watching:
        assert sorted(watching.consumer.take()) == [(1, "new"), (2, "new")]
        wait = watching.client.phones.wait_until(X, status="released", timeout=100.0)
        waiting = asyncio.ensure_future(wait)
        project.change(1, status="released")
        assert await watching.poll() == [(1, "status")]
        assert (await waiting).status == "released"
    assert project.clock.waiting == []
