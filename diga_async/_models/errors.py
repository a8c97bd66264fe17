"""
The errors of this library, which carry plain facts.

.. code-block:: text

    DigaError
    ├── ConfigurationError          (ValueError)
    ├── WaitError                   the status cannot come
    │   └── WaitTimeoutError        (TimeoutError)
    ├── InvalidPhoneIdError         (ValueError)
    ├── ClientClosedError           (RuntimeError)
    ├── WrongLoopError              (RuntimeError)
    ├── APIConnectionError          nothing usable came back
    │   └── APITimeoutError         (TimeoutError)
    ├── APIStatusError              the server answered with an error
    │   ├── AuthenticationError         401
    │   ├── PermissionDeniedError       403
    │   ├── NotFoundError               404
    │   ├── UnprocessableEntityError    422
    │   ├── RateLimitError              429
    │   └── InternalServerError         5xx
    └── InvalidResponseError        a success that is not the phone asked for
"""

import pickle
from collections.abc import Iterable
from functools import partial
from itertools import islice
from typing import Any, Literal
from uuid import UUID

import attrs
from attrs import field

Phase = Literal["dns", "connect", "tls", "read", "wait"]

MAX_TEXT_CHARACTERS = 100
MAX_TEXT_BYTES = 200
MAX_CODE_BYTES = 100
MAX_REASON_CHARACTERS = 300
MAX_HOST_BYTES = 253  # RFC 1035 section 2.3.4
MAX_FACTS = 8
MAX_PICKLED_BYTES = 2048
#: The pickled size of an error without its texts: names, numbers and an id.
OUTLINE_BYTES = 280

#: What an error of each phase begins with, before the server's address.
_FAILED: dict[Phase, str] = {
    "dns": "could not connect to",
    "connect": "could not connect to",
    "tls": "could not connect to",
    "read": "no answer from",
    "wait": "no request was sent to",
}

#: Statuses below 500 that are transient (RFC 9110 section 15.5.9, RFC 8470
#: section 5.2, RFC 6585 section 4).
PASSING_STATUSES = frozenset({408, 425, 429})


def shorten(
    text: str, characters: int = MAX_TEXT_CHARACTERS, size: int = MAX_TEXT_BYTES
) -> str:
    """
    Cut *text* so that it is safe to keep, print and pickle.

    >>> len(shorten("x" * 1000))
    100
    """
    raw = text[:characters].encode("utf-8", "replace")
    return raw[:size].decode("utf-8", "ignore")


def _shorten_reason(text: str) -> str:
    return shorten(text, MAX_REASON_CHARACTERS, MAX_REASON_CHARACTERS)


def _shorten_or_none(text: str | None) -> str | None:
    return None if text is None else shorten(text)


def _shorten_code(text: str | None) -> str | None:
    return None if text is None else shorten(text, size=MAX_CODE_BYTES)


def _shorten_host(text: str | None) -> str | None:
    return None if text is None else shorten(text, MAX_HOST_BYTES, MAX_HOST_BYTES)


def _may_pass(status: int) -> bool:
    """Whether the same request may succeed later."""
    return status in PASSING_STATUSES or 500 <= status < 600  # noqa: PLR2004


def _first_steps(steps: Iterable[str | int]) -> tuple[str | int, ...]:
    kept: list[str | int] = []
    size = 0
    for step in steps:
        short = shorten(step) if isinstance(step, str) else step
        size += len(str(short).encode())
        if size > MAX_TEXT_BYTES:
            break
        kept.append(short)
    return tuple(kept)


