from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from fewmask.config import PreprocessConfig
from fewmask.data.crop import bounding_box, find_box, otsu_threshold
from fewmask.data.geometry import Geometry
from fewmask.data.image import Image
from fewmask.data.preprocess import Preprocessor, Record
from fewmask.data.resample import resample_image, resample_label, target_shape
from fewmask.errors import ConfigError, DataError

ORIENTATIONS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


def affine_of(order: tuple[int, ...], signs: tuple[int, ...], spacing: tuple[float, ...]) -> np.ndarray:
    """Index axis i points along patient axis order[i], in the direction of its sign."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (patient, sign, length) in enumerate(zip(order, signs, spacing, strict=True)):
        affine[patient, axis] = sign * length
    affine[:3, 3] = (-31.5, 17.25, 4.0)
    return affine


def slanted_tube(shape: tuple[int, ...]) -> np.ndarray:
    x, y, z = np.indices(shape)
    return (np.hypot(x - 20 - 0.3 * z, y - 25 - 0.2 * z) < 2.2).astype(np.uint8)


def image_of(data: np.ndarray, affine: np.ndarray | None = None) -> Image:
    return Image(data, Geometry(data.shape[1:], np.eye(4) if affine is None else affine), Path("scan_0000.nii.gz"))


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(10, 3, size=shape).astype(np.float32)


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    return np.stack([labels == value for value in range(classes)]).astype(np.float32)


def plain(**changes: object) -> PreprocessConfig:
    return PreprocessConfig.model_validate({"normalisation": "none", **changes})


def ball(shape: tuple[int, ...], radii: tuple[float, ...]) -> np.ndarray:
    centred = [(np.arange(side) - (side - 1) / 2) / radius for side, radius in zip(shape, radii, strict=True)]
    return (sum(axis**2 for axis in np.meshgrid(*centred, indexing="ij")) < 1).astype(np.uint8)


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
@settings(max_examples=4, deadline=None)
@given(
    sides=st.tuples(*[st.integers(1, 7)] * 3),
    crop=st.sampled_from(["none", "nonzero", "body"]),
    seed=st.integers(0, 99),
)
def test_every_orientation_and_crop_comes_back_bit_by_bit(order, signs, sides, crop, seed) -> None:
    rng = np.random.default_rng(seed)
    data = noise((2, *sides), seed) * (rng.random(sides) < 0.3)
    affine = affine_of(order, signs, (0.5, 1.0, 3.0))
    preprocessor = Preprocessor(plain(crop=crop, crop_margin=0), 3)
    prepared, record = preprocessor.image(image_of(data.astype(np.float32), affine))
    assert prepared.flags.c_contiguous
    # Every voxel keeps its value and its place in the patient.
    places = np.stack(np.indices(record.shape)).reshape(3, -1)
    patient = np.array(record.affine) @ np.vstack([places, np.ones(places.shape[1])])
    index = np.rint(np.linalg.inv(affine) @ patient).astype(int)[:3]
    np.testing.assert_array_equal(prepared.reshape(2, -1), data.astype(np.float32)[:, *index])
    assert np.all(np.diag(np.array(record.affine))[:3] > 0)

    kept = np.zeros(sides, dtype=bool)
    kept[*index] = True
    labels = rng.integers(0, 3, size=sides).astype(np.uint8) * kept
    prepared_label = preprocessor.label(Image(labels, Geometry(sides, affine), Path("label.nii.gz")), record)
    restored = preprocessor.restore(one_hot(prepared_label, 3), record)
    np.testing.assert_array_equal(restored, one_hot(labels, 3))
    np.testing.assert_array_equal(preprocessor.restore(np.ones((1, *record.shape)), record, fill=0.0)[0], kept)


@settings(max_examples=25, deadline=None)
@given(
    orientation=st.sampled_from(ORIENTATIONS),
    spacing=st.tuples(*[st.floats(0.8, 1.4)] * 3),
    target=st.tuples(*[st.floats(0.8, 1.4)] * 3),
    crop=st.sampled_from(["none", "nonzero"]),
)
def test_a_smooth_shape_survives_resampling_and_back(orientation, spacing, target, crop) -> None:
    shape = (36, 40, 44)
    labels = ball(shape, (13, 15, 16))
    affine = affine_of(*orientation, spacing)
    image = image_of(ndimage.binary_dilation(labels, iterations=2)[None].astype(np.float32), affine)
    preprocessor = Preprocessor(plain(spacing=target, crop=crop), 3)
    prepared, record = preprocessor.image(image)
    label = preprocessor.label(Image(labels, image.geometry, image.path), record)
    assert prepared.shape[1:] == label.shape == record.shape
    probabilities = preprocessor.restore(one_hot(label, 2), record)
    back = probabilities.argmax(axis=0)
    assert back.shape == shape
    assert 2 * (back & labels).sum() / (back.sum() + labels.sum()) > 0.97
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    # The shape's centre lies where it lay in the patient, to the quarter of a voxel that ties may shift a border.
    centres = [
        grid @ [*(np.argwhere(mask).mean(axis=0)), 1]
        for grid, mask in ((affine, labels), (np.array(record.affine), label))
    ]
    assert np.abs(centres[0] - centres[1]).max() < 0.25 * max(*spacing, *target)


angles = st.tuples(*[st.floats(-40, 40)] * 3)


def oblique(orientation, degrees, spacing) -> np.ndarray:
    """An affine of any order and handedness, turned about each patient axis by less than half a right angle in all."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", np.array(degrees) / 2, degrees=True).as_matrix()
    return np.asarray(turn @ affine_of(*orientation, spacing))


