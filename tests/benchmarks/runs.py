"""
The promises of a run beyond speed: few failed ids, flat memory, fast single calls.

    python tests/benchmarks/runs.py              everything, about four minutes
    python tests/benchmarks/runs.py memory       one of: faults, outage, memory, beside
"""

import argparse
import asyncio
import os
import statistics
import time
from collections import Counter
from uuid import UUID

import limits

from diga_async import DigaClient, Failed, Found, Limits, RetryPolicy
from diga_async.sandbox import Faults, Sandbox


def _ids(count):
    return (UUID(int=number) for number in range(count))


async def _count(lookups):
    kinds, attempts = Counter(), Counter()
    async with lookups:
        async for outcome in lookups:
            kinds[type(outcome).__name__] += 1
            if isinstance(outcome, Failed):
                attempts[outcome.attempts] += 1
    return kinds, attempts


async def faults():
    """30 % of the answers are 503 for the whole run of 3,000 ids."""
    with Sandbox(phones=3000, faults=Faults(errors=0.3)) as sandbox:
        for most in (12, 4):
            retry = RetryPolicy(max_attempts=most)
            async with DigaClient(
                sandbox.api_key, base_url=sandbox.url, retry=retry
            ) as diga:
                kinds, attempts = await _count(diga.phones.iter_many(sandbox.phone_ids))
            failed = kinds["Failed"] / 3000
            print(
                f"max_attempts={most}: {dict(kinds)}, failed {failed:.2%}, "
                f"attempts of the failed: {dict(attempts)}"
            )


async def outage():
    """The server is gone for four seconds in the middle of a run."""
    with Sandbox(phones=3000, latency=0.005) as sandbox:
        for most in (1, 4):
            retry = RetryPolicy(max_attempts=most)
            async with DigaClient(
                sandbox.api_key, base_url=sandbox.url, retry=retry
            ) as diga:
                await _outage_in_a_run(sandbox, diga, most)


async def _outage_in_a_run(sandbox, diga, most):
    loop, failed, back, again = asyncio.get_running_loop(), 0, 0.0, 0.0

    def recover():
        nonlocal back
        sandbox.down, back = False, time.monotonic()

    async with diga.phones.iter_many(sandbox.phone_ids) as lookups:
        async for outcome in lookups:
            failed += isinstance(outcome, Failed)
            if back and not again and isinstance(outcome, Found):
                again = time.monotonic()
            if not back and not sandbox.down and lookups.stats.found == 1000:
                sandbox.down = True
                loop.call_later(4.0, recover)
    print(
        f"max_attempts={most}, 64 in flight: {failed} failed, "
        f"going on {again - back:.2f} s after recovery"
    )


async def memory():
    """Peak memory of a million ids from a generator, against a hundred thousand."""
    with limits.model("free") as url:
        for concurrency in (64, 256):
            peaks = {}
            for count in (100_000, 1_000_000):
                peaks[count] = await _peak(url, count, concurrency)
            grown = (peaks[1_000_000] - peaks[100_000]) / 1024
            print(
                f"{concurrency} in flight: "
                + ", ".join(f"{n:,} ids {p / 1024:.1f} MiB" for n, p in peaks.items())
                + f"; {grown:+.1f} MiB"
            )


async def _peak(url, count, concurrency):
    """Return the resident memory in KiB, the largest seen after a warm start."""
    largest = 0
    wide = Limits(concurrency=concurrency)
    async with DigaClient("sk-benchmark", base_url=url, limits=wide) as diga:
        seen = 0
        async for _ in diga.phones.iter_many(_ids(count)):
            seen += 1
            if seen % 10_000 == 0:
                largest = max(largest, _resident())
    assert seen == count
    return largest


def _resident():
    pages = int(open("/proc/self/statm").read().split()[1])  # noqa: PTH123, SIM115
    return pages * os.sysconf("SC_PAGESIZE") // 1024


async def beside():
    """A ``get`` every 100 ms beside a run that saturates 100 a second."""
    with Sandbox(phones=1500, per_second=100.0, latency=0.02) as sandbox:
        async with DigaClient(sandbox.api_key, base_url=sandbox.url) as diga:
            run = asyncio.create_task(diga.phones.get_many(sandbox.phone_ids))
            await asyncio.sleep(4.0)
            times = []
            while not run.done():
                started = time.monotonic()
                await diga.phones.get(sandbox.phone_ids[len(times)])
                times.append(time.monotonic() - started)
                await asyncio.sleep(0.1)
            batch = await run
    median = statistics.median(times)
    print(
        f"{len(batch.phones)} found; {len(times)} gets, median {median * 1000:.0f} ms "
        f"of a request of 20 ms ({median / 0.02:.2f} request times)"
    )


def main():
    # The memory first, while this process has done nothing else.
    parts = {f.__name__: f for f in (memory, faults, outage, beside)}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[[], *parts])
    for name in parser.parse_args().parts or parts:
        print(f"{name}: {parts[name].__doc__}")
        asyncio.run(parts[name]())


if __name__ == "__main__":
    main()
