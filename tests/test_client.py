"""The client, over real sockets."""

import asyncio
import gc
import os
import pickle
import threading
import time
import warnings
from collections import Counter
from uuid import uuid4

import aiohttp
import attrs
import pytest
from byte_server import (
    LATE,
    ByteServer,
    answer,
    answers,
    at_once,
    hangs,
    on_time,
    phone,
    says,
    until,
)
from fakes import PHONE_ID, phone_fields

from diga_async import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    DigaClient,
    Failed,
    Found,
    InternalServerError,
    InvalidPhoneIdError,
    Limits,
    Missing,
    NotFoundError,
    PermissionDeniedError,
    Phone,
    PhoneBatch,
    RateLimitError,
    RetryPolicy,
    Timeouts,
    WrongLoopError,
)
from diga_async.sandbox import Faults, Sandbox

KEY = "sk-0123456789abcdef"


@pytest.fixture
async def sandbox():
    async with Sandbox(phones=60) as sandbox:
        yield sandbox


@pytest.fixture
async def diga(sandbox):
    async with DigaClient(sandbox.api_key, base_url=sandbox.url) as diga:
        yield diga


async def test_a_proxy_that_refuses_its_password_is_asked_no_more():
    """Each attempt is a failed login, and a few of those lock an account."""
    refuses = says(answer(b"", "407 Proxy Authentication Required"))
    ids = [uuid4() for _ in range(30)]
    async with (
        ByteServer(refuses) as proxy,
        DigaClient(
            KEY,
            base_url="https://api.diga.example",
            proxy=f"http://user:old-password@127.0.0.1:{proxy.port}",
            limits=Limits(concurrency=4),
        ) as diga,
    ):
        with pytest.raises(APIConnectionError) as single:
            await diga.phones.get(ids[0])
        assert proxy.attempts == 1
        with pytest.raises(APIConnectionError) as run:
            await diga.phones.get_many(ids)

    for error in (single.value, run.value):
        assert (error.proxy_status, error.transient) == (407, False)
        assert f"through 127.0.0.1:{proxy.port}: the proxy answered 407" in str(error)
        assert "old-password" not in repr(error) + str(vars(error))
    assert proxy.attempts <= 5
    assert run.value.partial.unanswered


