"""
`ResponseReader`: bytes of one connection in, whole responses out; it does no I/O.

It reads with aiohttp's parser, and checks what a parser does not report: whether a
response ended exactly where its bytes ended, and how much came that is not body.
"""

import asyncio
from typing import Any

import aiohttp
from aiohttp import http

from diga_async._api.messages import Response

MAX_FIELDS = 128
"""The most fields of a head; older parsers of aiohttp accept any number."""

MAX_HEAD_BYTES = 1 << 18
"""The most bytes of the head of a response."""

MAX_OVERHEAD, OVERHEAD_A_BYTE = 1 << 16, 8
"""The most bytes around those of a body: chunk sizes, trailers."""

PIECE_BYTES = 1 << 16
"""The most bytes parsed together: the parser makes objects of all of them."""

_END_OF_HEAD = b"\r\n\r\n"
_NO_BODY = frozenset({101, 204, 304})


class ResponseReader:
    """
    Reads the responses of one connection, one after the other.

    Each response has a parser of its own: what is left of one response cannot become
    a part of the next. (To keep a parser would save 0.4 µs.)

    Args:
        loop: The event loop, which aiohttp's streams ask for.

    Attributes:
        most: How many bytes of a body are read.
        is_clean: Whether nothing is left of the last response, nor came after it, so
            that the connection may carry another request.
    """

    # Of the response that is read; in slots without a value until it comes in pieces.
    _head: Any
    _payload: Any
    _tail: bytes
    _parts: list[bytes]
    _read: int
    _raw_body: int

    __slots__ = (
        "_head",
        "_loop",
        "_parser",
        "_parts",
        "_payload",
        "_pending",
        "_raw_body",
        "_read",
        "_tail",
        "is_clean",
        "most",
    )

    # What aiohttp's streams and parsers ask of the protocol of a connection. All that
    # comes is taken out of a stream as it comes, so nothing needs to be paused.
    _reading_paused = False
    connected = True

    def pause_reading(self) -> None:
        """Do nothing: a piece is small."""

    def resume_reading(self, *_: Any, **__: Any) -> None:
        """Do nothing: reading is never paused."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.most = 0
        self._parser: Any = None
        self._pending: bytearray | None = None
        self.is_clean = True

    def _new_parser(self, *, with_body: bool = True) -> Any:
        return http.HttpResponseParser(
            self,  # type: ignore[arg-type]  # as far as a parser asks for one
            self._loop,
            PIECE_BYTES,
            payload_exception=aiohttp.ClientPayloadError,
            response_with_body=with_body,
            read_until_eof=with_body,
            auto_decompress=False,
        )

    def feed(self, data: bytes) -> Response | None:
        """
        Read *data*; return the response when it is complete.

        Raises:
            Exception: What came is not HTTP.
        """
        if self._pending is None:
            response = self._whole(data)
            if response is not None:
                return response
            self._begin()
        for start in range(0, len(data), PIECE_BYTES):
            response = self._piece(data[start : start + PIECE_BYTES])
            if response is not None:
                self.is_clean &= start + PIECE_BYTES >= len(data)
                return response
        return None

    def _whole(self, data: bytes) -> Response | None:
        """
        Return the response that *data* is, no more and no less: the common case.

        A parser that is to read no body reads the head, and nothing else is needed.
        """
        begins = data.find(_END_OF_HEAD) + len(_END_OF_HEAD)
        try:
            ((head, _),), _, _ = self._new_parser(with_body=False).feed_data(
                data[:begins]
            )
        except Exception:  # noqa: BLE001 - it is read again, and raised then
            return None
        headers = head.headers
        lengths = headers.getall("Content-Length", ())
        if (
            len(lengths) == 1
            and head.code >= 200  # noqa: PLR2004
            and len(data) == begins + int(lengths[0]) <= begins + self.most
            and not (head.chunked or head.should_close)
            and len(headers) <= MAX_FIELDS
        ):
            return Response(head.code, headers, data[begins:])
        return None

    # --- a response in pieces, without a length, or with anything before or after it

    def _piece(self, piece: bytes) -> Response | None:
        messages, is_upgraded, _ = self._parser.feed_data(piece)
        assert self._pending is not None  # noqa: S101 - for the type checker
        if self._head is None:
            self._pending += piece
        else:
            self._raw_body += len(piece)
        self._tail = (self._tail + piece)[-len(_END_OF_HEAD) :]
        for head, payload in messages:
            self._message(head, payload)
        if self._head is None:
            _require(len(self._pending) <= MAX_HEAD_BYTES)
            return None
        self.is_clean &= not is_upgraded
        return self._read_body()

    def _begin(self) -> None:
        self._parser = self._new_parser()
        self._pending, self._tail, self._parts = bytearray(), b"", []
        self._head = self._payload = None
        self._raw_body = self._read = 0

    def _message(self, head: Any, payload: Any) -> None:
        """Take one head; only the first that is not interim belongs to the request."""
        if self._head is not None:
            self.is_clean = False
            return
        assert self._pending is not None  # noqa: S101 - for the type checker
        _, _, self._pending = self._pending.partition(_END_OF_HEAD)
        if 100 <= head.code < 200 and head.code != 101:  # noqa: PLR2004
            return  # another follows: RFC 9110 section 15.2
        _require(len(head.headers) <= MAX_FIELDS)
        # aiohttp's parser in Python takes the first of two lengths (RFC 9112
        # section 6.3), so the end of such a response is not known.
        _require(len(head.headers.getall("Content-Length", ())) <= 1)
        self._head, self._payload = head, payload
        self._raw_body = len(self._pending)
        self.is_clean &= not head.should_close

    def _read_body(self) -> Response | None:
        head, payload = self._head, self._payload
        if head.code not in _NO_BODY:
            self._parts.append(payload.read_nowait())
            self._read += len(self._parts[-1])
        overhead = self._raw_body - self._read
        _require(overhead <= MAX_OVERHEAD + OVERHEAD_A_BYTE * self._read)
        is_over = payload.is_eof()
        if not is_over and self._read <= self.most and head.code not in _NO_BODY:
            return None
        self.is_clean &= is_over and self._ends_exactly()
        body = b"".join(self._parts) if self._read <= self.most else None
        self._parser = self._pending = self._head = self._payload = None
        self._parts = []
        return Response(head.code, head.headers, body)

    def _ends_exactly(self) -> bool:
        if self._head.code in _NO_BODY:
            return self._raw_body == 0
        if self._head.chunked:
            return self._tail == _END_OF_HEAD
        return self._raw_body == self._read

    def feed_eof(self) -> Response | None:
        """
        Return the response that the end of the connection completes; None without one.

        Raises:
            Exception: It is not complete.
        """
        self.is_clean = False
        if self._pending is None or self._head is None:
            return None
        self._parser.feed_eof()
        return self._read_body()


def _require(is_so: bool) -> None:  # noqa: FBT001 - as an assertion
    if not is_so:
        raise aiohttp.ClientPayloadError
