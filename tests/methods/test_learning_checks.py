"""The scripts that measure whether a method learns a drawn problem: that they run, and what they draw. Their numbers take minutes."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

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
    monkeypatch.setattr(module, "COUNTS", {"labelled": 2, "unlabelled": 2, "test": 2})
    short = ("--set", "train.iterations=2", "method.ddim_steps=2")
    call(module, monkeypatch, "--output", tmp_path, "--seeds", 4, *short)
    (seed, cs, ds, purity), (word, *medians) = rows(capsys.readouterr().out)
    assert (seed, word, medians) == ("4", "median", [cs, ds, purity])
    assert 0 <= float(cs) <= 100 and 0 <= float(ds) <= 100
    assert purity == "nan" or 0 <= float(purity) <= 1  # two steps may leave no foreground in the bank


def test_ellipses_for_diffusion_co_training(script, monkeypatch, tmp_path, capsys):
    module = script("co_training_ellipses")
    images, labels = zip(*(module.draw(np.random.default_rng(n)) for n in range(60)), strict=True)
    assert np.mean(images) == pytest.approx(0, abs=0.15) and np.std(images) == pytest.approx(1, abs=0.1)
    brighter = [image[0][label].mean() > image[0][~label].mean() for image, label in zip(images, labels, strict=True)]
    assert np.mean(brighter) > 0.95
    monkeypatch.setattr(module, "COUNTS", {"labelled": 2, "unlabelled": 3, "test": 2})
    monkeypatch.setattr(module, "NOISE_SEEDS", 2)
    short = ["train.iterations=2", "method.pretrain.iterations=2", "network.width=2", "sampling.unlabelled=2"]
    arms = ["labels only", "full, blank"]
    call(module, monkeypatch, "--output", tmp_path, "--seeds", 1, "--spreads", "--arms", *arms, "--set", *short)
    table = rows(capsys.readouterr().out)
    assert [row[:2] for row in table] == [[arm, what] for arm in arms for what in ("1", "mean")]
    assert table[0][3:] == ["", "", ""], "labels only: nothing was pre-trained"
    early, late = (float(value) for value in table[2][3].split(","))
    assert 0 < early < 10 and 0 < late < 10 and float(table[2][4]) > 0
    assert len(table[2][5].split(",")) == 2
    blank = module.dataset_of(tmp_path, 1, blank=True)
    assert [blank.read(name).data.any() for name in blank.ids("unlabelled")] == [False] * 3
    assert all(blank.read(name).data.any() for name in blank.ids("train"))


@pytest.mark.filterwarnings("ignore::fewmask.errors.FewmaskWarning")  # two steps make no good autoencoder
def test_ellipses_for_semigda(script, monkeypatch, tmp_path, capsys):
    module = script("semigda_ellipses")
    image, label = module.drawn(np.random.default_rng(0), 3)
    assert set(np.unique(label)) == {0, 1, 2}
    for value in (1, 2):
        assert image[:, label == value].mean(1) == pytest.approx(module.COLOURS[value], abs=0.1)
    monkeypatch.setattr(module, "COUNTS", {"labelled": 2, "unlabelled": 2, "test": 2})
    small = ["autoencoder.widths=[4,4,4]", "autoencoder.groups=2", "autoencoder.iterations=2", "mapping_width=2"]
    short = [
        "train.iterations=2",
        *(f"method.{setting}" for setting in [*small, "align_iterations=2", "align_batch=2"]),
    ]
    call(module, monkeypatch, "--output", tmp_path, "--seeds", 2, "--set", *short)
    ((seed, *numbers),) = rows(capsys.readouterr().out)
    assert seed == "2" and len(numbers) == 12
    assert all(0 <= float(number) <= 100 for number in numbers)
    reliance = script("latent_reliance")
    monkeypatch.setattr(
        sys, "argv", ["latent_reliance", str(tmp_path / "trained-seed2"), str(tmp_path / "Dataset902_Ellipses")]
    )
    reliance.main()
    assert [row[0] for row in rows(capsys.readouterr().out)] == ["image", "mask"]
    predictor = reliance.predictor_of(reliance.RunFolder.open(tmp_path / "aligned-seed2"), predict_with="image").module
    swapped, both = reliance.Swapped(predictor, "image"), torch.rand(2, 1, 3, 32, 32)
    with torch.no_grad():  # without adapters the latent is all there is
        own = [predictor(one) for one in both]
        found = [swapped(one) for one in (both[1], both[0], both[1])]
    for mine, theirs in zip(found, (own[1], own[1], own[0]), strict=True):
        torch.testing.assert_close(mine, theirs)
    monkeypatch.setattr(sys, "argv", ["semigda_ellipses", "--output", str(tmp_path)])
    straight, shifted = (
        module.data(module.arguments("", [2], flags=["three"]), 2, shifted=way) for way in (False, True)
    )
    names = straight.ids("train", labelled=True)
    assert [straight.read(name).data.sum() for name in names] == [shifted.read(name).data.sum() for name in names]
    labels = [[one.read_label(name).data for name in names] for one in (straight, shifted)]
    assert np.array_equal(labels[0][0], labels[1][1]) and np.array_equal(labels[0][1], labels[1][0])
    assert not np.array_equal(labels[0][0], labels[1][0])