@settings(max_examples=40)
@given(
    orientation=st.sampled_from(ORIENTATIONS),
    degrees=angles,
    sides=st.tuples(*[st.integers(1, 7)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 5)] * 3),
    crop=st.sampled_from(["none", "nonzero"]),
    margin=st.integers(0, 2),
    channels=st.integers(1, 3),
)
def test_any_grid_comes_back_bit_by_bit_also_through_json(
    orientation, degrees, sides, spacing, crop, margin, channels
) -> None:
    data = noise((channels, *sides)) * (noise(sides, 1) > 12)
    image = image_of(data.astype(np.float32), oblique(orientation, degrees, spacing))
    preprocessor = Preprocessor(plain(crop=crop, crop_margin=margin), 3)
    prepared, record = preprocessor.image(image)
    stored = Record.from_dict(json.loads(json.dumps(record.to_dict())))
    assert stored == record
    np.testing.assert_array_equal(preprocessor.restore(prepared, stored, fill=0.0), image.data)


def linear(affine: np.ndarray, shape: tuple[int, ...], slope: np.ndarray) -> np.ndarray:
    """A value that grows evenly through the patient, at every voxel of a grid."""
    places = np.stack(np.indices(shape)).reshape(3, -1)
    patient = affine @ np.vstack([places, np.ones(places.shape[1])])
    return np.asarray(slope @ patient[:3]).reshape(1, *shape)


@settings(max_examples=30)
@given(
    orientation=st.sampled_from(ORIENTATIONS),
    degrees=angles,
    sides=st.tuples(*[st.integers(11, 17)] * 3),
    spacing=st.tuples(*[st.floats(0.8, 1.6)] * 3),
    target=st.tuples(*[st.floats(0.8, 1.6)] * 3),
    slope=st.tuples(*[st.floats(-1, 1)] * 3),
)
def test_what_grows_evenly_through_the_patient_still_does_after_resampling_and_back(
    orientation, degrees, sides, spacing, target, slope
) -> None:
    """Values and affine stay together to a fraction of a voxel, away from the border, where interpolation clamps."""
    affine, rise = oblique(orientation, degrees, spacing), np.array(slope)
    preprocessor = Preprocessor(plain(spacing=target), 3)
    prepared, record = preprocessor.image(image_of(linear(affine, sides, rise).astype(np.float32), affine))
    inner = (slice(None), *[slice(4, -4)] * 3)
    expected = linear(np.array(record.affine), record.shape, rise)
    assert expected[inner].size or min(record.shape) <= 8
    np.testing.assert_allclose(prepared[inner], expected[inner], atol=0.02)
    exact = linear(np.array(record.affine), record.shape, rise).astype(np.float32)
    back = preprocessor.restore(exact, record, fill=0.0)
    np.testing.assert_allclose(back[inner], linear(affine, sides, rise)[inner], atol=0.02)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), dims=st.sampled_from([2, 3]))
