"""`diga demo`: 2,000 lookups in a sandbox that misbehaves."""

import asyncio
import sys
from collections import Counter
from random import Random
from uuid import UUID

import attrs
from rich.box import ROUNDED
from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from diga_async import DigaClient, Failed, Found, LookupStats, Outcome, Phone
from diga_async._cli.display import (
    OUTCOME_STYLES,
    Standing,
    console_for,
    live,
    phone_table,
    run_view,
)
from diga_async._cli.exit_codes import ExitCode
from diga_async._cli.rows import outcome_name
from diga_async._cli.terminal import printable
from diga_async.sandbox import Faults, Sandbox

LOOKUPS = 2000
MISSING = 60
BROKEN = 5
PER_SECOND = 300.0

INTRODUCTION = f"""\
A sandbox on this machine lets {PER_SECOND:,.0f} requests a second through.
It tells nobody of the limit.
One request in twenty meets an error, a reset or an answer cut short.
Looking {LOOKUPS:,} phones up in it; no account and no network are needed.
"""
NEXT = """\
Next: set DIGA_API_KEY, and try "diga phone get ID" or "diga phone fetch FILE".\
"""


@attrs.define(eq=False)
class _Haul:
    """What came back: counted, and one phone kept of each kind."""

    outcomes: Counter[str] = attrs.field(factory=Counter)
    phones: dict[tuple[str, str], Phone] = attrs.field(factory=dict)
    complaint: str = ""

    def take(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.outcomes[outcome_name(outcome)] += 1
        if isinstance(outcome, Failed):
            self.complaint = str(outcome.error)
        elif isinstance(outcome, Found):
            phone = outcome.phone
            self.phones.setdefault((phone.status, phone.telephony_provider), phone)


def demo() -> ExitCode:
    """Show what the client does, to somebody who has no account."""
    return asyncio.run(_demo(console_for(sys.stdout)))


async def _demo(out: Console) -> ExitCode:
    out.print(INTRODUCTION)
    async with _misbehaving_sandbox() as sandbox:
        haul, stats = await _look_up(sandbox)
    out.print(_result(haul, stats))
    out.print(phone_table(haul.phones.values()))
    out.print(NEXT)
    return ExitCode.ALL_FOUND


async def _look_up(sandbox: Sandbox) -> tuple[_Haul, LookupStats]:
    haul = _Haul()
    async with (
        DigaClient(sandbox.api_key, base_url=sandbox.url) as client,
        client.phones.iter_many(_ids(sandbox)) as lookups,
        live(
            console_for(sys.stderr),
            lambda: _view(haul, lookups.stats, outage=client.stats.outage),
        ),
    ):
        async for outcome in lookups:
            haul.take(outcome)
    return haul, lookups.stats


def _misbehaving_sandbox() -> Sandbox:
    sandbox = Sandbox(
        LOOKUPS - MISSING,
        latency=(0.02, 0.08),
        per_second=PER_SECOND,
        faults=Faults(errors=0.03, resets=0.01, truncated=0.01),
    )
    for phone_id in sandbox.phone_ids[-BROKEN:]:
        sandbox.phones[phone_id]["number"] = None
    return sandbox


def _ids(sandbox: Sandbox) -> list[UUID]:
    chance = Random(0)  # noqa: S311 - repeatable on purpose
    unknown = [UUID(int=chance.getrandbits(128), version=4) for _ in range(MISSING)]
    phone_ids = [*sandbox.phone_ids, *unknown]
    chance.shuffle(phone_ids)
    return phone_ids


def _view(haul: _Haul, stats: LookupStats, *, outage: bool) -> RenderableType:
    return run_view(
        Standing(
            outcomes=haul.outcomes,
            stats=stats,
            settled=haul.outcomes.total(),
            total=LOOKUPS,
            outage=outage,
        )
    )


def _result(haul: _Haul, stats: LookupStats) -> Panel:
    rate = haul.outcomes.total() / stats.elapsed
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column(style="dim")
    for name, count, remark in (
        ("found", f"{haul.outcomes['found']:,}", "records, decoded and checked"),
        ("missing", f"{haul.outcomes['missing']:,}", "404: an answer, no failure"),
        ("failed", f"{haul.outcomes['failed']:,}", haul.complaint),
        ("retried", f"{stats.retries:,}", "asked again after what may pass"),
        ("throttled", f"{stats.throttled:,}", "429: slowed down, and lost nothing"),
        ("rate", f"{rate:,.0f}/s", f"of the {PER_SECOND:,.0f} it was not told of"),
    ):
        style = OUTCOME_STYLES.get(name, "cyan")
        table.add_row(Text(name, style=style), count, Text(printable(remark)))
    title = f"{haul.outcomes.total():,} lookups in {stats.elapsed:.1f} s"
    return Panel(table, title=title, title_align="left", box=ROUNDED, expand=False)
