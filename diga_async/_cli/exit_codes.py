"""How a command ends: its exit code, and the one line that says why."""

from enum import IntEnum

from diga_async import (
    AuthenticationError,
    ConfigurationError,
    DigaError,
    InvalidPhoneIdError,
    PermissionDeniedError,
)


class ExitCode(IntEnum):
    """What the exit codes of `diga` mean."""

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
    """Return what ends a command that was called wrongly."""
    return CommandError(ExitCode.USAGE, reason)


def stopped(doing: str, error: OSError) -> CommandError:
    """Return what ends a command that the system will not let go on."""
    return CommandError(ExitCode.STOPPED, f"{doing}: {reason_of(error)}")


def reason_of(error: OSError) -> str:
    """
    Say what the system said, without numbers and paths.

    >>> reason_of(FileNotFoundError(2, "No such file or directory", "ids.txt"))
    'no such file or directory'
    """
    words = error.strerror or type(error).__name__
    return words[:1].lower() + words[1:]


def code_of(error: CommandError | DigaError, otherwise: ExitCode) -> ExitCode:
    """
    Return the exit code of a command that *error* ended.

    Args:
        error: What ended it.
        otherwise: The code for what has no code of its own.
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
