"""
Keep phones for a minute, for a bot that is asked for the same ones again and again.

It needs cachetools.
"""

import asyncio
from uuid import UUID

from cachetools import TTLCache

from diga_async import DigaClient, Phone


class PhoneCache:
    def __init__(self, diga: DigaClient, seconds: float = 60.0) -> None:
        self._diga = diga
        self._phones = TTLCache[str, Phone](maxsize=10_000, ttl=seconds)

    async def get(self, phone_id: UUID | str) -> Phone:
        key = str(phone_id)
        phone: Phone | None = self._phones.get(key)
        if phone is None:
            phone = self._phones[key] = await self._diga.phones.get(phone_id)
        return phone


async def main() -> None:
    async with DigaClient() as diga:
        phones = PhoneCache(diga)
        for _ in range(3):
            phone = await phones.get("3c90c3cc-0d44-4b50-8888-8dd25736052a")
            print(phone.number, "after", diga.stats.requests, "request")


if __name__ == "__main__":
    asyncio.run(main())
