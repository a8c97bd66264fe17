"""`diga phone fetch`, from arguments to the exit code."""

import csv
import json
import os
import signal
import sys
from itertools import pairwise
from uuid import UUID

import pytest

from diga_async._cli import fetch, output_file
from diga_async.sandbox import Faults

MISSING = "00000000-0000-4000-8000-000000000000"

pytestmark = pytest.mark.usefixtures("blocking_is_fine")


@pytest.fixture(params=["out.jsonl", "out.csv"])
def out(request, tmp_path):
    return tmp_path / request.param


def rows(text):
    return [json.loads(line) for line in text.splitlines()]


def outcomes(path):
    """Return the ids of a file with their outcomes; each id must be there once."""
    with path.open(newline="") as file:
        read = csv.DictReader(file) if path.suffix == ".csv" else map(json.loads, file)
        pairs = [(row["phone_id"], row["outcome"]) for row in read]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def interrupt_at(monkeypatch, *numbers):
    """Send Ctrl-C to ourselves before the rows of these numbers are written."""
    row_of, count = fetch.row_of, iter(range(1, 10_000))

    def row_or_signal(outcome):
        if next(count) in numbers:
            signal.raise_signal(signal.SIGINT)
        return row_of(outcome)

    monkeypatch.setattr(fetch, "row_of", row_or_signal)


def test_rows_go_to_standard_output_and_words_to_standard_error(diga, sandbox, ids):
    code, printed, words = diga("phone", "fetch", ids)
    assert code == 0
    assert {UUID(r["phone_id"]) for r in rows(printed)} == set(sandbox.phone_ids)
    assert {r["outcome"] for r in rows(printed)} == {"found"}
    assert all(r["phone"]["id"] == r["phone_id"] for r in rows(printed))
    assert "20 found, 0 missing, 0 failed\ndiga: 20 looked up" in words
    assert "\x1b" not in printed + words


def test_each_distinct_id_has_one_row(diga, sandbox, ids, out):
    with ids.open("a") as file:
        file.write(f"\n# twice\n{sandbox.phone_ids[0]}\n{MISSING}\nno-id\nno-id\n")
    code, printed, words = diga("phone", "fetch", ids, "-o", out)
    expected = {str(i): "found" for i in sandbox.phone_ids}
    assert outcomes(out) == expected | {MISSING: "missing", "no-id": "failed"}
    assert (code, printed) == (1, "")
    assert len(sandbox.requests) == 21
    assert "--retry-failed" in words


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", 0),
        ("{found}", 0),
        ("{found}\n{missing}", 1),
        ("{found}\nno-id", 1),
    ],
)
def test_the_exit_code_says_whether_all_were_found(diga, sandbox, tmp_path, text, code):
    found = sandbox.phone_ids[0]
    (tmp_path / "some").write_text(text.format(found=found, missing=MISSING))
    assert diga("phone", "fetch", "some")[0] == code


def test_the_exit_code_is_judged_over_earlier_runs_too(diga, sandbox, ids, out):
    (ids.parent / "bad").write_text("no-id\n")
    assert diga("phone", "fetch", "bad", "-o", out)[0] == 1
    code, _, words = diga("phone", "fetch", ids, "-o", out, "--resume")
    assert code == 1
    assert "1 rows are there already" in words
    assert "20 found, 0 missing, 1 failed\ndiga: 20 looked up" in words


def test_a_header_is_passed_over_with_a_word(diga, sandbox, tmp_path):
    (tmp_path / "ids.csv").write_text(f"phone;name\n{sandbox.phone_ids[0]};x\n")
    code, printed, words = diga("phone", "fetch", "ids.csv")
    assert (code, len(rows(printed))) == (0, 1)
    assert "passed over the header 'phone'" in words


def test_ids_may_come_from_standard_input(diga, sandbox, ids, monkeypatch):
    for arguments in ([], ["-"]):
        with ids.open() as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            code, printed, _ = diga("phone", "fetch", *arguments)
        assert (code, len(rows(printed))) == (0, 20)


def test_a_file_that_exists_is_not_touched(diga, sandbox, ids, out):
    out.write_text("mine")
    code, _, words = diga("phone", "fetch", ids, "-o", out)
    assert code == 2
    assert "exists" in words
    assert out.read_text() == "mine"
    assert sandbox.requests == []