@attrs.frozen
class ValidationDetail:
    """
    One complaint of the server about a request.

    Attributes:
        loc: Where: names and positions from the outside in.
        msg: What is wrong, in the server's words.
        type: The server's name for the kind of complaint.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"

    loc: tuple[str | int, ...] = field(converter=_first_steps)
    msg: str = field(converter=shorten)
    type: str = field(converter=shorten)

    def __str__(self) -> str:
        """Write it as one line."""
        return f"{'.'.join(map(str, self.loc))}: {self.msg}"


def _that_fit(facts: tuple[Any, ...], *texts: str | None) -> tuple[Any, ...]:
    """Keep what fits: errors travel between processes and pile up in lists."""
    kept = facts
    while kept and _pickled_bytes(kept, texts) + OUTLINE_BYTES > MAX_PICKLED_BYTES:
        kept = kept[:-1]
    return kept


def _pickled_bytes(*values: Any) -> int:
    return len(pickle.dumps(values))


def _first_facts(facts: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(islice(facts, MAX_FACTS))


def _first_texts(texts: Iterable[str]) -> tuple[str, ...]:
    return _first_facts(map(shorten, texts))


# An exception of plain facts: slots and eq do not go with builtin bases.
@attrs.define(slots=False, eq=False, repr=False)
class DigaError(Exception):
    """
    Anything this library raises.

    Attributes:
        reason: What happened, as one sentence.
        phone_id: The id that was looked up; None when it was not one lookup.
        attempts: Requests sent for it, except those answered 429;
            None when it was not one lookup.
        elapsed: Seconds from the first attempt to the error;
            None when it was not one lookup.
        partial: For an error that ended `get_many`, the `PhoneBatch` so far;
            else None. Not kept by pickling or copying.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"

    reason: str = field(default="", converter=_shorten_reason)
    phone_id: UUID | None = field(default=None, kw_only=True)
    attempts: int | None = field(default=None, kw_only=True)
    elapsed: float | None = field(default=None, kw_only=True)
    partial: Any = field(default=None, init=False)

    @property
    def transient(self) -> bool:
        """Whether the same lookup may succeed later."""
        return False

    def describe(self) -> str:
        """
        Say what happened, without naming the lookup.

        .. versionadded:: 0.2.0
        """
        return self.reason

    def __str__(self) -> str:
        """Say what happened, to which phone, after how many attempts."""
        text, facts = self.describe(), []
        if self.phone_id is not None and str(self.phone_id) not in text:
            facts.append(f"phone {self.phone_id}")
        if self.attempts:
            facts.append(f"{self.attempts} attempt{'s' * (self.attempts > 1)}")
        return f"{text} ({', '.join(facts)})" if facts else text

    def __repr__(self) -> str:
        """Show the class and what happened."""
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy as facts: no traceback, no cause, no live object."""
        fields = attrs.fields(type(self))
        facts = {a.name: getattr(self, a.name) for a in fields if a.init}
        notes = getattr(self, "__notes__", None)
        # A partial, so that a pickle names the public class and no function of ours.
        make = partial(type(self), **facts)
        return make, (), notes and {"__notes__": notes}


class ConfigurationError(DigaError, ValueError):
    """
    The client cannot be made as asked: a key, a URL or an option is wrong.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"


class WaitError(DigaError):
    """
    The status that `wait_until` waits for can no longer come.

    Attributes:
        phone: The `Phone` as it was last seen; None when it never was.
            Not kept by pickling or copying.

    .. versionadded:: 0.2.0
    """

    __module__ = "diga_async"

    phone: Any = None


class WaitTimeoutError(WaitError, TimeoutError):
    """
    The status did not come before the deadline of `wait_until`.

    Its ``__cause__`` is the failure of the last poll, if that failed or an outage held
    it back.

    .. versionadded:: 0.2.0
    """

    __module__ = "diga_async"

    @property
    def transient(self) -> bool:
        """Whether the same wait may succeed later: always."""
        return True


class InvalidPhoneIdError(DigaError, ValueError):
    """
    The phone id is not a UUID; nothing was sent.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"


class ClientClosedError(DigaError, RuntimeError):
    """
    The client, or the session it was lent, is closed.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"


