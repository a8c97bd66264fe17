"""`DigaClient`: the options of a client, checked before any I/O."""

import inspect
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from ssl import SSLContext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Never, Self, TypeVar

import aiohttp

from diga_async._api.addresses import DEFAULT_BASE_URL, check_base_url, check_proxy
from diga_async._api.messages import check_headers, conceal
from diga_async._engine.credentials import KeySource, key_opener
from diga_async._engine.observer import Hook
from diga_async._lifecycle import Lifecycle
from diga_async._models.arguments import Signature, not_this
from diga_async._models.errors import ConfigurationError
from diga_async._models.options import Limits, RetryPolicy, Timeouts, check_flag
from diga_async._phones.phones import Phones
from diga_async._runtime import Options
from diga_async._transport.transport import environment_proxy

if TYPE_CHECKING:
    from diga_async._models.stats import ClientStats

_T = TypeVar("_T")
_ARTICLES: dict[Any, str] = {SSLContext: "an"}

_KEY = "pass api_key=, or set DIGA_API_KEY"
_URL = "pass base_url=, or set DIGA_BASE_URL"
_TIMEOUTS = "pass timeouts=10.0, or timeouts=Timeouts(...)"
_MAX_ATTEMPTS = "pass retry=RetryPolicy(max_attempts=4)"
_NO_RETRIES = "RetryPolicy(max_attempts=1) turns retries off"
_CONCURRENCY = "pass limits=Limits(concurrency=64)"
_PER_SECOND = "pass limits=Limits(per_second=...)"
_CERTIFICATES = (
    "pass ssl=, an ssl.SSLContext that trusts your authority; "
    "certificates are always verified"
)
_HABITS = {
    **dict.fromkeys(("key", "token", "api_token", "access_token", "auth"), _KEY),
    **dict.fromkeys(("url", "api_url", "api_base", "host", "endpoint"), _URL),
    "timeout": _TIMEOUTS,
    **dict.fromkeys(("max_retries", "retries", "max_attempts"), _MAX_ATTEMPTS),
    "default_headers": "pass headers={...}",
    **dict.fromkeys(
        ("http_client", "client"), "pass session=, an aiohttp.ClientSession"
    ),
    "connector": "pass session=aiohttp.ClientSession(connector=...)",
    "loop": "a client belongs to the loop that uses it first",
    **dict.fromkeys(("max_connections", "concurrency", "limit"), _CONCURRENCY),
    **dict.fromkeys(("max_concurrency", "pool_size"), _CONCURRENCY),
    **dict.fromkeys(("per_second", "rate_limit", "requests_per_second"), _PER_SECOND),
    "proxies": "pass proxy=, one http(s) address",
    **dict.fromkeys(("verify", "verify_ssl", "cert", "ssl_context"), _CERTIFICATES),
}
"""Options of other clients, and what they are called here."""