def test_what_is_there_is_not_asked_again(diga, sandbox, ids, out):
    (ids.parent / "some").write_text(f"{sandbox.phone_ids[0]}\n{sandbox.phone_ids[1]}")
    diga("phone", "fetch", "some", "-o", out)
    sandbox.requests.clear()
    with out.open("ab") as file:
        file.write(b'{"phone_id": "' if out.suffix == ".jsonl" else b"9b2d1f6e-")
    code, _, words = diga("phone", "fetch", ids, "-o", out, "--resume")
    assert code == 0
    assert len(sandbox.requests) == 18
    assert len(outcomes(out)) == 20
    assert "2 rows are there already" in words
    assert "torn" in words


def test_a_file_that_is_not_there_is_resumed_from_its_start(diga, ids, out):
    assert diga("phone", "fetch", ids, "-o", out, "--resume")[0] == 0
    assert len(outcomes(out)) == 20


def test_standard_output_is_never_resumed(diga, ids):
    """Nobody knows what was printed before."""
    code, printed, words = diga("phone", "fetch", ids, "--resume")
    assert (code, len(rows(printed))) == (0, 20)
    assert "nothing to resume without -o OUT; starting afresh" in words


def test_what_failed_is_asked_again_when_told_so(diga, sandbox, ids, out):
    sandbox.faults = Faults(wrong_ids=1.0)
    assert diga("phone", "fetch", ids, "-o", out)[0] == 1
    assert set(outcomes(out).values()) == {"failed"}
    sandbox.faults = Faults()
    assert diga("phone", "fetch", ids, "-o", out, "--resume")[0] == 1
    assert diga("phone", "fetch", ids, "-o", out, "--retry-failed")[0] == 0
    assert set(outcomes(out).values()) == {"found"}
    assert len(outcomes(out)) == 20


def test_retry_failed_starts_a_file_that_is_not_there(diga, sandbox, ids, out):
    assert diga("phone", "fetch", ids, "-o", out, "--retry-failed")[0] == 0
    assert len(outcomes(out)) == 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ids.txt", "--retry-failed"], "needs -o OUT"),
        (["ids.txt", "-o", "out.txt"], ".jsonl or .csv"),
        (["ids.txt", "-o", "out"], ".jsonl or .csv"),
        (["no.txt", "-o", "out.csv"], "cannot read no.txt: no such file"),
        (["ids.txt", "--concurrency", "0"], "--concurrency"),
        (["ids.txt", "--per-second", "0"], "--per-second"),
        (["ids.txt", "--base-url", "http://diga.example"], "http"),
        (["ids.txt", "--api-key", "x"], "No such option"),
        (["ids.txt", "more.txt"], "unexpected"),
    ],
)
def test_wrong_usage_touches_nothing(diga, sandbox, ids, arguments, words):
    code, printed, said = diga("phone", "fetch", *arguments)
    assert (code, printed) == (2, "")
    assert words in said
    assert list(ids.parent.iterdir()) == [ids]
    assert sandbox.requests == []


def test_without_a_key_nothing_is_touched(diga, sandbox, ids, monkeypatch):
    monkeypatch.delenv("DIGA_API_KEY")
    code, _, words = diga("phone", "fetch", ids, "-o", "out.csv")
    assert code == 2
    assert "DIGA_API_KEY" in words
    assert list(ids.parent.iterdir()) == [ids]


