import numpy as np
import pytest

from fewmask.data.geometry import Geometry
from fewmask.report.case_views import to_pixels
from fewmask.report.curves import title
from fewmask.report.data import Curve
from fewmask.report.figures import POINTS, running_mean, shorten, thin, thousands
from fewmask.report.slices import View, window


def test_running_mean_is_the_mean_of_what_the_shrunken_window_holds():
    values = np.array([1.0, 2.0, np.nan, 8.0, 16.0, 1.0])
    mean = running_mean(values, 1)
    np.testing.assert_allclose(mean, [1, 1.5, 5, 12, 25 / 3, 1])
    assert np.isnan(running_mean(np.array([np.nan, np.nan]), 1)).all()


def test_thinning_keeps_short_curves_and_the_mean_of_long_ones():
    short = Curve((1, 5), (0.5, float("inf")))
    places, values = thin(short)
    assert places.tolist() == [1, 5] and values[0] == 0.5 and np.isnan(values[1])
    many = 10 * POINTS
    places, values = thin(Curve(tuple(range(many)), tuple(float(i) for i in range(many))))
    assert len(places) == POINTS and values[0] == np.mean(range(10)) and values[-1] == many - 5.5


def test_an_axial_slice_is_upright_whatever_the_storage_order(tmp_path):
    # One voxel is on the patient's left, front, in slice 2 of 4; it must come out at the top right.
    ras = np.zeros((5, 6, 4), np.uint8)
    ras[0, 5, 2], ras[4, 0, 2] = 2, 1  # right is +x in RAS: index 4 is the right side
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    view = View(Geometry(ras.shape, affine), tmp_path / "a.nii.gz", ras)
    plane = view.cut(ras[None])[0]
    assert plane.shape == (6, 5) and view.pixel == (2.0, 1.0)
    assert plane[0, 4] == 2 and plane[5, 0] == 1

    lps = ras[::-1, ::-1].transpose(2, 0, 1)
    turned = np.array([[0, -1, 0, 4], [0, 0, -2, 10], [3, 0, 0, 0], [0, 0, 0, 1.0]])
    other = View(Geometry(lps.shape, turned), tmp_path / "a.nrrd", lps)
    np.testing.assert_array_equal(other.cut(lps[None])[0], plane)
    assert other.pixel == (2.0, 1.0)


def test_bitmaps_are_shown_as_stored(tmp_path):
    values = np.arange(12.0).reshape(1, 3, 4)
    np.testing.assert_array_equal(View(Geometry.plain((3, 4)), tmp_path / "a.png", values[0]).cut(values), values)


@pytest.mark.parametrize("pixel", [(1.0, 1.0), (3.0, 0.5)])
def test_the_window_holds_the_mask_and_is_square(pixel):
    mask = np.zeros((60, 200), bool)
    mask[2:9, 150:190] = True
    part = window(mask, pixel)
    assert part.rows[0] <= 2 and part.rows[1] >= 9 and part.columns[0] <= 150 and part.columns[1] >= 190
    assert part.rows[0] >= 0 and part.rows[1] <= 60 and part.columns[1] <= 200
    assert 0 <= part.columns[0] - part.left < 1
    assert part.side < max(60 * pixel[0], 200 * pixel[1])


def test_an_empty_mask_shows_the_whole_slice():
    part = window(np.zeros((30, 40), bool), (1.0, 1.0))
    assert (part.rows, part.columns, part.side, part.top) == ((0, 30), (0, 40), 40, -5)


def test_grey_is_windowed_and_colour_kept():
    grey = to_pixels(np.linspace(-500, 900, 1000).reshape(1, 20, 50))
    assert grey.shape == (20, 50) and (grey.min(), grey.max()) == (0, 255)
    colour = np.random.default_rng(0).integers(0, 256, (3, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(to_pixels(colour), colour.transpose(1, 2, 0))
    assert to_pixels(np.full((1, 3, 3), np.nan)).max() == 0


def test_words():
    assert (thousands(500), thousands(6000), thousands(2500)) == ("500", "6k", "2.5k")
    assert shorten("a" * 50 + "end", 20) == "a" * 9 + "…" + "a" * 6 + "end"
    assert title("critic/loss") == "Total loss (critic)" and title("some_share") == "Some share"
