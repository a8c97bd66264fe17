"""What a user is told after a run that ended early."""

import socket

import pytest

from diga_async import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    InternalServerError,
    InvalidResponseError,
    PermissionDeniedError,
    RateLimitError,
)
from diga_async._cli.client_options import ClientOptions
from diga_async._cli.ending import Hints
from diga_async._cli.exit_codes import CommandError, ExitCode
from diga_async.sandbox import Faults

DEAD = APIConnectionError("connection refused", phase="connect")


def hint(problem, *, has_answer=False, has_out=True):
    hints = Hints(
        options=ClientOptions(), check="diga check", go_on="GO ON", has_out=has_out
    )
    return hints.after(problem, has_answer=has_answer)


@pytest.mark.parametrize(
    ("problem", "to_a_file", "to_a_pipe"),
    [
        (DEAD, "diga check says why; GO ON", "diga check says why"),
        (InvalidResponseError("no JSON"), "diga check says why", None),
        (APIStatusError(status=302), "diga check says why", "diga check says why"),
        (InternalServerError(status=500, error_code="E"), "GO ON", "GO ON"),
        (APIConnectionError("x", phase="tls"), "correct that first; GO ON", None),
        (AuthenticationError(status=401), "change the key in None first; GO ON", None),
        (
            RateLimitError(status=429, retry_after=3600.0),
            "the server asks to wait 3600 s; GO ON",
            None,
        ),
    ],
)
def test_a_server_that_never_answered_as_diga_does_is_to_be_checked(
    problem, to_a_file, to_a_pipe
):
    assert hint(problem) == to_a_file
    if to_a_pipe is not None:
        assert hint(problem, has_out=False) == to_a_pipe
    assert hint(problem, has_answer=True).endswith("GO ON")


def test_a_pipe_that_closes_before_the_first_row_needs_no_file():
    closed = CommandError(ExitCode.STOPPED, "closed")
    assert hint(closed, has_out=False) is None
    assert hint(closed) == hint(closed, has_answer=True, has_out=False) == "GO ON"


def test_a_refusal_without_diga_s_json_may_be_that_of_something_in_front():
    remedy_for = ClientOptions().remedy_for
    foreign = remedy_for(PermissionDeniedError(status=403, message="Forbidden"))
    assert foreign.endswith("'Phones: read' (or something in front of the API refuses)")
    own = remedy_for(PermissionDeniedError(status=403, error_code="FORBIDDEN"))
    assert own.endswith("'Phones: read'")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def last_line(words):
    return words.splitlines()[-1]


@pytest.mark.parametrize("given", [["get"], ["fetch"], ["fetch", "-o", "x.jsonl"]])
def test_ids_of_a_server_that_is_not_diga_are_not_to_be_retried(
    diga, sandbox, ids, given
):
    sandbox.faults = Faults(garbage=1.0)
    command, *options = given
    argument = ids if command == "fetch" else sandbox.phone_ids[0]
    url = ("--base-url", sandbox.url)
    code, _, words = diga("phone", command, argument, *options, *url)
    assert code == 1
    assert last_line(words) == f"diga: diga check --base-url {sandbox.url} says why"


@pytest.mark.usefixtures("sandbox")
def test_a_dead_server_is_to_be_checked_with_the_options_that_were_given(diga):
    url = f"http://127.0.0.1:{free_port()}"
    code, _, words = diga("phone", "list", "--base-url", url, "--timeout", 1)
    assert code == 4
    assert last_line(words) == f"diga: diga check --base-url {url} says why"


def test_missing_ids_are_named_and_not_to_be_retried(diga, sandbox, ids):
    gone = [str(i) for i in sandbox.phone_ids[:5]]
    for phone_id in sandbox.phone_ids[:5]:
        del sandbox.phones[phone_id]
    options = ("--concurrency", 1, "-o", "x.jsonl")
    code, _, words = diga("phone", "fetch", ids, *options)
    assert code == 1
    said = (
        f"{', '.join(gone[:3])} and 2 other ids; another attempt does not change that"
    )
    assert last_line(words) == f"diga: missing: {said}"
    again = diga("phone", "fetch", ids, *options, "--resume")
    assert last_line(again[2]) == last_line(words)


@pytest.mark.parametrize("command", ["get", "fetch", "list"])
def test_a_long_wait_that_the_server_asks_for_is_said_last(diga, sandbox, ids, command):
    sandbox.per_second, sandbox.burst, sandbox.retry_after = 0.001, 0, "3600"
    argument = {"get": [sandbox.phone_ids[0]], "fetch": [ids], "list": []}[command]
    assert diga("check")[0] == 0
    _, _, words = diga("phone", command, *argument)
    assert "asks to wait 3600 s" in last_line(words)
    report = diga("check")[1]
    assert "try again in 3600 s, as the server asks" in last_line(report)
