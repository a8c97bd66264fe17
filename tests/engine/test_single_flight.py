"""Single lookups that share a request."""

import asyncio
from types import SimpleNamespace
from uuid import UUID, uuid4

import attrs
import pytest
from fakes import PHONE_ID, FakeClock, phone_fields, turn

from diga_async import (
    APITimeoutError,
    ClientClosedError,
    ConfigurationError,
    InternalServerError,
    NotFoundError,
    Phone,
    RateLimitError,
    RetryPolicy,
    Timeouts,
)
from diga_async._api.addresses import Peer
from diga_async._api.phones import get_phone
from diga_async._engine.call import Counters
from diga_async._engine.single_flight import SingleFlight
from diga_async._flow.circuit_breaker import Purpose

PHONE = Phone.from_dict(phone_fields())
X = UUID(PHONE_ID)


class Server:
    """Lookups under way, answered by hand."""

    def __init__(self):
        self.clock = FakeClock()
        self.counters = Counters()
        self.limiter = SimpleNamespace(blocked_for=lambda _: self.blocked)
        self.policy = RetryPolicy()
        self.peer = Peer("127.0.0.1", 80)
        self.single_flight = SingleFlight(self)
        self.blocked = 0.0
        self.calls = []
        self.answers = []
        self.cancelled = 0

    async def run(self, call):
        self.calls.append(call)
        answer = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        try:
            return await answer
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def report(self, call, answer):
        """Nothing observes these calls."""

    def located(self, call, error):
        return error

    async def get(self, phone_id=X, *, total=60.0, attempt=10.0):
        task = asyncio.create_task(
            self.single_flight.send(get_phone(phone_id), Timeouts(total, attempt))
        )
        await turn()
        return task


@pytest.fixture
async def server():
    server = Server()
    yield server
    await server.single_flight.close()


async def test_concurrent_gets_share_one_request(server):
    first, second = await server.get(), await server.get()
    other = await server.get(uuid4())
    assert len(server.calls) == 2

    for answer in server.answers:
        answer.set_result(PHONE)

    assert await first is await second is await other is PHONE


async def test_a_later_get_sends_another_request(server):
    first = await server.get()
    server.answers[0].set_result(PHONE)
    await first

    second = await server.get()
    server.answers[1].set_result(PHONE)
    await second

    assert len(server.calls) == 2


async def test_every_follower_gets_its_own_copy_of_an_error(server):
    tasks = [await server.get() for _ in range(3)]
    server.answers[0].set_result(NotFoundError(status=404, phone_id=X))

    errors = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(e) for e in errors] == [NotFoundError] * 3
    assert len(set(map(id, errors))) == 3
    assert [e.phone_id for e in errors] == [X] * 3


async def test_an_error_is_in_no_frame_of_its_traceback(server):
    task = await server.get()
    server.answers[0].set_result(NotFoundError(status=404))

    with pytest.raises(NotFoundError) as caught:
        await task

    error, frame = caught.value, caught.value.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename.endswith(
            "diga_async/_engine/single_flight.py"
        ):
            assert error not in frame.tb_frame.f_locals.values()
        frame = frame.tb_next


async def test_cancelling_one_follower_leaves_the_others(server):
    first, second = await server.get(), await server.get()
    first.cancel()
    await turn()
    assert server.cancelled == 0

    server.answers[0].set_result(PHONE)
    assert await second is PHONE


async def test_the_request_is_cancelled_when_the_last_follower_leaves(server):
    first, second = await server.get(), await server.get()
    first.cancel()
    second.cancel()
    await turn()

    assert server.cancelled == 1


async def test_a_get_after_a_cancelled_request_sends_another(server):
    first = await server.get()
    first.cancel()
    second = await server.get()
    server.answers[1].set_result(PHONE)

    assert await second is PHONE


