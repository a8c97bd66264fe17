"""Checks that there is an API at the client's address."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from diga_async._api.operation import Answer, Operation
from diga_async._engine.call import Call, Counters, status_of
from diga_async._engine.clock import Clock
from diga_async._engine.shared_task import SharedTask
from diga_async._flow.address_check import AddressCheck
from diga_async._models.errors import ConfigurationError
from diga_async._models.options import Timeouts

#: Carries a call to its end.
Carry = Callable[[Call[Any]], Awaitable[Answer[Any]]]


class AddressQuestion:
    """
    Sends a call that every Diga API answers; concurrent runs share the request.

    Args:
        check: What is known.
        control: Makes the call; None to never ask.
        run: Carries the call.
        clock: The time.
        seconds: How long the request may wait until it is sent.
        counters: Where the request is counted.

    Attributes:
        check: What is known.
    """

    def __init__(  # noqa: PLR0913 - parts of an engine, and made by it alone
        self,
        check: AddressCheck,
        control: Callable[[], Operation[Any]] | None,
        run: Carry,
        *,
        clock: Clock,
        seconds: float,
        counters: Counters,
    ) -> None:
        self.check = check
        self._control = control
        self._run = run
        self._clock = clock
        self._seconds = seconds
        self._counters = counters
        self._asking: SharedTask[None] = SharedTask(clock)

    async def ask(self, timeouts: Timeouts) -> None:
        """Ask, once and with one attempt; the answer is then in `check`."""
        if self._control is not None:
            await self._asking.wait(partial(self._ask, self._control(), timeouts))

    async def _ask(self, control: Operation[Any], timeouts: Timeouts) -> None:
        call = Call(
            operation=control,
            timeouts=timeouts,
            deadline=self._clock.now() + self._seconds,
            counters=(self._counters,),
            once=True,
        )
        answer = await self._run(call)
        if call.started is not None:
            self.check.listing_answered(status_of(answer))

    async def close(self) -> None:
        """Cancel the request."""
        await self._asking.close()


def wrong_address(url: object) -> ConfigurationError:
    """Return the error of a run that finds no API."""
    return ConfigurationError(
        f"there is no Diga API at {url}: the listing of phones is not found (404); "
        "check base_url"
    )
