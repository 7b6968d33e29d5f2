"""Borders, their distances and the paths that show them."""

import re

import numpy as np
import pytest

from fewmask.report.case_views import look_at_cases
from fewmask.report.data import read_runs
from fewmask.report.outlines import border_distances, by_bin, path, trace
from fewmask.report.pictures import error_bins, error_legend, error_step
from helpers import write_dataset
from report.fake_runs import write_run


def disc(shape, centre, radius):
    grid = np.indices(shape)
    return sum((axis - middle) ** 2 for axis, middle in zip(grid, centre, strict=True)) <= radius**2


def test_a_border_runs_midway_and_closes_at_the_edge():
    plane = np.zeros((6, 8), np.uint8)
    plane[2:4, 3:7], plane[:2, :2] = 2, 1
    (line,) = trace(plane, 2)
    assert line.min(axis=0).tolist() == [1.5, 2.5] and line.max(axis=0).tolist() == [3.5, 6.5]
    (corner,) = trace(plane, 1)
    assert corner.min() == -0.5 and (corner[0] == corner[-1]).all()
    assert trace(plane, 3) == []


def test_a_border_has_no_distance_from_itself():
    plane = disc((30, 40), (14, 18), 9)
    (distances,) = border_distances(trace(plane.astype(np.uint8), 1), plane[None], 0, (1, 1, 1))
    assert np.abs(distances).max() == 0


@pytest.mark.parametrize(("grown", "sign"), [(3, 1), (-3, -1)])
def test_too_large_is_positive_and_too_small_negative_in_millimetres(grown, sign):
    reference, prediction = disc((60, 60), (30, 30), 16), disc((60, 60), (30, 30), 16 + grown)
    (distances,) = border_distances(trace(prediction.astype(np.uint8), 1), reference[None], 0, (1, 2, 2))
    assert (np.sign(distances) == sign).all()
    assert np.abs(distances).mean() == pytest.approx(6, abs=1)


def test_the_nearest_border_may_lie_in_another_slice():
    volume = np.zeros((5, 20, 20), bool)
    volume[2:, 5:15, 5:15] = True  # a block that begins with slice 2
    plane = np.zeros((20, 20), np.uint8)
    plane[8:12, 8:12] = 1  # deep inside it
    (inside,) = border_distances(trace(plane, 1), volume, 2, (0.5, 1, 1))
    np.testing.assert_allclose(
        inside.min(), -np.hypot(0.25, 0.5), atol=1e-9
    )  # the face below: half a slice, and half a voxel aside
    (outside,) = border_distances(trace(plane, 1), volume, 0, (0.5, 1, 1))
    assert (outside > 0).all() and outside.min() == pytest.approx(np.hypot(0.75, 0.5))


def test_pieces_of_a_line_join_and_paths_keep_its_shape():
    line = np.array([[0.0, 0], [1, 0], [2, 0], [3, 0], [4, 0]])
    pieces = by_bin([line], [np.array([3, 3, 5, 5, 5])])
    assert [piece[:, 0].tolist() for piece in pieces[3]] == [[0, 1, 2]] and pieces[5][0][0, 0] == 2
    drawn = path([line], 100, closed=False)
    numbers = [float(text) for text in re.findall(r"[\d.]+", drawn)]
    assert drawn.startswith("M0") and max(numbers) == 4 and "Z" not in drawn and len(numbers) <= 6


def test_bins_and_their_words_agree():
    bins = error_bins(np.array([-9, -3, -1.5, 0.5, 1.5, 3, 9, np.nan]), 1)
    assert bins.tolist() == [0, 1, 2, 3, 4, 5, 6, 6]
    assert error_bins(np.array([1.5]), 2).tolist() == [3]


def test_views_hold_the_distances_of_each_run(tmp_path):
    root = write_dataset(tmp_path / "data", dims=2, cases=4, test=3)
    runs = read_runs([write_run(tmp_path / f"by{shift}", root, shift=shift) for shift in (0, 2)])
    views, problems = look_at_cases(runs)
    assert not problems and [view.rank for view in views] == ["Worst", "Median", "Best"]
    for view in views:
        exact, moved = (np.concatenate(traced.distances) for traced in view.traced)
        assert np.abs(exact).max() == 0 and 0 < moved.max() <= 2 and -2 <= moved.min() < 0
    assert error_step(views) == 0.5 and len(error_legend(views)) == 7
    assert error_legend(views)[3] == (3, "within 0.5 pixels")
