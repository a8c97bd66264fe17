"""The benchmarks still run; their figures are another matter."""

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
