"""The hook and the log receive every attempt and every end, and no secrets."""

import asyncio
import errno
import functools
import logging
import re
from uuid import UUID

import attrs
import pytest
from byte_server import ByteServer, answer, answers, hangs, resets, says
from fakes import PHONE_ID, turn
from yarl import URL

from diga_async import (
    AttemptEvent,
    ConfigurationError,
    DigaClient,
    Limits,
    LookupEvent,
    NotFoundError,
    RateLimitError,
    RetryPolicy,
    UnprocessableEntityError,
)
from diga_async._flow.circuit_breaker import FAILURES_TO_OPEN
from diga_async.sandbox import Sandbox

KEY = "sk-0123456789abcdef0123456789abcdef"
NOBODYS = UUID(int=0)
X = UUID(PHONE_ID)
BUSY = says(answer(b"", "503 Busy"))
SLOW_DOWN = says(answer(b"", "429 Slow down", Retry_After="0"))


@pytest.fixture
async def sandbox():
    async with Sandbox(phones=20, api_key=KEY) as sandbox:
        yield sandbox


def client(server, **options):
    quick = RetryPolicy(max_attempts=2, base_delay=0.0, throttle_delay=0.0)
    given = {"retry": quick, "limits": Limits(adaptive=False)}
    return DigaClient(KEY, base_url=server.url, **{**given, **options})


def shapes(events):
    """Return the facts of an event that are the same in every run."""
    return [
        (e.phone_id, e.attempts, e.answer, e.status)
        if isinstance(e, AttemptEvent)
        else (e.phone_id, e.attempts, e.outcome, e.error)
        for e in events
    ]


async def test_a_get_has_an_event_for_each_attempt_and_one_for_its_end():
    events = []
    async with (
        ByteServer(BUSY, answers) as server,
        client(server, on_event=events.append) as diga,
    ):
        await diga.phones.get(X)

    assert shapes(events) == [
        (X, 1, "server_errors", 503),
        (X, 2, "found", 200),
        (X, 2, "found", None),
    ]


async def test_events_arrive_before_the_caller_resumes(sandbox):
    """So that a test, or a span, sees all that belongs to it."""
    events = []
    async with client(sandbox, on_event=events.append) as diga:
        with pytest.raises(NotFoundError):
            await diga.phones.get(NOBODYS)

        assert shapes(events) == [
            (NOBODYS, 1, "missing", 404),
            (NOBODYS, 1, "missing", None),
        ]


async def test_followers_share_the_events_of_their_lookup(sandbox):
    events = []
    async with client(sandbox, on_event=events.append) as diga:
        both = (diga.phones.get(sandbox.phone_ids[0]) for _ in range(2))
        await asyncio.gather(*both)

    assert len(events) == 2


async def test_a_run_has_an_event_for_every_outcome(sandbox):
    """Even an item that was not an id, and was never requested, has one."""
    events = []
    given = [sandbox.phone_ids[0], NOBODYS, "x" * 200]
    async with client(sandbox, on_event=events.append) as diga:
        await diga.phones.get_many(given, concurrency=1)
        await turn()

    ends = [e for e in events if isinstance(e, LookupEvent)]
    assert {(e.phone_id, e.outcome, e.error) for e in ends} == {
        (sandbox.phone_ids[0], "found", None),
        (NOBODYS, "missing", None),
        ("x" * 100, "failed", "InvalidPhoneIdError"),
    }


async def test_a_throttled_request_is_an_event_and_not_an_attempt():
    events = []
    async with (
        ByteServer(SLOW_DOWN, answers) as server,
        client(server, on_event=events.append) as diga,
    ):
        await diga.phones.get_many([X])

    assert [(e.answer, e.status, e.attempts) for e in events[:2]] == [
        ("throttled", 429, 0),
        ("found", 200, 1),
    ]


async def test_an_event_without_a_response_has_no_status():
    events = []
    async with (
        ByteServer(resets()) as server,
        client(server, on_event=events.append) as diga,
    ):
        await diga.phones.get_many([X])

    assert [(e.answer, e.status) for e in events[:2]] == [("lost", None)] * 2
    assert events[0].reason.startswith("no answer from 127.0.0.1:")
    assert events[-1].error == "APIConnectionError"


async def test_an_event_never_has_the_words_of_the_server():
    """Events go to the log, which others read."""
    events = []
    body = b'{"detail": [{"loc": [], "msg": "words", "type": "t"}]}'
    async with (
        ByteServer(says(answer(body, "422 No"))) as server,
        client(server, on_event=events.append) as diga,
    ):
        with pytest.raises(UnprocessableEntityError, match="words"):
            await diga.phones.get(X)
    assert (events[0].status, events[0].reason) == (422, None)


