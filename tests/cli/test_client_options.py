"""Options and variables for reaching Diga."""

import os
from pathlib import Path

import pytest

from diga_async import APIConnectionError, AuthenticationError
from diga_async._cli.client_options import ClientOptions, key_origin
from diga_async._cli.exit_codes import CommandError, ExitCode
from diga_async._cli.terminal import Messages

KEY = "sk-fa17ed00fa17ed00fa17ed00"

pytestmark = pytest.mark.usefixtures("blocking_is_fine")


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("DIGA_API_KEY", KEY)


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    path.chmod(0o600)
    return path


def client(**options):
    return ClientOptions(**options).client(Messages())


def key_of(client):
    """Return the key that requests would carry."""
    return client._lifecycle._credentials().held.removeprefix("Bearer ")


def refusal_of(**options):
    with pytest.raises(CommandError) as caught:
        client(**options)
    assert caught.value.code is ExitCode.USAGE
    assert KEY not in str(caught.value)
    return str(caught.value)


def test_without_a_key_the_message_names_the_ways_to_give_one():
    message = refusal_of()
    for words in ("DIGA_API_KEY", "--key-file", "DIGA_API_KEY_FILE"):
        assert words in message


def test_the_key_comes_from_a_variable(key):
    assert key_of(client()) == KEY


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_key_file_may_end_in_one_line_break(key_file, end):
    key_file.write_text(KEY + end)
    assert key_of(client(key_file=key_file)) == KEY


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (f"{KEY}\n\n", "ends with a line break"),
        (f"\ufeff{KEY}\n", "byte order mark"),
        (f'"{KEY}"\n', "quotes"),
        (f"Bearer {KEY}\n", "Bearer"),
        ("", "is empty"),
        ("\n", "is empty"),
    ],
)
def test_a_fault_in_a_key_file_is_reported_with_its_name(key_file, content, fault):
    key_file.write_text(content)
    message = refusal_of(key_file=key_file)
    assert fault in message
    assert str(key_file) in message


def test_a_fault_of_the_key_is_reported_with_the_variable(monkeypatch):
    monkeypatch.setenv("DIGA_API_KEY", f"Bearer {KEY}")
    assert "DIGA_API_KEY" in refusal_of()


def test_a_key_file_that_is_not_text_is_refused(key_file):
    key_file.write_bytes(b"\xff\x00\xff")
    assert "not printable ASCII" in refusal_of(key_file=key_file)


def test_a_key_file_that_cannot_be_read_is_named(tmp_path):
    message = refusal_of(key_file=tmp_path / "none")
    assert "none: no such file" in message
    assert "--key-file or DIGA_API_KEY_FILE must name a file" in message
    assert "is a directory" in refusal_of(key_file=tmp_path)


@pytest.mark.parametrize(
    "content", [f"DIGA_API_KEY={KEY}\n", f'# keys\nexport DIGA_API_KEY="{KEY}"\nA=b\n']
)
def test_a_file_for_a_shell_is_no_key_file(key_file, content, monkeypatch):
    monkeypatch.chdir(key_file.parent)
    key_file.write_text(content)
    message = refusal_of(key_file="key")
    assert "holds NAME=value, as a .env file does; leave the key alone in it" in message
    assert message.endswith("set -a; . ./key")


def test_a_key_that_ends_in_an_equals_sign_is_a_key(key_file):
    key_file.write_text("QUJDREVGRw==\n")
    assert key_of(client(key_file=key_file)) == "QUJDREVGRw=="


@pytest.mark.parametrize("option", [True, False])
def test_a_key_in_place_of_its_file_is_recognised(option, monkeypatch):
    if not option:
        monkeypatch.setenv("DIGA_API_KEY_FILE", KEY)
    message = refusal_of(key_file=Path(KEY) if option else None)
    assert "name a file, and what was given may be the key; set DIGA_API_KEY" in message
    assert key_origin(Path(KEY)) == "***"


@pytest.mark.usefixtures("key")
def test_the_permission_for_plain_http_is_one_or_nothing(monkeypatch):
    for text in ("", "0", "1"):
        monkeypatch.setenv("DIGA_ALLOW_INSECURE_HTTP", text)
        client()
    monkeypatch.setenv("DIGA_ALLOW_INSECURE_HTTP", "yes")
    assert "DIGA_ALLOW_INSECURE_HTTP must be 1 or 0; set it to 1" in refusal_of()


@pytest.mark.parametrize(
    ("error", "first"),
    [
        (
            APIConnectionError("wrong version number", phase="tls"),
            "correct that first; ",
        ),
        (AuthenticationError(status=401), "change the key in DIGA_API_KEY first; "),
        (APIConnectionError("no answer"), ""),
        (None, ""),
    ],
)
@pytest.mark.usefixtures("key")
def test_what_would_fail_again_is_corrected_before_a_run_continues(error, first):
    assert ClientOptions().before_going_on(error) == first


def test_a_variable_names_a_key_file(key_file, monkeypatch):
    monkeypatch.setenv("HOME", str(key_file.parent))
    for name in (str(key_file), "~/key"):
        monkeypatch.setenv("DIGA_API_KEY_FILE", name)
        assert key_of(client()) == KEY


def test_an_option_goes_before_a_variable_and_a_key_before_a_file(
    key_file, monkeypatch
):
    other = key_file.with_name("other")
    other.write_text("sk-other")
    other.chmod(0o600)
    monkeypatch.setenv("DIGA_API_KEY_FILE", str(other))
    assert key_of(client()) == "sk-other"
    monkeypatch.setenv("DIGA_API_KEY", "sk-variable")
    assert key_of(client()) == "sk-variable"
    assert key_of(client(key_file=key_file)) == KEY


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o604, 0o644])
def test_a_key_file_that_others_can_read_gets_a_warning(key_file, mode, capsys):
    key_file.chmod(mode)
    assert key_of(client(key_file=key_file)) == KEY
    warned = f"chmod 600 {key_file}" in capsys.readouterr().err
    assert warned == bool(mode & 0o044)


