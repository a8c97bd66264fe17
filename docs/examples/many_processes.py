"""
Look up the ids of a file with several processes; each writes a file of its own.

Start it with ``DIGA_API_KEY`` set.

Close: each process opens a client of its own and closes it.
Errors: what ends the run of one process ends the program when the others are done.
Exit codes: 0 done, 1 some ids failed, 2 ended early.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TextIO
from zlib import crc32

from diga_async import DigaClient, DigaError, Failed, Found, Limits, LookupStats

PHONE_IDS = Path("phone_ids.txt")
PROCESSES = os.cpu_count() or 1
PER_SECOND: float | None = None  # the server's limit, if you know it

logger = logging.getLogger("phones")


def main() -> int:
    limits = Limits()
    if PER_SECOND:
        limits = Limits(per_second=PER_SECOND / PROCESSES, adaptive=False)
    spawn = get_context("spawn")  # a forked process would inherit open clients
    with ProcessPoolExecutor(PROCESSES, mp_context=spawn) as pool:
        shares = [pool.submit(fetch, n, PROCESSES, limits) for n in range(PROCESSES)]
        try:
            stats = [share.result() for share in shares]
        except DigaError as error:
            logger.error("ended early: %r", error)
            return 2
    logger.info("%s found", sum(one.found for one in stats))
    return 1 if any(one.failed for one in stats) else 0


def fetch(number: int, processes: int, limits: Limits) -> LookupStats:
    """Look up one share, in a process of its own."""
    with Path(f"phones-{number}.jsonl").open("w", encoding="utf-8") as phones:
        return asyncio.run(fetch_share(share_of(number, processes), limits, phones))


def share_of(number: int, processes: int) -> Iterator[str]:
    """Yield every id of one share; equal ids are always in the same share."""
    with PHONE_IDS.open(encoding="ascii") as lines:
        for line in lines:
            phone_id = line.strip()
            if crc32(phone_id.encode()) % processes == number:
                yield phone_id


async def fetch_share(
    phone_ids: Iterator[str], limits: Limits, phones: TextIO
) -> LookupStats:
    async with (
        DigaClient(limits=limits) as diga,
        diga.phones.iter_many(phone_ids) as lookups,
    ):
        async for outcome in lookups:
            if isinstance(outcome, Found):
                phones.write(outcome.phone.to_json() + "\n")
            elif isinstance(outcome, Failed):
                logger.warning("%s failed: %r", outcome.phone_id, outcome.error)
        return lookups.stats


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    sys.exit(main())
