"""The command `diga`: its help, its smaller commands, and how it ends."""

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

import diga_async._cli
from diga_async import __main__
from diga_async._cli import demo, sandbox_options, serve
from diga_async._cli.exit_codes import CommandError, ExitCode, code_of, message_of
from diga_async.sandbox import Faults

pytestmark = pytest.mark.usefixtures("blocking_is_fine")


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rich_click", None)
    monkeypatch.delitem(sys.modules, "diga_async._cli.app", raising=False)
    monkeypatch.delattr(diga_async._cli, "app", raising=False)
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert 'pip install "diga-async[cli]"' in err


def test_a_missing_module_of_ours_is_not_blamed_on_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "diga_async._cli.terminal", None)
    monkeypatch.delitem(sys.modules, "diga_async._cli.app", raising=False)
    monkeypatch.delattr(diga_async._cli, "app", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"_cli\.terminal"):
        __main__.main()


def test_without_standard_output_nothing_starts(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "diga: there is no standard output\n"


def test_the_version_is_that_of_the_package(diga):
    assert diga("--version") == (0, f"diga {diga_async.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["demo", "phone", "sandbox", "DIGA_API_KEY", "--version"]),
        (["phone"], ["get", "fetch", "list", "watch", "wait"]),
        (["check"], ["--json", "--base-url", "--key-file", "--proxy"]),
        (
            ["phone", "list"],
            [
                *("--status", "--inbound-agent", "--outbound-agent", "--order"),
                *("--assigned-from", "--assigned-until", "--output", "--resume"),
                *("--ids", "--csv-raw", "--timeout", "--quiet", "--verbose"),
            ],
        ),
        (["phone", "watch"], ["--every", "--timeout", "--quiet", "[ID...]"]),
        (["phone", "wait"], ["--status", "--every", "--timeout", "--json", "ID"]),
        (
            ["phone", "get"],
            [
                *("--json", "--base-url", "--allow-insecure-http", "--proxy"),
                *("--key-file", "--timeout", "--verbose"),
            ],
        ),
        (
            ["phone", "fetch"],
            [
                *("--output", "--resume", "--retry-failed", "--concurrency", "130"),
                *("--column", "--csv-raw", "--quiet", "--verbose", "--timeout"),
                *("--per-second", "--key-file", "--proxy", "--via"),
            ],
        ),
        (["sandbox"], ["--port", "--latency", "--per-second", "--slow-bodies"]),
        (["completion"], ["bash", "zsh", "fish"]),
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


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC])
def test_a_full_disk_or_a_closed_pipe_ends_the_command(
    diga, sandbox, monkeypatch, tmp_path, number
):
    """The rest of the buffer must not be written again at the exit."""

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


@pytest.mark.parametrize(
    "arguments",
    [
        *(["phone", name] for name in ("get", "fetch", "list", "watch", "wait")),
        *([name] for name in ("check", "sandbox", "completion")),
    ],
)
def test_help_begins_with_the_purpose_and_an_example(diga, arguments):
    lines = diga(*arguments, "--help")[1].splitlines()
    words = [line.strip(" │╭╮╰╯─") for line in lines if line.strip(" │╭╮╰╯─")]
    assert words[0].startswith("Usage: diga ")
    assert words[1].endswith(".") or words[2].endswith(".")
    assert any(word.startswith("Example: diga ") for word in words[2:4])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["get", "x"], "Did you mean 'diga phone get'?"),
        (["fetch"], "Did you mean 'diga phone fetch'?"),
        (["list"], "Did you mean 'diga phone list'?"),
        (["watch"], "Did you mean 'diga phone watch'?"),
        (["phone", "3c90c3cc-0d44"], "Did you mean 'diga phone get 3c90c3cc-0d44'?"),
        (["nothing"], "No such command 'nothing'"),
    ],
)
def test_a_command_in_the_wrong_place_points_to_the_right_one(diga, arguments, words):
    code, _, err = diga(*arguments)
    assert code == 2
    assert words in " ".join(err.replace("│", "").split())


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("phone get", ["0", "1", "2", "3", "130"]),
        ("phone fetch", ["0", "1", "2", "3", "4", "130"]),
        ("phone list", ["0", "1", "2", "3", "4", "130"]),
        ("phone watch", ["0", "2", "3", "4", "130"]),
        ("phone wait", ["0", "1", "2", "3", "4", "130"]),
        ("check", ["0", "2", "3", "4"]),
    ],
)
def test_help_ends_with_the_exit_codes_one_a_line(diga, command, expected):
    out = diga(*command.split(), "--help")[1]
    codes = out[out.index("Exit codes") :].splitlines()
    assert "--" not in codes[0]
    firsts = [line.split()[0] for line in codes[1:] if line.strip()]
    assert [first for first in firsts if first.isdigit()] == expected


