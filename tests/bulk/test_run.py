"""Many ids through one lookup."""

import asyncio
import gc
import itertools
from collections import Counter
from contextlib import suppress
from types import SimpleNamespace
from uuid import UUID

import attrs
import pytest
from fakes import FakeClock, phone_fields, turn
from hypothesis import given, settings, strategies as st

from diga_async import (
    APIConnectionError,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    Failed,
    Found,
    InternalServerError,
    InvalidPhoneIdError,
    InvalidResponseError,
    Missing,
    NotFoundError,
    PermissionDeniedError,
    Phone,
    PhoneLookups,
    RateLimitError,
    Timeouts,
    WrongLoopError,
)
from diga_async._api.addresses import endpoint_of
from diga_async._bulk.plan import Plan
from diga_async._bulk.run import Run
from diga_async._bulk.source import Source
from diga_async._engine.call import Counters
from diga_async._flow.address_check import AddressCheck
from diga_async._flow.circuit_breaker import CircuitBreaker
from diga_async._phones.outcomes import PhoneOutcomes

BUSY = InternalServerError(status=503)
LOST = APIConnectionError("lost", phase="read")
GONE = NotFoundError(status=404)
ENDLESS = 10**9
ENDLESS_PAGE = 50


def phone_id(number):
    return UUID(int=number)


def ids(count):
    return [phone_id(n) for n in range(count)]


def phone(of):
    return Phone.from_dict(phone_fields(of))


class Desk:
    """Answers lookups; by hand, or by a rule."""

    def __init__(self, rule=None):
        self.clock = FakeClock()
        self.breaker = CircuitBreaker(300.0)
        self.check = AddressCheck()
        self.check.succeeded()
        self.endpoint = endpoint_of("https://x")
        self.listing = None
        self.questions = 0
        self.counters = Counters()
        self.observer = SimpleNamespace(is_on=False, run=lambda *_: None)
        self.rule = rule
        self.waiting = {}
        self.asked = []
        self.open = self.most_open = 0
        self.ended = []
        self.runs = []

    async def run(self, call):
        self.asked.append(call.subject)
        call.started, call.attempts, call.sending = self.clock.now(), 1, True
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            if self.rule is not None:
                await asyncio.sleep(0)
                return self.rule(call.subject)
            answer = asyncio.get_running_loop().create_future()
            self.waiting[call.subject] = (call, answer)
            return await answer
        finally:
            self.open -= 1
            call.sending = False
            self.waiting.pop(call.subject, None)

    def report(self, call, answer):
        """Nothing observes these runs."""

    @property
    def address(self):
        return SimpleNamespace(check=self.check, ask=self.ask)

    async def ask(self, timeouts):
        self.questions += 1
        self.check.listing_answered(await self.listing)

    def lookups(self, source, *, concurrency=4, **order):
        plan = Plan(
            results=PhoneOutcomes(),
            concurrency=concurrency,
            timeouts=Timeouts(),
            **order,
        )

        def start():
            run = Run(self, Source(source), plan, self.ended.append)
            self.runs.append(run)
            return run

        return PhoneLookups(start)

    async def answer(self, number, answer=None):
        _, waiting = self.waiting[phone_id(number)]
        waiting.set_result(answer or phone(phone_id(number)))
        await turn()


def found(of):
    return phone(of)


async def collect(lookups):
    return [outcome async for outcome in lookups]


def numbers(outcomes):
    return [o.phone_id.int for o in outcomes]


