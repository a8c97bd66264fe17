"""The command as a process: signals, pipes, disks and terminals that are real."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from byte_server import authority, server_tls

from diga_async.sandbox import Sandbox

resource = pytest.importorskip("resource", reason="signals and limits of POSIX")

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
KILLS = 5
MISSING = "00000000-0000-4000-8000-000000000000"
FEW_BYTES = 8_000
INTERRUPTED_IMPORT = """
import signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            signal.raise_signal(signal.SIGINT)

module = sys.argv.pop(1)
sys.meta_path.insert(0, Interrupting())
import diga_async.__main__ as m
m.process()
"""
PLAIN_START_SECONDS = "import time; print(time.process_time())"
HELP_SECONDS = (
    "import sys, time, diga_async.__main__ as m\n"
    "sys.argv = ['diga', '--help']\n"
    "try: m.main()\n"
    "except SystemExit: print(time.process_time())"
)


class Requests(list):
    """The requests of a sandbox, which tests can wait for."""

    def __init__(self):
        self._changed = threading.Condition()

    def append(self, request):
        with self._changed:
            super().append(request)
            self._changed.notify_all()

    def wait_for(self, count):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self) >= count, timeout=30)


@pytest.fixture
def sandbox():
    with Sandbox(300, latency=0.01) as sandbox:
        sandbox.requests = Requests()
        yield sandbox


@pytest.fixture
def environment(sandbox):
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in {"NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS", "COLUMNS"}
    }
    return clean | {
        "DIGA_BASE_URL": sandbox.url,
        "DIGA_API_KEY": sandbox.api_key,
        "TERM": "xterm-256color",
        "PYTHONWARNINGS": "error",
    }


@pytest.fixture
def start(environment, tmp_path):
    """Start the command as a process, which ends with the test."""
    started = []

    def start(*arguments, **options):
        options = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "env": environment,
            "cwd": tmp_path,
        } | options
        command = [sys.executable, "-m", "diga_async", *map(str, arguments)]
        started.append(subprocess.Popen(command, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def finish(process):
    """Return the exit code and the text on standard error."""
    words = process.stderr.read()
    assert "Traceback" not in words
    return process.wait(timeout=30), words


def ids_in(path):
    """Return the ids that have a row; every row is whole, and the only one."""
    text = path.read_text()
    assert not text or text.endswith("\n")
    found = [json.loads(line)["phone_id"] for line in text.splitlines()]
    assert len(set(found)) == len(found)
    return set(found)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_finishes_the_requests_in_flight(
    start, sandbox, ids, tmp_path, number
):
    process = start("phone", "fetch", ids, "-o", "out.jsonl", "--concurrency", 8)
    sandbox.requests.wait_for(20)
    process.send_signal(number)
    code, words = finish(process)
    assert code == 130
    assert re.search(r"finishing \d+ requests?; Ctrl-C again to stop now", words)
    assert "out.jsonl --concurrency 8 --resume" in words
    done = ids_in(tmp_path / "out.jsonl")
    assert len(done) == len(sandbox.requests) < 300
    assert finish(start("phone", "fetch", ids, "-o", "out.jsonl", "--resume"))[0] == 0
    assert ids_in(tmp_path / "out.jsonl") == set(map(str, sandbox.phone_ids))
    assert len(sandbox.requests) == 300


def test_the_second_signal_stops_now(start, sandbox, ids):
    process = start("phone", "fetch", ids, "--concurrency", 4)
    sandbox.latency = 60.0
    sandbox.requests.wait_for(4)
    process.send_signal(signal.SIGINT)
    assert "looking up" in process.stderr.readline()
    assert "finishing" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 130


def test_signals_after_the_second_end_the_command_without_a_traceback(
    start, sandbox, ids, tmp_path
):
    process = start("phone", "fetch", ids, "-o", "out.jsonl", "--concurrency", 2)
    sandbox.requests.wait_for(20)
    sandbox.latency = 60.0
    process.send_signal(signal.SIGINT)
    assert "looking up" in process.stderr.readline()
    assert "finishing" in process.stderr.readline()
    for _ in range(5):
        process.send_signal(signal.SIGINT)
    code, words = finish(process)
    assert code == 130
    assert "answer" not in words
    ids_in(tmp_path / "out.jsonl")


@pytest.mark.parametrize(
    "module", ["rich_click", "diga_async._cli.app", "aiohttp", "diga_async._cli.fetch"]
)
def test_ctrl_c_while_a_module_is_imported_is_one_line(environment, ids, module):
    """A `KeyboardInterrupt` in an import prints a traceback, or is lost."""
    arguments = [module, "phone", "fetch", str(ids)]
    run = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IMPORT, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (130, "diga: interrupted\n")


def test_the_installed_command_is_the_one_that_handles_signals():
    project = tomllib.loads(PROJECT.read_text())
    assert project["project"]["scripts"]["diga"] == "diga_async.__main__:process"


@pytest.fixture
def behind_tls(sandbox):
    """Serve an empty project by https, with a certificate of an unknown authority."""

    class Empty(BaseHTTPRequestHandler):
        def do_GET(self):
            body = b'{"data": [], "has_more": false}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server:
        context = server_tls("127.0.0.1")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("command", [["check"], ["phone", "list"]])
def test_ssl_cert_file_names_the_authorities_that_are_trusted(
    start, environment, tmp_path, behind_tls, command
):
    code, words = finish(start(*command, "--base-url", behind_tls))
    assert code == 4
    if command != ["check"]:
        assert "set SSL_CERT_FILE to a file with the authority's certificate" in words
    authority().cert_pem.write_to_path(tmp_path / "authority.pem")
    trusting = environment | {"SSL_CERT_FILE": str(tmp_path / "authority.pem")}
    assert finish(start(*command, "--base-url", behind_tls, env=trusting))[0] == 0


def test_a_wrong_ssl_cert_file_is_named_where_a_certificate_fails(
    start, environment, behind_tls
):
    wrong = environment | {"SSL_CERT_FILE": "nowhere.pem"}
    address = ("--base-url", behind_tls)
    words = finish(start("phone", "list", *address, env=wrong))[1]
    assert "SSL_CERT_FILE names nowhere.pem: no such file" in words
    process = start("check", *address, env=wrong)
    assert "SSL_CERT_FILE names nowhere.pem: no such file" in process.stdout.read()


def test_a_run_that_is_killed_again_and_again_ends_with_each_id_once(
    start, sandbox, ids, tmp_path
):
    chance = random.Random(7)  # noqa: S311 - repeatable on purpose
    fetch = ("phone", "fetch", ids, "-o", "out.jsonl", "--resume", "--concurrency", 8)
    for _ in range(KILLS):
        process = start(*fetch)
        sandbox.requests.wait_for(len(sandbox.requests) + chance.randrange(1, 50))
        process.kill()
        process.wait()
    assert finish(start(*fetch))[0] == 0
    assert ids_in(tmp_path / "out.jsonl") == set(map(str, sandbox.phone_ids))
    assert len(sandbox.requests) <= 300 + KILLS * 2 * 8


def test_a_second_run_on_the_same_file_is_refused(start, sandbox, ids, tmp_path):
    fetch = ("phone", "fetch", ids, "-o", "out.jsonl", "--concurrency", 2)
    sandbox.latency = 60.0
    first = start(*fetch)
    sandbox.requests.wait_for(1)
    for option in ("--resume", "--retry-failed"):
        code, words = finish(start(*fetch, option))
        assert code == 2
        assert "another run is writing to out.jsonl" in words
    first.kill()
    first.wait()
    sandbox.latency = 0.0
    assert finish(start(*fetch, "--resume"))[0] == 0
    assert len(ids_in(tmp_path / "out.jsonl")) == 300


def test_a_reader_that_closes_the_pipe_ends_the_run(start, ids):
    process = start("phone", "fetch", ids)
    assert json.loads(process.stdout.readline())["outcome"] == "found"
    process.stdout.close()
    code, words = finish(process)
    assert code == 4
    assert "standard output was closed by its reader" in words


def test_a_reader_that_closes_the_pipe_ends_a_listing(start, sandbox):
    process = start("phone", "list")
    assert json.loads(process.stdout.readline())["id"] == str(sandbox.phone_ids[-1])
    process.stdout.close()
    code, words = finish(process)
    assert code == 4
    assert "standard output was closed by its reader" in words
    assert "diga phone list -o OUT.jsonl" in words


def test_a_watch_tells_a_change_immediately_and_ends_with_its_reader(start, sandbox):
    process = start("phone", "watch", "--every", "0.05")
    assert "watching all phones" in process.stderr.readline()
    assert "the first poll found 300 phones" in process.stderr.readline()
    phone_id = sandbox.phone_ids[0]
    sandbox.change(phone_id, nickname="first")
    assert json.loads(process.stdout.readline())["after"]["nickname"] == "first"
    process.stdout.close()
    sandbox.change(phone_id, nickname="second")
    code, words = finish(process)
    assert code == 4
    assert "standard output was closed by its reader" in words


def test_a_wait_tells_a_script_that_the_status_has_come(start, sandbox):
    phone_id = sandbox.phone_ids[0]
    sandbox.change(phone_id, status="reserved")
    arguments = (phone_id, "--status", "assigned", "--every", "0.05", "--json")
    process = start("phone", "wait", *arguments)
    sandbox.requests.wait_for(2)
    sandbox.change(phone_id, status="assigned")
    assert json.loads(process.stdout.readline())["status"] == "assigned"
    assert finish(process)[0] == 0


def test_a_listing_that_was_killed_resumes_with_each_phone_once(
    start, sandbox, tmp_path
):
    listing = ("phone", "list", "-o", "out.csv", "--resume")
    sandbox.latency = 0.2
    process = start(*listing)
    sandbox.requests.wait_for(3)
    process.kill()
    process.wait()
    assert finish(start(*listing))[0] == 0
    rows = (tmp_path / "out.csv").read_text().splitlines()[1:]
    assert sorted(row[:36] for row in rows) == sorted(map(str, sandbox.phone_ids))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", ["fetch", "get"])
def test_a_full_disk_ends_the_command(start, sandbox, ids, command):
    what = ids if command == "fetch" else sandbox.phone_ids[0]
    with Path("/dev/full").open("w") as full:
        code, words = finish(start("phone", command, what, stdout=full))
    assert code == 4
    assert "no space left on device" in words


def test_a_disk_that_fills_up_leaves_whole_rows(start, sandbox, ids, tmp_path):
    def allow_few_bytes():
        resource.setrlimit(resource.RLIMIT_FSIZE, (FEW_BYTES, FEW_BYTES))

    fetch = ("phone", "fetch", ids, "-o", "out.jsonl")
    code, words = finish(start(*fetch, preexec_fn=allow_few_bytes))
    assert code == 4
    assert "cannot write to out.jsonl: file too large" in words
    assert 0 < len(ids_in(tmp_path / "out.jsonl")) < 300
    assert finish(start(*fetch, "--resume"))[0] == 0
    assert len(ids_in(tmp_path / "out.jsonl")) == 300


def test_ids_that_are_typed_are_looked_up_immediately(start, sandbox):
    process = start("phone", "fetch", stdin=subprocess.PIPE, bufsize=1)
    for phone_id in sandbox.phone_ids[:3]:
        process.stdin.write(f"{phone_id}\n")
        assert json.loads(process.stdout.readline())["phone_id"] == str(phone_id)
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 130  # though standard input is open still


def test_a_terminal_gets_a_bar_and_the_pipe_beside_it_none(
    start, sandbox, ids, environment
):
    os_terminal, terminal = os.openpty()
    process = start(
        *("phone", "fetch", ids),
        stderr=terminal,
        env=environment | {"NO_COLOR": "1", "COLUMNS": "80"},
    )
    rows = process.stdout.read()
    assert process.wait(timeout=30) == 0
    os.close(terminal)
    seen = os.read(os_terminal, 100_000).decode()
    os.close(os_terminal)
    assert "\x1b" not in rows
    assert "/300" in seen
    assert "throttled 0" in seen
    assert "300 found, 0 missing, 0 failed" in seen
    assert re.findall(r"\x1b\[(?:\d+;)*[34]\d(?:;\d+)*m", seen) == []


def test_help_is_quick(environment):
    def seconds(code):
        command = [sys.executable, "-c", code]
        run = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        )
        return float(run.stdout.split()[-1])

    extra = min(seconds(HELP_SECONDS) for _ in range(3)) - seconds(PLAIN_START_SECONDS)
    assert extra < 0.3


@pytest.mark.parametrize(
    "arguments", ["'phone', 'fetch'", "'phone', 'list'", "'check'"]
)
def test_help_loads_no_network_library(environment, arguments):
    code = (
        "import sys, diga_async.__main__ as m\n"
        f"sys.argv = ['diga', {arguments}, '--help']\n"
        "try: m.main()\n"
        "except SystemExit: print(sorted({'aiohttp', 'cattrs'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("options", [[], ["--resume"], ["--bogus"]])
def test_standard_error_never_decides_the_exit_code(start, ids, tmp_path, options):
    with Path("/dev/full").open("w") as full:
        process = start("phone", "fetch", ids, "-o", "out.jsonl", *options, stderr=full)
        code = process.wait(timeout=30)
    if options == ["--bogus"]:
        assert code == 2
    else:
        assert code == 0
        assert len(ids_in(tmp_path / "out.jsonl")) == 300


def test_a_server_that_cannot_be_reached_is_named_and_ctrl_c_ends_the_run(
    start, ids, tmp_path, environment
):
    unreachable = environment | {"DIGA_BASE_URL": "http://127.0.0.1:9"}
    process = start("phone", "fetch", ids, "-o", "out.jsonl", env=unreachable)
    assert "looking up 300 ids" in process.stderr.readline()
    began = time.monotonic()
    line = process.stderr.readline()
    assert "no answer from http://127.0.0.1:9" in line
    assert "connection refused" in line
    assert time.monotonic() - began < 6
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    code, words = finish(process)
    assert code == 130
    assert time.monotonic() - began < 5
    assert "out.jsonl --resume" in words
    assert ids_in(tmp_path / "out.jsonl") == set()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_sandbox_whose_address_cannot_be_printed_says_so(start):
    with Path("/dev/full").open("w") as full:
        code, words = finish(start("sandbox", stdout=full))
    assert code == 4
    assert "cannot write to standard output: no space left on device" in words


def test_the_command_uses_the_proxy_of_the_environment(start, environment):
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"127.0.0.1:{proxy.getsockname()[1]}"
        elsewhere = {"DIGA_BASE_URL": "https://diga.example", "HTTPS_PROXY": address}
        process = start("phone", "get", MISSING, env=environment | elsewhere)
        connection, _ = proxy.accept()
        with connection:
            assert connection.recv(1000).startswith(b"CONNECT diga.example:443 ")
        process.send_signal(signal.SIGINT)
        assert finish(process)[0] == 130