@pytest.mark.parametrize(
    ("shell", "words"),
    [("bash", "complete -o"), ("zsh", "#compdef diga"), ("fish", "complete")],
)
def test_a_shell_gets_its_completion(diga, shell, words):
    code, out, _ = diga("completion", shell)
    assert code == 0
    assert words in out
    assert "_DIGA_COMPLETE" in out


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
    offered = set(sandbox_options.FAULTS | sandbox_options.LISTING_FAULTS)
    assert offered == named - {"error_status", "drip_seconds"}


@pytest.mark.skipif(os.name != "posix", reason="os.kill ends the process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_sandbox_serves_until_a_signal(diga, monkeypatch, tmp_path, number):
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

    exports = serve._exports

    def note(sandbox):
        seen["out"] = exports(sandbox)
        return seen["out"]

    monkeypatch.setattr(serve, "_exports", note)
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
        (["--latency", "2-1"], "diga: --latency must be"),
        (["--gone-cursor", 500], "diga: --gone-cursor must be in (200, 400, 404, 422)"),
        (["--sort-by", "colour"], "diga: --sort-by must be in ('id', "),
        (["--port", 70000], "--port"),
        (["--write-ids", "there.txt"], "cannot write there.txt"),
    ],
)
def test_settings_that_no_sandbox_can_have_are_refused(
    diga, tmp_path, arguments, words
):
    (tmp_path / "there.txt").write_text("mine")
    code, out, err = diga("sandbox", *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert (tmp_path / "there.txt").read_text() == "mine"


def test_a_port_that_is_taken_is_reported(diga, sandbox):
    port = sandbox.url.rpartition(":")[2]
    code, out, err = diga("sandbox", "--port", port)
    assert (code, out) == (2, "")
    assert "address already in use; choose another --port, or none for any" in err
    assert err.count("\n") == 1


def test_ids_that_are_in_the_file_already_are_written_once(diga, sandbox, tmp_path):
    """The same command twice, as after a restart."""
    port = sandbox.url.rpartition(":")[2]  # so that it ends
    start = ("sandbox", "--port", port, "--phones", 3, "--write-ids", "ids.txt")
    assert "already in use" in diga(*start)[2]
    before = (tmp_path / "ids.txt").read_bytes()
    assert "already in use" in diga(*start)[2]
    assert (tmp_path / "ids.txt").read_bytes() == before
    assert "holds something else" in diga(*start, "--seed", 2)[2]


def test_a_folder_that_is_not_there_is_named_with_the_remedy(diga):
    _, _, words = diga("sandbox", "--write-ids", "none/ids.txt")
    assert words == (
        "diga: cannot open none/ids.txt: no such file or directory; create its folder: "
        "mkdir -p none\n"
    )


def test_settings_reach_the_sandbox(diga, monkeypatch):
    served = []

    def note(sandbox, ids_file):
        served.append((sandbox, ids_file))
        return ExitCode.ALL_FOUND

    monkeypatch.setattr(serve, "serve_until_stopped", note)
    options = "--seed 5 --latency 0.1-0.2 --per-second 9 --burst 2 --retry-after 1"
    listing = "--sort-by number --no-numbered-pages --gone-cursor 404"
    faults = ("--wrong-ids", 0.5, "--empty-pages", 0.2)
    assert diga("sandbox", *options.split(), *listing.split(), *faults)[0] == 0
    ((sandbox, ids_file),) = served
    assert ids_file is None
    assert (sandbox.seed, sandbox.latency) == (5, (0.1, 0.2))
    assert (sandbox.per_second, sandbox.burst, sandbox.retry_after) == (9.0, 2, "1")
    assert (sandbox.sort_by, sandbox.gone_cursor) == ("number", 404)
    assert not sandbox.numbered_pages
    assert sandbox.faults == Faults(wrong_ids=0.5, empty_pages=0.2)


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


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "base_url is plain http; use https, or pass allow_insecure_http=True",
            (
                "the base URL (--base-url or DIGA_BASE_URL) is plain http; use https, "
                "or give --allow-insecure-http"
            ),
        ),
        ("proxy must be http", "--proxy must be http"),
        ("HTTPS_PROXY must be http", "HTTPS_PROXY must be http"),
        ("the totally wrong", "the totally wrong"),
        ("no answer within 5 s (Timeouts.total)", "no answer within 5 s (--timeout)"),
        ("no answer within 10 s (Timeouts.attempt)", "no answer within 10 s"),
        (
            "wrong version; the port may speak plain http",
            (
                "wrong version; the port may speak plain http; if it does, write "
                "http: instead of https: in the base URL (--base-url or DIGA_BASE_URL)"
            ),
        ),
    ],
)
def test_a_message_of_the_library_names_options_of_the_command_line(message, said):
    assert message_of(diga_async.ConfigurationError(message)) == said
    assert message_of(CommandError(ExitCode.USAGE, message)) == message
