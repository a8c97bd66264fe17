"""
A Diga server on loopback that misbehaves on request.

It knows nothing of the client: it has its own records, words and wire, so that the
two cannot agree in a mistake.
"""

import asyncio
import contextlib
import math
from functools import partial
from random import Random
from time import monotonic
from typing import Any, Final, Self
from uuid import UUID

import attrs
from aiohttp import web
from attrs import validators

from diga_async.sandbox import _answers as answers
from diga_async.sandbox._answers import Answer
from diga_async.sandbox._bucket import LeakyBucket
from diga_async.sandbox._data import make_key, make_phones
from diga_async.sandbox._delivery import Delivery
from diga_async.sandbox._faults import Fault, Faults
from diga_async.sandbox._operation import Asked, perform, read
from diga_async.sandbox._serving import (
    Listener,
    listen,
    serving,
    serving_from_thread,
)

_UNANSWERED: Final = frozenset({Fault.RESETS, Fault.HANGS})


def _check_latency(
    _: object, attribute: "attrs.Attribute[Any]", latency: float | tuple[float, float]
) -> None:
    low, high = latency if isinstance(latency, tuple) else (latency, latency)
    if not 0 <= low <= high < math.inf:
        raise ValueError(
            f"'{attribute.name}' must be seconds, or the least and the most of them: "
            f"{latency}"
        )


def _check_rate(
    _: object, attribute: "attrs.Attribute[Any]", per_second: float
) -> None:
    if not 0 < per_second < math.inf:
        raise ValueError(f"'{attribute.name}' must be above 0 and finite: {per_second}")


@attrs.frozen
class SeenRequest:
    """
    One request as the sandbox saw it; never with the key.

    Attributes:
        request_id: The ``X-Request-Id`` it was answered with.
        method: Such as ``GET``.
        path: The path as it came, with its query.
        phone_id: None when the path asks for no phone, or for no UUID.
        status: The status answered. None when there was no answer.
        fault: What was made to go wrong. None when nothing was.
        at: When it came, in seconds since the sandbox was entered.

    .. versionadded:: 0.1.0
    """

    request_id: str
    method: str
    path: str
    phone_id: UUID | None
    status: int | None
    fault: Fault | None
    at: float


