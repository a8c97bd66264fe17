"""The pytest plugin's part for pytest-asyncio; loaded only where that one is."""

from collections.abc import AsyncIterator

import pytest_asyncio


@pytest_asyncio.fixture(loop_scope="function")
async def _diga_loop_of_pytest_asyncio() -> AsyncIterator[None]:
    """Keep the loop of a test until what asked for this is torn down."""
    yield