class TestOutcomes:
    async def test_every_answer_has_its_outcome(self):
        answers = {
            phone_id(0): phone(phone_id(0)),
            phone_id(1): NotFoundError(status=404),
            phone_id(2): BUSY,
        }
        outcomes = await collect(Desk(answers.get).lookups(ids(3), ordered=True))

        assert outcomes == [
            Found(phone_id(0), answers[phone_id(0)], 1, 0.0),
            Missing(phone_id(1), 1, 0.0),
            Failed(phone_id(2), BUSY, 1, 0.0),
        ]

    @pytest.mark.parametrize(
        ("given", "text"),
        [
            ("", ""),
            ("..", ".."),
            ("x" * 1000, "x" * 100),
            (None, "None"),
            (7, "7"),
            pytest.param(10**5000, "<int>", id="huge"),
            (b"x", "b'x'"),
        ],
    )
    async def test_an_invalid_id_fails_and_the_run_goes_on(self, given, text):
        desk = Desk(found)
        outcomes = await collect(
            desk.lookups([phone_id(0), given, phone_id(1)], ordered=True)
        )

        assert [o.phone_id for o in outcomes] == [phone_id(0), text, phone_id(1)]
        assert isinstance(outcomes[1].error, InvalidPhoneIdError)
        assert outcomes[1].error.__traceback__ is None
        assert outcomes[1].attempts == 0
        assert len(desk.asked) == 2

    async def test_text_and_uuid_are_the_same_id(self):
        desk = Desk(found)
        text = str(phone_id(0xAB)).upper()

        outcomes = await collect(desk.lookups([text, phone_id(0xAB)]))

        assert [o.phone_id for o in outcomes] == [phone_id(0xAB)] * 2
        assert len(desk.asked) == 1

    async def test_outcomes_come_in_order_of_completion(self):
        desk = Desk()
        lookups = desk.lookups(ids(3))
        first = asyncio.create_task(anext(lookups))
        await turn()
        await desk.answer(2)
        assert (await first).phone_id == phone_id(2)
        await desk.answer(0)
        await desk.answer(1)

        assert numbers(await collect(lookups)) == [0, 1]

    async def test_ordered_outcomes_come_in_order_of_the_source(self):
        desk = Desk()
        lookups = desk.lookups(ids(3), ordered=True)
        first = asyncio.create_task(anext(lookups))
        await turn()
        await desk.answer(2)
        await desk.answer(1)
        assert not first.done()
        await desk.answer(0)

        assert (await first).phone_id == phone_id(0)
        assert numbers(await collect(lookups)) == [1, 2]

    async def test_an_empty_source_ends_immediately(self):
        desk = Desk()

        assert await collect(desk.lookups([])) == []
        assert desk.asked == []

    async def test_after_the_end_every_anext_ends(self):
        lookups = Desk(found).lookups(ids(1))
        await collect(lookups)

        with pytest.raises(StopAsyncIteration):
            await anext(lookups)


class TestSources:
    @pytest.mark.parametrize("make", [list, tuple, iter, set, dict.fromkeys])
    async def test_any_iterable_is_accepted(self, make):
        outcomes = await collect(Desk(found).lookups(make(ids(9))))

        assert sorted(numbers(outcomes)) == list(range(9))

    async def test_an_async_iterable_is_accepted(self):
        async def source():
            for i in ids(9):
                await asyncio.sleep(0)
                yield i

        outcomes = await collect(Desk(found).lookups(source()))

        assert sorted(numbers(outcomes)) == list(range(9))

    async def test_an_infinite_iterable_is_accepted(self):
        desk = Desk(found)
        numbers_ = itertools.count()

        async with desk.lookups(phone_id(n) for n in numbers_) as lookups:
            taken = [await anext(lookups) for _ in range(100)]

        assert len(taken) == 100
        assert next(numbers_) <= 100 + 2 * 4

    @pytest.mark.parametrize("ordered", [False, True])
    async def test_the_source_is_read_at_most_twice_the_concurrency_ahead(
        self, ordered
    ):
        desk = Desk(found)
        count = itertools.count()
        source = (phone_id(n) for n in count)
        async with desk.lookups(source, concurrency=4, ordered=ordered) as lookups:
            for handed_out in range(1, 20):
                await anext(lookups)
                await turn()
                assert next(count) == handed_out + 2 * 4 + handed_out - 1

    async def test_one_slow_id_bounds_an_ordered_run(self):
        desk = Desk()
        async with desk.lookups((phone_id(n) for n in itertools.count()), ordered=True):
            await turn()
            for number in (1, 2, 3, 4, 5, 6, 7):
                await desk.answer(number)

            assert numbers_of(desk.asked) == list(range(8))

    @pytest.mark.parametrize("k", range(6))
    async def test_an_exception_of_the_source_follows_the_outcomes_before_it(self, k):
        def source():
            yield from ids(k)
            raise KeyError(k)

        lookups = Desk(found).lookups(source())
        outcomes = [await anext(lookups) for _ in range(k)]
        with pytest.raises(KeyError):
            await anext(lookups)

        assert sorted(numbers(outcomes)) == list(range(k))

    async def test_an_exception_of_the_source_lets_taken_ids_finish(self):
        def source():
            yield from ids(2)
            raise KeyError

        desk = Desk()
        lookups = desk.lookups(source())
        task = asyncio.create_task(collect(lookups))
        await turn()
        await desk.answer(0)
        await desk.answer(1, BUSY)

        with pytest.raises(KeyError):
            await task
        assert lookups.stats.failed == 1

    async def test_a_source_that_raised_is_not_read_again(self):
        """The other workers must not ask an iterator that could go on."""

        class Source:
            def __init__(self):
                self.numbers = itertools.count()

            def __iter__(self):
                return self

            def __next__(self):
                number = next(self.numbers)
                if number == 5:
                    raise KeyError
                return phone_id(number)

        source = Source()
        lookups = Desk(found).lookups(source, concurrency=8)
        outcomes = [await anext(lookups) for _ in range(5)]
        with pytest.raises(KeyError):
            await anext(lookups)

        assert sorted(numbers(outcomes)) == list(range(5))
        assert next(source.numbers) == 6

    async def test_a_cancellation_raised_by_the_source_propagates(self):
        """The source awaited something that other code cancelled."""

        async def source():
            yield phone_id(0)
            raise asyncio.CancelledError

        lookups = Desk(found).lookups(source())
        await anext(lookups)

        with pytest.raises(asyncio.CancelledError):
            await anext(lookups)

    @pytest.mark.parametrize(
        "one", ["3c90c3cc-0d44-4b50-8888-8dd25736052a", b"x", phone_id(1)]
    )
    def test_a_single_id_is_a_type_error(self, one):
        with pytest.raises(TypeError, match="not one id"):
            Source(one)

    def test_a_value_that_is_not_iterable_is_a_type_error(self):
        with pytest.raises(TypeError):
            Source(7)

    async def test_a_hanging_source_can_be_closed(self):
        closed = []

        async def source():
            try:
                yield phone_id(0)
                await asyncio.get_running_loop().create_future()
            finally:
                closed.append(True)

        async with Desk(found).lookups(source()) as lookups:
            await anext(lookups)

        assert closed == [True]

    async def test_a_second_close_does_not_interrupt_the_finally_of_the_source(self):
        """The task that waited for the end gave up, and left once more."""
        begun, ending, ended = asyncio.Event(), asyncio.Event(), []

        async def source():
            try:
                yield phone_id(0)
                await asyncio.get_running_loop().create_future()
            finally:
                begun.set()
                await ending.wait()
                ended.append(True)

        lookups = Desk(found).lookups(source())
        await anext(lookups)
        first = asyncio.create_task(lookups.aclose())
        await begun.wait()
        first.cancel()
        second = asyncio.create_task(lookups.aclose())
        await turn()
        ending.set()
        await asyncio.wait([first, second])

        assert ended == [True]

    async def test_a_list_or_a_file_is_not_closed(self):
        class File:
            closed = False

            def __iter__(self):
                return iter(ids(2))

            def close(self):
                self.closed = True

        file = File()
        await collect(Desk(found).lookups(file))

        assert not file.closed


