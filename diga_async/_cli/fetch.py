"""`diga phone fetch`: many phones, to a file or to standard output."""

import asyncio
import shlex
import sys
from collections.abc import Callable
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    nullcontext,
    suppress,
)
from pathlib import Path

import attrs
from rich.console import RenderableType

from diga_async import DigaClient, DigaError, PhoneLookups
from diga_async._cli.display import Standing, console_for, live, run_view, summary
from diga_async._cli.exit_codes import CommandError, ExitCode, code_of
from diga_async._cli.feed import Feed, Input, feed_of, input_lines
from diga_async._cli.output_file import OutputFile, format_of, output_file
from diga_async._cli.rows import row_of
from diga_async._cli.signals import Interruption
from diga_async._cli.standard_output import StandardOutput, standard_output
from diga_async._cli.terminal import is_terminal, say

Output = OutputFile | StandardOutput


@attrs.frozen(kw_only=True)
class Job:
    """
    What is to be fetched.

    Attributes:
        file: Where the ids are; ``-`` is standard input.
        out: Where the rows go; None is standard output.
        resume: Whether to go on with an OUT that is there.
        retry_failed: Whether its failed rows are to be asked again.

    Raises:
        CommandError: The name of *out* asks for no format.
    """

    file: str
    out: Path | None
    resume: bool = False
    retry_failed: bool = False

    def __attrs_post_init__(self) -> None:
        """Refuse a name before anything is touched."""
        if self.out is not None:
            format_of(self.out)

    def open_output(self) -> AbstractContextManager[Output]:
        """Open what the rows go to."""
        if self.out is None:
            return standard_output()
        resume = self.resume or self.retry_failed
        return output_file(self.out, resume=resume, retry_failed=self.retry_failed)

    def again(self, *options: str) -> str:
        """Write the command that does the same again, with *options*."""
        out = "OUT.jsonl" if self.out is None else str(self.out)
        return shlex.join(["diga", "phone", "fetch", self.file, "-o", out, *options])


@attrs.define(eq=False)
class _Run:
    """One run: ids from *source* through *feed*, rows to *output*."""

    client: DigaClient
    lookups: PhoneLookups
    source: Input
    feed: Feed
    output: Output
    interruption: Interruption

    async def go(self) -> None:
        """
        Write a row for each id.

        Raises:
            CommandError: There is no writing or no reading any more.
            DigaError: The run ended early.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        self.interruption.listen(self._drain, task.cancel)
        async with self.client, self.lookups, self._live():
            async for outcome in self.lookups:
                await self.output.write(row_of(outcome))

    def _drain(self) -> None:
        self.feed.stop()
        left = self.feed.taken - self._handed_out
        say(f"finishing {left:,} lookups; Ctrl-C again to stop now")

    @property
    def _handed_out(self) -> int:
        stats = self.lookups.stats
        return stats.found + stats.missing + stats.failed

    def _live(self) -> AbstractAsyncContextManager[None]:
        # Rows on the screen and a bar that redraws itself get in each other's way.
        alone = isinstance(self.output, OutputFile) or not is_terminal(sys.stdout)
        return live(console_for(sys.stderr), self._view) if alone else nullcontext()

    def _view(self) -> RenderableType:
        source, handed_out = self.source, self._handed_out
        settled = source.read - self.feed.taken + handed_out
        total = None if source.total is None else max(source.total, source.read)
        return run_view(
            Standing(
                outcomes=self.output.outcomes,
                stats=self.lookups.stats,
                settled=handed_out if total is None else settled,
                total=total,
                outage=self.client.stats.outage,
            )
        )


def fetch(make_client: Callable[[], DigaClient], job: Job) -> ExitCode:
    """
    Look up every id that has no row yet, and write its row.

    Returns:
        The exit code, judged over the whole of the output.

    Raises:
        CommandError: Nothing was begun, or the output cannot be closed.
        DigaError: The client cannot be made.
    """
    client = make_client()
    with (
        Interruption() as interruption,
        input_lines(job.file) as source,
        job.open_output() as output,
    ):
        _say_what_is_there(output)
        feed = feed_of(source, output.done, _say_header)
        lookups = client.phones.iter_many(feed)
        problem = _run(_Run(client, lookups, source, feed, output, interruption))
        code = _code(problem, output, interruption)
        for line in summary(output.outcomes, lookups.stats):
            say(line)
        _say_how_to_go_on(job, output, code, problem)
        return code


def _run(run: _Run) -> CommandError | DigaError | None:
    """Return what ended the run early, signals aside."""
    try:
        # The second signal breaks it off: what has no row will be asked again.
        with suppress(asyncio.CancelledError, KeyboardInterrupt):
            asyncio.run(run.go())
    except (CommandError, DigaError) as error:
        return error
    return None


def _code(
    problem: CommandError | DigaError | None, output: Output, interruption: Interruption
) -> ExitCode:
    if interruption.count:
        return ExitCode.INTERRUPTED
    if problem is not None:
        return code_of(problem, otherwise=ExitCode.STOPPED)
    others = output.outcomes["missing"] + output.outcomes["failed"]
    return ExitCode.NOT_ALL_FOUND if others else ExitCode.ALL_FOUND


def _say_header(header: str) -> None:
    say(f"passed over the header {header!r}")


def _say_what_is_there(output: Output) -> None:
    if output.torn_bytes:
        say("the last row was torn; it was cut off")
    if output.outcomes.total():
        say(f"{output.outcomes.total():,} rows are there already")


def _say_how_to_go_on(
    job: Job, output: Output, code: ExitCode, problem: CommandError | DigaError | None
) -> None:
    if problem is not None:
        say(f"stopped early: {problem}")
    if code not in {ExitCode.ALL_FOUND, ExitCode.NOT_ALL_FOUND}:
        say(_how_to_go_on(job))
    elif output.outcomes["failed"] and job.out is not None:
        say(f"to ask again for what failed: {job.again('--retry-failed')}")


def _how_to_go_on(job: Job) -> str:
    if job.out is None:
        return f"a run that writes to a file can be gone on with: {job.again()}"
    return f"to go on: {job.again('--resume')}"
