"""One lookup: what is retried, when, and at what cost."""

import asyncio
import inspect
import itertools
import math
from uuid import UUID

import pytest
from fakes import PHONE_ID, FakeClock, ScriptedTransport, phone_fields, response, turn

from diga_async import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    InternalServerError,
    InvalidResponseError,
    Limits,
    NotFoundError,
    Phone,
    RateLimitError,
    RetryPolicy,
    Timeouts,
)
from diga_async._api.operation import Operation
from diga_async._api.phones import get_phone
from diga_async._engine.address_question import wrong_address
from diga_async._engine.call import Call, Counters, kind_of
from diga_async._engine.credentials import key_opener
from diga_async._engine.engine import Engine, Settings
from diga_async._engine.observer import Observer
from diga_async._flow.retry import MAX_TOKENS, RETRY_COST
from diga_async._transport.failures import Shortage

FOUND = response(body=phone_fields())
BUSY = response(503)
THROTTLED = response(429)
LOST = APIConnectionError("lost", phase="read")


def never():
    return math.inf


class Stack:
    """An engine over fakes."""

    def __init__(
        self,
        *script,
        key="sk-1",
        policy=None,
        limits=None,
        chance=0.5,
        control=None,
    ):
        self.clock = FakeClock()
        self.transport = ScriptedTransport(*script)
        self.credentials = key_opener(key)()
        self.counters = Counters()
        self.engine = Engine(
            Settings(
                base_url="https://x",
                retry=policy or RetryPolicy(),
                limits=Limits(**{"adaptive": False, **(limits or {})}),
                control=control and (lambda: control),
            ),
            self.credentials,
            self.transport,
            self.counters,
            clock=self.clock,
            chance=lambda: chance,
        )

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def observe(self, hook):
        self.engine.observer = Observer(hook)

    def call(self, *, bulk=False, **timeouts):
        allowed = Timeouts(**timeouts)
        return Call(
            operation=get_phone(UUID(PHONE_ID)),
            timeouts=allowed,
            bulk=bulk,
            deadline=math.inf if bulk else self.clock.now() + allowed.total,
            counters=(self.counters,),
        )

    async def run(self, call=None, *, seconds=1000.0, **options):
        """Carry a call to its end, letting time pass; return answer and seconds."""
        started = self.clock.now()
        task = asyncio.create_task(self.engine.run(call or self.call(**options)))
        ended = []
        task.add_done_callback(lambda _: ended.append(self.clock.now() - started))
        await self.clock.advance(seconds)
        return await task, ended[0]

    @property
    def sent(self):
        return len(self.transport.requests)


async def test_a_success_takes_one_attempt():
    stack = Stack(FOUND)

    answer, seconds = await stack.run()

    assert isinstance(answer, Phone)
    assert (stack.sent, seconds) == (1, 0.0)
    assert stack.counters.answers == {"found": 1}


@pytest.mark.parametrize(
    "fault",
    [
        BUSY,
        LOST,
        response(408),
        response(425),
        response(500),
        response(502, b"<html>"),
        response(504),
        response(520),
        response(200, b""),
        response(200, b"<html>"),
    ],
)
async def test_transient_failures_are_retried(fault):
    stack = Stack(fault, fault, FOUND)

    answer, _ = await stack.run()

    assert isinstance(answer, Phone)
    assert (stack.sent, stack.counters.retries) == (3, 2)


@pytest.mark.parametrize(
    "fault",
    [
        response(400),
        response(401),
        response(403),
        response(404),
        response(410),
        response(422),
        response(302),
        response(204, b""),
        response(200, {"id": PHONE_ID}),
        APIConnectionError("refused", phase="tls"),
    ],
)
async def test_permanent_failures_are_not_retried(fault):
    stack = Stack(fault)

    answer, seconds = await stack.run()

    assert (stack.sent, seconds, answer.attempts) == (1, 0.0, 1)


@pytest.mark.parametrize("bulk", [False, True])
async def test_attempts_end_at_max_attempts(bulk):
    stack = Stack(*[BUSY] * 9, policy=RetryPolicy(max_attempts=3))

    answer, _ = await stack.run(bulk=bulk)

    assert isinstance(answer, InternalServerError)
    assert (stack.sent, answer.attempts, answer.phone_id) == (3, 3, UUID(PHONE_ID))


async def test_pauses_double_with_full_jitter():
    stack = Stack(BUSY, BUSY, BUSY, FOUND, chance=0.5)

    _, seconds = await stack.run()

    assert seconds == pytest.approx(0.5 * (0.05 + 0.1 + 0.2))


async def test_a_foreign_record_retires_the_connections():
    other = response(body=phone_fields("3c90c3cc-0d44-4b50-8888-8dd25736052b"))
    stack = Stack(other, FOUND)

    answer, _ = await stack.run()

    assert str(answer.id) == PHONE_ID
    assert (stack.sent, stack.transport.retired) == (2, 1)


async def test_foreign_records_alone_end_in_an_error():
    other = response(body=phone_fields("3c90c3cc-0d44-4b50-8888-8dd25736052b"))
    stack = Stack(other, other, other, other)

    answer, _ = await stack.run()

    assert isinstance(answer, InvalidResponseError)
    assert answer.problems == ("$.id: not the id asked for",)
    assert stack.counters.answers == {"invalid": 4}


