"""
The throughput of a bulk fetch over Dask whose workers share one limit.

    python tests/benchmarks/cluster.py                 both rows, about two minutes
    python tests/benchmarks/cluster.py shared          one of: shared, killed

Each row runs ``docs/examples/dask_fetch.py`` on a local cluster of processes, against
a real nginx with ``limit_req`` (Debian: ``apt-get install nginx-light``).
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from uuid import UUID

import limits

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "docs" / "examples"))

IDS, LIMIT, WORKERS, PARTITION, WANTED = 10_000, 200, 4, 250, 0.85


def shared(dask, folder):
    """Four worker processes, each with a client, on one limit of 200 a second."""
    return _fetch(dask, folder)


def killed(dask, folder):
    """The same; after twenty seconds the kernel takes one of the workers away."""
    victim = next(iter(dask.run(os.getpid).values()))
    timer = threading.Timer(20.0, os.kill, (victim, signal.SIGKILL))
    timer.start()
    try:
        return _fetch(dask, folder)
    finally:
        timer.cancel()


def _fetch(dask, folder):
    import dask_fetch  # noqa: PLC0415 - the path is set above, and workers import it

    dask_fetch.PARTITION = PARTITION
    chances = random.Random()  # noqa: S311 - no secret
    ids = [str(UUID(int=chances.getrandbits(128))) for _ in range(IDS)]
    with dask_fetch.one_client_each(dask):
        started = time.monotonic()
        dask_fetch.fetch_all(dask, ids, folder)
        seconds = time.monotonic() - started
        stats = dask.run(dask_fetch.stats_of).values()
    return set(ids), seconds, stats


def measure(row):
    """Run one row; print its figures."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - an extra of the tests
    from distributed import Client, LocalCluster  # noqa: PLC0415 - the same

    server = {"rate": LIMIT, "burst": 20, "retry_after": ""}
    with tempfile.TemporaryDirectory() as folder, limits.nginx(server) as url:
        os.environ.update(DIGA_API_KEY="sk-benchmark", DIGA_BASE_URL=url)
        with (
            LocalCluster(
                n_workers=WORKERS,
                threads_per_worker=1,
                dashboard_address=":0",
                local_directory=folder,
            ) as cluster,
            Client(cluster) as dask,
        ):
            ids, seconds, stats = row(dask, Path(folder, "phones"))
        rows = pq.read_table(Path(folder, "phones")).to_pylist()
    found = [r["phone_id"] for r in rows if r["outcome"] == "found"]
    shares = sorted(worker.found for worker in stats)
    print(
        f"{len(found)} rows, {len(ids - set(found))} lost, {seconds:.1f} s, "
        f"{len(found) / seconds / LIMIT:.1%} of the limit (wanted: {WANTED:.0%}), "
        f"{sum(worker.throttled for worker in stats)} refused, "
        f"found by each worker: {shares}",
        flush=True,
    )


def main():
    rows = {row.__name__: row for row in (shared, killed)}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", choices=[[], *rows])
    for name in parser.parse_args().rows or rows:
        print(f"{name}: {rows[name].__doc__}", flush=True)
        measure(rows[name])


if __name__ == "__main__":
    main()
