"""`diga phone fetch`: many phones, to a file or to standard output."""

import asyncio
import sys
from contextlib import AbstractContextManager, AsyncExitStack
from pathlib import Path

import attrs
from rich.console import RenderableType

from diga_async import (
    APIConnectionError,
    DigaClient,
    DigaError,
    Failed,
    Missing,
    PhoneLookups,
)
from diga_async._cli.client_options import ClientOptions
from diga_async._cli.display import run_view
from diga_async._cli.ending import (
    Hints,
    code_at_the_end,
    note_what_is_there,
    problem_in,
)
from diga_async._cli.exit_codes import (
    CommandError,
    ExitCode,
    message_of,
    usage_error,
)
from diga_async._cli.feed import Feed, WholeFeed, feed_of
from diga_async._cli.input_file import InputFile, input_file
from diga_async._cli.invocation import Invocation
from diga_async._cli.output_file import (
    OutputFile,
    format_of,
    output_file,
    refuse_existing,
)
from diga_async._cli.progress import Standing, server_limit, summary
from diga_async._cli.reporting import Reporter
from diga_async._cli.rows import Format
from diga_async._cli.signals import Interruption
from diga_async._cli.standard_output import StandardOutput, standard_output
from diga_async._cli.terminal import Messages, counted, is_terminal, say
from diga_async._models.outcomes import row_of
from diga_async._models.parameters import Via

#: What is in flight at the first Ctrl-C gets this long to finish.
DRAIN_SECONDS = 10.0

#: The number of ids counts each line: only the end tells how many are distinct.
_ONCE = ", repeated ones once"

Output = OutputFile | StandardOutput


@attrs.frozen(kw_only=True)
class Job:
    """
    The options of a fetch.

    Attributes:
        invocation: The command line, for hints.
        file: Where the ids are; ``-`` is standard input.
        out: Where the rows go; None is standard output.
        resume: Whether to continue an OUT that exists.
        retry_failed: Whether its failed rows are looked up again.
        column: The name of the column of ids; None to find it.
        csv_raw: Whether cells that a spreadsheet would run stay as they are.
        via: How the phones are read, as `Phones.iter_many` has it.
        messages: What the user is told.
        form: The format of *out*, made from its name.

    Raises:
        CommandError: The name of *out* names no known format.
    """

    invocation: Invocation
    file: str
    out: Path | None
    resume: bool = False
    retry_failed: bool = False
    column: str | None = None
    csv_raw: bool = False
    via: Via = "each"
    messages: Messages = Messages()  # noqa: RUF009 - frozen
    form: Format | None = attrs.field(init=False)

    @form.default
    def _form_of_out(self) -> Format | None:
        return None if self.out is None else format_of(self.out, csv_raw=self.csv_raw)

    @property
    def goes_on(self) -> bool:
        """Whether an OUT that exists is accepted."""
        return self.resume or self.retry_failed

    def open_input(self) -> AbstractContextManager[InputFile]:
        """Open what holds the ids."""
        return input_file(self.file, column=self.column)

    def check_input(self, source: InputFile) -> None:
        """
        Reject an input before anything is written.

        Raises:
            CommandError: It holds no ids, or it is OUT, or OUT exists.
        """
        if self.out is None:
            if source.is_same_file(sys.stdout.fileno()):
                raise usage_error(f"standard output is {source.name} itself")
        elif source.is_same_file(str(self.out)):
            raise usage_error(
                f"FILE and OUT are the same file, {self.out}; nothing was touched"
            )
        elif not self.goes_on:
            refuse_existing(self.out)
        source.find_id()
        if source.reader.header is not None:
            self.messages.note(f"the ids are in column {source.reader.header!r}")

    def feed(self, source: InputFile, output: Output) -> Feed | WholeFeed:
        """
        Return the ids that have no row yet.

        Raises:
            CommandError: They are to be read to their end first, and cannot be.
        """
        is_whole = self.via != "each"
        if is_whole and not source.is_regular:
            self.messages.note(f"--via {self.via}: reading all ids before the lookups")
        return feed_of(source, output.done, whole=is_whole)

    def open_output(self) -> AbstractContextManager[Output]:
        """Open what the rows go to."""
        if self.out is None or self.form is None:
            return standard_output()
        return output_file(
            self.out, self.form, resume=self.goes_on, retry_failed=self.retry_failed
        )

    def again(self, *options: str) -> str:
        """Write the command with the same options, but *options* for going on."""
        out = () if self.out is not None else ("-o", "OUT.jsonl")
        return self.invocation.again(
            [self.file], *out, *options, without=("resume", "retry_failed")
        )