class TestThrottling:
    async def test_a_429_uses_no_attempt(self):
        stack = Stack(*[THROTTLED] * 6, FOUND, policy=RetryPolicy(max_attempts=2))

        lookup = stack.call()
        answer, _ = await stack.run(lookup)

        assert isinstance(answer, Phone)
        assert (stack.sent, lookup.attempts) == (7, 1)
        assert stack.counters.answers["throttled"] == 6

    async def test_a_throttled_single_call_ends_at_its_deadline(self):
        stack = Stack(*[THROTTLED] * 99)

        answer, seconds = await stack.run(total=5.0)

        assert isinstance(answer, RateLimitError)
        assert answer.attempts == 0
        assert seconds <= 5.0

    async def test_a_throttled_single_call_without_retries_fails_immediately(self):
        stack = Stack(THROTTLED, policy=RetryPolicy(max_attempts=1))

        answer, seconds = await stack.run()

        assert isinstance(answer, RateLimitError)
        assert (stack.sent, seconds) == (1, 0.0)

    async def test_a_throttled_call_of_a_run_is_retried_even_without_retries(self):
        stack = Stack(THROTTLED, THROTTLED, FOUND, policy=RetryPolicy(max_attempts=1))

        answer, _ = await stack.run(bulk=True)

        assert isinstance(answer, Phone)

    async def test_a_run_waits_out_throttling_of_any_length(self):
        """It uses up neither the attempts nor the deadline of an id."""
        stack = Stack(*[response(429, Retry_After="30")] * 20, FOUND)

        answer, seconds = await stack.run(bulk=True, total=10.0)

        assert isinstance(answer, Phone)
        assert seconds >= 600.0

    @pytest.mark.parametrize("bulk", [False, True])
    async def test_retry_after_is_a_minimum(self, bulk):
        stack = Stack(response(429, Retry_After="7"), FOUND)

        _, seconds = await stack.run(bulk=bulk)

        assert seconds >= 7.0

    async def test_retry_after_delays_other_calls(self):
        stack = Stack(response(429, Retry_After="7"), FOUND, FOUND)
        first = asyncio.create_task(stack.engine.run(stack.call()))
        await turn()
        second = asyncio.create_task(stack.engine.run(stack.call()))

        await stack.clock.advance(6.9)
        assert stack.sent == 1
        await stack.clock.advance(20.0)
        assert stack.sent == 3
        await first
        await second

    @pytest.mark.parametrize("status", [429, 503, 500, 502, 408, 425])
    @pytest.mark.parametrize("bulk", [False, True])
    async def test_retry_after_delays_other_calls_for_any_transient_status(
        self, status, bulk
    ):
        stack = Stack(response(status, Retry_After="7"), FOUND, FOUND)
        first = asyncio.create_task(stack.engine.run(stack.call(bulk=True)))
        await turn()

        answer, seconds = await stack.run(bulk=bulk, seconds=20.0)

        assert isinstance(answer, Phone)
        assert 7.0 <= seconds <= 8.0
        assert isinstance(await first, Phone)

    async def test_retry_after_of_a_500_is_not_throttling(self):
        stack = Stack(response(500, Retry_After="7"), FOUND, limits={"adaptive": True})

        _, seconds = await stack.run(bulk=True)

        assert seconds == 7.0
        assert stack.limiter.rate is None

    @pytest.mark.parametrize("status", [400, 404])
    async def test_retry_after_of_a_permanent_failure_is_ignored(self, status):
        stack = Stack(response(status, Retry_After="3600"), FOUND)
        await stack.run()

        _, seconds = await stack.run()

        assert seconds == 0.0

    async def test_a_rate_limit_header_with_nothing_left_delays_other_calls(self):
        empty = response(
            body=phone_fields(), RateLimit_Remaining="0", RateLimit_Reset="9"
        )
        stack = Stack(empty, FOUND, limits={"adaptive": True})
        await stack.run(seconds=0.0)

        _, seconds = await stack.run()

        assert seconds >= 9.0

    async def test_retry_after_zero_slows_nothing(self):
        stack = Stack(response(429, Retry_After="0"), FOUND, FOUND)
        first = asyncio.create_task(stack.engine.run(stack.call(bulk=True)))
        await turn()

        answer, seconds = await stack.run(seconds=0.0)

        assert isinstance(answer, Phone)
        assert seconds == 0.0
        await stack.clock.advance(0.05)
        assert isinstance(await first, Phone)

    async def test_retry_after_zero_does_not_count_towards_a_runs_deadline(self):
        stack = Stack(*[response(429, Retry_After="0")] * 12, FOUND, chance=1.0)

        answer, seconds = await stack.run(bulk=True, total=2.0)

        assert isinstance(answer, Phone)
        assert seconds > 2.0
        assert stack.transport.seconds == pytest.approx([2.0] * 13)

    async def test_a_retry_after_beyond_the_deadline_ends_a_single_call(self):
        stack = Stack(response(429, Retry_After="3600"))

        answer, seconds = await stack.run()

        assert isinstance(answer, RateLimitError)
        assert (answer.retry_after, seconds) == (3600.0, 0.0)

    async def test_a_run_waits_no_longer_than_max_outage(self):
        stack = Stack(response(429, Retry_After="301"))

        answer, seconds = await stack.run(bulk=True)

        assert (answer.retry_after, seconds) == (301.0, 0.0)

    @pytest.mark.parametrize("bulk", [False, True])
    async def test_a_long_cool_down_rejects_later_calls(self, bulk):
        """Nothing is sent, nothing is slept, and the error says how long."""
        stack = Stack(response(429, Retry_After="3600"))
        await stack.run(seconds=100.0)

        answer, seconds = await stack.run(bulk=bulk)

        assert isinstance(answer, RateLimitError)
        assert (answer.status, answer.retry_after, seconds) == (429, 3500.0, 0.0)
        assert (answer.attempts, answer.phone_id) == (0, UUID(PHONE_ID))
        assert (stack.sent, stack.counters.requests) == (1, 1)

    @pytest.mark.parametrize("bulk", [False, True])
    async def test_a_long_cool_down_rejects_queued_calls(self, bulk):
        refusal = asyncio.get_running_loop().create_future()
        stack = Stack(refusal, limits={"concurrency": 1})
        first = asyncio.create_task(stack.engine.run(stack.call()))
        await turn()
        second = asyncio.create_task(stack.engine.run(stack.call(bulk=bulk)))
        await turn()

        refusal.set_result(response(429, Retry_After="3600"))
        for task in (first, second):
            assert (await task).retry_after == 3600.0
        assert stack.sent == 1

    async def test_a_call_that_failed_before_a_long_cool_down_is_rejected_as_well(self):
        stack = Stack(BUSY, response(429, Retry_After="3600"), chance=1.0)
        first = asyncio.create_task(stack.engine.run(stack.call()))
        await turn()
        await stack.run(seconds=0.0)

        await stack.clock.advance(1.0)
        assert (await first).retry_after == pytest.approx(3600.0 - 0.05)
        assert (await first).attempts == 1

    async def test_a_cool_down_that_leaves_no_time_does_not_hide_the_last_error(self):
        stack = Stack(LOST, response(429, Retry_After="3600"), chance=1.0)
        first = asyncio.create_task(stack.engine.run(stack.call()))
        await turn()
        await stack.run(seconds=0.0)

        await stack.clock.advance(1.0)
        assert (await first).phase == "read"

    async def test_a_cool_down_is_waited_out_when_there_is_time(self):
        stack = Stack(response(429, Retry_After="50"), FOUND, FOUND)
        first = asyncio.create_task(stack.engine.run(stack.call()))
        await stack.clock.advance(1.0)

        answer, seconds = await stack.run()

        assert isinstance(answer, Phone)
        assert seconds >= 49.0
        await first

    async def test_a_503_with_retry_after_is_an_attempt_of_a_single_call(self):
        stack = Stack(
            *[response(503, Retry_After="1")] * 9, policy=RetryPolicy(max_attempts=3)
        )

        answer, _ = await stack.run()

        assert (stack.sent, answer.attempts) == (3, 3)

    async def test_a_503_with_retry_after_fails_no_id_of_a_run(self):
        stack = Stack(
            *[response(503, Retry_After="1")] * 9,
            BUSY,
            FOUND,
            policy=RetryPolicy(max_attempts=2),
        )
        lookup = stack.call(bulk=True)

        answer, _ = await stack.run(lookup)

        assert isinstance(answer, Phone)
        assert lookup.attempts == 11


