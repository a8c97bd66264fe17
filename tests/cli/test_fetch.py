"""`diga phone fetch`, from arguments to the exit code."""

import asyncio
import csv
import json
import os
import signal
import sys
from itertools import pairwise
from uuid import UUID

import pytest

from diga_async._cli import fetch, output_file, reporting
from diga_async.sandbox import Faults

MISSING = "00000000-0000-4000-8000-000000000000"

pytestmark = pytest.mark.usefixtures("blocking_is_fine")


@pytest.fixture(params=["out.jsonl", "out.csv"])
def out(request, tmp_path):
    return tmp_path / request.param


def rows(text):
    return [json.loads(line) for line in text.splitlines()]


def outcomes(path):
    """Return the ids of a file with their outcomes; each id must occur once."""
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


def test_rows_go_to_standard_output_and_messages_to_standard_error(diga, sandbox, ids):
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
        ("", 2),
        ("phone_id", 0),
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
    (ids.parent / "bad").write_text(f"{sandbox.phone_ids[0]}\nno-id\n")
    assert diga("phone", "fetch", "bad", "-o", out)[0] == 1
    code, _, words = diga("phone", "fetch", ids, "-o", out, "--resume")
    assert code == 1
    assert "has 2 rows already" in words
    assert "20 found, 0 missing, 1 failed\ndiga: 19 looked up" in words


def test_a_header_is_skipped_and_reported(diga, sandbox, tmp_path):
    (tmp_path / "ids.csv").write_text(f"name;phone-id\nx;{sandbox.phone_ids[0]}\n")
    code, printed, words = diga("phone", "fetch", "ids.csv")
    assert (code, len(rows(printed))) == (0, 1)
    assert "the ids are in column 'phone-id'" in words


def test_a_column_of_ids_is_never_guessed(diga, sandbox, tmp_path):
    """The ids of agents look like those of phones."""
    agent, phone = sandbox.phone_ids[:2]
    (tmp_path / "calls.csv").write_text(f"agent_id,phone\n{agent},{phone}\n")
    code, printed, words = diga("phone", "fetch", "calls.csv", "-o", "out.csv")
    assert (code, printed) == (2, "")
    assert words == (
        "diga: calls.csv has no column named phone_id or id; give --column NAME, one "
        "of: agent_id, phone\n"
    )
    assert sandbox.requests == []
    assert not (tmp_path / "out.csv").exists()
    code, printed, _ = diga("phone", "fetch", "calls.csv", "--column", "phone")
    assert [row["phone_id"] for row in rows(printed)] == [str(phone)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty: it has no ids"),
        ("\n# none\n\n", "has no ids (3 lines: empty, or comments)"),
    ],
)
def test_an_input_of_nothing_is_refused_before_anything_is_created(
    diga, ids, monkeypatch, text, words
):
    """More likely than not, what wrote it has failed."""
    ids.write_text(text)
    for name, *options in ("ids.txt",), ("-", "--resume"), ("-", "--via", "list"):
        with ids.open() as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            code, _, said = diga("phone", "fetch", name, "-o", "out.csv", *options)
        called = "standard input" if name == "-" else name
        assert (code, said) == (2, f"diga: {called} {words}\n")
    assert list(ids.parent.iterdir()) == [ids]


@pytest.mark.parametrize("command", [["fetch", "ids.txt"], ["list"]])
def test_a_wrong_address_leaves_no_file(diga, sandbox, ids, out, command):
    wrong = ("--base-url", f"{sandbox.url}/api")
    code, _, words = diga("phone", *command, "-o", out, *wrong)
    assert code == 2
    assert "there is no Diga API" in words
    assert list(ids.parent.iterdir()) == [ids]
    out.touch()
    assert diga("phone", *command, "-o", out, "--resume", *wrong)[0] == 2
    assert out.exists()


