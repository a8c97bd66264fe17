"""
Whether anything grows: memory, objects, descriptors, tasks, threads.

    python tests/benchmarks/soak.py                 ten minutes
    python tests/benchmarks/soak.py --minutes 1
    python tests/benchmarks/soak.py --uvloop

Everything a program may do is repeated concurrently, against a sandbox that
misbehaves and a server that goes through the fault matrix, in another process. After
a round nothing of it may be left. The exit code is 1 if something grew.
"""

import argparse
import asyncio
import contextlib
import gc
import itertools
import os
import random
import statistics
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from pathlib import Path
from uuid import uuid4

import aiohttp
import attrs

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import byte_server  # noqa: E402 - found on the line above

from diga_async import (  # noqa: E402
    ClientClosedError,
    DigaClient,
    DigaError,
    Limits,
    RetryPolicy,
    Timeouts,
)
from diga_async.sandbox import Faults, Sandbox  # noqa: E402

KEY = "sk-soak"
RETRY = RetryPolicy(base_delay=0.001, throttle_delay=0.001, max_delay=0.05)
FAULTS = Faults(
    errors=0.05, resets=0.03, truncated=0.02, garbage=0.02, repeated=0.02,
    wrong_ids=0.01, slow_bodies=0.01, drip_seconds=0.05,
    unknown_fields=0.1, unknown_values=0.1,
)  # fmt: skip
PHONES = 300  # of which a seed makes the same in every process


# --- the servers, in another process


class Forgetful(byte_server.ByteServer):
    """Repeats its script, and keeps no history."""

    async def _serve(self, wire):
        try:
            while not wire.writer.is_closing() and await wire.request():
                self.script.append(self.script.pop(0))
                await self.script[-1](wire)
        finally:
            wire.close()
            self.wires.remove(wire)


