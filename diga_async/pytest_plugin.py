"""
Fixtures for the tests of code that uses this library.

Nothing heavy is imported until a test asks for a fixture.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import pytest

_PHONES: Final = 100  # made in 3 ms; the sandbox's own thousand takes 30
_MARKERS: Final = {
    "diga_sandbox": "diga_async.sandbox.Sandbox",
    "diga_client": "diga_async.DigaClient",
}
_PYTEST_ASYNCIO: Final = ("asyncio", "pytest_asyncio.plugin")  # as it may be loaded


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and what only pytest-asyncio understands."""
    if _has_pytest_asyncio(config):
        config.pluginmanager.import_plugin("diga_async._pytest_asyncio")
    for marker, settled in _MARKERS.items():
        line = (
            f"{marker}(**settings): settings of the test's {marker}, named as "
            f"{settled} names them. The closest marker wins, setting by setting."
        )
        config.addinivalue_line("markers", line)


def _has_pytest_asyncio(config: pytest.Config) -> bool:
    return any(map(config.pluginmanager.hasplugin, _PYTEST_ASYNCIO))


@pytest.fixture
def diga_sandbox(request: pytest.FixtureRequest) -> Iterator[Any]:
    """
    Run a diga_async.sandbox.Sandbox with 100 phones, in a thread of its own.

    @pytest.mark.diga_sandbox(phones=7, faults=Faults(errors=0.1)) sets it up.
    """
    from diga_async.sandbox import Sandbox  # noqa: PLC0415 - aiohttp, only if asked for

    settings = {"phones": _PHONES} | _settings(request.node, "diga_sandbox")
    with Sandbox(**settings) as sandbox:
        yield sandbox


@pytest.fixture
def diga_client(request: pytest.FixtureRequest, diga_sandbox: Any) -> Iterator[Any]:
    """
    Make a diga_async.DigaClient for the sandbox; it opens on first use.

    Once the test and the fixtures that use it are done, it is closed, inside the loop
    it was used in, under pytest-asyncio and anyio alike.
    A plain test that uses it in a loop of its own closes it there.
    @pytest.mark.diga_client(retry=RetryPolicy(max_attempts=1)) sets it up.
    """
    from diga_async import DigaClient  # noqa: PLC0415 - aiohttp, only if asked for

    _keep_loop(request)
    settings = {"base_url": diga_sandbox.url} | _settings(request.node, "diga_client")
    client = DigaClient(diga_sandbox.api_key, **settings)
    yield client
    _close(client)


@pytest.fixture
async def _diga_loop_of_anyio() -> AsyncIterator[None]:
    yield  # noqa: PT022 - anyio keeps its loop for as long as this is not done


def _keep_loop(request: pytest.FixtureRequest) -> None:
    """Have the loop of the test outlive whatever asked for this, whoever runs it."""
    if _is_in_a_loop():  # an async test that calls `getfixturevalue`: it is alive
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