class TestMaking:
    def test_a_client_can_be_made_outside_a_loop(self):
        client = DigaClient(KEY)

        assert repr(client) == "<DigaClient https://api.diga.io not opened>"
        assert not client.closed

    def test_a_plain_block_is_explained(self):
        with pytest.raises(TypeError, match="use 'async with"), DigaClient(KEY):
            pass

    def test_key_and_server_come_from_the_environment(self, monkeypatch):
        monkeypatch.setenv("DIGA_API_KEY", KEY)
        monkeypatch.setenv("DIGA_BASE_URL", "https://diga.example/api/")

        assert "https://diga.example/api " in repr(DigaClient())

    def test_without_a_key_there_is_no_client(self, monkeypatch):
        monkeypatch.setenv("DIGA_API_KEY", "")

        with pytest.raises(ConfigurationError, match="DIGA_API_KEY"):
            DigaClient()

    def test_a_wrong_key_says_whether_it_is_the_variable_or_the_argument(
        self, monkeypatch
    ):
        monkeypatch.setenv("DIGA_API_KEY", f"'{KEY}'")

        with pytest.raises(
            ConfigurationError, match=r"^the API key in DIGA_API_KEY has quotes around"
        ):
            DigaClient()
        with pytest.raises(ConfigurationError, match=r"^the API key has quotes around"):
            DigaClient(f"'{KEY}'")

    @pytest.mark.parametrize(
        "key", ["", " ", "a b", "a\n", "a\r\nX: y", "a\0", "clé", "x" * 5000, 7, b"x"]
    )
    def test_a_wrong_key_is_refused_and_not_shown(self, key):
        with pytest.raises(ConfigurationError) as caught:
            DigaClient(key)

        assert str(key).strip() == "" or str(key) not in str(caught.value)

    def test_plain_http_to_another_machine_needs_permission(self, monkeypatch):
        with pytest.raises(ConfigurationError, match="allow_insecure_http"):
            DigaClient(KEY, base_url="http://diga.example")
        DigaClient(KEY, base_url="http://127.0.0.1:8080")
        DigaClient(KEY, base_url="http://diga.example", allow_insecure_http=True)
        monkeypatch.setenv("DIGA_ALLOW_INSECURE_HTTP", "1")
        DigaClient(KEY, base_url="http://diga.example")

    @pytest.mark.parametrize("text", ["yes", "true", "2", " 1"])
    def test_a_permission_that_is_neither_one_nor_zero_is_refused(
        self, text, monkeypatch
    ):
        monkeypatch.setenv("DIGA_ALLOW_INSECURE_HTTP", text)
        with pytest.raises(ConfigurationError, match="must be 1 or 0; set it to 1"):
            DigaClient(KEY)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"session": object()},
            {"retry": None},
            {"limits": None},
            {"trace_configs": None},
            {"trace_configs": [1]},
            {"limits": 10},
            {"ssl": False},
            {"timeouts": "soon"},
            {"timeouts": float("nan")},
            {"proxy": "socks5://x"},
            {"base_url": "https://user:password@diga.example"},
            {"proxy": "http://proxy:3128", "base_url": "http://127.0.0.1:1"},
            {"retry": Timeouts()},
            {"timeouts": RetryPolicy()},
            {"limits": RetryPolicy()},
            {"trust_env": "no"},
            {"trust_env": None},
            {"allow_insecure_http": 1},
            {"allow_insecure_http": "false"},
        ],
    )
    def test_a_wrong_option_is_rejected(self, wrong):
        with pytest.raises(ConfigurationError):
            DigaClient(KEY, **wrong)

    @pytest.mark.parametrize(
        ("option", "remedy"),
        [
            ({"timeout": 10.0}, "timeouts="),
            ({"max_retries": 3}, "RetryPolicy"),
            ({"retries": 3}, "RetryPolicy"),
            ({"retry": 3}, "RetryPolicy"),
            ({"default_headers": {}}, "headers="),
            ({"http_client": None}, "session="),
            ({"max_connections": 5}, "Limits"),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    def test_an_option_of_another_client_is_answered_with_its_name_here(
        self, option, remedy
    ):
        with pytest.raises(TypeError, match=remedy):
            DigaClient(KEY, **option)

    @pytest.mark.parametrize(
        "headers",
        [
            {"Authorization": "Bearer x"},
            {"host": "other.example"},
            {"Accept": "text/html"},
            {"accept-encoding": "gzip"},
            {"Connection": "close"},
            {"Content-Type": "text/html"},
            {"Transfer-Encoding": "chunked"},
            {"Cookie": "a=b"},
            {"Proxy-Authorization": "x"},
            {"X Y": "1"},
            {"": "1"},
            {"X-Y:": "1"},
            {"X-Y": "1\r\nHost: other.example"},
            {"X-Y": "ñ"},
            {"X-Y": " padded"},
            {"X-Y": 1},
            {1: "x"},
            {"X-Y": "1", "x-y": "2"},
            ["X-Y"],
        ],
        ids=repr,
    )
    def test_a_header_that_cannot_be_sent_is_refused(self, headers):
        with pytest.raises(ConfigurationError, match="headers"):
            DigaClient(KEY, headers=headers)

    def test_the_environments_proxy_is_used_only_when_asked(self, monkeypatch):
        monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
        monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")

        def proxy(base_url="https://diga.example", **options):
            return DigaClient(
                KEY, base_url=base_url, **options
            )._lifecycle.options.proxy

        assert proxy() is None
        assert proxy(trust_env=True) == "http://proxy.example:3128"
        assert proxy("http://127.0.0.1:1", trust_env=True) is None
        monkeypatch.setenv("NO_PROXY", "diga.example")
        assert proxy(trust_env=True) is None

    def test_a_proxy_variable_without_a_scheme_is_read_as_http(self, monkeypatch):
        monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
        client = DigaClient(KEY, base_url="https://diga.example", trust_env=True)
        assert client._lifecycle.options.proxy == "http://proxy.example:3128"

    def test_a_proxy_variable_that_cannot_be_used_is_named(self, monkeypatch):
        monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy.example:1080")
        with pytest.raises(ConfigurationError, match="HTTPS_PROXY must be http"):
            DigaClient(KEY, base_url="https://diga.example", trust_env=True)

    def test_a_client_shows_its_key_nowhere(self):
        client = DigaClient(KEY)

        assert KEY not in repr(client) + repr(vars(client))
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
            pickle.dumps(client)


class TestGet:
    async def test_a_phone_is_found(self, sandbox, diga):
        phone = await diga.phones.get(str(sandbox.phone_ids[0]))

        assert phone == Phone.from_dict(sandbox.phones[sandbox.phone_ids[0]])
        assert sandbox.requests[-1].status == 200

    async def test_a_missing_phone_is_an_error(self, diga):
        missing = uuid4()

        with pytest.raises(NotFoundError) as caught:
            await diga.phones.get(missing)

        assert caught.value.phone_id == missing
        assert caught.value.attempts == 1
        assert caught.value.elapsed > 0

    async def test_a_wrong_id_reaches_no_socket(self, sandbox, diga):
        for wrong in ("", "..", "../../admin", "x" * 10**6, None, 7, b"x"):
            with pytest.raises(InvalidPhoneIdError):
                await diga.phones.get(wrong)

        assert sandbox.requests == []

    async def test_a_number_is_its_total_timeout(self, sandbox, diga):
        sandbox.faults = Faults(hangs=1.0)

        with on_time(0.2), pytest.raises(TimeoutError):
            await diga.phones.get(sandbox.phone_ids[0], timeouts=0.2)

    async def test_concurrent_gets_of_a_client_share_a_request(self, sandbox, diga):
        i = sandbox.phone_ids[0]

        phones = await asyncio.gather(*(diga.phones.get(i) for _ in range(50)))

        assert len(set(map(id, phones))) == 1
        assert len(sandbox.requests) == 1

    async def test_a_403_with_a_server_error_code_is_permission_denied(
        self, sandbox, diga
    ):
        sandbox.faults = Faults(forbidden=1.0)

        with pytest.raises(PermissionDeniedError) as caught:
            await diga.phones.get(sandbox.phone_ids[0])

        assert caught.value.error_code == "INTERNAL_SERVER_ERROR"
        assert len(sandbox.requests) == 1


class TestMany:
    async def test_1500_mixed_ids_have_one_outcome_each(self, sandbox, diga):
        sandbox.faults = Faults(errors=0.05, resets=0.02)
        missing = [uuid4() for _ in range(500)]
        wrong = [f"wrong {n}" for n in range(100)]
        given = [*sandbox.phone_ids * 15, *missing, *wrong]

        outcomes = Counter()
        async with diga.phones.iter_many(given, concurrency=32) as lookups:
            async for outcome in lookups:
                outcomes[outcome.phone_id] += 1
                assert lookups.stats.in_flight <= 32

        assert outcomes == Counter(given)
        assert diga.stats.in_flight == 0

    async def test_a_batch_has_every_id_in_one_place(self, sandbox, diga):
        missing = uuid4()
        given = [sandbox.phone_ids[2], missing, "wrong", sandbox.phone_ids[1]]

        batch = await diga.phones.get_many(given * 2)

        assert list(batch.phones) == [sandbox.phone_ids[2], sandbox.phone_ids[1]]
        assert batch.missing == (missing,)
        assert list(batch.failures) == ["wrong"]
        assert batch.unanswered == ()
        assert len(sandbox.requests) == 3
        with pytest.raises(ExceptionGroup) as caught:
            batch.raise_for_failures()
        assert caught.group_contains(InvalidPhoneIdError)

    async def test_a_batch_keys_invalid_items_by_their_whole_text(self, diga):
        given = ["y" * 150 + "1", "y" * 150 + "2", "None", None]

        batch = await diga.phones.get_many(given * 2)

        assert list(batch.failures) == [*given[:3], "None (NoneType)"]
        assert repr(batch.failures[given[0]]).endswith("not a text of 151 characters')")

    async def test_a_refused_key_ends_a_batch_with_its_partial_result(self, sandbox):
        async with DigaClient("sk-wrong", base_url=sandbox.url) as diga:
            with pytest.raises(AuthenticationError) as caught:
                await diga.phones.get_many(sandbox.phone_ids, concurrency=8)

        partial = caught.value.partial
        assert isinstance(partial, PhoneBatch)
        assert partial.unanswered == sandbox.phone_ids[:8]
        assert len(sandbox.requests) <= 8
        assert pickle.loads(pickle.dumps(caught.value)).partial is None

    async def test_an_exception_of_a_source_propagates(self, diga):
        def source():
            yield uuid4()
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await diga.phones.get_many(source())

    @pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "8"])
    async def test_a_wrong_concurrency_is_refused(self, diga, wrong):
        with pytest.raises(ConfigurationError, match="concurrency"):
            diga.phones.iter_many([], concurrency=wrong)
        with pytest.raises(ConfigurationError, match="concurrency"):
            await diga.phones.get_many([], concurrency=wrong)

    async def test_ordered_must_be_a_bool(self, diga):
        with pytest.raises(ConfigurationError, match="ordered must be True or False"):
            diga.phones.iter_many([], ordered="no")

    async def test_all_calls_together_keep_the_clients_limit(self, sandbox):
        sandbox.latency = 0.005
        limits = Limits(concurrency=5)
        async with DigaClient(
            sandbox.api_key, base_url=sandbox.url, limits=limits
        ) as diga:
            most = 0

            async def watch():
                nonlocal most
                while True:
                    most = max(most, diga.stats.in_flight)
                    await asyncio.sleep(0)

            watcher = asyncio.create_task(watch())
            await asyncio.gather(
                diga.phones.get_many(sandbox.phone_ids, concurrency=64),
                diga.phones.get_many(sandbox.phone_ids),
                *(diga.phones.get(i) for i in sandbox.phone_ids),
            )
            watcher.cancel()

        assert most == 5

    async def test_an_unknown_limit_loses_nothing(self, sandbox):
        sandbox.per_second, sandbox.burst = 200.0, 5
        async with DigaClient(sandbox.api_key, base_url=sandbox.url) as diga:
            batch = await diga.phones.get_many(sandbox.phone_ids)

        assert len(batch.phones) == 60
        assert diga.stats.throttled > 0

    async def test_a_configured_limit_is_kept(self, sandbox):
        limits = Limits(per_second=100.0)
        async with DigaClient(
            sandbox.api_key, base_url=sandbox.url, limits=limits
        ) as diga:
            with on_time(0.5):
                await diga.phones.get_many(sandbox.phone_ids)

    async def test_a_retry_after_beyond_max_outage_ends_the_run(self, sandbox):
        sandbox.per_second, sandbox.burst, sandbox.retry_after = 10.0, 1, 3600
        async with DigaClient(sandbox.api_key, base_url=sandbox.url) as diga:
            with pytest.raises(RateLimitError) as caught:
                await diga.phones.get_many(sandbox.phone_ids, concurrency=4)

        assert caught.value.retry_after == 3600.0
        assert caught.value.partial.unanswered

    async def test_a_long_retry_after_ends_every_run_and_rejects_gets(self):
        slow_down = says(answer(b"", "429 Slow", Retry_After="3600"))
        async with (
            ByteServer(slow_down, answers) as server,
            DigaClient("sk-1", base_url=server.url) as diga,
        ):
            runs = [
                diga.phones.get_many([uuid4() for _ in range(9)], concurrency=1)
                for _ in range(2)
            ]
            errors = await asyncio.gather(*runs, return_exceptions=True)
            with pytest.raises(RateLimitError) as late:
                await diga.phones.get_many([uuid4()])
            with pytest.raises(RateLimitError) as single:
                await diga.phones.get(uuid4())

        assert [type(e) for e in errors] == [RateLimitError] * 2
        assert late.value.partial.unanswered
        assert server.attempts <= 3
        assert 3590.0 < single.value.retry_after <= 3600.0
        assert single.value.attempts == 0

    async def test_an_outage_fails_few_ids_and_ends_with_the_first_answer(
        self, sandbox
    ):
        retry = RetryPolicy(max_attempts=1)
        async with DigaClient(
            sandbox.api_key, base_url=sandbox.url, retry=retry
        ) as diga:
            sandbox.down = True
            ended, failed = None, 0
            async with diga.phones.iter_many(
                (uuid4() for _ in range(300)), concurrency=8
            ) as lookups:
                async for outcome in lookups:
                    failed += isinstance(outcome, Failed)
                    if sandbox.down and diga.stats.outage:
                        sandbox.down, ended = False, time.monotonic()
                    if isinstance(outcome, Missing):
                        break
            assert time.monotonic() - ended < 1.0 + LATE  # it probes once a second
            assert failed <= 8 + 35

    async def test_silence_ends_a_run_of_concurrency_one(self):
        """Few ids fail, although each is allowed one attempt only."""
        retry = RetryPolicy(max_attempts=1, max_outage=0.2)
        async with (
            ByteServer(hangs()) as server,
            DigaClient(
                "sk-1",
                base_url=server.url,
                retry=retry,
                timeouts=Timeouts(attempt=0.1),
            ) as diga,
        ):
            with pytest.raises(APITimeoutError) as caught:
                await diga.phones.get_many([uuid4() for _ in range(15)], concurrency=1)

        assert server.attempts <= 4
        assert len(caught.value.partial.failures) <= 3

    async def test_gets_go_ahead_of_a_run(self, sandbox):
        sandbox.latency = 0.01
        limits = Limits(concurrency=1)
        async with (
            DigaClient(sandbox.api_key, base_url=sandbox.url, limits=limits) as diga,
            diga.phones.iter_many(sandbox.phone_ids, concurrency=1) as run,
        ):
            await anext(run)
            await diga.phones.get(sandbox.phone_ids[-1])
            assert run.stats.found == 1


