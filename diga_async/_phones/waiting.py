"""`wait_until`: polls one phone until it has a status."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any
from uuid import UUID

from diga_async._api.listing import status_of
from diga_async._api.phones import get_phone, phone_id_of
from diga_async._calls import Client, lifecycle_of, send
from diga_async._flow.circuit_breaker import Silence
from diga_async._flow.polling import next_start
from diga_async._flow.retry import is_throttling
from diga_async._models.arguments import not_this
from diga_async._models.errors import (
    ConfigurationError,
    DigaError,
    WaitError,
    WaitTimeoutError,
)
from diga_async._models.options import Timeouts, check_seconds
from diga_async._models.parameters import Statuses
from diga_async._models.phone import Phone, PhoneStatus
from diga_async._runtime import Runtime


def start_wait(  # noqa: PLR0913 - as the method of `Phones`
    client: Client,
    phone_id: UUID | str,
    *,
    status: Statuses,
    every: float,
    timeout: float | None,
    timeouts: Timeouts | float | None,
) -> Coroutine[Any, Any, Phone]:
    """
    Check the arguments; return the coroutine that waits.

    Raises:
        InvalidPhoneIdError: *phone_id* is not a UUID.
        ConfigurationError: Another argument is wrong.
    """
    check_seconds("every", every)
    if timeout is not None:
        check_seconds("timeout", timeout)
    return wait_until(
        _Waiting(
            client,
            phone_id_of(phone_id),
            statuses=_statuses_of(status),
            every=every,
            timeout=timeout,
            timeouts=lifecycle_of(client).allowed(timeouts),
        )
    )


async def wait_until(waiting: "_Waiting") -> Phone:
    """Wait; Python names this function when a program forgets to await it."""
    return await waiting.end()


def _statuses_of(status: object) -> frozenset[str]:
    given = [status] if isinstance(status, str) else status
    if not isinstance(given, Iterable) or isinstance(given, bytes):
        wanted = "status must be a PhoneStatus or text, or an iterable of them"
        raise ConfigurationError(f"{wanted}, {not_this(given)}")
    statuses = list(given)
    if not statuses:
        raise ConfigurationError("status must be at least one status, not none")
    if "" in statuses:
        raise ConfigurationError("status must not be an empty text")
    return frozenset(status_of(status, awaited=True) for status in statuses)


def _named(status: str) -> str:
    known = PhoneStatus(status).known
    return repr(status) if known else f"{status!r} (which this version does not know)"


class _Waiting:
    """One wait: what it polls for, what it has seen, and when it gives up."""

    def __init__(  # noqa: PLR0913 - the arguments of `wait_until`, checked
        self,
        client: Client,
        phone_id: UUID,
        *,
        statuses: frozenset[str],
        every: float,
        timeout: float | None,
        timeouts: Timeouts,
    ) -> None:
        self._client = client
        self._phone_id = phone_id
        self._statuses = statuses
        self._every = every
        self._timeout = timeout
        self._timeouts = timeouts
        self._seen: Phone | None = None
        self._failure: DigaError | None = None
        self._silence: Silence | None = None

    async def end(self) -> Phone:
        """Return the phone once it has one of the statuses."""
        runtime = lifecycle_of(self._client).open()
        if await self._ends_in_time(runtime):
            assert self._seen is not None  # noqa: S101 - it was read
            if self._seen.status in self._statuses:
                return self._seen
            final = f"the phone is finished, which is final: {self._wanted} cannot come"
            raise self._error(WaitError(final))
        if self._failure is None and runtime.engine.breaker.is_open:
            self._failure = runtime.engine.last_error  # it held back the last poll
        late = f"{self._wanted} did not come within {self._timeout:g} s: {self._state}"
        raise self._error(WaitTimeoutError(late)) from self._failure

    @property
    def _wanted(self) -> str:
        return "status " + " or ".join(map(_named, sorted(self._statuses)))

    @property
    def _state(self) -> str:
        last = "the phone was never read"
        if self._seen is not None:
            last = f"the phone is {str(self._seen.status)!r}"
        if self._failure is None:
            return last
        return f"{last}, and the last poll failed: {self._failure.describe()}"

    def _error(self, error: WaitError) -> WaitError:
        error.phone_id = self._phone_id
        error.phone = self._seen
        return error

    async def _ends_in_time(self, runtime: Runtime) -> bool:
        """Poll until nothing more can come; return False past the deadline."""
        # The client's clock ends the wait; `asyncio.timeout` turns that into the
        # cancellation of the poll under way, and into no other.
        limit, timer = asyncio.timeout(None), None
        try:
            async with limit:
                if self._timeout is not None:
                    timer = runtime.engine.clock.call_later(
                        self._timeout, lambda: limit.reschedule(0.0)
                    )
                await self._poll_until_final(runtime)
        except TimeoutError:
            if not limit.expired():
                raise  # of a poll, or of the user's key callable
            return False
        finally:
            if timer is not None:
                timer.cancel()
        return True

    async def _poll_until_final(self, runtime: Runtime) -> None:
        clock = runtime.engine.clock
        final = {*self._statuses, PhoneStatus.FINISHED}
        while True:
            begun = clock.now()
            await self._poll(runtime)
            if self._seen is not None and self._seen.status in final:
                return
            now = clock.now()
            start = next_start(begun, now, self._every, runtime.chance())
            await runtime.sleep(start - now)

    async def _poll(self, runtime: Runtime) -> None:
        """Read the phone; a transient failure waits for the next poll."""
        operation = get_phone(self._phone_id)
        timeouts = self._timeouts
        try:
            self._seen = await send(
                self._client, operation, timeouts=timeouts, bulk=True
            )
        except DigaError as error:
            if not error.transient or self._is_outage_too_long(runtime, error):
                raise
            self._failure = error.with_traceback(None)
        else:
            self._failure = None

    def _is_outage_too_long(self, runtime: Runtime, error: DigaError) -> bool:
        if self._timeout is not None or is_throttling(error):
            return False
        now = runtime.engine.clock.now()
        if self._silence is None:
            # No call of it ever begins: the time between two polls counts as well.
            self._silence = Silence(runtime.engine.breaker)
        self._silence.failed(now)
        return self._silence.left(now) <= 0.0
