"""Look up many phones, in an unreliable sandbox."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import assert_never
from uuid import UUID

from diga_async import DigaClient, Failed, Found, Missing
from diga_async.sandbox import Faults, Sandbox

UNKNOWN = UUID("00000000-0000-4000-8000-000000000000")


async def main() -> None:
    faults = Faults(errors=0.02, resets=0.01)
    async with Sandbox(phones=300, per_second=400, faults=faults) as sandbox:
        phone_ids: list[UUID | str] = [*sandbox.phone_ids, UNKNOWN, "not a phone id"]
        async with DigaClient(sandbox.api_key, base_url=sandbox.url) as diga:
            await look_up(diga, phone_ids)


async def look_up(diga: DigaClient, phone_ids: Iterable[UUID | str]) -> None:
    statuses = Counter[str]()
    async with diga.phones.iter_many(phone_ids, concurrency=32) as lookups:
        async for outcome in lookups:
            match outcome:
                case Found(phone=phone):
                    statuses[str(phone.status)] += 1
                case Missing(phone_id=phone_id):
                    print("missing:", phone_id)
                case Failed(phone_id=phone_id, error=error):
                    print("failed:", phone_id, type(error).__name__)
                case _ as never:
                    assert_never(never)
    print(lookups.stats.found, "found:", dict(sorted(statuses.items())))


if __name__ == "__main__":
    asyncio.run(main())
