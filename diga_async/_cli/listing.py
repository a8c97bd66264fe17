"""`diga phone list`: the phones of the project, to a table, a file or a pipe."""

import asyncio
import sys
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs
from rich.console import RenderableType

from diga_async import (
    DigaClient,
    InvalidResponseError,
    Phone,
    PhoneListing,
    PhoneStatus,
    UnprocessableEntityError,
)
from diga_async._cli.client_options import ClientOptions
from diga_async._cli.display import list_view
from diga_async._cli.ending import (
    Hints,
    Output,
    Problem,
    code_at_the_end,
    note_what_is_there,
    problem_in,
)
from diga_async._cli.exit_codes import ExitCode, message_of, usage_error
from diga_async._cli.filters import refused_filter
from diga_async._cli.ids import key_of
from diga_async._cli.invocation import Invocation
from diga_async._cli.output_file import (
    OutputFile,
    format_of,
    output_file,
    refuse_existing,
    suffix_message,
)
from diga_async._cli.phone_rows import IdLines, PhoneCsv, PhoneLines
from diga_async._cli.progress import ListStanding, server_limit
from diga_async._cli.reporting import Reporter
from diga_async._cli.rows import Format
from diga_async._cli.signals import Interruption
from diga_async._cli.standard_output import standard_output
from diga_async._cli.table import PhoneTable
from diga_async._cli.terminal import Messages, counted, is_terminal, say


def format_of_list(out: Path | None, *, ids_only: bool, csv_raw: bool) -> Format:
    """
    Return how the rows of a listing are written.

    Raises:
        CommandError: The name of *out* names no known format.
    """
    if not ids_only:
        if out is None:
            return PhoneLines()
        return format_of(out, csv_raw=csv_raw, lines=PhoneLines, table=PhoneCsv)
    if out is None or out.suffix.lower() == ".txt":
        return IdLines()
    if out.suffix.lower() == ".csv":
        return IdLines(b"id\n")
    raise usage_error(suffix_message(out, ".txt or .csv with --ids"))


@attrs.frozen(kw_only=True)
class ListJob:
    """
    The options of a listing.

    Attributes:
        invocation: The command line, for hints.
        filters: The arguments of `Phones.list`.
        out: Where the rows go; None is standard output.
        resume: Whether to continue an OUT that exists.
        ids_only: Whether a row is an id and nothing else.
        csv_raw: Whether cells that a spreadsheet would run stay as they are.
        messages: What the user is told.
        form: How rows are written, made from the name of *out*.

    Raises:
        CommandError: The name of *out* names no known format.
    """

    invocation: Invocation
    filters: dict[str, Any] = attrs.field(factory=dict)
    out: Path | None = None
    resume: bool = False
    ids_only: bool = False
    csv_raw: bool = False
    messages: Messages = Messages()  # noqa: RUF009 - frozen
    form: Format = attrs.field(init=False)

    @form.default
    def _form_of_out(self) -> Format:
        return format_of_list(self.out, ids_only=self.ids_only, csv_raw=self.csv_raw)

    @property
    def query(self) -> dict[str, Any]:
        """The filters; a status that the library does not know gets no warning."""
        status = self.filters.get("status")
        return {**self.filters, "status": status and PhoneStatus(status)}

    def open_output(self) -> AbstractContextManager[Output]:
        """
        Open what the rows go to.

        Raises:
            CommandError: OUT exists, or cannot be used.
        """
        if self.out is None:
            if is_terminal(sys.stdout) and not self.ids_only:
                return nullcontext(PhoneTable())
            return standard_output(self.form)
        if not self.resume:
            refuse_existing(self.out)
        return output_file(self.out, self.form, resume=self.resume)

    def how_to_go_on(self) -> str:
        """Return the hint that follows an early end."""
        if self.out is not None:
            again = self.invocation.again((), "--resume", without=["resume"])
            return f"to go on: {again}"
        out = "OUT.txt" if self.ids_only else "OUT.jsonl"
        again = self.invocation.again((), "-o", out, without=["resume"])
        return f"to be able to go on, write to a file: {again}"