def numbers_of(phone_ids):
    return [i.int for i in phone_ids]


class TestRepeatedIds:
    async def test_an_unfinished_lookup_is_shared(self):
        desk = Desk()
        lookups = desk.lookups([phone_id(1)] * 3)
        task = asyncio.create_task(collect(lookups))
        await turn()
        await desk.answer(1)

        assert numbers(await task) == [1, 1, 1]
        assert len(desk.asked) == 1

    @pytest.mark.parametrize("ordered", [False, True])
    async def test_a_buffered_outcome_is_shared(self, ordered):
        desk = Desk()
        source = asyncio.Queue()

        async def from_queue():
            while (i := await source.get()) is not None:
                yield i

        lookups = desk.lookups(from_queue(), ordered=ordered)
        async with lookups:
            source.put_nowait(phone_id(1))
            await turn()
            await desk.answer(1)
            source.put_nowait(phone_id(1))
            source.put_nowait(None)
            await turn()

            assert numbers(await collect(lookups)) == [1, 1]
        assert len(desk.asked) == 1

    async def test_a_delivered_id_is_looked_up_again(self):
        desk = Desk(found)
        outcomes = await collect(desk.lookups([phone_id(1)] * 5, concurrency=1))

        assert numbers(outcomes) == [1] * 5
        assert len(desk.asked) > 1

    async def test_a_run_of_distinct_ids_looks_each_up_once(self):
        desk = Desk(found)
        given = [phone_id(1), "bad", phone_id(2), phone_id(1), "bad"] * 50

        outcomes = await collect(desk.lookups(given, distinct=True, concurrency=1))

        assert sorted(str(o.phone_id) for o in outcomes) == sorted(
            [str(phone_id(1)), str(phone_id(2)), "bad"]
        )
        assert len(desk.asked) == 2

    async def test_invalid_items_are_distinguished_by_type_and_text(self):
        """It is the key in a batch, so no failure may hide another."""
        given = ["None", None, "y" * 150 + "1", "y" * 150 + "2", 5, b"5", "None", None]

        outcomes = await collect(Desk(found).lookups(given, distinct=True))

        assert [o.phone_id for o in outcomes] == [
            "None",
            "None (NoneType)",
            "y" * 150 + "1",
            "y" * 150 + "2",
            "5",
            "b'5'",
        ]


