"""What is said of a wrong command line: the mistake, and what was probably meant."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

import rich_click as click

from diga_async._cli.redaction import HIDDEN, may_be_key, without_keys

_KEY_OPTIONS = {"key", "k", "api-key", "apikey", "api_key", "token", "api-token"}
_WAYS_TO_GIVE_A_KEY = (
    "set DIGA_API_KEY, or name a file that holds the key with --key-file."
)
_NO_KEY_OPTION = (
    "There is no option for the key, since others on the same machine can read command "
    f"lines: {_WAYS_TO_GIVE_A_KEY}"
)
#: What other commands call an option of ours.
_SYNONYMS = {
    "workers": ("--concurrency",),
    "parallel": ("--concurrency",),
    "jobs": ("--concurrency",),
    "threads": ("--concurrency",),
    "rate": ("--per-second",),
    "rps": ("--per-second",),
    "rate-limit": ("--per-second",),
    "interval": ("--every",),
    "debug": ("--verbose",),
    "v": ("--verbose",),
    "silent": ("--quiet",),
    "q": ("--quiet",),
    "server": ("--base-url",),
    "host": ("--base-url",),
    "endpoint": ("--base-url",),
    "insecure": ("--allow-insecure-http",),
    "continue": ("--resume",),
    "since": ("--assigned-from",),
    "until": ("--assigned-until",),
    "sort": ("--order",),
}

_PLAIN_WORDS = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"is not a valid integer( range)?\.", "is not a whole number."),
        (r"is not a valid float( range)?\.", "is not a number."),
        (r"is not in the range x>=(\S+)\.", r"is less than \1."),
        (r"is not in the range x>(\S+)\.", r"is not above \1."),
        (r"is not in the range (\S+?)<=x<=(\S+)\.", r"is not from \1 to \2."),
    )
)


class _Clarified(click.Command):
    """A command whose usage errors say what to do, and never show a key."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options and arguments; of a group, the name of a command."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise _clarified(error, ctx, given) from None


class Command(_Clarified, click.RichCommand):
    """A command that looks up phones, or helps to."""


class Group(_Clarified, click.RichGroup):  # type: ignore[misc]  # as in rich_click
    """A group that points from a command in the wrong place to the right one."""

    command_class = Command
    group_class = type

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; suggest another one when there is none."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            meant = _command_meant(args[0], ctx)
            hint = "" if meant is None else f" Did you mean '{meant}'?"
            raise _clarified(
                click.UsageError(f"No such command '{args[0]}'.{hint}", error.ctx),
                ctx,
                args,
            ) from None


def _command_meant(name: str, ctx: click.Context) -> str | None:
    """Return the command line that *name* probably is part of."""
    if not isinstance(ctx.command, click.Group):  # pragma: no cover - a group asks
        return None
    if "get" in ctx.command.commands and "-" in name and not may_be_key(name):
        return f"{ctx.command_path} get {name}"  # as in a UUID
    commands = {f"{ctx.command_path} {n}": n for n in ctx.command.commands}
    for group_name, group in ctx.command.commands.items():
        if isinstance(group, click.Group):
            path = f"{ctx.command_path} {group_name}"
            commands |= {f"{path} {n}": n for n in group.commands}
    near = get_close_matches(name, commands.values(), n=1, cutoff=0.75)
    return next((line for line, n in commands.items() if n in near), None)


def _clarified(
    error: click.UsageError, ctx: click.Context, given: list[str]
) -> click.UsageError:
    """Return *error* with a remedy, and without what may be a key."""
    if type(error).__name__ == "NoArgsIsHelpError":  # click 8.2 and later
        return error
    if isinstance(error, click.NoSuchOption):
        options = [name for p in ctx.command.get_params(ctx) for name in p.opts]
        message = _no_such_option(error.option_name, options)
    else:
        message = _in_plain_words(error.format_message())
        if message.startswith("Got unexpected extra"):
            message = f"{message.rstrip('.')}. {_what_it_takes(ctx)}"
        elif message.startswith("Missing"):
            message = f"{message} {_example(ctx)}".rstrip()
    hidden = without_keys(message, given)
    if hidden != message:
        hidden += f" If {HIDDEN} is the key: {_WAYS_TO_GIVE_A_KEY}"
    return click.UsageError(hidden, error.ctx or ctx)


def _in_plain_words(message: str) -> str:
    """
    Say what a number must be, instead of naming a type and a range.

    >>> _in_plain_words("'ten' is not a valid integer range.")
    "'ten' is not a whole number."
    >>> _in_plain_words("-1.0 is not in the range x>0.")
    '-1.0 is not above 0.'
    """
    for pattern, words in _PLAIN_WORDS:
        message = pattern.sub(words, message)
    return message


def _example(ctx: click.Context) -> str:
    """Return the example in the help of a command."""
    lines = map(str.strip, (ctx.command.help or "").splitlines())
    return next((line for line in lines if line.startswith("Example: ")), "")


def _no_such_option(name: str, options: Iterable[str]) -> str:
    word = name.lstrip("-").lower()
    message = f"No such option '{name}'."
    if word in _KEY_OPTIONS:
        return f"{message} {_NO_KEY_OPTION}"
    names = [option for option in options if option.startswith("--")]
    if remedy := _remedy_for(word, names):
        return f"{message} {remedy}"
    near = [option for option in names if len(word) > 1 and word in option.split("-")]
    near = near or [n for n in names if n in _SYNONYMS.get(word, ())]
    near = near or [
        f"--{close}"
        for close in get_close_matches(word, [n[2:] for n in names], n=2, cutoff=0.7)
    ]
    meant = " or ".join(f"'{option}'" for option in near)
    return f"{message} Did you mean {meant}?" if meant else message


def _remedy_for(word: str, names: list[str]) -> str | None:
    """Return what to do instead of an option that other commands have."""
    if word == "json":
        file = " or -o X.jsonl" if "--output" in names else ""
        return f"A pipe{file} gives JSON lines."
    if "--resume" not in names:
        return None
    if word in {"overwrite", "force", "f", "clobber"}:
        return "A file that exists is never overwritten: remove it, or give --resume."
    if word in {"limit", "max", "count", "n", "head"}:
        return "For the first 10 only: pipe them into head -n 10."
    return None


def _what_it_takes(ctx: click.Context) -> str:
    command = ctx.command_path
    arguments = [p for p in ctx.command.params if isinstance(p, click.Argument)]
    if not arguments:
        return f"'{command}' takes options only."
    if arguments[0].name == "file":
        return f"It takes one file; for several: cat A B | {command} -"
    return f"'{command}' takes one {arguments[0].make_metavar(ctx)}."
