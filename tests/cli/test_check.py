"""`diga check`, from arguments to the exit code."""

import json
import re
import socket
import sys

import pytest

from diga_async.sandbox import Faults

pytestmark = pytest.mark.usefixtures("blocking_is_fine")


def lines_of(printed):
    """Return the report: its marks and texts, by name."""
    lines = printed.splitlines()
    return {line[4:16].strip(): (line[:4].strip(), line[16:]) for line in lines}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_a_user_who_can_start_learns_so_with_one_request(diga, sandbox):
    code, printed, words = diga("check")
    assert (code, words) == (0, "")
    report = lines_of(printed)
    assert report["address"] == ("ok", sandbox.url)
    assert report["proxy"] == ("ok", "none")
    assert report["key"] == ("ok", "accepted, may read phones (from DIGA_API_KEY)")
    assert report["phones"] == ("ok", "20")
    assert report["clock"] == ("ok", "agrees with the server's")
    assert report["fields"] == ("ok", "all known")
    del report["aiohttp"]  # an older one may have a known advisory
    assert {mark for mark, _ in report.values()} == {"ok"}
    (request,) = sandbox.requests
    assert request.path == "/v1/phone/?limit=1&order=desc"


def test_json_is_one_line(diga, sandbox):
    code, printed, words = diga("check", "--json")
    assert (code, words, printed.count("\n")) == (0, "", 1)
    report = json.loads(printed)
    assert report["address"] == sandbox.url
    assert report["addresses"] == ["127.0.0.1"]
    assert report["key"] == "accepted"
    assert report["phones"] == 20
    assert report["problem"] is None
    assert report["answer_seconds"] > 0
    assert abs(report["clock_skew"]) <= 2


def test_a_project_without_phones_has_none(diga, sandbox):
    sandbox.phones.clear()
    assert lines_of(diga("check")[1])["phones"] == ("ok", "0")


def test_a_server_that_does_not_number_its_pages_leaves_it_unknown(diga, sandbox):
    sandbox.numbered_pages = False
    assert lines_of(diga("check")[1])["phones"][1].startswith("unknown")
    assert json.loads(diga("check", "--json")[1])["phones"] is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"api_key": "another"}, (3, "key", "change the key in DIGA_API_KEY")),
        ({"faults": Faults(forbidden=1.0)}, (3, "key", "'Phones: read'")),
        ({"faults": Faults(errors=1.0)}, (4, "answer", "in a few minutes")),
        ({"faults": Faults(resets=1.0)}, (4, "answer", "try again")),
        ({"faults": Faults(garbage=1.0)}, (2, "answer", "check the address")),
    ],
)
def test_each_failure_names_the_next_step(diga, sandbox, change, expected):
    code, name, following = expected
    for setting, value in change.items():
        setattr(sandbox, setting, value)
    ended, printed, words = diga("check")
    assert (ended, words) == (code, "")
    report = lines_of(printed)
    assert report[name][0] == "no"
    assert following in report["next"][1]
    assert len(sandbox.requests) == 1


def test_throttling_is_reported_with_the_time_to_wait(diga, sandbox):
    sandbox.per_second, sandbox.burst, sandbox.retry_after = 0.001, 0, 30
    assert diga("check")[0] == 0
    code, printed, _ = diga("check")
    assert code == 4
    report = lines_of(printed)
    assert report["rate limit"][1] == "the server asks to wait for 30 s (Retry-After)"
    assert "429" in report["answer"][1]
    assert len(sandbox.requests) == 2


def test_a_path_without_an_api_is_a_wrong_address(diga, sandbox):
    code, printed, _ = diga("check", "--base-url", f"{sandbox.url}/api")
    assert code == 2
    assert f"there is no Diga API at {sandbox.url}/api" in printed


def test_a_missing_server_is_reported_without_a_request(diga, sandbox):
    address = f"http://127.0.0.1:{free_port()}"
    code, printed, _ = diga("check", "--base-url", address)
    assert code == 4
    mark, text = lines_of(printed)["connection"]
    assert mark == "no"
    assert text.endswith("did not accept a connection: connection refused")
    assert sandbox.requests == []