def test_without_ids_a_file_is_asked_for(diga, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    code, _, words = diga("phone", "fetch")
    assert code == 2
    assert "FILE" in words


def test_options_reach_the_client(diga, sandbox, ids):
    sandbox.latency = 0.01
    assert diga("phone", "fetch", ids, "--concurrency", 1, "--per-second", 1000)[0] == 0
    times = [request.at for request in sandbox.requests]
    assert all(later - sooner >= 0.01 for sooner, later in pairwise(times))


def test_plain_http_elsewhere_must_be_allowed(diga, sandbox, ids):
    where = sandbox.url.replace("127.0.0.1", "localhost.localdomain")
    assert diga("phone", "fetch", ids, "--base-url", where)[0] == 2


@pytest.mark.parametrize("fault", ["refused", "forbidden"])
def test_a_key_that_is_refused_ends_the_run(diga, sandbox, ids, out, fault):
    if fault == "refused":
        sandbox.api_key = "another"
    else:
        sandbox.faults = Faults(forbidden=1.0)
    code, _, words = diga("phone", "fetch", ids, "-o", out)
    assert code == 3
    assert outcomes(out) == {}
    assert f"diga phone fetch {ids} -o {out} --resume" in words


def test_an_early_end_can_be_gone_on_with(diga, sandbox, ids, out):
    sandbox.per_second, sandbox.burst, sandbox.retry_after = 1, 4, 3600
    code, _, words = diga("phone", "fetch", ids, "-o", out)
    assert code == 4
    assert "stopped early: 429" in words
    assert 0 < len(outcomes(out)) < 20
    sandbox.per_second = None
    assert diga("phone", "fetch", ids, "-o", out, "--resume")[0] == 0
    assert len(outcomes(out)) == 20


def test_without_a_file_an_early_end_names_one(diga, sandbox, ids):
    sandbox.api_key = "another"
    code, _, words = diga("phone", "fetch", ids)
    assert code == 3
    assert f"diga phone fetch {ids} -o OUT.jsonl" in words


def test_ctrl_c_waits_for_what_is_under_way(diga, sandbox, ids, out, monkeypatch):
    sandbox.latency = 0.005
    interrupt_at(monkeypatch, 4)
    code, _, words = diga("phone", "fetch", ids, "-o", out, "--concurrency", 2)
    assert code == 130
    assert "finishing" in words
    done = len(outcomes(out))
    assert 4 <= done <= 8
    assert len(sandbox.requests) == done
    assert diga("phone", "fetch", ids, "-o", out, "--resume")[0] == 0
    assert len(outcomes(out)) == len(sandbox.requests) == 20


def test_ctrl_c_twice_does_not_wait(diga, sandbox, ids, out, monkeypatch):
    sandbox.latency = 0.005
    interrupt_at(monkeypatch, 4, 5)
    code, _, _ = diga("phone", "fetch", ids, "-o", out, "--concurrency", 4)
    assert code == 130
    assert 4 <= len(outcomes(out)) <= 4 + 2 * 4  # what was ready already
    assert diga("phone", "fetch", ids, "-o", out, "--resume")[0] == 0


def test_ctrl_c_before_anything_was_sent_ends_at_once(diga, sandbox, ids, monkeypatch):
    def interrupted(*_):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(output_file.OutputFile, "take_stock", interrupted)
    code, _, words = diga("phone", "fetch", ids, "-o", "out.csv")
    assert (code, words) == (130, "diga: interrupted\n")
    assert sandbox.requests == []


def test_a_third_ctrl_c_interrupts_whatever_it_meets(diga, sandbox, ids, monkeypatch):
    row_of = fetch.row_of

    def three_signals(outcome):
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        return row_of(outcome)

    monkeypatch.setattr(fetch, "row_of", three_signals)
    assert diga("phone", "fetch", ids)[0] == 130


def test_signals_are_given_back(diga, sandbox, ids):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    diga("phone", "fetch", ids)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_run_is_drawn_when_somebody_looks(diga, sandbox, ids, out, monkeypatch):
    drawn = []

    def note(standing):
        drawn.append(standing)
        return ""

    for module in ("_cli.fetch", "_cli.display"):
        monkeypatch.setattr(f"diga_async.{module}.is_terminal", lambda _: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(fetch, "run_view", note)
    assert diga("phone", "fetch", ids, "-o", out)[0] == 0
    assert (drawn[0].total, drawn[0].settled) == (20, 0)
    drawn.clear()
    assert diga("phone", "fetch", ids)[0] == 0
    assert drawn == []  # rows on the screen are progress enough


def test_a_pipe_of_ids_has_no_total(diga, sandbox, ids, out, monkeypatch):
    drawn = []
    monkeypatch.setattr("diga_async._cli.fetch.is_terminal", lambda _: False)
    monkeypatch.setattr("diga_async._cli.display.is_terminal", lambda _: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(fetch, "run_view", lambda s: drawn.append(s) or "")
    reading, writing = os.pipe()
    os.write(writing, ids.read_bytes())
    os.close(writing)
    assert diga("phone", "fetch", f"/dev/fd/{reading}", "-o", out)[0] == 0
    os.close(reading)
    assert drawn[0].total is None
    assert len(outcomes(out)) == 20
