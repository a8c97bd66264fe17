"""
Look up phones of several projects, each with its own key, at the same time.

Run it with ``DIGA_API_KEYS`` set to ``name=key`` pairs, separated by commas.
"""

import asyncio
import os
from pathlib import Path

from diga_async import DigaClient, DigaError

PHONE_IDS = Path("phone_ids.txt")


async def count_phones(name: str, key: str, phone_ids: list[str]) -> None:
    async with DigaClient(key) as diga:
        try:
            batch = await diga.phones.get_many(phone_ids)
        except DigaError as error:
            print(name, "ended early:", repr(error))
        else:
            print(name, "has", len(batch.phones), "of", len(phone_ids), "phones")


async def count_all(phone_ids: list[str]) -> None:
    pairs = (pair.partition("=") for pair in os.environ["DIGA_API_KEYS"].split(","))
    async with asyncio.TaskGroup() as group:
        for name, _, key in pairs:
            group.create_task(count_phones(name, key, phone_ids))


def main() -> None:
    asyncio.run(count_all(PHONE_IDS.read_text(encoding="ascii").split()))


if __name__ == "__main__":
    main()
