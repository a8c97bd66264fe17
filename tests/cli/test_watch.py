"""`diga phone watch`, from arguments to the exit code."""

import json
import signal
import sys

import attrs
import pytest

from diga_async import APIConnectionError, WatchStats
from diga_async._cli import reporting, watch
from diga_async._cli.watch import PollNotices, WatchJob
from diga_async.sandbox import Faults

MISSING = "00000000-0000-4000-8000-000000000000"
STATS = WatchStats(
    polls=1,
    failed_polls=0,
    last_error=None,
    seconds_since_success=None,
    changes=0,
    retries=0,
    throttled=0,
    elapsed=1.0,
)
FAILING = attrs.evolve(STATS, failed_polls=1, last_error=APIConnectionError("no route"))
GOOD = attrs.evolve(STATS, seconds_since_success=0.1)

pytestmark = pytest.mark.usefixtures("blocking_is_fine")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Notice the first poll soon."""
    for module in (watch, reporting):
        monkeypatch.setattr(module, "BULLETIN_SECONDS", 0.01)


@pytest.fixture
def after_the_baseline(monkeypatch):
    """Call a function as soon as the first poll was noticed; then it is over."""

    def do(action):
        baseline = watch._baseline

        def noticed(phones):
            action()
            return baseline(phones)

        monkeypatch.setattr(watch, "_baseline", noticed)

    return do


@pytest.fixture
def ctrl_c_after(monkeypatch):
    """Send Ctrl-C after a number of changes."""

    def after(changes):
        written, count = watch._Run._print, iter(range(1, 1000))

        async def write(self, change):
            await written(self, change)
            if next(count) == changes:
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(watch._Run, "_print", write)

    return after


def test_a_pipe_gets_a_line_of_json_for_each_change(
    diga, sandbox, after_the_baseline, ctrl_c_after
):
    first, second, *_ = sandbox.phone_ids

    def change():
        sandbox.change(first, status="released", nickname="Ventas\u2028")
        sandbox.remove(second)
        sandbox.add()

    after_the_baseline(change)
    ctrl_c_after(3)
    code, printed, words = diga("phone", "watch", "--every", 0.05)
    assert code == 130
    lines = [json.loads(line) for line in printed.splitlines()]
    by_id = {line["phone_id"]: line for line in lines}
    assert len(by_id) == 3
    assert set(lines[0]) == {"phone_id", "before", "after", "fields"}
    changed, gone = by_id[str(first)], by_id[str(second)]
    assert {"nickname", "status"} >= {*changed["fields"]} >= {"nickname"}
    assert changed["fields"] == sorted(changed["fields"])
    assert changed["after"]["status"] == "released"
    assert changed["before"]["id"] == str(first)
    assert (gone["after"], gone["fields"]) == (None, [])
    (new,) = by_id.keys() - {str(first), str(second)}
    assert by_id[new]["before"] is None
    assert f"watching all phones at {sandbox.url} every 0.05 s; Ctrl-C ends it" in words
    assert "the first poll found 20 phones; waiting for changes" in words
    assert words.endswith("diga: interrupted\n")


def test_a_terminal_gets_a_readable_line(
    diga, sandbox, after_the_baseline, ctrl_c_after, monkeypatch
):
    phone_id = sandbox.phone_ids[0]
    sandbox.change(phone_id, status="reserved")
    monkeypatch.setattr(watch, "is_terminal", lambda s: s is sys.stdout)
    after_the_baseline(lambda: sandbox.change(phone_id, status="assigned"))
    ctrl_c_after(1)
    code, printed, _ = diga("phone", "watch", phone_id, "--every", 0.05)
    assert code == 130
    number = sandbox.phones[phone_id]["number"]
    assert printed.rstrip().endswith(f"{number}  status reserved -> assigned")
    assert str(phone_id)[:8] in printed


def test_it_ends_when_every_phone_is_finished(diga, sandbox, after_the_baseline):
    phone_id = sandbox.phone_ids[0]
    after_the_baseline(lambda: sandbox.change(phone_id, status="finished"))
    code, printed, words = diga("phone", "watch", phone_id, "--every", 0.05)
    assert code == 0
    assert json.loads(printed)["after"]["status"] == "finished"
    assert words.endswith("every phone is finished; nothing can change any more\n")


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"api_key": "another"}, 3, "change the key in DIGA_API_KEY\n"),
        ({"faults": Faults(forbidden=1.0)}, 3, "'Phones: read'\n"),
    ],
)
def test_a_refused_key_ends_it(diga, sandbox, change, code, words):
    for name, value in change.items():
        setattr(sandbox, name, value)
    ended = diga("phone", "watch", "--quiet")
    assert ended[:2] == (code, "")
    assert ended[2].count("\n") == 1
    assert ended[2].endswith(words)


def test_where_there_is_no_api_the_address_is_wrong(diga, sandbox):
    code, _, words = diga("phone", "watch", "--base-url", f"{sandbox.url}/api")
    assert code == 2
    assert "no Diga API" in words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x"], "'x' is not a phone id"),
        (["--every", 0], "--every"),
        (["--json"], "--json"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_sent(diga, sandbox, arguments, words):
    code, printed, said = diga("phone", "watch", *arguments)
    assert (code, printed) == (2, "")
    assert words in said
    assert sandbox.requests == []


def test_polls_that_fail_are_mentioned_and_go_on(diga, sandbox, monkeypatch):
    phone_id, said = sandbox.phone_ids[0], []

    def note(_self, text):
        said.append(text)
        if text.startswith("polls fail"):
            sandbox.faults = Faults()
        if text == "polls succeed again":
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(watch.Messages, "note", note)
    sandbox.faults = Faults(errors=1.0)
    timing = ("--every", 0.2, "--timeout", 0.1)
    assert diga("phone", "watch", phone_id, *timing)[0] == 130
    assert [text.partition(":")[0] for text in said if text.startswith("polls")] == [
        "polls fail, and go on",
        "polls succeed again",
    ]


# --- messages about the polls


def test_the_first_good_poll_is_mentioned_once():
    notices = PollNotices()
    assert list(notices.lines(STATS, {})) == []
    (line,) = notices.lines(GOOD, {1: None, 2: object()})
    assert line == "the first poll found 1 phone, 1 missing; waiting for changes"
    assert list(notices.lines(GOOD, {})) == []


def test_failing_and_succeeding_polls_are_mentioned_once_each():
    notices = PollNotices()
    assert list(notices.lines(FAILING, {})) == ["polls fail, and go on: no route"]
    assert list(notices.lines(FAILING, {})) == []
    assert list(notices.lines(GOOD, {}))[-1] == "polls succeed again"
    assert list(notices.lines(FAILING, {})) != []


def test_a_job_watches_everything_unless_told_otherwise():
    assert (WatchJob().phone_ids, WatchJob().every) == ((), 60.0)