async def test_an_event_states_the_time_in_the_queue():
    """There is one slot, so the second waits until the first one's is free."""
    events = []
    async with (
        ByteServer(answers) as server,
        client(server, on_event=events.append, limits=Limits(concurrency=1)) as diga,
    ):
        both = (diga.phones.get(phone_id) for phone_id in (X, NOBODYS))
        await asyncio.gather(*both)

    first, second = (e for e in events if isinstance(e, AttemptEvent))
    assert (first.phone_id, second.phone_id) == (X, NOBODYS)
    assert first.waited == 0.0 < second.waited


async def test_a_cancelled_lookup_has_no_event():
    events = []
    async with (
        ByteServer(hangs()) as server,
        client(server, on_event=events.append) as diga,
    ):
        task = asyncio.ensure_future(diga.phones.get(X))
        await server.arrived.wait()
        task.cancel()
        await asyncio.wait([task])

    assert events == []


@pytest.mark.parametrize("kind", [AttemptEvent, LookupEvent])
async def test_an_error_of_a_hook_is_raised_by_the_lookup(sandbox, kind):
    def broken(event):
        if type(event) is kind:
            raise KeyError(event.phone_id)

    async with client(sandbox, on_event=broken) as diga:
        with pytest.raises(KeyError):
            await diga.phones.get(sandbox.phone_ids[0])
        assert diga.stats.in_flight == 0


@pytest.mark.parametrize("kind", [AttemptEvent, LookupEvent])
async def test_an_error_of_a_hook_ends_a_run(sandbox, kind):
    def broken(event):
        if type(event) is kind:
            raise KeyError("mine")

    async with (
        client(sandbox, on_event=broken, limits=Limits(concurrency=4)) as diga,
        diga.phones.iter_many(sandbox.phone_ids) as lookups,
    ):
        outcomes = []

        async def consume():
            async for outcome in lookups:
                outcomes.append(outcome)  # noqa: PERF401 - kept when it raises

        with pytest.raises(KeyError, match="mine"):
            await consume()

        assert len(outcomes) + len(lookups.unanswered) == len(sandbox.requests) <= 4


async def test_a_hook_that_objects_to_an_id_that_is_none_ends_the_run(sandbox):
    def broken(event):
        raise KeyError("mine")

    async with client(sandbox, on_event=broken) as diga:
        with pytest.raises(KeyError, match="mine"):
            await diga.phones.get_many(["no id"])


async def late(event):
    """Would never be awaited."""


class Late:
    async def __call__(self, event):
        """Would never be awaited either."""


@pytest.mark.parametrize("hook", [3, "print", late, functools.partial(late), Late()])
def test_a_hook_is_a_plain_function(hook):
    with pytest.raises(ConfigurationError, match="on_event"):
        DigaClient(KEY, on_event=hook)


def test_events_are_frozen_values():
    for kind in (AttemptEvent, LookupEvent):
        values = {a.name: 1 for a in attrs.fields(kind)}

        assert hash(kind(**values)) == hash(kind(**values))


# --- the log


async def test_a_log_has_a_line_for_each(sandbox, caplog):
    caplog.set_level(logging.DEBUG, "diga_async")
    phone_id = sandbox.phone_ids[0]
    async with client(sandbox) as diga:
        await diga.phones.get_many([phone_id])

    attempt, lookup, run = caplog.records
    assert (attempt.name, lookup.levelno, run.levelno) == (
        "diga_async",
        logging.DEBUG,
        logging.INFO,
    )
    assert attempt.getMessage().startswith(
        f"attempt phone_id={phone_id} attempts=1 answer=found status=200 waited="
    )
    assert lookup.getMessage().startswith(
        f"lookup phone_id={phone_id} outcome=found error=None attempts=1 elapsed="
    )
    assert re.fullmatch(
        r"run ended: 1 found, 0 missing, 0 failed in 0\.\d{3} s, "
        r"with 0 retries and 0 requests throttled",
        run.getMessage(),
    )
    assert isinstance(attempt.attempt, AttemptEvent)
    assert isinstance(lookup.lookup, LookupEvent)


async def test_a_line_of_the_log_is_one_line(sandbox, caplog):
    """Whatever the input of a run holds."""
    caplog.set_level(logging.DEBUG, "diga_async")
    async with client(sandbox) as diga:
        await diga.phones.get_many(["one\nERROR two", "three\x1b[31m"])

    lines = [r.getMessage() for r in caplog.records if "lookup" in r.getMessage()]
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    assert r"phone_id='one\nERROR two'" in lines[0]


async def test_a_first_guess_of_the_rate_is_logged_as_one(caplog):
    caplog.set_level(logging.INFO, "diga_async")
    ids = [UUID(int=number) for number in range(40)]
    too_fast = says(answer(b"", "429 Slow down"))
    async with (
        ByteServer(*[answers] * 20, too_fast, answers) as server,
        client(server, limits=Limits()) as diga,
    ):
        await diga.phones.get_many(ids, concurrency=8)

    line = caplog.records[0].getMessage()
    name = f"127.0.0.1:{server.port}"
    assert re.fullmatch(
        rf"throttled by {name}: slower, [\d,.]+ requests a second for now", line
    )