class TestEarlyEnd:
    async def refuse(self, answer, *, first=None):
        """Four in flight: one answer ends the run, one is found, two are waiting."""
        desk = Desk()
        lookups = desk.lookups(phone_id(n) for n in range(ENDLESS))
        outcomes = []

        async def consume():
            async for outcome in lookups:
                outcomes.append(outcome)  # noqa: PERF401 - it may raise under way

        task = asyncio.create_task(consume())
        await turn()
        if first is not None:
            await desk.answer(3, first)
        waiting, _ = desk.waiting[phone_id(2)]
        waiting.sending = False
        await desk.answer(0, answer)
        await desk.answer(1)
        return desk, lookups, outcomes, task

    @pytest.mark.parametrize(
        "answer",
        [
            AuthenticationError(status=401),
            PermissionDeniedError(status=403),
            RateLimitError(status=429, retry_after=3600.0),
            InternalServerError(status=502, retry_after=3600.0),
            ClientClosedError("closed"),
        ],
    )
    async def test_some_errors_end_a_run(self, answer):
        desk, lookups, outcomes, task = await self.refuse(answer)
        assert desk.most_open == 4
        await desk.answer(3, BUSY)

        with pytest.raises(type(answer)):
            await task
        # The one in flight was awaited; those that would have to be sent again,
        # or were held back, stay without an outcome.
        assert numbers(outcomes) == [1]
        assert numbers_of(lookups.unanswered) == [0, 2, 3]
        assert len(desk.asked) == 4

    async def test_a_403_after_a_success_fails_only_its_id(self):
        _, lookups, outcomes, task = await self.refuse(
            PermissionDeniedError(status=403), first=NotFoundError(status=404)
        )

        assert [type(o) for o in outcomes] == [Missing, Failed, Found]
        await lookups.aclose()
        await task

    async def test_an_invalid_record_shows_that_the_key_is_permitted(self):
        _, lookups, outcomes, task = await self.refuse(
            PermissionDeniedError(status=403),
            first=InvalidResponseError(status=200),
        )

        assert [type(o) for o in outcomes] == [Failed, Failed, Found]
        await lookups.aclose()
        await task

    async def test_silence_for_max_outage_ends_a_run(self):
        desk = Desk()
        lookups = desk.lookups(ids(9))
        task = asyncio.create_task(collect(lookups))
        await turn()
        call, _ = desk.waiting[phone_id(0)]
        call.silence.failed(desk.clock.now())
        await desk.clock.advance(300.0)
        for number in range(4):
            await desk.answer(number, LOST)

        with pytest.raises(APIConnectionError):
            await task
        assert len(lookups.unanswered) == 4

    async def test_time_between_two_lookups_does_not_count(self):
        """Its source may be slow."""
        desk = Desk()

        async def slow():
            for phone_id in ids(3):
                yield phone_id
                await desk.clock.sleep(400.0)

        def fails(_):
            for run in desk.runs:
                run._silence.failed(desk.clock.now())
            return BUSY

        desk.rule = fails
        task = asyncio.create_task(collect(desk.lookups(slow(), concurrency=1)))
        await desk.clock.advance(2000.0)

        assert [type(outcome) for outcome in await task] == [Failed] * 3

    async def test_resolved_outcomes_are_delivered_before_the_error(self):
        desk = Desk()
        lookups = desk.lookups(ids(3), ordered=True)
        task = asyncio.create_task(anext(lookups))
        await turn()
        await desk.answer(2)
        await desk.answer(0)
        await desk.answer(1, AuthenticationError(status=401))

        assert (await task).phone_id == phone_id(0)
        assert (await anext(lookups)).phone_id == phone_id(2)
        with pytest.raises(AuthenticationError):
            await anext(lookups)
        assert numbers_of(lookups.unanswered) == [1]
        with pytest.raises(StopAsyncIteration):
            await anext(lookups)

    async def test_a_repeated_id_is_unanswered_as_often_as_it_was_given(self):
        desk = Desk(lambda _: AuthenticationError(status=401))
        lookups = desk.lookups([phone_id(1)] * 3)

        with pytest.raises(AuthenticationError):
            await collect(lookups)
        assert numbers_of(lookups.unanswered) == [1, 1, 1]

    async def test_an_exception_of_a_lookup_ends_the_run(self):
        """Only a callable that is asked for the key can raise."""

        def rule(_):
            raise ZeroDivisionError

        lookups = Desk(rule).lookups(ids(9))

        with pytest.raises(ZeroDivisionError):
            await collect(lookups)
        assert lookups.unanswered

    async def test_closing_the_client_cancels_what_is_in_flight(self):
        desk = Desk()
        lookups = desk.lookups(ids(9))
        task = asyncio.create_task(collect(lookups))
        await turn()

        desk.runs[0].halt(ClientClosedError("closed"), immediately=True)
        await desk.runs[0].wait_for_workers()

        with pytest.raises(ClientClosedError):
            await task
        assert desk.open == 0
        assert len(lookups.unanswered) == 4

    async def test_an_error_of_a_run_is_in_no_frame_of_its_traceback(self):
        lookups = Desk(lambda _: AuthenticationError(status=401)).lookups(ids(1))

        with pytest.raises(AuthenticationError) as caught:
            await anext(lookups)

        error, frame = caught.value, caught.value.__traceback__
        while frame is not None:
            if frame.tb_frame.f_code.co_filename.endswith("diga_async/_bulk/run.py"):
                assert error not in frame.tb_frame.f_locals.values()
            frame = frame.tb_next


