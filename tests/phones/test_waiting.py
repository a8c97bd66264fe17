"""`wait_until`: one phone is polled until it has a status."""

import asyncio
import gc
import pickle

import pytest
from fakes import phone_fields, response
from project import LOST, NOT_FOUND, Project, idle, number, soon

from diga_async import (
    APIConnectionError,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    DigaError,
    InternalServerError,
    InvalidPhoneIdError,
    Limits,
    NotFoundError,
    PermissionDeniedError,
    PhoneStatus,
    RetryPolicy,
    UnprocessableEntityError,
    WaitError,
    WaitTimeoutError,
)

X = number(1)
PENDING = {"status": "pending_verification"}
ONCE = RetryPolicy(max_attempts=1)
DAY = 86_400.0


@pytest.fixture
def project():
    project = Project(1)
    project.change(1, **PENDING)
    return project


def starts(project):
    """Return when each request was sent, from the first."""
    return [round(at - project.requests[0][0], 3) for at, _ in project.requests]


async def test_it_returns_the_phone_once_it_has_the_status(project):
    async with project.client() as diga:
        wait = await soon(diga.phones.wait_until(X, status="assigned"))
        await project.advance(65.0)
        assert not wait.done()
        project.change(1, status="assigned")
        await project.advance(30.0)

        assert (await wait).status == PhoneStatus.ASSIGNED
        assert starts(project) == [0.0, 30.0, 60.0, 90.0]


@pytest.mark.parametrize(
    "status",
    [
        "assigned",
        PhoneStatus.ASSIGNED,
        ["released", "assigned"],
        {PhoneStatus.ASSIGNED},
        iter(["assigned"]),
        PhoneStatus("a status of tomorrow"),
    ],
)
async def test_the_first_poll_is_immediate(status):
    project = Project(1)
    if status == "a status of tomorrow":
        project.change(1, status=status)
    async with project.client() as diga:
        assert (await diga.phones.wait_until(X, status=status)).id == X

    assert len(project.requests) == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"phone_id": "x"}, InvalidPhoneIdError),
        ({"phone_id": None}, InvalidPhoneIdError),
        ({"status": ()}, ConfigurationError),
        ({"status": None}, ConfigurationError),
        ({"status": b"assigned"}, ConfigurationError),
        ({"status": [None]}, ConfigurationError),
        ({"status": ""}, ConfigurationError),
        ({"status": ["assigned", ""]}, ConfigurationError),
        ({"status": 1}, ConfigurationError),
        ({"every": 0}, ConfigurationError),
        ({"every": "30"}, ConfigurationError),
        ({"every": float("inf")}, ConfigurationError),
        ({"timeout": 0}, ConfigurationError),
        ({"timeout": -1.0}, ConfigurationError),
        ({"timeout": True}, ConfigurationError),
        ({"timeouts": 0}, ConfigurationError),
    ],
)
async def test_arguments_are_checked_at_the_call(project, arguments, error):
    given = {"phone_id": X, "status": "assigned", **arguments}
    async with project.client() as diga:
        with pytest.raises(error):
            diga.phones.wait_until(given.pop("phone_id"), **given)

    assert project.requests == []


@pytest.mark.parametrize("status", ["asigned", "Assigned", ["released", "assigned "]])
async def test_a_status_that_is_probably_misspelt_gets_a_warning(project, status):
    """It may be a status of tomorrow, so it is not refused."""
    async with project.client() as diga:
        with pytest.warns(UserWarning, match="is it 'assigned'") as caught:
            diga.phones.wait_until(X, status=status).close()
        with pytest.warns(UserWarning, match="is it 'assigned'"):
            diga.phones.list(status="asigned")
        diga.phones.wait_until(X, status=PhoneStatus("asigned")).close()
        diga.phones.list(status=PhoneStatus("asigned"))

    assert caught[0].filename == __file__
    assert project.requests == []


async def test_a_status_that_is_not_known_gets_a_warning_and_is_waited_for(project):
    async with project.client() as diga:
        with pytest.warns(UserWarning, match="'active' is no status") as caught:
            waiting = diga.phones.wait_until(X, status=["active"], timeout=9.5)
        diga.phones.list(status="active")  # ends, and needs no warning
        wait = await soon(waiting)
        await project.advance(9.5)
        with pytest.raises(WaitTimeoutError) as late:
            await wait

    assert str(caught[0].message).endswith(f"; known are {', '.join(PhoneStatus)}")
    assert caught[0].filename == __file__
    assert late.value.describe() == (
        "status 'active' (which this version does not know) did not come within "
        "9.5 s: the phone is 'pending_verification'"
    )