@attrs.define(eq=False, kw_only=True)
class _Run:
    """
    One listing, from page to row.

    Attributes:
        passed_over: The ids of the records that are not phones.
        seen: How many phones were read.
    """

    client: DigaClient
    options: ClientOptions
    job: ListJob
    output: Output
    listing: PhoneListing
    interruption: Interruption
    passed_over: list[UUID] = attrs.field(factory=list)
    seen: int = 0
    _earlier_pages: int = 0
    _total_pages: int | None = None

    async def go(self) -> None:
        """
        Write a row for each phone that has none.

        Raises:
            CommandError: Rows can no longer be written.
            DigaError: The listing ended early.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker
        self.interruption.listen(task.cancel)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.client)
            await stack.enter_async_context(self._reporter().reporting())
            while (bad_id := await self._until_a_bad_record()) is not None:
                self.passed_over.append(bad_id)
                self._begin_after(bad_id)

    async def _until_a_bad_record(self) -> UUID | None:
        """Write rows to the end, or to a record that is not a phone; return its id."""
        try:
            async with self.listing as phones:
                async for phone in phones:
                    await self._take(phone)
        except InvalidResponseError as error:
            bad_id = error.phone_id
            is_record = any(text.startswith("$.data[") for text in error.problems)
            if bad_id is None or not is_record or bad_id in self.passed_over:
                raise
            say(f"{bad_id} is passed over: {message_of(error)}")
            return bad_id
        return None

    async def _take(self, phone: Phone) -> None:
        self.seen += 1
        done, key = self.output.done, key_of(phone.id)
        if key not in done:
            done.add(key)
            await self.output.write(phone.to_dict())

    def _begin_after(self, bad_id: UUID) -> None:
        self._earlier_pages += self.listing.stats.pages
        self._total_pages = self._known_pages()
        self.listing = self.client.phones.list(after=bad_id, **self.job.query)

    def _known_pages(self) -> int | None:
        return self._total_pages or self.listing.stats.total_pages

    @property
    def has_answer(self) -> bool:
        """Whether a page was read."""
        return bool(self._earlier_pages or self.listing.stats.pages)

    # --- progress

    def _reporter(self) -> Reporter:
        # Rows on the screen are progress enough, and a bar would mix with them.
        has_rows = self.job.out is None and is_terminal(sys.stdout)
        has_rows_of_before = self.job.out and self.output.outcomes.total()
        but = f", except those in {self.job.out}" if has_rows_of_before else ""
        return Reporter(
            client=self.client,
            server=self.options.server,
            messages=self.job.messages,
            announcement=f"listing the phones at {self.options.server}{but}",
            line=lambda silence: self._standing().line(silence),
            view=None if has_rows else self._view,
        )

    def _view(self) -> RenderableType:
        return list_view(self._standing())

    def _standing(self) -> ListStanding:
        stats, client = self.listing.stats, self.client.stats
        pages, total = self._earlier_pages + stats.pages, self._known_pages()
        return ListStanding(
            phones=self.seen,
            pages=pages if total is None else min(pages, total),
            total_pages=total,
            throttled=client.throttled,
            outage=client.outage,
            limit=server_limit(client),
        )


def list_phones(options: ClientOptions, job: ListJob) -> ExitCode:
    """
    Write a row for each phone that the listing shows and that has none yet.

    Raises:
        CommandError: An option is wrong, or OUT cannot be used; nothing was sent.
        ConfigurationError: A filter is wrong; nothing was sent.
    """
    client = options.client(job.messages)
    listing = client.phones.list(**job.query)
    with Interruption() as interruption, job.open_output() as output:
        note_what_is_there(job.messages, output)
        run = _Run(
            client=client,
            options=options,
            job=job,
            output=output,
            listing=listing,
            interruption=interruption,
        )
        problem = problem_in(lambda: asyncio.run(run.go()))
        problem = problem_in(output.finish) or problem
        if isinstance(problem, UnprocessableEntityError) and not run.seen:
            problem = usage_error(refused_filter(problem, job.filters))
        passed = ExitCode.NOT_ALL_FOUND if run.passed_over else ExitCode.ALL_FOUND
        code = code_at_the_end(problem, output, interruption, otherwise=passed)
        _conclude(run, problem, code)
        _hint_how_to_go_on(run, problem, code)
        if code is ExitCode.USAGE and isinstance(output, OutputFile):
            output.remove_if_untouched()
        return code


def _conclude(run: _Run, problem: Problem | None, code: ExitCode) -> None:
    """Tell how many phones there are, and why the listing ended early."""
    output = run.output
    is_damaged = isinstance(output, OutputFile) and output.is_damaged
    if not is_damaged and (run.seen or problem is None):
        rows, seen = output.outcomes.total(), counted(run.seen, "phone")
        out = run.job.out
        in_out = "" if out is None else f", {counted(rows, 'row')} in {out}"
        run.job.messages.note(f"{seen} listed{in_out}")
    if run.passed_over:
        records = counted(len(run.passed_over), "record")
        say(f"{records} passed over: not a phone")
    if problem is not None and code is not ExitCode.INTERRUPTED:
        start = "" if code is ExitCode.USAGE else "stopped early: "
        say(f"{start}{message_of(problem)}")


def _hint_how_to_go_on(run: _Run, problem: Problem | None, code: ExitCode) -> None:
    # Where a record cannot be read, the same command would stop there again.
    is_hopeless = isinstance(problem, InvalidResponseError) and run.has_answer
    has_ended = problem is None and code is not ExitCode.INTERRUPTED
    if has_ended or is_hopeless or code is ExitCode.USAGE:
        return
    hints = Hints(
        options=run.options,
        check=run.job.invocation.check(),
        go_on=run.job.how_to_go_on(),
        has_out=run.job.out is not None,
    )
    cause = None if code is ExitCode.INTERRUPTED else problem
    hint = hints.after(cause, has_answer=run.has_answer)
    if hint is not None:
        run.job.messages.note(hint)
