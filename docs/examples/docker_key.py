"""Take the key from a file, as Docker and Kubernetes mount secrets."""

import asyncio
import os
from pathlib import Path

from diga_async import DigaClient

KEY_FILE = Path(os.environ.get("DIGA_API_KEY_FILE", "/run/secrets/diga_api_key"))


async def read_key() -> str:
    text = await asyncio.to_thread(KEY_FILE.read_text, encoding="ascii")
    return text.strip()


async def main() -> None:
    async with DigaClient(read_key) as diga:
        phone = await diga.phones.get("3c90c3cc-0d44-4b50-8888-8dd25736052a")
        print(phone.number)


if __name__ == "__main__":
    asyncio.run(main())
