"""`Stream`: the consumer's handle of a run; `AsyncStream`: what all streams share."""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Never, Protocol, Self, TypeVar
from uuid import UUID

from diga_async._models.stats import LookupStats

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Running(Protocol[R_co]):
    """The part of a run that a stream uses; see `Run`."""

    async def next(self) -> R_co: ...

    async def aclose(self) -> None: ...

    def halt(self, error: BaseException) -> None: ...

    def orphan(self) -> None: ...

    @property
    def stats(self) -> LookupStats: ...

    @property
    def unanswered(self) -> tuple[UUID | str, ...]: ...

    @property
    def seen(self) -> tuple[UUID | str, ...]: ...


_NOTHING = LookupStats(
    found=0,
    missing=0,
    failed=0,
    retries=0,
    throttled=0,
    in_flight=0,
    elapsed=0.0,
    rate=0.0,
    remaining_seconds=None,
)


class AsyncStream(Generic[R]):
    """
    An async iterator that is an async context manager, and is used once.

    After its end it is empty, as every iterator is; after it was closed, to iterate
    over it is an error.
    """

    #: What it is, and how to get another one; for messages.
    _what = "the run"
    _another = "call iter_many() again"

    def __init__(self) -> None:
        self._is_closed = False

    def _require_open(self) -> None:
        if self._is_closed:
            raise RuntimeError(f"{self._what} is closed: {self._another}")

    def _begin(self) -> None:
        """Start what is read."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """End it now; return when nothing of it is left. Idempotent."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        """Start it, where it has not started yet."""
        self._require_open()
        self._begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it; nothing of it is left."""
        await self.aclose()

    def __aiter__(self) -> Self:
        """
        Return itself.

        Raises:
            RuntimeError: It was closed.
        """
        self._require_open()
        return self

    def __reduce__(self) -> str:
        """Refuse to be copied or pickled: the copy would end it."""
        raise TypeError(f"{self._what} cannot be copied or pickled")

    if not TYPE_CHECKING:  # type checkers report these themselves

        def __getitem__(self, _index: object) -> Never:
            """Explain the mistake; a plain ``for`` comes here as well."""
            raise TypeError(f"{self._what} is a stream: read it with 'async for'")

        def __enter__(self) -> Never:
            """Explain the mistake."""
            raise TypeError("use 'async with' instead of 'with'")

        def __exit__(self, *_: object) -> None:
            """Complete `__enter__`."""


class Stream(AsyncStream[R]):
    """
    A run as an async context manager and an async iterator of its results.

    It starts on entering the block, or with the first result asked for.
    Cancelling one ``anext()`` loses no result and does not end the run.
    """

    def __init__(self, start: Callable[[], Running[R]]) -> None:
        super().__init__()
        self._start = start
        self._run: Running[R] | None = None

    def _started(self) -> Running[R]:
        if self._run is None:
            self._run = self._start()
        return self._run

    def _begin(self) -> None:
        self._started()

    async def __anext__(self) -> R:
        """Return the next result."""
        if self._is_closed:
            raise StopAsyncIteration
        return await self._started().next()

    async def aclose(self) -> None:
        """
        End the run now; return when nothing of it is left. Idempotent.

        .. versionadded:: 0.1.0
        """
        if self._run is not None:
            await self._run.aclose()
        self._is_closed = True

    def halt(self, error: BaseException) -> None:
        """
        Send nothing more; raise *error* once the calls in flight are delivered.

        Pauses before retries end, and their ids stay unanswered.
        The command line calls this at the first Ctrl-C.
        """
        if self._run is not None:
            self._run.halt(error)

    @property
    def stats(self) -> LookupStats:
        """
        A snapshot of the run; cheap.

        .. versionadded:: 0.1.0
        """
        return _NOTHING if self._run is None else self._run.stats

    @property
    def unanswered(self) -> tuple[UUID | str, ...]:
        """
        The ids that were taken from the source and have no outcome.

        An item that is not a UUID appears as its text.
        After an early end, look these up again, together with what the source
        still holds.

        .. versionadded:: 0.1.0
        """
        return () if self._run is None else self._run.unanswered

    @property
    def distinct_ids(self) -> tuple[UUID | str, ...]:
        """The items of a run that remembers them, each once, in the source's order."""
        return () if self._run is None else self._run.seen

    def __del__(self) -> None:
        """End a run that is no longer consumed."""
        if self._run is not None:
            self._run.orphan()