@attrs.define(eq=False, repr=False)
class Sandbox:
    """
    A Diga server on loopback, with made-up phones and faults on request.

    ``async with`` serves from the running loop; a plain ``with`` serves from a thread
    of its own, for code that has no loop or blocks the one it has.
    Everything but the data's origin can be changed while it runs, from any thread;
    the next request meets the change.
    Leaving the block drops every connection. The same sandbox can be entered again.

    >>> with Sandbox(10) as sandbox:
    ...     sandbox.url.startswith("http://127.0.0.1:"), len(sandbox.phone_ids)
    (True, 10)

    Attributes:
        phones: The JSON objects it serves, by id.
            A number makes that many, about 1 KiB each.
            Change, add or remove some to serve others.
            Their telephone numbers are made up and may be somebody's: do not call them.
        seed: What phones, key and faults are drawn from. The first phones of a seed
            are the same however many are made; their dates do not follow the clock.
        api_key: The one key that is accepted. None makes one from the seed;
            setting another revokes it.
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
        latency: Seconds before each answer, or the least and the most of them.
        per_second: Requests a second that are let through, as nginx counts;
            the rest is answered 429. None lets all through.
        burst: How many requests may come ahead of *per_second*.
        retry_after: What a 429 asks for in ``Retry-After``: seconds, or any text.
            None sends no such header.
        faults: What goes wrong, and how often.
        keep_requests: At most so many are kept in *requests*, about 0.4 KiB each;
            of the full list, the older half goes.
        requests: What it saw, oldest first: :class:`SeenRequest`. Clear it at will.
        down: True resets every connection that asks for something.

    Raises:
        ValueError: A setting is out of its range, at once or when it is changed.

    .. versionadded:: 0.1.0
    """

    _count: int = attrs.field(default=1000, alias="phones", validator=validators.ge(0))
    seed: int = attrs.field(default=0, kw_only=True, on_setattr=attrs.setters.frozen)
    _key: str | None = attrs.field(
        default=None,
        alias="api_key",
        kw_only=True,
        validator=validators.optional(validators.matches_re(r"[!-~]+")),
    )
    host: str = attrs.field(default="127.0.0.1", kw_only=True)
    port: int = attrs.field(
        default=0, kw_only=True, validator=[validators.ge(0), validators.le(65535)]
    )
    latency: float | tuple[float, float] = attrs.field(
        default=0.0, kw_only=True, validator=_check_latency
    )
    per_second: float | None = attrs.field(
        default=None, kw_only=True, validator=validators.optional(_check_rate)
    )
    burst: int = attrs.field(default=20, kw_only=True, validator=validators.ge(0))
    retry_after: float | str | None = attrs.field(default=None, kw_only=True)
    faults: Faults = attrs.field(factory=Faults, kw_only=True)
    keep_requests: int = attrs.field(
        default=100_000, kw_only=True, validator=validators.ge(1)
    )
    down: bool = attrs.field(default=False, init=False)
    phones: dict[UUID, dict[str, Any]] = attrs.field(init=False)
    requests: list[SeenRequest] = attrs.field(factory=list, init=False)
    _seeded_key: str = attrs.field(init=False)
    _bucket: LeakyBucket = attrs.field(factory=LeakyBucket, init=False)
    _chance: Random = attrs.field(init=False)
    _seen: int = attrs.field(default=0, init=False)
    _entered_at: float = attrs.field(default=0.0, init=False)
    _listener: Listener | None = attrs.field(default=None, init=False)
    _address: tuple[str, int] | None = attrs.field(default=None, init=False)
    _exits: contextlib.ExitStack = attrs.field(factory=contextlib.ExitStack, init=False)
    _async_exits: contextlib.AsyncExitStack = attrs.field(
        factory=contextlib.AsyncExitStack, init=False
    )

    @phones.default
    def _make_phones(self) -> dict[UUID, dict[str, Any]]:
        return make_phones(self._count, self.seed)

    @_seeded_key.default
    def _make_key(self) -> str:
        return make_key(self.seed)

    @_chance.default
    def _make_chance(self) -> Random:
        return Random(f"faults {self.seed}")  # noqa: S311 - repeatable on purpose

    def __repr__(self) -> str:
        """Show where it is and what it serves, but not the key."""
        where = self.url if self._address else "not entered yet"
        return f"<Sandbox {where}, {len(self.phones)} phones>"

    @property
    def api_key(self) -> str:
        """
        The one key that is accepted; another one revokes it.

        .. versionadded:: 0.1.0
        """
        return self._seeded_key if self._key is None else self._key

    @api_key.setter
    def api_key(self, api_key: str | None) -> None:
        self._key = api_key

    @property
    def url(self) -> str:
        """
        Where it serves, or served last.

        Raises:
            RuntimeError: It was never entered.

        .. versionadded:: 0.1.0
        """
        if self._address is None:
            raise RuntimeError("The sandbox has no URL before its block is entered.")
        host, port = self._address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def phone_ids(self) -> tuple[UUID, ...]:
        """
        The ids of the phones it serves, in the order of their making.

        .. versionadded:: 0.1.0
        """
        return tuple(self.phones)

    def __enter__(self) -> Self:
        """Serve from a thread of its own."""
        self._exits.enter_context(serving_from_thread(self._handle, self._listen()))
        return self

    def __exit__(self, *_: object) -> None:
        """Drop every connection and end the thread."""
        self._exits.close()

    async def __aenter__(self) -> Self:
        """Serve from the running loop."""
        await self._async_exits.enter_async_context(
            serving(self._handle, self._listen())
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Drop every connection."""
        await self._async_exits.aclose()

    def _listen(self) -> Listener:
        if self._listener is not None and self._listener.fileno() != -1:
            raise RuntimeError("The sandbox is running already.")
        self._listener = listen(self.host, self.port)
        self._address = self._listener.getsockname()[:2]
        self._entered_at = monotonic()
        return self._listener

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        asked = read(request.method, request.path, request.headers.get("Authorization"))
        answer, fault = self._decide(asked)
        delivery = Delivery(
            request=request,
            answer=answer,
            request_id=self._note(asked, request.raw_path, answer, fault),
            fault=fault,
            drip_seconds=self.faults.drip_seconds,
        )
        if self.latency:
            await asyncio.sleep(self._draw_latency())
        return await delivery.send()

    def _decide(self, asked: Asked) -> tuple[Answer, Fault | None]:
        fault = Fault.RESETS if self.down else self.faults.draw(self._chance)
        if fault is not Fault.RESETS and not self._admits():
            return answers.rate_limited(self.retry_after), None
        if fault is Fault.ERRORS:
            return answers.server_error(self.faults.error_status, self._chance), fault
        if fault is Fault.GARBAGE:
            return answers.garbage(self._chance), fault
        return self._perform(asked, fault), fault

    def _admits(self) -> bool:
        per_second = self.per_second  # read once: another thread may lift the limit
        return per_second is None or self._bucket.admits(
            monotonic(), per_second=per_second, burst=self.burst
        )

    def _perform(self, asked: Asked, fault: Fault | None) -> Answer:
        return perform(
            asked,
            api_key=self.api_key,
            permitted=fault is not Fault.FORBIDDEN,
            record_of=partial(self._record, fault),
        )

    def _record(self, fault: Fault | None, phone_id: UUID) -> dict[str, Any] | None:
        record = self.phones.get(phone_id)
        if record is None:
            return None
        if fault is Fault.WRONG_IDS:
            record = record | {"id": str(UUID(int=phone_id.int ^ 1))}
        return self.faults.alter(record, self._chance)

    def _note(
        self, asked: Asked, path: str, answer: Answer, fault: Fault | None
    ) -> str:
        self._seen += 1
        request_id = f"sandbox-{self._seen:08}"
        if len(self.requests) >= self.keep_requests:
            del self.requests[: (self.keep_requests + 1) // 2]
        self.requests.append(
            SeenRequest(
                request_id=request_id,
                method=asked.method,
                path=path,
                phone_id=asked.phone_id,
                status=None if fault in _UNANSWERED else answer.status,
                fault=fault,
                at=monotonic() - self._entered_at,
            )
        )
        return request_id

    def _draw_latency(self) -> float:
        if isinstance(self.latency, tuple):
            return self._chance.uniform(*self.latency)
        return self.latency
