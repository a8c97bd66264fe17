"""
Run docs/examples/dask_fetch.py on a cluster of two processes; print the results.

It is a program, not a test, because distributed changes how every exception is pickled
in a process that imports it.
"""

import json
import logging
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from uuid import UUID

import pyarrow.parquet as pq
from distributed import Client, LocalCluster

from diga_async import Phone
from diga_async.sandbox import Faults, Sandbox

sys.path.insert(0, str(Path(__file__).parents[1] / "docs" / "examples"))

import dask_fetch

NOBODYS = UUID("00000000-0000-4000-8000-000000000000")

LOG = Path("log.txt")


def everything(dask, sandbox):
    """Fetch from a server that throttles and fails: it costs time, and no id."""
    ids = [*map(str, sandbox.phone_ids), str(NOBODYS), "not an id"]
    sandbox.per_second, sandbox.faults = 1000.0, Faults(errors=0.02, resets=0.02)
    with dask_fetch.one_client_each(dask):
        outcomes = dask_fetch.fetch_all(dask, ids, Path("everything"))
    sandbox.per_second, sandbox.faults = None, Faults()
    rows = pq.read_table("everything").to_pylist()
    return {
        "outcomes": outcomes,
        "ids": sorted(ids),
        "rows": sorted(row["phone_id"] for row in rows),
        "errors": [row["error"] for row in rows if row["error"]],
        "same": all(
            Phone.from_json(row["record"])
            == Phone.from_dict(sandbox.phones[UUID(row["phone_id"])])
            for row in rows
            if row["outcome"] == "found"
        ),
    }


def workers(dask, sandbox):
    """Ask each worker what its client has done."""
    with dask_fetch.one_client_each(dask):
        dask_fetch.fetch_all(dask, [*map(str, sandbox.phone_ids)], Path("workers"))
        stats = dask.run(dask_fetch.stats_of)
    return {worker: seen.requests for worker, seen in stats.items()}


def again(dask, sandbox):
    """Run the program as it is, twice; between the two, a partition goes missing."""
    ids = [*map(str, sandbox.phone_ids)]
    Path("phone_ids.txt").write_text("\n".join(ids), encoding="ascii")
    first = dask_fetch.main()
    Path("phones.parquet", "000001.parquet").unlink()
    sandbox.requests.clear()
    second = dask_fetch.main()
    return {
        "exit codes": [first, second],
        "missing": sorted(ids[50:100]),
        "asked": sorted(str(request.phone_id) for request in sandbox.requests),
        "rows": pq.read_table("phones.parquet").num_rows,
    }


def refused(dask, sandbox):
    """Have the key refused; the error crosses two processes, and the key does not."""
    dask_fetch.PHONES = Path("refused")
    key, sandbox.api_key = sandbox.api_key, "sk-another"
    exit_code = dask_fetch.main()
    log = LOG.read_text(encoding="utf-8")
    return {
        "exit code": exit_code,
        "error": "ended early: AuthenticationError('401: INVALID_API_KEY" in log,
        "key": key in log,
        "files": len([*dask_fetch.PHONES.iterdir()]),
    }


def main():
    logging.basicConfig(filename=LOG, level=logging.INFO)
    with Sandbox(phones=400) as sandbox:
        # The workers have the key where real ones have it.
        os.environ.update(DIGA_API_KEY=sandbox.api_key, DIGA_BASE_URL=sandbox.url)
        dask_fetch.PARTITION = 50
        with (
            LocalCluster(
                n_workers=2,
                threads_per_worker=1,
                dashboard_address=":0",
                local_directory="dask",
            ) as cluster,
            Client(cluster) as dask,
        ):
            dask_fetch.Client = lambda: nullcontext(dask)
            parts = (everything, workers, again, refused)
            seen = {part.__name__: part(dask, sandbox) for part in parts}
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main()