def test_interpolation_equals_scipy(data, dims) -> None:
    old, new = (data.draw(st.tuples(*[st.integers(1, 14)] * dims)) for _ in range(2))
    values = noise((2, *old))
    sigmas = [max(0, (a / b - 1) / 2) for a, b in zip(old, new, strict=True)]
    for channel, got in zip(values, resample_image(values, new), strict=True):
        blurred = ndimage.gaussian_filter(channel.astype(float), sigmas, mode="nearest")
        factors = [b / a for a, b in zip(old, new, strict=True)]
        expected = ndimage.zoom(blurred, factors, order=1, grid_mode=True, mode="nearest")
        np.testing.assert_allclose(got, expected, atol=1e-4)


def test_no_resampling_is_the_array_itself() -> None:
    values = noise((2, 5, 6))
    assert resample_image(values, (5, 6)) is values


def test_a_fine_pattern_fades_instead_of_aliasing() -> None:
    stripes = np.tile([0.0, 1.0, 1.0], 40)[None, :, None].repeat(4, axis=2).astype(np.float32)
    assert np.ptp(resample_image(stripes, (30, 4))[:, 2:-2]) < 0.35
    assert np.ptp(resample_image(stripes, (30, 4), smooth=False)[:, 2:-2]) > 0.45


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 2.0])
def test_label_volume_is_kept(factor: float) -> None:
    old = (60, 60, 60)
    new = tuple(round(side / factor) for side in old)
    for labels, tolerance in ((ball(old, (20, 18, 16)), 0.02), (slanted_tube(old), 0.12)):
        volume = resample_label(labels, new).sum() * np.prod(old) / np.prod(new)
        assert volume / labels.sum() == pytest.approx(1, abs=tolerance)


def test_a_tie_goes_to_the_nearest_voxel_not_to_the_background() -> None:
    labels = np.array([[0, 2, 2, 0, 0, 2, 2, 2]], dtype=np.uint8)
    np.testing.assert_array_equal(resample_label(labels, (1, 4)), [[2, 0, 2, 2]])


def test_labels_never_take_a_value_between_two_classes() -> None:
    labels = np.zeros((20, 20), dtype=np.uint8)
    labels[5:15, 5:15] = 9
    assert set(np.unique(resample_label(labels, (33, 13)))) == {0, 9}


@given(side=st.integers(1, 500), old=st.floats(0.2, 6), new=st.floats(0.2, 6))
def test_target_shape_is_the_closest_extent(side, old, new) -> None:
    (got,) = target_shape((side,), (old,), (new,))
    assert got >= 1
    assert got == 1 or abs(got * new - side * old) <= new / 2 * (1 + 1e-9)


def test_spacing_that_does_not_divide_is_recorded_as_it_is() -> None:
    image = image_of(noise((1, 10, 10, 10)), affine_of((0, 1, 2), (1, 1, 1), (1.0, 1.0, 1.0)))
    prepared, record = Preprocessor(plain(spacing=[1.5, 1.0, 2.0]), 3).image(image)
    assert prepared.shape == (1, 7, 10, 5)
    np.testing.assert_allclose(record.spacing, [10 / 7, 1, 2])
    # Outer edges stay: index -0.5 is the same point on both grids.
    edge = np.array([-0.5, -0.5, -0.5, 1])
    np.testing.assert_allclose(np.array(record.affine) @ edge, image.geometry.affine @ edge)