class TestSourcesThatWait:
    """Sources whose own code ends slowly."""

    @staticmethod
    def ending(begun, may_end, ended):
        async def source():
            try:
                for each in ids(ENDLESS_PAGE):
                    yield each
            finally:
                begun.set()
                await may_end.wait()
                ended.append(True)

        return source()

    async def halted(self, **order):
        begun, may_end, ended = asyncio.Event(), asyncio.Event(), []
        desk = Desk(lambda _: AuthenticationError(status=401))
        lookups = desk.lookups(self.ending(begun, may_end, ended), **order)
        return lookups, begun, may_end, ended

    async def test_cancelling_an_anext_does_not_cut_the_finally_off(self):
        lookups, begun, may_end, ended = await self.halted()
        for _ in range(3):
            waiting = asyncio.create_task(anext(lookups))
            await begun.wait()
            await turn()
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
        may_end.set()

        with pytest.raises(AuthenticationError):
            await anext(lookups)
        assert ended == [True]

    async def test_a_second_consumer_waits_for_the_same_end(self):
        lookups, begun, may_end, ended = await self.halted()
        consumers = [asyncio.create_task(collect(lookups)) for _ in range(3)]
        await begun.wait()
        await turn()
        may_end.set()

        ends = await asyncio.gather(*consumers, return_exceptions=True)

        assert [type(end) for end in ends].count(AuthenticationError) == 1
        assert ends.count([]) == 2
        assert ended == [True]

    async def test_leaving_while_another_task_waits_for_the_end(self):
        lookups, begun, may_end, ended = await self.halted()
        consumer = asyncio.create_task(collect(lookups))
        await begun.wait()
        closing = asyncio.create_task(lookups.aclose())
        await turn()
        assert not closing.done()
        may_end.set()
        await closing

        assert await consumer == []
        assert ended == [True]

    async def test_an_error_of_the_sources_finally_is_raised_once(self):
        async def source():
            try:
                yield phone_id(0)
            finally:
                raise KeyError("own")

        lookups = Desk(found).lookups(source())
        await anext(lookups)

        with pytest.raises(KeyError, match="own"):
            await anext(lookups)
        with pytest.raises(StopAsyncIteration):
            await anext(lookups)

    async def test_a_source_that_swallows_its_cancellation_is_not_looked_up(self):
        async def source():
            for each in ids(2):
                yield each
            with suppress(asyncio.CancelledError):
                await asyncio.get_running_loop().create_future()
            yield phone_id(7)

        desk = Desk()
        lookups = desk.lookups(source())
        task = asyncio.create_task(collect(lookups))
        await turn()
        await desk.answer(0, AuthenticationError(status=401))
        await desk.answer(1)

        with pytest.raises(AuthenticationError):
            await task
        assert numbers_of(desk.asked) == [0, 1]
        assert numbers_of(lookups.unanswered) == [0, 7]


