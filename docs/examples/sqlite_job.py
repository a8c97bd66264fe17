"""
Look up the phones of a database table, and write the results into it.

A row without an outcome is pending, so the job can be stopped and started again.

Errors: an id that fails stays pending; what ends the run early ends the program.
Exit codes: 0 done, 1 some ids are pending, 2 ended early: start it again later.
"""

import asyncio
import json
import logging
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing

from diga_async import DigaClient, DigaError, Failed, Found, Missing, Outcome

DATABASE = "phones.sqlite3"
PAGE = 1000
BATCH = 100

SCHEMA = """
CREATE TABLE IF NOT EXISTS phones (
    phone_id TEXT PRIMARY KEY COLLATE NOCASE,
    outcome TEXT,  -- found, missing, or NULL while pending
    record TEXT    -- the phone as JSON
)
"""
NEXT_PAGE = """
SELECT phone_id FROM phones
WHERE outcome IS NULL AND phone_id > ? ORDER BY phone_id LIMIT ?
"""
WRITE = "UPDATE phones SET outcome = ?, record = ? WHERE phone_id = ?"

logger = logging.getLogger("phones")


async def pending(database: sqlite3.Connection) -> AsyncIterator[str]:
    """Yield the pending ids, page by page."""
    last = ""
    while page := await asyncio.to_thread(read_page, database, last):
        for phone_id in page:
            yield phone_id
        last = page[-1]


def read_page(database: sqlite3.Connection, last: str) -> list[str]:
    return [phone_id for (phone_id,) in database.execute(NEXT_PAGE, (last, PAGE))]


async def fetch(database: sqlite3.Connection) -> int:
    """Look up the pending ids; return how many failed."""
    batch: list[Outcome] = []
    async with (
        DigaClient() as diga,
        diga.phones.iter_many(pending(database)) as lookups,
    ):
        try:
            async for outcome in lookups:
                batch.append(outcome)
                if len(batch) == BATCH:
                    await asyncio.to_thread(write, database, batch)
                    batch = []
        finally:
            await asyncio.to_thread(write, database, batch)
        return lookups.stats.failed


def write(database: sqlite3.Connection, outcomes: list[Outcome]) -> None:
    with database:  # one transaction
        for outcome in outcomes:
            match outcome:
                case Found(phone_id=phone_id, phone=phone):
                    record = json.dumps(phone.to_dict())
                    database.execute(WRITE, ("found", record, str(phone_id)))
                case Missing(phone_id=phone_id):
                    database.execute(WRITE, ("missing", None, str(phone_id)))
                case Failed(phone_id=given, error=error):
                    logger.warning("%s failed: %r", given, error)


def main() -> int:
    # Only one thread writes at a time.
    with closing(sqlite3.connect(DATABASE, check_same_thread=False)) as database:
        database.execute(SCHEMA)
        try:
            failed = asyncio.run(fetch(database))
        except DigaError as error:
            logger.error("ended early: %r", error)
            return 2
    return 1 if failed else 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    sys.exit(main())
