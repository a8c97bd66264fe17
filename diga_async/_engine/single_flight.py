"""Single lookups: whoever asks for an id that is on its way shares the request."""

import asyncio
import copy
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar
from uuid import UUID

from diga_async._api.phones import Answer
from diga_async._engine.call import (
    Call,
    Stage,
    Counters,
    final,
    held_too_long,
    outcome_of,
    too_late,
)
from diga_async._engine.clock import Clock
from diga_async._engine.observer import Observer
from diga_async._models.errors import ClientClosedError, DigaError
from diga_async._models.options import Timeouts
from diga_async._models.phone import Phone

Waiter = asyncio.Future[Answer]

_T = TypeVar("_T")


class _SharedCall:
    """One lookup and all who wait for it, each with a deadline of its own."""

    task: asyncio.Task[Answer]

    def __init__(self, lookup: Call) -> None:
        self.lookup = lookup
        self.waiters: set[Waiter] = set()

    def board(self, deadline: float, now: float) -> Waiter:
        """Add one who waits; the lookup goes on for as long as the last one does."""
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self.waiters.add(waiter)
        if deadline > self.lookup.deadline:
            self.lookup.extend(deadline, now)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Remove one who is served or has gone; the last one cancels the lookup."""
        self.waiters.discard(waiter)
        if not self.waiters:
            self.task.cancel()

    def land(self, answer: Answer) -> None:
        """Give every waiter the answer, each its own copy of an error."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(_own(answer))

    def crash(self, error: BaseException) -> None:
        """Tell every waiter what broke the lookup."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(_own(error))

    def close(self) -> None:
        """Tell every waiter, also where the lookup does not let itself be cancelled."""
        self.land(ClientClosedError("the client was closed"))

    def cancel(self) -> None:
        """Cancel every wait, as what the caller's own callable waited for was."""
        for waiter in self.waiters:
            waiter.cancel()

    def ring(self, waiter: Waiter, deadline: float, now: float) -> None:
        """End the wait of one whose *deadline* has come."""
        # The lookup itself ends with the last deadline, and knows better why.
        if deadline < self.lookup.deadline and not waiter.done():
            waiter.set_result(too_late(self.lookup, now))


def _own(answer: _T) -> _T:
    """Return a copy of an error, if it can be copied; a phone is shared."""
    if isinstance(answer, BaseException):
        with suppress(Exception):  # a callable may raise anything
            twin = copy.copy(answer)
            return twin if type(twin) is type(answer) else answer
    return answer


class SingleFlight:
    """The single lookups of a client that are on their way, by id."""

    def __init__(
        self,
        run: Stage,
        clock: Clock,
        counters: Counters,
        observer: Observer,
        held: Callable[[float], float],
    ) -> None:
        self._look_up = run
        self._held = held
        self._observer = observer
        self._clock = clock
        self._counters = counters
        self._shared_calls: dict[UUID, _SharedCall] = {}
        self._tasks: set[asyncio.Task[Answer]] = set()

    async def get(self, phone_id: UUID, timeouts: Timeouts) -> Phone:
        """
        Look up one id, together with whoever else is asking for it now.

        Raises:
            DigaError: Why there is no phone.
        """
        now = self._clock.now()
        deadline = now + timeouts.total
        shared = self._shared_calls.get(phone_id)
        if shared is None:
            shared = self._launch(phone_id, timeouts, deadline)
        elif not shared.lookup.sending and (held := self._held(now)) > timeouts.total:
            raise final(shared.lookup, held_too_long(held), now)
        answer = await self._arrival(shared, deadline, timeouts.total)
        if not isinstance(answer, DigaError):
            return answer
        try:
            raise answer
        finally:
            del answer  # or the error would keep this very frame alive

    async def close(self) -> None:
        """End every lookup; whoever waits gets a `ClientClosedError`, at once."""
        for shared in self._shared_calls.values():
            shared.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _launch(
        self, phone_id: UUID, timeouts: Timeouts, deadline: float
    ) -> _SharedCall:
        lookup = Call(
            phone_id=phone_id,
            timeouts=timeouts,
            deadline=deadline,
            counters_of=(self._counters,),
        )
        shared = self._shared_calls[phone_id] = _SharedCall(lookup)
        shared.task = task = asyncio.ensure_future(self._fly(shared))
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, shared))
        return shared

    async def _fly(self, shared: _SharedCall) -> Answer:
        answer = await self._look_up(shared.lookup)
        if self._observer.is_on:
            now = self._clock.now()
            self._observer.lookup(outcome_of(shared.lookup, answer, now))
        self._forget(shared)
        shared.land(answer)  # a turn of the loop sooner than the callback
        return answer

    def _ended(self, shared: _SharedCall, task: asyncio.Task[Answer]) -> None:
        self._tasks.discard(task)
        self._forget(shared)
        if task.cancelled():
            shared.cancel()
        elif (error := task.exception()) is not None:
            shared.crash(error)
        else:
            shared.land(task.result())  # an eager task ends before anybody waits

    def _forget(self, shared: _SharedCall) -> None:
        if self._shared_calls.get(shared.lookup.phone_id) is shared:
            del self._shared_calls[shared.lookup.phone_id]

    async def _arrival(
        self, shared: _SharedCall, deadline: float, seconds: float
    ) -> Answer:
        waiter = shared.board(deadline, deadline - seconds)
        ring = partial(self._ring, shared, waiter, deadline)
        timer = self._clock.call_later(seconds, ring)
        try:
            return await waiter
        finally:
            timer.cancel()
            shared.leave(waiter)
            if not shared.waiters:
                self._forget(shared)

    def _ring(self, shared: _SharedCall, waiter: Waiter, deadline: float) -> None:
        shared.ring(waiter, deadline, self._clock.now())