class TestDeadline:
    async def test_a_pause_past_the_deadline_is_not_started(self):
        stack = Stack(BUSY, BUSY, policy=RetryPolicy(base_delay=20.0))

        answer, seconds = await stack.run(total=5.0)

        assert isinstance(answer, InternalServerError)
        assert seconds == 0.0

    async def test_an_attempt_gets_at_most_the_time_left(self):
        stack = Stack(BUSY, FOUND, policy=RetryPolicy(base_delay=6.0))

        await stack.run(total=5.0, attempt=4.0)

        assert stack.transport.seconds == [4.0, 2.0]

    async def test_waiting_for_a_slot_counts_towards_the_deadline(self):
        stack = Stack(FOUND, limits={"concurrency": 1})
        await stack.scheduler.acquire(bulk=False, deadline=never)

        answer, seconds = await stack.run(total=5.0)

        assert isinstance(answer, APITimeoutError)
        assert (answer.phase, answer.attempts, seconds) == ("wait", 0, 5.0)
        assert stack.sent == 0

    async def test_waiting_for_a_slot_again_ends_with_the_last_error(self):
        stack = Stack(BUSY, FOUND, limits={"concurrency": 1})
        task = asyncio.create_task(stack.engine.run(stack.call(total=5.0)))
        await turn()
        await stack.scheduler.acquire(bulk=False, deadline=never)

        await stack.clock.advance(5.0)

        assert isinstance(await task, InternalServerError)

    async def test_a_runs_deadline_starts_with_the_first_attempt(self):
        stack = Stack(FOUND, limits={"concurrency": 1})
        await stack.scheduler.acquire(bulk=False, deadline=never)
        task = asyncio.create_task(
            stack.engine.run(stack.call(bulk=True, total=5.0, attempt=4.0))
        )
        await stack.clock.advance(500.0)
        stack.scheduler.release()
        await turn()

        assert isinstance(await task, Phone)
        assert stack.transport.seconds == [4.0]

    async def test_a_runs_deadline_stands_still_while_it_is_queued(self):
        stack = Stack(LOST, FOUND, limits={"concurrency": 1}, chance=0.0)
        lookup = stack.call(bulk=True, total=5.0)
        task = asyncio.create_task(stack.engine.run(lookup))
        await turn()
        task_held = asyncio.create_task(
            stack.scheduler.acquire(bulk=False, deadline=never)
        )
        await stack.clock.advance(100.0)
        if await task_held:
            stack.scheduler.release()
        await turn()

        assert isinstance(await task, Phone)