@pytest.mark.parametrize("option", [True, False])
def test_the_proxy_is_shown_without_its_password(diga, sandbox, monkeypatch, option):
    proxy = f"http://me:secret@127.0.0.1:{free_port()}"
    given = ("--proxy", proxy) if option else ()
    if not option:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
    code, printed, words = diga("check", "--base-url", "https://diga.example", *given)
    assert code == 4
    origin = "--proxy" if option else "HTTPS_PROXY"
    text = f"{proxy.replace('me:secret', '***')} (from {origin})"
    assert lines_of(printed)["proxy"] == ("ok", text)
    assert "secret" not in printed + words


@pytest.mark.parametrize("key", [None, '"sk-1234567890"', "two words 1234567890"])
def test_without_a_valid_key_the_rest_is_reported(diga, sandbox, monkeypatch, key):
    monkeypatch.delenv("DIGA_API_KEY")
    if key:
        monkeypatch.setenv("DIGA_API_KEY", key)
    code, printed, words = diga("check")
    assert code == 2
    report = lines_of(printed)
    assert report["connection"][0] == "ok"
    assert report["key"][0] == "no"
    assert "DIGA_API_KEY" in report["next"][1]
    assert "1234567890" not in printed + words
    assert sandbox.requests == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--base-url", "diga.example"], "--base-url"),
        (["--proxy", "socks5://x"], "--proxy must be http"),
    ],
)
def test_a_wrong_option_is_one_line(diga, sandbox, arguments, words):
    code, printed, said = diga("check", *arguments)
    assert (code, printed, said.count("\n")) == (2, "", 1)
    assert words in said


@pytest.mark.parametrize(
    ("arguments", "step", "following"),
    [
        (["--base-url", "diga.example"], "address", "(--base-url or DIGA_BASE_URL)"),
        (
            ["--base-url", "http://diga.example"],
            "address",
            "give --allow-insecure-http",
        ),
        (["--proxy", "socks5://x"], "proxy", "correct the proxy (--proxy"),
    ],
)
def test_json_has_a_wrong_option_as_the_step_that_failed(
    diga, sandbox, arguments, step, following
):
    code, printed, said = diga("check", "--json", *arguments)
    assert (code, said) == (2, "")
    report = json.loads(printed)
    assert report["problem"]["step"] == step
    assert following in report["problem"]["message"] + report["problem"]["next"]
    assert report.keys() == json.loads(diga("check", "--json")[1]).keys()


def test_tls_to_a_port_that_speaks_plain_http_is_recognised(diga, sandbox):
    address = sandbox.url.replace("http:", "https:")
    code, printed, _ = diga("check", "--base-url", address)
    assert code == 4
    report = lines_of(printed)
    assert report["TLS"][1].endswith("did not agree on TLS: wrong version number")
    assert "the port may speak plain http: if it does" in report["next"][1]
    assert report["next"][1].endswith(f"to {sandbox.url}")


def test_a_key_file_that_cannot_be_read_names_the_next_step(diga, sandbox):
    code, printed, _ = diga("check", "--key-file", "none")
    assert code == 2
    report = lines_of(printed)
    assert (
        report["key"][1] == "cannot read the key file none: no such file or directory"
    )
    assert report["next"][1].endswith(
        "must name a file that holds the key and nothing else"
    )


@pytest.mark.parametrize("change", [{}, {"api_key": "another"}])
def test_the_key_is_never_shown(diga, sandbox, change):
    key = sandbox.api_key
    for name, value in change.items():
        setattr(sandbox, name, value)
    for phone in sandbox.phones.values():
        phone[f"field_{key}"] = key
    for options in ((), ("--json",)):
        assert key not in "".join(map(str, diga("check", *options)))


@pytest.mark.parametrize("width", [40, 80])
def test_on_a_terminal_the_report_fits(diga, sandbox, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    for module in ("check", "display"):
        monkeypatch.setattr(
            f"diga_async._cli.{module}.is_terminal", lambda s: s is sys.stdout
        )
    sandbox.api_key = "another"
    code, printed, _ = diga("check")
    assert code == 3
    plain = re.sub(r"\x1b\[[\d;]*m", "", printed)
    assert max(map(len, plain.splitlines())) <= width
    assert "INVALID_API_KEY" in plain
