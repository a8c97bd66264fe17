"""Look up phones with diga_async."""

import asyncio
from pathlib import Path

from diga_async import DigaClient, Failed, Found, Missing

PHONE_IDS = Path("phone_ids.txt")


async def look_up(phone_ids: list[str]) -> None:
    async with DigaClient() as diga, diga.phones.iter_many(phone_ids) as lookups:
        async for outcome in lookups:
            match outcome:
                case Found(phone_id=phone_id, phone=phone):
                    print(phone_id, phone.number)
                case Missing(phone_id=phone_id):
                    print(phone_id, "is missing")
                case Failed(phone_id=phone_id, error=error):
                    print(phone_id, "failed:", error)


def main() -> None:
    asyncio.run(look_up(PHONE_IDS.read_text(encoding="ascii").split()))


if __name__ == "__main__":
    main()
