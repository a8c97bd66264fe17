"""The end of a run that writes rows: the error that ended it, and its exit code."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from diga_async import DigaError
from diga_async._cli.exit_codes import CommandError, ExitCode, code_of
from diga_async._cli.output_file import OutputFile
from diga_async._cli.signals import Interruption
from diga_async._cli.standard_output import StandardOutput
from diga_async._cli.table import PhoneTable
from diga_async._cli.terminal import Messages, counted

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


def note_what_is_there(messages: Messages, output: Output) -> None:
    """Tell what an output holds when a run begins."""
    if output.torn_bytes:
        messages.note("the last row was torn; it was cut off")
    rows = output.outcomes.total()
    if rows:
        has = "has" if isinstance(output, OutputFile) else "have"
        messages.note(f"OUT {has} {counted(rows, 'row')} already")
