"""Tests of `greeting`, against the sandbox."""

import pytest
from greeting import greeting

from diga_async import DigaClient, RateLimitError, RetryPolicy
from diga_async.sandbox import Faults, Sandbox

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.mark.asyncio
async def test_an_assigned_phone_can_be_called(
    diga_sandbox: Sandbox, diga_client: DigaClient
) -> None:
    phone_id = diga_sandbox.phone_ids[0]
    diga_sandbox.phones[phone_id] |= {"status": "assigned", "number": "+34910000000"}

    said = await greeting(diga_client, str(phone_id))

    assert said == "Call us: +34910000000"


@pytest.mark.asyncio
async def test_an_unknown_phone_is_not_an_error(diga_client: DigaClient) -> None:
    assert await greeting(diga_client, UNKNOWN) == "We do not know that phone."


@pytest.mark.asyncio
@pytest.mark.diga_sandbox(faults=Faults(unknown_values=1.0))
async def test_an_unknown_status_is_not_an_error(
    diga_sandbox: Sandbox, diga_client: DigaClient
) -> None:
    phone_id = str(diga_sandbox.phone_ids[0])

    assert await greeting(diga_client, phone_id) == "That phone is not ready yet."


@pytest.mark.asyncio
@pytest.mark.diga_sandbox(per_second=0.001, burst=0)
@pytest.mark.diga_client(retry=RetryPolicy(max_attempts=1))
async def test_throttling_is_raised(
    diga_sandbox: Sandbox, diga_client: DigaClient
) -> None:
    phone_id = str(diga_sandbox.phone_ids[0])
    await greeting(diga_client, phone_id)

    with pytest.raises(RateLimitError):
        await greeting(diga_client, phone_id)