async def test_a_deadline_has_a_timer_only_while_another_caller_has_more_time(server):
    first = await server.get(total=5.0)
    alone = server.clock.waiting
    second = await server.get(total=60.0)
    shared = server.clock.waiting
    server.answers[0].set_result(PHONE)
    await asyncio.gather(first, second)

    assert (alone, shared, server.clock.waiting) == ([], [5.0], [])


@pytest.mark.parametrize(("connected", "phase"), [(True, "read"), (False, "connect")])
async def test_a_follower_keeps_its_own_deadline(server, connected, phase):
    first, second = await server.get(total=60.0), await server.get(total=5.0)
    server.calls[0].begin(server.clock.now(), (server.clock.now(), 1, Purpose.CALL))
    server.calls[0].attempt = SimpleNamespace(connected=connected)
    await server.clock.advance(5.0)

    # The lookup's deadline is the first one's, so the second ends separately.
    with pytest.raises(APITimeoutError) as caught:
        await second
    assert (caught.value.phase, caught.value.phone_id) == (phase, X)
    assert caught.value.attempts == 1
    assert not first.done()
    server.answers[0].set_result(PHONE)
    assert await first is PHONE


async def test_a_follower_with_more_time_keeps_the_lookup_going(server):
    first, second = await server.get(total=5.0), await server.get(total=60.0)
    assert server.calls[0].deadline == server.clock.now() + 60.0

    await server.clock.advance(5.0)

    with pytest.raises(APITimeoutError) as caught:
        await first
    assert caught.value.phase == "wait"
    server.answers[0].set_result(PHONE)
    assert await second is PHONE


async def test_a_follower_that_a_cool_down_leaves_no_time_fails_immediately(server):
    first = await server.get(total=60.0)
    server.blocked = 10.0
    second = await server.get(total=5.0)

    with pytest.raises(RateLimitError) as caught:
        await second
    assert (caught.value.retry_after, caught.value.phone_id) == (10.0, X)
    first.cancel()


async def test_the_last_deadline_ends_the_lookup_itself(server):
    """The lookup knows why, and is counted; two deadlines are never quite the same."""
    first, second = await server.get(total=5.0), await server.get(total=5.000001)
    await server.clock.advance(6.0)
    with pytest.raises(APITimeoutError):
        await first
    assert not second.done()

    server.answers[0].set_result(APITimeoutError("late", phase="connect"))
    with pytest.raises(APITimeoutError, match="late"):
        await second


async def test_a_follower_that_expires_in_a_pause_gets_the_last_error(server):
    first, second = await server.get(total=60.0), await server.get(total=5.0)
    server.calls[0].attempts = 1
    server.calls[0].last = InternalServerError(status=503)

    await server.clock.advance(5.0)

    with pytest.raises(InternalServerError) as caught:
        await second
    assert (caught.value.status, caught.value.attempts) == (503, 1)
    first.cancel()


async def test_a_follower_with_more_time_extends_the_open_attempt(server):
    """Its attempt began with no more than the first one had left."""
    first = await server.get(total=5.0)
    extended = []
    server.calls[0].begin(server.clock.now(), (server.clock.now(), 1, Purpose.CALL))
    server.calls[0].attempt = SimpleNamespace(
        extend=lambda seconds, most: extended.append((seconds, most))
    )
    await server.clock.advance(1.0)

    second = await server.get(total=8.0)
    third = await server.get(total=60.0)

    # Until the follower's deadline, and then for as long as an attempt may take.
    assert extended == [(8.0, 8.0), (9.0, 60.0)]
    for task in (first, second, third):
        task.cancel()


async def test_the_lookup_of_one_follower_ends_itself(server):
    """Its error is more precise than a timeout."""
    only = await server.get(total=5.0)
    await server.clock.advance(5.0)
    assert not only.done()

    server.answers[0].set_result(APITimeoutError("late", phase="connect"))
    with pytest.raises(APITimeoutError, match="late"):
        await only


async def test_every_follower_gets_its_own_copy_of_a_callables_exception(server):
    tasks = [await server.get() for _ in range(2)]
    server.answers[0].set_exception(OSError(5, "vault"))

    errors = await asyncio.gather(*tasks, return_exceptions=True)

    assert [str(error) for error in errors] == ["[Errno 5] vault"] * 2
    assert errors[0] is not errors[1]


