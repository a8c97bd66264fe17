"""
Lets aioresponses work with aiohttp 3.14 and later.

aioresponses 0.7.9 makes responses without ``stream_writer``, which aiohttp asks
for since 3.14. `test_aioresponses.py` fails when this is no longer needed.
"""

from types import SimpleNamespace
from typing import Any

import aioresponses.core
from aiohttp import ClientResponse
from installed import AIOHTTP


class _Response(ClientResponse):
    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **options)


def install() -> None:
    """Let aioresponses make responses of the kind that this aiohttp needs."""
    if AIOHTTP >= (3, 14):
        aioresponses.core.ClientResponse = _Response  # type: ignore[attr-defined]
