"""Measure every request with aiohttp's tracing."""

import asyncio
from collections import Counter
from types import SimpleNamespace

import aiohttp

from diga_async import DigaClient

statuses = Counter[int]()
seconds: list[float] = []


async def on_start(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    _params: aiohttp.TraceRequestStartParams,
) -> None:
    context.started = asyncio.get_running_loop().time()


async def on_end(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    params: aiohttp.TraceRequestEndParams,
) -> None:
    # params.headers contains the key: do not read or log it.
    statuses[params.response.status] += 1
    seconds.append(asyncio.get_running_loop().time() - context.started)


async def main() -> None:
    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(on_start)
    trace.on_request_end.append(on_end)
    async with DigaClient(trace_configs=[trace]) as diga:
        await diga.phones.get("3c90c3cc-0d44-4b50-8888-8dd25736052a")
        print(diga.stats)
    print(dict(statuses), f"{max(seconds) * 1000:.1f} ms at most")


if __name__ == "__main__":
    asyncio.run(main())
