"""The fixtures for users' tests; each claim is proved by its own run of pytest."""

import sys
import threading
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

import pytest

import diga_async
import diga_async.sandbox

# A run inside this process would load a second copy of a module not loaded yet.
LOADED = (diga_async.DigaClient, diga_async.sandbox.Sandbox)

ROOT = Path(diga_async.__file__).parents[1]
INSTALLED = any(
    entry.value == "diga_async.pytest_plugin"
    for entry in entry_points(group="pytest11")
)
PLUGIN = () if INSTALLED else ("-p", "diga_async.pytest_plugin")

STRICT = (
    *("-W", "error", "-W", "ignore::pytest.PytestAssertRewriteWarning"),
    *("-p", "no:hypothesispytest"),  # it takes a second to load in every run
)
NO_ASYNCIO = ("-p", "no:asyncio")
SCOPE = ("-o", "asyncio_default_fixture_loop_scope=function")
RUNNERS = {
    "pytest-asyncio, auto": (*SCOPE, "-o", "asyncio_mode=auto"),
    "pytest-asyncio, strict": (*SCOPE, "-o", "asyncio_mode=strict"),
    "anyio": NO_ASYNCIO,
}
MARKS = {
    "pytest-asyncio, auto": "",
    "pytest-asyncio, strict": "pytestmark = pytest.mark.asyncio",
    "anyio": "pytestmark = pytest.mark.anyio",
}
FIXTURE = {
    "pytest-asyncio, auto": "@pytest.fixture",
    "pytest-asyncio, strict": "@pytest_asyncio.fixture",
    "anyio": "@pytest.fixture",
}
WATCH = """
    import asyncio
    import pytest
    import pytest_asyncio
    from diga_async import DigaClient

    closed_in = []

    @pytest.fixture(autouse=True)
    def watch(monkeypatch):
        close = DigaClient.close

        async def watched(client):
            closed_in.append(asyncio.get_running_loop())
            await close(client)

        monkeypatch.setattr(DigaClient, "close", watched)
"""


class Run(Protocol):
    def __call__(
        self, source: str, runner: tuple[str, ...] = ..., *arguments: str
    ) -> pytest.RunResult: ...


