"""
Lookups by several processes on one machine: the rate, the CPU and the memory.

    python tests/benchmarks/processes.py                  one and two, without a limit
    python tests/benchmarks/processes.py --loop uvloop
    python tests/benchmarks/processes.py --limit 200      two that share a limit

nginx answers. With one process it has a core of its own; with two cores and two
processes, all three share them.
"""

import argparse
import asyncio
import json
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import million
import servers
from contenders import KEY
from worker import loop_factory, some_ids

IDS = 200_000
PROCESSES = (1, 2)


def look_up(url, ids, loop):
    """Run `million.look_up` in this process."""
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        return runner.run(million.look_up(url, ids, million.IN_FLIGHT[0]))


def side_by_side(work, arguments, processes):
    """Call *work* in so many processes at the same time; return the results."""
    spawn = get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        return [
            f.result()
            for f in [pool.submit(work, *arguments) for _ in range(processes)]
        ]


def unlimited(loop, ids, processes):
    """Look up *ids* in each process; return the sum of rates, and means of the rest."""
    server, client = servers.cores() if processes == 1 else (None, None)
    with servers.nginx(core=server, body=servers.FULL) as url, servers.on_core(client):
        took = side_by_side(look_up, (url, ids, loop), processes)
    return {
        "processes": processes,
        "ids a second": sum(t["ids a second"] for t in took),
        "µs of CPU": mean(took, "µs of CPU"),
        "MiB each": mean(took, "MiB at the end"),
        "gc, % of CPU": mean(took, "gc, % of CPU"),
    }


def mean(results, key):
    return round(sum(r[key] for r in results) / len(results), 1)


async def look_up_limited(url, ids, per_second):
    """Look up *ids* in one run; return its stats."""
    from diga_async import DigaClient, Limits  # noqa: PLC0415 - in each process

    limits = Limits(per_second=per_second, adaptive=False) if per_second else Limits()
    async with (
        DigaClient(KEY, base_url=url, limits=limits) as diga,
        diga.phones.iter_many(some_ids(ids)) as lookups,
    ):
        async for _outcome in lookups:
            pass
        return lookups.stats


def run_limited(*arguments):
    return asyncio.run(look_up_limited(*arguments))


def limited(limit, ids, processes, *, divided):
    """Share one limit, found by each or divided between them; return the totals."""
    server = {"rate": limit, "burst": 20, "retry_after": ""}
    per_second = limit / processes if divided else None
    with servers.nginx(server) as url:
        took = side_by_side(run_limited, (url, ids, per_second), processes)
    found, seconds = sum(t.found for t in took), max(t.elapsed for t in took)
    return {
        "processes": processes,
        "limit": "divided" if divided else "found",
        "found": found,
        "share of the limit": round(found / seconds / limit, 3),
        "throttled": sum(t.throttled for t in took),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ids", type=int, help="of each process")
    parser.add_argument("--loop", help="a module that makes event loops: uvloop")
    parser.add_argument("--limit", type=int, help="requests a second of the server")
    asked = parser.parse_args()
    if asked.limit:
        for divided in (False, True):
            row = limited(
                asked.limit, asked.ids or 2000, max(PROCESSES), divided=divided
            )
            print(json.dumps(row, ensure_ascii=False), flush=True)
        return
    for processes in PROCESSES:
        row = unlimited(asked.loop, asked.ids or IDS, processes)
        row = {"loop": asked.loop or "asyncio", **row, "cores": os.cpu_count()}
        print(json.dumps(row, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