@pytest.mark.skipif(os.name != "posix", reason="needs /dev/fd")
def test_a_pipe_with_the_key_gets_no_warning(capsys):
    """A shell may pass the output of a password manager with one."""
    reading, writing = os.pipe()
    os.write(writing, KEY.encode())
    os.close(writing)
    assert key_of(client(key_file=f"/dev/fd/{reading}")) == KEY
    os.close(reading)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"base_url": "diga.example"}, "--base-url"),
        ({"base_url": "http://diga.example"}, "--allow-insecure-http"),
        (
            {"base_url": "http://127.0.0.1", "proxy": "proxy.example"},
            "use https for the base URL (--base-url or DIGA_BASE_URL)",
        ),
        ({"proxy": "socks5://proxy.example"}, "--proxy must be http"),
        ({"per_second": float("inf")}, "--per-second must be"),
        ({"timeout": float("nan")}, "--timeout must be"),
    ],
)
@pytest.mark.usefixtures("key")
def test_a_message_names_options_and_not_arguments(options, words):
    message = refusal_of(**options)
    assert words in message
    for argument in ("base_url", "api_key", "insecure_http=", "per_second", "total"):
        assert argument not in message


@pytest.mark.usefixtures("key")
def test_a_wrong_variable_is_named(monkeypatch):
    monkeypatch.setenv("DIGA_BASE_URL", "diga.example")
    assert "DIGA_BASE_URL" in refusal_of()
    monkeypatch.delenv("DIGA_BASE_URL")
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy.example")
    assert "HTTPS_PROXY" in refusal_of()


@pytest.mark.usefixtures("key")
def test_the_proxy_is_that_of_the_option_or_of_the_environment(monkeypatch):
    def proxy(**options):
        return client(**options)._lifecycle.options.proxy

    assert proxy() is None
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    assert proxy() == "http://proxy.example:3128"
    assert proxy(proxy="other.example:80") == "http://other.example:80"
    assert proxy(base_url="http://127.0.0.1:1") is None
    monkeypatch.setenv("NO_PROXY", "diga.io")
    assert proxy() is None


@pytest.mark.usefixtures("key")
def test_the_timeout_is_the_total_of_a_lookup():
    assert client(timeout=7.5)._lifecycle.options.timeouts.total == 7.5
    assert client()._lifecycle.options.timeouts.total == 60.0


@pytest.mark.usefixtures("key")
def test_the_server_is_that_of_the_option_the_variable_or_the_default(monkeypatch):
    assert ClientOptions().server == "https://api.diga.io"
    monkeypatch.setenv("DIGA_BASE_URL", "https://a.example")
    assert ClientOptions().server == "https://a.example"
    assert ClientOptions(base_url="https://b.example").server == "https://b.example"


@pytest.mark.usefixtures("key")
def test_much_concurrency_gets_a_warning_with_what_it_costs(capsys):
    assert client(concurrency=1024)._lifecycle.options.limits.concurrency == 1024
    assert capsys.readouterr().err == ""
    assert client(concurrency=1025)._lifecycle.options.limits.concurrency == 1025
    warning = capsys.readouterr().err
    assert warning.startswith("diga: warning: --concurrency 1025 may be slower")
    assert "with 2,048 lookups in flight, each takes 1.6 times the CPU" in warning


def test_without_a_key_a_client_can_still_be_checked():
    made, problem = ClientOptions().client_to_check(Messages())
    assert "DIGA_API_KEY" in problem
    assert made._lifecycle.options.base_url == "https://api.diga.io"


@pytest.mark.usefixtures("key")
def test_a_client_to_check_sends_one_request():
    made, problem = ClientOptions().client_to_check(Messages())
    assert problem is None
    assert key_of(made) == KEY
    assert made._lifecycle.options.retry.max_attempts == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AuthenticationError(status=401), "401; change the key in DIGA_API_KEY"),
        (APIConnectionError("no answer"), "no answer"),
    ],
)
@pytest.mark.usefixtures("key")
def test_a_remedy_follows_the_error(error, words):
    assert ClientOptions().with_remedy(error) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (f"DIGA_API_KEY={KEY}", "DIGA_API_KEY holds NAME=value; leave the key alone"),
        ("$DIGA_API_KEY", "DIGA_API_KEY holds the name of a variable"),
        ("${KEY}", "DIGA_API_KEY holds the name of a variable"),
        (f"{{{KEY}}}", "DIGA_API_KEY has brackets around the key"),
        (f"<{KEY}>", "DIGA_API_KEY has brackets around the key"),
        ("sk-...", "DIGA_API_KEY is the sk-... of the documentation"),
    ],
)
def test_a_value_that_is_no_key_is_named_by_its_form(monkeypatch, value, words):
    monkeypatch.setenv("DIGA_API_KEY", value)
    message = refusal_of()
    assert message.startswith(words)
    assert KEY not in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (KEY.encode("utf-16"), "is UTF-16; save it as UTF-8"),
        (KEY.encode("utf-16-le"), "is UTF-16; save it as UTF-8"),
        (f'{{"api_key": "{KEY}"}}'.encode(), "holds JSON; leave the key alone in it"),
        (b"$DIGA_API_KEY\n", "holds the name of a variable"),
    ],
)
def test_a_key_file_of_another_form_is_named_by_it(key_file, content, words):
    key_file.write_bytes(content)
    message = refusal_of(key_file=key_file)
    assert message.startswith(f"the key file {key_file} {words}")
    assert KEY not in message