def test_size_in_2d_with_three_channels() -> None:
    image = image_of(noise((3, 30, 41)))
    preprocessor = Preprocessor(plain(size=[16, 16]), 2)
    prepared, record = preprocessor.image(image)
    assert prepared.shape == (3, 16, 16)
    assert prepared.dtype == np.float32
    assert preprocessor.restore(prepared, record).shape == (3, 30, 41)


def test_one_voxel_axes() -> None:
    preprocessor = Preprocessor(PreprocessConfig(spacing=(2.0, 2.0, 2.0), crop="body"), 3)
    prepared, record = preprocessor.image(image_of(noise((1, 1, 9, 1))))
    assert np.isfinite(prepared).all()
    assert preprocessor.restore(np.ones((1, *record.shape)), record).shape == (1, 1, 9, 1)


def test_zscore_minmax_and_window_by_hand() -> None:
    data = noise((2, 6, 7))
    exact = data.astype(np.float64)
    for how, expected in (
        ("zscore", (exact - exact.mean((1, 2), keepdims=True)) / exact.std((1, 2), keepdims=True)),
        ("minmax", (exact - exact.min((1, 2), keepdims=True)) / np.ptp(exact, axis=(1, 2), keepdims=True)),
        ("window", np.clip((exact - 8) / 4, 0, 1)),
        ("none", exact),
    ):
        config = PreprocessConfig(normalisation=how, window=(8, 12) if how == "window" else None)
        prepared, _ = Preprocessor(config, 2).image(image_of(data))
        np.testing.assert_allclose(prepared, expected, atol=1e-6, err_msg=how)


def test_zscore_is_over_the_cropped_box() -> None:
    data = np.zeros((1, 20, 20), dtype=np.float32)
    data[:, 5:9, 6:12] = noise((1, 4, 6))
    prepared, record = Preprocessor(PreprocessConfig(crop="nonzero", crop_margin=0), 2).image(image_of(data))
    assert record.crop == ((5, 9), (6, 12))
    assert prepared.mean() == pytest.approx(0, abs=1e-6)
    assert prepared.std() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("how", ["zscore", "minmax"])
@pytest.mark.parametrize("value", [0.0, 100.3, -1e-30, 3e38])
@pytest.mark.parametrize("size", [None, (5, 5)])
def test_a_constant_image_becomes_zeros(how, value, size) -> None:
    data = np.full((1, 16, 13), value, dtype=np.float32)
    prepared, _ = Preprocessor(PreprocessConfig(normalisation=how, size=size), 2).image(image_of(data))
    assert not prepared.any()


