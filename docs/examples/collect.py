"""Look up the phones of a file, and collect the outcomes."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from diga_async import DigaClient, DigaError

PHONE_IDS = Path("phone_ids.txt")


def read_ids() -> Iterator[str]:
    with PHONE_IDS.open(encoding="ascii") as lines:
        for line in lines:
            yield line.strip()


async def main() -> None:
    async with DigaClient() as diga:
        try:
            batch = await diga.phones.get_many(read_ids())
        except DigaError as error:
            # The run ended early; `partial` has the results so far.
            print("ended early:", error, error.partial)
            raise
    for phone_id, phone in batch.phones.items():
        print(phone_id, phone.number, phone.status)
    for phone_id in batch.missing:
        print(phone_id, "is missing")
    for invalid, failure in batch.failures.items():
        print(invalid, "failed:", failure)


if __name__ == "__main__":
    asyncio.run(main())