class TestWrongAddress:
    """A server that answers everything with a 404."""

    def desk(self, rule=None):
        desk = Desk(rule)
        desk.check = AddressCheck()
        desk.listing = asyncio.get_running_loop().create_future()
        return desk

    async def test_it_ends_the_run_at_the_first_404(self):
        desk = self.desk(lambda _: GONE)
        desk.listing.set_result(404)
        lookups = desk.lookups(ids(9))

        with pytest.raises(ConfigurationError, match="no Diga API"):
            await collect(lookups)
        assert desk.questions == 1
        assert numbers_of(lookups.unanswered) == list(range(len(desk.asked)))

    @pytest.mark.parametrize("concurrency", [1, 4])
    async def test_a_source_that_waits_for_its_first_outcome_learns_of_it(
        self, concurrency
    ):
        async def source():
            yield phone_id(0)
            await asyncio.get_running_loop().create_future()

        desk = self.desk(lambda _: GONE)
        desk.listing.set_result(404)

        with pytest.raises(ConfigurationError):
            await collect(desk.lookups(source(), concurrency=concurrency))

    async def test_only_missing_outcomes_wait_for_the_answer(self):
        answers = {phone_id(n): phone(phone_id(n)) for n in range(1, 20)}
        desk = self.desk(lambda i: answers.get(i, GONE))
        lookups = desk.lookups(ids(20), concurrency=1)

        seen = [await anext(lookups) for _ in range(19)]
        assert all(isinstance(outcome, Found) for outcome in seen)
        desk.listing.set_result(200)
        assert [type(o) for o in await collect(lookups)] == [Missing]

    async def test_the_order_of_the_source_is_kept(self):
        desk = self.desk(lambda i: phone(i) if i.int else GONE)
        lookups = desk.lookups(ids(6), ordered=True)
        task = asyncio.create_task(collect(lookups))
        await turn()
        desk.listing.set_result(200)

        assert numbers(await task) == list(range(6))

    async def test_without_an_answer_the_next_run_asks_again(self):
        desk = self.desk(lambda _: GONE)
        desk.listing.set_result(None)

        first = await collect(desk.lookups(ids(20)))
        second = await collect(desk.lookups(ids(20)))

        assert [type(o) for o in first + second] == [Missing] * 40
        assert desk.questions == 2

    async def test_a_settled_question_is_not_asked_again(self):
        desk = self.desk(lambda _: GONE)
        desk.listing.set_result(500)

        for _ in range(2):
            assert len(await collect(desk.lookups(ids(20)))) == 20
        assert desk.questions == 1

    async def test_a_wrong_address_ends_each_later_run_without_a_question(self):
        desk = self.desk(lambda _: GONE)
        desk.listing.set_result(404)

        for _ in range(3):
            with pytest.raises(ConfigurationError):
                await collect(desk.lookups(ids(20)))
        assert desk.questions == 1

    async def test_it_is_never_asked_after_a_success(self):
        desk = self.desk(lambda i: phone(i) if i.int else GONE)
        desk.check.succeeded()

        assert len(await collect(desk.lookups(ids(9)))) == 9
        assert desk.questions == 0

    async def test_a_success_while_it_is_asked_outweighs_a_404(self):
        desk = self.desk(lambda _: GONE)
        task = asyncio.create_task(collect(desk.lookups(ids(3))))
        await turn()
        desk.check.succeeded()
        desk.listing.set_result(404)

        assert [type(o) for o in await task] == [Missing] * 3

    @pytest.mark.parametrize("way", ["aclose", "close", "collected"])
    async def test_nothing_is_left_of_a_question_under_way(self, way):
        desk = self.desk(lambda _: GONE)
        before = asyncio.all_tasks()
        lookups = desk.lookups(ids(9), concurrency=2)
        task = asyncio.create_task(anext(lookups))
        await turn()
        assert desk.questions == 1
        if way == "close":
            desk.runs[0].halt(ClientClosedError("closed"), immediately=True)
            await desk.runs[0].wait_for_workers()
            with pytest.raises(ClientClosedError):
                await task
        else:
            task.cancel()
            await asyncio.wait([task])
        if way == "aclose":
            await lookups.aclose()
            assert len(lookups.unanswered) == 4
        del lookups, task
        gc.collect()
        await turn()

        assert asyncio.all_tasks() == before
        assert len(desk.ended) == 1

    async def test_an_error_of_the_address_question_ends_the_run(self):
        """Only a callable that is asked for the key can raise."""
        desk = self.desk(lambda _: GONE)
        desk.listing.set_exception(ZeroDivisionError())

        with pytest.raises(ZeroDivisionError):
            await collect(desk.lookups(ids(3)))


