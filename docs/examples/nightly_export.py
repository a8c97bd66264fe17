"""
Export the phones of a file of ids every night, in as few requests as possible.

Start it from cron or a timer, with ``DIGA_API_KEY`` set. The export is replaced in one
step when the run is complete: until then, last night's file stays in its place.

Close: ``async with`` closes the client and the run. It can be stopped at any point.
Errors: an id that fails goes to a file of its own, with the reason, and stops nothing.
What ends the run leaves last night's files in place.
Exit codes: 0 exported, 1 exported but for the ids in ``phones.failed.txt``, 2 not
exported: start it again later.
Log: ids and errors; no data of a phone.
"""

import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from diga_async import DigaClient, DigaError, Failed, Found, LookupStats, Missing

PHONE_IDS = Path("phone_ids.txt")
EXPORT = Path("phones.jsonl")
FAILED = Path("phones.failed.txt")

logger = logging.getLogger("export")


def main() -> int:
    phone_ids = PHONE_IDS.read_text(encoding="utf-8").split()
    unfinished = EXPORT.with_suffix(".part")
    failed: list[str] = []
    try:
        with unfinished.open("w", encoding="utf-8") as phones:
            stats = asyncio.run(export(phone_ids, phones, failed))
    except DigaError as error:
        logger.error("not exported: %r", error)
        return 2
    unfinished.replace(EXPORT)
    FAILED.write_text("".join(failed), encoding="utf-8")
    logger.info("exported: %s found, %s missing", stats.found, stats.missing)
    if failed:
        logger.error("failed ids: %s, listed in %s", len(failed), FAILED)
    return 1 if failed else 0


async def export(
    phone_ids: Sequence[str], phones: TextIO, failed: list[str]
) -> LookupStats:
    async with (
        DigaClient() as diga,
        diga.phones.iter_many(phone_ids, via="auto") as lookups,
    ):
        async for outcome in lookups:
            match outcome:
                case Found(phone=phone):
                    phones.write(phone.to_json() + "\n")
                case Missing(phone_id=phone_id):
                    logger.warning("%s is missing", phone_id)
                case Failed(phone_id=phone_id, error=error):
                    failed.append(f"{phone_id}\t{error!r}\n")
                    logger.warning("%s failed: %r", phone_id, error)
        return lookups.stats


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    sys.exit(main())
