"""Single lookups: whoever asks for an id that is on its way shares the request."""

import asyncio
import copy
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar
from uuid import UUID

from diga_async._clock import Clock
from diga_async._errors import ClientClosedError, DigaError
from diga_async._lookup import (
    Lookup,
    Stage,
    Tally,
    final,
    held_too_long,
    outcome_of,
    too_late,
)
from diga_async._phone import Phone
from diga_async._policy import Timeouts
from diga_async._protocol import Answer
from diga_async._watch import Watch

Waiter = asyncio.Future[Answer]

_T = TypeVar("_T")


class _Flight:
    """One lookup and all who wait for it, each with a deadline of its own."""

    task: asyncio.Task[Answer]

    def __init__(self, lookup: Lookup) -> None:
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


class Flights:
    """The single lookups of a client that are on their way, by id."""

    def __init__(
        self,
        look_up: Stage,
        clock: Clock,
        tally: Tally,
        watch: Watch,
        held: Callable[[float], float],
    ) -> None:
        self._look_up = look_up
        self._held = held
        self._watch = watch
        self._clock = clock
        self._tally = tally
        self._flights: dict[UUID, _Flight] = {}
        self._tasks: set[asyncio.Task[Answer]] = set()

    async def get(self, phone_id: UUID, timeouts: Timeouts) -> Phone:
        """
        Look up one id, together with whoever else is asking for it now.

        Raises:
            DigaError: Why there is no phone.
        """
        now = self._clock.now()
        deadline = now + timeouts.total
        flight = self._flights.get(phone_id)
        if flight is None:
            flight = self._launch(phone_id, timeouts, deadline)
        elif not flight.lookup.sending and (held := self._held(now)) > timeouts.total:
            raise final(flight.lookup, held_too_long(held), now)
        answer = await self._arrival(flight, deadline, timeouts.total)
        if not isinstance(answer, DigaError):
            return answer
        try:
            raise answer
        finally:
            del answer  # or the error would keep this very frame alive

    async def close(self) -> None:
        """End every lookup; whoever waits gets a `ClientClosedError`, at once."""
        for flight in self._flights.values():
            flight.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _launch(self, phone_id: UUID, timeouts: Timeouts, deadline: float) -> _Flight:
        lookup = Lookup(
            phone_id=phone_id,
            timeouts=timeouts,
            deadline=deadline,
            tallies=(self._tally,),
        )
        flight = self._flights[phone_id] = _Flight(lookup)
        flight.task = task = asyncio.ensure_future(self._fly(flight))
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, flight))
        return flight

    async def _fly(self, flight: _Flight) -> Answer:
        answer = await self._look_up(flight.lookup)
        if self._watch.is_on:
            now = self._clock.now()
            self._watch.lookup(outcome_of(flight.lookup, answer, now))
        self._forget(flight)
        flight.land(answer)  # a turn of the loop sooner than the callback
        return answer

    def _ended(self, flight: _Flight, task: asyncio.Task[Answer]) -> None:
        self._tasks.discard(task)
        self._forget(flight)
        if task.cancelled():
            flight.cancel()
        elif (error := task.exception()) is not None:
            flight.crash(error)
        else:
            flight.land(task.result())  # an eager task ends before anybody waits

    def _forget(self, flight: _Flight) -> None:
        if self._flights.get(flight.lookup.phone_id) is flight:
            del self._flights[flight.lookup.phone_id]

    async def _arrival(
        self, flight: _Flight, deadline: float, seconds: float
    ) -> Answer:
        waiter = flight.board(deadline, deadline - seconds)
        ring = partial(self._ring, flight, waiter, deadline)
        timer = self._clock.call_later(seconds, ring)
        try:
            return await waiter
        finally:
            timer.cancel()
            flight.leave(waiter)
            if not flight.waiters:
                self._forget(flight)

    def _ring(self, flight: _Flight, waiter: Waiter, deadline: float) -> None:
        flight.ring(waiter, deadline, self._clock.now())
