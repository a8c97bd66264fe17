"""Look up one phone, in a sandbox."""

import asyncio

from diga_async import DigaClient
from diga_async.sandbox import Sandbox


async def main() -> None:
    async with Sandbox(phones=10) as sandbox:
        phone_id = sandbox.phone_ids[0]
        async with DigaClient(sandbox.api_key, base_url=sandbox.url) as diga:
            phone = await diga.phones.get(phone_id)
        print(phone.number, phone.status, phone.nickname)


if __name__ == "__main__":
    asyncio.run(main())