class TestKeys:
    async def test_a_callable_is_asked_once(self):
        asked = []
        stack = Stack(FOUND, FOUND, key=lambda: asked.append(1) or "sk-1")

        await stack.run()
        await stack.run()

        assert asked == [1]

    async def test_another_key_is_requested_after_a_refusal(self):
        keys = iter(["sk-old", "sk-new"])

        async def next_key():
            return next(keys)

        stack = Stack(response(401), FOUND, key=next_key)

        answer, _ = await stack.run()

        sent = [r.headers["Authorization"] for r in stack.transport.requests]
        assert isinstance(answer, Phone)
        assert sent == ["Bearer sk-old", "Bearer sk-new"]

    async def test_the_same_key_again_ends_the_call(self):
        stack = Stack(response(401), key=lambda: "sk-1")

        answer, _ = await stack.run()

        assert isinstance(answer, AuthenticationError)
        assert stack.sent == 1

    async def test_a_second_refusal_ends_the_call(self):
        keys = iter(["sk-1", "sk-2", "sk-3"])
        stack = Stack(response(401), response(401), key=lambda: next(keys))

        answer, _ = await stack.run()

        assert isinstance(answer, AuthenticationError)
        assert stack.sent == 2

    async def test_a_key_that_was_accepted_once_may_be_refused_later(self):
        keys = iter(["sk-1", "sk-2", "sk-3"])
        script = [response(401), BUSY, response(401), FOUND]
        stack = Stack(*script, key=lambda: next(keys))

        answer, _ = await stack.run()

        assert isinstance(answer, Phone)

    async def test_another_key_is_not_a_retry_of_a_single_call(self):
        keys = iter(["sk-1", "sk-2"])
        stack = Stack(
            response(401), key=lambda: next(keys), policy=RetryPolicy(max_attempts=1)
        )

        answer, _ = await stack.run()

        assert isinstance(answer, AuthenticationError)
        assert stack.sent == 1

    @pytest.mark.parametrize(("attempts", "bulk"), [(1, True), (2, True), (2, False)])
    async def test_a_401_that_leads_to_another_key_counts_as_no_attempt(
        self, attempts, bulk
    ):
        keys = iter(["sk-1", "sk-2"])
        stack = Stack(
            *[BUSY] * (attempts - 1),
            response(401),
            FOUND,
            key=lambda: next(keys),
            policy=RetryPolicy(max_attempts=attempts),
        )
        call = stack.call(bulk=bulk)

        answer, _ = await stack.run(call)

        assert isinstance(answer, Phone)
        assert (call.attempts, stack.sent) == (attempts, attempts + 1)

    async def test_the_key_is_waited_for_without_a_slot(self):
        """It was forgotten while this call waited for the slot."""
        asked, answering = [], asyncio.get_running_loop().create_future()

        async def key():
            asked.append(1)
            return "sk-1" if len(asked) == 1 else await answering

        refusal = asyncio.get_running_loop().create_future()
        stack = Stack(
            refusal,
            FOUND,
            key=key,
            policy=RetryPolicy(max_attempts=1),
            limits={"concurrency": 1},
        )
        first = asyncio.create_task(stack.engine.run(stack.call()))
        await turn()
        second = asyncio.create_task(stack.engine.run(stack.call(total=5.0)))
        await turn()
        refusal.set_result(response(401))
        assert isinstance(await first, AuthenticationError)

        await stack.clock.advance(4.0)
        assert (len(asked), stack.scheduler.in_flight) == (2, 0)
        await stack.clock.advance(1.0)
        assert (await second).phase == "wait"
        await stack.engine.close()

    async def test_a_slow_callable_serves_the_calls_that_come_later(self):
        """Each has less time than the callable takes, and it is called once."""
        asked, answering = [], asyncio.get_running_loop().create_future()

        async def key():
            asked.append(1)
            return await answering

        stack = Stack(FOUND, key=key)
        for _ in range(3):
            answer, _ = await stack.run(total=0.8, seconds=0.8)
            assert isinstance(answer, APITimeoutError)
        answering.set_result("sk-1")
        await turn()

        assert isinstance((await stack.run(total=0.8))[0], Phone)
        assert asked == [1]

    async def test_a_callable_that_hangs_is_cancelled_and_asked_again(self, caplog):
        asked, cancelled = [], []

        async def key():
            asked.append(stack.clock.now())
            if len(asked) == 4:
                return "sk-1"
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                cancelled.append(1)

        stack = Stack(FOUND, key=key)

        answer, _ = await stack.run(bulk=True, attempt=10.0)

        assert isinstance(answer, Phone)
        assert len(cancelled) == 3
        gaps = [later - sooner for sooner, later in itertools.pairwise(asked)]
        # Limits of 10, 20 and 40 s, pauses of 1, 2 and 4 s.
        assert gaps == [11.0, 22.0, 44.0]
        assert "has not returned for 10 s; asking again" in caplog.text

    async def test_a_run_without_a_key_ends_as_in_an_outage(self):
        async def key():
            await asyncio.get_running_loop().create_future()

        stack = Stack(key=key, policy=RetryPolicy(max_outage=60.0))
        call = stack.call(bulk=True, total=5.0)

        answer, seconds = await stack.run(call)
        await stack.engine.close()

        assert (answer.phase, seconds) == ("wait", 60.0)
        assert "returned none for 60 s" in str(answer)
        assert call.silence.is_hopeless(stack.clock.now() - 1000.0 + 60.0)

    async def test_waiting_for_a_key_does_not_count_towards_a_runs_total(self):
        answering = asyncio.get_running_loop().create_future()
        keys = iter(["sk-1"])

        async def key():
            return next(keys, None) or await answering

        stack = Stack(response(401), FOUND, key=key)
        task = asyncio.create_task(
            stack.engine.run(stack.call(bulk=True, total=50.0, attempt=40.0))
        )
        await stack.clock.advance(35.0)
        answering.set_result("sk-2")

        assert isinstance(await task, Phone)
        assert stack.transport.seconds == [40.0, 40.0]

    async def test_calls_refused_together_renew_the_key_once(self):
        asked = []
        stack = Stack(
            response(401),
            response(401),
            FOUND,
            FOUND,
            key=lambda: asked.append(1) or f"sk-{len(asked)}",
        )

        await asyncio.gather(
            *(stack.engine.run(stack.call()) for _ in range(2)),
            stack.clock.advance(1.0),
        )

        assert asked == [1, 1]

    async def test_a_callable_that_never_answers_is_a_timeout(self):
        async def hang():
            await asyncio.get_running_loop().create_future()

        stack = Stack(key=hang)

        answer, seconds = await stack.run(total=5.0)
        await stack.engine.close()

        assert isinstance(answer, APITimeoutError)
        assert (answer.phase, seconds) == ("wait", 5.0)

    async def test_a_callable_without_a_key_is_a_configuration_error(self):
        stack = Stack(key=lambda: "")

        with pytest.raises(ConfigurationError):
            await stack.engine.run(stack.call())

    async def test_the_repr_of_a_request_hides_the_key(self):
        stack = Stack(FOUND, key="sk-secret")
        lookup = stack.call()

        await stack.run(lookup)

        assert "sk-secret" not in repr(lookup) + repr(stack.transport.requests)


