"""
Fixtures for tests of code that uses this library.

`diga_sandbox` is a Diga server on loopback, `diga_client` a client for it.
Nothing heavy is imported until a test requests one of them.

The sandbox serves from its own thread and can be changed at any time, so a test can
change it while the code under test waits:

    async def test_the_bot_tells_that_a_number_is_verified(diga_client, diga_sandbox):
        phone_id = diga_sandbox.add(status="pending_verification")
        waiting = asyncio.create_task(bot.tell_when_assigned(diga_client, phone_id))

        diga_sandbox.change(phone_id, status="assigned")

        assert await waiting == "Your number is ready."
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import pytest

_PHONES: Final = 100  # made in 3 ms; the sandbox's default thousand takes 30
_MARKERS: Final = {
    "diga_sandbox": "diga_async.sandbox.Sandbox",
    "diga_client": "diga_async.DigaClient",
}
_PYTEST_ASYNCIO: Final = ("asyncio", "pytest_asyncio.plugin")  # it has two names


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and a fixture for pytest-asyncio if that is loaded."""
    if _has_pytest_asyncio(config):
        config.pluginmanager.import_plugin("diga_async._pytest_asyncio")
    for marker, type_name in _MARKERS.items():
        line = (
            f"{marker}(**settings): settings of the test's {marker}, the arguments of "
            f"{type_name}. The closest marker wins, setting by setting."
        )
        config.addinivalue_line("markers", line)


def _has_pytest_asyncio(config: pytest.Config) -> bool:
    return any(map(config.pluginmanager.hasplugin, _PYTEST_ASYNCIO))


@pytest.fixture
def diga_sandbox(request: pytest.FixtureRequest) -> Iterator[Any]:
    """
    Serve a diga_async.sandbox.Sandbox with 100 phones from a thread of its own.

    @pytest.mark.diga_sandbox(phones=7, faults=Faults(errors=0.1)) sets it up.
    Its change, add and remove, and its settings, can be used at any time,
    even while the code under test waits for a change: its next request sees it.
    """
    from diga_async.sandbox import Sandbox  # noqa: PLC0415 - aiohttp, only if asked for

    settings = {"phones": _PHONES} | _settings(request.node, "diga_sandbox")
    with Sandbox(**settings) as sandbox:
        yield sandbox


@pytest.fixture
def diga_client(request: pytest.FixtureRequest, diga_sandbox: Any) -> Iterator[Any]:
    """
    Make a diga_async.DigaClient for diga_sandbox; it opens on first use.

    It is closed after the test and the fixtures that use it, inside the loop it was
    used in, under pytest-asyncio and under anyio.
    A plain test that runs its own loop closes the client there.
    @pytest.mark.diga_client(retry=RetryPolicy(max_attempts=1)) sets it up.
    """
    from diga_async import DigaClient  # noqa: PLC0415 - aiohttp, only if asked for

    _keep_loop(request)
    of_sandbox = {"api_key": diga_sandbox.api_key, "base_url": diga_sandbox.url}
    client = DigaClient(**of_sandbox | _settings(request.node, "diga_client"))
    yield client
    _close(client)


@pytest.fixture
async def _diga_loop_of_anyio() -> AsyncIterator[None]:
    yield  # noqa: PT022 - anyio keeps its loop until this is torn down


def _keep_loop(request: pytest.FixtureRequest) -> None:
    """Keep the test's loop running until the fixture that calls this is torn down."""
    if _is_in_a_loop():  # an async test called `getfixturevalue`: its loop runs
        return
    of_anyio = "anyio_backend" in request.fixturenames
    if of_anyio and request.node.get_closest_marker("asyncio") is None:
        request.getfixturevalue("_diga_loop_of_anyio")
    elif _has_pytest_asyncio(request.config):
        request.getfixturevalue("_diga_loop_of_pytest_asyncio")


def _is_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _close(client: Any) -> None:
    runtime = client._lifecycle.runtime  # noqa: SLF001 - its loop is not public
    if runtime is not None and not runtime.loop.is_closed():
        runtime.loop.run_until_complete(client.close())


def _settings(item: pytest.Item, marker: str) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for mark in reversed(list(item.iter_markers(marker))):
        if mark.args:
            raise pytest.UsageError(f"The marker {marker} takes named settings only.")
        settings |= mark.kwargs
    return settings
