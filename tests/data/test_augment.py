from __future__ import annotations

import numpy as np
import pytest

from fewmask.config import AugmentConfig
from fewmask.data.augment import augment, change_intensity, rotate_flip


def numbered(shape):
    """An image whose values are their own positions, and a label that equals it."""
    values = np.arange(np.prod(shape)).reshape(shape)
    return values[None].astype(np.float32), (values % 200).astype(np.uint8)


def symmetries(square, mirrored_only):
    """The symmetries of an array ``(n, n)``, made by hand from transposing and reversing."""
    rotations = [square, square.T[::-1], square[::-1, ::-1], square.T[:, ::-1]]
    reflections = [square[::-1], square[:, ::-1], square.T, square[::-1, ::-1].T]
    return {array.tobytes() for array in (reflections if mirrored_only else rotations + reflections)}


def reached(shape, always_flip, draws=400):
    image, label = numbered(shape)
    rng = np.random.default_rng(0)
    counts = {}
    for _ in range(draws):
        moved, moved_label = rotate_flip(image, label, rng, always_flip=always_flip)
        assert moved.shape == image.shape
        np.testing.assert_array_equal(moved[0] % 200, moved_label)
        key = np.ascontiguousarray(moved[0]).tobytes()
        counts[key] = counts.get(key, 0) + 1
    return counts


@pytest.mark.parametrize(("always_flip", "size"), [(False, 8), (True, 4)])
def test_the_symmetries_of_the_square_are_reached_evenly(always_flip, size):
    counts = reached((5, 5), always_flip)
    assert set(counts) == symmetries(numbered((5, 5))[0][0], always_flip)
    assert len(counts) == size
    assert min(counts.values()) > 0.6 * 400 / size


def test_volumes_turn_in_the_axial_plane_only():
    for volume in (np.frombuffer(key, np.float32).reshape(4, 4, 3) for key in reached((4, 4, 3), False, 60)):
        np.testing.assert_array_equal(np.diff(volume, axis=2), 1)


@pytest.mark.parametrize(("always_flip", "size"), [(False, 4), (True, 2)])
def test_a_plane_that_is_not_square_keeps_its_shape(always_flip, size):
    assert len(reached((4, 6), always_flip)) == size


def test_channels_move_together():
    image, _ = numbered((6, 6))
    both, _ = rotate_flip(np.concatenate([image, image + 100]), None, np.random.default_rng(3))
    np.testing.assert_array_equal(both[1] - both[0], 100)


@pytest.mark.parametrize("shape", [(32, 32), (32, 32, 4)])
def test_rotation_moves_image_and_label_alike(shape):
    label = np.zeros(shape, np.uint8)
    label[8:16, 10:26] = 3
    image = label[None].astype(np.float32)
    config = AugmentConfig(rotate_degrees=45)
    for seed in range(5):
        moved, moved_label = augment(image, label, config, np.random.default_rng(seed))
        assert moved.dtype == np.float32
        assert set(np.unique(moved_label)) == {0, 3}
        agreement = ((moved[0] > 1.5) == (moved_label > 0)).mean()
        assert agreement > 0.97, seed
        assert (moved_label > 0).sum() == pytest.approx((label > 0).sum(), rel=0.1)


def test_intensity_leaves_the_label_and_the_place_of_things():
    image, label = numbered((8, 8))
    config = AugmentConfig(rotate_flip=False, intensity=1.0)
    changed, same = augment(image, label, config, np.random.default_rng(0))
    np.testing.assert_array_equal(same, label)
    assert not np.array_equal(changed, image)
    assert (np.diff(changed.ravel()) > 0).all(), "a rising sequence of intensities keeps rising"


def test_a_constant_patch_survives():
    flat = change_intensity(np.full((1, 4, 4), 2.0, np.float32), np.random.default_rng(0))
    assert np.isfinite(flat).all()
    assert flat.std() == 0


def test_the_share_of_changed_patches():
    image, _ = numbered((4, 4))
    config = AugmentConfig(rotate_flip=False, intensity=0.3)
    changed = [
        not np.array_equal(augment(image, None, config, np.random.default_rng(seed))[0], image) for seed in range(500)
    ]
    assert np.mean(changed) == pytest.approx(0.3, abs=0.06)


def test_everything_is_a_function_of_the_seed():
    image, label = numbered((16, 16))
    config = AugmentConfig(rotate_degrees=20, intensity=0.5)
    first, second = (augment(image, label, config, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
