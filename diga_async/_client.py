"""`DigaClient`: checks what it is asked to be, and belongs to one loop at a time."""

import asyncio
import inspect
import os
import threading
import warnings
from collections.abc import Iterable, Sequence
from ssl import SSLContext
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp

from diga_async._api.messages import conceal
from diga_async._api.phones import check_base_url, check_proxy
from diga_async._engine.call import Counters
from diga_async._engine.credentials import KeySource, key_opener
from diga_async._engine.observer import Hook
from diga_async._models.errors import (
    ClientClosedError,
    ConfigurationError,
    WrongLoopError,
)
from diga_async._models.options import Limits, RetryPolicy, Timeouts, check_flag
from diga_async._models.stats import ClientStats
from diga_async._phones.lookups import Phones
from diga_async._runtime import Engine, Options, client_stats
from diga_async._transport.transport import environment_proxy

DEFAULT_BASE_URL = "https://api.diga.io"

_T = TypeVar("_T")


class DigaClient:
    """
    A client of the Diga API.

    Use it as ``async with``, or call `close` when done.
    It can be made anywhere, also outside a loop; it opens on first use and then
    belongs to that loop. When that loop was closed, the next one opens it anew.

    Args:
        api_key: The key, printable ASCII without blanks; by default
            ``DIGA_API_KEY``. A callable, plain or async, is asked for the key on
            first use, and once more whenever the key was refused.
        base_url: The server; by default ``DIGA_BASE_URL``, then
            ``https://api.diga.io``.
        session: Lends the connector of an existing session: its pool, TLS, DNS
            and limits, and nothing else of it. It is never closed or changed.
            Waiting in its pool counts against `Timeouts.attempt`.
        timeouts: How long to wait; a number is the `total` in seconds.
        retry: What is tried again, how often and how soon.
        limits: How much the client may ask of the server.
        proxy: ``http(s)://[user:password@]host:port`` to go through.
            It never sees the key, since only https goes through it.
        ssl: A context with certificates of your own.
        trust_env: Whether to use the proxy that the environment names for
            *base_url*. No netrc is read.
        trace_configs: aiohttp's, called for every request.
            They see the headers, and the key in them.
        on_event: Called soon after each attempt and each lookup that ends, with
            one frozen `AttemptEvent` or `LookupEvent`; for metrics.
            It is a plain function, and must not block.
            What it raises goes to the loop's exception handler.
        allow_insecure_http: Allow plain http to another machine; also
            ``DIGA_ALLOW_INSECURE_HTTP=1``. Everybody on the way sees the key.

    Raises:
        ConfigurationError: An argument or variable is wrong or missing.

    .. versionadded:: 0.1.0
    """

    _engine: Engine | None = None
    _closing: asyncio.Event | None = None

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
        allow_insecure_http: bool = False,
    ) -> None:
        api_key = conceal(_given_or_environment(api_key))
        self._credentials = key_opener(api_key)
        check_flag("trust_env", trust_env)
        check_flag("allow_insecure_http", allow_insecure_http)
        insecure = allow_insecure_http or _environment("ALLOW_INSECURE_HTTP") == "1"
        url = check_base_url(
            _first(base_url, _environment("BASE_URL"), DEFAULT_BASE_URL),
            allow_insecure_http=insecure,
        )
        proxy_name = "proxy"
        if trust_env and proxy is None and url.startswith("https:"):
            proxy, proxy_name = environment_proxy(url), "HTTPS_PROXY"
        self._options = Options(
            base_url=url,
            session=_of_kind_or_none(session, aiohttp.ClientSession, "session"),
            timeouts=Timeouts.of(timeouts),
            retry=_of_kind(retry, RetryPolicy, "retry"),
            limits=_of_kind(limits, Limits, "limits"),
            proxy=check_proxy(
                proxy, url, name=proxy_name, allow_insecure_http=insecure
            ),
            ssl=_of_kind_or_none(ssl, SSLContext, "ssl"),
            trace_configs=_all_of_kind(
                trace_configs, aiohttp.TraceConfig, "trace_configs"
            ),
            on_event=_plain_or_none(on_event),
        )
        self._counters = Counters()
        self._closed = False
        self._opening = threading.Lock()

    @property
    def phones(self) -> Phones:
        """
        The phones of the key's project.

        .. versionadded:: 0.1.0
        """
        return Phones(self._engine_here, self._options.timeouts)

    @property
    def closed(self) -> bool:
        """
        Whether `close` was called.

        .. versionadded:: 0.1.0
        """
        return self._closed

    @property
    def stats(self) -> ClientStats:
        """
        A snapshot of what the client has done and is doing; cheap.

        .. versionadded:: 0.1.0
        """
        return client_stats(self._counters, self._engine)

    async def close(self) -> None:
        """
        Close the client. Idempotent; returns within about a second.

        Lookups under way get `ClientClosedError`. A lent session stays open.

        Raises:
            WrongLoopError: The client is open in another event loop.

        .. versionadded:: 0.1.0
        """
        engine = self._engine
        if engine is not None and not (engine.loop.is_closed() or engine.is_here):
            raise WrongLoopError("close the client in the event loop that uses it")
        self._closed = True
        self._engine = None
        if engine is None:
            await self._others_end()
        elif engine.loop.is_closed():
            engine.abandon()
        else:
            self._closing = closing = asyncio.Event()
            try:
                await engine.close()
            finally:
                closing.set()

    async def _others_end(self) -> None:
        """Wait for whoever is closing the client already."""
        if self._closing is not None and not self._closing.is_set():
            await self._closing.wait()

    async def __aenter__(self) -> Self:
        """Open the client in this loop."""
        self._engine_here()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client."""
        await self.close()

    def _engine_here(self) -> Engine:
        engine = self._engine
        if engine is not None and engine.is_here:
            return engine
        with self._opening:
            return self._open()

    def _open(self) -> Engine:
        if self._closed:
            raise ClientClosedError("the client is closed; make a new one")
        engine = self._engine
        if engine is not None:
            if not engine.loop.is_closed():
                raise WrongLoopError(
                    "the client belongs to another event loop, thread or process; "
                    "make one for each"
                )
            engine.abandon()
        self._engine = Engine(self._options, self._credentials(), self._counters)
        return self._engine

    def __repr__(self) -> str:
        """Show where it goes and whether it is open; nothing of the key."""
        if "_opening" not in vars(self):  # seen by who reports why it was refused
            return "<DigaClient not made>"
        state = "closed" if self._closed else "open" if self._engine else "not opened"
        return f"<DigaClient {self._options.base_url} {state}>"

    def __reduce__(self) -> str:
        """Refuse to be copied or pickled: the copy would close the connections."""
        raise TypeError("a DigaClient cannot be copied or pickled; make another")

    def __del__(self) -> None:
        """Say so when it was not closed."""
        engine = self._engine
        if engine is None:
            return
        engine.abandon()
        if self._options.session is None:
            warnings.warn(
                f"Unclosed {self!r}; use 'async with DigaClient(...)', "
                "or 'await client.close()' when done",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )


def _environment(name: str) -> str | None:
    return os.environ.get(f"DIGA_{name}") or None


def _given_or_environment(api_key: KeySource | None) -> KeySource:
    source = api_key if api_key is not None else _environment("API_KEY")
    if source is None:
        raise ConfigurationError("no API key: pass api_key, or set DIGA_API_KEY")
    return source


def _first(*values: str | None) -> str:
    return next(value for value in values if value is not None)


def _of_kind(value: Any, kind: type[_T], name: str) -> _T:
    if isinstance(value, kind):
        return value
    raise ConfigurationError(f"{name} must be a {kind.__name__}")


def _of_kind_or_none(value: Any, kind: type[_T], name: str) -> _T | None:
    return None if value is None else _of_kind(value, kind, name)


def _plain_or_none(on_event: Any) -> Hook | None:
    if on_event is None:
        return None
    called = getattr(on_event, "__call__", None)  # noqa: B004 - looked into as well
    if called is None or any(map(inspect.iscoroutinefunction, (on_event, called))):
        raise ConfigurationError("on_event must be a plain function")
    hook: Hook = on_event
    return hook


def _all_of_kind(values: Any, kind: type[_T], name: str) -> tuple[_T, ...]:
    if not isinstance(values, Iterable):
        raise ConfigurationError(f"{name} must be a sequence of {kind.__name__}")
    return tuple(_of_kind(value, kind, name) for value in values)
