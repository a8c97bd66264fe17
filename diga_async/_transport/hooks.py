"""
Trace hooks of the user: what one raises ends its request, and is raised unchanged.

aiohttp lets a hook's exception pass through its connector, where it looks like a
failure of the network and leaves connections that nothing closes. So each hook is
called through one of ours, which records the exception and lets aiohttp continue; the
attempt then ends with it, and closes its connection.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import aiohttp

from diga_async._transport.deadlines import CURRENT

_SIGNALS = tuple(name for name in vars(aiohttp.TraceConfig) if name.startswith("on_"))

_LEAKING = {"on_connection_create_end", "on_connection_reuseconn"}
"""Signals in which aiohttp does not close its connection when a hook is cancelled."""

_Hook = Callable[[aiohttp.ClientSession, SimpleNamespace, Any], Awaitable[None]]


def watched(config: aiohttp.TraceConfig) -> aiohttp.TraceConfig:
    """Return a configuration that calls *config*'s hooks and records their errors."""
    config.freeze()

    def context(trace_request_ctx: object = None) -> SimpleNamespace:
        try:
            return config.trace_config_ctx(trace_request_ctx=trace_request_ctx)
        except Exception as error:
            CURRENT.get().break_off(error)
            raise

    copy = aiohttp.TraceConfig(cast("type[SimpleNamespace]", context))
    for name in _SIGNALS:
        hooks = getattr(config, name)
        if hooks:
            getattr(copy, name).append(_noting(hooks.send, swallows=name in _LEAKING))
    return copy


def _noting(send: _Hook, *, swallows: bool) -> _Hook:
    async def call(
        session: aiohttp.ClientSession, context: SimpleNamespace, params: Any
    ) -> None:
        try:
            await send(session, context, params)
        except asyncio.CancelledError as error:
            if not swallows:
                raise
            CURRENT.get().swallowed = error  # raised once the connection is closed
        except Exception as error:  # noqa: BLE001 - the user's code raises anything
            CURRENT.get().break_off(error)

    return call
