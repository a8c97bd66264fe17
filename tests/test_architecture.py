"""The house as data: who may import whom. A new room fails until it is drawn here."""

import ast
import sys
from pathlib import Path

import pytest

import diga_async

PACKAGE = Path(diga_async.__file__).parent

#: From the ground up; a room imports only from lines above its own.
LAYERS = [
    {
        "_version",
        "_errors",
        "_events",
        "_open",
        "_wire",
        "_meter",
        "_breaker",
        "_limiter",
    }
    | {"_clock"},
    {"_policy", "_decoding", "_source", "_advice"},
    {"_phone"},
    {"_outcome", "_protocol"},
    {"_connections", "_credentials", "_scheduler", "_slots", "_observer"} | {"_yield"},
    {"_exchange"},
    {"_transport"},
    {"_lookup"},
    {"_stages"},
    {"_shared_calls", "_pending"},
    {"_bulk"},
    {"_engine"},
    {"_phones"},
    {"_client"},
    {"__init__"},
]
#: Doors of their own: the sandbox reads nothing with the client's code.
DOORS = {
    "_sandbox_data": set(),
    "_sandbox_faults": set(),
    "_sandbox_bucket": set(),
    "_sandbox_answers": set(),
    "_sandbox_operation": {"_sandbox_answers"},
    "_sandbox_delivery": {"_sandbox_answers", "_sandbox_faults"},
    "_sandbox_serving": set(),
    "sandbox": {
        "_sandbox_answers",
        "_sandbox_bucket",
        "_sandbox_data",
        "_sandbox_delivery",
        "_sandbox_faults",
        "_sandbox_operation",
        "_sandbox_serving",
    },
    "_pytest_asyncio": set(),
    "pytest_plugin": {"__init__", "sandbox"},
    "__main__": {"cli"},
    "_cli_terminal": set(),
    "_cli_signals": set(),
    "_cli_lock": set(),
    "_cli_exits": {"__init__"},
    "_cli_rows": {"__init__"},
    "_cli_ids": {"__init__", "_protocol"},
    "_cli_feed": {"_cli_exits", "_cli_ids"},
    "_cli_output": {"_cli_exits", "_cli_ids", "_cli_lock", "_cli_rows"},
    "_cli_stdout": {"_cli_exits", "_cli_ids", "_cli_rows"},
    "_cli_display": {"__init__", "_cli_terminal"},
    "_cli_get": {"__init__", "_cli_display", "_cli_exits", "_cli_rows"},
    "_cli_fetch": {
        "__init__",
        "_cli_display",
        "_cli_exits",
        "_cli_feed",
        "_cli_output",
        "_cli_rows",
        "_cli_signals",
        "_cli_stdout",
        "_cli_terminal",
    },
    "_cli_demo": {
        "__init__",
        "_cli_display",
        "_cli_exits",
        "_cli_rows",
        "_cli_terminal",
        "sandbox",
    },
    "_cli_sandbox": {"_cli_exits", "_cli_signals", "_cli_terminal", "sandbox"},
    "cli": {
        "__init__",
        "_version",
        "sandbox",
        "_cli_exits",
        "_cli_terminal",
        "_cli_get",
        "_cli_fetch",
        "_cli_demo",
        "_cli_sandbox",
    },
}
#: What decides does not wait.
PURE = {
    "_advice",
    "_cli_ids",
    "_cli_rows",
    "_errors",
    "_events",
    "_open",
    "_wire",
    "_meter",
    "_breaker",
    "_limiter",
    "_policy",
    "_decoding",
    "_phone",
    "_outcome",
    "_protocol",
}
IMPURE_MODULES = {
    "aiohttp",
    "asyncio",
    "logging",
    "os",
    "random",
    "socket",
    "ssl",
    "time",
}
LIBRARIES = {
    "_connections": {"aiohttp"},
    "_exchange": {"aiohttp"},
    "_transport": {"aiohttp"},
    "_wire": {"attrs", "yarl"},
    "_protocol": {"attrs", "yarl"},
    "_stages": {"attrs"},
    "_engine": {"aiohttp", "attrs"},
    "_client": {"aiohttp"},
    "_decoding": {"attrs", "cattrs"},
}


def imports_of(room):
    """Return the modules a room imports, ours by their bare name."""
    tree = ast.parse((PACKAGE / f"{room}.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "diga_async":
            yield from (f"diga_async.{room_named(alias.name)}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def room_named(name):
    return name if (PACKAGE / f"{name}.py").exists() else "__init__"


def rooms_of(room):
    return {
        name.removeprefix("diga_async.")
        for name in imports_of(room)
        if name.startswith("diga_async")
    }


def packages_of(room):
    return {name.split(".")[0] for name in imports_of(room)} - {"diga_async"}


def drawn():
    return set().union(*LAYERS) | set(DOORS)


def test_every_room_is_drawn():
    assert {path.stem for path in PACKAGE.glob("*.py")} == drawn()


@pytest.mark.parametrize(
    ("room", "below"),
    [
        (room, set().union(*LAYERS[:number]))
        for number, layer in enumerate(LAYERS)
        for room in sorted(layer)
    ],
)
def test_a_room_imports_only_what_is_below_it(room, below):
    assert rooms_of(room) <= below


@pytest.mark.parametrize("room", sorted(DOORS))
def test_a_door_opens_on_what_it_says(room):
    assert rooms_of(room) <= DOORS[room]


@pytest.mark.parametrize("room", sorted(PURE))
def test_what_decides_neither_waits_nor_looks_around(room):
    assert packages_of(room) & IMPURE_MODULES == set()


@pytest.mark.parametrize("room", sorted(set().union(*LAYERS)))
def test_a_room_uses_few_libraries(room):
    allowed = LIBRARIES.get(room, {"attrs"})

    assert packages_of(room) - set(sys.stdlib_module_names) <= allowed
