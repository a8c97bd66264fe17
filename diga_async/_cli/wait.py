"""`diga phone wait`: until a phone has a status."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import attrs

from diga_async import (
    DigaClient,
    DigaError,
    NotFoundError,
    Phone,
    PhoneStatus,
    WaitError,
    WaitTimeoutError,
)
from diga_async._cli.client_options import ClientOptions
from diga_async._cli.ending import code_at_the_end, problem_in
from diga_async._cli.exit_codes import CommandError, ExitCode, message_of
from diga_async._cli.filters import unknown_status
from diga_async._cli.get import complaint, print_phone, require_api
from diga_async._cli.redaction import bare
from diga_async._cli.reporting import Reporter, ends_after_an_outage
from diga_async._cli.signals import Interruption
from diga_async._cli.terminal import Messages, say


@attrs.frozen(kw_only=True)
class WaitJob:
    """
    The options of a wait.

    Attributes:
        phone_id: The phone.
        statuses: What to wait for, any of them.
        every: Seconds from poll to poll.
        timeout: Seconds for everything; None for no limit.
        as_json: Whether the phone is printed as a line of JSON.
        messages: What the user is told.
    """

    phone_id: UUID
    statuses: Sequence[str]
    every: float = 30.0
    timeout: float | None = None
    as_json: bool = False
    messages: Messages = Messages()  # noqa: RUF009 - frozen

    @property
    def wanted(self) -> str:
        """The statuses waited for, in words."""
        return " or ".join(map(bare, self.statuses))

    def announce(self, server: str) -> None:
        """Tell what is waited for; warn of a status that may be misspelt."""
        for status in self.statuses:
            if not PhoneStatus(status).known:
                self.messages.note(
                    f"warning: this version knows no status {unknown_status(status)}"
                )
        limit = "" if self.timeout is None else f", {self.timeout:g} s at most"
        self.messages.note(
            f"waiting until phone {self.phone_id} at {server} is {self.wanted}: a "
            f"poll every {self.every:g} s{limit}"
        )


async def _phone_of(client: DigaClient, job: WaitJob) -> Phone:
    statuses = map(PhoneStatus, job.statuses)  # the command has its own warning
    try:
        return await client.phones.wait_until(
            job.phone_id, status=statuses, every=job.every, timeout=job.timeout
        )
    except NotFoundError as error:
        await require_api(client, error)
        raise


def wait_for_phone(options: ClientOptions, job: WaitJob) -> ExitCode:
    """
    Print the phone when it has one of the statuses.

    Raises:
        CommandError: An option is wrong; nothing was sent.
    """
    client = options.client(job.messages)
    job.announce(options.server)
    reporter = Reporter(
        client=client,
        server=options.server,
        messages=job.messages,
        polls=True,
        in_the_end=ends_after_an_outage("the wait")
        if job.timeout is None
        else "the wait goes on, Ctrl-C ends it now",
    )
    with Interruption() as interruption:

        async def wait() -> None:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - for the type checker
            interruption.listen(task.cancel)
            async with client, reporter.reporting():
                phone = await _phone_of(client, job)
            print_phone(phone, as_json=job.as_json)

        problem = problem_in(lambda: asyncio.run(wait()))
        if interruption.count:
            job.messages.note("interrupted")
        elif problem is not None:
            say(_words_for(problem, options, job))
        is_answer = isinstance(problem, WaitError | NotFoundError)
        if is_answer and not isinstance(problem, WaitTimeoutError):
            return ExitCode.NOT_ALL_FOUND
        return code_at_the_end(
            problem, None, interruption, otherwise=ExitCode.ALL_FOUND
        )


def _words_for(
    problem: CommandError | DigaError, options: ClientOptions, job: WaitJob
) -> str:
    match problem:
        case WaitTimeoutError(phone=Phone(status=status)):
            words = f"phone {job.phone_id} is still {status}, not {job.wanted}"
        case WaitTimeoutError():
            words = f"phone {job.phone_id} could not be read"
        case WaitError():
            words = f"phone {job.phone_id} is finished, which is final"
            return f"{words}; it never becomes {job.wanted}"
        case DigaError():
            return options.with_remedy(problem, complaint(job.phone_id, problem))
        case _:
            return message_of(problem)
    limit = f" after {job.timeout:g} s" if job.timeout is not None else ""
    cause = problem.__cause__
    if not isinstance(cause, DigaError):
        return f"{words}{limit}"
    return f"{words}{limit}; the last poll failed: {message_of(cause)}"
