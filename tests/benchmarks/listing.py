"""
Lookups through the listing, beside lookups by id: requests, time, CPU and memory.

    python tests/benchmarks/listing.py            everything, about four minutes
    python tests/benchmarks/listing.py cpu        one of: fast, slow, unknown, cpu,
                                                  memory

The sandbox runs in another process.
"""

import argparse
import asyncio
import gc
import statistics
import subprocess
import sys
import time
import tracemalloc
from contextlib import contextmanager
from uuid import UUID

from diga_async import DigaClient
from diga_async.sandbox import Sandbox

PHONES = 20_000


@contextmanager
def sandbox(phones, per_second=None):
    """Run a sandbox in another process; yield its address, its key and its ids."""
    command = [sys.executable, __file__, "--serve", str(phones), str(per_second or 0)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        url, key = process.stdout.readline().split()
        try:
            yield url, key, list(Sandbox(phones).phone_ids)
        finally:
            process.stdin.close()


def serve(phones, per_second):
    """Serve until standard input ends."""
    with Sandbox(phones, per_second=per_second or None, burst=20) as served:
        print(served.url, served.api_key, flush=True)
        sys.stdin.read()


async def _look_up(url, key, phone_ids, via):
    async with DigaClient(key, base_url=url) as diga:
        begun = time.monotonic()
        batch = await diga.phones.get_many(phone_ids, via=via)
        seconds = time.monotonic() - begun
        stats = diga.stats
    answered = len(batch.phones) + len(batch.missing)
    assert answered == len(phone_ids), batch
    print(
        f"  via={via!r}: {seconds:.1f} s, {stats.requests} requests, "
        f"{stats.throttled} refused"
    )


async def fast():
    """20,000 ids behind 200 requests a second."""
    with sandbox(PHONES, 200) as (url, key, phone_ids):
        for via in ("auto", "each"):
            await _look_up(url, key, phone_ids, via)


async def slow():
    """20,000 ids behind 30 requests a second."""
    with sandbox(PHONES, 30) as (url, key, phone_ids):
        await _look_up(url, key, phone_ids, "auto")
        # All of them would take eleven minutes.
        await _look_up(url, key, phone_ids[:1000], "each")


async def unknown():
    """5,000 ids, and 10 that do not exist."""
    with sandbox(5000) as (url, key, phone_ids):
        wanted = phone_ids + [UUID(int=number) for number in range(10)]
        for via in ("auto", "each"):
            await _look_up(url, key, wanted, via)


async def cpu():
    """CPU for each phone, in pages of 100: median of five, and the least."""
    with sandbox(PHONES) as (url, key, phone_ids):
        async with DigaClient(key, base_url=url) as diga:
            for name, run in {
                "get_many(via='list')": lambda: _batch(diga, phone_ids, "list"),
                "iter_many(via='list')": lambda: _stream(diga, phone_ids, "list"),
                "list()": lambda: _list(diga),
                "get_many(via='each')": lambda: _batch(diga, phone_ids, "each"),
            }.items():
                times = [await _cpu_of(run) for _ in range(5)]
                print(
                    f"  {name}: {statistics.median(times):.1f} us a phone, "
                    f"least {min(times):.1f}"
                )


async def _cpu_of(run):
    gc.collect()
    begun = time.process_time()
    found = await run()
    assert found == PHONES
    return (time.process_time() - begun) / PHONES * 1e6


async def _batch(diga, phone_ids, via):
    return len((await diga.phones.get_many(phone_ids, via=via)).phones)


async def _stream(diga, phone_ids, via):
    async with diga.phones.iter_many(phone_ids, via=via) as lookups:
        async for _ in lookups:
            pass
        return lookups.stats.found


async def _list(diga):
    async with diga.phones.list() as phones:
        async for _ in phones:
            pass
        return phones.stats.phones


async def memory():
    """Memory for each id without its phone: at the end, and at the peak."""
    with sandbox(PHONES) as (url, key, phone_ids):
        texts = [str(phone_id) for phone_id in phone_ids]
        async with DigaClient(key, base_url=url) as diga:
            await diga.phones.get_many(phone_ids[:1000], via="list")  # warm
            tracemalloc.start()
            async with diga.phones.list() as listing:
                phones = [phone async for phone in listing]
            gc.collect()
            alone = tracemalloc.get_traced_memory()[0]
            del phones, listing
            print(f"  the phones: {alone / PHONES:.0f} bytes each")
            for name, given in {"UUIDs": phone_ids, "texts": texts}.items():
                gc.collect()
                before = tracemalloc.get_traced_memory()[0]
                tracemalloc.reset_peak()
                batch = await diga.phones.get_many(given, via="list")
                now, peak = tracemalloc.get_traced_memory()
                kept, most = now - before - alone, peak - before - alone
                print(
                    f"  ids as {name}: {kept / PHONES:.0f} bytes kept, "
                    f"{most / PHONES:.0f} at most"
                )
                del batch
            tracemalloc.stop()


def main():
    parts = {f.__name__: f for f in (fast, slow, unknown, cpu, memory)}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[[], *parts])
    parser.add_argument("--serve", nargs=2, type=float, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(int(asked.serve[0]), asked.serve[1])
        return
    for name in asked.parts or parts:
        print(f"{name}: {parts[name].__doc__}", flush=True)
        asyncio.run(parts[name]())


if __name__ == "__main__":
    main()
