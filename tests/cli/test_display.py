"""What a terminal shows."""

import asyncio
import io
import re
from collections import Counter

import attrs
import pytest
from fakes import phone_fields

from diga_async import LookupStats, Phone
from diga_async._cli.display import (
    console_for,
    live,
    phone_panel,
    phone_table,
    run_view,
)
from diga_async._cli.progress import Standing

STATS = LookupStats(
    found=1200,
    missing=30,
    failed=4,
    retries=7,
    throttled=9,
    in_flight=2,
    elapsed=10.0,
    rate=100.4,
    remaining_seconds=None,
)
STANDING = Standing(
    outcomes=Counter(found=1200, missing=30, failed=4),
    stats=STATS,
    settled=1234,
    total=5000,
    outage=False,
)
EVERYTHING = phone_fields(
    nickname="Ventas",
    released_at="2026-01-02T03:04:05Z",
    assigned_at="2026-01-01T00:00:00",
    inbound_agent_id="9b2d1f6e-0000-4000-8000-00000000000b",
    sip_config={"termination_uri": "sip.example", "username": "troncal-1"},
    checkout_url="https://checkout.example/pay/1",
    region_codes=["ES-MD", "ES-CT"],
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def shown(monkeypatch):
    """Return what a picture looks like in a pipe of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def shown(picture, stream=None):
        stream = stream or io.StringIO()
        console_for(stream).print(picture)
        return stream.getvalue()

    return shown


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["1,234/5,000", "100/s", "0:00:38 left"]),
        ({"total": None}, ["1,234 ", "-:--:-- left"]),
        ({"stats": attrs.evolve(STATS, rate=0.0)}, ["0/s", "-:--:-- left"]),
        ({"settled": 5001}, ["0:00:00 left"]),
        ({"outage": True}, ["no answer: waiting"]),
        ({}, ["found 1,200", "missing 30", "failed 4", "throttled 9"]),
    ],
)
def test_a_run_is_drawn_in_two_lines(shown, changes, words):
    lines = shown(run_view(attrs.evolve(STANDING, **changes))).splitlines()
    assert len(lines) == 2
    assert [w for w in words if w not in "\n".join(lines)] == []
    assert max(map(len, lines)) <= 80


async def test_on_a_terminal_a_run_is_redrawn(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    drawn = asyncio.Event()
    calls = []

    def draw():
        calls.append(None)
        if len(calls) > 2:
            drawn.set()
        return run_view(STANDING)

    terminal = Terminal()
    async with live(console_for(terminal), draw):
        await drawn.wait()
    assert "1,234/5,000" in re.sub(r"\x1b\[[\d;]*m", "", terminal.getvalue())


@pytest.mark.parametrize("kind", ["pipe", "dumb"])
async def test_where_nothing_can_be_redrawn_nothing_is_drawn(monkeypatch, kind):
    monkeypatch.setenv("TERM", "dumb" if kind == "dumb" else "xterm")
    stream = Terminal() if kind == "dumb" else io.StringIO()
    async with live(console_for(stream), lambda: run_view(STANDING)):
        await asyncio.sleep(0)
    assert stream.getvalue() == ""


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "CLICOLOR_FORCE", "CI"])
def test_a_pipe_gets_no_control_characters_whatever_is_set(
    shown, monkeypatch, variable
):
    monkeypatch.setenv(variable, "1")
    for picture in (run_view(STANDING), phone_panel(Phone.from_dict(EVERYTHING))):
        assert "\x1b" not in shown(picture)


def test_no_color_means_no_colours_on_a_terminal(shown, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[32m" in shown(run_view(STANDING), Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    for picture in (run_view(STANDING), phone_panel(Phone.from_dict(EVERYTHING))):
        assert re.findall(r"\x1b\[(?:\d+;)*[34]\d", shown(picture, Terminal())) == []


def test_a_phone_is_shown_without_its_payment_link_and_sip_credentials(shown):
    text = shown(phone_panel(Phone.from_dict(EVERYTHING)))
    words = ["+34911234567", "assigned", "netelip", "Ventas", "ES-MD, ES-CT"]
    words += ["2026-01-02 03:04 UTC", "2026-01-01 00:00 UTC", "--json shows it"]
    words += ["telephony provider", "region codes", "assigned at", "released at"]
    words += ["inbound agent id", "SIP config", "checkout URL"]
    assert [w for w in words if w not in text] == []
    assert "troncal" not in text
    assert "sip.example" not in text
    assert "checkout.example" not in text


def test_fields_without_a_value_have_no_line(shown):
    lines = shown(phone_panel(Phone.from_dict(phone_fields()))).splitlines()
    assert len(lines) == 5


def test_control_characters_from_the_server_do_not_reach_the_terminal(shown):
    phone = Phone.from_dict(
        phone_fields(
            number="\x1b[2J", status="\x1b]0;x\x07", nickname="[red]\u202ex\x9b"
        )
    )
    for picture in (phone_panel(phone), phone_table([phone])):
        text = shown(picture)
        assert "[red]" in text
        assert not set("\x1b\x07\u202e\x9b") & set(text)


def test_a_table_of_phones_fits_80_columns(shown):
    phone = Phone.from_dict(
        phone_fields(
            number="sip:centralita-854@pbx.empresa.example",
            status="pending_verification",
            nickname="Atención al cliente A Coruña",
        )
    )
    lines = shown(phone_table([phone])).splitlines()
    assert max(map(len, lines)) <= 80
    assert "pending_verification" in "\n".join(lines)
