"""The command line as it was given, to be repeated in a hint."""

import re
import shlex
from collections.abc import Iterable

import attrs
import click
from click.core import ParameterSource

_CREDENTIALS = re.compile(r"(?<=://)[^/@]+@|^[^/@]+:[^/@]+@")

#: The options that say how to reach the server.
REACH = frozenset({"base_url", "key_file", "proxy", "allow_insecure_http"})


@attrs.frozen
class Invocation:
    """
    A command and the options that were given to it.

    Attributes:
        command: The command, such as ``diga phone fetch``.
        options: The words of each option, by its name, in the order of the help.
    """

    command: str
    options: dict[str, tuple[str, ...]] = attrs.field(factory=dict)

    @classmethod
    def current(cls) -> "Invocation":
        """Return that of the command that runs."""
        context = click.get_current_context()
        options = {
            parameter.name: _words(parameter, context.params[parameter.name])
            for parameter in context.command.params
            if isinstance(parameter, click.Option)
            and parameter.name in context.params
            and context.get_parameter_source(parameter.name)
            is ParameterSource.COMMANDLINE
        }
        return cls(context.command_path, options)

    def again(
        self, arguments: Iterable[str], *added: str, without: Iterable[str] = ()
    ) -> str:
        """
        Write the command with the same options.

        Args:
            arguments: Its arguments.
            added: Options to add at the end.
            without: The names of options to leave out.
        """
        left_out = set(without)
        kept = [
            word
            for name, words in self.options.items()
            if name not in left_out
            for word in words
        ]
        return shlex.join([*self.command.split(), *arguments, *kept, *added])

    def check(self) -> str:
        """Write `diga check` with the options that say how to reach the server."""
        options = {n: w for n, w in self.options.items() if n in REACH}
        return Invocation("diga check", options).again(())


def _words(option: click.Parameter, value: object) -> tuple[str, ...]:
    name = option.opts[0]
    if value is True:
        return (name,)
    if isinstance(value, tuple):  # given several times
        return tuple(word for one in value for word in _words(option, one))
    return name, without_credentials(str(value)).removesuffix(".0")


def without_credentials(proxy: str) -> str:
    """
    Hide the login in the address of a proxy: what is printed ends up in logs.

    >>> without_credentials("http://me:secret@proxy.example:3128")
    'http://***@proxy.example:3128'
    """
    return _CREDENTIALS.sub("***@", proxy)