async def test_the_log_states_why_a_run_ended_early(sandbox, caplog):
    caplog.set_level(logging.INFO, "diga_async")
    async with DigaClient("sk-wrong", base_url=sandbox.url) as diga:
        with pytest.raises(Exception, match="401"):
            await diga.phones.get_many(sandbox.phone_ids)

    (run,) = caplog.records
    server = f"127.0.0.1:{URL(sandbox.url).port}"
    early = f"run ended early, because {server} answered 401: 0 found, "
    assert run.getMessage().startswith(early)
    assert run.run.found == 0


async def test_the_log_says_that_the_program_left_a_run(sandbox, caplog):
    caplog.set_level(logging.INFO, "diga_async")
    async with client(sandbox) as diga:
        async with diga.phones.iter_many(sandbox.phone_ids) as lookups:
            await anext(lookups)
        async with diga.phones.iter_many(sandbox.phone_ids) as lookups:
            assert len([outcome async for outcome in lookups]) == 20

    left, whole = (r.getMessage() for r in caplog.records if hasattr(r, "run"))
    assert left.startswith("run ended early, because the program left it: 1 found, ")
    assert whole.startswith("run ended: 20 found, ")


async def test_an_outage_is_logged_at_warning_and_its_end_at_info(caplog):
    caplog.set_level(logging.INFO, "diga_async")
    ids = [UUID(int=number) for number in range(FAILURES_TO_OPEN + 1)]
    script = [resets()] * FAILURES_TO_OPEN + [answers]
    once = RetryPolicy(max_attempts=1)
    async with (
        ByteServer(*script) as server,
        client(server, retry=once) as diga,
    ):
        batch = await diga.phones.get_many(ids, concurrency=1)

    assert list(batch.failures) == ids[:-1]
    begun, over = caplog.records[:2]
    name = f"127.0.0.1:{server.port}"
    assert (begun.levelname, over.levelname) == ("WARNING", "INFO")
    assert begun.getMessage() == (
        f"outage: no answer from {name}: connection reset by peer (errno "
        f"{errno.ECONNRESET}); single lookups go on, but runs and polls send only "
        "about one request a second until the server answers; a run ends after 300 s"
    )
    assert re.fullmatch(
        rf"outage over: {name} answers again, after \d\.\d s", over.getMessage()
    )


async def test_the_log_has_no_words_of_the_server(caplog):
    """They may be personal; the status says enough."""
    caplog.set_level(logging.INFO, "diga_async")
    ids = [UUID(int=number) for number in range(FAILURES_TO_OPEN + 1)]
    body = b'{"error": {"code": "X", "message": "the phone of Mrs. Ruiz"}}'
    script = [says(answer(body, "500 No"))] * (2 * FAILURES_TO_OPEN)
    async with (
        ByteServer(*script, answers) as server,
        client(server, retry=RetryPolicy(max_attempts=1)) as diga,
    ):
        await diga.phones.get_many(ids, concurrency=1)

    assert f"outage: 127.0.0.1:{server.port} answered 500; " in caplog.text
    assert "Ruiz" not in caplog.text


async def test_a_long_cool_down_is_news(caplog):
    caplog.set_level(logging.INFO, "diga_async")
    blocks = says(answer(b"", "429 Slow down", Retry_After="9"))
    async with (
        ByteServer(blocks) as server,
        client(server, limits=Limits()) as diga,
    ):
        with pytest.raises(RateLimitError):
            await diga.phones.get(X, timeouts=2.0)

    record = caplog.records[0]
    assert record.levelname == "INFO"
    name = f"127.0.0.1:{server.port}"
    assert re.fullmatch(
        rf"throttled by {name}: no request for (9|10) s, as it asked",
        record.getMessage(),
    )
    assert record.limiter["state"] == "cooling_down"
    assert 8.0 < record.limiter["resumes_in"] <= 10.0


async def test_events_and_logs_hold_no_secret_and_no_personal_data(sandbox, caplog):
    events = []
    caplog.set_level(logging.DEBUG)
    async with client(sandbox, on_event=events.append) as diga:
        batch = await diga.phones.get_many(sandbox.phone_ids)
        await turn()

    told = f"{events} {caplog.text} {[vars(r) for r in caplog.records]}"
    assert KEY not in told
    for phone in batch.phones.values():
        assert phone.number not in told
        assert (phone.checkout_url or KEY) not in told


def test_the_library_logs_nothing_by_default():
    """Without a handler of the application's, a warning must not reach stderr."""
    handlers = logging.getLogger("diga_async").handlers

    assert [type(handler) for handler in handlers] == [logging.NullHandler]
