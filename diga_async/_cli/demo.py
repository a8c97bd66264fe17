"""`diga demo`: 2,000 lookups on a flaky local server."""

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
    console_for,
    live,
    phone_table,
    run_view,
)
from diga_async._cli.exit_codes import ExitCode
from diga_async._cli.progress import Standing
from diga_async._cli.signals import run
from diga_async._cli.terminal import printable
from diga_async._models.outcomes import OUTCOME_NAMES
from diga_async.sandbox import Faults, Sandbox

LOOKUPS = 2000
MISSING = 60
BROKEN = 5
PER_SECOND = 300.0

INTRODUCTION = f"""\
A flaky local server stands in for Diga.
It accepts {PER_SECOND:,.0f} requests a second, a limit that it does not announce.
One request in twenty meets an error, a reset or a truncated answer.
Looking up {LOOKUPS:,} phones; this needs no account and no network.
"""
NEXT = """\
Next: set DIGA_API_KEY, and try "diga phone get ID" or "diga phone fetch FILE".\
"""


@attrs.define(eq=False)
class _Results:
    """The outcomes, counted, and one phone of each kind."""

    outcomes: Counter[str] = attrs.field(factory=Counter)
    phones: dict[tuple[str, str], Phone] = attrs.field(factory=dict)
    failure: str = ""

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.outcomes[OUTCOME_NAMES[type(outcome)]] += 1
        if isinstance(outcome, Failed):
            self.failure = outcome.error.describe()
        elif isinstance(outcome, Found):
            phone = outcome.phone
            self.phones.setdefault((phone.status, phone.telephony_provider), phone)


def show_demo() -> ExitCode:
    """Show what the client does, without an account."""
    return run(_demo(console_for(sys.stdout)))


async def _demo(out: Console) -> ExitCode:
    out.print(INTRODUCTION)
    async with _flaky_sandbox() as sandbox:
        results, stats = await _look_up(sandbox)
    out.print(_result(results, stats))
    out.print(phone_table(results.phones.values()))
    out.print(NEXT)
    return ExitCode.ALL_FOUND


async def _look_up(sandbox: Sandbox) -> tuple[_Results, LookupStats]:
    results = _Results()
    async with (
        DigaClient(sandbox.api_key, base_url=sandbox.url) as client,
        client.phones.iter_many(_ids(sandbox)) as lookups,
        live(
            console_for(sys.stderr),
            lambda: _view(results, lookups.stats, outage=client.stats.outage),
        ),
    ):
        async for outcome in lookups:
            results.add(outcome)
    return results, lookups.stats


def _flaky_sandbox() -> Sandbox:
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


def _view(results: _Results, stats: LookupStats, *, outage: bool) -> RenderableType:
    return run_view(
        Standing(
            outcomes=results.outcomes,
            stats=stats,
            settled=results.outcomes.total(),
            total=LOOKUPS,
            outage=outage,
        )
    )


def _result(results: _Results, stats: LookupStats) -> Panel:
    rate = results.outcomes.total() / stats.elapsed
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column(style="dim")
    for name, count, remark in (
        ("found", f"{results.outcomes['found']:,}", "records, decoded and checked"),
        (
            "missing",
            f"{results.outcomes['missing']:,}",
            "404: an answer, not a failure",
        ),
        ("failed", f"{results.outcomes['failed']:,}", results.failure),
        ("retried", f"{stats.retries:,}", "after transient failures"),
        (
            "throttled",
            f"{stats.throttled:,}",
            "429: the client slowed down and lost none",
        ),
        ("rate", f"{rate:,.0f}/s", f"found the unannounced limit of {PER_SECOND:,.0f}"),
    ):
        style = OUTCOME_STYLES.get(name, "cyan")
        table.add_row(Text(name, style=style), count, Text(printable(remark)))
    title = f"{results.outcomes.total():,} lookups in {stats.elapsed:.1f} s"
    return Panel(table, title=title, title_align="left", box=ROUNDED, expand=False)
