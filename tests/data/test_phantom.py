from __future__ import annotations

import numpy as np
import pytest

from fewmask.data.phantom import CLASSES, Phantom, write_phantom

SHAPES = [(48, 40), (32, 28, 24)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_scan_is_a_function_of_seed_and_number(shape):
    phantom = Phantom(shape)
    image, label = phantom.scan(1, 2)
    again, label_again = phantom.scan(1, 2)
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(label, label_again)
    for seed, number in [(1, 3), (2, 2)]:
        assert not np.array_equal(phantom.scan(seed, number)[1], label)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_scan_shows_every_class(shape):
    for number in range(10):
        image, label = Phantom(shape).scan(0, number)
        assert image.shape == label.shape == shape
        assert image.dtype == np.float32
        assert label.dtype == np.uint8
        assert np.isfinite(image).all()
        shares = np.bincount(label.ravel(), minlength=3) / label.size
        assert len(shares) == len(CLASSES)
        assert shares[0] > 0.5
        assert shares[1] > 0.005
        assert shares[2] > 0.003


def test_brightness_alone_does_not_tell_the_organ():
    """Unlabelled bodies are as bright: the best threshold on a clean scan stays far from a perfect Dice."""
    image, label = Phantom((64, 64), noise=0.1, blur=0.5, bodies=8).scan(0, 1)
    organ = label == 1
    best = max(
        2 * ((image > level) & organ).sum() / ((image > level).sum() + organ.sum())
        for level in np.quantile(image, np.linspace(0.5, 0.99, 50))
    )
    assert best < 0.9


@pytest.mark.parametrize(("shape", "ending"), [((24, 20), ".tif"), ((16, 14, 12), ".nii.gz")])
def test_the_folder_is_a_dataset(tmp_path, shape, ending):
    phantom = Phantom(shape)
    data = write_phantom(tmp_path / "Dataset999_Phantom", phantom, train=2, unlabelled=3, test=1, seed=4, spacing=2.0)
    assert [len(data.ids(group)) for group in ("train", "unlabelled", "test")] == [2, 3, 1]
    assert tuple(data.class_names) == CLASSES
    assert data.spatial_dims == len(shape)
    assert data.file_ending == ending
    first, hidden = data.ids("train")[0], data.ids("unlabelled")[0]
    image, label = phantom.scan(4, 0)
    np.testing.assert_array_equal(data.read(first).data[0], image)
    np.testing.assert_array_equal(data.read_label(first).data, label)
    assert data.case(hidden).label is None
    if len(shape) == 3:
        assert data.read(first).geometry.spacing == pytest.approx((2.0, 2.0, 2.0))
