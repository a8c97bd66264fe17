"""
The time limits of attempts, and how long the event loop was blocked.

Timers alone are not enough. When the loop was blocked, by a slow callback or because
the process was stopped, every limit has passed although the answers lie in the
sockets. So an attempt ends only after the loop had turns to read what has arrived,
and its limit moves by the time in which nothing could be read.
"""

import asyncio
from contextvars import Context, ContextVar
from itertools import chain, islice
from math import inf
from time import monotonic
from types import TracebackType
from typing import Protocol, Self

from diga_async._transport.polling import Poller, is_readable

CURRENT: ContextVar["Attempt"] = ContextVar("diga_async_attempt")

EARLY = 1e-3
"""Seconds by which the loop's timers may be early; uvloop counts milliseconds."""

BEAT = 0.1
"""Seconds after which the timer rings at the latest, while attempts are open."""

BLOCKED = 0.1
"""Seconds of a timer's delay from which the loop counts as blocked."""

TURNS = 10
"""
Turns of the loop in which arrived data is read and its task continues.

Each turn of a loop that is blocked again and again reads a little. In one that is not,
ten turns are over in less than a millisecond.
"""

MOST_TURNS = 100
"""Turns for an attempt whose socket always has more."""


class Open(Protocol):
    """
    An open request with its time limit.

    Attributes:
        seconds: How long it may take, not counting time in which the loop was blocked.
        due: When it expires.
        latest: When it expires in any case.
        connected: Whether it has its connection.
        pooled: Whether it waits for a connection of a lent pool.
        expired: Whether its time limit ended it.
        is_late_to_connect: Whether that was the limit of a new connection.
    """

    seconds: float
    due: float
    latest: float
    expired: bool

    @property
    def connected(self) -> bool: ...

    @property
    def pooled(self) -> bool: ...

    @property
    def is_late_to_connect(self) -> bool: ...

    def expire(self) -> None:
        """End it, because its time is over."""

    def extend(self, seconds: float, most: float = inf) -> None:
        """Let it take *seconds* from now instead."""

    def has_more_to_read(self) -> bool:
        """Whether unread bytes have arrived; True only for a limited time."""

    def disconnect(self) -> None:
        """Close its connection."""


