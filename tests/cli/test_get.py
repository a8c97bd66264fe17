"""`diga phone get`, from arguments to the exit code."""

import http.server
import json
import signal
import threading

import pytest

import diga_async
from diga_async._cli import get, progress, reporting
from diga_async.sandbox import Faults

MISSING = "00000000-0000-4000-8000-000000000000"

pytestmark = pytest.mark.usefixtures("blocking_is_fine")


def test_a_phone_is_shown_as_a_block(diga, sandbox):
    phone_id = sandbox.phone_ids[0]
    code, out, err = diga("phone", "get", phone_id)
    assert (code, err) == (0, "")
    assert str(sandbox.phones[phone_id]["number"]) in out
    assert "\x1b" not in out


def test_phones_are_shown_in_the_order_of_their_ids(diga, sandbox):
    sandbox.latency = (0.0, 0.02)
    ids = sandbox.phone_ids[::-1]
    code, out, err = diga("phone", "get", *ids)
    assert (code, err) == (0, "")
    places = [out.index(str(phone_id)) for phone_id in ids]
    assert places == sorted(places)


def test_json_is_one_line_for_each_phone_in_order(diga, sandbox):
    code, out, err = diga("phone", "get", *sandbox.phone_ids, "--json")
    assert (code, err) == (0, "")
    assert [json.loads(line) for line in out.splitlines()] == [
        diga_async.Phone.from_dict(sandbox.phones[phone_id]).to_dict()
        for phone_id in sandbox.phone_ids
    ]


def test_the_phones_that_are_found_are_shown_beside_a_missing_one(diga, sandbox):
    found = sandbox.phone_ids[:2]
    code, out, err = diga("phone", "get", found[0], MISSING, found[1], "--json")
    assert code == 1
    assert [json.loads(line)["id"] for line in out.splitlines()] == [*map(str, found)]
    assert err == f"diga: there is no phone {MISSING} in the key's project\n"


def test_the_phones_that_are_found_are_shown_beside_a_failed_one(diga, sandbox):
    broken, sound = sandbox.phone_ids[:2]
    sandbox.phones[broken]["number"] = None
    code, out, err = diga("phone", "get", broken, sound, "--json")
    assert code == 1
    assert json.loads(out)["id"] == str(sound)
    assert str(broken) in err
    assert "$.number" in err


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"phones": {}}, 1, "there is no phone"),
        ({"faults": Faults(errors=1.0, error_status=500)}, 1, "500"),
        ({"faults": Faults(forbidden=1.0)}, 3, "403"),
        ({"api_key": "another"}, 3, "401"),
    ],
)
def test_a_failure_is_one_line_and_an_exit_code(diga, sandbox, change, code, words):
    phone_id = sandbox.phone_ids[0]
    for name, value in change.items():
        setattr(sandbox, name, value)
    ended = diga("phone", "get", phone_id)
    assert ended[:2] == (code, "")
    assert ended[2].startswith("diga: ")
    assert ended[2].count("\n") == 1
    assert words in ended[2]


def test_a_refused_key_is_reported_once_for_all_ids(diga, sandbox):
    sandbox.api_key = "another"
    code, out, err = diga("phone", "get", *sandbox.phone_ids)
    assert (code, out) == (3, "")
    assert err.count("\n") == 1
    assert err.endswith("; change the key in DIGA_API_KEY\n")


@pytest.mark.parametrize("wrong", ["no-id", "{}", "+34910000000"])
def test_nothing_is_sent_when_one_of_the_ids_is_wrong(diga, sandbox, wrong):
    code, out, err = diga("phone", "get", sandbox.phone_ids[0], wrong)
    assert (code, out) == (2, "")
    assert repr(wrong) in err
    assert "canonical" in err
    assert sandbox.requests == []


def test_without_an_id_one_is_asked_for(diga, sandbox):
    code, out, err = diga("phone", "get")
    assert (code, out) == (2, "")
    assert "ID" in err


@pytest.mark.parametrize("key", [None, "k\xe9y-with-an-accent", "two words"])
def test_a_wrong_key_is_not_shown(diga, sandbox, monkeypatch, key):
    monkeypatch.delenv("DIGA_API_KEY")
    if key:
        monkeypatch.setenv("DIGA_API_KEY", key)
    code, _, err = diga("phone", "get", MISSING)
    assert code == 2
    assert "DIGA_API_KEY" in err
    assert key is None or key not in err


def test_a_server_that_says_nothing_is_mentioned(diga, sandbox, monkeypatch):
    monkeypatch.setattr(reporting, "BULLETIN_SECONDS", 0.01)
    monkeypatch.setattr(progress, "SILENT_SECONDS", 0.02)
    sandbox.faults = Faults(hangs=1.0)
    code, _, words = diga("phone", "get", MISSING, "--timeout", 0.3)
    assert code == 1
    assert f"no answer from {sandbox.url} for 0 s; Ctrl-C ends the command" in words
    assert "no complete answer within 0.3 s (--timeout)\n" in words


def test_a_file_in_the_place_of_an_id_is_recognised(diga, ids):
    for command in ("get", "watch"):
        code, _, words = diga("phone", command, "ids.txt")
        assert code == 2
        assert words.endswith("the ids in a file: diga phone fetch ids.txt\n")


def test_verbose_shows_retries(diga, sandbox):
    phone_id = sandbox.phone_ids[0]
    sandbox.faults = Faults(garbage=1.0)
    code, _, err = diga("phone", "get", phone_id, "--verbose")
    assert code == 1
    assert f"{phone_id}: attempt 1 failed: the body is " in err
    assert f"{phone_id}: attempt 4 failed: the body is " in err


@pytest.fixture
def ctrl_c():
    """Make SIGINT interrupt; a shell in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_the_lookups(diga, sandbox, monkeypatch):
    def interrupted(*_, **__):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(get, "print_phone", interrupted)
    ended = diga("phone", "get", *sandbox.phone_ids)
    assert ended == (130, "", "diga: interrupted\n")


X = "3c90c3cc-0d44-4b50-8888-8dd25736052a"


class NotFound(http.server.BaseHTTPRequestHandler):
    """A server that is not Diga."""

    def do_GET(self):
        self.send_error(404)

    def log_message(self, *_):
        """Write nothing."""


@pytest.fixture
def wrong_server(monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), NotFound)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("DIGA_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("DIGA_API_KEY", "sk-0123456789abcdef")
    yield
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "command", [("get", X), ("wait", X, "--status", "assigned")], ids=["get", "wait"]
)
def test_a_server_without_the_api_is_named(diga, wrong_server, command):
    code, _, err = diga("phone", *command)
    assert code == 2
    assert "there is no Diga API" in err


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("number", ["+34910000000", "+34 910-000-000"])
def test_a_phone_number_is_answered_with_where_the_ids_are(diga, number):
    code, _, words = diga("phone", "get", number)
    assert code == 2
    assert "; that is a phone number: diga phone list shows the ids\n" in words