class TestBudget:
    async def test_single_calls_pay_for_retries(self):
        stack = Stack(BUSY, BUSY, FOUND)

        await stack.run()

        assert stack.budget.left == MAX_TOKENS - 2 * RETRY_COST + RETRY_COST

    async def test_a_404_returns_tokens_as_a_success_does(self):
        stack = Stack(BUSY, response(404), response(404), response(400))
        for _ in range(3):
            await stack.run()

        assert stack.budget.left == MAX_TOKENS - RETRY_COST + RETRY_COST + 0
        stack.budget.left = 100
        stack.transport.script.append(response(404))
        await stack.run()
        assert stack.budget.left == 101

    async def test_an_empty_budget_means_no_retry(self):
        stack = Stack(BUSY)
        stack.budget.left = RETRY_COST - 1

        answer, _ = await stack.run()

        assert isinstance(answer, InternalServerError)
        assert stack.sent == 1
        assert "retry budget" in str(answer)

    async def test_runs_and_throttled_calls_pay_nothing(self):
        stack = Stack(BUSY, FOUND, THROTTLED, FOUND)
        stack.budget.left = 0

        assert isinstance((await stack.run(bulk=True))[0], Phone)
        assert isinstance((await stack.run())[0], Phone)


async def test_a_retry_after_a_lost_connection_takes_a_new_one():
    """The other idle ones may have been closed as well."""
    stack = Stack(LOST, BUSY, APIConnectionError("refused", phase="connect"), FOUND)

    await stack.run()

    assert stack.transport.fresh == [False, True, False, False]


async def test_a_deadline_that_ends_in_a_cool_down_keeps_the_calls_own_error():
    stack = Stack(BUSY, chance=1.0)
    task = asyncio.create_task(stack.engine.run(stack.call(total=5.0)))
    await turn()
    stack.limiter.block(stack.clock.now(), 4.8, 0.0)
    await stack.clock.advance(4.7)
    stack.limiter.block(stack.clock.now(), 0.5, 0.0)
    await stack.clock.advance(0.3)

    assert isinstance(await task, InternalServerError)


LISTING = Operation("/v1/phone/?limit=1", lambda body: body, success="listed")
OTHER = UUID("3c90c3cc-0d44-4b50-8888-8dd25736052b")
OTHER_FOUND = response(body=phone_fields(OTHER))


def paths(stack):
    return [request.path for request in stack.transport.requests]


