"""Concurrent calls of one operation share a single request (*single flight*)."""

import asyncio
import copy
import math
from collections.abc import Hashable
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar

from diga_async._api.addresses import Peer
from diga_async._api.operation import Answer, Operation
from diga_async._engine.call import Call, blocked_error, deadline_error, final
from diga_async._engine.engine import Engine
from diga_async._models.errors import ClientClosedError, DigaError
from diga_async._models.options import Timeouts
from diga_async._transport.deadlines import TURNS

T = TypeVar("T")


class _SharedCall(Generic[T]):
    """One call and its followers, each with a deadline of its own."""

    task: "asyncio.Task[Answer[T]]"

    def __init__(self, key: Hashable, call: Call[T]) -> None:
        self.key = key
        self.call = call
        self.followers: set[asyncio.Future[Answer[T]]] = set()

    def join(self, deadline: float, now: float) -> "asyncio.Future[Answer[T]]":
        """Add a follower; the call goes on for as long as the last one waits."""
        follower = asyncio.get_running_loop().create_future()
        self.followers.add(follower)
        if deadline > self.call.deadline:
            self.call.extend(deadline, now)
        return follower

    def leave(self, follower: "asyncio.Future[Answer[T]]") -> None:
        """Remove a follower; the last one cancels the call."""
        self.followers.discard(follower)
        if not self.followers:
            self.task.cancel()

    def resolve(self, answer: Answer[T]) -> None:
        """Give every follower the answer, each its own copy of an error."""
        for follower in self.followers:
            if not follower.done():
                follower.set_result(_own(answer))

    def fail(self, error: BaseException) -> None:
        """Raise what broke the call in every follower."""
        for follower in self.followers:
            if not follower.done():
                follower.set_exception(_own(error))

    def close(self) -> None:
        """End every wait, even where the call ignores its cancellation."""
        self.resolve(ClientClosedError("the client was closed"))

    def cancel(self) -> None:
        """Cancel every wait, as the user's key callable was cancelled."""
        for follower in self.followers:
            follower.cancel()

    def expire(
        self,
        follower: "asyncio.Future[Answer[T]]",
        deadline: float,
        now: float,
        peer: Peer,
    ) -> None:
        """End the wait of a follower whose *deadline* has passed."""
        # At the last deadline the call itself ends, with a more precise error.
        if deadline < self.call.deadline and not follower.done():
            follower.set_result(deadline_error(self.call, now, peer))


def _own(answer: T) -> T:
    """Return a copy of an error that can be copied; a value is shared."""
    if isinstance(answer, BaseException):
        with suppress(Exception):  # a callable may raise any exception
            twin = copy.copy(answer)
            return twin if type(twin) is type(answer) else answer
    return answer


class SingleFlight:
    """
    The calls of a client that are under way outside of runs, by their path.

    Args:
        engine: Carries the calls.
        bulk: Whether they have the priority of a run, and its patience: they wait
            out throttling, and `Timeouts.total` stands still meanwhile.
    """

    def __init__(self, engine: Engine, *, bulk: bool = False) -> None:
        self._engine = engine
        self._clock = engine.clock
        self._is_bulk = bulk
        self._shared: dict[Hashable, _SharedCall[Any]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def send(self, operation: Operation[T], timeouts: Timeouts) -> T:
        """
        Run one operation, together with the same operation under way.

        Raises:
            DigaError: Why there is no value.
        """
        now = self._clock.now()
        total = math.inf if self._is_bulk else timeouts.total
        # Bulk calls have no deadline to extend, so only equal timeouts share one.
        key = (operation.path, timeouts) if self._is_bulk else operation.path
        shared: _SharedCall[T] | None = self._shared.get(key)
        if shared is None:
            shared = self._start(key, operation, timeouts, now + total)
        elif not shared.call.sending:
            blocked = self._engine.limiter.blocked_for(now)
            if blocked > total:
                raise final(shared.call, blocked_error(blocked), now)
        answer = await self._follow(shared, now, total)
        if not isinstance(answer, DigaError):
            return answer
        try:
            raise answer
        finally:
            del answer  # or the error would keep this frame alive

    async def close(self) -> None:
        """End every call; its followers get a `ClientClosedError` immediately."""
        for shared in self._shared.values():
            shared.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _start(
        self,
        key: Hashable,
        operation: Operation[T],
        timeouts: Timeouts,
        deadline: float,
    ) -> _SharedCall[T]:
        call = Call(
            operation=operation,
            timeouts=timeouts,
            bulk=self._is_bulk,
            deadline=deadline,
            counters=(self._engine.counters,),
        )
        shared = self._shared[key] = _SharedCall(key, call)
        shared.task = task = asyncio.ensure_future(self._run(shared))
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, shared))
        return shared

    async def _run(self, shared: _SharedCall[T]) -> Answer[T]:
        answer = await self._carry(shared.call)
        self._engine.report(shared.call, answer)
        self._forget(shared)
        shared.resolve(answer)  # one turn of the loop before the done callback
        return answer

    async def _carry(self, call: Call[T]) -> Answer[T]:
        if not self._is_bulk:
            return await self._engine.run(call)
        self._engine.breaker.begin(self._clock.now())
        try:
            return await self._engine.run(call)
        finally:
            self._engine.breaker.end(self._clock.now())

    def _ended(self, shared: _SharedCall[T], task: "asyncio.Task[Answer[T]]") -> None:
        self._tasks.discard(task)
        self._forget(shared)
        if task.cancelled():
            shared.cancel()
        elif (error := task.exception()) is not None:
            shared.fail(error)
        else:
            shared.resolve(
                task.result()
            )  # an eager task ends before its followers join

    def _forget(self, shared: _SharedCall[T]) -> None:
        if self._shared.get(shared.key) is shared:
            del self._shared[shared.key]

    async def _follow(
        self, shared: _SharedCall[T], now: float, seconds: float
    ) -> Answer[T]:
        deadline, timer = now + seconds, None
        follower = shared.join(deadline, now)
        if seconds < math.inf:
            expire = partial(self._expire, shared, follower, deadline)
            timer = self._clock.call_later(seconds, expire)
        try:
            return await follower
        finally:
            if timer is not None:
                timer.cancel()
            shared.leave(follower)
            if not shared.followers:
                self._forget(shared)

    def _expire(
        self,
        shared: _SharedCall[T],
        follower: "asyncio.Future[Answer[T]]",
        deadline: float,
        turns: int = TURNS,
    ) -> None:
        if turns:  # the answer may have arrived while the loop was blocked
            again = partial(self._expire, shared, follower, deadline, turns - 1)
            asyncio.get_running_loop().call_soon(again)
            return
        shared.expire(follower, deadline, self._clock.now(), self._engine.peer)
