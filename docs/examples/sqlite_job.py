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
from collections.abc import Iterator
from contextlib import closing

from diga_async import DigaClient, DigaError, Failed, Found, Outcome

DATABASE = "phones.sqlite3"
PAGE = 1000
COMMIT_EVERY = 100

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

logger = logging.getLogger("phones")


def pending(database: sqlite3.Connection) -> Iterator[str]:
    """Yield the pending ids page by page: one long query would see the updates."""
    last = ""
    while page := database.execute(NEXT_PAGE, (last, PAGE)).fetchall():
        for (phone_id,) in page:
            yield phone_id
        last = phone_id


async def fetch(database: sqlite3.Connection) -> int:
    """Return how many ids failed."""
    async with (
        DigaClient() as diga,
        diga.phones.iter_many(pending(database)) as lookups,
    ):
        written = 0
        async for outcome in lookups:
            write(database, outcome)
            written += 1
            if written % COMMIT_EVERY == 0:
                database.commit()
        return lookups.stats.failed


def write(database: sqlite3.Connection, outcome: Outcome) -> None:
    if isinstance(outcome, Failed):
        logger.warning("%s failed: %r", outcome.phone_id, outcome.error)
        return
    is_found = isinstance(outcome, Found)
    database.execute(
        "UPDATE phones SET outcome = ?, record = ? WHERE phone_id = ?",
        (
            "found" if is_found else "missing",
            json.dumps(outcome.phone.to_dict()) if is_found else None,
            str(outcome.phone_id),
        ),
    )


def main() -> int:
    with closing(sqlite3.connect(DATABASE)) as database:
        database.execute(SCHEMA)
        try:
            failed = asyncio.run(fetch(database))
        except DigaError as error:
            logger.error("ended early: %r", error)
            return 2
        finally:
            database.commit()
    return 1 if failed else 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    sys.exit(main())