class TestOutage:
    """Twenty failures in a row, and the requests after them."""

    FAILING = 20

    async def fail(self, stack, failure):
        """Let other calls of one attempt fail."""
        for _ in range(self.FAILING):
            stack.transport.script.appendleft(failure)
        for _ in range(self.FAILING):
            stack.engine.policy = RetryPolicy(max_attempts=1)
            await stack.run(seconds=0.0)
        stack.engine.policy = RetryPolicy()

    async def test_a_failed_probe_counts_as_no_attempt(self):
        stack = Stack(*[LOST] * 30, FOUND)
        await self.fail(stack, LOST)
        call = stack.call(bulk=True)

        answer, seconds = await stack.run(call)

        assert isinstance(answer, Phone)
        assert call.attempts == 1
        assert seconds > 30.0

    async def test_a_failed_probe_takes_none_of_an_ids_time(self):
        late = asyncio.get_running_loop().create_future()
        stack = Stack(late, FOUND)
        await self.fail(stack, LOST)
        stack.transport.script.rotate(0)
        task = asyncio.create_task(
            stack.engine.run(stack.call(bulk=True, total=10.0, attempt=9.0))
        )
        await stack.clock.advance(10.0)
        late.set_result(LOST)
        await stack.clock.advance(10.0)

        assert isinstance(await task, Phone)
        assert stack.transport.seconds[-2:] == pytest.approx([9.0, 9.0], abs=0.1)

    async def test_the_next_probe_takes_another_id(self):
        stack = Stack(*[LOST] * 6)
        await self.fail(stack, LOST)
        calls = [stack.call(bulk=True), stack.call(bulk=True)]
        calls[1].operation = get_phone(OTHER)
        tasks = [asyncio.create_task(stack.engine.run(call)) for call in calls]
        await stack.clock.advance(6.0)
        for task in tasks:
            task.cancel()
        await turn()

        assert [path[-1] for path in paths(stack)[self.FAILING :]] == list("abab")

    async def test_an_answered_control_lets_an_id_fail_after_its_own_attempts(self):
        listing = response(body={})
        stack = Stack(listing, *[BUSY] * 4, control=LISTING)
        await self.fail(stack, BUSY)

        answer, seconds = await stack.run(bulk=True)

        assert isinstance(answer, InternalServerError)
        assert (answer.attempts, seconds < 1.0) == (4, True)
        assert paths(stack)[self.FAILING] == LISTING.path
        assert stack.counters.answers["listed"] == 1

    async def test_an_id_that_was_answered_before_is_the_control(self):
        stack = Stack(OTHER_FOUND, control=LISTING)
        call = stack.call()
        call.operation = get_phone(OTHER)
        await stack.run(call)
        stack.transport.script.extend([OTHER_FOUND, FOUND])
        await self.fail(stack, BUSY)

        await stack.run(bulk=True)

        assert paths(stack)[-2:] == [get_phone(OTHER).path, get_phone(PHONE_ID).path]

    async def test_a_missing_id_is_a_control_as_well(self):
        stack = Stack(response(404), control=LISTING)
        await stack.run()
        stack.transport.script.extend([response(404), FOUND])
        await self.fail(stack, BUSY)

        answer, _ = await stack.run(bulk=True)

        assert isinstance(answer, Phone)
        assert LISTING.path not in paths(stack)

    async def test_it_is_an_outage_only_when_the_control_fails(self):
        control = asyncio.get_running_loop().create_future()
        stack = Stack(control, FOUND, control=LISTING)
        await self.fail(stack, BUSY)
        task = asyncio.create_task(stack.engine.run(stack.call(bulk=True)))
        await turn()
        assert not stack.breaker.is_open

        control.set_result(BUSY)
        await turn()
        assert stack.breaker.is_open
        await stack.clock.advance(2.0)
        assert isinstance(await task, Phone)
        assert not stack.breaker.is_open

    async def test_an_outage_of_answers_ends_a_run(self):
        policy = RetryPolicy(max_outage=30.0)
        stack = Stack(*[BUSY] * 60, control=LISTING)
        await self.fail(stack, BUSY)
        stack.breaker.most_seconds = policy.max_outage

        answer, seconds = await stack.run(bulk=True)

        assert isinstance(answer, InternalServerError)
        assert answer.phone_id == UUID(PHONE_ID)
        assert 30.0 <= seconds <= 33.0

    async def test_a_control_is_not_counted_as_an_attempt_of_the_waiting_id(self):
        stack = Stack(*[BUSY] * 3, FOUND, control=LISTING)
        await self.fail(stack, BUSY)
        call = stack.call(bulk=True)

        answer, _ = await stack.run(call)

        assert isinstance(answer, Phone)
        assert call.attempts == 1


