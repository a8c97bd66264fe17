import pytest

from diga_async import DigaClient
from diga_async.sandbox import Sandbox


@pytest.mark.asyncio
async def test_a_phone(diga_sandbox: Sandbox, diga_client: DigaClient) -> None:
    phone_id = diga_sandbox.phone_ids[0]
    diga_sandbox.phones[phone_id]["status"] = "assigned"
    phone = await diga_client.phones.get(phone_id)
    assert phone.status == "assigned"
