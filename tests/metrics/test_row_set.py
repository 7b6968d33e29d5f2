"""The column 95HD of SemiGDA's tables: known values, and that it is no boundary distance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from fewmask.errors import ConfigError, DataError
from fewmask.metrics import evaluate, row_set_distance, score
from helpers import write_dataset


def disc(x, y, radius):
    rows, columns = np.ogrid[:224, :224]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


@pytest.mark.parametrize(
    ("first", "second", "value", "hd95", "dice"),
    [
        ((112, 82, 40), (112, 142, 40), 0.0, 59.14, 0.144),
        ((112, 112, 40), (117, 112, 40), 3.0042, 5.00, 0.921),
        ((112, 112, 40), (112, 112, 50), 4.2485, 10.05, 0.781),
        ((50, 50, 40), (170, 170, 40), 8.55, 169.01, 0.0),
    ],
)
def test_discs(first, second, value, hd95, dice):
    pair = disc(*first), disc(*second)
    assert row_set_distance(*pair) == pytest.approx(value, abs=1e-3)
    scores = score(*pair)
    assert scores["hd95"] == pytest.approx(hd95, abs=0.5)
    assert scores["dice"] == pytest.approx(dice, abs=1e-3)


def test_by_hand():
    first, second = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    first[1, 1:3], second[2, 1:4] = True, True
    assert row_set_distance(first, second) == pytest.approx(0.95)
    assert row_set_distance(first, np.roll(first, 1, 0)) == 0
    assert row_set_distance(first, np.roll(first, 1, 1)) == pytest.approx(0.95 * 2**0.5)
    assert row_set_distance(first, np.zeros((4, 4))) == pytest.approx(0.95 * 2**0.5), "an empty mask is not perfect"


def test_all_pairs_of_rows_by_scipy():
    rng = np.random.default_rng(0)
    for density in (0.02, 0.3, 0.9):
        first, second = rng.random((2, 30, 17)) < density
        distances = cdist(first.astype(float), second.astype(float))
        wanted = 0.95 * max(distances.min(1).max(), distances.min(0).max())
        assert row_set_distance(first, second) == pytest.approx(wanted)


def test_masks_must_be_flat_and_alike():
    with pytest.raises(DataError, match="2D masks of one shape"):
        row_set_distance(np.zeros((4, 4, 4)), np.zeros((4, 4, 4)))
    with pytest.raises(DataError, match="2D masks of one shape"):
        row_set_distance(np.zeros((4, 4)), np.zeros((4, 5)))


def test_it_stands_beside_the_others_under_its_own_name(tmp_path):
    labels = write_dataset(tmp_path / "Dataset001_Blobs", dims=2) / "labelsTr"
    plain, more = evaluate(labels, labels), evaluate(labels, labels, also=["hd_rowset"])
    assert "hd_rowset" not in plain.metric_names
    assert more.metric_names == (*plain.metric_names, "hd_rowset")
    assert more.summary()["mean"]["metrics"]["hd_rowset"]["mean"] == 0
    more.write(tmp_path)
    assert (tmp_path / "scores.csv").read_text().splitlines()[0].endswith(",hd_rowset")
    with pytest.raises(ConfigError, match="no further metric 'hd_row'"):
        evaluate(labels, labels, also=["hd_row"])