def test_a_run_of_a_closed_loop_can_be_left():
    closed = []

    def source():
        try:
            yield from ids(100)
        finally:
            closed.append(True)

    async def begin():
        lookups = Desk(found).lookups(source())
        await anext(lookups)
        return lookups

    lookups = asyncio.run(begin())
    asyncio.run(lookups.aclose())
    asyncio.run(lookups.aclose())

    assert closed == [True]
    assert lookups.unanswered


class TestLeaving:
    @pytest.mark.parametrize("k", range(5))
    @pytest.mark.parametrize("way", ["break", "raise", "cancel", "aclose"])
    async def test_leaving_at_any_point_leaves_nothing(self, k, way):
        desk = Desk(found)
        closed = []

        def source():
            try:
                yield from (phone_id(n) for n in range(ENDLESS))
            finally:
                closed.append(True)

        async def consume():
            async with desk.lookups(source()) as lookups:
                for _ in range(k):
                    await anext(lookups)
                if way == "raise":
                    raise KeyError
                if way == "cancel":
                    asyncio.current_task().cancel()
                    await asyncio.sleep(0)
                if way == "aclose":
                    await lookups.aclose()
                    await lookups.aclose()
                    with pytest.raises(StopAsyncIteration):
                        await anext(lookups)

        expected = {"raise": KeyError, "cancel": asyncio.CancelledError}.get(way)
        task = asyncio.create_task(consume())
        if expected is None:
            await task
        else:
            with pytest.raises(expected):
                await task

        # A generator that was never begun has no `finally` to run.
        assert closed == [True] or (closed, k) == ([], 0)
        assert (desk.open, len(desk.ended)) == (0, 1)

    async def test_a_break_without_a_block_ends_the_run(self):
        desk = Desk(found)
        async for _ in desk.lookups(phone_id(n) for n in range(ENDLESS)):
            break
        gc.collect()
        await turn()

        assert desk.open == 0
        assert len(desk.ended) == 1

    async def test_undelivered_outcomes_count_as_unanswered(self):
        desk = Desk(found)
        lookups = desk.lookups(ids(9))
        async with lookups:
            await anext(lookups)
            await turn()
            assert lookups.unanswered == ()

        assert len(lookups.unanswered) == 8

    @pytest.mark.parametrize("ordered", [False, True])
    async def test_an_undelivered_invalid_item_is_unanswered(self, ordered):
        lookups = Desk(found).lookups(["a", "b", phone_id(0), "c"], ordered=ordered)
        async with lookups:
            outcome = await anext(lookups)
            await turn()

        left = {"a", "b", "c", phone_id(0)} - {outcome.phone_id}
        assert set(lookups.unanswered) == left

    @pytest.mark.parametrize("is_async", [False, True])
    async def test_dropping_the_stream_ends_the_source(self, is_async):
        """Immediately, not at the next garbage collection."""
        ended = []

        def source():
            try:
                yield from ids(100)
            finally:
                ended.append(True)

        async def async_source():
            try:
                for each in ids(100):
                    yield each
            finally:
                ended.append(True)

        async def leave():
            given = async_source() if is_async else source()
            async for _ in Desk(found).lookups(given):
                break

        gc.disable()
        try:
            await leave()
            await turn()
        finally:
            gc.enable()

        assert ended == [True]

    async def test_cancelling_one_anext_loses_no_outcome(self):
        desk = Desk()
        lookups = desk.lookups(ids(3))
        for _ in range(3):
            waiting = asyncio.create_task(anext(lookups))
            await turn()
            waiting.cancel()
            await turn()
            assert waiting.cancelled()
        for number in range(3):
            await desk.answer(number)

        assert numbers(await collect(lookups)) == [0, 1, 2]

    async def test_cancelling_as_the_outcome_comes_loses_no_outcome(self):
        desk = Desk()
        lookups = desk.lookups(ids(1))
        waiting = asyncio.create_task(anext(lookups))
        await turn()
        _, answer = desk.waiting[phone_id(0)]
        answer.set_result(phone(phone_id(0)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])

        rest = await collect(lookups)
        assert len(rest) + (not waiting.cancelled()) == 1

    async def test_several_consumers_may_wait_together(self):
        desk = Desk(found)
        lookups = desk.lookups(ids(9))

        parts = await asyncio.gather(*(collect(lookups) for _ in range(3)))

        assert sorted(numbers(itertools.chain(*parts))) == list(range(9))

    async def test_a_run_belongs_to_its_loop(self):
        lookups = Desk(found).lookups(ids(1))
        async with lookups:

            async def ask():
                return await anext(lookups)

            with pytest.raises(WrongLoopError):
                await asyncio.to_thread(asyncio.run, ask())
            with pytest.raises(WrongLoopError):
                await asyncio.to_thread(asyncio.run, lookups.aclose())
            assert len(await collect(lookups)) == 1

    async def test_the_garbage_collector_may_run_after_the_loop(self):
        lookups = Desk().lookups(ids(1))
        await lookups.aclose()
        del lookups


