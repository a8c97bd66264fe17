"""Choose a greeting by the status of a phone."""

from diga_async import DigaClient, NotFoundError, PhoneStatus


async def greeting(diga: DigaClient, phone_id: str) -> str:
    try:
        phone = await diga.phones.get(phone_id)
    except NotFoundError:
        return "We do not know that phone."
    match phone.status:
        case PhoneStatus.ASSIGNED:
            return f"Call us: {phone.number}"
        case PhoneStatus.RELEASED | PhoneStatus.FINISHED:
            return "That phone is no longer ours."
        case _:
            return "That phone is not ready yet."