def test_tls_to_a_port_that_speaks_plain_http_ends_the_run(diga, sandbox, ids, out):
    """No id would have another answer, so no row says that one failed."""
    address = sandbox.url.replace("http:", "https:")
    code, _, words = diga("phone", "fetch", ids, "-o", out, "--base-url", address)
    assert code == 4
    assert outcomes(out) == {}
    assert "stopped early: could not connect to 127.0.0.1" in words
    assert "write http: instead of https: in the base URL (--base-url" in words
    assert "correct that first; to go on: diga phone fetch" in words


def test_failed_ids_are_named_with_the_reason_and_the_advice_that_fits(
    diga, sandbox, ids, out
):
    texts = [f"no-{n}" for n in range(4)]
    ids.write_text("\n".join([*texts, str(sandbox.phone_ids[0])]))
    code, _, words = diga("phone", "fetch", ids, "-o", out)
    assert code == 1
    for text in texts[:3]:
        assert f"failed: '{text}': a phone id is a UUID" in words
    assert "failed: 1 other id\n" in words
    assert f"4 are not phone ids; correct them in {ids}, then: diga phone" in words
    assert "--retry-failed\n" in words
    assert "again:" not in words
    words = diga("phone", "fetch", ids, "-o", out, "--resume")[2]
    assert f"4 are not phone ids; correct them in {ids}, then: diga phone" in words
    words = diga("phone", "fetch", ids)[2]
    assert words.endswith(f"4 are not phone ids; correct them in {ids}\n")


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


def test_ids_that_have_a_row_are_not_asked_again(diga, sandbox, ids, out):
    (ids.parent / "some").write_text(f"{sandbox.phone_ids[0]}\n{sandbox.phone_ids[1]}")
    diga("phone", "fetch", "some", "-o", out)
    sandbox.requests.clear()
    with out.open("ab") as file:
        file.write(b'{"phone_id": "' if out.suffix == ".jsonl" else b"9b2d1f6e-")
    code, _, words = diga("phone", "fetch", ids, "-o", out, "--resume")
    assert code == 0
    assert len(sandbox.requests) == 18
    assert len(outcomes(out)) == 20
    assert "has 2 rows already" in words
    assert "torn" in words


def test_resuming_a_file_that_is_not_there_starts_it(diga, ids, out):
    assert diga("phone", "fetch", ids, "-o", out, "--resume")[0] == 0
    assert len(outcomes(out)) == 20


def test_standard_output_is_never_resumed(diga, ids):
    """The rows printed before are unknown."""
    code, printed, words = diga("phone", "fetch", ids, "--resume")
    assert (code, len(rows(printed))) == (0, 20)
    assert "nothing to resume without -o OUT; starting from the beginning" in words


def test_failed_ids_are_asked_again_with_retry_failed(diga, sandbox, ids, out):
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
        (["ids.txt", "-o", "-"], "leave -o - out"),
        (["ids.txt", "-o", f"{'x' * 300}.csv"], "csv: file name too long"),
        (["ids.txt", "-o", "ids.txt/out.csv"], "out.csv: not a directory"),
        (["ids.txt", "-o", "none/out.csv"], "create its folder: mkdir -p none"),
        (["no.txt", "-o", "out.csv"], "cannot read no.txt: no such file"),
        (["ids.txt", "--concurrency", "0"], "--concurrency"),
        (["ids.txt", "--per-second", "0"], "--per-second"),
        (["ids.txt", "--base-url", "http://diga.example"], "http"),
        (["ids.txt", "--api-key", "x"], "No such option"),
        (["ids.txt", "more.txt"], "unexpected"),
        (["ids.txt", "--timeout", "0"], "--timeout"),
        (["ids.txt", "--csv-raw"], "--csv-raw needs -o OUT.csv"),
        (["ids.txt", "-o", "out.jsonl", "--csv-raw"], "--csv-raw"),
        (["ids.txt", "--quiet", "--verbose"], "exclude each other"),
        (["ids.txt", "--column", "phone"], "no column 'phone'"),
        (["ids.txt", "--proxy", "socks5://x"], "--proxy must be"),
        (["ids.txt", "--key-file", "none"], "cannot read the key file none"),
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


