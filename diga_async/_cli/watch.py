"""`diga phone watch`: a line for each change of a phone."""

import asyncio
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs
from rich.console import Console

from diga_async import Change, Phone, PhoneChanges, WatchStats
from diga_async._cli.client_options import ClientOptions
from diga_async._cli.display import change_line, console_for
from diga_async._cli.ending import code_at_the_end, problem_in
from diga_async._cli.exit_codes import ExitCode, message_of
from diga_async._cli.reporting import BULLETIN_SECONDS, Reporter
from diga_async._cli.rows import json_text
from diga_async._cli.signals import Interruption
from diga_async._cli.standard_output import StandardOutput, standard_output
from diga_async._cli.terminal import Messages, counted, is_terminal, say


@attrs.frozen(kw_only=True)
class WatchJob:
    """
    The options of a watch.

    Attributes:
        phone_ids: The phones; empty for every phone that the listing shows.
        every: Seconds from poll to poll.
        messages: What the user is told.
    """

    phone_ids: Collection[UUID] = ()
    every: float = 60.0
    messages: Messages = Messages()  # noqa: RUF009 - frozen


class PollNotices:
    """Decides what to say about the polls of a watch; it is pure."""

    def __init__(self) -> None:
        self._has_begun = False
        self._fails = False

    def lines(
        self, stats: WatchStats, phones: Mapping[UUID, Phone | None]
    ) -> Iterator[str]:
        """Yield what is new since the last call."""
        if stats.seconds_since_success is not None and not self._has_begun:
            self._has_begun = True
            yield _baseline(phones)
        fails = stats.failed_polls > 0
        if fails and not self._fails and stats.last_error is not None:
            yield f"polls fail, and go on: {message_of(stats.last_error)}"
        elif self._fails and not fails:
            yield "polls succeed again"
        self._fails = fails


def _baseline(phones: Mapping[UUID, Phone | None]) -> str:
    gone = sum(phone is None for phone in phones.values())
    missing = f", {gone:,} missing" if gone else ""
    found = counted(len(phones) - gone, "phone")
    return f"the first poll found {found}{missing}; waiting for changes"


def row_of_change(change: Change) -> dict[str, Any]:
    """Return *change* as JSON types."""
    return {
        "phone_id": str(change.phone_id),
        "before": change.before and change.before.to_dict(),
        "after": change.after and change.after.to_dict(),
        "fields": sorted(change.fields),
    }


@attrs.define(eq=False, kw_only=True)
class _Run:
    """One watch; its changes go to *output*."""

    job: WatchJob
    changes: PhoneChanges
    reporter: Reporter
    interruption: Interruption
    output: StandardOutput | Console

    async def go(self) -> None:
        """
        Print changes until nothing can change any more, or a signal comes.

        Raises:
            CommandError: They can no longer be printed.
            DigaError: The watch ended early.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        self.interruption.listen(task.cancel)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.reporter.client)
            await stack.enter_async_context(self.reporter.reporting())
            changes = await stack.enter_async_context(self.changes)
            noticing = asyncio.create_task(self._notice())
            stack.callback(noticing.cancel)
            async for change in changes:
                await self._print(change)

    async def _print(self, change: Change) -> None:
        if isinstance(self.output, StandardOutput):
            text = json_text(row_of_change(change))
            await self.output.write_bytes(f"{text}\n".encode())
        else:
            now = datetime.now().astimezone()
            self.output.print(change_line(change, now), soft_wrap=True)

    async def _notice(self) -> None:
        notices = PollNotices()
        while True:
            await asyncio.sleep(BULLETIN_SECONDS)
            for line in notices.lines(self.changes.stats, self.changes.phones):
                self.job.messages.note(line)


def watch_phones(options: ClientOptions, job: WatchJob) -> ExitCode:
    """
    Print a line for each change until Ctrl-C, or until every phone is finished.

    Raises:
        CommandError: An option is wrong; nothing was sent.
    """
    client = options.client(job.messages)
    changes = client.phones.watch(job.phone_ids or None, every=job.every)
    what = counted(len(job.phone_ids), "phone") if job.phone_ids else "all phones"
    job.messages.note(
        f"watching {what} at {options.server} every {job.every:g} s; Ctrl-C ends it"
    )
    reporter = Reporter(
        client=client,
        server=options.server,
        messages=job.messages,
        in_the_end="the watch goes on, Ctrl-C ends it",
    )
    with Interruption() as interruption, standard_output() as output:
        run = _Run(
            job=job,
            changes=changes,
            reporter=reporter,
            interruption=interruption,
            output=console_for(sys.stdout) if is_terminal(sys.stdout) else output,
        )
        problem = problem_in(lambda: asyncio.run(run.go()))
        code = code_at_the_end(
            problem, output, interruption, otherwise=ExitCode.ALL_FOUND
        )
        if interruption.count:
            job.messages.note("interrupted")
        elif problem is not None:
            say(options.with_remedy(problem))
        else:
            job.messages.note("every phone is finished; nothing can change any more")
        return code
