"""
Keep a database table up to date with the phones of a project.

The table is the state of the watch: each change is one transaction, and the next start
compares the table with the server. So the program may be stopped or killed at any time;
what changed meanwhile is written after the next start.
"""

import asyncio
import json
import logging
import sqlite3
import sys
from contextlib import closing
from uuid import UUID

from diga_async import Change, DigaClient, DigaError, Phone

DATABASE = "phones.sqlite3"
EVERY = 60.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS phones (
    phone_id TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    record TEXT NOT NULL  -- the phone as JSON
)
"""
WRITE = "INSERT OR REPLACE INTO phones VALUES (?, ?, ?)"
DELETE = "DELETE FROM phones WHERE phone_id = ?"

logger = logging.getLogger("phones")


def read(database: sqlite3.Connection) -> dict[UUID, Phone]:
    records = database.execute("SELECT record FROM phones")
    phones = [Phone.from_dict(json.loads(record)) for (record,) in records]
    return {phone.id: phone for phone in phones}


def write(database: sqlite3.Connection, change: Change) -> None:
    phone_id, phone = str(change.phone_id), change.after
    with database:  # one transaction
        if phone is None:
            database.execute(DELETE, (phone_id,))
        else:
            record = json.dumps(phone.to_dict())
            database.execute(WRITE, (phone_id, phone.status, record))


async def keep_up(database: sqlite3.Connection) -> None:
    # At the first start the table is empty, and every phone is new.
    baseline = await asyncio.to_thread(read, database)
    async with (
        DigaClient() as diga,
        diga.phones.watch(every=EVERY, baseline=baseline) as changes,
    ):
        async for change in changes:
            await asyncio.to_thread(write, database, change)


def main() -> int:
    # Only one thread writes at a time.
    with closing(sqlite3.connect(DATABASE, check_same_thread=False)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(SCHEMA)
        try:
            asyncio.run(keep_up(database))
        except DigaError as error:
            logger.error("ended: %r", error)
            return 2
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    sys.exit(main())
