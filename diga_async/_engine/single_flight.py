"""Concurrent calls of one operation share a single request (*single flight*)."""

import asyncio
import math
from collections.abc import Hashable
from functools import partial
from typing import Any, Generic, TypeVar

from diga_async._api.operation import Answer, Operation
from diga_async._engine.call import (
    Call,
    attempt_error,
    blocked_error,
    deadline_error,
    final,
)
from diga_async._engine.engine import Engine
from diga_async._engine.shared_task import own_copy
from diga_async._models.errors import ClientClosedError, DigaError, NotFoundError
from diga_async._models.options import Timeouts
from diga_async._transport.deadlines import TURNS

T = TypeVar("T")


class _Follower(Generic[T]):
    """
    One caller that waits for a shared call, for as long as its own limits allow.

    Attributes:
        answer: What the caller gets.
        since: When it began to wait for the open attempt.
    """

    def __init__(
        self, call: Call[T], timeouts: Timeouts, deadline: float, engine: Engine
    ) -> None:
        self.answer: asyncio.Future[Answer[T]] = (
            asyncio.get_running_loop().create_future()
        )
        self._call = call
        self._peer = engine.peer
        self._limit = timeouts.attempt
        self._deadline = deadline
        self._clock = engine.clock
        self._attempts_left = engine.policy.max_attempts
        self.since = self._clock.now()
        self._patience: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None

    def resolve(self, answer: Answer[T]) -> None:
        """Give the caller its own copy of the answer."""
        if not self.answer.done():
            self.answer.set_result(own_copy(answer))

    def fail(self, error: BaseException) -> None:
        """Raise *error* in the caller."""
        if not self.answer.done():
            self.answer.set_exception(own_copy(error))

    def end(self) -> None:
        """Stop its timers."""
        for timer in (self._timer, self._patience):
            if timer is not None:
                timer.cancel()

    def _expire(self, turns: int = TURNS) -> None:
        if turns:  # the answer may have arrived while the loop was blocked
            again = partial(self._expire, turns - 1)
            asyncio.get_running_loop().call_soon(again)
            return
        self.resolve(deadline_error(self._call, self._clock.now(), self._peer))

    def share(self, now: float) -> None:
        """
        Keep the caller's own limits when another caller allows more.

        At the last deadline the call itself ends, with a more precise error, so the
        only caller needs no timer.
        """
        if self._deadline < self._call.deadline and self._timer is None:
            left = self._deadline - now
            self._timer = self._clock.call_later(left, self._expire)
        if self._limit < self._call.timeouts.attempt and self._patience is None:
            self._wait_for_attempt(self._limit)

    def _wait_for_attempt(self, seconds: float) -> None:
        self._patience = self._clock.call_later(seconds, self._check_attempt)

    def _check_attempt(self) -> None:
        # The request stays open for the others. For this caller it was an attempt
        # without an answer, and it waits for the same request instead of another.
        now, left = self._clock.now(), self._limit
        if self._call.sending:
            left -= now - max(self.since, self._call.begun)
        if left <= 0.0:
            self.since = now
            self._attempts_left -= 1
            left = self._limit
        if self._attempts_left:
            self._wait_for_attempt(left)
        else:
            self.resolve(
                attempt_error(self._call, now, self._peer, "attempt", self._limit)
            )


class _SharedCall(Generic[T]):
    """One call and its followers, each with limits of its own."""

    task: "asyncio.Task[Answer[T]]"

    def __init__(self, key: Hashable, call: Call[T]) -> None:
        self.key = key
        self.call = call
        self.followers: set[_Follower[T]] = set()

    def join(self, follower: _Follower[T], timeouts: Timeouts, deadline: float) -> None:
        """Add a follower; the call continues for as long as the last one waits."""
        self.followers.add(follower)
        self.call.extend(deadline, timeouts.attempt, follower.since)
        for each in self.followers:
            each.share(follower.since)

    def leave(self, follower: _Follower[T]) -> None:
        """Remove a follower; the last one cancels the call."""
        follower.end()
        self.followers.discard(follower)
        if not self.followers:
            self.task.cancel()

    def resolve(self, answer: Answer[T]) -> None:
        """Give every follower the answer."""
        for follower in self.followers:
            follower.resolve(answer)

    def fail(self, error: BaseException) -> None:
        """Raise *error* in every follower."""
        for follower in self.followers:
            follower.fail(error)

    def close(self) -> None:
        """End every wait, even where the call ignores its cancellation."""
        self.resolve(ClientClosedError("the client was closed"))

    def cancel(self) -> None:
        """Cancel every wait, as the user's key callable was cancelled."""
        for follower in self.followers:
            follower.answer.cancel()


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
        Run one operation; concurrent calls of it share one request.

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
                limit = f"the deadline of {total:g} s"
                error = blocked_error(blocked, self._engine.peer, limit)
                raise final(shared.call, error, now)
        follower = _Follower(shared.call, timeouts, now + total, self._engine)
        shared.join(follower, timeouts, now + total)
        try:
            answer = await follower.answer
        finally:
            shared.leave(follower)
            if not shared.followers:
                self._forget(shared)
        if not isinstance(answer, DigaError):
            return answer
        try:
            raise answer
        finally:
            del answer  # or the error would keep this frame alive

    async def wait(self, seconds: float) -> None:
        """Wait for the calls that are under way, but no longer than *seconds*."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

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
        name = f"diga_async: {operation.path}"
        shared.task = task = asyncio.create_task(self._run(shared), name=name)
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, shared))
        return shared

    async def _run(self, shared: _SharedCall[T]) -> Answer[T]:
        answer = await self._engine.run(shared.call)
        if isinstance(answer, NotFoundError):
            answer = self._engine.located(shared.call, answer)
        self._engine.report(shared.call, answer)
        self._forget(shared)
        shared.resolve(answer)  # one turn of the loop before the done callback
        return answer

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
