"""
Fetch phones on many machines with Dask; write a Parquet file for each partition.

Set ``DASK_SCHEDULER_ADDRESS`` to use a running cluster; without it, the program uses
the cores of this machine. Each worker needs ``DIGA_API_KEY``: the key is not sent.
If the job is stopped, start it again: it skips the partitions that are written.
"""

import asyncio
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq
from distributed import Client, Worker, WorkerPlugin, as_completed, get_worker

from diga_async import (
    ClientStats,
    DigaClient,
    DigaError,
    Failed,
    Found,
    Missing,
    Outcome,
)

PHONE_IDS = Path("phone_ids.txt")
PHONES = Path("phones.parquet")  # a folder that every worker can write to
PARTITION = 1000

# Explicit, so that a partition without nicknames has the same columns.
COLUMNS = ("phone_id", "outcome", "number", "status", "nickname", "record", "error")
SCHEMA = pa.schema([(column, pa.string()) for column in COLUMNS])

Row = dict[str, str | None]

logger = logging.getLogger("phones")


class OneClient(WorkerPlugin):
    """One client for each worker process, closed with the plugin."""

    name = "diga"

    def setup(self, worker: Worker) -> None:
        self.diga = DigaClient()

    async def teardown(self, worker: Worker) -> None:
        await self.diga.close()


def client_of(worker: Worker) -> DigaClient:
    return cast("OneClient", worker.plugins[OneClient.name]).diga


def stats_of(dask_worker: Worker) -> ClientStats:
    return client_of(dask_worker).stats


@contextmanager
def one_client_each(dask: Client) -> Iterator[None]:
    dask.register_plugin(OneClient())
    try:
        yield
    finally:
        dask.unregister_worker_plugin(OneClient.name)


async def fetch(phone_ids: Sequence[str], target: Path) -> Counter[str]:
    """Look up one partition, in the worker's event loop, and write it."""
    async with client_of(get_worker()).phones.iter_many(phone_ids) as lookups:
        rows = [row_of(outcome) async for outcome in lookups]
    await asyncio.to_thread(write, rows, target)
    return Counter(str(row["outcome"]) for row in rows)


def row_of(outcome: Outcome) -> Row:
    match outcome:
        case Found(phone_id=phone_id, phone=phone):
            return {
                "phone_id": str(phone_id),
                "outcome": "found",
                "number": phone.number,
                "status": str(phone.status),
                "nickname": phone.nickname,
                # Every field, even those newer than this library.
                "record": json.dumps(phone.to_dict()),
            }
        case Missing(phone_id=phone_id):
            return {"phone_id": str(phone_id), "outcome": "missing"}
        case Failed(phone_id=given, error=error):
            return {"phone_id": str(given), "outcome": "failed", "error": repr(error)}


def write(rows: list[Row], target: Path) -> None:
    part = target.with_suffix(".part")
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), part)
    part.replace(target)  # a file with its final name is complete


def fetch_all(dask: Client, phone_ids: Sequence[str], folder: Path) -> Counter[str]:
    folder.mkdir(exist_ok=True)
    partitions, targets = [], []
    for number, first in enumerate(range(0, len(phone_ids), PARTITION)):
        target = folder.resolve() / f"{number:06}.parquet"
        if not target.exists():
            partitions.append(phone_ids[first : first + PARTITION])
            targets.append(target)
    outcomes = Counter[str]()
    # Keep no list of the futures: Dask would repeat what a dead worker had finished.
    lookups = as_completed(
        dask.map(fetch, partitions, targets, pure=False), with_results=True
    )
    try:
        for _, counted in lookups:
            outcomes += counted
            logger.info("%s of %s ids: %s", outcomes.total(), len(phone_ids), outcomes)
    except DigaError:
        dask.cancel([*lookups.futures])  # the others would fail as well
        raise
    return outcomes


def main() -> int:
    phone_ids = PHONE_IDS.read_text(encoding="ascii").split()
    with Client() as dask, one_client_each(dask):
        try:
            outcomes = fetch_all(dask, phone_ids, PHONES)
        except DigaError as error:
            # A key was refused, or a worker had no answer for five minutes.
            logger.error("ended early: %r", error)
            return 2
        stats_of_all = cast("dict[str, ClientStats]", dask.run(stats_of))
        for worker, stats in stats_of_all.items():
            logger.info("%s: %s", worker, stats)
    return 1 if outcomes["failed"] else 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    sys.exit(main())
