"""`diga check`: can a user start? It never shows the key."""

import os
import ssl
import sys
import time
from typing import Any

import aiohttp
import attrs
from rich.table import Table
from rich.text import Text

from diga_async import DigaClient, DigaError
from diga_async._api.headers import body_of
from diga_async._api.listing import Page, PhoneQuery, list_phones
from diga_async._api.messages import Response, Secret
from diga_async._api.operation import Answer, Operation
from diga_async._api.problems import clean, key_of
from diga_async._calls import lifecycle_of, send
from diga_async._cli.certificates import named_certificates
from diga_async._cli.client_options import ClientOptions, key_origin
from diga_async._cli.diagnosis import Diagnosis, Reply, Setup, unknown_in, wrong_setting
from diga_async._cli.display import console_for
from diga_async._cli.exit_codes import CommandError, ExitCode
from diga_async._cli.invocation import without_credentials
from diga_async._cli.route import UnreachableError, measure_route
from diga_async._cli.rows import json_text
from diga_async._cli.signals import run
from diga_async._cli.terminal import Messages, is_terminal, printable
from diga_async._models.decoding import read_json
from diga_async._transport.self_check import way

_MARK_STYLES = {"ok": "green", "!!": "yellow", "no": "bold red"}


@attrs.frozen(eq=False)
class _Seen(Operation[Any]):
    """
    An operation that keeps what its value leaves out.

    Attributes:
        responses: The responses.
        unknown: What in them this version does not know, without secrets.
    """

    responses: list[Response] = attrs.field(factory=list)
    unknown: list[str] = attrs.field(factory=list)

    def answer(self, response: Response, authorization: Secret) -> Answer[Any]:
        """Read *response*, and keep it."""
        self.responses.append(response)
        answer = super().answer(response, authorization)
        if isinstance(answer, Page):
            key = key_of(authorization)
            content = read_json(body_of(response))
            self.unknown.extend(clean(t, key) for t in unknown_in(content, answer))
        return answer


def check(options: ClientOptions, *, as_json: bool) -> ExitCode:
    """
    Print what a user needs to know to start, and what to do about what is wrong.

    Raises:
        CommandError: An option or a variable is wrong; nothing was sent. As JSON, it
            is part of the report.
    """
    try:
        diagnosis = _diagnosis(options)
    except CommandError as error:
        if not as_json:
            raise
        setup = _setup(None, options, None)
        diagnosis = Diagnosis(setup=setup, route=wrong_setting(str(error)))
    if as_json:
        sys.stdout.write(json_text(diagnosis.to_dict()) + "\n")
    else:
        _print(diagnosis)
    return diagnosis.code


def _diagnosis(options: ClientOptions) -> Diagnosis:
    client, key_problem = options.client_to_check(Messages())
    return run(_diagnose(client, _setup(client, options, key_problem)))


def _print(diagnosis: Diagnosis) -> None:
    if is_terminal(sys.stdout):
        console_for(sys.stdout).print(_report(diagnosis))
        return
    for line in diagnosis.lines():  # one each, to be searched
        sys.stdout.write(f"{line.mark:4}{line.name:12}{printable(line.text)}\n")


def _setup(
    client: DigaClient | None, options: ClientOptions, key_problem: str | None
) -> Setup:
    made = None if client is None else lifecycle_of(client).options
    proxy = None if made is None else made.proxy
    return Setup(
        address=None if made is None else made.base_url,
        proxy=None if proxy is None else without_credentials(proxy),
        proxy_origin="--proxy" if options.proxy else "HTTPS_PROXY",
        key_origin=key_origin(options.key_file),
        key_problem=key_problem,
        certificates=named_certificates(os.environ),
    )


async def _diagnose(client: DigaClient, setup: Setup) -> Diagnosis:
    made = lifecycle_of(client).options
    context = ssl.create_default_context()
    async with client:
        setup = attrs.evolve(setup, aiohttp=(aiohttp.__version__, way()))
        try:
            route = await measure_route(made.base_url, made.proxy, context)
        except UnreachableError as error:
            return Diagnosis(setup=setup, route=error)
        if setup.key_problem is not None:
            return Diagnosis(setup=setup, route=route)
        return Diagnosis(setup=setup, route=route, reply=await _ask(client))


async def _ask(client: DigaClient) -> Reply:
    """Send the one request."""
    listing = list_phones(PhoneQuery(), page_size=1)
    operation = _Seen(**attrs.asdict(listing, recurse=False))
    began = time.monotonic()
    try:
        answer: Page | DigaError = await send(client, operation)
    except DigaError as error:
        answer = error
    return Reply(
        answer=answer,
        response=operation.responses[-1] if operation.responses else None,
        unknown=tuple(operation.unknown),
        seconds=time.monotonic() - began,
        received_at=time.time(),
    )


def _report(diagnosis: Diagnosis) -> Table:
    """Draw what a check has found out."""
    report = Table.grid(padding=(0, 2))
    report.add_column(no_wrap=True)
    report.add_column(style="dim", no_wrap=True)
    report.add_column(overflow="fold")
    for line in diagnosis.lines():
        mark = Text(line.mark, style=_MARK_STYLES.get(line.mark, ""))
        name = Text(line.name, style="" if line.mark in {"", "no"} else "dim")
        report.add_row(mark, name, Text(printable(line.text)))
    return report