def test_zscore_of_a_small_signal_on_a_large_offset() -> None:
    data = np.full((1, 64, 64), 40000, dtype=np.float32)
    data[:, ::2] += 1
    prepared, _ = Preprocessor(PreprocessConfig(), 2).image(image_of(data))
    np.testing.assert_allclose(np.abs(prepared), 1, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers_name_the_file(bad: float) -> None:
    data = noise((1, 5, 5))
    data[0, 2, 3] = bad
    with pytest.raises(DataError, match=r"scan_0000\.nii\.gz.*1 voxels.*NaN"):
        Preprocessor(PreprocessConfig(), 2).image(image_of(data))


def test_an_image_with_other_axes_than_the_data_set() -> None:
    with pytest.raises(DataError, match=r"scan_0000\.nii\.gz.*3D"):
        Preprocessor(PreprocessConfig(), 3).image(image_of(noise((1, 5, 5))))


def test_a_singular_affine() -> None:
    with pytest.raises(DataError, match="mend its header"):
        Preprocessor(PreprocessConfig(), 3).image(image_of(noise((1, 4, 4, 4)), np.diag([1.0, 0.0, 1.0, 1.0])))


@pytest.mark.parametrize("change", ["shape", "place", "spacing"])
def test_a_label_on_another_grid(change: str) -> None:
    image = image_of(noise((1, 6, 6, 6)))
    preprocessor = Preprocessor(plain(), 3)
    _, record = preprocessor.image(image)
    affine = np.eye(4)
    shape = (6, 6, 5) if change == "shape" else (6, 6, 6)
    affine[0, 3] += 0.5 * (change == "place")
    affine[1, 1] += 0.2 * (change == "spacing")
    label = Image(np.zeros(shape, dtype=np.uint8), Geometry(shape, affine), Path("mask.nii.gz"))
    with pytest.raises(DataError, match=r"mask\.nii\.gz"):
        preprocessor.label(label, record)


def test_restore_wants_the_records_shape() -> None:
    preprocessor = Preprocessor(plain(), 2)
    _, record = preprocessor.image(image_of(noise((1, 6, 6))))
    with pytest.raises(DataError, match="do not fit"):
        preprocessor.restore(np.zeros((2, 6, 5)), record)


def test_the_record_survives_json() -> None:
    image = image_of(noise((1, 9, 10, 11)), affine_of((2, 0, 1), (-1, 1, -1), (0.7, 0.8, 2.5)))
    _, record = Preprocessor(plain(crop="body", spacing=[1, 1, 2]), 3).image(image)
    assert Record.from_dict(json.loads(json.dumps(record.to_dict()))) == record


@pytest.mark.parametrize(
    "changes",
    [{"spacing": "median"}, {"spacing": [1, 1]}, {"size": [8, 8]}, {"size": [0, 8, 8]}, {"spacing": [1, -1, 1]}],
)
def test_settings_that_do_not_fit(changes) -> None:
    with pytest.raises(ConfigError):
        Preprocessor(plain(**changes), 3)


def test_bounding_box_against_the_indices() -> None:
    mask = np.random.default_rng(0).random((5, 6, 7)) < 0.02
    places = np.argwhere(mask)
    assert bounding_box(mask) == tuple(zip(places.min(0), places.max(0) + 1, strict=True))
    assert bounding_box(np.zeros((3, 3), dtype=bool)) is None


@pytest.mark.parametrize("how", ["nonzero", "body"])
def test_an_empty_image_is_not_cropped(how: str) -> None:
    assert find_box(np.zeros((2, 5, 6), dtype=np.float32), how, 3) == ((0, 5), (0, 6))


def test_nonzero_looks_at_every_channel_and_keeps_the_margin_inside() -> None:
    data = np.zeros((2, 10, 10), dtype=np.float32)
    data[0, 1, 4], data[1, 6, 5] = -1, 2
    assert find_box(data, "nonzero", 2) == ((0, 9), (2, 8))


@pytest.mark.parametrize("scale", [1, 5])
def test_body_is_found_in_noisy_air_and_leaves_small_bright_things_out(scale: int) -> None:
    shape = (60 * scale, 50 * scale)
    data = np.random.default_rng(0).normal(-1000, 20, size=(1, *shape)).astype(np.float32)
    data[0, 20 * scale : 40 * scale, 10 * scale : 35 * scale] += 1050
    data[0, 2 * scale : 4 * scale, 45 * scale : 47 * scale] = 3000
    (top, bottom), (left, right) = find_box(data, "body", 0)
    # Never a voxel of the body lost, and at most a coarse voxel and the smoothing too much.
    assert 20 * scale - 3 * scale <= top <= 20 * scale
    assert 40 * scale <= bottom <= 43 * scale
    assert 10 * scale - 3 * scale <= left <= 10 * scale
    assert 35 * scale <= right <= 38 * scale


def test_otsu_against_every_split() -> None:
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.normal(0, 1, 700), rng.normal(9, 2, 300)])
    threshold = otsu_threshold(values)
    assert threshold is not None

    def within(cut: float) -> float:
        low, high = values[values <= cut], values[values > cut]
        return len(low) * low.var() + len(high) * high.var()

    best = min(within(cut) for cut in np.sort(values)[:-1])
    assert within(threshold) <= best * 1.02
    assert otsu_threshold(np.ones(50)) is None