class TestAddress:
    async def test_the_listing_is_asked_once_and_with_one_attempt(self):
        listing = asyncio.get_running_loop().create_future()
        stack = Stack(listing, control=LISTING)
        tasks = [
            asyncio.create_task(stack.engine.address.ask(Timeouts())) for _ in range(3)
        ]
        await turn()
        listing.set_result(response(404))
        await asyncio.gather(*tasks)

        assert (stack.sent, stack.address.check.is_right) == (1, False)
        assert "there is no Diga API at https://x" in str(
            wrong_address(stack.engine.endpoint.url)
        )

    @pytest.mark.parametrize("status", [200, 401, 429, 500])
    async def test_any_other_answer_settles_it(self, status):
        stack = Stack(response(status, {}), control=LISTING)

        await stack.engine.address.ask(Timeouts())

        assert (stack.sent, stack.address.check.is_right) == (1, True)

    async def test_no_answer_leaves_it_open(self):
        stack = Stack(LOST, control=LISTING)

        await stack.engine.address.ask(Timeouts())

        assert (stack.sent, stack.address.check.is_right) == (1, None)

    async def test_a_cool_down_that_is_too_long_leaves_it_open(self):
        stack = Stack(control=LISTING)
        stack.limiter.block(stack.clock.now(), 3600.0, 0.0)

        await stack.engine.address.ask(Timeouts())

        assert (stack.sent, stack.address.check.is_right) == (0, None)

    @pytest.mark.parametrize("body", [phone_fields(), {"no": "phone"}])
    async def test_any_200_settles_it(self, body):
        stack = Stack(response(body=body))

        await stack.run()

        assert stack.address.check.is_right

    async def test_a_404_of_a_record_does_not(self):
        stack = Stack(response(404))

        await stack.run()

        assert stack.address.check.is_right is None


SHORT = Shortage(APIConnectionError("too many open files", phase="connect", errno=24))


class TestShortage:
    @pytest.mark.parametrize("bulk", [False, True])
    async def test_a_request_that_could_not_be_sent_is_not_an_attempt(self, bulk):
        stack = Stack(*[SHORT] * 9, FOUND)

        answer, seconds = await stack.run(bulk=bulk)

        assert isinstance(answer, Phone)
        assert (stack.counters.requests, stack.counters.retries) == (1, 0)
        assert (stack.counters.answers, stack.counters.in_flight) == ({"found": 1}, 0)
        assert seconds == pytest.approx(0.05 + 0.1 + 0.2 + 0.4 + 0.8 + 4 * 1.0)

    async def test_a_single_lookup_waits_within_its_deadline(self):
        stack = Stack(*[SHORT] * 99)

        answer, seconds = await stack.run(total=7.0)

        assert (answer.errno, answer.attempts, seconds) == (24, 0, 7.0)
        assert stack.budget.left == MAX_TOKENS

    async def test_in_a_run_it_takes_nothing_of_the_time_of_an_id(self):
        call = (stack := Stack(BUSY, *[SHORT] * 30, FOUND)).call(bulk=True, total=5.0)

        answer, seconds = await stack.run(call)

        assert isinstance(answer, Phone)
        assert seconds > 20.0
        assert call.attempts == 2

    async def test_elapsed_time_begins_with_the_first_request_sent(self):
        call = (stack := Stack(SHORT, SHORT, FOUND)).call(bulk=True)

        await stack.run(call)

        assert call.elapsed(call.started) == 0.0
        assert call.deadline == call.started + call.timeouts.total

    async def test_fewer_are_in_flight_and_the_log_says_so_once(self, caplog):
        answers = [asyncio.get_running_loop().create_future() for _ in range(8)]
        stack = Stack(*answers, *[FOUND] * 8, limits={"concurrency": 8})
        lookups = [
            asyncio.create_task(stack.engine.run(stack.call())) for _ in range(8)
        ]
        await turn()
        for answer in answers[:4]:
            answer.set_result(SHORT)
        await turn()

        assert stack.sent == 8  # the four others hold the missing resource
        assert stack.engine.scheduler.in_flight == 4
        assert len(caplog.records) == 1
        assert not stack.breaker.is_open
        for answer in answers[4:]:
            answer.set_result(FOUND)
        await turn()
        assert [type(await lookup) for lookup in lookups] == [Phone] * 8

    async def test_where_nothing_can_be_sent_for_long_a_run_ends(self):
        stack = Stack(*[SHORT] * 99, policy=RetryPolicy(max_outage=20.0))

        answer, seconds = await stack.run(bulk=True)

        assert (answer.errno, answer.attempts) == (24, 0)
        assert seconds == pytest.approx(20.0, abs=2.0)

    async def test_a_halted_lookup_of_a_run_asks_no_more(self):
        call = (stack := Stack(SHORT)).call(bulk=True)
        call.halted = True

        answer, _ = await stack.run(call)

        assert answer.errno == 24


class TestStandstill:
    async def test_its_time_is_not_taken_from_an_id_of_a_run(self):
        answer = asyncio.get_running_loop().create_future()
        stack = Stack(answer, FOUND, policy=RetryPolicy(base_delay=0.0))
        call = stack.call(bulk=True, total=5.0)
        task = asyncio.create_task(stack.engine.run(call))
        await stack.clock.advance(60.0)
        stack.transport.blocked = 58.0
        answer.set_result(BUSY)

        assert isinstance(await task, Phone)

    async def test_a_true_deadline_passes_meanwhile(self):
        answer = asyncio.get_running_loop().create_future()
        stack = Stack(answer, FOUND, policy=RetryPolicy(base_delay=0.0))
        task = asyncio.create_task(stack.engine.run(stack.call(total=5.0)))
        await stack.clock.advance(60.0)
        stack.transport.blocked = 58.0
        answer.set_result(BUSY)

        assert isinstance(await task, InternalServerError)


