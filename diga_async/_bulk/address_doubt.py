"""Holds back the 404s of a run until the address is known to be right."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from diga_async._flow.address_check import AddressCheck
from diga_async._models.errors import ConfigurationError


class AddressDoubt:
    """
    Checks the address at the first 404 of a run.

    The run continues meanwhile; only its 404s wait for the answer. Without an
    answer they count as missing records, and the next run asks again.

    Args:
        check: What the client knows about its address.
        ask: Asks the server; the answer is then in *check*.
        wrong: Makes the error of a wrong address.
        halt: Ends the run with an error.
        on_end: Called after the question has ended.
    """

    def __init__(
        self,
        check: AddressCheck,
        *,
        ask: Callable[[], Coroutine[Any, Any, None]],
        wrong: Callable[[], ConfigurationError],
        halt: Callable[[BaseException], None],
        on_end: Callable[[], None],
    ) -> None:
        self._check = check
        self._ask = ask
        self._wrong = wrong
        self._halt = halt
        self._on_end = on_end
        self._held: list[Callable[[], None]] = []
        self._is_over = False
        self._task: asyncio.Task[None] | None = None

    @property
    def question(self) -> asyncio.Task[None] | None:
        """The task that asks; None when there is none."""
        return self._task

    def holds(self, resolve: Callable[[], None]) -> bool:
        """
        Return whether a 404 is held back.

        Args:
            resolve: Called when it turns out to be a missing record.
        """
        if self._check.is_right or self._is_over:
            return False
        if self._check.is_right is False:
            self._halt(self._wrong())
            return True
        self._held.append(resolve)
        if self._task is None:
            self._task = asyncio.ensure_future(self._ask())
            self._task.add_done_callback(self._ended)
        return True

    def cancel(self) -> None:
        """Cancel the check; the 404s held back stay without a result."""
        self._held.clear()
        if self._task is not None:
            self._task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        held, self._held = self._held, []
        if self._check.is_right is False:
            self._halt(self._wrong())
        elif not task.cancelled() and (error := task.exception()) is not None:
            self._halt(error)
        else:
            self._is_over = True
            for resolve in held:
                resolve()
        self._on_end()
