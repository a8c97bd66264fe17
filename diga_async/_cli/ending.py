"""The end of a run that writes rows: the error that ended it, and its exit code."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import attrs

from diga_async import (
    AuthenticationError,
    DigaError,
    InvalidResponseError,
    PermissionDeniedError,
    RateLimitError,
)
from diga_async._cli.client_options import ClientOptions
from diga_async._cli.exit_codes import CommandError, ExitCode, code_of
from diga_async._cli.failures import is_from_diga
from diga_async._cli.output_file import OutputFile
from diga_async._cli.signals import Interruption
from diga_async._cli.standard_output import StandardOutput
from diga_async._cli.table import PhoneTable
from diga_async._cli.terminal import Messages, counted

#: Errors that say something about the request, not about the way to the server.
_REFUSALS = (AuthenticationError, PermissionDeniedError, RateLimitError)

Output = OutputFile | StandardOutput | PhoneTable
Problem = CommandError | DigaError


def problem_in(step: Callable[[], None]) -> Problem | None:
    """Return what ended *step* early, a signal aside."""
    try:
        # What has no row yet will be read again.
        with suppress(asyncio.CancelledError, KeyboardInterrupt):
            step()
    except (CommandError, DigaError) as error:
        return error
    return None


def code_at_the_end(
    problem: Problem | None,
    output: Output | None,
    interruption: Interruption,
    *,
    otherwise: ExitCode,
) -> ExitCode:
    """
    Return the exit code of a run.

    Args:
        problem: What ended it early; None when nothing did.
        output: Where its rows went; None for a command without rows.
        interruption: Whether a signal came.
        otherwise: The code of a run that went to its end.
    """
    if isinstance(output, OutputFile) and output.is_damaged:
        return ExitCode.STOPPED
    if interruption.count:
        return ExitCode.INTERRUPTED
    if problem is not None:
        return code_of(problem, otherwise=ExitCode.STOPPED)
    return otherwise


@attrs.frozen(kw_only=True)
class Hints:
    """
    What a user can do after an early end.

    Attributes:
        options: Know the remedy for a refusal.
        check: The command line of `diga check` for the same server.
        go_on: How the run can be continued.
        has_out: Whether the rows went to a file.
    """

    options: ClientOptions
    check: str
    go_on: str
    has_out: bool

    def after(self, problem: Problem | None, *, has_answer: bool) -> str | None:
        """
        Return the hint; None when no hint helps.

        Args:
            problem: What ended the run; None for an interruption.
            has_answer: Whether the server answered a request of the run as Diga does.
        """
        first = self.options.before_going_on(problem)
        if has_answer or problem is None or isinstance(problem, _REFUSALS):
            return f"{first}{self.go_on}"
        if isinstance(problem, CommandError):
            return self.go_on if self.has_out else None
        if is_from_diga(problem):
            return self.go_on
        says_why = f"{self.check} says why"
        if self.has_out and first:
            return f"{first}{self.go_on}"
        is_foreign = isinstance(problem, InvalidResponseError)
        if self.has_out and problem.transient and not is_foreign:
            return f"{says_why}; {self.go_on}"
        return says_why


def note_what_is_there(messages: Messages, output: Output) -> None:
    """Tell what an output holds when a run begins."""
    if output.torn_bytes:
        messages.note("the last row was torn; it was cut off")
    rows = output.outcomes.total()
    if rows:
        name = output.path if isinstance(output, OutputFile) else "the output"
        messages.note(f"{name} has {counted(rows, 'row')} already")
