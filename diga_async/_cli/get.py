"""`diga phone get`: one phone."""

import asyncio
import sys
from collections.abc import Callable

from diga_async import DigaClient, NotFoundError, Phone
from diga_async._cli.exit_codes import CommandError, ExitCode
from diga_async._cli.rows import json_text


def get(
    make_client: Callable[[], DigaClient], phone_id: str, *, as_json: bool
) -> ExitCode:
    """Print one phone, for people or for programs."""
    phone = asyncio.run(_look_up(make_client(), phone_id))
    if as_json:
        sys.stdout.write(json_text(phone.to_dict(), indent=2) + "\n")
    else:
        _show(phone)
    return ExitCode.ALL_FOUND


async def _look_up(client: DigaClient, phone_id: str) -> Phone:
    async with client:
        try:
            return await client.phones.get(phone_id)
        except NotFoundError:
            reason = f"the key's project has no phone {phone_id}"
            raise CommandError(ExitCode.NOT_ALL_FOUND, reason) from None


def _show(phone: Phone) -> None:
    from diga_async._cli.display import console_for, phone_panel  # noqa: PLC0415 - rich

    console_for(sys.stdout).print(phone_panel(phone))