class DigaClient:
    """
    A client of the Diga API.

    Use it as ``async with``, or call `close` when done.
    It can be made anywhere, even outside an event loop; it opens on first use and
    then belongs to that loop. After that loop was closed, it opens again in the next.

    Args:
        api_key: The key, printable ASCII without blanks or quotes; by default
            ``DIGA_API_KEY``. A callable, plain or async, is asked for the key on
            first use, and once more whenever the key was refused.
        base_url: The server; by default ``DIGA_BASE_URL``, then
            ``https://api.diga.io``.
        session: An existing session whose connector is used: its pool, TLS, DNS
            and limits, and nothing else of it. It is never closed or changed.
            Waiting in its pool counts against `Timeouts.attempt`.
        timeouts: How long to wait; a number is the `total` in seconds.
        retry: What is retried, how often and how soon.
        limits: How much the client sends.
        proxy: ``http(s)://[user:password@]host:port`` to go through.
            It never sees the key, since only https goes through it.
        ssl: A context, for certificates of your own.
        trust_env: Whether to use the proxy that the environment names for
            *base_url*. No netrc is read.
        trace_configs: aiohttp's trace configurations, called for every request.
            They see the headers, with the key.
            An error of a hook is raised by the lookup, and ends a run.
        on_event: Called after each attempt and each lookup that ends, with
            one frozen `AttemptEvent` or `LookupEvent`; for metrics.
            It is a plain function that must not block.
            An error that it raises is raised by the lookup, and ends a run.
        headers: Sent with every request, such as a gateway's own. Headers that
            describe the request, its connection or its body cannot be given, nor
            can ``Authorization`` and ``Cookie``.
        allow_insecure_http: Allow plain http to another machine; also
            ``DIGA_ALLOW_INSECURE_HTTP=1``; 0 or empty does not allow it, and any
            other value is an error. The key then travels unencrypted.

    Raises:
        ConfigurationError: An argument or variable is wrong or missing.
        TypeError: An argument has the name or the type that other clients use.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Explain options that are not there, before a frame holds the key."""
        if cls.__init__ is DigaClient.__init__:
            given, names = len(args), tuple(options)
            del args, options
            _SIGNATURE.check(given, names)
        return super().__new__(cls)

    def __init__(  # noqa: PLR0913 - every one is a decision of the user's
        self,
        api_key: KeySource | None = None,
        *,
        base_url: str | None = None,
        session: aiohttp.ClientSession | None = None,
        timeouts: Timeouts | float = Timeouts(),  # noqa: B008 - frozen
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        limits: Limits = Limits(),  # noqa: B008 - frozen
        proxy: str | None = None,
        ssl: SSLContext | None = None,
        trust_env: bool = False,
        trace_configs: Sequence[aiohttp.TraceConfig] = (),
        on_event: Hook | None = None,
        headers: Mapping[str, str] | None = None,
        allow_insecure_http: bool = False,
    ) -> None:
        name = "the API key" if api_key is not None else "the API key in DIGA_API_KEY"
        api_key = conceal(_given_or_environment(api_key))
        credentials = key_opener(api_key, name)
        check_flag("trust_env", trust_env)
        check_flag("allow_insecure_http", allow_insecure_http)
        insecure = _environment_flag("ALLOW_INSECURE_HTTP") or allow_insecure_http
        url = _base_url_of(base_url, allow_insecure_http=insecure)
        proxy_name = "proxy"
        if trust_env and proxy is None and url.startswith("https:"):
            proxy, proxy_name = environment_proxy(url), "HTTPS_PROXY"
        options = Options(
            base_url=url,
            session=_of_kind_or_none(session, aiohttp.ClientSession, "session"),
            timeouts=Timeouts.of(timeouts),
            retry=_retry_of(retry),
            limits=_of_kind(limits, Limits, "limits", _CONCURRENCY),
            proxy=check_proxy(
                proxy, url, name=proxy_name, allow_insecure_http=insecure
            ),
            ssl=_of_kind_or_none(ssl, SSLContext, "ssl", _CERTIFICATES),
            trace_configs=_all_of_kind(
                trace_configs, aiohttp.TraceConfig, "trace_configs"
            ),
            on_event=_plain_or_none(on_event),
            headers=check_headers(headers or {}),
        )
        self._lifecycle = Lifecycle(options, credentials)

    # help(), notebooks and the reference ask __new__, which takes anything.
    __new__.__signature__ = inspect.signature(__init__)  # type: ignore[attr-defined]

    @property
    def phones(self) -> Phones:
        """
        The phones of the key's project.

        .. versionadded:: 0.1.0
        """
        return Phones(self)

    @property
    def closed(self) -> bool:
        """
        Whether `close` was called.

        .. versionadded:: 0.1.0
        """
        return self._lifecycle.closed

    @property
    def stats(self) -> "ClientStats":
        """
        A snapshot of what the client has done and is doing; cheap.

        .. versionadded:: 0.1.0
        """
        return self._lifecycle.stats

    async def close(self) -> None:
        """
        Close the client. Idempotent; returns within about a second.

        Lookups under way get `ClientClosedError`. A lent session stays open.

        Raises:
            WrongLoopError: The client is open in another event loop.

        .. versionadded:: 0.1.0
        """
        await self._lifecycle.close()

    async def __aenter__(self) -> Self:
        """Open the client in this loop."""
        self._lifecycle.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client."""
        await self.close()

    if not TYPE_CHECKING:  # type checkers report this themselves

        def __enter__(self) -> Never:
            """Explain the mistake."""
            raise TypeError("use 'async with DigaClient(...)' instead of 'with'")

        def __exit__(self, *_: object) -> None:
            """Complete `__enter__`."""

    def __repr__(self) -> str:
        """Show its address and its state, never the key."""
        lifecycle = vars(self).get("_lifecycle")
        if lifecycle is None:  # shown by a crash report about its own `__init__`
            return "<DigaClient not made>"
        opened = "open" if lifecycle.runtime else "not opened"
        state = "closed" if lifecycle.closed else opened
        return f"<DigaClient {lifecycle.options.base_url} {state}>"

    def __reduce__(self) -> str:
        """Refuse to be copied or pickled: the copy would close the connections."""
        raise TypeError("a DigaClient cannot be copied or pickled; make another")

    def __del__(self) -> None:
        """Warn when it was not closed."""
        lifecycle = vars(self).get("_lifecycle")
        if lifecycle is None or lifecycle.runtime is None:
            return
        lifecycle.runtime.abandon()
        if lifecycle.options.session is None:
            warnings.warn(
                f"Unclosed {self!r}; use 'async with DigaClient(...)', "
                "or 'await client.close()' when done",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )


_SIGNATURE = Signature(DigaClient.__init__, _HABITS)


def _environment(name: str) -> str | None:
    return os.environ.get(f"DIGA_{name}") or None


def _environment_flag(name: str) -> bool:
    text = _environment(name) or "0"
    if text not in {"0", "1"}:
        raise ConfigurationError(
            f"DIGA_{name} must be 1 or 0; set it to 1 to allow that, or unset it"
        )
    return text == "1"


def _given_or_environment(api_key: KeySource | None) -> KeySource:
    source = api_key if api_key is not None else _environment("API_KEY")
    if source is None:
        raise ConfigurationError("no API key: pass api_key, or set DIGA_API_KEY")
    return source


def _base_url_of(given: str | None, *, allow_insecure_http: bool) -> str:
    name, url = "base_url", given
    if url is None and (url := _environment("BASE_URL")) is not None:
        name = "DIGA_BASE_URL"
    return check_base_url(
        DEFAULT_BASE_URL if url is None else url,
        name=name,
        allow_insecure_http=allow_insecure_http,
    )


def _of_kind(value: Any, kind: type[_T], name: str, remedy: str = "") -> _T:
    if isinstance(value, kind):
        return value
    wanted = f"{name} must be {_ARTICLES.get(kind, 'a')} {kind.__name__}"
    ending = f": {remedy}" if remedy else ""
    raise ConfigurationError(f"{wanted}, {not_this(value)}{ending}")


def _of_kind_or_none(
    value: Any, kind: type[_T], name: str, remedy: str = ""
) -> _T | None:
    return None if value is None else _of_kind(value, kind, name, remedy)


def _retry_of(retry: Any) -> RetryPolicy:
    if retry is None or retry is False or retry == 0:
        error = ConfigurationError if retry is None else TypeError
        raise error(f"retry must be a RetryPolicy, {not_this(retry)}: {_NO_RETRIES}")
    if isinstance(retry, int):
        raise TypeError(f"retry must be a RetryPolicy: {_MAX_ATTEMPTS}")
    return _of_kind(retry, RetryPolicy, "retry", _MAX_ATTEMPTS)


def _plain_or_none(on_event: Any) -> Hook | None:
    if on_event is None:
        return None
    called = getattr(on_event, "__call__", None)  # noqa: B004 - looked into as well
    if called is None or any(map(inspect.iscoroutinefunction, (on_event, called))):
        wanted = "on_event must be a plain function"
        given = not_this(on_event) if called is None else "not one that is awaited"
        raise ConfigurationError(f"{wanted}, {given}")
    hook: Hook = on_event
    return hook


def _all_of_kind(values: Any, kind: type[_T], name: str) -> tuple[_T, ...]:
    if not isinstance(values, Iterable):
        wanted = f"{name} must be a sequence of {kind.__name__}"
        raise ConfigurationError(f"{wanted}, {not_this(values)}")
    return tuple(_of_kind(value, kind, name) for value in values)