def test_a_run_that_ended_early_can_be_resumed(diga, sandbox, ids, out):
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


def test_ctrl_c_finishes_the_requests_in_flight(diga, sandbox, ids, out, monkeypatch):
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


def test_the_second_ctrl_c_stops_now(diga, sandbox, ids, out, monkeypatch):
    sandbox.latency = 0.005
    interrupt_at(monkeypatch, 4, 5)
    code, _, _ = diga("phone", "fetch", ids, "-o", out, "--concurrency", 4)
    assert code == 130
    assert 4 <= len(outcomes(out)) <= 4 + 2 * 4  # outcomes that were ready already
    assert diga("phone", "fetch", ids, "-o", out, "--resume")[0] == 0


def test_ctrl_c_before_anything_was_sent_ends_immediately(
    diga, sandbox, ids, monkeypatch
):
    def interrupted(*_):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(output_file.OutputFile, "read_rows", interrupted)
    code, _, words = diga("phone", "fetch", ids, "-o", "out.csv")
    assert (code, words) == (130, "diga: interrupted\n")
    assert sandbox.requests == []


def test_a_third_ctrl_c_interrupts(diga, sandbox, ids, monkeypatch):
    row_of = fetch.row_of

    def three_signals(outcome):
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        return row_of(outcome)

    monkeypatch.setattr(fetch, "row_of", three_signals)
    assert diga("phone", "fetch", ids)[0] == 130


