"""Sending an answer: whole, or broken as the fault says."""

import asyncio
import contextlib
import socket
import struct
from typing import Final, cast

import attrs
from aiohttp import web

from diga_async.sandbox._api import Answer
from diga_async.sandbox._faults import Fault

_PIECES: Final = 20
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


def _transport(delivery: "Delivery") -> asyncio.Transport:
    # A request always has a transport when its handling begins, but not later.
    return cast("asyncio.Transport", delivery.request.transport)


@attrs.frozen(kw_only=True)
class Delivery:
    """
    An answer to a request, created as soon as the request arrives.

    :meth:`send` returns a response for aiohttp's server to finish. It may already be
    sent, or its client may have left: the server accepts both without an error.
    """

    request: web.BaseRequest
    answer: Answer
    request_id: str
    fault: Fault | None
    drip_seconds: float
    transport: asyncio.Transport = attrs.field(
        init=False, default=attrs.Factory(_transport, takes_self=True)
    )

    async def send(self) -> web.StreamResponse:
        """Send the answer as the fault says."""
        with contextlib.suppress(ConnectionError):  # the client may leave at any time
            return await self._send()
        return self._whole()

    async def _send(self) -> web.StreamResponse:
        match self.fault:
            case Fault.RESETS:
                self._reset()
            case Fault.HANGS:
                await asyncio.Event().wait()  # until the client leaves
            case Fault.TRUNCATED:
                return await self._truncate()
            case Fault.SLOW_BODIES:
                return await self._drip()
            case Fault.REPEATED:
                return await self._repeat()
            case _:
                pass
        return self._whole()

    def _whole(self) -> web.Response:
        return web.Response(
            status=self.answer.status, body=self.answer.body, headers=self._headers()
        )

    def _headers(self) -> dict[str, str]:
        return {
            "Content-Type": self.answer.content_type,
            "X-Request-Id": self.request_id,
            **self.answer.headers,
        }

    def _reset(self) -> None:
        connection: socket.socket = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    async def _truncate(self) -> web.StreamResponse:
        response = await self._opened()
        await response.write(self.answer.body[: len(self.answer.body) // 2])
        self.transport.close()
        return response

    async def _drip(self) -> web.StreamResponse:
        response = await self._opened()
        body = self.answer.body
        size = len(body) // _PIECES + 1
        for start in range(0, len(body), size):
            await asyncio.sleep(self.drip_seconds / _PIECES)
            await response.write(body[start : start + size])
        return response

    async def _repeat(self) -> web.StreamResponse:
        response = await self._opened()
        await response.write_eof(self.answer.body)
        self.transport.write(_as_sent(response) + self.answer.body)
        return response

    async def _opened(self) -> web.StreamResponse:
        response = web.StreamResponse(
            status=self.answer.status, headers=self._headers()
        )
        response.content_length = len(self.answer.body)
        await response.prepare(self.request)
        return response


def _as_sent(response: web.StreamResponse) -> bytes:
    fields = "".join(f"{name}: {text}\r\n" for name, text in response.headers.items())
    return f"HTTP/1.1 {response.status} {response.reason}\r\n{fields}\r\n".encode()
