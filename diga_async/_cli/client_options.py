"""Options, variables and the key with which the command reaches Diga, checked."""

import os
import shlex
import stat
from pathlib import Path

import attrs

from diga_async import (
    APIConnectionError,
    AuthenticationError,
    ConfigurationError,
    DigaClient,
    DigaError,
    Limits,
    PermissionDeniedError,
    RateLimitError,
    RetryPolicy,
    Timeouts,
)
from diga_async._api.addresses import DEFAULT_BASE_URL, with_scheme
from diga_async._api.messages import Secret, conceal
from diga_async._cli.exit_codes import (
    CommandError,
    message_of,
    reason_of,
    usage_error,
)
from diga_async._cli.failures import is_from_diga
from diga_async._cli.keys import ASSIGNMENT, form_of_file, form_of_value
from diga_async._cli.redaction import bare, may_be_key
from diga_async._cli.terminal import Messages

MAX_KEY_FILE_BYTES = 65_536
#: More lookups in flight than this get a warning.
MUCH_CONCURRENCY = 1024
#: What a lookup costs with 2,048 in flight: 151 µs of CPU, and 94 µs with 64, as
#: tests/benchmarks/scaling.py measures it (its part *wide*).
COST_OF_MUCH = "1.6 times the CPU"

_ONCE = RetryPolicy(max_attempts=1)
#: Stands for the key where nothing is sent.
_NO_KEY = Secret("none")


@attrs.frozen(kw_only=True)
class ClientOptions:
    """
    The options of a command that say how to reach Diga; None where not given.

    Attributes:
        base_url: The server.
        key_file: The file that holds the key.
        proxy: The proxy, instead of the one that HTTPS_PROXY names.
        timeout: Seconds for one lookup, over everything.
        allow_insecure_http: Whether plain http to another machine is allowed.
        concurrency: Lookups at the same time, at most.
        per_second: Requests a second, at most.
    """

    base_url: str | None = None
    key_file: Path | None = None
    proxy: str | None = None
    timeout: float | None = None
    allow_insecure_http: bool = False
    concurrency: int | None = None
    per_second: float | None = None

    @property
    def server(self) -> str:
        """The address of the server, as it was given."""
        return self.base_url or os.environ.get("DIGA_BASE_URL") or DEFAULT_BASE_URL

    def client(self, messages: Messages) -> DigaClient:
        """
        Make the client.

        Raises:
            CommandError: An option or a variable is wrong, or there is no key.
        """
        key, origin = _find_key(self.key_file, messages)
        if self.concurrency is not None and self.concurrency > MUCH_CONCURRENCY:
            messages.note(
                f"warning: --concurrency {self.concurrency} may be slower than "
                f"{MUCH_CONCURRENCY:,}: with 2,048 lookups in flight, each takes "
                f"{COST_OF_MUCH} that it takes with 64, and a connection of its own"
            )
        return self._client(key, origin)

    def client_to_check(self, messages: Messages) -> tuple[DigaClient, str | None]:
        """
        Make a client that tries once, and tell why it has no key; None when it has.

        Raises:
            CommandError: An option or a variable other than the key is wrong.
        """
        keyless = self._client(_NO_KEY, "", retry=_ONCE)
        try:
            key, origin = _find_key(self.key_file, messages)
            return self._client(key, origin, retry=_ONCE), None
        except CommandError as error:
            return keyless, str(error)

    def _client(
        self,
        key: Secret,
        origin: str,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
    ) -> DigaClient:
        try:
            return DigaClient(
                key,
                base_url=self.base_url,
                retry=retry,
                timeouts=Timeouts() if self.timeout is None else self.timeout,
                limits=Limits(
                    concurrency=self.concurrency or Limits().concurrency,
                    per_second=self.per_second,
                ),
                proxy=None if self.proxy is None else with_scheme(self.proxy),
                trust_env=True,
                allow_insecure_http=self.allow_insecure_http,
            )
        except ConfigurationError as error:
            message = message_of(error)
            if message.startswith("the API key"):
                message = f"{message} (it comes from {origin})"
            raise usage_error(message) from None

    def remedy_for(self, error: Exception) -> str | None:
        """Return what the user can do about a refusal; None for other errors."""
        origin = key_origin(self.key_file)
        match error:
            case AuthenticationError():
                return f"change the key in {origin}"
            case PermissionDeniedError():
                return permission_remedy(error, origin)
            case RateLimitError(retry_after=float() as seconds):
                return f"the server asks to wait {seconds:g} s"
            case _:
                return None

    def before_going_on(self, error: Exception | None) -> str:
        """Return what comes before the command that continues a run."""
        if isinstance(error, APIConnectionError) and not error.transient:
            return "correct that first; "
        remedy = None if error is None else self.remedy_for(error)
        if remedy is None:
            return ""
        first = "" if isinstance(error, RateLimitError) else " first"
        return f"{remedy}{first}; "

    def with_remedy(
        self, error: CommandError | DigaError, words: str | None = None
    ) -> str:
        """Return what *error* says, or *words*, and what the user can do about it."""
        words = message_of(error) if words is None else words
        remedy = self.remedy_for(error)
        return words if remedy is None else f"{words}; {remedy}"


