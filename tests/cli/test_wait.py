"""`diga phone wait`, from arguments to the exit code."""

import json
import signal
import socket

import pytest

from diga_async._cli import wait
from diga_async.sandbox import Faults

MISSING = "00000000-0000-4000-8000-000000000000"

pytestmark = pytest.mark.usefixtures("blocking_is_fine")


@pytest.fixture
def phone_id(sandbox):
    """Return the id of a phone that is reserved."""
    first = sandbox.phone_ids[0]
    sandbox.change(first, status="reserved")
    return first


@pytest.fixture
def wait_for(diga, phone_id):
    """Wait for that phone, with short pauses between the polls."""

    def wait_for(*arguments, phone_id=phone_id):
        return diga("phone", "wait", phone_id, "--every", 0.02, *arguments)

    return wait_for


def change_at_poll(monkeypatch, sandbox, number, **fields):
    """Change the first phone before the sandbox looks it up for that time."""
    record_of, count = type(sandbox)._record_of, iter(range(1, 1000))

    def changing(self, fault, phone_id):
        if next(count) == number:
            self.change(phone_id, **fields)
        return record_of(self, fault, phone_id)

    monkeypatch.setattr(type(sandbox), "_record_of", changing)


def test_it_ends_when_the_phone_has_the_status(
    wait_for, sandbox, phone_id, monkeypatch
):
    change_at_poll(monkeypatch, sandbox, 3, status="assigned")
    code, printed, words = wait_for("--status", "assigned")
    assert code == 0
    assert str(phone_id) in printed
    assert "assigned" in printed
    assert len(sandbox.requests) == 3
    assert words == (
        f"diga: waiting until phone {phone_id} at {sandbox.url} is assigned: a poll "
        "every 0.02 s\n"
    )


def test_any_of_several_statuses_will_do(wait_for, sandbox, phone_id):
    code, printed, words = wait_for(
        *("--status", "assigned", "--status", "reserved", "--json"), "--quiet"
    )
    assert (code, words) == (0, "")
    assert json.loads(printed)["status"] == "reserved"
    assert len(printed.splitlines()) == len(sandbox.requests) == 1


def test_a_status_that_cannot_come_is_an_answer(wait_for, sandbox, phone_id):
    sandbox.change(phone_id, status="finished")
    code, printed, words = wait_for("--status", "assigned")
    assert (code, printed) == (1, "")
    assert "is finished, which is final; it never becomes assigned" in words
    assert wait_for("--status", "finished")[0] == 0


def test_a_phone_that_is_not_there_is_an_answer(wait_for):
    code, _, words = wait_for("--status", "assigned", phone_id=MISSING)
    assert code == 1
    assert words.endswith(f"there is no phone {MISSING} in the key's project\n")


def test_past_the_timeout_the_last_status_is_reported(wait_for, phone_id):
    code, printed, words = wait_for(
        *("--status", "assigned", "--status", "released", "--timeout", 0.2)
    )
    assert (code, printed) == (4, "")
    assert ", 0.2 s at most\n" in words
    last = words.splitlines()[-1]
    assert last == (
        f"diga: phone {phone_id} is still reserved, not assigned or released after "
        "0.2 s"
    )


def test_past_the_timeout_the_failure_of_the_last_poll_is_reported(wait_for):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
    arguments = ("--status", "assigned", "--timeout", 1, "--base-url", address)
    code, _, words = wait_for(*arguments)
    assert code == 4
    assert "could not be read after 1 s" in words
    assert "; the last poll failed: could not connect to 127.0.0.1:" in words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"api_key": "another"}, "change the key in DIGA_API_KEY"),
        ({"faults": Faults(forbidden=1.0)}, "'Phones: read'"),
    ],
)
def test_a_refused_key_ends_it(wait_for, sandbox, change, words):
    for name, value in change.items():
        setattr(sandbox, name, value)
    code, printed, said = wait_for("--status", "assigned", "--quiet")
    assert (code, printed) == (3, "")
    assert words in said
    assert said.count("\n") == 1


def test_a_broken_record_ends_it(wait_for, sandbox, phone_id):
    sandbox.change(phone_id, number=None)
    code, _, words = wait_for("--status", "assigned")
    assert code == 4
    assert "$.number" in words


def test_a_key_in_the_place_of_a_status_is_not_printed(wait_for):
    key = "sk-fa17ed00fa17ed00fa17ed00"
    assert key not in wait_for("--status", key, "--timeout", 0.05)[2]


def test_a_status_that_may_be_misspelt_gets_a_warning(wait_for):
    words = wait_for("--status", "relesed", "--timeout", 0.05)[2]
    assert "warning: this version knows no status 'relesed' (did you mean " in words
    assert "'released'?); known are reserved, " in words
    assert "warning" not in wait_for("--status", "reserved")[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x", "--status", "assigned"], "'x' is not a phone id"),
        ([MISSING], "--status"),
        ([], "ID"),
        ([MISSING, "--status", "assigned", "--every", 0], "--every"),
        ([MISSING, "--status", "assigned", "--timeout", "nan"], "--timeout must be"),
        ([MISSING, "--status", "assigned", "--every", "inf"], "--every must be"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_sent(diga, sandbox, arguments, words):
    code, printed, said = diga("phone", "wait", *arguments)
    assert (code, printed) == (2, "")
    assert words in said
    assert sandbox.requests == []


def test_ctrl_c_ends_the_wait(wait_for, monkeypatch):
    async def interrupt(*_, **__):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(wait.Reporter, "_report", interrupt)
    code, printed, words = wait_for("--status", "assigned")
    assert (code, printed) == (130, "")
    assert words.endswith("diga: interrupted\n")
