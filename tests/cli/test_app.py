"""The command `diga`: its other commands, and how it ends."""

import errno
import io
import json
import os
import re
import signal
import sys
import threading
import urllib.request

import attrs
import pytest

import diga_async
from diga_async import __main__
from diga_async._cli import app, demo, get, serve
from diga_async._cli.exit_codes import CommandError, ExitCode, code_of
from diga_async.sandbox import Faults

MISSING = "00000000-0000-4000-8000-000000000000"

pytestmark = pytest.mark.usefixtures("blocking_is_fine")


def test_without_the_extra_it_says_which_one(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rich_click", None)
    monkeypatch.delitem(sys.modules, "diga_async._cli.app")
    monkeypatch.delattr(diga_async._cli, "app")
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert 'pip install "diga-async[cli]"' in err


def test_another_module_that_is_missing_is_not_the_extras_fault(monkeypatch):
    monkeypatch.setitem(sys.modules, "diga_async._cli.terminal", None)
    monkeypatch.delitem(sys.modules, "diga_async._cli.app")
    monkeypatch.delattr(diga_async._cli, "app")
    with pytest.raises(ModuleNotFoundError, match="_cli_terminal"):
        __main__.main()


def test_without_standard_output_nothing_is_begun(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "diga: there is no standard output\n"


def test_the_version_is_the_packages(diga):
    assert diga("--version") == (0, f"diga {diga_async.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["demo", "phone", "sandbox", "DIGA_API_KEY", "--version"]),
        (["phone"], ["get", "fetch"]),
        (["phone", "get"], ["--json", "--base-url", "--allow-insecure-http"]),
        (
            ["phone", "fetch"],
            ["--output", "--resume", "--retry-failed", "--concurrency", "130"],
        ),
        (["sandbox"], ["--port", "--latency", "--per-second", "--slow-bodies"]),
    ],
)
def test_help_names_everything_in_80_columns(diga, monkeypatch, arguments, words):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    code, out, _ = diga(*arguments, "--help")
    assert code == 0
    assert [word for word in words if word not in out] == []
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out


def test_a_phone_is_shown_for_people(diga, sandbox):
    phone_id = sandbox.phone_ids[0]
    code, out, err = diga("phone", "get", phone_id)
    assert (code, err) == (0, "")
    assert str(sandbox.phones[phone_id]["number"]) in out
    assert "\x1b" not in out


def test_a_phone_is_shown_for_programs(diga, sandbox):
    for phone_id in sandbox.phone_ids:
        code, out, err = diga("phone", "get", phone_id, "--json")
        phone = diga_async.Phone.from_dict(sandbox.phones[phone_id])
        assert (code, err) == (0, "")
        assert json.loads(out) == phone.to_dict()


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"phones": {}}, 1, "has no phone"),
        ({"faults": Faults(errors=1.0, error_status=500)}, 1, "500"),
        ({"faults": Faults(forbidden=1.0)}, 3, "403"),
        ({"api_key": "another"}, 3, "401"),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_code(diga, sandbox, change, code, words):
    phone_id = sandbox.phone_ids[0]
    for name, value in change.items():
        setattr(sandbox, name, value)
    ended = diga("phone", "get", phone_id)
    assert ended[:2] == (code, "")
    assert ended[2].startswith("diga: ")
    assert ended[2].count("\n") == 1
    assert words in ended[2]


def test_an_id_that_is_none_is_never_sent(diga, sandbox):
    code, out, err = diga("phone", "get", "no-id")
    assert (code, out) == (2, "")
    assert "canonical" in err
    assert sandbox.requests == []


@pytest.mark.parametrize("key", [None, "k\xe9y-with-an-accent", "two words"])
def test_a_wrong_key_is_named_but_not_shown(diga, sandbox, monkeypatch, key):
    monkeypatch.delenv("DIGA_API_KEY")
    if key:
        monkeypatch.setenv("DIGA_API_KEY", key)
    code, _, err = diga("phone", "get", MISSING)
    assert code == 2
    assert key is None or key not in err


