"""The command line, repeated in a hint."""

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