def permission_remedy(error: DigaError, origin: str | None) -> str:
    """Return what helps after a 403, which may come from something else than Diga."""
    remedy = f"give the key in {origin} the permission 'Phones: read'"
    if is_from_diga(error):
        return remedy
    return f"{remedy} (or something in front of the API refuses)"


def key_origin(key_file: Path | None) -> str | None:
    """
    Return where the key comes from, as messages name it; None when there is none.

    An option goes before a variable, and the key itself before a file of it.
    """
    path = _path_of_key(key_file)
    if path is None:
        return "DIGA_API_KEY" if os.environ.get("DIGA_API_KEY") else None
    return bare(str(path))


def _path_of_key(key_file: Path | None) -> Path | None:
    if key_file is not None:
        return Path(key_file)
    name = os.environ.get("DIGA_API_KEY_FILE")
    return Path(name) if name and not os.environ.get("DIGA_API_KEY") else None


def _find_key(key_file: Path | None, messages: Messages) -> tuple[Secret, str]:
    path, origin = _path_of_key(key_file), key_origin(key_file)
    if origin is None:
        raise usage_error(
            "no API key: set DIGA_API_KEY, or name a file that holds the key with "
            "--key-file or DIGA_API_KEY_FILE"
        )
    if path is None:
        key: Secret = conceal(os.environ[origin])
        if fault := form_of_value(key):
            raise usage_error(f"{origin} {fault}")
        return key, origin
    return _read_key(path.expanduser(), messages), origin


def _read_key(path: Path, messages: Messages) -> Secret:
    """Read a key file; one trailing line break is not part of the key."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(MAX_KEY_FILE_BYTES)
    except OSError as error:
        raise _no_key_file(path, error) from None
    if os.name == "posix" and stat.S_ISREG(mode) and mode & 0o044:
        messages.note(
            f"warning: other users can read the key file {path}; "
            f"'chmod 600 {path}' keeps it private"
        )
    if fault := form_of_file(raw):
        raise usage_error(f"the key file {path} {fault}")
    content = raw.decode(errors="surrogateescape")
    if ASSIGNMENT.search(content):
        raise usage_error(
            f"the key file {path} holds NAME=value, as a .env file does; leave the key "
            f"alone in it, or load it into the environment: set -a; . {_as_path(path)}"
        )
    key: Secret = conceal(content.removesuffix("\n").removesuffix("\r"))
    return key


def _as_path(path: Path) -> str:
    """Write *path* so that a shell looks for it in no other folder."""
    return shlex.quote(str(path) if path.parent.name else f"./{path}")


def _no_key_file(path: Path, error: OSError) -> CommandError:
    if may_be_key(str(path)):
        return usage_error(
            "--key-file and DIGA_API_KEY_FILE name a file, and what was given may be "
            "the key; set DIGA_API_KEY to the key, or write it to a file"
        )
    reason = reason_of(error)
    return usage_error(
        f"cannot read the key file {path}: {reason}; --key-file or DIGA_API_KEY_FILE "
        "must name a file that holds the key and nothing else"
    )