@pytest.fixture
def ctrl_c():
    """Let the signal interrupt, also where a shell in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_a_lookup(diga, sandbox, monkeypatch):
    def interrupted(_):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(get, "_show", interrupted)
    assert diga("phone", "get", sandbox.phone_ids[0]) == (
        130,
        "",
        "diga: interrupted\n",
    )


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC])
def test_standard_output_that_takes_no_more_ends_the_command(
    diga, sandbox, monkeypatch, tmp_path, number
):
    """What is left in the buffer must not be tried again at the exit."""

    class Full(io.StringIO):
        def flush(self):
            raise OSError(number, os.strerror(number))

        def fileno(self):
            return descriptor

    descriptor = os.open(tmp_path / "full", os.O_CREAT | os.O_WRONLY)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Full())
        code, _, err = diga("phone", "get", sandbox.phone_ids[0])
    assert os.path.samestat(os.fstat(descriptor), os.stat(os.devnull))  # noqa: PTH116
    os.close(descriptor)
    assert code == 4
    assert f"stopped: {os.strerror(number).lower()}" in err


def test_the_demo_shows_every_outcome(diga, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(demo, "LOOKUPS", 100)
    monkeypatch.setattr(demo, "MISSING", 6)
    code, out, err = diga("demo")
    assert (code, err) == (0, "")
    for name, count in (("found", 89), ("missing", 6), ("failed", 5)):
        assert re.search(rf"{name} +{count} ", out)
    for name in ("retried", "throttled", "rate", "status", "nickname"):
        assert name in out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_the_demo_is_drawn_while_it_runs(diga, monkeypatch):
    drawn = []
    monkeypatch.setattr(demo, "LOOKUPS", 20)
    monkeypatch.setattr(demo, "MISSING", 6)
    monkeypatch.setattr("diga_async._cli.display.is_terminal", lambda _: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(demo, "run_view", lambda s: drawn.append(s) or "")
    assert diga("demo")[0] == 0
    assert drawn[0].total == 20


def test_every_fault_has_an_option():
    named = {field.name for field in attrs.fields(Faults)}
    assert set(app.FAULTS) == named - {"error_status", "drip_seconds"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_sandbox_serves_until_it_is_told_to_stop(
    diga, monkeypatch, tmp_path, number
):
    seen = {}

    def ask(text):
        seen["told"] = text
        url, key = re.findall(r"export \w+=(\S+)", "".join(seen["out"]))
        phone_id = (tmp_path / "ids.txt").read_text().split()[2]
        threading.Thread(target=ask_and_stop, args=(url, key, phone_id)).start()

    def ask_and_stop(url, key, phone_id):
        request = urllib.request.Request(  # noqa: S310 - ours
            f"{url}/v1/phone/{phone_id}", headers={"Authorization": f"Bearer {key}"}
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - ours
            seen["phone"] = json.loads(answer.read())
            seen["asked"] = phone_id
        os.kill(os.getpid(), number)

    directions = serve._directions

    def note(sandbox):
        seen["out"] = directions(sandbox)
        return seen["out"]

    monkeypatch.setattr(serve, "_directions", note)
    monkeypatch.setattr(serve, "say", ask)
    code, out, _ = diga("sandbox", "--phones", 3, "--write-ids", "ids.txt")
    assert code == 0
    assert out == seen["out"]
    assert "3 phones" in seen["told"]
    assert seen["phone"]["id"] == seen["asked"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--errors", 0.7, "--resets", 0.7], "add up"),
        (["--errors", 2], "--errors"),
        (["--latency", "soon"], "0.05"),
        (["--latency", "2-1"], "latency"),
        (["--port", 70000], "--port"),
        (["--write-ids", "there.txt"], "cannot write there.txt"),
    ],
)
def test_a_sandbox_that_cannot_be_is_refused(diga, tmp_path, arguments, words):
    (tmp_path / "there.txt").write_text("mine")
    code, out, err = diga("sandbox", *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert (tmp_path / "there.txt").read_text() == "mine"


def test_a_port_that_is_taken_is_told_of(diga, sandbox):
    port = sandbox.url.rpartition(":")[2]
    code, out, err = diga("sandbox", "--port", port)
    assert (code, out) == (2, "")
    assert "address already in use" in err


def test_settings_reach_the_sandbox(diga, monkeypatch):
    served = []

    def serve(sandbox, ids_file):
        served.append((sandbox, ids_file))
        return ExitCode.ALL_FOUND

    monkeypatch.setattr(serve, "serve", serve)
    options = "--seed 5 --latency 0.1-0.2 --per-second 9 --burst 2 --retry-after 1"
    assert diga("sandbox", *options.split(), "--wrong-ids", 0.5)[0] == 0
    ((sandbox, ids_file),) = served
    assert ids_file is None
    assert (sandbox.seed, sandbox.latency) == (5, (0.1, 0.2))
    assert (sandbox.per_second, sandbox.burst, sandbox.retry_after) == (9.0, 2, "1")
    assert sandbox.faults == Faults(wrong_ids=0.5)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CommandError(ExitCode.STOPPED, "full"), 4),
        (diga_async.AuthenticationError(status=401), 3),
        (diga_async.PermissionDeniedError(status=403), 3),
        (diga_async.ConfigurationError("no key"), 2),
        (diga_async.InvalidPhoneIdError("no id"), 2),
        (diga_async.APITimeoutError("late"), 1),
    ],
)
def test_every_error_has_its_exit_code(error, code):
    assert code_of(error, otherwise=ExitCode.NOT_ALL_FOUND) == code
