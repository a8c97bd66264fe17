"""A clock that tests advance, and a transport that answers from a script."""

import asyncio
import heapq
import itertools
import json
import math
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
from multidict import CIMultiDict

from diga_async import DigaClient, Limits, RetryPolicy, Timeouts
from diga_async._api.messages import Request, Response
from diga_async._engine.clock import Clock
from diga_async._models.errors import APIConnectionError
from diga_async._transport.failures import Shortage

PHONE_ID = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
KEY = "sk-fa17ed00fa17ed00fa17ed00"


def quick_client(
    url: str, key: Any = KEY, *, attempts: int = 3, **options: Any
) -> DigaClient:
    """Make a client that loses no time between its attempts."""
    quick = RetryPolicy(max_attempts=attempts, base_delay=0.001, throttle_delay=0.001)
    given = {
        "retry": quick,
        "timeouts": Timeouts(5.0, attempt=2.0),
        "limits": Limits(adaptive=False),
    }
    return DigaClient(key, base_url=url, **{**given, **options})


def phone_fields(phone_id: object = PHONE_ID, **changes: Any) -> dict[str, Any]:
    """Return a phone as the server writes it."""
    return {
        "id": str(phone_id),
        "number": "+34911234567",
        "telephony_provider": "netelip",
        "status": "assigned",
        **changes,
    }


def response(status: int = 200, body: Any = None, **headers: str) -> Response:
    """Return an answer; a body other than bytes is written as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, CIMultiDict(names), raw)


@attrs.define(eq=False)
class _Timer:
    callback: Callable[[], object]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock(Clock):
    """Time that stands still until it is advanced."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._timers: list[tuple[float, int, _Timer]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        timer = self.call_later(seconds, lambda: woken.done() or woken.set_result(None))
        try:
            await woken
        finally:
            timer.cancel()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Any:
        timer = _Timer(callback)
        due = self._now + max(0.0, seconds)
        heapq.heappush(self._timers, (due, next(self._numbers), timer))
        return timer

    @property
    def waiting(self) -> list[float]:
        """How far away each timer is that is still to ring."""
        return sorted(d - self._now for d, _, t in self._timers if not t.cancelled)

    async def advance(self, seconds: float) -> None:
        """Let time pass, ringing each timer at its moment."""
        await turn()
        end = self._now + seconds
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, due)
            if not timer.cancelled:
                timer.callback()
                await turn()
        self._now = end
        await turn()


async def turn() -> None:
    """Let everything run that can."""
    for _ in range(30):
        await asyncio.sleep(0)


class ScriptedTransport:
    """
    Answers from a script, in the order of the requests.

    A step is a `Response`, an `APIConnectionError`, or a future of one.
    """

    def __init__(self, *script: Any) -> None:
        self.script = deque(script)
        self.requests: list[Request] = []
        self.seconds: list[float] = []
        self.fresh: list[bool] = []
        self.retired = 0
        self.closed = False
        self.blocked = 0.0
        self.size = math.inf

    def take(self, **_: Any) -> None:
        """Have no connection that is ready."""

    async def send(
        self,
        request: Request,
        *,
        seconds: float,
        fresh: bool = False,
        **_: Any,
    ) -> Response | APIConnectionError | Shortage:
        self.requests.append(request)
        self.seconds.append(seconds)
        self.fresh.append(fresh)
        step = self.script.popleft()
        return await step if asyncio.isfuture(step) else step

    def retire(self) -> None:
        self.retired += 1
