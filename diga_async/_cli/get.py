"""`diga phone get`: a few phones, for people or for programs."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from uuid import UUID

from diga_async import (
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    DigaClient,
    DigaError,
    InvalidPhoneIdError,
    NotFoundError,
    PermissionDeniedError,
    Phone,
    RateLimitError,
)
from diga_async._api.phones import phone_id_of
from diga_async._cli.exit_codes import ExitCode, message_of, usage_error
from diga_async._cli.failures import is_from_diga
from diga_async._cli.ids import is_phone_number
from diga_async._cli.redaction import shown
from diga_async._cli.reporting import Reporter
from diga_async._cli.rows import json_text
from diga_async._cli.signals import run
from diga_async._cli.terminal import Messages, say

AT_THE_SAME_TIME = 64
#: Errors that every other id would have as well.
_FATAL = (
    AuthenticationError,
    PermissionDeniedError,
    ConfigurationError,
    ClientClosedError,
)


def get_phones(
    client: DigaClient,
    phone_ids: Sequence[str],
    *,
    server: str,
    as_json: bool,
    check: str = "diga check",
) -> ExitCode:
    """
    Print phones in the order of their ids; report the others on standard error.

    Args:
        client: Looks them up.
        phone_ids: The ids, as they were given.
        server: The server, as it was given.
        as_json: Whether a phone is printed as a line of JSON.
        check: The command line of `diga check` for the same server.

    Raises:
        CommandError: One of *phone_ids* is not a phone id; nothing was sent.
        DigaError: The key was refused, or every lookup would fail alike.
    """
    checked = [checked_id(text) for text in phone_ids]
    reporter = Reporter(
        client=client,
        server=server,
        messages=Messages(),
        in_the_end="Ctrl-C ends the command now",
    )
    return run(_print_phones(reporter, checked, as_json=as_json, check=check))


def checked_id(text: str) -> UUID:
    """
    Read a phone id of the command line.

    Raises:
        CommandError: It is not a phone id.
    """
    try:
        return phone_id_of(text)
    except InvalidPhoneIdError as error:
        hint = ""
        if is_phone_number(text):
            hint = "; that is a phone number: diga phone list shows the ids"
        if Path(text).is_file():
            hint = f"; to look up the ids in a file: diga phone fetch {quote(text)}"
        raise usage_error(f"{shown(text)} is not a phone id: {error}{hint}") from None


async def _print_phones(
    reporter: Reporter, phone_ids: Sequence[UUID], *, as_json: bool, check: str
) -> ExitCode:
    client, slots = reporter.client, asyncio.Semaphore(AT_THE_SAME_TIME)
    code = ExitCode.ALL_FOUND
    last: DigaError | None = None
    async with client, reporter.reporting():
        lookups = [asyncio.create_task(_look_up(client, i, slots)) for i in phone_ids]
        try:
            for phone_id, lookup in zip(phone_ids, lookups, strict=True):
                found = await lookup
                if isinstance(found, Phone):
                    print_phone(found, as_json=as_json)
                else:
                    await require_api(client, found)
                    say(complaint(phone_id, found, is_alone=len(phone_ids) == 1))
                    code, last = ExitCode.NOT_ALL_FOUND, found
        finally:
            for lookup in lookups:
                lookup.cancel()
            await asyncio.gather(*lookups, return_exceptions=True)
    stats = client.stats
    is_clear = isinstance(last, RateLimitError) or (last and is_from_diga(last))
    if last and not (is_clear or stats.found or stats.missing):
        say(f"{check} says why")
    return code


async def require_api(client: DigaClient, error: DigaError) -> None:
    """
    After a first 404, make sure that the server has the API at all.

    Raises:
        ConfigurationError: There is no Diga API at the client's address.
    """
    stats = client.stats
    if isinstance(error, NotFoundError) and not (stats.found or stats.listed):
        try:
            await client.phones.list_page(page_size=1)
        except ConfigurationError:
            raise
        except DigaError:
            return  # the question stays open; the 404 is reported


async def _look_up(
    client: DigaClient, phone_id: UUID, slots: asyncio.Semaphore
) -> Phone | DigaError:
    async with slots:
        try:
            return await client.phones.get(phone_id)
        except _FATAL:
            raise
        except DigaError as error:
            return error


def complaint(phone_id: UUID, error: DigaError, *, is_alone: bool = True) -> str:
    """Return what to say of a lookup that failed; name the id unless it is alone."""
    if isinstance(error, NotFoundError):
        return f"there is no phone {phone_id} in the key's project"
    message = message_of(error)
    named = is_alone or str(phone_id) in message
    return message if named else f"{phone_id}: {message}"


def print_phone(phone: Phone, *, as_json: bool) -> None:
    """Print a phone as a block, or as a line of JSON."""
    if as_json:
        sys.stdout.write(json_text(phone.to_dict()) + "\n")
    else:
        from diga_async._cli.display import console_for, phone_panel  # noqa: PLC0415

        console_for(sys.stdout).print(phone_panel(phone))
