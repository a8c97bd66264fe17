"""The command line, repeated in a hint."""

import click
import pytest

from diga_async._cli.invocation import Invocation

FETCH = Invocation(
    "diga phone fetch",
    {"out": ("-o", "my out.csv"), "resume": ("--resume",), "rate": ("-r", "2.5")},
)


def test_a_command_is_repeated_with_every_option():
    assert FETCH.again(["ids"]) == (
        "diga phone fetch ids -o 'my out.csv' --resume -r 2.5"
    )


def test_options_can_be_replaced():
    hint = FETCH.again(["-"], "--retry-failed", without=["resume"])
    assert hint == "diga phone fetch - -o 'my out.csv' -r 2.5 --retry-failed"


def invocation_of(*arguments):
    """Return the invocation of a command with a few options."""
    options = [
        click.Option(["-o", "--output", "out"]),
        click.Option(["--rate"], type=float, default=1.0),
        click.Option(["--resume"], is_flag=True),
        click.Option(["--proxy"], envvar="A_PROXY"),
        click.Option(["--status"], multiple=True),
    ]
    command = click.Command("fetch", params=[*options, click.Argument(["file"])])
    with command.make_context("diga fetch", [*arguments, "ids"]):
        return Invocation.current()


def test_only_options_of_the_command_line_are_repeated(monkeypatch):
    monkeypatch.setenv("A_PROXY", "http://x.example")
    assert invocation_of().again(["ids"]) == "diga fetch ids"
    given = invocation_of("--rate", "2", "--resume", "--output", "x")
    assert given.again(["ids"]) == "diga fetch ids -o x --rate 2 --resume"


def test_an_option_that_was_given_twice_is_repeated_twice():
    given = invocation_of("--status", "assigned", "--status", "a b")
    assert given.again(["ids"]) == "diga fetch ids --status assigned --status 'a b'"


def test_a_command_without_arguments_ends_with_its_options():
    assert Invocation("diga phone list").again(()) == "diga phone list"


@pytest.mark.parametrize("proxy", ["http://me:secret@x.example", "me:secret@x.example"])
def test_a_hint_does_not_show_the_password_of_a_proxy(proxy):
    """Hints end up in logs."""
    hint = invocation_of("--proxy", proxy).again(["ids"])
    assert "***@x.example" in hint
    assert "secret" not in hint
