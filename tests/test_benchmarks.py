"""The benchmarks still run; their figures are another matter."""

import asyncio
import importlib.util
import sys
from pathlib import Path

import attrs
import pytest

FOLDER = Path(__file__).parent / "benchmarks"


@pytest.fixture
def limits():
    spec = importlib.util.spec_from_file_location("limits", FOLDER / "limits.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_row_of_limits_is_measured(limits, monkeypatch):
    row = attrs.evolve(limits.ROWS["free"], ids=100, clients=2)
    monkeypatch.setitem(limits.ROWS, "free", row)

    figures = limits.measure("free")

    assert (figures["ids"], figures["lost"], figures["refused"]) == (100, 0, 0.0)


def test_every_row_has_a_server(limits):
    for row in limits.ROWS.values():
        assert isinstance(row.server, dict) or hasattr(row.server(), "take")


def test_the_picture_is_an_svg(limits):
    assert limits.svg([100, 200, 50]).startswith("<svg")


@pytest.mark.parametrize("name", ["runs", "cluster"])
def test_the_others_can_be_imported(name, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert callable(module.main)
    monkeypatch.delitem(sys.modules, "limits", raising=False)


@pytest.fixture
def load(monkeypatch):
    """Import a benchmark as the module it is, as its own processes do."""
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])

    def load(name):
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


def test_the_soak_does_everything_and_sees_what_grows(load):
    soak, said = load("soak"), []

    asyncio.run(soak.soak(0.1, show=said.append))

    done = next(line for line in said if line.startswith("done"))
    deeds = ("get", "outcome", "cancel", "close", "lent", "fault", "forgotten")
    assert [deed for deed in deeds if f"'{deed}'" not in done] == []
    kept = soak.Left(kib=60_000, objects=1, descriptors=9, tasks=1, threads=2)
    leaking = [attrs.evolve(kept, kib=60_000 + 1000 * n, tasks=n) for n in range(30)]
    assert list(soak.grown([kept] * 30)) == []
    assert len(list(soak.grown(leaking))) == 2


def test_the_fuzz_tries_every_kind_and_finds_nothing(load):
    fuzz = load("fuzz")

    report = asyncio.run(fuzz.fuzz(0.5, "test"))

    assert report.wrong == []
    assert report.came["Phone"] > 0
    assert set(report.tried) <= set(fuzz.KINDS)


def test_what_a_denial_costs_is_measured(load):
    denial = load("denial")

    figures = denial.figures_of("endless header")

    assert figures.came.startswith("APIConnectionError")
    assert figures.seconds < denial.MOST_SECONDS
    assert figures.mib > 1


def test_every_row_of_denial_can_be_made(load):
    denial = load("denial")

    assert all(callable(row) for row in denial.ROWS.values())