class WrongLoopError(DigaError, RuntimeError):
    """
    The client belongs to another event loop, thread or process.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"


@attrs.define(slots=False, eq=False, repr=False, kw_only=True)
class APIConnectionError(DigaError):
    """
    Nothing usable came back.

    `reason` says why, in a few words: "connection refused". The text of the error
    adds where: "could not connect to api.diga.io:443: connection refused (errno 111)".

    Attributes:
        phase: How far the last attempt got: ``dns``, ``connect`` (including any
            hang before the request), ``tls`` (a refused handshake, never
            retried), ``read``; ``wait`` when the deadline came before the
            first attempt.
        host: The server's name or address.
        port: The server's port.
        proxy: ``host:port`` of the proxy; None when there is none.
        errno: The number of the system's error, or of the resolver's;
            None when neither reported one.
        proxy_status: The status with which the proxy refused to connect, such as
            407; None when it did not.

    .. versionadded:: 0.1.0
    .. versionchanged:: 0.2.0
       `host`, `port`, `proxy`, `errno` and `proxy_status` are new.
    """

    __module__ = "diga_async"

    phase: Phase = "read"
    host: str | None = field(default=None, converter=_shorten_host)
    port: int | None = None
    proxy: str | None = field(default=None, converter=_shorten_host)
    errno: int | None = None
    proxy_status: int | None = None

    @property
    def transient(self) -> bool:
        """
        Whether the same lookup may succeed later.

        Not after a refused TLS handshake, nor when the proxy refused to connect.
        """
        refused = self.proxy_status is not None and not _may_pass(self.proxy_status)
        return self.phase != "tls" and not refused

    def describe(self) -> str:
        """Say what failed, with which server, and why."""
        why, semicolon, remedy = self.reason.partition(";")
        if self.errno is not None:
            why = f"{why} (errno {self.errno})"
        if self.host is None:
            return f"{why}{semicolon}{remedy}"
        server = f"[{self.host}]" if ":" in self.host else self.host
        through = "" if self.proxy is None else f" through {self.proxy}"
        where = f"{_FAILED[self.phase]} {server}:{self.port}{through}"
        return f"{where}: {why}{semicolon}{remedy}"


class APITimeoutError(APIConnectionError, TimeoutError):
    """
    Nothing usable came back in time.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"


@attrs.define(slots=False, eq=False, repr=False, kw_only=True)
class APIStatusError(DigaError):
    """
    The server answered, and the answer is not a phone.

    The class follows the status alone:
    the server's own code has been seen to say something else.

    Attributes:
        status: The HTTP status.
        error_code: The server's code, or None when it sent none.
        message: The server's words, or None when it sent none that are JSON.
        details: The server's complaints about the request; empty when none.
        request_id: The answer's ``X-Request-Id``, or None.
        retry_after: Seconds the server asked to wait, or None.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"

    status: int = 0
    error_code: str | None = field(default=None, converter=_shorten_code)
    message: str | None = field(default=None, converter=_shorten_or_none)
    details: tuple[ValidationDetail, ...] = field(default=(), converter=_first_facts)
    request_id: str | None = field(default=None, converter=_shorten_code)
    retry_after: float | None = None

    def __attrs_post_init__(self) -> None:
        """Keep as many details as an error of bounded size can hold."""
        texts = (self.reason, self.error_code, self.message, self.request_id)
        self.details = _that_fit(self.details, *texts)

    @property
    def transient(self) -> bool:
        """Whether the same lookup may succeed later: 408, 425, 429 and 5xx."""
        return _may_pass(self.status)

    def describe(self) -> str:
        """Say what the server said, status first."""
        said = self.message or "; ".join(map(str, self.details))
        parts = (str(self.status), self.error_code, said, self.reason)
        return ": ".join(part for part in parts if part)


class AuthenticationError(APIStatusError):
    """
    The key was refused (401).

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"


class PermissionDeniedError(APIStatusError):
    """
    The key lacks *Phones: read* (403).

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"


class NotFoundError(APIStatusError):
    """
    The key's project has no such phone (404).

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"


class UnprocessableEntityError(APIStatusError):
    """
    The server could not make sense of the request (422).

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"


class RateLimitError(APIStatusError):
    """
    Too many requests (429).

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"


class InternalServerError(APIStatusError):
    """
    The server, or a proxy before it, failed (5xx).

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"


@attrs.define(slots=False, eq=False, repr=False, kw_only=True)
class InvalidResponseError(DigaError):
    """
    A success that is not the phone asked for.

    Attributes:
        status: The HTTP status; None when no request was made.
        problems: What is wrong and where, as ``$.path: complaint``,
            never with the value; the first 8.
        undecodable: Whether the body could not be read at all.
            It cannot be told from a truncated one, so it is retried.
        foreign: Whether it was a sound record of another phone.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"

    status: int | None = None
    problems: tuple[str, ...] = field(default=(), converter=_first_texts)
    undecodable: bool = False
    foreign: bool = False

    def __attrs_post_init__(self) -> None:
        """Keep as many problems as an error of bounded size can hold."""
        self.problems = _that_fit(self.problems, self.reason)

    @property
    def transient(self) -> bool:
        """Whether the same lookup may succeed later."""
        return self.undecodable or self.foreign

    def describe(self) -> str:
        """Say what is wrong, and where."""
        parts = (self.reason, "; ".join(self.problems))
        return ": ".join(part for part in parts if part)
