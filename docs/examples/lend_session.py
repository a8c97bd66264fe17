"""
Use the connections of a session that the program already has.

Close: the client first, then the session; the client never closes the session.
Errors: those of any client, and `ClientClosedError` when the session is closed.
Log: the id and the error; no data of a phone.
"""

import asyncio
import logging
import sys

import aiohttp

from diga_async import DigaClient, DigaError, NotFoundError

PHONE_ID = "3c90c3cc-0d44-4b50-8888-8dd25736052a"

logger = logging.getLogger("phones")


async def show(session: aiohttp.ClientSession) -> int:
    async with DigaClient(session=session) as diga:
        try:
            phone = await diga.phones.get(PHONE_ID)
        except NotFoundError:
            print("There is no such phone.")
        except DigaError as error:
            logger.error("%s after %s attempts: %r", PHONE_ID, error.attempts, error)
            return 1
        else:
            print(phone.number)
    return 0


async def main() -> int:
    connector = aiohttp.TCPConnector(limit=100, ttl_dns_cache=300)
    async with aiohttp.ClientSession(connector=connector) as session:
        result = await show(session)
        print("still open:", not session.closed)
    return result


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