RunAsync = Callable[[str], pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Run a test file with the plugin, every warning an error."""

    def run(
        source: str, runner: tuple[str, ...] = NO_ASYNCIO, *arguments: str
    ) -> pytest.RunResult:
        pytester.makepyfile(source)
        return pytester.runpytest_inprocess(*PLUGIN, *STRICT, *runner, *arguments)

    return run


@pytest.fixture(params=RUNNERS)
def run_async(request: pytest.FixtureRequest, run: Run) -> RunAsync:
    """Run an async test file under each plugin that runs async tests."""

    def run_async(source: str) -> pytest.RunResult:
        lines = "\n".join(line.removeprefix("    ") for line in source.splitlines())
        head = "\n".join(line.removeprefix("    ") for line in WATCH.splitlines())
        lines = lines.replace("@async_fixture", FIXTURE[request.param])
        file = f"{head}\n{MARKS[request.param]}\n{lines}"
        return run(file, RUNNERS[request.param])

    return run_async


def test_the_sandbox_serves_a_plain_test_and_stops_after_it(run: Run) -> None:
    result = run("""
        from urllib.request import Request, urlopen

        def test_it(diga_sandbox):
            url = f"{diga_sandbox.url}/v1/phone/{diga_sandbox.phone_ids[0]}"
            key = {"Authorization": f"Bearer {diga_sandbox.api_key}"}
            with urlopen(Request(url, headers=key)) as answer:
                assert answer.status == 200
            assert len(diga_sandbox.phones) == 100
    """)

    result.assert_outcomes(passed=1)
    assert "diga-sandbox" not in {thread.name for thread in threading.enumerate()}


def test_every_test_gets_a_new_sandbox(run: Run) -> None:
    result = run("""
        import pytest

        @pytest.mark.parametrize("turn", [1, 2])
        def test_it(diga_sandbox, turn):
            assert len(diga_sandbox.phones) == 100
            diga_sandbox.phones.clear()
    """)

    result.assert_outcomes(passed=2)


def test_the_closest_marker_wins_setting_by_setting(run: Run) -> None:
    result = run("""
        import pytest
        from diga_async.sandbox import Faults

        pytestmark = pytest.mark.diga_sandbox(phones=3, seed=7)

        def test_module(diga_sandbox):
            assert (len(diga_sandbox.phones), diga_sandbox.seed) == (3, 7)

        @pytest.mark.diga_sandbox(phones=5, faults=Faults(errors=0.5))
        def test_function(diga_sandbox):
            assert (len(diga_sandbox.phones), diga_sandbox.seed) == (5, 7)
            assert diga_sandbox.faults.errors == 0.5
    """)

    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("fixture", ["diga_sandbox", "diga_client"])
def test_a_marker_with_a_positional_argument_is_an_error(
    run: Run, fixture: str
) -> None:
    result = run(f"""
        import pytest

        @pytest.mark.{fixture}(10)
        def test_it({fixture}):
            pass
    """)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*The marker {fixture} takes named settings only."])


def test_markers_and_fixtures_are_documented(run: Run) -> None:
    markers = run("", NO_ASYNCIO, "--markers").stdout
    fixtures = run("", NO_ASYNCIO, "--fixtures").stdout

    for name in ("diga_sandbox", "diga_client"):
        markers.fnmatch_lines([f"@pytest.mark.{name}(*settings): settings of *"])
        fixtures.fnmatch_lines([f"{name} -- *pytest_plugin.py:*", "*diga_async.*"])


def test_an_async_test_closes_its_client_in_its_own_loop(run_async: RunAsync) -> None:
    result = run_async("""
    loops = []

    async def test_it(diga_client, diga_sandbox):
        phone_id = diga_sandbox.phone_ids[0]
        assert (await diga_client.phones.get(phone_id)).id == phone_id
        assert not diga_client.closed
        loops.append(asyncio.get_running_loop())

    async def test_after():
        assert closed_in == loops
    """)

    result.assert_outcomes(passed=2)


def test_the_client_works_through_fixtures_in_methods_and_with_parameters(
    run_async: RunAsync,
) -> None:
    result = run_async("""
    @pytest.fixture
    def diga(diga_client):
        return diga_client

    class TestIt:
        @pytest.mark.parametrize("turn", [1, 2])
        async def test_it(self, diga, diga_sandbox, turn):
            await diga.phones.get(diga_sandbox.phone_ids[turn])

    async def test_after():
        assert len(closed_in) == 2
    """)

    result.assert_outcomes(passed=3)


def test_a_fixture_can_use_the_client_in_its_teardown(run_async: RunAsync) -> None:
    """A fixture that sets something up with the client tears it down with it."""
    result = run_async("""
    loops = []

    @async_fixture
    async def first(diga_client, diga_sandbox):
        await diga_client.phones.get(diga_sandbox.phone_ids[0])
        yield diga_client
        await diga_client.phones.get(diga_sandbox.phone_ids[0])
        loops.append(asyncio.get_running_loop())

    @async_fixture
    async def second(diga_client, diga_sandbox):
        yield
        await diga_client.phones.get(diga_sandbox.phone_ids[1])

    async def test_it(first, second, diga_sandbox):
        await first.phones.get(diga_sandbox.phone_ids[2])

    async def test_after():
        assert closed_in == loops
    """)

    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_client_of_a_plain_test_with_an_async_fixture_is_closed(
    run: Run, runner: str
) -> None:
    result = run(
        f"""{WATCH}
    loops = []

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    {FIXTURE[runner]}
    async def phone(anyio_backend, diga_client, diga_sandbox):
        loops.append(asyncio.get_running_loop())
        yield await diga_client.phones.get(diga_sandbox.phone_ids[0])

    def test_it(phone):
        assert phone.number

    def test_after():
        assert closed_in == loops
    """,
        RUNNERS[runner],
    )

    result.assert_outcomes(passed=2)


def test_a_running_test_can_request_a_client(
    run_async: RunAsync,
) -> None:
    """Pytest allows that for plain fixtures only, which the client is."""
    result = run_async("""
    async def test_it(request, diga_sandbox):
        async with request.getfixturevalue("diga_client") as diga:
            await diga.phones.get(diga_sandbox.phone_ids[0])
    """)

    result.assert_outcomes(passed=1)


def test_a_failing_test_has_its_client_closed_and_shows_its_own_failure(
    run_async: RunAsync,
) -> None:
    result = run_async("""
    async def test_it(diga_client, diga_sandbox):
        await diga_client.phones.get(diga_sandbox.phone_ids[0])
        assert "this" == "that"

    async def test_after():
        assert len(closed_in) == 1
    """)

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E * assert 'this' == 'that'"])


def test_a_test_can_close_its_client_itself(run_async: RunAsync) -> None:
    result = run_async("""
    async def test_it(diga_client, diga_sandbox):
        async with diga_client as diga:
            await diga.phones.get(diga_sandbox.phone_ids[0])
    """)

    result.assert_outcomes(passed=1)


def test_an_unused_client_needs_no_closing(run_async: RunAsync) -> None:
    result = run_async("""
    async def test_it(diga_client):
        pass
    """)

    result.assert_outcomes(passed=1)


def test_the_client_is_closed_in_a_loop_that_outlives_the_test(run: Run) -> None:
    result = run(
        WATCH.replace("\n    ", "\n        ")
        + """
        @pytest.mark.asyncio(loop_scope="module")
        @pytest.mark.parametrize("turn", [1, 2])
        async def test_it(diga_client, diga_sandbox, turn):
            await diga_client.phones.get(diga_sandbox.phone_ids[turn])

        def test_after():
            assert len(closed_in) == 2
    """,
        RUNNERS["pytest-asyncio, strict"],
    )

    result.assert_outcomes(passed=3)


def test_the_client_works_with_anyio_on_uvloop(run: Run) -> None:
    pytest.importorskip("uvloop")
    result = run("""
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio", {"use_uvloop": True}

        @pytest.mark.anyio
        async def test_it(diga_client, diga_sandbox):
            await diga_client.phones.get(diga_sandbox.phone_ids[0])
    """)

    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_plain_test_can_request_a_client(run: Run, runner: str) -> None:
    result = run(
        """
        import asyncio

        def test_unused(diga_client):
            assert not diga_client.closed

        def test_used(diga_client, diga_sandbox):
            async def main():
                async with diga_client as diga:
                    await diga.phones.get(diga_sandbox.phone_ids[0])

            asyncio.run(main())
    """,
        RUNNERS[runner],
    )

    result.assert_outcomes(passed=2)


def test_a_client_can_be_set_up_by_a_marker(run_async: RunAsync) -> None:
    result = run_async("""
    from diga_async import InternalServerError, RetryPolicy
    from diga_async.sandbox import Faults

    @pytest.mark.diga_sandbox(faults=Faults(errors=1.0))
    @pytest.mark.diga_client(retry=RetryPolicy(max_attempts=1))
    async def test_it(diga_client, diga_sandbox):
        with pytest.raises(InternalServerError):
            await diga_client.phones.get(diga_sandbox.phone_ids[0])
        assert len(diga_sandbox.requests) == 1
    """)

    result.assert_outcomes(passed=1)


def test_a_marker_can_give_the_client_another_key(run_async: RunAsync) -> None:
    result = run_async("""
    from diga_async import AuthenticationError

    @pytest.mark.diga_client(api_key="sk-refused")
    async def test_it(diga_client, diga_sandbox):
        with pytest.raises(AuthenticationError):
            await diga_client.phones.get(diga_sandbox.phone_ids[0])
    """)

    result.assert_outcomes(passed=1)


def test_an_unknown_argument_of_a_marker_is_answered_with_what_exists(
    run: Run,
) -> None:
    result = run("""
        import pytest

        @pytest.mark.diga_sandbox(per_sec=1)
        def test_sandbox(diga_sandbox):
            pass

        @pytest.mark.diga_client(retries=1)
        def test_client(diga_client):
            pass
    """)

    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        [
            "E *Sandbox() has no 'per_sec': did you mean 'per_second'[?]",
            "E *DigaClient() has no 'retries': pass retry=RetryPolicy*",
        ]
    )


def test_a_diga_client_fixture_of_the_users_own_is_used_instead(
    run_async: RunAsync,
) -> None:
    result = run_async("""
    @pytest.fixture
    def diga_client():
        return object()

    async def test_it(diga_client):
        assert closed_in == []
    """)

    result.assert_outcomes(passed=1)


def test_a_test_can_change_the_sandbox_while_its_code_waits(
    run_async: RunAsync,
) -> None:
    result = run_async("""
    async def until_assigned(diga_client, phone_id):
        while (await diga_client.phones.get(phone_id)).status != "assigned":
            await asyncio.sleep(0)
        return "ready"

    async def test_it(diga_client, diga_sandbox):
        phone_id = diga_sandbox.add(status="pending_verification")
        waiting = asyncio.create_task(until_assigned(diga_client, phone_id))
        async with asyncio.timeout(5):
            while not diga_sandbox.requests:
                await asyncio.sleep(0)
        assert not waiting.done()

        diga_sandbox.change(phone_id, status="assigned")

        assert await asyncio.wait_for(waiting, 5) == "ready"
    """)

    result.assert_outcomes(passed=1)


def test_a_change_is_seen_by_a_plain_test_too(run: Run) -> None:
    result = run("""
        import json
        from urllib.error import HTTPError
        from urllib.request import Request, urlopen

        import pytest

        def ask(sandbox, path):
            key = {"Authorization": f"Bearer {sandbox.api_key}"}
            with urlopen(Request(f"{sandbox.url}/v1/phone/{path}", headers=key)) as it:
                return json.load(it)

        @pytest.mark.diga_sandbox(phones=2, numbered_pages=False)
        def test_it(diga_sandbox):
            first, second = diga_sandbox.phone_ids
            added = diga_sandbox.add()
            diga_sandbox.change(second, nickname="Front desk")
            diga_sandbox.remove(first)

            page = ask(diga_sandbox, "?limit=5")
            assert [phone["id"] for phone in page["data"]] == [str(added), str(second)]
            assert page["data"][1]["nickname"] == "Front desk"
            assert page["total_pages"] is None
            with pytest.raises(HTTPError, match="404") as caught:
                ask(diga_sandbox, first)
            caught.value.close()
    """)

    result.assert_outcomes(passed=1)


def test_the_plugin_loads_nothing_heavy_until_it_is_used(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile("""
        import sys

        def test_it():
            ours = {name for name in sys.modules if name.startswith("diga_async")}
            assert ours == {
                "diga_async", "diga_async._version", "diga_async.pytest_plugin"
            }
            assert not {"aiohttp", "attrs", "cattrs"} & sys.modules.keys()
    """)
    result = pytester.run(sys.executable, "-m", "pytest", *PLUGIN, *STRICT, *NO_ASYNCIO)

    result.assert_outcomes(passed=1)
