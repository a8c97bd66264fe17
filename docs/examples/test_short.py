import pytest


@pytest.mark.asyncio
async def test_an_assigned_phone_has_a_number(diga_sandbox, diga_client):
    phone_id = diga_sandbox.phone_ids[0]
    diga_sandbox.phones[phone_id] |= {"status": "assigned", "number": "+34910000000"}
    phone = await diga_client.phones.get(phone_id)
    assert (phone.status, phone.number) == ("assigned", "+34910000000")
