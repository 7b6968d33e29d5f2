"""What is said of every method: what it costs, and that its file is not its neighbour's."""

import importlib.util
from pathlib import Path

import pytest

from fewmask.methods import METHODS

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
CHEAP = [name for name in METHODS if (METHODS[name].cost or 0) < 10]


def benchmark(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", CHEAP)
def test_a_method_costs_what_its_line_says(name):
    assert benchmark("method_cost").relative_cost(name) == pytest.approx(METHODS[name].cost, abs=0.06)


def test_a_method_without_a_cost_would_be_found():
    assert [name for name in METHODS if METHODS[name].cost is None or not METHODS[name].family] == []


def test_no_file_of_a_method_is_largely_another_s():
    shares = benchmark("method_lines").shares()
    assert len(shares) >= len(METHODS)
    assert {name: share for name, share in shares.items() if share[0] > 0.35} == {}


def test_identical_lines_are_counted(tmp_path):
    (tmp_path / "one.py").write_text("a = 1\nb = 2\n)\nc = 3\nc = 3\n")
    (tmp_path / "two.py").write_text("b = 2  # a comment\nc = 3\n)\nd = 4\ne = 5\nf = 6\n")
    (tmp_path / "base.py").write_text("a = 1\nb = 2\n")
    assert benchmark("method_lines").shares(tmp_path) == {"one": (0.5, "two"), "two": (0.5, "one")}