async def test_an_exception_of_a_lookup_reaches_every_follower(server):
    """Only a callable that is asked for the key can raise."""
    first, second = await server.get(), await server.get()
    server.answers[0].set_exception(ZeroDivisionError())

    for task in (first, second):
        with pytest.raises(ZeroDivisionError):
            await task


async def test_every_follower_gets_its_own_copy_of_a_callables_error(server):
    tasks = [await server.get() for _ in range(2)]
    server.answers[0].set_exception(ConfigurationError("no key"))

    errors = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(error) for error in errors] == [ConfigurationError] * 2
    assert errors[0] is not errors[1]


async def test_an_abandoned_lookup_logs_nothing(server):
    task = await server.get()
    server.answers[0].set_exception(ZeroDivisionError())
    task.cancel()
    await turn()


async def test_closing_resolves_every_follower(server):
    first, second = await server.get(), await server.get(uuid4())

    await server.single_flight.close()
    await server.single_flight.close()

    for task in (first, second):
        with pytest.raises(ClientClosedError):
            await task
    assert server.cancelled == 2


async def test_no_timer_is_left(server):
    task = await server.get()
    server.answers[0].set_result(PHONE)
    await task

    assert server.clock.waiting == []


async def test_a_follower_that_left_as_the_answer_came_is_skipped(server):
    first, second = await server.get(), await server.get()
    server.answers[0].set_result(PHONE)
    await asyncio.sleep(0)
    first.cancel()

    assert await second is PHONE


# --- the time limit of an attempt


def begin(server):
    """Begin an attempt; return the list of its extensions."""
    extended = []
    server.calls[0].begin(server.clock.now(), (server.clock.now(), 1, Purpose.CALL))
    server.calls[0].attempt = SimpleNamespace(
        extend=lambda seconds, _: extended.append(seconds), connected=True
    )
    return extended


async def test_a_follower_that_allows_an_attempt_more_time_extends_it(server):
    first = await server.get(attempt=0.1)
    extended = begin(server)
    await server.clock.advance(0.05)
    second = await server.get(attempt=10.0)

    assert extended == [pytest.approx(9.95)]
    server.answers[0].set_result(PHONE)
    assert await first is await second is PHONE


async def test_a_follower_that_allows_an_attempt_less_time_keeps_its_own_limit(server):
    """It waits as long as its own attempts would take, for the same request."""
    patient, hasty = await server.get(), await server.get(attempt=0.5)
    begin(server)
    await server.clock.advance(1.9)
    assert not hasty.done()
    await server.clock.advance(0.1)

    with pytest.raises(APITimeoutError, match=r"within 0\.5 s") as caught:
        await hasty
    assert (caught.value.phase, caught.value.phone_id) == ("read", X)
    server.answers[0].set_result(PHONE)
    assert await patient is PHONE


async def test_the_first_caller_keeps_its_own_limit_as_well(server):
    hasty = await server.get(attempt=0.5)
    begin(server)
    patient = await server.get(attempt=10.0)
    await server.clock.advance(2.0)

    with pytest.raises(APITimeoutError):
        await hasty
    server.answers[0].set_result(PHONE)
    assert await patient is PHONE


async def test_time_without_an_open_request_is_none_of_an_attempts(server):
    patient, hasty = await server.get(), await server.get(attempt=0.5)
    await server.clock.advance(30.0)
    begin(server)
    await server.clock.advance(1.9)
    assert not hasty.done()

    server.answers[0].set_result(PHONE)
    assert await patient is await hasty is PHONE
    assert server.clock.waiting == []


async def test_a_404_names_the_url(server):
    task = await server.get()
    server.located = lambda call, error: attrs.evolve(error, reason=call.operation.path)
    server.answers[0].set_result(NotFoundError(status=404))

    with pytest.raises(NotFoundError, match="/v1/phone/"):
        await task
