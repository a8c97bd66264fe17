"""The output on a terminal."""

import asyncio
import io
import re
from collections import Counter
from datetime import UTC, datetime
from uuid import UUID

import attrs
import pytest
from fakes import PHONE_ID, phone_fields

from diga_async import Change, LookupStats, Phone
from diga_async._cli.display import (
    change_line,
    console_for,
    list_view,
    live,
    phone_panel,
    phone_table,
    run_view,
)
from diga_async._cli.progress import ListStanding, Standing

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
MIDNIGHT = datetime(2026, 7, 1, tzinfo=UTC)
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
    """Return a picture as a pipe of 80 columns shows it."""
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
        ({"limit": 197.6, "outage": True}, ["throttled 9", "no answer: waiting"]),
        ({"limit": 197.6}, ["throttled by the server to 198/s"]),
    ],
)
def test_a_run_is_drawn_in_two_lines(shown, changes, words):
    lines = shown(run_view(attrs.evolve(STANDING, **changes))).splitlines()
    assert len(lines) == 2
    assert [w for w in words if w not in "\n".join(lines)] == []
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["page 13/40", "phones 1,250"]),
        ({"total_pages": None}, ["page 13 ", "phones 1,250"]),
        ({"throttled": 4}, ["4 throttled"]),
        ({"throttled": 4, "limit": 2.0, "outage": True}, ["4 throttled", "waiting"]),
        ({"throttled": 4, "limit": 2.0}, ["throttled by the server to 2.0/s"]),
        ({"outage": True}, ["no answer: waiting"]),
    ],
)
def test_a_listing_is_drawn_in_two_lines(shown, changes, words):
    standing = ListStanding(
        phones=1250, pages=13, total_pages=40, throttled=0, outage=False
    )
    lines = shown(list_view(attrs.evolve(standing, **changes))).splitlines()
    assert len(lines) == 2
    text = "\n".join(f"{line} " for line in lines)
    assert [w for w in words if w not in text] == []
    assert max(map(len, lines)) <= 80


def change(before, after):
    old, new = (f and Phone.from_dict(phone_fields(**f)) for f in (before, after))
    fields = {
        a.name
        for a in attrs.fields(Phone)
        if old and new and getattr(old, a.name) != getattr(new, a.name)
    }
    return Change((new or old).id, old, new, frozenset(fields))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            {"status": "reserved"},
            {"status": "assigned"},
            "status reserved -> assigned",
        ),
        (
            {"nickname": None, "status": "reserved"},
            {"nickname": "Ventas\x1b", "status": "released"},
            "status reserved -> released, nickname none -> Ventas\ufffd",
        ),
        (
            {"assigned_at": None, "region_codes": []},
            {"assigned_at": "2026-01-01T00:00:00", "region_codes": ["ES-MD", "ES-CT"]},
            (
                "assigned_at none -> 2026-01-01 00:00 UTC, "
                "region_codes none -> ES-MD ES-CT"
            ),
        ),
        (
            {"checkout_url": None, "sip_config": None},
            {"checkout_url": "https://pay", "sip_config": {"username": "troncal"}},
            "sip_config changed, checkout_url changed",
        ),
        (None, {"status": "reserved"}, "new: reserved"),
        ({"status": "reserved"}, None, "gone (it was reserved)"),
    ],
)
def test_a_change_is_one_line(before, after, words):
    line = change_line(change(before, after), datetime(2026, 7, 1, 9, 5, 7, tzinfo=UTC))
    assert line.plain == f"09:05:07  {PHONE_ID[:8]}  +34911234567  {words}"


def test_a_phone_that_was_never_there_is_gone_without_a_number():
    line = change_line(Change(UUID(PHONE_ID), None, None, frozenset()), MIDNIGHT)
    assert line.plain == f"00:00:00  {PHONE_ID[:8]}    gone"


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