async def serve():
    """Serve until standard input ends; print where."""
    from integration.test_fault_matrix import ANSWERED  # noqa: PLC0415 - it brings pytest

    script = [row.move for row in ANSWERED] + [byte_server.answers] * 30
    random.Random(1).shuffle(script)  # noqa: S311
    sandbox = Sandbox(PHONES, faults=FAULTS, keep_requests=100)
    sandbox.api_key = KEY
    async with sandbox, Forgetful(*script) as bytes_:
        print(sandbox.url, bytes_.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


@contextlib.contextmanager
def servers():
    """Run both; yield their addresses."""
    command = [sys.executable, __file__, "--serve"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as child:
        yield child.stdout.readline().split()
        child.stdin.close()


# --- the actions


@attrs.define
class Work:
    """
    The servers, and the actions so far.

    Attributes:
        sandbox: The address of a sandbox with faults.
        matrix: The address of a server that goes through the matrix.
        diga: A client that lives for as long as the soak does.
        dice: Chance, from a seed.
        phone_ids: The ids that the sandbox knows.
        done: How often each action was done.
        slowest: The longest a cancellation and a close took, in seconds.
    """

    sandbox: str
    matrix: str
    diga: DigaClient
    dice: random.Random
    phone_ids: tuple = attrs.field(factory=lambda: Sandbox(PHONES).phone_ids)
    done: Counter = attrs.field(factory=Counter)
    slowest: Counter = attrs.field(factory=Counter)

    def client(self, url=None, **options):
        given = {
            "retry": RETRY,
            "timeouts": Timeouts(2.0, attempt=0.3, connect=0.3),
            "limits": Limits(concurrency=16, adaptive=False),
        }
        return DigaClient(KEY, base_url=url or self.sandbox, **{**given, **options})

    def ids(self, count):
        return [self.dice.choice(self.phone_ids) for _ in range(count)]

    async def soon(self):
        """Wait for a random moment."""
        await asyncio.sleep(self.dice.uniform(0.0, 0.03))

    async def timed(self, what, ending):
        began = time.monotonic()
        with contextlib.suppress(asyncio.CancelledError):
            await ending
        took = time.monotonic() - began
        self.done[what] += 1
        self.slowest[what] = max(self.slowest[what], took)

    async def cancel(self, *tasks):
        await self.soon()
        for task in tasks:
            task.cancel()
        await self.timed("cancel", asyncio.wait(tasks))
        for task in tasks:  # an error is as good as an end
            if not task.cancelled():
                task.exception()


async def gets(work):
    """Look up some ids concurrently, some twice, and cancel a few."""
    tasks = [asyncio.ensure_future(work.diga.phones.get(i)) for i in work.ids(20)]
    await work.cancel(*tasks[:5])
    await asyncio.gather(*tasks[5:], return_exceptions=True)
    work.done["get"] += 15


async def exhausted(work):
    """Go through a run to its end."""
    batch = await work.diga.phones.get_many([*work.ids(60), uuid4(), "no id"])
    work.done["outcome"] += len(batch.phones) + len(batch.failures)


async def left(work):
    """Leave a run after some outcomes, in a block or without one."""
    most = work.dice.randrange(1, 30)
    ordered = work.dice.random() < 0.5
    lookups = work.diga.phones.iter_many(work.ids(60), ordered=ordered, concurrency=8)
    if ordered:
        await anext(lookups)
        return  # and the collector finds it
    async with lookups:
        async for _ in lookups:
            most -= 1
            if not most:
                break
    work.done["run left"] += 1


async def cancelled(work):
    """Cancel a whole run, and one step of another."""
    await work.cancel(asyncio.ensure_future(work.diga.phones.get_many(work.ids(60))))
    async with work.diga.phones.iter_many(work.ids(30)) as lookups:
        await work.cancel(asyncio.ensure_future(anext(lookups)))


async def churned(work):
    """Open a client, and close it while it is at work."""
    diga = work.client()
    tasks = [asyncio.ensure_future(diga.phones.get(i)) for i in work.ids(5)]
    tasks.append(asyncio.ensure_future(diga.phones.get_many(work.ids(30))))
    await work.soon()
    await work.timed("close", diga.close())
    for answer in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(answer, Exception) and not isinstance(answer, DigaError):
            raise answer


async def lent(work):
    """Use a lent session, which its owner closes, perhaps too early."""
    connector = aiohttp.TCPConnector(limit=work.dice.choice([1, 4, 0]))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        work.client(session=session) as diga,
    ):
        run = asyncio.ensure_future(diga.phones.get_many(work.ids(20)))
        if work.dice.random() < 0.5:
            await work.soon()
            await session.close()
        with contextlib.suppress(ClientClosedError):
            await run
    work.done["lent"] += 1


async def faulty(work):
    """Meet some rows of the fault matrix."""
    async with work.client(work.matrix) as diga:
        given = [diga.phones.get(i) for i in work.ids(8)]
        await asyncio.gather(*given, return_exceptions=True)
        with contextlib.suppress(DigaError):  # a refused key among them
            await diga.phones.get_many(work.ids(8))
    work.done["fault"] += 16


async def forgotten(work):
    """Let go of a client that is open, and of a run within it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        diga = work.client()
        lookups = diga.phones.iter_many(work.ids(20))
        await anext(lookups)
        del diga, lookups
        gc.collect()
    work.done["forgotten"] += 1


DEEDS = (gets, exhausted, left, cancelled, churned, lent, faulty, forgotten)


# --- what remains


@attrs.frozen
class Left:
    """The resources of the process between two rounds."""

    kib: int
    objects: int
    descriptors: int
    tasks: int
    threads: int

    @classmethod
    async def now(cls):
        for _ in range(3):
            await asyncio.sleep(0.1)
            gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])  # noqa: ASYNC240
        return cls(
            pages * os.sysconf("SC_PAGESIZE") // 1024,
            len(gc.get_objects()),
            len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - their number will do
            len(asyncio.all_tasks()),
            threading.active_count(),
        )

    def __str__(self):
        return (
            f"{self.kib / 1024:6.1f} MiB, {self.objects:,} objects, "
            f"{self.descriptors} descriptors, {self.tasks} tasks, "
            f"{self.threads} threads"
        )


#: By how much each may differ: the pool of one client, and noise of the allocator.
SLACK = Left(kib=4096, objects=2000, descriptors=64, tasks=0, threads=0)


def grown(samples):
    """Compare the last third with the second, by the median; name what grew."""
    third = len(samples) // 3
    names = [field.name for field in attrs.fields(Left)]
    for name in names if third else ():
        before, after = (
            statistics.median(getattr(sample, name) for sample in part)
            for part in (samples[third : 2 * third], samples[2 * third :])
        )
        if after - before > getattr(SLACK, name):
            yield f"{name} grew from {before:,} to {after:,}"


async def soak(seconds, *, show=print):
    """Soak for *seconds*; return what grew."""
    samples = []
    with servers() as (sandbox, matrix):
        async with DigaClient(KEY, base_url=sandbox, retry=RETRY, timeouts=5) as diga:
            work = Work(sandbox, matrix, diga, random.Random(1))  # noqa: S311
            began = last = time.monotonic()
            for number in itertools.count(1):
                await asyncio.gather(*(deed(work) for deed in DEEDS))
                now = time.monotonic()
                if now - last >= seconds / 30 or now - began >= seconds:
                    samples.append(await Left.now())
                    last = time.monotonic()
                    show(f"{now - began:4.0f} s, round {number}: {samples[-1]}")
                if now - began >= seconds:
                    break
            stats = diga.stats
        show(f"done: {dict(sorted(work.done.items()))}")
        show(f"slowest: { {k: round(v, 3) for k, v in work.slowest.items()} }")
        show(f"the one client: {stats}")
    return [*grown(samples)] + [f"{stats.in_flight} in flight"] * (stats.in_flight > 0)


def main():
    """Soak, and print what grew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return
    if options.uvloop:
        import uvloop  # noqa: PLC0415 - perhaps not installed

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    faults = asyncio.run(soak(60.0 * options.minutes))
    print("\n".join(faults) or "nothing grew")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
