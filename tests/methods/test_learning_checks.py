"""The scripts that measure whether a method learns a drawn problem: that they run, and what they draw. Their numbers take minutes."""

import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """A script of `benchmarks/` by name."""
    import importlib

    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def rows(text):
    """The cells of a Markdown table behind its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def call(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    module.main()


def test_spheres_for_diff_cl(script, monkeypatch, tmp_path, capsys):
    module = script("diff_cl_spheres")
    image, label = module.draw(np.random.default_rng(3))
    assert image.shape == (1, 32, 32, 32)
    assert 4 / 3 * np.pi * 6**3 * 0.95 < label.sum() < 4 / 3 * np.pi * 9**3 * 1.05
    assert image[0][label].mean() - image[0][~label].mean() == pytest.approx(2, abs=0.05)
    assert image[0][~label].std() == pytest.approx(0.6, abs=0.02)
    short = ("--set", "train.iterations=2", "method.ddim_steps=2")
    call(module, monkeypatch, "--output", tmp_path, "--seeds", 4, *short)
    (seed, cs, ds, purity), (word, *medians) = rows(capsys.readouterr().out)
    assert (seed, word, medians) == ("4", "median", [cs, ds, purity])
    assert 0 <= float(cs) <= 100 and 0 <= float(ds) <= 100 and 0 <= float(purity) <= 1
