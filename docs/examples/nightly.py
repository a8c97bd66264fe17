"""
Fetch phones every night; write one JSON line for each that was found.

Start it again after it was stopped: what is written is not asked again.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from diga_async import DigaClient, DigaError, Failed, Found, LookupStats, Missing

PHONE_IDS = Path("phone_ids.txt")
PHONES = Path("phones.jsonl")

logger = logging.getLogger("nightly")


def main() -> int:
    with PHONES.open("a+", encoding="utf-8", buffering=1) as phones:
        phones.seek(0)
        done = {json.loads(line)["id"] for line in phones}
        phone_ids = PHONE_IDS.read_text(encoding="ascii").split()
        try:
            stats = asyncio.run(fetch((i for i in phone_ids if i not in done), phones))
        except DigaError as error:
            # The key was refused, or nothing came back for five minutes.
            logger.error("ended early: %r", error)
            return 2
    logger.info("%s found, %s missing", stats.found, stats.missing)
    return 1 if stats.failed else 0


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
