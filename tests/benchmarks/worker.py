"""
One contender in a separate process.

Reads ``lookups at-once`` from stdin, line by line; answers each with a line of
JSON: the seconds of CPU and of wall time that the lookups took.
"""

import argparse
import asyncio
import gc
import importlib
import json
import random
import sys
import time
from contextlib import AsyncExitStack
from uuid import UUID


def some_ids(count):
    chances = random.Random()  # noqa: S311 - no secret
    return [UUID(int=chances.getrandbits(128)) for _ in range(count)]


class Worker:
    """Keeps the resources of a contender, so that later turns start warm."""

    def __init__(self, contender, url):
        self.contender = contender
        self.url = url
        self.open = AsyncExitStack()
        self.runs = {}

    async def turn(self, lookups, at_once):
        if at_once not in self.runs:
            made = self.contender(self.url, at_once)
            self.runs[at_once] = await self.open.enter_async_context(made)
        run, ids = self.runs[at_once], some_ids(lookups)
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        found = await run(ids)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        if found != lookups:
            raise RuntimeError(f"{found} of {lookups} found")
        return {"cpu": cpu, "wall": wall}


def loop_factory(name):
    return importlib.import_module(name).new_event_loop if name else None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender", help="module:name")
    parser.add_argument("url")
    parser.add_argument("--loop", help="a module that makes event loops: uvloop")
    asked = parser.parse_args()
    module, _, name = asked.contender.partition(":")
    worker = Worker(getattr(importlib.import_module(module), name), asked.url)
    with asyncio.Runner(loop_factory=loop_factory(asked.loop)) as runner:
        for line in sys.stdin:
            lookups, at_once = map(int, line.split())
            print(json.dumps(runner.run(worker.turn(lookups, at_once))), flush=True)
        runner.run(worker.open.aclose())


if __name__ == "__main__":
    main()
