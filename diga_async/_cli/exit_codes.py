"""The end of a command: its exit code, and the one line that says why."""

import os
import re
from enum import IntEnum

from diga_async import (
    AuthenticationError,
    ConfigurationError,
    DigaError,
    InvalidPhoneIdError,
    PermissionDeniedError,
)
from diga_async._cli.certificates import trust_remedy


class ExitCode(IntEnum):
    """The exit codes of `diga`."""

    ALL_FOUND = 0
    NOT_ALL_FOUND = 1
    USAGE = 2
    REFUSED = 3
    STOPPED = 4
    INTERRUPTED = 130


class CommandError(Exception):
    """
    Ends a command.

    Attributes:
        code: The exit code.
    """

    def __init__(self, code: ExitCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def usage_error(reason: str) -> CommandError:
    """Return the error for a command that was called wrongly."""
    return CommandError(ExitCode.USAGE, reason)


def stopped(doing: str, error: OSError) -> CommandError:
    """Return the error for a command that an error of the system stopped."""
    return CommandError(ExitCode.STOPPED, f"{doing}: {reason_of(error)}")


def reason_of(error: OSError) -> str:
    """
    Return the system's words for *error*, without numbers and paths.

    >>> reason_of(FileNotFoundError(2, "No such file or directory", "ids.txt"))
    'no such file or directory'
    """
    words = error.strerror or str(error) or type(error).__name__
    return words[:1].lower() + words[1:]


def code_of(error: CommandError | DigaError, otherwise: ExitCode) -> ExitCode:
    """
    Return the exit code of a command that *error* ended.

    Args:
        error: What ended it.
        otherwise: The code for an error that has no code of its own.
    """
    match error:
        case CommandError(code=code):
            return code
        case AuthenticationError() | PermissionDeniedError():
            return ExitCode.REFUSED
        case ConfigurationError() | InvalidPhoneIdError():
            return ExitCode.USAGE
        case _:
            return otherwise


_TRUST = "trust its authority with ssl="
_ARGUMENTS = {
    "at this address": "at the base URL (--base-url or DIGA_BASE_URL)",
    "pass allow_insecure_http=True": "give --allow-insecure-http",
    "allow_insecure_http": "--allow-insecure-http",
    "the port may speak plain http": "the port may speak plain http; if it does, write "
    "http: instead of https: in the base URL (--base-url or DIGA_BASE_URL)",
    "write http:// in its address": "write http:// in HTTPS_PROXY or --proxy",
    "an https base_url": "https for the base URL (--base-url or DIGA_BASE_URL)",
    "base_url": "the base URL (--base-url or DIGA_BASE_URL)",
    "proxy must": "--proxy must",
    "max_outage of": "the longest pause of",
    "concurrency": "--concurrency",
    "per_second": "--per-second",
    "total must": "--timeout must",
    "timeout must": "--timeout must",
    "timeouts must": "--timeout must",
    "every must": "--every must",
    "inbound_agent_id": "--inbound-agent",
    "outbound_agent_id": "--outbound-agent",
}
#: Where an error names a limit of time; the command line has an option for one.
_LIMIT = re.compile(r" \(Timeouts\.(\w+)\)")
_LIMITS = {"total": " (--timeout)"}
_ARGUMENT = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, _ARGUMENTS))})(?!\w)")


def message_of(error: CommandError | DigaError) -> str:
    """
    Return what *error* says, with options where the library names its arguments.

    >>> message_of(ConfigurationError("per_second must be a finite number above 0"))
    '--per-second must be a finite number above 0'
    >>> message_of(ConfigurationError("3600 s, beyond max_outage of 300 s"))
    '3600 s, beyond the longest pause of 300 s'
    """
    if isinstance(error, CommandError):
        return str(error)
    text = _LIMIT.sub(lambda found: _LIMITS.get(found[1], ""), error.describe())
    if _TRUST in text:
        text = text.replace(_TRUST, trust_remedy(os.environ))
    return _ARGUMENT.sub(lambda found: _ARGUMENTS[found[0]], text)