class TimeLimits:
    """
    Ends attempts that take too long; one timer for all of them.

    Nearly all attempts may take equally long, so the first to begin is the first to
    end: they form a queue, and only its head is checked. An attempt with a shorter
    limit than those before it is kept separately.

    The clock is the system's, not the loop's: uvloop's does not advance during a turn.

    Attributes:
        blocked: For how many seconds the loop was blocked so far, while attempts were
            open.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.blocked = 0.0
        self._line: dict[Open, None] = {}
        self._apart: dict[Open, None] = {}
        self._connecting: dict[Attempt, None] = {}
        self._latest = 0.0
        self._timer: asyncio.Handle | None = None
        self._rings_at = 0.0
        # A timer keeps the context it was made in. In that of an attempt it would
        # keep the attempt before this one, and so all those before it. One for
        # each loop: a context can be entered by one thread at a time.
        self._context = Context()

    def begin(self, attempt: Open, seconds: float) -> None:
        """Cancel the task of *attempt* after *seconds*, unless it ends before."""
        now = monotonic()
        due = attempt.due = now + seconds
        if due < self._latest and self._line:
            self._apart[attempt] = None
        else:
            self._line[attempt] = None
            self._latest = due
        if self._timer is None:
            self._arm(now, due)
        elif due < self._rings_at:
            self._timer.cancel()
            self._arm(now, due)

    def end(self, attempt: Open) -> None:
        """Stop the time limit of *attempt*."""
        if self._line.pop(attempt, self) is self:
            self._apart.pop(attempt, None)
        if self._timer is not None and not self._line and not self._apart:
            self._timer.cancel()
            self._timer = None

    def begin_to_connect(self, attempt: "Attempt", seconds: float) -> None:
        """Cancel the task of *attempt* after *seconds*, unless it connects before."""
        now = monotonic()
        attempt.connect_due = now + seconds
        self._connecting[attempt] = None
        if attempt.connect_due < self._rings_at and self._timer is not None:
            self._timer.cancel()
            self._arm(now, attempt.connect_due)

    def end_to_connect(self, attempt: "Attempt") -> None:
        """Stop the time limit of a new connection."""
        self._connecting.pop(attempt, None)

    def _arm(self, now: float, due: float) -> None:
        delay = max(0.0, min(due - now, BEAT))
        self._rings_at = now + delay
        self._timer = self.loop.call_later(delay, self._ring, context=self._context)

    def _ring(self) -> None:
        now = monotonic()
        late = now - self._rings_at
        if late >= BLOCKED:
            self._stood_still(late)
        if self._first_due() <= now + EARLY:
            self._let_read(TURNS)
        else:
            self._arm(now, self._first_due())

    def _first_due(self) -> float:
        heads = chain(islice(self._line, 1), self._apart)
        dues = chain(
            (attempt.due for attempt in heads),
            (attempt.connect_due for attempt in self._connecting),
        )
        return min(dues, default=inf)

    def _stood_still(self, seconds: float) -> None:
        """Move every limit by time in which nothing could be read."""
        self.blocked += seconds
        self._latest += seconds
        for attempt in tuple(chain(self._line, self._apart)):
            moved = attempt.due + seconds
            attempt.due = min(moved, max(attempt.due, attempt.latest))
            if attempt.due < moved:  # no longer in order
                self._line.pop(attempt, None)
                self._apart[attempt] = None
        for attempt in self._connecting:
            attempt.connect_due += seconds

    def _let_read(self, turns: int) -> None:
        """Expire what is due, but only after *turns* turns of the loop."""
        if turns:
            self._timer = self.loop.call_soon(
                self._let_read, turns - 1, context=self._context
            )
            return
        now = monotonic()
        for late in tuple(self._connecting):
            if late.connect_due <= now + EARLY:
                del self._connecting[late]
                late.is_late_to_connect = True
                self.end(late)
                late.expire()
        for attempt in tuple(chain(self._line, self._apart)):
            if attempt.due <= now + EARLY and not attempt.has_more_to_read():
                self._line.pop(attempt, None)
                self._apart.pop(attempt, None)
                attempt.expire()
        self._timer = None
        if self._line or self._apart:
            self._arm(now, self._first_due())


class Attempt:
    """
    One request on its way: its time limit, and how far it has come.

    Args:
        limits: End it.
        seconds: How long it may take, not counting time in which the loop was blocked.
        connect: How long a new connection may take.
        most: How long it may take in any case.
        fresh: Whether it needs a connection that no request has used.
    """

    __slots__ = (
        "_cancelling",
        "_connect",
        "_limits",
        "_most",
        "_task",
        "_turns",
        "connect_due",
        "connected",
        "connection",
        "due",
        "expired",
        "fresh",
        "hook_error",
        "is_late_to_connect",
        "latest",
        "loss",
        "pooled",
        "seconds",
        "sent",
        "swallowed",
    )

    def __init__(
        self,
        limits: TimeLimits,
        seconds: float,
        *,
        connect: float = inf,
        most: float = inf,
        fresh: bool = False,
    ) -> None:
        self._limits = limits
        self.seconds = seconds
        self._connect = connect
        self.due = self.latest = self.connect_due = inf
        self.is_late_to_connect = False
        self._most = most
        self._turns = 0
        self.fresh = fresh
        self.expired = False
        self.sent = False
        self.connected = False
        self.pooled = False
        self.connection: asyncio.BaseTransport | None = None
        self.loss: Exception | None = None
        self.hook_error: BaseException | None = None
        self.swallowed: asyncio.CancelledError | None = None

    # As asyncio.timeout does it, at a fraction of its cost.
    def __enter__(self) -> Self:
        self._task = task = asyncio.current_task(self._limits.loop)
        assert task is not None  # noqa: S101 - for the type checker
        self._cancelling = task.cancelling()
        self.latest = monotonic() + self._most
        self._limits.begin(self, self.seconds)
        CURRENT.set(self)
        return self

    def extend(self, seconds: float, most: float = inf) -> None:
        """Let it take *seconds* from now instead."""
        self._limits.end(self)
        self.latest = monotonic() + most
        self._limits.begin(self, seconds)

    def begin_to_connect(self) -> None:
        """Start the time limit of a new connection."""
        self._limits.begin_to_connect(self, self._connect)

    def end_to_connect(self) -> None:
        """Stop the time limit of a new connection."""
        self._limits.end_to_connect(self)

    def expire(self) -> None:
        """End it, because its time is over."""
        self.expired = True
        assert self._task is not None  # noqa: S101 - for the type checker
        self._task.cancel()

    def break_off(self, error: BaseException) -> None:
        """End it soon, because a hook of the user raised *error*."""
        if self.hook_error is None:
            self.hook_error = error
            # Not now: a task that cancels itself may end before it notices.
            self._limits.loop.call_soon(self._interrupt, context=Context())

    def _interrupt(self) -> None:
        if self._task is not None and not self.expired:
            self._limits.end(self)
            self.expire()

    def has_more_to_read(self) -> bool:
        """Whether unread bytes have arrived; True only for a limited time."""
        self._turns += 1
        return self._turns <= MOST_TURNS and is_readable(self.connection, Poller())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._limits.end(self)
        task, self._task = self._task, None
        if not self.expired or task is None:
            return
        # Only our own cancellation becomes a timeout; anyone else's propagates.
        if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from None

    @property
    def is_cancelled(self) -> bool:
        """Whether its task was cancelled, by the time limit or by anyone else."""
        return self._task is not None and self._task.cancelling() > self._cancelling

    def disconnect(self) -> None:
        """Close its connection, even where that was released in the meantime."""
        if self.connection is not None:
            self.connection.close()
