"""
Fetch phones every night; write one JSON line for each phone that is found.

Start it from cron or a timer, with ``DIGA_API_KEY`` set. When it is started again in
the same night, it skips the phones that are written and looks up all other ids.

Close: ``async with`` closes the client. It can be stopped at any point.
Errors: an id that fails is left to the next start; what ends the run ends the program.
Exit codes: 0 done, 1 some ids failed, 2 ended early: start it again later.
Log: ids and errors; no data of a phone.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from diga_async import DigaClient, DigaError, Failed, Found, LookupStats, Missing

PHONE_IDS = Path("phone_ids.txt")

logger = logging.getLogger("nightly")


def main() -> int:
    tonight = Path(f"phones-{datetime.now(UTC):%Y-%m-%d}.jsonl")
    phone_ids = PHONE_IDS.read_text(encoding="utf-8").split()
    with tonight.open("a+", encoding="utf-8", buffering=1) as phones:
        done = ids_in(phones)
        try:
            stats = asyncio.run(fetch((i for i in phone_ids if i not in done), phones))
        except DigaError as error:
            # The key was refused, or there was no answer for five minutes.
            logger.error("ended early: %r", error)
            return 2
    logger.info("%s found, %s missing", stats.found, stats.missing)
    return 1 if stats.failed else 0


def ids_in(phones: TextIO) -> set[str]:
    """Return the ids that are written; cut off a torn last line."""
    done: set[str] = set()
    whole = phones.seek(0)
    while (line := phones.readline()).endswith("\n"):
        done.add(json.loads(line)["id"])
        whole = phones.tell()
    phones.truncate(whole)
    return done


async def fetch(phone_ids: Iterable[str], phones: TextIO) -> LookupStats:
    async with DigaClient() as diga, diga.phones.iter_many(phone_ids) as lookups:
        async for outcome in lookups:
            match outcome:
                case Found(phone=phone):
                    phones.write(json.dumps(phone.to_dict()) + "\n")
                case Missing(phone_id=phone_id):
                    logger.warning("%s is missing", phone_id)
                case Failed(phone_id=phone_id, error=error):
                    logger.warning("%s failed: %r", phone_id, error)
        return lookups.stats


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    sys.exit(main())