async def test_a_wait_in_an_outage_that_is_already_on_says_why(project):
    async with project.client(retry=ONCE) as diga:
        project.answer = lambda _: LOST
        for _ in range(21):
            with pytest.raises(APIConnectionError):
                await diga.phones.get(X)
        assert diga.stats.outage
        project.seconds = 1000.0
        wait = await soon(diga.phones.wait_until(X, status="assigned", timeout=0.5))
        await project.advance(0.5)
        with pytest.raises(WaitTimeoutError) as late:
            await wait

    assert isinstance(late.value.__cause__, APIConnectionError)
    assert late.value.describe().endswith(
        f"never read, and the last poll failed: {late.value.__cause__.describe()}"
    )


async def test_the_errors_of_a_wait_say_what_was_waited_for_and_what_was_seen(project):
    project.answer = lambda _: LOST
    async with project.client(retry=ONCE) as diga:
        wait = await soon(
            diga.phones.wait_until(X, status={"released", "assigned"}, timeout=9.5)
        )
        await project.advance(9.5)
        with pytest.raises(WaitTimeoutError) as late:
            await wait
    project.answer = lambda _: None
    project.change(1, status="finished")
    async with project.client() as diga:
        with pytest.raises(WaitError) as final:
            await diga.phones.wait_until(X, status="assigned")

    assert late.value.describe() == (
        "status 'assigned' or 'released' did not come within 9.5 s: "
        "the phone was never read, and the last poll failed: lost"
    )
    assert final.value.describe() == (
        "the phone is finished, which is final: status 'assigned' cannot come"
    )


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 27.0), (1.0, 33.0)])
async def test_polls_are_a_tenth_early_or_late(project, chance, seconds):
    async with project.client(chance=chance) as diga:
        wait = await soon(diga.phones.wait_until(X, status="assigned"))
        await project.advance(seconds * 3)
        wait.cancel()

        assert starts(project) == [0.0, seconds, seconds * 2, seconds * 3]


async def test_a_poll_that_takes_longer_is_followed_at_the_next_multiple(project):
    project.seconds = 7.0
    async with project.client() as diga:
        wait = await soon(diga.phones.wait_until(X, status="assigned", every=3.0))
        await project.advance(30.0)
        wait.cancel()
        await idle()

        assert starts(project) == [0.0, 9.0, 18.0, 27.0]
        assert project.most_open == 1


async def test_the_deadline_is_exact_and_names_what_was_last_seen(project):
    async with project.client() as diga:
        wait = await soon(diga.phones.wait_until(X, status="assigned", timeout=45.0))
        await project.advance(44.9)
        assert not wait.done()
        await project.advance(0.1)

        with pytest.raises(WaitTimeoutError) as caught:
            await wait

    error = caught.value
    assert str(error) == (
        "status 'assigned' did not come within 45 s: "
        f"the phone is 'pending_verification' (phone {X})"
    )
    assert (error.phone_id, error.phone.status) == (X, "pending_verification")
    assert isinstance(error, TimeoutError)
    assert error.__cause__ is error.__context__ is None
    assert error.transient


async def test_the_deadline_ends_a_poll_under_way(project):
    project.seconds = 5.0
    async with project.client() as diga:
        wait = await soon(diga.phones.wait_until(X, status="assigned", timeout=2.0))
        await project.advance(2.0)

        with pytest.raises(WaitTimeoutError) as caught:
            await wait
        assert caught.value.phone is None
        assert project.open == 0


async def test_the_deadline_error_has_the_last_failure_as_its_cause(project):
    async with project.client(retry=ONCE) as diga:
        wait = await soon(diga.phones.wait_until(X, status="assigned", timeout=45.0))
        project.answer = lambda _: LOST
        await project.advance(45.0)

        with pytest.raises(WaitTimeoutError) as caught:
            await wait
    assert isinstance(caught.value.__cause__, APIConnectionError)
    assert caught.value.phone.id == X


async def test_a_timeout_of_the_caller_is_not_the_deadline(project):
    async with project.client() as diga:
        wait = diga.phones.wait_until(X, status="assigned", timeout=1000.0)
        with pytest.raises(TimeoutError) as caught:
            await asyncio.wait_for(wait, 0.01)

    assert not isinstance(caught.value, DigaError)


