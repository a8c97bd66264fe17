"""The cost of importing, in a separate process."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

ALONE = "import diga_async"
LIBRARIES = "import aiohttp, attrs, cattrs"
CLIENT = "from diga_async import DigaClient"
HEAVY = {"aiohttp", "attrs", "cattrs", "asyncio", "ssl", "yarl"}

Run = Callable[[str], str]


@pytest.fixture(scope="module")
def output_of(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run programs whose imports are compiled, as a user's are."""
    environment = dict(os.environ)
    if environment.pop("PYTHONDONTWRITEBYTECODE", None):
        compiled = tmp_path_factory.mktemp("compiled")
        environment["PYTHONPYCACHEPREFIX"] = str(compiled)

    def run(program: str) -> str:
        ran = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            check=True,
            env=environment,
            text=True,
        )
        return ran.stdout

    run(CLIENT)
    return run


def heavy_after(output_of: Run, statement: str) -> set[str]:
    loaded = output_of(f"{statement}; import sys; print(*sys.modules)")
    return HEAVY.intersection(loaded.split())


def cpu_seconds(output_of: Run, *statements: str) -> list[float]:
    """Return the least CPU time of six runs, of each statement after the other."""
    program = "import time; last = time.process_time()"
    for statement in statements:
        program += f"; {statement}; now = time.process_time(); print(now - last)"
        program += "; last = now"
    taken = [map(float, output_of(program).split()) for _ in range(6)]
    return [min(column) for column in zip(*taken, strict=True)]


@pytest.mark.parametrize("then", ["pass", "diga_async.__version__", "dir(diga_async)"])
def test_the_package_alone_loads_nothing_heavy(output_of: Run, then: str) -> None:
    """The pytest plugin is loaded in every test run where it is installed."""
    assert heavy_after(output_of, f"{ALONE}; {then}") == set()


def test_errors_and_values_load_no_aiohttp(output_of: Run) -> None:
    names = "Phone, NotFoundError, RetryPolicy, Found"

    assert "aiohttp" not in heavy_after(output_of, f"from diga_async import {names}")


def test_the_client_loads_its_three_libraries(output_of: Run) -> None:
    assert {"aiohttp", "attrs", "cattrs"} <= heavy_after(output_of, CLIENT)


def test_the_package_alone_costs_under_twenty_milliseconds(output_of: Run) -> None:
    (seconds,) = cpu_seconds(output_of, ALONE)

    assert seconds < 0.020


def test_the_client_costs_little_more_than_its_libraries(output_of: Run) -> None:
    """Less than a fifth, on every Python: newer ones import the libraries faster."""
    libraries, ours = cpu_seconds(output_of, LIBRARIES, CLIENT)

    assert ours < libraries * 0.20


def test_the_client_loads_nothing_that_only_some_methods_need(output_of: Run) -> None:
    loaded = output_of(f"{CLIENT}; import sys; print(*sys.modules)").split()

    of_runs_and_listings = ("_bulk", "_runs", "_api.listing", "_models.listing")
    prefixes = tuple(f"diga_async.{name}" for name in of_runs_and_listings)
    assert [name for name in loaded if name.startswith(prefixes)] == []