class TestEnd:
    async def test_a_halted_call_sends_nothing_more(self):
        stack = Stack(asyncio.get_running_loop().create_future())
        step = stack.transport.script[0]
        lookup = stack.call(bulk=True)
        task = asyncio.create_task(stack.engine.run(lookup))
        await turn()
        assert lookup.sending

        lookup.halted = True
        step.set_result(BUSY)

        assert isinstance(await task, InternalServerError)
        assert (stack.sent, lookup.sending) == (1, False)

    async def test_closed_connections_are_a_client_closed_error(self):
        stack = Stack(LOST)
        stack.transport.closed = True

        answer, _ = await stack.run()

        assert isinstance(answer, ClientClosedError)

    async def test_a_cancelled_attempt_releases_its_slot(self):
        stack = Stack(asyncio.get_running_loop().create_future())
        task = asyncio.create_task(stack.engine.run(stack.call()))
        await turn()
        assert (stack.scheduler.in_flight, stack.counters.in_flight) == (1, 1)

        task.cancel()
        await turn()

        assert (stack.scheduler.in_flight, stack.counters.in_flight) == (0, 0)

    async def test_an_endless_outage_stops_a_run_and_not_a_single_call(self):
        policy = RetryPolicy(max_attempts=100, max_outage=5.0, base_delay=0.001)
        stack = Stack(*[LOST] * 300, policy=policy, chance=0.0)

        answer, seconds = await stack.run(bulk=True)

        assert isinstance(answer, APIConnectionError)
        assert 5.0 <= seconds <= 6.0

    async def test_few_failures_stop_a_run_after_max_outage(self):
        """One lookup at a time makes few of them."""
        policy = RetryPolicy(
            max_attempts=100, max_outage=5.0, base_delay=2.0, max_delay=2.0
        )
        stack = Stack(*[LOST] * 300, policy=policy, chance=0.5)

        answer, seconds = await stack.run(bulk=True, total=1000.0)

        assert isinstance(answer, APIConnectionError)
        assert (stack.sent, seconds) == (6, 5.0)

    async def test_an_error_has_the_attempts_and_time_of_the_whole_call(self):
        stack = Stack(BUSY, response(404), policy=RetryPolicy(base_delay=2.0))

        answer, _ = await stack.run()

        assert isinstance(answer, NotFoundError)
        assert (answer.attempts, answer.elapsed) == (2, 1.0)
        assert answer.__traceback__ is None


class ReadyConnection:
    """A connection whose reply a test gives."""

    def __init__(self):
        self.reply = asyncio.get_running_loop().create_future()
        self.closed = False

    def ask(self, _request, seconds, most):
        self.limits = seconds, most
        return self.reply

    def close(self):
        self.closed = True


class TestAReadyConnection:
    @staticmethod
    def stack(**options):
        """Return a stack whose next request goes over a ready connection, and that."""
        stack, connection = Stack(FOUND, **options), ReadyConnection()
        ready = [connection]
        stack.transport.take = lambda **_: ready.pop() if ready else None
        stack.transport.failure = lambda error, *_: APIConnectionError(
            str(error), phase="read"
        )
        return stack, connection

    @pytest.mark.parametrize("bulk", [False, True])
    async def test_a_call_that_waits_for_nothing_awaits_only_its_response(self, bulk):
        stack, connection = self.stack()
        call = stack.call(bulk=bulk, total=60.0, attempt=10.0)
        running = stack.engine.run(call)

        assert running.send(None) is connection.reply
        assert not inspect.iscoroutine(running.cr_await)
        assert connection.limits == (10.0, math.inf if bulk else 60.0)
        connection.reply.set_result(FOUND)
        with pytest.raises(StopIteration) as ended:
            running.send(None)
        assert isinstance(ended.value.value, Phone)
        assert (stack.sent, connection.closed) == (0, False)

    async def test_a_cancelled_call_closes_it_and_frees_its_slot(self):
        stack, connection = self.stack()
        task = asyncio.create_task(stack.engine.run(stack.call()))
        await turn()
        task.cancel()
        await turn()

        assert task.cancelled()
        assert connection.closed
        assert (stack.scheduler.in_flight, stack.counters.in_flight) == (0, 0)

    async def test_a_reply_that_is_no_response_is_a_failure_of_the_attempt(self):
        stack, connection = self.stack()
        connection.reply.set_result(ConnectionResetError("reset"))

        answer, _ = await stack.run()

        assert isinstance(answer, Phone)
        assert (stack.sent, stack.counters.answers["lost"]) == (1, 1)
        assert stack.transport.fresh == [True]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (NotFoundError(status=404), "missing"),
        (RateLimitError(status=429), "throttled"),
        (InternalServerError(status=503, retry_after=1.0), "throttled"),
        (InternalServerError(status=503), "server_errors"),
        (AuthenticationError(status=401), "rejected"),
        (InvalidResponseError(), "invalid"),
        (LOST, "lost"),
        (Phone.from_dict(phone_fields()), "found"),
    ],
)
def test_answers_are_counted_by_kind(answer, kind):
    assert kind_of(answer, get_phone(UUID(PHONE_ID))) == kind