async def test_finished_is_final(project):
    project.change(1, status="finished")
    async with project.client() as diga:
        with pytest.raises(WaitError) as caught:
            await diga.phones.wait_until(X, status=["assigned", "released"])

    assert caught.value.phone.status == PhoneStatus.FINISHED
    assert caught.value.phone_id == X
    assert not isinstance(caught.value, TimeoutError)


async def test_finished_can_be_waited_for(project):
    project.change(1, status="finished")
    async with project.client() as diga:
        phone = await diga.phones.wait_until(X, status="finished")

    assert phone.status == "finished"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (response(401), AuthenticationError),
        (response(403), PermissionDeniedError),
        (NOT_FOUND, NotFoundError),
        (response(422), UnprocessableEntityError),
        (APIConnectionError("refused", phase="tls"), APIConnectionError),
    ],
)
async def test_an_error_that_a_get_does_not_retry_is_raised_immediately(
    project, answer, error
):
    async with project.client() as diga:
        wait = await soon(diga.phones.wait_until(X, status="assigned", timeout=DAY))
        project.answer = lambda _: answer
        await project.advance(31.0)

        with pytest.raises(error):
            await wait
    assert len(project.requests) == 2


@pytest.mark.parametrize(
    "answer", [LOST, response(503), response(408), response(200, b"<html>")]
)
async def test_a_transient_failure_does_not_end_a_wait(project, answer):
    async with project.client(retry=ONCE) as diga:
        project.answer = lambda _: answer
        wait = await soon(diga.phones.wait_until(X, status="assigned"))
        await project.advance(70.0)
        project.answer = lambda _: None
        project.change(1, status="assigned")
        await project.advance(30.0)

        assert (await wait).status == "assigned"


async def test_a_wait_of_a_day_survives_an_outage_of_ten_minutes(project):
    async with project.client() as diga:
        wait = await soon(diga.phones.wait_until(X, status="assigned", timeout=DAY))
        await project.advance(3600.0)
        project.answer = lambda _: LOST
        await project.advance(600.0)
        assert not wait.done()
        project.answer = lambda _: None
        await project.advance(3600.0)
        assert not wait.done()
        assert wait.get_loop() is asyncio.get_running_loop()
        project.change(1, status="assigned")
        await project.advance(60.0)

        assert (await wait).status == "assigned"


async def test_without_a_timeout_a_long_outage_ends_the_wait(project):
    async with project.client() as diga:
        wait = await soon(diga.phones.wait_until(X, status="assigned"))
        await project.advance(3590.0)
        project.answer = lambda _: LOST
        await project.advance(290.0)
        assert not wait.done()
        await project.advance(300.0)

        with pytest.raises(APIConnectionError):
            await wait


async def test_a_phone_that_fails_while_others_are_answered_is_not_an_outage(project):
    project.add(2)
    async with project.client(retry=ONCE) as diga:
        project.answer = lambda path: response(500) if str(X) in path else None
        wait = await soon(diga.phones.wait_until(X, status="assigned"))
        for _ in range(30):
            await project.advance(30.0)
            await diga.phones.get(number(2))
        assert not wait.done()
        project.answer = lambda _: None
        project.change(1, status="assigned")
        await project.advance(30.0)

        assert (await wait).status == "assigned"


async def test_a_server_that_only_fails_is_an_outage(project):
    async with project.client(retry=ONCE) as diga:
        project.answer = lambda _: response(500)
        wait = await soon(diga.phones.wait_until(X, status="assigned"))
        await project.advance(290.0)
        assert not wait.done()
        await project.advance(60.0)

        with pytest.raises(InternalServerError):
            await wait


async def test_the_time_between_two_polls_counts_for_an_outage(project):
    async with project.client(retry=ONCE) as diga:
        project.answer = lambda _: LOST
        wait = await soon(diga.phones.wait_until(X, status="assigned", every=200.0))
        await project.advance(199.0)
        assert len(project.requests) == 1
        await project.advance(202.0)
        assert wait.done()

        with pytest.raises(APIConnectionError):
            await wait


