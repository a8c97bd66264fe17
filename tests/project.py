"""A Diga project in memory, on a clock that tests advance."""

import asyncio
import heapq
import math
from unittest import mock
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from fakes import KEY, FakeClock, phone_fields, response

from diga_async import APIConnectionError, DigaClient, Limits
from diga_async._engine.credentials import key_opener
from diga_async._runtime import Runtime

LOST = APIConnectionError("lost", phase="read")
NOT_FOUND = response(404)


def number(n):
    """Return the n-th id."""
    return UUID(int=n)


class PatientClock(FakeClock):
    """A clock that advances when nothing is left to do at the present moment."""

    async def advance(self, seconds):
        await idle()
        end = self._now + seconds
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, due)
            if not timer.cancelled:
                timer.callback()
                await idle()
        self._now = end
        await idle()


async def idle():
    """Let everything run until it waits."""
    ready = getattr(asyncio.get_running_loop(), "_ready", None)  # uvloop hides it
    for _ in range(300):
        await asyncio.sleep(0)
        if ready is not None and not ready:
            return


class Project:
    """
    The phones of a project, and a transport that serves them.

    Attributes:
        phones: The records, by id, in the order of the listing.
        hidden: Ids that the listing does not show.
        broken: The values that the listing shows instead of records, by id.
        answer: Called with each path first; returns the response, or None for the
            usual one.
        seconds: How long each request takes.
        requests: The time and the path of each request.
    """

    def __init__(self, *numbers, page_size=100, numbered=True):
        self.clock = PatientClock()
        self.phones = {number(n): phone_fields(number(n)) for n in numbers}
        self.hidden = set()
        self.broken = {}
        self.answer = lambda _path: None
        self.seconds = 0.0
        self.requests = []
        self.closed = False
        self.blocked = 0.0
        self.size = math.inf
        self.open = self.most_open = 0
        self._page_size = page_size
        self._numbered = numbered

    def change(self, n, **fields):
        self.phones[number(n)] = self.phones[number(n)] | fields

    def add(self, n, **fields):
        self.phones[number(n)] = phone_fields(number(n), **fields)

    def remove(self, n):
        del self.phones[number(n)]

    # --- the transport

    def take(self, **_options):
        """Have no connection that is ready."""

    async def send(self, request, *, seconds, **_options):
        self.requests.append((self.clock.now(), request.path))
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            if self.seconds > seconds:
                await self.clock.sleep(seconds)
                return LOST
            if self.seconds:
                await self.clock.sleep(self.seconds)
            return self.answer(request.path) or self._serve(request.path)
        finally:
            self.open -= 1

    def retire(self):
        """Keep all connections: there are none."""

    def abandon(self):
        """Drop nothing."""

    async def close(self):
        self.closed = True

    def _serve(self, path):
        url = urlsplit(path)
        if url.path == "/v1/phone/":
            return response(200, self._page(dict(parse_qsl(url.query))))
        record = self.phones.get(UUID(url.path.rpartition("/")[2]))
        return NOT_FOUND if record is None else response(200, record)

    def _page(self, query):
        shown = [i for i in self.phones if i not in self.hidden]
        after = UUID(query["after"]) if "after" in query else None
        if after is not None and after not in shown:
            shown = []  # as an SQL query that does not find the cursor's row
        low = shown.index(after) + 1 if shown and after else 0
        ids = shown[low : low + min(self._page_size, int(query["limit"]))]
        pages = -(-len(shown) // self._page_size)
        return {
            "data": [self.broken.get(i, self.phones[i]) for i in ids],
            "has_more": low + len(ids) < len(shown),
            "last_id": str(ids[-1]) if ids else None,
            "total_pages": pages if self._numbered and not after else None,
        }

    # --- observations

    @property
    def paths(self):
        return [path for _, path in self.requests]

    @property
    def lookups(self):
        return [UUID(path[-36:]) for path in self.paths if "?" not in path]

    @property
    def pages(self):
        return sum("?" in path for path in self.paths)

    def forget(self):
        self.requests.clear()

    async def advance(self, seconds):
        """Let time pass."""
        await self.clock.advance(seconds)

    def client(self, *, chance=0.5, **options):
        """Return a client of this project, open in the running loop."""
        options = {"limits": Limits(adaptive=False), **options}
        client = DigaClient(KEY, base_url="https://x", **options)
        lifecycle = client._lifecycle
        with mock.patch("diga_async._runtime.Transport", return_value=self):
            lifecycle.runtime = Runtime(
                lifecycle.options,
                key_opener(KEY)(),
                lifecycle._counters,
                clock=self.clock,
                chance=lambda: chance,
            )
        return client


def page_of(path):
    """Return the query of a page's path; None when it is a lookup."""
    query = urlsplit(path).query
    return dict(parse_qsl(query)) if query else None


async def soon(awaitable):
    """Start something, and let it run until it waits."""
    task = asyncio.ensure_future(awaitable)
    await idle()
    return task
