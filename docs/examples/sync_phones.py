"""
Look up phones from synchronous code, in any thread.

An event loop runs in a thread of its own; all callers share its client.

Close: `close` ends lookups in progress, the client and the thread.
Errors: those of the client, raised in the thread that called.
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar
from uuid import UUID

from diga_async import DigaClient, Phone, PhoneBatch

T = TypeVar("T")


class SyncPhones:
    def __init__(self) -> None:
        self._diga = DigaClient(timeouts=8.0)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def get(self, phone_id: UUID | str) -> Phone:
        return self._run(self._diga.phones.get(phone_id))

    def get_many(self, phone_ids: Iterable[UUID | str]) -> PhoneBatch:
        return self._run(self._diga.phones.get_many(phone_ids))

    def close(self) -> None:
        self._run(self._diga.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, lookup: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(lookup, self._loop).result()


def main() -> None:
    phones = SyncPhones()
    try:
        print(phones.get("3c90c3cc-0d44-4b50-8888-8dd25736052a").number)
    finally:
        phones.close()


if __name__ == "__main__":
    main()
