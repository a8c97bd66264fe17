"""
Fixtures for the tests of code that uses this library.

Nothing heavy is imported until a test asks for a fixture.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any, Final

import pytest

_PHONES: Final = 100  # made in 3 ms; the sandbox's own thousand takes 30
_MARKERS: Final = {
    "diga_sandbox": "diga_async.sandbox.Sandbox",
    "diga_client": "diga_async.DigaClient",
}
_CLIENT: Final = pytest.StashKey[Any]()


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    for marker, settled in _MARKERS.items():
        line = (
            f"{marker}(**settings): settings of the test's {marker}, named as "
            f"{settled} names them. The closest marker wins, setting by setting."
        )
        config.addinivalue_line("markers", line)


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
def diga_client(request: pytest.FixtureRequest, diga_sandbox: Any) -> Any:
    """
    Make a diga_async.DigaClient for the sandbox; it opens on first use.

    An async test closes it at its end, inside its own loop, under pytest-asyncio and
    anyio alike. @pytest.mark.diga_client(retry=RetryPolicy(max_attempts=1)) sets it up.
    """
    from diga_async import DigaClient  # noqa: PLC0415 - aiohttp, only if asked for

    settings = {"base_url": diga_sandbox.url} | _settings(request.node, "diga_client")
    client = DigaClient(diga_sandbox.api_key, **settings)
    request.node.stash[_CLIENT] = client
    return client


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Have an async test close its client, whatever plugin gives it a loop."""
    client = item.stash.get(_CLIENT, None)
    test = getattr(item, "obj", None)
    if client is None or not inspect.iscoroutinefunction(test):
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        # Before the item runs: pytest-asyncio and anyio take the function from it then.
        patch.setattr(item, "obj", _closing(test, client))
        return (yield)


def _closing(
    test: Callable[..., Awaitable[object]], client: Any
) -> Callable[..., Awaitable[object]]:
    @functools.wraps(test)
    async def closing_test(*args: Any, **kwargs: Any) -> object:
        __tracebackhide__ = True
        try:
            return await test(*args, **kwargs)
        finally:
            await client.close()

    return closing_test


def _settings(item: pytest.Item, marker: str) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for mark in reversed(list(item.iter_markers(marker))):
        if mark.args:
            raise pytest.UsageError(f"The marker {marker} takes named settings only.")
        settings |= mark.kwargs
    return settings
