"""The part of the pytest plugin that needs pytest-asyncio; not loaded without it."""

from collections.abc import AsyncIterator

import pytest_asyncio


@pytest_asyncio.fixture(loop_scope="function")
async def _diga_loop_of_pytest_asyncio() -> AsyncIterator[None]:
    """Keep a test's loop running until the fixture that requests this is torn down."""
    yield