@attrs.define(eq=False, kw_only=True)
class _Run:
    """One run: ids from *source* through *feed*, rows to *output*."""

    client: DigaClient
    options: ClientOptions
    messages: Messages
    lookups: PhoneLookups
    source: InputFile
    feed: Feed | WholeFeed
    output: Output
    interruption: Interruption

    async def go(self) -> None:
        """
        Write a row for each id.

        Raises:
            CommandError: Rows can no longer be written, or ids no longer be read;
                or the first Ctrl-C came.
            DigaError: The run ended early.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        self.interruption.listen(lambda: self._drain(task), task.cancel)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.client)
            await stack.enter_async_context(self.lookups)
            await stack.enter_async_context(self._reporter().reporting())
            async for outcome in self.lookups:
                if isinstance(outcome, Failed):
                    self._take_failure(outcome)
                elif isinstance(outcome, Missing):
                    self.output.failures.add_missing(str(outcome.phone_id))
                await self.output.write(row_of(outcome))

    def _take_failure(self, outcome: Failed) -> None:
        """
        Note a failed id, unless every other one would fail alike.

        Raises:
            DigaError: The server was never reached, and another attempt would fail
                for the same reason, such as its certificate.
        """
        error, stats = outcome.error, self.client.stats
        is_lost = isinstance(error, APIConnectionError) and not error.transient
        if is_lost and stats.lost == stats.requests - stats.in_flight:
            raise error
        self.output.failures.add(outcome)

    @property
    def has_answer(self) -> bool:
        """Whether the server answered a request of this run as Diga does."""
        stats = self.client.stats
        is_known = stats.found or stats.missing or stats.listed
        return bool(is_known or self.output.failures.has_answer)

    def _drain(self, task: asyncio.Task[None]) -> None:
        """Send nothing more; write what is in flight, within a bound."""
        self.feed.stop()
        # A request has a limit of its own; a pager that reads the rows has none.
        asyncio.get_running_loop().call_later(DRAIN_SECONDS, task.cancel)
        self.lookups.halt(CommandError(ExitCode.INTERRUPTED, "interrupted"))
        if in_flight := self.lookups.stats.in_flight:
            requests = counted(in_flight, "request")
            self.messages.note(f"finishing {requests}; Ctrl-C again to stop now")
        else:
            self.messages.note("interrupted")

    def _reporter(self) -> Reporter:
        # Rows on the screen are progress enough, and a bar would mix with them.
        has_rows = isinstance(self.output, StandardOutput) and is_terminal(sys.stdout)
        total = self._total
        what = "ids" if total is None else counted(total, "id")
        but = "" if isinstance(self.feed, WholeFeed) or total == 1 else _ONCE
        if isinstance(self.output, OutputFile) and self.output.outcomes.total():
            but += f", except those in {self.output.path}"
        return Reporter(
            client=self.client,
            server=self.options.server,
            is_ending=lambda: self.interruption.count > 0,
            messages=self.messages,
            announcement=f"looking up {what} at {self.options.server}{but}",
            line=lambda silence: self._standing().line(silence),
            view=None if has_rows else self._view,
        )

    @property
    def _total(self) -> int | None:
        is_read = isinstance(self.feed, WholeFeed)
        return self.source.given if is_read else self.source.total

    def _view(self) -> RenderableType:
        return run_view(self._standing())

    def _standing(self) -> Standing:
        stats, client = self.lookups.stats, self.client.stats
        delivered = stats.found + stats.missing + stats.failed
        total = self._total
        # What the input repeats, or OUT has, is done without a lookup.
        done = self.source.given - self.feed.taken + delivered
        return Standing(
            outcomes=self.output.outcomes,
            stats=stats,
            settled=delivered if total is None else done,
            total=total,
            outage=client.outage,
            limit=server_limit(client),
        )


def fetch_phones(options: ClientOptions, job: Job) -> ExitCode:
    """
    Look up every id that has no row yet, and write its row.

    Returns:
        The exit code, judged over the whole of the output.

    Raises:
        CommandError: Nothing was started.
    """
    client = options.client(job.messages)
    with Interruption() as interruption, job.open_input() as source:
        job.check_input(source)
        with job.open_output() as output:
            note_what_is_there(job.messages, output)
            feed = job.feed(source, output)
            run = _Run(
                client=client,
                options=options,
                messages=job.messages,
                lookups=client.phones.iter_many(feed, via=job.via),
                source=source,
                feed=feed,
                output=output,
                interruption=interruption,
            )
            problem = problem_in(lambda: asyncio.run(run.go()))
            problem = problem_in(output.finish) or problem
            code = code_at_the_end(
                problem, output, interruption, otherwise=_code_of_rows(output)
            )
            _conclude(job, run, problem, code)
            if problem is not None:
                _hint_how_to_go_on(job, run, problem, code)
            elif interruption.count:
                job.messages.note(_how_to_go_on(job))
            else:
                _tell_failures(job, run)
            if code is ExitCode.USAGE and isinstance(output, OutputFile):
                output.remove_if_untouched()
            return code


def _tell_failures(job: Job, run: _Run) -> None:
    failures = run.output.failures
    for line in failures.lines():
        job.messages.note(line)
    source = "the input" if job.file == "-" else job.file
    retry = None if job.out is None else job.again("--retry-failed")
    is_unheard = run.client.stats.requests > 0 and not run.has_answer
    check = job.invocation.check() if is_unheard else None
    if advice := failures.advice(source, retry, check):
        job.messages.note(advice)


def _code_of_rows(output: Output) -> ExitCode:
    others = output.outcomes["missing"] + output.outcomes["failed"]
    return ExitCode.NOT_ALL_FOUND if others else ExitCode.ALL_FOUND


def _conclude(
    job: Job, run: _Run, problem: CommandError | DigaError | None, code: ExitCode
) -> None:
    """Tell how many rows there are, and why the run ended early."""
    reader, output = run.source.reader, run.output
    if reader.left_out:
        rows = counted(reader.left_out, "row")
        job.messages.note(f"left out {rows} of {run.source.name} that are not failed")
    elif not reader.read and problem is None:
        job.messages.note(f"no ids in {run.source.name}, only a header")
    if not (isinstance(output, OutputFile) and output.is_damaged):
        for line in summary(output.outcomes, run.lookups.stats):
            job.messages.note(line)
    if problem is not None and code is not ExitCode.INTERRUPTED:
        say(f"stopped early: {message_of(problem)}")


def _hint_how_to_go_on(
    job: Job, run: _Run, problem: CommandError | DigaError, code: ExitCode
) -> None:
    if code is ExitCode.USAGE:
        return
    hints = Hints(
        options=run.options,
        check=job.invocation.check(),
        go_on=_how_to_go_on(job),
        has_out=job.out is not None,
    )
    hint = hints.after(
        None if code is ExitCode.INTERRUPTED else problem,
        has_answer=run.has_answer or run.client.stats.requests == 0,
    )
    if hint is not None:
        job.messages.note(hint)


def _how_to_go_on(job: Job) -> str:
    if job.out is None:
        return f"to be able to go on, write to a file: {job.again()}"
    same_ids = ", with the same ids on standard input" if job.file == "-" else ""
    return f"to go on{same_ids}: {job.again('--resume')}"
