"""The extra `examples`; without it, the tests of examples are skipped."""

import ast
import platform
from importlib.metadata import requires
from importlib.util import find_spec

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

DISTRIBUTIONS = {
    "IPython": "ipython",
    "aiogram": "aiogram",
    "cachetools": "cachetools",
    "celery": "celery",
    "discord": "discord.py",
    "distributed": "distributed",
    "flask": "flask",
    "opentelemetry.instrumentation.aiohttp_client": (
        "opentelemetry-instrumentation-aiohttp-client"
    ),
    "opentelemetry.sdk.trace": "opentelemetry-sdk",
    "pandas": "pandas",
    "polars": "polars",
    "prometheus_client": "prometheus-client",
    "pyarrow": "pyarrow",
    "sentry_sdk": "sentry-sdk",
    "structlog": "structlog",
    "telegram": "python-telegram-bot",
}
"""The modules that examples import, and what provides each."""


def need(module: str) -> None:
    """Skip the test unless *module* is installed."""
    if not is_found(module):
        pytest.skip(reason_without(DISTRIBUTIONS[module]))


def need_imports(source: str) -> None:
    """Skip the test unless every framework that *source* imports is installed."""
    for module in sorted(imports_of(source) & DISTRIBUTIONS.keys()):
        need(module)


def imports_of(source: str) -> set[str]:
    """Return the names of all modules that *source* imports."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names | {name.partition(".")[0] for name in names}


def is_found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is missing
        return False


def reason_without(distribution: str) -> str:
    """Return why *distribution* is missing, according to our own metadata."""
    required = [Requirement(text) for text in requires("diga-async") or ()]
    name = canonicalize_name(distribution)
    (marker,) = (r.marker for r in required if canonicalize_name(r.name) == name)
    if marker is None or marker.evaluate({"extra": "examples"}):
        return f"needs {distribution}, of diga-async[examples]"
    return f"{distribution} does not support Python {platform.python_version()} yet"
