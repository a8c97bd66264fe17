"""What people see: a run as it goes, what it came to, and phones."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TextIO

import attrs
from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from diga_async import LookupStats, Phone
from diga_async._cli.terminal import is_terminal, printable

REFRESH_SECONDS = 0.2
STATUS_STYLES = {
    "assigned": "green",
    "reserved": "yellow",
    "pending_verification": "cyan",
    "released": "dim",
    "finished": "dim",
}
OUTCOME_STYLES = {"found": "green", "missing": "yellow", "failed": "red"}
_GAP = "   "


@attrs.frozen(kw_only=True)
class Standing:
    """
    Where a run stands, for people.

    Attributes:
        outcomes: How many are found, missing and failed, earlier runs included.
        stats: Of this run.
        settled: How much of *total* is behind us.
        total: How much there is; None when only the end will tell.
        outage: Whether the run waits for a server that does not answer.
    """

    outcomes: Counter[str]
    stats: LookupStats
    settled: int
    total: int | None
    outage: bool

    @property
    def remaining_seconds(self) -> float | None:
        """An estimate of the time left; None when there is nothing to go by."""
        if self.total is None or not self.stats.rate:
            return None
        return max(0, self.total - self.settled) / self.stats.rate


class _Console(Console):
    """A console that leaves it to the command how to end when nobody reads."""

    def on_broken_pipe(self) -> None:
        """Raise the error that is being handled again, instead of `SystemExit`."""
        raise  # noqa: PLE0704 - rich calls it where it caught the error


def console_for(stream: TextIO) -> Console:
    """Return a console that sends a pipe no control characters, whatever is set."""
    return _Console(
        file=stream,
        force_terminal=is_terminal(stream),
        highlight=False,
        markup=False,
        emoji=False,
    )


def run_view(standing: Standing) -> RenderableType:
    """Draw a run in two lines: how far it is, and what it came to."""
    return Group(_distance(standing), _tally(standing))


def _distance(standing: Standing) -> Table:
    line = Table.grid(padding=(0, 1), expand=True)
    line.add_column(ratio=1)
    for _ in range(3):
        line.add_column(justify="right", no_wrap=True)
    bar = ProgressBar(
        total=standing.total,
        completed=standing.settled,
        pulse=standing.total is None,
        complete_style="green",
        pulse_style="green",
    )
    whole = "" if standing.total is None else f"/{standing.total:,}"
    line.add_row(
        bar,
        Text(f"{standing.settled:,}{whole}"),
        Text(f"{standing.stats.rate:,.0f}/s", style="cyan"),
        Text(_left(standing.remaining_seconds), style="cyan"),
    )
    return line


def _left(seconds: float | None) -> str:
    """
    Write a time to wait.

    >>> _left(3725.2)
    '1:02:06 left'
    """
    if seconds is None:
        return "-:--:-- left"
    whole = timedelta(seconds=int(seconds) + (seconds % 1 > 0))
    return f"{whole} left"


def _tally(standing: Standing) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    for name, style in OUTCOME_STYLES.items():
        count = standing.outcomes[name]
        text.append(f"{name} ")
        text.append(f"{count:,}", style=style if count else "")
        text.append(_GAP)
    text.append(f"throttled {standing.stats.throttled:,}")
    if standing.outage:
        text.append(f"{_GAP}no answers: waiting", style="bold red")
    return text


@asynccontextmanager
async def live(
    console: Console, draw: Callable[[], RenderableType]
) -> AsyncIterator[None]:
    """Draw a few times a second while the block lasts; nothing in a pipe."""
    if not console.is_terminal or console.is_dumb_terminal:
        yield
        return
    with Live(draw(), console=console, auto_refresh=False, transient=True) as view:
        drawing = asyncio.create_task(_keep_drawing(view, draw))
        try:
            yield
        finally:
            drawing.cancel()
            await asyncio.wait([drawing])


async def _keep_drawing(view: Live, draw: Callable[[], RenderableType]) -> None:
    while True:
        view.update(draw(), refresh=True)
        await asyncio.sleep(REFRESH_SECONDS)


def summary(outcomes: Counter[str], stats: LookupStats) -> Iterable[str]:
    """
    Say in a line or two what a run came to.

    Args:
        outcomes: How many are found, missing and failed, earlier runs included.
        stats: Of this run.
    """
    yield ", ".join(f"{outcomes[name]:,} {name}" for name in OUTCOME_STYLES)
    asked = stats.found + stats.missing + stats.failed
    if asked:
        pace = asked / stats.elapsed if stats.elapsed else 0.0
        yield (
            f"{asked:,} looked up in {stats.elapsed:,.1f} s, {pace:,.0f} a second; "
            f"{stats.retries:,} retried, {stats.throttled:,} throttled"
        )


def phone_panel(phone: Phone) -> Panel:
    """Draw one phone; its payment link and SIP user stay out of sight."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(phone):
        facts.add_row(name, value)
    title = Text(printable(phone.number), style="bold")
    return Panel(facts, title=title, title_align="left", box=ROUNDED, expand=False)


def _facts(phone: Phone) -> Iterable[tuple[str, Text]]:
    yield "status", status_text(phone)
    texts = {
        "provider": phone.telephony_provider,
        "nickname": phone.nickname,
        "regions": ", ".join(phone.region_codes),
        "assigned": _moment(phone.assigned_at),
        "leaves": _moment(phone.scheduled_release_at),
        "released": _moment(phone.released_at),
        "reserved until": _moment(phone.reservation_expires_at),
        "answered by": phone.inbound_agent_id and str(phone.inbound_agent_id),
        "calls by": phone.outbound_agent_id and str(phone.outbound_agent_id),
        "SIP trunk": phone.sip_config and "set up (--json shows it)",
        "checkout": phone.checkout_url and "open (--json shows the link)",
        "id": str(phone.id),
    }
    for name, text in texts.items():
        if text:
            yield name, Text(printable(text))


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M %Z}" if moment else ""


def status_text(phone: Phone) -> Text:
    """Write a phone's status in its colour."""
    return Text(printable(phone.status), style=STATUS_STYLES.get(phone.status, ""))


def phone_table(phones: Iterable[Phone]) -> Table:
    """Draw a few phones, one a line."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column("number", max_width=24, no_wrap=True, overflow="ellipsis")
    table.add_column("status", min_width=20, no_wrap=True, overflow="ellipsis")
    table.add_column("provider", min_width=8, no_wrap=True, overflow="ellipsis")
    table.add_column("nickname", no_wrap=True, overflow="ellipsis")
    for phone in phones:
        table.add_row(
            Text(printable(phone.number)),
            status_text(phone),
            Text(printable(phone.telephony_provider)),
            Text(printable(phone.nickname or "")),
        )
    return table