async def test_a_retry_after_longer_than_an_outage_does_not_end_a_wait(project):
    async with project.client() as diga:
        project.answer = lambda _: response(429, Retry_After="3600")
        wait = await soon(diga.phones.wait_until(X, status="assigned"))
        project.answer = lambda _: None
        project.change(1, status="assigned")
        await project.advance(3500.0)
        assert not wait.done()
        assert len(project.requests) == 1
        await project.advance(200.0)

        assert (await wait).status == "assigned"


async def test_a_thousand_waits_end_each_at_its_own_time():
    count = 1000
    project = Project(*range(1, count + 1))
    for n in range(1, count + 1):
        project.change(n, **PENDING)
    limits = Limits(adaptive=False, concurrency=100)
    async with project.client(limits=limits) as diga:
        waits = [
            asyncio.ensure_future(
                diga.phones.wait_until(number(n), status="assigned", timeout=DAY)
            )
            for n in range(1, count + 1)
        ]
        await project.advance(29.0)
        assert len(project.requests) == count
        assert project.most_open <= 100
        for n in range(1, count + 1, 2):
            project.change(n, status="assigned")
        await project.advance(30.0)

        assert [w.done() for w in waits] == [True, False] * (count // 2)
        assert len(project.requests) == 2 * count
        for wait in waits:
            wait.cancel()
        await asyncio.wait(waits)
        assert {(await w).status for w in waits[::2]} == {"assigned"}


async def test_waits_for_one_phone_share_requests_and_cancelling_one_leaves_others(
    project,
):
    project.seconds = 1.0
    async with project.client() as diga:
        first, second, third = [
            await soon(diga.phones.wait_until(X, status="assigned")) for _ in range(3)
        ]
        await project.advance(31.0)
        assert len(project.requests) == 2
        first.cancel()
        await project.advance(29.5)
        second.cancel()  # in the middle of the request that it shares
        project.change(1, status="assigned")
        await project.advance(1.0)

        assert (await third).status == "assigned"
        assert first.cancelled()
        assert second.cancelled()
        assert len(project.requests) == 3


async def test_a_get_goes_ahead_of_every_wait(project):
    project.seconds = 1.0
    waited = range(2, 50)
    for n in waited:
        project.add(n, **PENDING)
    limits = Limits(adaptive=False, concurrency=1)
    async with project.client(limits=limits) as diga:
        waits = [
            await soon(diga.phones.wait_until(number(n), status="assigned"))
            for n in waited
        ]
        get = await soon(diga.phones.get(X))
        await project.advance(2.0)

        assert (await get).id == X
        assert project.lookups.index(X) == 1
        for wait in waits:
            wait.cancel()
        await asyncio.wait(waits)


async def test_closing_the_client_ends_a_wait_between_two_polls(project):
    async with project.client() as diga:
        wait = await soon(diga.phones.wait_until(X, status="assigned"))

    with pytest.raises(ClientClosedError):
        await wait
    assert project.clock.waiting == []


async def test_closing_the_client_ends_a_wait_during_a_poll(project):
    project.seconds = 5.0
    async with project.client() as diga:
        wait = await soon(diga.phones.wait_until(X, status="assigned", timeout=DAY))

    with pytest.raises(ClientClosedError):
        await wait
    assert project.clock.waiting == []


async def test_cancelling_a_wait_leaves_nothing(project):
    async with project.client() as diga:
        wait = await soon(diga.phones.wait_until(X, status="assigned", timeout=DAY))
        wait.cancel()
        await asyncio.wait([wait])

        assert wait.cancelled()
        assert project.clock.waiting == []


async def test_a_wait_on_a_closed_client_is_refused(project):
    async with project.client() as diga:
        pass

    with pytest.raises(ClientClosedError):
        await diga.phones.wait_until(X, status="assigned")


async def test_an_error_that_was_kept_holds_no_frames(project):
    """A failure that waits for the next poll has no traceback."""
    async with project.client(retry=ONCE) as diga:
        project.answer = lambda _: LOST
        wait = await soon(diga.phones.wait_until(X, status="assigned", timeout=5.0))
        await project.advance(5.0)
        with pytest.raises(WaitTimeoutError) as caught:
            await wait

    assert caught.value.__cause__.__traceback__ is None


def test_the_phone_of_an_error_is_left_out_of_pickles():
    error = WaitTimeoutError("late", phone_id=X)
    error.phone = phone_fields()
    copied = pickle.loads(pickle.dumps(error))

    assert (copied.reason, copied.phone_id, copied.phone) == ("late", X, None)
    gc.collect()