def test_signal_handlers_are_restored(diga, sandbox, ids):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    diga("phone", "fetch", ids)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_run_is_drawn_on_a_terminal(diga, sandbox, ids, out, monkeypatch):
    drawn = []

    def note(standing):
        drawn.append(standing)
        return ""

    for module in ("fetch", "display"):
        monkeypatch.setattr(f"diga_async._cli.{module}.is_terminal", lambda _: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(fetch, "run_view", note)
    assert diga("phone", "fetch", ids, "-o", out)[0] == 0
    assert (drawn[0].total, drawn[0].settled) == (20, 0)
    drawn.clear()
    assert diga("phone", "fetch", ids)[0] == 0
    assert drawn == []  # rows on the screen are progress enough


@pytest.mark.skipif(os.name != "posix", reason="needs /dev/fd")
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


# --- before the run


def test_an_input_without_ids_is_refused_before_anything_is_written(
    diga, sandbox, tmp_path
):
    (tmp_path / "names.txt").write_text("Madrid\nSevilla\n")
    code, printed, words = diga("phone", "fetch", "names.txt", "-o", "out.jsonl")
    assert (code, printed) == (2, "")
    assert "'Madrid'" in words
    assert not (tmp_path / "out.jsonl").exists()


def test_the_input_and_the_output_must_not_be_the_same_file(
    diga, sandbox, ids, out, monkeypatch
):
    diga("phone", "fetch", ids, "-o", out)
    before = out.read_bytes()
    link = out.with_name(f"link{out.suffix}")
    link.symlink_to(out)
    sandbox.requests.clear()
    for file, to in ((out, out), (out, link), (link, out)):
        for option in ("--resume", "--retry-failed"):
            code, _, words = diga("phone", "fetch", file, "-o", to, option)
            assert code == 2
            assert "same file" in words
    with out.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert diga("phone", "fetch", "-o", out, "--resume")[0] == 2
    assert out.read_bytes() == before
    assert sandbox.requests == []


def test_standard_output_must_not_be_the_input(diga, sandbox, ids, monkeypatch):
    with ids.open("a") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        code, _, words = diga("phone", "fetch", ids)
    assert code == 2
    assert "standard output is" in words


def test_a_column_can_be_named(diga, sandbox, tmp_path):
    (tmp_path / "ids.csv").write_text(f"id,teléfono\n1,{sandbox.phone_ids[0]}\n")
    code, _, words = diga("phone", "fetch", "ids.csv")
    assert code == 2
    assert "--column" in words
    code, printed, _ = diga("phone", "fetch", "ids.csv", "--column", "teléfono")
    assert (code, len(rows(printed))) == (0, 1)


# --- input and output


def test_an_earlier_output_gives_its_failed_ids(diga, sandbox, ids, out):
    sandbox.phones[sandbox.phone_ids[3]]["number"] = None
    assert diga("phone", "fetch", ids, "-o", out)[0] == 1
    sandbox.phones[sandbox.phone_ids[3]]["number"] = "+34910000000"
    code, printed, words = diga("phone", "fetch", out)
    assert code == 0
    assert [row["phone_id"] for row in rows(printed)] == [str(sandbox.phone_ids[3])]
    assert f"left out 19 rows of {out} that are not failed" in words


def test_an_empty_list_is_reported(diga, sandbox, tmp_path):
    (tmp_path / "ids.csv").write_text("phone_id\n")
    code, _, words = diga("phone", "fetch", "ids.csv", "-o", "out.csv")
    assert code == 0
    assert "no ids in ids.csv" in words


def test_a_broken_row_of_the_input_ends_the_run_after_the_rows_before(
    diga, sandbox, tmp_path
):
    good, more = sandbox.phone_ids[:2]
    (tmp_path / "ids.csv").write_text(f'{good},x\n{more},"a"b\n')
    code, _, words = diga("phone", "fetch", "ids.csv", "-o", "out.jsonl")
    assert code == 4
    assert "stopped early: line 2 of ids.csv cannot be read" in words
    assert "correct it first" in words
    assert outcomes(tmp_path / "out.jsonl") == {str(good): "found"}

    (tmp_path / "ids.csv").write_text(f"{good},x\n{more},ab\n")
    assert diga("phone", "fetch", "ids.csv", "-o", "out.jsonl", "--resume")[0] == 0
    assert len(outcomes(tmp_path / "out.jsonl")) == 2


def test_cells_that_a_spreadsheet_would_run_are_guarded_unless_raw(
    diga, sandbox, ids, tmp_path
):
    for phone in sandbox.phones.values():
        phone["nickname"] = "=1+1"
    for name, options, nickname in (
        ("out.csv", (), "'=1+1"),
        ("raw.csv", ("--csv-raw",), "=1+1"),
    ):
        assert diga("phone", "fetch", ids, "-o", name, *options)[0] == 0
        with (tmp_path / name).open(newline="") as file:
            assert {row["nickname"] for row in csv.DictReader(file)} == {nickname}


def test_an_output_that_vanishes_is_not_a_success(diga, sandbox, ids, out, monkeypatch):
    row_of = fetch.row_of

    def row_and_remove(outcome):
        out.unlink(missing_ok=True)
        return row_of(outcome)

    monkeypatch.setattr(fetch, "row_of", row_and_remove)
    code, _, words = diga("phone", "fetch", ids, "-o", out)
    assert code == 4
    assert f"stopped early: {out} was removed" in words
    assert "found" not in words
    monkeypatch.undo()


def test_an_output_that_vanishes_counts_more_than_ctrl_c(
    diga, sandbox, ids, out, monkeypatch
):
    """Code 130 would promise that --resume finds the rows."""
    row_of = fetch.row_of

    def remove_and_interrupt(outcome):
        out.unlink(missing_ok=True)
        signal.raise_signal(signal.SIGINT)
        return row_of(outcome)

    monkeypatch.setattr(fetch, "row_of", remove_and_interrupt)
    assert diga("phone", "fetch", ids, "-o", out)[0] == 4


# --- messages


def test_quiet_prints_errors_only(diga, sandbox, ids, out):
    assert diga("phone", "fetch", ids, "-o", out, "--quiet") == (0, "", "")
    sandbox.api_key = "another"
    out.unlink()
    code, _, words = diga("phone", "fetch", ids, "-o", out, "--quiet")
    assert code == 3
    assert words.startswith("diga: stopped early: 401")
    assert words.count("\n") == 1


def test_verbose_shows_retries_and_cool_downs(diga, sandbox, ids):
    sandbox.per_second, sandbox.burst, sandbox.retry_after = 500, 1, "0"
    sandbox.faults = Faults(errors=0.3)
    words = diga("phone", "fetch", ids, "--verbose")[2]
    assert "attempt 1 failed: 503" in words
    assert "attempt 2 found it" in words
    assert "throttled: 429" in words


def test_the_start_of_a_run_says_how_many_ids_it_looks_up_and_where(diga, sandbox, ids):
    assert f"looking up 20 ids at {sandbox.url}" in diga("phone", "fetch", ids)[2]
    ids.write_text(f"phone_id,x\n{sandbox.phone_ids[0]},y\n")
    assert "looking up 1 id at " in diga("phone", "fetch", ids, "-o", "out.csv")[2]
    words = diga("phone", "fetch", ids, "-o", "out.csv", "--resume")[2]
    assert f"looking up 1 id at {sandbox.url}, except those in out.csv\n" in words


def test_a_hint_repeats_every_option_that_was_given(diga, sandbox, ids, out):
    url = sandbox.url
    speed = ("--concurrency", 3, "--per-second", 2.5, "--timeout", 7)
    given = ("-o", out, "--resume", *speed, "--base-url", url)
    sandbox.api_key = "another"
    _, _, words = diga("phone", "fetch", ids, *given)
    assert f"diga phone fetch {ids} -o {out} " in words
    for option in ("--concurrency 3", "--per-second 2.5", "--timeout 7"):
        assert option in words
    assert f"--base-url {url} --resume\n" in words
    assert words.count("--resume") == 1


def test_after_a_refused_key_the_hint_says_to_change_it_first(diga, sandbox, ids, out):
    sandbox.api_key = "another"
    words = diga("phone", "fetch", ids, "-o", out)[2]
    assert "change the key in DIGA_API_KEY first; to go on: " in words
    (ids.parent / "key").write_text("sk-other")
    words = diga("phone", "fetch", ids, "-o", out, "--resume", "--key-file", "key")[2]
    assert "change the key in key first; " in words


def test_after_a_missing_permission_the_hint_names_it(diga, sandbox, ids, out):
    sandbox.faults = Faults(forbidden=1.0)
    assert "'Phones: read'" in diga("phone", "fetch", ids, "-o", out)[2]


def test_the_hint_for_ids_from_a_pipe_asks_for_the_same_ids(
    diga, sandbox, ids, monkeypatch
):
    sandbox.api_key = "another"
    with ids.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        words = diga("phone", "fetch", "-o", "out.csv")[2]
    assert "with the same ids on standard input: diga phone fetch - -o out.csv" in words


def test_nothing_is_sent_after_the_first_ctrl_c(diga, sandbox, ids, out, monkeypatch):
    """Pauses before retries end, and requests in flight get their rows."""
    sandbox.faults = Faults(errors=1.0)
    drain, allowed = fetch._Run._drain, []

    def note(run, task):
        drain(run, task)
        allowed.append(run.client.stats.requests)

    async def interrupt_soon(reporter, **_):
        while reporter.client.stats.requests < 16:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(fetch._Run, "_drain", note)
    monkeypatch.setattr(reporting.Reporter, "_report", interrupt_soon)
    code, _, words = diga("phone", "fetch", ids, "-o", out, "--concurrency", 8)
    assert code == 130
    assert len(sandbox.requests) == allowed[0] < 80
    assert "stopped early" not in words
    assert f"{out} --concurrency 8 --resume" in words
    assert set(outcomes(out).values()) <= {"failed"}


def test_after_ctrl_c_a_reader_that_takes_no_rows_is_not_waited_for(
    diga, sandbox, ids, monkeypatch
):
    """Otherwise a pager that is not scrolled keeps the command alive."""

    async def blocked(*_):
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()

    monkeypatch.setattr(fetch, "DRAIN_SECONDS", 0.01)
    monkeypatch.setattr(fetch.StandardOutput, "write", blocked)
    code, printed, words = diga("phone", "fetch", ids)
    assert (code, printed) == (130, "")
    assert "-o OUT.jsonl" in words


# --- through the listing


@pytest.mark.parametrize("via", ["list", "auto"])
def test_ids_are_found_in_the_listing(diga, sandbox, ids, out, via):
    with ids.open("a") as file:
        file.write(f"{sandbox.phone_ids[0]}\n{MISSING}\nno-id\n")
    code, printed, words = diga("phone", "fetch", ids, "-o", out, "--via", via)
    assert (code, printed) == (1, "")
    expected = {str(i): "found" for i in sandbox.phone_ids}
    assert outcomes(out) == expected | {MISSING: "missing", "no-id": "failed"}
    assert len(sandbox.requests) == 2
    assert f"looking up 23 ids at {sandbox.url}" in words
    assert f"-o {out} --via {via} --retry-failed" in words


def test_without_via_each_id_is_looked_up_by_itself(diga, sandbox, ids):
    assert diga("phone", "fetch", ids)[0] == 0
    assert {request.phone_id for request in sandbox.requests} == {*sandbox.phone_ids}


@pytest.mark.skipif(os.name != "posix", reason="needs /dev/fd")
def test_ids_of_a_pipe_are_read_to_their_end_before_the_listing(diga, sandbox, ids):
    reading, writing = os.pipe()
    os.write(writing, ids.read_bytes())
    os.close(writing)
    code, printed, words = diga("phone", "fetch", f"/dev/fd/{reading}", "--via", "list")
    os.close(reading)
    assert (code, len(rows(printed)), len(sandbox.requests)) == (0, 20, 1)
    assert "--via list: reading all ids before the lookups\n" in words
    assert "looking up 20 ids" in words


def test_ids_with_a_row_are_not_looked_up_through_the_listing(diga, sandbox, ids, out):
    (ids.parent / "some").write_text("".join(f"{i}\n" for i in sandbox.phone_ids[:18]))
    assert diga("phone", "fetch", "some", "-o", out)[0] == 0
    sandbox.requests.clear()
    code, _, words = diga("phone", "fetch", ids, "-o", out, "--resume", "--via", "auto")
    assert code == 0
    assert {r.phone_id for r in sandbox.requests} == {*sandbox.phone_ids[18:]}
    assert "20 found, 0 missing, 0 failed\ndiga: 2 looked up" in words


def test_ids_that_cannot_be_read_to_their_end_leave_the_listing_alone(
    diga, sandbox, tmp_path
):
    (tmp_path / "ids.jsonl").write_text(f'{{"id": "{sandbox.phone_ids[0]}"}}\n{{\n')
    code, printed, words = diga("phone", "fetch", "ids.jsonl", "--via", "list")
    assert (code, printed) == (4, "")
    assert "line 2 of ids.jsonl cannot be read" in words
    assert sandbox.requests == []


def test_ctrl_c_ends_a_run_through_the_listing(diga, sandbox, ids, out, monkeypatch):
    interrupt_at(monkeypatch, 5)
    sandbox.hidden.update(sandbox.phone_ids[10:])
    code, _, words = diga("phone", "fetch", ids, "-o", out, "--via", "list")
    assert code == 130
    assert len(outcomes(out)) >= 5
    assert f"-o {out} --via list --resume" in words
    assert diga("phone", "fetch", ids, "-o", out, "--via", "list", "--resume")[0] == 0
    assert set(outcomes(out)) == set(map(str, sandbox.phone_ids))


def test_a_way_that_does_not_exist_is_refused(diga, sandbox, ids):
    code, _, words = diga("phone", "fetch", ids, "--via", "post")
    assert code == 2
    assert "each" in words


def test_a_count_of_lines_says_that_repeated_ids_are_looked_up_once(diga, ids):
    ids.write_text(ids.read_text() * 2)
    words = diga("phone", "fetch", ids)[2]
    assert "looking up 40 ids at " in words
    assert ", repeated ones once\n" in words
    listed = diga("phone", "fetch", ids, "--via", "list")[2]
    assert "repeated ones" not in listed
