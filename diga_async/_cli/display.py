"""The output on a terminal: the progress of a run, and phones."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TextIO

import attrs
from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from diga_async import Change, Phone
from diga_async._cli.progress import (
    ListStanding,
    Standing,
    throttled_words,
    time_left,
)
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
_NO_ANSWER = f"{_GAP}no answer: waiting"


class _Console(Console):
    """A console that lets the command decide how to end when its reader is gone."""

    def on_broken_pipe(self) -> None:
        """Raise the error that is being handled, instead of `SystemExit`."""
        raise  # noqa: PLE0704 - rich calls it where it caught the error


def console_for(stream: TextIO) -> Console:
    """Return a console that never sends control characters to a pipe."""
    return _Console(
        file=stream,
        force_terminal=is_terminal(stream),
        highlight=False,
        markup=False,
        emoji=False,
    )


def run_view(standing: Standing) -> RenderableType:
    """Draw a run in two lines: how far it is, and its outcomes."""
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
        Text(f"{time_left(standing.remaining_seconds)} left", style="cyan"),
    )
    return line


def _tally(standing: Standing) -> Text:
    text = Text()
    for name, style in OUTCOME_STYLES.items():
        count = standing.outcomes[name]
        text.append(f"{name} ")
        text.append(f"{count:,}", style=style if count else "")
        text.append(_GAP)
    if standing.limit is None or standing.outage:
        text.append(f"throttled {standing.stats.throttled:,}")
    else:
        text.append(throttled_words(standing.stats.throttled, standing.limit))
    if standing.outage:
        text.append(_NO_ANSWER, style="bold red")
    return text


def list_view(standing: ListStanding) -> RenderableType:
    """Draw a listing in two lines: how far it is, and how many phones it has."""
    line = Table.grid(padding=(0, 1), expand=True)
    line.add_column(ratio=1)
    line.add_column(justify="right", no_wrap=True)
    total = standing.total_pages
    bar = ProgressBar(
        total=total,
        completed=standing.pages,
        pulse=total is None,
        complete_style="green",
        pulse_style="green",
    )
    whole = "" if total is None else f"/{total:,}"
    line.add_row(bar, Text(f"page {standing.pages:,}{whole}"))
    text = Text()
    text.append("phones ")
    text.append(f"{standing.phones:,}", style="green")
    if standing.throttled:
        limit = None if standing.outage else standing.limit
        text.append(_GAP + throttled_words(standing.throttled, limit))
    if standing.outage:
        text.append(_NO_ANSWER, style="bold red")
    return Group(line, text)


def can_redraw(console: Console) -> bool:
    """Whether lines can be replaced: not in a pipe or a dumb terminal."""
    return console.is_terminal and not console.is_dumb_terminal


@asynccontextmanager
async def live(
    console: Console, draw: Callable[[], RenderableType]
) -> AsyncIterator[None]:
    """Draw a few times a second while the block lasts, where that is possible."""
    if not can_redraw(console):
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


def phone_panel(phone: Phone) -> Panel:
    """Draw one phone without its payment link and SIP credentials."""
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
        "telephony provider": phone.telephony_provider,
        "nickname": phone.nickname,
        "region codes": ", ".join(phone.region_codes),
        "assigned at": _moment(phone.assigned_at),
        "scheduled release at": _moment(phone.scheduled_release_at),
        "released at": _moment(phone.released_at),
        "reservation expires at": _moment(phone.reservation_expires_at),
        "inbound agent id": phone.inbound_agent_id and str(phone.inbound_agent_id),
        "outbound agent id": phone.outbound_agent_id and str(phone.outbound_agent_id),
        "SIP config": phone.sip_config and "set (--json shows it)",
        "checkout URL": phone.checkout_url and "set (--json shows it)",
        "id": str(phone.id),
    }
    for name, text in texts.items():
        if text:
            yield name, Text(printable(text))


def _moment(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M %Z}" if moment else ""


def status_text(phone: Phone) -> Text:
    """Return a phone's status in its colour."""
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


#: Values that are not shown: they are long, or secret.
_UNSHOWN = frozenset({"sip_config", "checkout_url", "extra"})


def change_line(change: Change, at: datetime) -> Text:
    """Write a change as one line: when, which phone, and what is different."""
    phone = change.after or change.before
    number = "" if phone is None else printable(phone.number)
    line = Text(f"{at:%H:%M:%S}  ", style="dim")
    line = Text.assemble(line, (f"{str(change.phone_id)[:8]}  ", "dim"), f"{number}  ")
    match change:
        case Change(before=None, after=Phone() as after):
            line.append("new: ", style="bold").append_text(status_text(after))
        case Change(before=Phone() as before, after=None):
            line.append("gone", style="bold").append(" (it was ")
            line.append_text(status_text(before)).append(")")
        case Change(before=Phone() as before, after=Phone() as after):
            named = [a.name for a in attrs.fields(Phone) if a.name in change.fields]
            parts = [_difference(name, before, after) for name in named]
            line.append_text(Text(", ").join(parts))
        case _:
            line.append("gone", style="bold")
    return line


def _difference(name: str, before: Phone, after: Phone) -> Text:
    if name in _UNSHOWN:
        return Text(f"{name} changed")
    if name == "status":
        values = status_text(before), status_text(after)
        return Text("status ").append_text(Text(" -> ").join(values))
    old, new = (_value_text(getattr(phone, name)) for phone in (before, after))
    return Text(f"{name} {old} -> {new}")


def _value_text(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, tuple):
        return printable(" ".join(map(str, value))) or "none"
    return printable(str(value))
