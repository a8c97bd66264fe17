"""`Lifecycle`: opens a client on first use, in one event loop at a time."""

import asyncio
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from diga_async._engine.call import Counters
from diga_async._engine.credentials import Credentials
from diga_async._engine.loop_end import LoopEnd
from diga_async._flow.address_check import AddressCheck
from diga_async._models.errors import ClientClosedError, WrongLoopError
from diga_async._models.options import Timeouts
from diga_async._runtime import Options, Runtime, client_stats

if TYPE_CHECKING:
    from diga_async._models.stats import ClientStats


class Lifecycle:
    """
    The states of one client: not opened, open in a loop, closed.

    Attributes:
        options: The client's options, checked.
        runtime: What it is made of while it is open; else None.
        closed: Whether `close` was called.
    """

    def __init__(
        self, options: Options, credentials: Callable[[], Credentials]
    ) -> None:
        self.options = options
        self.runtime: Runtime | None = None
        self.closed = False
        self._credentials = credentials
        self._counters = Counters()
        self._address = AddressCheck()
        self._opening = threading.Lock()
        self._closing: asyncio.Event | None = None
        self._loop_end = LoopEnd()

    def allowed(self, timeouts: Timeouts | float | None) -> Timeouts:
        """
        Return the timeouts of one call; by default the client's.

        Raises:
            ConfigurationError: They are out of range.
        """
        return self.options.timeouts if timeouts is None else Timeouts.of(timeouts)

    @property
    def stats(self) -> "ClientStats":
        """A snapshot."""
        return client_stats(self._counters, self.options.limits, self.runtime)

    def open(self) -> Runtime:
        """
        Return the runtime in the running loop; make it on first use.

        Raises:
            ClientClosedError: The client is closed.
            WrongLoopError: The client belongs to another loop, thread or process.
        """
        runtime = self.runtime
        if runtime is not None and runtime.is_current:
            return runtime
        with self._opening:
            return self._open()

    def _open(self) -> Runtime:
        if self.closed:
            raise ClientClosedError("the client is closed; make a new one")
        runtime = self.runtime
        if runtime is not None:
            if not runtime.loop.is_closed():
                raise WrongLoopError(
                    "the client belongs to another event loop, thread or process; "
                    "make one for each"
                )
            runtime.abandon()
        self.runtime = Runtime(
            self.options, self._credentials(), self._counters, self._address
        )
        end = partial(_end, weakref.ref(self), self.runtime)
        if not self._loop_end.expect(end):
            self.runtime.keep_no_connections()
        return self.runtime

    def forget(self, runtime: Runtime) -> None:
        """Let the next use open the client anew: the loop of *runtime* has ended."""
        if self.runtime is runtime:
            self.runtime = None

    async def close(self) -> None:
        """
        End everything under way. Idempotent.

        Raises:
            WrongLoopError: The client is open in another loop.
        """
        runtime = self.runtime
        if runtime is not None and not (runtime.loop.is_closed() or runtime.is_current):
            raise WrongLoopError("close the client in the event loop that uses it")
        self.closed = True
        self.runtime = None
        self._loop_end.cancel()
        if runtime is None:
            await self._other_close_ends()
        elif runtime.loop.is_closed():
            runtime.abandon()
        else:
            self._closing = closing = asyncio.Event()
            try:
                await runtime.close()
            finally:
                closing.set()

    async def _other_close_ends(self) -> None:
        if self._closing is not None and not self._closing.is_set():
            await self._closing.wait()


async def _end(lifecycle: "weakref.ref[Lifecycle]", runtime: Runtime) -> None:
    """Close the connections of *runtime* in its loop, which ends."""
    owner = lifecycle()
    if owner is not None:
        owner.forget(runtime)
    await runtime.close_connections()