class TestLoops:
    async def test_another_thread_is_refused(self, diga):
        def elsewhere():
            asyncio.run(diga.phones.get(uuid4()))

        await diga.phones.get_many([])
        with pytest.raises(WrongLoopError):
            await asyncio.to_thread(elsewhere)

    async def test_another_thread_cannot_close_it(self, diga):
        def elsewhere():
            asyncio.run(diga.close())

        with pytest.raises(WrongLoopError):
            await asyncio.to_thread(elsewhere)
        assert not diga.closed

    def test_the_next_loop_opens_the_client_again(self):
        with Sandbox(phones=1) as sandbox:
            diga = DigaClient(sandbox.api_key, base_url=sandbox.url)

            async def once():
                await diga.phones.get(sandbox.phone_ids[0])

            with warnings.catch_warnings():
                # The first loop took the open connection with it.
                warnings.simplefilter("ignore", ResourceWarning)
                asyncio.run(once())
                asyncio.run(once())
                gc.collect()

                async def last():
                    async with diga:
                        await once()

                asyncio.run(last())
                gc.collect()
            assert diga.stats.found == 3

    def test_a_client_left_open_in_a_closed_loop_can_be_closed(self):
        with Sandbox(phones=1) as sandbox:
            diga = DigaClient(sandbox.api_key, base_url=sandbox.url)

            async def open_it():
                await diga.phones.get(sandbox.phone_ids[0])

            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                asyncio.run(open_it())
                asyncio.run(diga.close())
                gc.collect()
            assert diga.closed

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_forked_child_is_refused(self):
        with Sandbox(phones=1) as sandbox:

            async def main():
                phone_id = sandbox.phone_ids[0]
                async with (
                    DigaClient(sandbox.api_key, base_url=sandbox.url) as diga,
                    diga.phones.iter_many([phone_id] * 2) as lookups,
                ):
                    await diga.phones.get(phone_id)
                    await until(lambda: diga.stats.found > 1)
                    return [
                        fork_and(asking)
                        for asking in (
                            lambda: diga.phones.get(phone_id),
                            lambda: anext(lookups),
                            lookups.aclose,
                        )
                    ]

            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                assert asyncio.run(main()) == [0, 0, 0]

    async def test_threads_that_open_a_client_together_open_it_once(self, sandbox):
        diga = DigaClient(sandbox.api_key, base_url=sandbox.url)
        barrier = threading.Barrier(4)
        refused = []

        async def use():
            refused_here = False
            barrier.wait()
            try:
                await diga.phones.get(sandbox.phone_ids[0])
            except WrongLoopError:
                refused_here = True
                refused.append(1)
            barrier.wait()
            if not refused_here:
                await diga.close()

        def thread():
            asyncio.run(use())

        await asyncio.gather(*(asyncio.to_thread(thread) for _ in range(4)))
        assert len(refused) == 3


