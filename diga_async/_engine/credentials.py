"""The key: checked before use, hidden, and asked for again when it was refused."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

from diga_async._api.keys import check_key
from diga_async._api.messages import Secret, conceal

KeySource = str | Callable[[], str | Awaitable[str]]


def key_opener(source: KeySource) -> "Callable[[], Credentials]":
    """
    Check *source* now; return a function that makes credentials for an event loop.

    A closure holds the key, so no attribute shows it.

    Raises:
        ConfigurationError: The key cannot be one, as `check_key` says.
    """
    source = conceal(source)
    if callable(source):
        ask = source
        return lambda: Credentials(None, ask)
    secret = check_key(source)
    return lambda: Credentials(secret, None)


class Credentials:
    """The Authorization header in use, and where to get another."""

    def __init__(
        self, secret: Secret | None, ask: Callable[[], str | Awaitable[str]] | None
    ) -> None:
        self._held: Callable[[], Secret | None] = lambda: secret
        self._ask = ask
        self._asking = asyncio.Lock()

    @property
    def held(self) -> Secret | None:
        """The header in use; None before a callable was first asked."""
        return self._held()

    async def fetch(self) -> Secret:
        """
        Return the header in use; ask the callable for the key first if necessary.

        Raises:
            ConfigurationError: The callable returned something that is not a key.
        """
        return self._held() or await self._ask_again(None)

    async def renew(self, refused: Secret) -> bool:
        """Ask for another key after *refused*; return whether there is one."""
        return self._ask is not None and await self._ask_again(refused) != refused

    def forget(self, refused: Secret) -> None:
        """Let the next call ask for another key than the one that was *refused*."""
        if self._ask is not None and self._held() == refused:
            self._held = lambda: None

    async def _ask_again(self, refused: Secret | None) -> Secret:
        async with self._asking:
            secret = self._held()
            # Of all the calls that were refused together, only one asks.
            if secret is None or secret == refused:
                secret = await self._answer()
                self._held = lambda: secret
            return secret

    async def _answer(self) -> Secret:
        assert self._ask is not None  # noqa: S101 - a plain key is always held
        answer = conceal(self._ask())
        if inspect.isawaitable(answer):
            answer = conceal(await answer)
        return check_key(answer)
