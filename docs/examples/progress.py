"""Show the progress of a run."""

import asyncio
import sys
import time
from pathlib import Path

from diga_async import DigaClient, LookupStats

PHONE_IDS = Path("phone_ids.txt")
REDRAW_SECONDS = 0.2


def main() -> None:
    asyncio.run(fetch(PHONE_IDS.read_text(encoding="ascii").split()))


async def fetch(phone_ids: list[str]) -> None:
    drawn = 0.0
    async with DigaClient() as diga, diga.phones.iter_many(phone_ids) as lookups:
        async for _outcome in lookups:
            now = time.monotonic()
            if now >= drawn + REDRAW_SECONDS:  # thousands of ids a second may come
                drawn = now
                show(lookups.stats, len(phone_ids))
        show(lookups.stats, len(phone_ids))
    print(file=sys.stderr)


def show(stats: LookupStats, total: int) -> None:
    done = stats.found + stats.missing + stats.failed
    left = stats.remaining_seconds
    line = f"{done}/{total}, {stats.rate:.0f} a second"
    if left is not None:
        line += f", {left:.0f} s left"
    print(f"\r{line:<60}", end="", file=sys.stderr)


if __name__ == "__main__":
    main()
