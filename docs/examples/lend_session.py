"""Lend the connections of a session that the program has anyway."""

import asyncio

import aiohttp

from diga_async import DigaClient


async def main() -> None:
    connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=300)
    async with aiohttp.ClientSession(connector=connector) as session:
        async with DigaClient(session=session) as diga:
            phone = await diga.phones.get("3c90c3cc-0d44-4b50-8888-8dd25736052a")
            print(phone.number)
        print("still open:", not session.closed)


if __name__ == "__main__":
    asyncio.run(main())
