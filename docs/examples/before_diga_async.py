"""Look up phones with aiohttp alone."""

import asyncio
import os
from pathlib import Path

import aiohttp

URL = os.environ.get("DIGA_BASE_URL", "https://api.diga.io")
KEY = os.environ["DIGA_API_KEY"]
PHONE_IDS = Path("phone_ids.txt")


async def look_up(
    session: aiohttp.ClientSession, semaphore: asyncio.Semaphore, phone_id: str
) -> None:
    async with semaphore:
        for attempt in range(4):
            async with session.get(f"{URL}/v1/phone/{phone_id}") as response:
                if response.status == 200:
                    phone = await response.json()
                    print(phone_id, phone["number"])
                    return
                if response.status == 404:
                    print(phone_id, "is missing")
                    return
                if response.status != 429 and response.status < 500:
                    break
            await asyncio.sleep(2**attempt)
        print(phone_id, "failed")


async def look_up_all(phone_ids: list[str]) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    semaphore = asyncio.Semaphore(64)
    async with aiohttp.ClientSession(headers=headers) as session:
        await asyncio.gather(*(look_up(session, semaphore, i) for i in phone_ids))


def main() -> None:
    asyncio.run(look_up_all(PHONE_IDS.read_text(encoding="ascii").split()))


if __name__ == "__main__":
    main()
