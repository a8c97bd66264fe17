"""Phones as a table on a terminal."""

import io
import re
import sys

import pytest
from fakes import phone_fields

from diga_async import Phone
from diga_async._cli.table import PhoneTable, column_widths

LONG = phone_fields(
    number="sip:centralita-854@pbx.empresa.example",
    status="pending_verification",
    nickname="Atención al cliente 日本語 A Coruña y alrededores",
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def drawn(monkeypatch):
    """Return the lines of a table of phones on a terminal of that width."""

    async def drawn(width, *phones):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setattr(sys, "stdout", Terminal())
        table = PhoneTable()
        for fields in phones:
            await table.write(Phone.from_dict(fields).to_dict())
        assert table.outcomes.total() == len(phones)
        return sys.stdout.getvalue().splitlines()

    return drawn


def bare(line):
    return re.sub(r"\x1b\[[\d;]*m", "", line)


@pytest.mark.parametrize("width", [10, 40, 80, 100, 120, 300])
async def test_a_line_never_wraps(drawn, width):
    header, *lines = await drawn(width, LONG, phone_fields())
    assert len(lines) == 2
    cells = [len(bare(line)) + len(re.findall("[日本語]", line)) for line in lines]
    assert max(len(bare(header)), *cells) <= max(width, 16)


@pytest.mark.parametrize(
    ("width", "names"),
    [
        (40, ["number", "status"]),
        (80, ["number", "status", "id"]),
        (90, ["number", "status", "id", "nickname"]),
        (100, ["number", "status", "id", "nickname", "provider"]),
    ],
)
async def test_the_most_useful_columns_are_shown_first(drawn, width, names):
    header, line = await drawn(width, phone_fields())
    assert bare(header).split() == names
    assert len(bare(line)) <= width


async def test_no_phones_have_no_header(drawn):
    assert await drawn(80) == []


async def test_no_color_means_no_colours(drawn, monkeypatch):
    assert "\x1b[32m" in "".join(await drawn(80, phone_fields()))
    monkeypatch.setenv("NO_COLOR", "1")
    text = "".join(await drawn(80, phone_fields()))
    assert re.findall(r"\x1b\[(?:\d+;)*[34]\d", text) == []


async def test_control_characters_do_not_reach_the_terminal(drawn, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    fields = phone_fields(number="\x1b[2J", status="\x07", nickname="[red]\u202e")
    _, line = await drawn(100, fields)
    assert "[red]" in line
    assert not set("\x07\u202e") & set(line)
    assert "\x1b[2J" not in line


def test_the_rest_of_a_line_widens_a_column():
    assert column_widths(84)["number"] == 24
    assert column_widths(120)["nickname"] == 32
    assert column_widths(500)["nickname"] == 40
