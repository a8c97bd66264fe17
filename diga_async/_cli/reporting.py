"""The progress and notices of a command on standard error."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
from rich.console import RenderableType

from diga_async import DigaClient, RetryPolicy
from diga_async._cli.display import can_redraw, console_for, live
from diga_async._cli.progress import Bulletin, Line
from diga_async._cli.terminal import Messages

BULLETIN_SECONDS = 0.5


def ends_after_an_outage(what: str) -> str:
    """Return what becomes of *what* if the server stays silent."""
    seconds = RetryPolicy().max_outage
    return f"{what} ends after {seconds:.0f} s of that, Ctrl-C ends it now"


@attrs.frozen(kw_only=True)
class Reporter:
    """
    Shows the progress of a command while a block lasts.

    Attributes:
        client: Its statistics tell whether the server answers.
        server: The server of the command.
        messages: Where lines go.
        polls: Whether it sends requests at intervals, not all the time.
        is_ending: Whether the command is about to end: then nothing is reported.
        in_the_end: What becomes of the command if the server stays silent.
        announcement: The first line, where no bar is drawn; None for none.
        line: Writes the periodic line where no bar is drawn; None for none.
        view: Draws the bar; None for none.
    """

    client: DigaClient
    server: str
    messages: Messages
    polls: bool = False
    is_ending: Callable[[], bool] = bool
    in_the_end: str = ends_after_an_outage("the run")
    announcement: str | None = None
    line: Line | None = None
    view: Callable[[], RenderableType] | None = None

    @asynccontextmanager
    async def reporting(self) -> AsyncIterator[None]:
        """Report until the block ends."""
        console = console_for(sys.stderr)
        redraws = can_redraw(console)
        if not redraws and self.announcement is not None:
            self.messages.note(self.announcement)
        task = asyncio.create_task(self._report(periodic=not redraws))
        try:
            if redraws and self.view is not None and not self.messages.quiet:
                async with live(console, self.view):
                    yield
            else:
                yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _report(self, *, periodic: bool) -> None:
        line = self.line or str
        bulletin = Bulletin(
            self.server,
            self.in_the_end,
            time.monotonic(),
            periodic=periodic and self.line is not None,
            polls=self.polls,
        )
        while True:
            await asyncio.sleep(BULLETIN_SECONDS)
            if self.is_ending():
                return
            for text in bulletin.lines(time.monotonic(), self.client.stats, line):
                self.messages.note(text)
