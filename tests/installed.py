"""The installed aiohttp, for tests of behaviour that only newer ones have."""

import re

import aiohttp
import pytest

AIOHTTP = tuple(map(int, re.findall(r"\d+", aiohttp.__version__)[:3]))

bounds_heads = pytest.mark.skipif(
    AIOHTTP < (3, 13, 4), reason="aiohttp bounds the number of headers since 3.13.4"
)
