"""Messages on standard error."""

import io
import os
import sys
from pathlib import Path

import pytest

from diga_async._cli.terminal import (
    Messages,
    forgiving_standard_error,
    printable,
    replace_unknown_characters,
    say,
)


def test_messages_go_to_standard_error_without_control_characters(capsys):
    say("a\x1b[2Jb\nc")
    assert capsys.readouterr() == ("", "diga: a\ufffd[2Jb\ufffdc\n")


def test_without_standard_error_nothing_is_printed(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    with forgiving_standard_error():
        say("nothing")


def test_quiet_messages_are_errors_only(capsys):
    Messages(quiet=True).note("nothing")
    Messages().note("something")
    assert capsys.readouterr().err == "diga: something\n"


def full_disk(tmp_path):
    return os.open("/dev/full", os.O_WRONLY)


def closed_pipe(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def read_only(tmp_path):
    (tmp_path / "log").touch()
    return os.open(tmp_path / "log", os.O_RDONLY)


@pytest.mark.parametrize(
    "unwritable",
    [
        pytest.param(
            full_disk,
            marks=pytest.mark.skipif(
                not Path("/dev/full").exists(), reason="needs /dev/full"
            ),
        ),
        closed_pipe,
        read_only,
    ],
)
def test_standard_error_that_cannot_be_written_raises_nothing(
    tmp_path, monkeypatch, unwritable
):
    descriptor = unwritable(tmp_path)
    stream = io.TextIOWrapper(io.FileIO(descriptor, "w"), write_through=True)
    monkeypatch.setattr(sys, "stderr", stream)
    with forgiving_standard_error():
        say("a word")
        sys.stderr.write("another\n")
    assert sys.stderr is stream
    stream.close()


def test_standard_error_that_can_be_written_is_written(capfd):
    with forgiving_standard_error():
        say("a word")
    assert capfd.readouterr().err == "diga: a word\n"


def test_a_terminal_that_lacks_a_letter_gets_a_question_mark(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii"))
    replace_unknown_characters()
    sys.stdout.write("Recepción\n")
    sys.stdout.flush()
    assert raw.getvalue() == b"Recepci?n\n"


def test_printable_text_stays_as_it_is():
    assert printable("Recepción 漢字") == "Recepción 漢字"