def fork_and(use):
    """Return 0 if a child that uses its parent's client gets a WrongLoopError."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        asyncio.events._set_running_loop(None)
        asyncio.run(in_time(use()))
    except WrongLoopError:
        status = 0
    finally:
        os._exit(status)


async def in_time(awaitable):
    async with asyncio.timeout(5.0):
        return await awaitable


class TestClosing:
    async def test_a_second_close_waits_for_the_first(self, sandbox):
        sandbox.latency = 10.0
        diga = DigaClient(sandbox.api_key, base_url=sandbox.url)
        lookup = asyncio.ensure_future(diga.phones.get(sandbox.phone_ids[0]))
        await until(lambda: diga.stats.in_flight)

        closing = [asyncio.ensure_future(diga.close()) for _ in range(2)]
        await closing[1]

        assert closing[0].done()
        with pytest.raises(ClientClosedError):
            await lookup

    async def test_closing_twice_is_allowed(self, sandbox):
        diga = DigaClient(sandbox.api_key, base_url=sandbox.url)
        await diga.phones.get(sandbox.phone_ids[0])

        await diga.close()
        await diga.close()

        assert diga.closed
        assert repr(diga) == f"<DigaClient {sandbox.url} closed>"

    async def test_a_closed_client_raises_client_closed_error(self, sandbox):
        diga = DigaClient(sandbox.api_key, base_url=sandbox.url)
        await diga.close()

        with pytest.raises(ClientClosedError):
            await diga.phones.get(sandbox.phone_ids[0])
        with pytest.raises(ClientClosedError):
            await diga.phones.get_many(sandbox.phone_ids)
        with pytest.raises(ClientClosedError):
            await diga.__aenter__()

    async def test_waiting_lookups_end_when_the_client_closes(self, sandbox, diga):
        sandbox.faults = Faults(hangs=1.0)
        waiting = [
            asyncio.create_task(diga.phones.get(sandbox.phone_ids[0])),
            asyncio.create_task(diga.phones.get_many(sandbox.phone_ids)),
        ]
        while diga.stats.in_flight < 5:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)

        closing = asyncio.create_task(diga.close())
        for one in waiting:
            await at_once(one)
        await closing

        errors = [one.exception() for one in waiting]
        assert [type(e) for e in errors] == [ClientClosedError] * 2
        assert errors[1].partial.unanswered == sandbox.phone_ids

    async def test_a_client_collected_unclosed_warns_once_with_the_remedy(
        self, sandbox
    ):
        diga = DigaClient(sandbox.api_key, base_url=sandbox.url)
        await diga.phones.get(sandbox.phone_ids[0])

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del diga
            gc.collect()
            await asyncio.sleep(0.01)
            gc.collect()

        (warning,) = caught
        assert warning.category is ResourceWarning
        assert "async with DigaClient" in str(warning.message)

    async def test_a_stream_keeps_its_client_alive(self, sandbox):
        lookups = DigaClient(sandbox.api_key, base_url=sandbox.url).phones.iter_many(
            sandbox.phone_ids
        )
        cells = lookups._start.__closure__
        outcomes = [outcome async for outcome in lookups]

        assert len(outcomes) == 60
        for cell in cells:
            if isinstance(cell.cell_contents, DigaClient):
                await cell.cell_contents.close()


class TestLentSession:
    async def test_a_lent_session_is_used_and_left_open(self, sandbox):
        async with aiohttp.ClientSession() as session:
            async with DigaClient(
                sandbox.api_key, base_url=sandbox.url, session=session
            ) as diga:
                await diga.phones.get(sandbox.phone_ids[0])
            assert not session.closed

    async def test_a_closed_lent_session_is_a_client_closed_error(self, sandbox):
        session = aiohttp.ClientSession()
        diga = DigaClient(sandbox.api_key, base_url=sandbox.url, session=session)
        await diga.phones.get(sandbox.phone_ids[0])
        await session.close()

        with pytest.raises(ClientClosedError):
            await diga.phones.get(sandbox.phone_ids[0])
        await diga.close()
        with pytest.raises(ClientClosedError):
            await DigaClient(KEY, session=session).phones.get(sandbox.phone_ids[0])


async def test_no_attempt_keeps_earlier_ones_alive(sandbox, diga):
    """A timer holds the context it was made in, with everything in it."""

    def attempts():
        gc.collect()
        return sum(type(o).__name__ == "Attempt" for o in gc.get_objects())

    before = attempts()
    await diga.phones.get_many(sandbox.phone_ids, concurrency=4)

    assert attempts() <= before + 4


class TestStats:
    async def test_stats_have_the_last_failure_until_the_server_answers(self, sandbox):
        phone_id = sandbox.phone_ids[0]
        once = RetryPolicy(max_attempts=1)
        async with DigaClient(
            sandbox.api_key, base_url=sandbox.url, retry=once
        ) as diga:
            assert diga.stats.last_error is None
            sandbox.faults = Faults(errors=1.0)
            with pytest.raises(InternalServerError):
                await diga.phones.get(phone_id)
            failure = diga.stats.last_error
            assert isinstance(failure, InternalServerError)
            assert failure.__traceback__ is None
            assert (failure.status, failure.phone_id) == (503, None)
            sandbox.faults = Faults()
            await diga.phones.get(phone_id)
            assert diga.stats.last_error is None

    async def test_stats_count_everything(self, sandbox, diga):
        await diga.phones.get_many([*sandbox.phone_ids, uuid4()])
        stats = diga.stats

        assert (stats.requests, stats.found, stats.missing) == (61, 60, 1)
        assert (stats.rate, stats.outage, stats.in_flight) == (None, False, 0)
        assert (stats.limiter, stats.slots, stats.resumes_in) == ("free", 36, 0.0)

    async def test_stats_can_be_read_before_the_client_opens(self):
        stats = DigaClient(KEY, limits=Limits(per_second=50)).stats

        assert stats.requests == 0
        assert (stats.limiter, stats.rate) == ("capped", pytest.approx(49.0))

    async def test_they_show_what_the_rate_limiter_waits_for(self):
        async with (
            ByteServer(says(answer(b"", "429 Slow down", Retry_After="9"))) as server,
            DigaClient(KEY, base_url=server.url) as diga,
        ):
            with pytest.raises(RateLimitError):
                await diga.phones.get(uuid4(), timeouts=2.0)
            stats = diga.stats

        assert stats.limiter == "cooling_down"
        assert 8.0 < stats.resumes_in <= 10.0


async def test_outcomes_match_as_documented(sandbox, diga):
    seen = []
    async for outcome in diga.phones.iter_many([sandbox.phone_ids[0], uuid4(), "x"]):
        match outcome:
            case Found(phone=phone):
                seen.append(phone.number)
            case Missing(phone_id=phone_id):
                seen.append(phone_id)
            case Failed(phone_id=phone_id, error=error):
                seen.append((phone_id, type(error)))

    assert len(seen) == 3
    assert ("x", InvalidPhoneIdError) in seen


def test_timeouts_are_options_of_a_client():
    assert DigaClient(KEY, timeouts=5)._lifecycle.options.timeouts == Timeouts(5)


async def test_headers_are_sent_with_every_request_and_stay_hidden() -> None:
    headers = {"X-Gateway-Key": "gw-secret", "User-Agent": "our-bot/1"}
    async with (
        ByteServer(says(phone())) as server,
        DigaClient(KEY, base_url=server.url, headers=headers) as diga,
    ):
        await diga.phones.get(PHONE_ID)
        await diga.phones.get_many([PHONE_ID])

        assert "gw-secret" not in repr(attrs.asdict(diga._lifecycle.options))
    for head in server.heads:
        assert b"X-Gateway-Key: gw-secret\r\n" in head
        assert (
            head.count(b"User-Agent: our-bot/1\r\n") == head.count(b"User-Agent") == 1
        )


async def test_a_found_phone_has_the_id_of_its_request() -> None:
    named = says(answer(phone_fields(), X_Request_Id="req-7"))
    async with (
        ByteServer(named) as server,
        DigaClient(KEY, base_url=server.url) as diga,
    ):
        (outcome,) = [o async for o in diga.phones.iter_many([PHONE_ID])]

    assert outcome.request_id == "req-7"
    assert outcome == attrs.evolve(outcome, request_id=None)


async def test_phones_say_where_they_are_read() -> None:
    async with DigaClient(KEY, base_url="https://diga.example") as diga:
        assert repr(diga.phones) == "<phones of <DigaClient https://diga.example open>>"
