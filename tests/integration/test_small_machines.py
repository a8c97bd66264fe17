"""Small machines: few descriptors, few connections, little memory; no id is lost."""

import asyncio
import errno
import json
import os
import resource
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest
from byte_server import ByteServer, answers, hangs, on_time
from fakes import KEY, quick_client

from diga_async import (
    APIConnectionError,
    APITimeoutError,
    DigaClient,
    Limits,
    RetryPolicy,
    Timeouts,
)
from diga_async.sandbox import Sandbox

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc"
)


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(300, latency=0.005, api_key=KEY) as sandbox:
        yield sandbox


def in_a_process_of_its_own(code, sandbox):
    """Run *code* with the address, key and ids of *sandbox*; return its JSON."""
    facts = json.dumps([sandbox.url, KEY, [str(i) for i in sandbox.phone_ids]])
    started = "import asyncio, json, os, resource, sys, time\n"
    started += "from diga_async import *\nURL, KEY, IDS = json.loads(sys.argv[1])\n"
    ended = subprocess.run(
        [sys.executable, "-c", started + code, facts],
        check=True,
        capture_output=True,
        text=True,
        timeout=50,
    )
    return json.loads(ended.stdout)


FEW_DESCRIPTORS = """
resource.setrlimit(resource.RLIMIT_NOFILE, (int({most}), int({most})))

async def main():
    opened = 0
    async with DigaClient(KEY, base_url={url}) as diga:
        batch = await diga.phones.get_many(IDS)
        return len(batch.phones), len(batch.failures), diga.stats.lost

print(json.dumps(asyncio.run(main())))
"""


@pytest.mark.parametrize("most", [14, 24, 40])
@pytest.mark.parametrize("url", ["URL", "URL.replace('127.0.0.1', 'localhost')"])
def test_few_descriptors_fail_no_id(sandbox, most, url):
    code = FEW_DESCRIPTORS.format(most=most, url=url)

    assert in_a_process_of_its_own(code, sandbox) == [300, 0, 0]


def test_little_memory_fails_no_id(sandbox):
    code = """
def size():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()

async def main():
    async with DigaClient(KEY, base_url=URL) as diga:
        await diga.phones.get(IDS[0])
        resource.setrlimit(resource.RLIMIT_AS, (size() + (24 << 20),) * 2)
        batch = await diga.phones.get_many(IDS)
        return len(batch.phones), len(batch.failures)

print(json.dumps(asyncio.run(main())))
"""
    assert in_a_process_of_its_own(code, sandbox) == [300, 0]


@contextmanager
def no_descriptors():
    """Use up every descriptor of this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    resource.setrlimit(
        resource.RLIMIT_NOFILE,
        (len(os.listdir("/proc/self/fd")) + 8, before[1]),  # noqa: PTH208
    )
    try:
        while True:
            held.append(os.dup(0))
    except OSError:
        pass

    def free():
        while held:
            os.close(held.pop())
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    try:
        yield free
    finally:
        free()


async def test_a_get_waits_for_a_descriptor_until_its_deadline():
    async with ByteServer(answers) as server, quick_client(server.url) as diga:
        with no_descriptors() as free:
            lookup = asyncio.ensure_future(diga.phones.get(IDS[0]))
            asyncio.get_running_loop().call_later(0.2, free)
            phone = await lookup

        assert str(phone.id) == IDS[0]
        assert diga.stats.requests == 1


IDS = [f"00000000-0000-4000-8000-{n:012}" for n in range(50)]


async def test_where_no_connection_can_be_opened_it_is_an_outage_with_its_reason(
    caplog,
):
    policy = RetryPolicy(max_outage=0.5)
    async with (
        ByteServer(answers) as server,
        DigaClient(KEY, base_url=server.url, retry=policy) as diga,
    ):
        with no_descriptors(), pytest.raises(APIConnectionError) as caught:
            await diga.phones.get_many(IDS)
        requests = diga.stats.requests

    error = caught.value
    assert error.errno == errno.EMFILE
    assert "too many open files" in str(error)
    assert "ulimit -n" in str(error)
    assert len(error.partial.unanswered) == 50
    assert (error.partial.failures, requests) == ({}, 0)
    said = [
        r.getMessage() for r in caplog.records if "fewer requests" in r.getMessage()
    ]
    assert len(said) == 1


async def test_a_lent_pool_of_two_serves_a_run_of_any_width():
    async with (
        ByteServer(answers) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2)) as session,
        DigaClient(
            KEY, base_url=server.url, session=session, timeouts=Timeouts(attempt=0.5)
        ) as diga,
    ):
        batch = await diga.phones.get_many(IDS)

        assert len(batch.phones) == 50
        assert diga.stats.lost == 0
    assert len(server.wires) <= 2


async def test_a_lent_pool_that_its_owner_uses_up_is_waited_for():
    async with (
        ByteServer(hangs()) as slow,
        ByteServer(answers) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2)) as session,
        DigaClient(
            KEY, base_url=server.url, session=session, timeouts=Timeouts(attempt=0.1)
        ) as diga,
    ):
        owners = [asyncio.ensure_future(session.get(slow.url)) for _ in range(2)]
        await slow.arrived.wait()
        run = asyncio.ensure_future(diga.phones.get_many(IDS[:8]))
        with on_time(0.3), pytest.raises(APITimeoutError, match="lent session's pool"):
            await diga.phones.get(IDS[9], timeouts=0.3)
        for owner in owners:
            owner.cancel()
        batch = await run

        assert len(batch.phones) == 8
        assert diga.stats.lost == 0
        await asyncio.wait(owners)


async def test_the_limit_grows_again_when_resources_are_free(monkeypatch):
    monkeypatch.setattr("diga_async._flow.local_limit.GROW_SECONDS", 0.05)
    limits = Limits(concurrency=16, adaptive=False)
    async with (
        ByteServer(answers) as server,
        DigaClient(KEY, base_url=server.url, limits=limits) as diga,
    ):
        with no_descriptors() as free:
            lookup = asyncio.ensure_future(diga.phones.get(IDS[0]))
            await asyncio.sleep(0.01)
            free()
            await lookup
        local = diga._lifecycle.runtime.engine.scheduler._local
        assert local.slots < 16
        end = time.monotonic() + 20.0
        while local.slots < 16 and time.monotonic() < end:
            await diga.phones.get(IDS[1])

        assert local.slots == 16
