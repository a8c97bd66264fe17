"""The key: checked before use, hidden, and asked for again when it was refused."""

import inspect
from collections.abc import Awaitable, Callable
from functools import partial

from diga_async._api.keys import check_key
from diga_async._api.messages import Secret, conceal
from diga_async._engine.clock import Clock
from diga_async._engine.shared_task import SharedTask
from diga_async._flow.retry import growing_pause

KeySource = str | Callable[[], str | Awaitable[str]]


def key_opener(
    source: KeySource, name: str = "the API key"
) -> "Callable[[], Credentials]":
    """
    Check *source* now; return a function that makes credentials for an event loop.

    A closure holds the key, so no attribute shows it.

    Args:
        source: The key, or a callable that returns one.
        name: What the key is called in an error.

    Raises:
        ConfigurationError: The key cannot be one, as `check_key` says.
    """
    source = conceal(source)
    if callable(source):
        ask = source
        return lambda: Credentials(None, ask)
    secret = check_key(source, name)
    return lambda: Credentials(secret, None)


class Credentials:
    """The Authorization header in use, and where to get another."""

    def __init__(
        self, secret: Secret | None, ask: Callable[[], str | Awaitable[str]] | None
    ) -> None:
        self._held: Callable[[], Secret | None] = lambda: secret
        self._ask = ask

    @property
    def held(self) -> Secret | None:
        """The header in use; None before a callable was first asked."""
        return self._held()

    @property
    def is_renewable(self) -> bool:
        """Whether there may be another key."""
        return self._ask is not None

    async def ask(self) -> Secret:
        """
        Ask the callable for the key; use it from now on.

        Raises:
            ConfigurationError: The callable returned something that is not a key.
        """
        assert self._ask is not None  # noqa: S101 - a plain key is always held
        answer = conceal(self._ask())
        if inspect.isawaitable(answer):
            answer = conceal(await answer)
        secret = check_key(answer)
        self._held = lambda: secret
        return secret

    def forget(self, refused: Secret) -> None:
        """Drop the *refused* key, so that the next call asks for another."""
        if self._ask is not None and self._held() == refused:
            self._held = lambda: None


class KeyRequests:
    """
    Asks for the key once for all the calls that need it.

    A callable that hangs is cancelled and asked again, after growing pauses and
    with growing limits, for as long as a call waits for the key.

    Args:
        credentials: The key, and the callable.
        clock: The time.
        chance: For the jitter of the pauses.
        on_hang: Told for how many seconds the callable has not returned.
    """

    def __init__(
        self,
        credentials: Credentials,
        clock: Clock,
        chance: Callable[[], float],
        on_hang: Callable[[float], None],
    ) -> None:
        self._on_hang = on_hang
        self._credentials = credentials
        self._clock = clock
        self._chance = chance
        self._asking: SharedTask[Secret | None] = SharedTask(clock)
        self._answering: SharedTask[Secret] = SharedTask(clock)

    async def wait(
        self, refused: Secret | None, *, seconds: float, limit: float
    ) -> Secret | None:
        """
        Return the key in use, unless it is the *refused* one; else ask for another.

        Args:
            refused: The key that the server refused; None when there was none.
            seconds: How long to wait.
            limit: How long the callable may take at first.

        Returns:
            The key, perhaps the refused one again; None when the time is over.
        """
        credentials = self._credentials
        held = credentials.held
        if held != refused or not credentials.is_renewable:
            return held
        return await self._asking.wait(partial(self._ask, limit), seconds)

    async def _ask(self, limit: float) -> Secret | None:
        failures = 0
        while True:
            secret = await self._answering.wait(self._credentials.ask, limit)
            if secret is not None:
                return secret
            self._answering.cancel()
            if not self._asking.waiting:
                return None
            self._on_hang(limit)
            failures += 1
            limit *= 2.0
            await self._clock.sleep(growing_pause(failures, self._chance()))

    async def close(self) -> None:
        """Stop asking for keys."""
        await self._asking.close()
