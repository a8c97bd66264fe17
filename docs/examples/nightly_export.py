"""
Export the phones of a file of ids every night, in as few requests as possible.

Start it from cron or a timer, with ``DIGA_API_KEY`` set. The export appears only when
it is complete: until then, last night's file stays in its place.

Close: ``async with`` closes the client and the run. It can be stopped at any point.
Errors: an id that fails, or what ends the run, leaves last night's file in place.
Exit codes: 0 exported, 2 not: start it again later.
Log: ids and errors; no data of a phone.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from diga_async import DigaClient, DigaError, Failed, Found, LookupStats, Missing

PHONE_IDS = Path("phone_ids.txt")
EXPORT = Path("phones.jsonl")

logger = logging.getLogger("export")


def main() -> int:
    phone_ids = PHONE_IDS.read_text(encoding="ascii").split()
    unfinished = EXPORT.with_suffix(".part")
    try:
        with unfinished.open("w", encoding="utf-8") as phones:
            stats = asyncio.run(export(phone_ids, phones))
    except DigaError as error:
        logger.error("ended early: %r", error)
        return 2
    if stats.failed:
        logger.error("%s lookups failed", stats.failed)
        return 2
    unfinished.replace(EXPORT)
    logger.info("%s found, %s missing", stats.found, stats.missing)
    return 0


async def export(phone_ids: Sequence[str], phones: TextIO) -> LookupStats:
    async with (
        DigaClient() as diga,
        diga.phones.iter_many(phone_ids, via="auto") as lookups,
    ):
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
