"""
A million ids on one core: the rate, the memory, and the time of the collector.

    python tests/benchmarks/million.py                   a million; 1,000 in flight
    python tests/benchmarks/million.py --ids 100000      fewer
    python tests/benchmarks/million.py --loop uvloop

nginx answers on the other core, without a limit. The run counts its outcomes and keeps
none of them.
"""

import argparse
import asyncio
import gc
import json
import os
import random
import resource
import statistics
import sys
import time
from uuid import UUID

import servers
import turns
from contenders import ours
from worker import loop_factory

IDS = 1_000_000
IN_FLIGHT = (64, 1000)


class Collector:
    """Measures the time of the garbage collector."""

    def __init__(self):
        self.seconds = 0.0
        gc.callbacks.append(self._note)

    def _note(self, phase, _):
        now = time.thread_time()
        if phase == "start":
            self._begun = now
        else:
            self.seconds += now - self._begun


def memory():
    """Return the peak of this process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def look_up(url, ids, at_once):
    """Look up ids in one run; return its cost."""
    collector = Collector()
    chances = random.Random(1)  # noqa: S311 - no secret
    async with ours(url, at_once) as run:
        await run([UUID(int=n) for n in range(10_000)])
        before, collector.seconds = memory(), 0.0
        wall, cpu = time.perf_counter(), time.process_time()
        found = await run(UUID(int=chances.getrandbits(128)) for _ in range(ids))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if found != ids:
        sys.exit(f"{found} of {ids} found")
    return {
        "ids a second": round(ids / wall),
        "ids a second of CPU": round(ids / cpu),
        "µs of CPU": round(cpu / ids * 1e6, 1),
        "MiB after 10,000": round(before, 1),
        "MiB at the end": round(memory(), 1),
        "gc, % of CPU": round(collector.seconds / cpu * 100, 1),
    }


def many_in_flight(url, loop, core, rounds):
    """Return the CPU at 1,000 in flight, in that at 64, round by round."""
    few, many = (
        turns.Entrant(
            label=str(number),
            contender="contenders:ours",
            lookups=5000,
            at_once=number,
            loop=loop,
        )
        for number in IN_FLIGHT
    )
    results = turns.play([few, many], url, rounds, core=core)
    one, other = (results[e.label]["cpu"] for e in (few, many))
    low, median, high = turns.paired(other, one)
    return {
        "µs at 64": statistics.median(one),
        "µs at 1,000": statistics.median(other),
        "1,000 in 64": f"{median:.2f} ({low:.2f} to {high:.2f})",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ids", type=int, default=IDS)
    parser.add_argument("--loop", help="a module that makes event loops: uvloop")
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    server, client = servers.cores()
    with servers.nginx(core=server) as url:
        found = many_in_flight(url, asked.loop, client, asked.rounds)
        print(json.dumps(found, indent=2, ensure_ascii=False), flush=True)
        if client is not None:
            os.sched_setaffinity(0, {client})
        with asyncio.Runner(loop_factory=loop_factory(asked.loop)) as runner:
            took = runner.run(look_up(url, asked.ids, IN_FLIGHT[0]))
    print(json.dumps({"loop": asked.loop or "asyncio", **took}, ensure_ascii=False))


if __name__ == "__main__":
    main()
