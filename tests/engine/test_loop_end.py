"""Connections are closed inside the loop that ends, without a call of `close`."""

import asyncio
import gc
import sys
import textwrap
import threading
import warnings

import pytest
from fakes import KEY

from diga_async import DigaClient
from diga_async._engine.loop_end import LoopEnd
from diga_async.sandbox import Sandbox


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(20, api_key=KEY) as sandbox:
        yield sandbox


def uvloop_run(main):
    return pytest.importorskip("uvloop").run(main)


def runner_run(main):
    with asyncio.Runner(debug=True) as runner:
        return runner.run(main)


def anyio_run(main):
    async def call():
        return await main

    return pytest.importorskip("anyio").run(call)


EVERY_WAY = [asyncio.run, runner_run, anyio_run, uvloop_run]


@pytest.fixture
def complaints(monkeypatch):
    """Collect the complaints of garbage collection."""
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda it: seen.append(it.exc_value))
    gc.collect()
    seen.clear()  # what earlier tests left
    return seen


@pytest.mark.parametrize("run", EVERY_WAY)
def test_a_client_of_a_module_leaves_no_connection_in_any_loop(
    sandbox, complaints, run
):
    diga = DigaClient(KEY, base_url=sandbox.url)
    for phone_id in sandbox.phone_ids[:5]:
        assert run(diga.phones.get(phone_id)).id == phone_id
    assert repr(diga).endswith("not opened>")
    del diga  # without a warning: nothing is open
    gc.collect()

    assert complaints == []


def test_several_calls_in_one_loop_share_a_connection(sandbox):
    diga = DigaClient(KEY, base_url=sandbox.url)
    with asyncio.Runner() as runner:
        runner.run(diga.phones.get(sandbox.phone_ids[0]))
        before = diga._lifecycle.runtime
        runner.run(diga.phones.get(sandbox.phone_ids[1]))
        assert diga._lifecycle.runtime is before


def test_a_loop_that_ends_with_lookups_under_way_leaves_nothing(sandbox, complaints):
    diga = DigaClient(KEY, base_url=sandbox.url)

    async def main():
        for phone_id in sandbox.phone_ids:
            lookups.add(asyncio.ensure_future(diga.phones.get(phone_id)))
        await asyncio.sleep(0.01)

    for _ in range(2):
        lookups = set()
        asyncio.run(main())
        gc.collect()

    assert diga._lifecycle.runtime is None
    assert complaints == []


def test_a_generator_that_ends_with_the_loop_may_use_the_client(sandbox, complaints):
    diga = DigaClient(KEY, base_url=sandbox.url)
    seen, held = [], []

    async def generator():
        try:
            yield
        finally:
            seen.append(await diga.phones.get(sandbox.phone_ids[0]))

    async def main():
        await diga.phones.get(sandbox.phone_ids[1])
        held.append(generator())
        await anext(held[0])

    asyncio.run(main())
    asyncio.run(diga.phones.get(sandbox.phone_ids[2]))
    gc.collect()

    assert [phone.id for phone in seen] == [sandbox.phone_ids[0]]
    assert complaints == []


def test_a_loop_that_has_ended_its_generators_frees_the_client_for_another(sandbox):
    diga = DigaClient(KEY, base_url=sandbox.url)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(diga.phones.get(sandbox.phone_ids[0]))
    loop.run_until_complete(loop.shutdown_asyncgens())
    asyncio.run(diga.phones.get(sandbox.phone_ids[1]))
    loop.close()


def test_a_client_collected_at_the_end_of_its_loop_warns_once(sandbox, complaints):
    async def main():
        diga = DigaClient(KEY, base_url=sandbox.url)
        await diga.phones.get(sandbox.phone_ids[0])

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(main())
        gc.collect()

    assert ["DigaClient" in str(warning.message) for warning in caught] == [True]
    assert complaints == []


def test_threads_have_loops_of_their_own(sandbox, complaints):
    failed = []

    def work():
        diga = DigaClient(KEY, base_url=sandbox.url)
        for _ in range(3):
            batch = asyncio.run(diga.phones.get_many(sandbox.phone_ids))
            if len(batch.phones) != 20:
                failed.append(batch)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()

    assert (failed, complaints) == ([], [])


def test_pytest_asyncio_closes_what_a_module_holds(sandbox, pytester):
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    ids = [str(phone_id) for phone_id in sandbox.phone_ids[:3]]
    pytester.makepyfile(
        textwrap.dedent(f"""
            import gc
            import pytest
            from diga_async import DigaClient

            diga = DigaClient({KEY!r}, base_url={sandbox.url!r})

            @pytest.mark.asyncio
            @pytest.mark.parametrize("phone_id", {ids})
            async def test_it(phone_id):
                assert str((await diga.phones.get(phone_id)).id) == phone_id

            def test_nothing_is_left():
                gc.collect()
        """)
    )
    result = pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider")

    result.assert_outcomes(passed=4)


def test_ipython_closes_what_a_cell_opened(sandbox, complaints):
    shell_class = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell
    looprunner = pytest.importorskip("IPython.core.async_helpers")
    assert shell_class is not None
    diga = DigaClient(KEY, base_url=sandbox.url)
    loop = looprunner.get_asyncio_loop()
    loop.run_until_complete(diga.phones.get(sandbox.phone_ids[0]))
    loop.run_until_complete(loop.shutdown_asyncgens())  # as it does when it exits
    del diga
    gc.collect()
    loop.close()

    assert complaints == []


# --- `LoopEnd` itself


def test_the_callback_is_called_in_the_loop_that_ends():
    called = []

    async def close():
        called.append(asyncio.get_running_loop())

    async def main():
        assert end.expect(close)
        return asyncio.get_running_loop()

    end = LoopEnd()
    for _ in range(2):
        loop = asyncio.run(main())
        assert called.pop() is loop


def test_a_cancelled_callback_is_not_called():
    called = []

    async def close():
        called.append(1)

    async def main():
        end.expect(close)
        end.cancel()
        end.cancel()

    end = LoopEnd()
    asyncio.run(main())

    assert called == []


def test_a_loop_ends_once():
    async def close():
        """Nothing to do."""

    async def main():
        return end.expect(close)

    end = LoopEnd()
    loop = asyncio.new_event_loop()
    first = loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_asyncgens())
    second = loop.run_until_complete(main())
    loop.close()

    assert (first, second) == (True, False)
