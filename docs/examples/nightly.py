"""
Fetch phones every night; write one JSON line for each that was found.

Start it from cron or a timer, with ``DIGA_API_KEY`` set. Started again in the same
night, as after a reboot, it goes on: what is written is not asked again.

Close: ``async with`` does. Lines are written one by one, so it can be stopped.
Errors: an id that fails is left to the next start; what ends the run ends the program.
Exit codes: 0 done, 1 some ids failed, 2 ended early: start it again later.
Log: ids and the facts of errors. The phones are in the file, and nowhere else.
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
    phone_ids = PHONE_IDS.read_text(encoding="ascii").split()
    with tonight.open("a+", encoding="utf-8", buffering=1) as phones:
        done = ids_in(phones)
        try:
            stats = asyncio.run(fetch((i for i in phone_ids if i not in done), phones))
        except DigaError as error:
            # The key was refused, or nothing came back for five minutes.
            logger.error("ended early: %r", error)
            return 2
    logger.info("%s found, %s missing", stats.found, stats.missing)
    return 1 if stats.failed else 0


def ids_in(phones: TextIO) -> set[str]:
    """Return the ids that are written; cut off a line that was torn."""
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