class TestStats:
    async def test_stats_count_delivered_outcomes(self):
        answers = {
            phone_id(0): phone(phone_id(0)),
            phone_id(1): NotFoundError(status=404),
            phone_id(2): BUSY,
        }
        desk = Desk(answers.get)
        lookups = desk.lookups(ids(3), ordered=True)
        assert attrs.astuple(lookups.stats) == (0, 0, 0, 0, 0, 0, 0.0, 0.0, None)

        seen = []
        async for _ in lookups:
            s = lookups.stats
            seen.append((s.found, s.missing, s.failed))

        assert seen == [(1, 0, 0), (1, 1, 0), (1, 1, 1)]

    async def test_stats_estimate_the_time_left_of_a_source_with_a_length(self):
        desk = Desk()
        lookups = desk.lookups(ids(8))
        async with lookups:
            await turn()
            for number in range(4):
                await desk.clock.advance(1.0)
                await desk.answer(number)
                await anext(lookups)
            await desk.clock.advance(1.0)
            stats = lookups.stats

        assert stats.elapsed == 5.0
        assert stats.rate == pytest.approx(1.0)
        assert stats.remaining_seconds == pytest.approx(4.0)

    async def test_stats_estimate_no_time_left_without_a_length(self):
        desk = Desk(found)
        lookups = desk.lookups(iter(ids(8)))
        await collect(lookups)

        assert lookups.stats.remaining_seconds is None

    async def test_no_time_is_left_of_an_empty_or_finished_run(self):
        async with Desk(found).lookups([]) as nothing:
            assert nothing.stats.remaining_seconds == 0.0

        done = Desk(found).lookups(ids(3))
        await collect(done)
        assert done.stats.remaining_seconds == 0.0

    async def test_its_time_goes_on_until_the_consumer_has_everything(self):
        desk = Desk(found)
        lookups = desk.lookups(ids(8))
        async with lookups:
            await turn()
            for _ in range(4):
                await desk.clock.advance(1.0)
                await anext(lookups)
            await desk.clock.advance(1.0)
            stats = lookups.stats

            assert (stats.elapsed, stats.found) == (5.0, 4)
            assert stats.rate == pytest.approx(1.0)
            assert stats.remaining_seconds == pytest.approx(4.0)
            await collect(lookups)
            await desk.clock.advance(9.0)
            assert lookups.stats.elapsed == 5.0

    @pytest.mark.parametrize("taken", [0, 3])
    async def test_its_time_ends_when_it_is_left(self, taken):
        desk = Desk(found)
        async with desk.lookups(ids(8)) as lookups:
            for _ in range(taken):
                await anext(lookups)
            await desk.clock.advance(2.0)
        await desk.clock.advance(9.0)

        assert lookups.stats.elapsed == 2.0

    async def test_elapsed_stands_still_after_the_end(self):
        desk = Desk(found)
        lookups = desk.lookups(ids(1))
        await collect(lookups)
        await desk.clock.advance(9.0)

        assert lookups.stats.elapsed == 0.0


RULES = {
    "found": found,
    "missing": lambda _: NotFoundError(status=404),
    "failed": lambda _: BUSY,
}


@settings(max_examples=150, deadline=None)
@given(
    script=st.lists(
        st.tuples(st.integers(0, 12), st.sampled_from(sorted(RULES))), max_size=40
    ),
    concurrency=st.integers(1, 9),
    ordered=st.booleans(),
    lazy=st.booleans(),
)
def test_ids_in_equal_outcomes_out(script, concurrency, ordered, lazy):
    """For any answers, repetitions, order and concurrency."""
    answers = {phone_id(number): RULES[rule] for number, rule in script}
    desk = Desk(lambda i: answers[i](i))
    given = [phone_id(number) for number, _ in script]

    async def run():
        source = iter(given) if lazy else given
        return await collect(
            desk.lookups(source, concurrency=concurrency, ordered=ordered)
        )

    outcomes = asyncio.run(run())

    assert Counter(o.phone_id for o in outcomes) == Counter(given)
    assert not ordered or [o.phone_id for o in outcomes] == given
    assert desk.most_open <= concurrency
    assert (desk.open, len(desk.ended)) == (0, 1)
