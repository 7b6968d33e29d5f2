from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import binary_erosion

from fewmask.errors import ConfigError, DataError
from fewmask.metrics import DEFINITIONS, Score, metric_names, score, score_labels, score_pair

DISTANCES = ("hd95", "hd95_directed", "asd", "assd")


def oracle(prediction, reference, spacing, tolerance):
    """Every metric from its definition, by all pairwise distances in float64."""
    points = [np.argwhere(m & ~binary_erosion(m)) * np.array(spacing) for m in (prediction, reference)]
    between = np.sqrt(((points[0][:, None] - points[1][None]) ** 2).sum(-1))
    forth, back = between.min(1), between.min(0)
    pooled = np.concatenate([forth, back])
    both, either = (prediction & reference).sum(), (prediction | reference).sum()
    return {
        "dice": 2 * both / (prediction.sum() + reference.sum()),
        "jaccard": both / either,
        "hd95": np.percentile(pooled, 95),
        "hd95_directed": max(np.percentile(forth, 95), np.percentile(back, 95)),
        "asd": forth.mean(),
        "assd": pooled.mean(),
        f"nsd@{tolerance:g}": (np.sum(forth <= tolerance) + np.sum(back <= tolerance)) / len(pooled),
    }


def box(shape, *bounds):
    """A mask that is 1 between the bounds of each axis."""
    mask = np.zeros(shape, bool)
    mask[tuple(slice(low, high) for low, high in bounds)] = True
    return mask


CUBE = box((24,) * 3, (5, 15), (5, 15), (5, 15))
BAR = box((24,) * 3, (8, 12), (8, 12), (15, 23))


@pytest.mark.parametrize(
    ("prediction", "wanted"),
    [
        (np.roll(CUBE, 2, 0), {"dice": 0.8, "jaccard": 0.666667, "hd95": 2, "asd": 0.688525}),
        (
            box((24,) * 3, (5, 15), (5, 15), (5, 10)),
            {"dice": 0.666667, "jaccard": 0.5, "hd95": 5, "asd": 120 / 308, "assd": 980 / 796},
        ),
        (CUBE | BAR, {"hd95": 4.0, "hd95_directed": 6.0, "asd": 0.811189}),
    ],
    ids=["shifted", "half", "with a bar"],
)
def test_cubes_by_hand(prediction, wanted):
    """A cube of ten voxels; distances in voxels. The bar shows which 95HD is meant: the pooled one.

    Of the half cube the surfaces have 308 and 488 voxels, with distances of 120 and 860 in sum.
    """
    scores = score(prediction, CUBE, (1.0, 1.0, 1.0))
    assert {name: scores[name] for name in wanted} == pytest.approx(wanted, abs=1e-6)
    if wanted["hd95"] == 5:
        assert score(CUBE, prediction, (1.0, 1.0, 1.0))["asd"] == pytest.approx(860 / 488, abs=1e-6)


def ball(grid, centre, radius):
    return sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)) <= radius**2


def random_pairs():
    rng = np.random.default_rng(1)
    for shape, spacing in (((26, 22), (1.3, 0.5)), ((12, 14, 10), (0.8, 0.8, 3.0))):
        grid = np.indices(shape)
        for _ in range(3):
            yield [ball(grid, rng.random(len(shape)) * shape, rng.integers(2, 7)) for _ in range(2)], spacing
        for share in (0.03, 0.3, 0.8):
            yield [rng.random(shape) < share, rng.random(shape) < share], spacing
        yield [np.ones(shape, bool), rng.random(shape) < 0.05], spacing
        yield [np.ones(shape, bool), np.ones(shape, bool)], spacing


@pytest.mark.parametrize("pair", list(random_pairs()))
def test_against_the_definitions(pair):
    (prediction, reference), spacing = pair
    expected = oracle(prediction, reference, spacing, 2.0)
    got = score(prediction, reference, spacing, nsd_tolerance=2.0)
    assert list(got) == list(expected) == list(metric_names(2.0))
    assert got == pytest.approx(expected, abs=1e-12)


def test_two_shifted_squares_by_hand():
    first, second = np.zeros((8, 9), int), np.zeros((8, 9), int)
    first[2:5, 2:5] = 1  # 3 x 3; its surface is all but the centre
    second[2:5, 3:6] = 1
    got = score(first, second, nsd_tolerance=0)
    assert got["dice"] == pytest.approx(12 / 18)
    assert got["jaccard"] == pytest.approx(6 / 12)
    # Of the 8 surface voxels, the left column of 3 and the one on the other's centre are 1 away, the rest 0.
    assert got["asd"] == got["assd"] == pytest.approx(4 / 8)
    assert got["hd95"] == got["hd95_directed"] == 1.0
    assert got["nsd@0"] == pytest.approx(0.5)


def test_single_voxels_with_unequal_spacing():
    first, second = np.zeros((2, 5, 5, 5), bool)
    first[1, 1, 1] = second[3, 2, 1] = True
    got = score(first, second, spacing=(1.5, 4.0, 7.0), nsd_tolerance=5)
    assert got == {"dice": 0.0, "jaccard": 0.0, **dict.fromkeys(DISTANCES, 5.0), "nsd@5": 1.0}


def test_directions_are_named():
    """The prediction lies in the reference's surface, and the reference also has one voxel far away."""
    prediction, reference = np.zeros((2, 1, 30), bool)
    prediction[0, 0] = reference[0, 0] = reference[0, 20] = True
    got = score(prediction, reference)
    assert got["asd"] == 0.0
    assert got["assd"] == pytest.approx(20 / 3)
    assert got["hd95"] == pytest.approx(18.0)  # 0, 0, 20 at 0.95: 90 % of the way from the second to the third
    assert got["hd95_directed"] == pytest.approx(19.0)  # 0, 20
    assert score(reference, prediction)["asd"] == 10.0


@pytest.mark.parametrize(("filled", "status"), [("prediction", "spurious"), ("reference", "missed")])
def test_one_empty_mask(filled, status):
    masks = {"prediction": np.zeros((3, 4), bool), "reference": np.zeros((3, 4), bool)}
    masks[filled][1, 1] = True
    got = score_pair(**masks, spacing=(2.0, 2.0), nsd_tolerance=1)
    assert got.status == status
    assert got.metrics == {"dice": 0.0, "jaccard": 0.0, **dict.fromkeys(DISTANCES, 10.0), "nsd@1": 0.0}


def test_both_empty():
    empty = np.zeros((3, 4, 5), bool)
    assert score_pair(empty, empty) == Score("absent", dict.fromkeys(metric_names()))
    assert score_pair(np.zeros((0, 4)).astype(bool), np.zeros((0, 4)).astype(bool)).status == "absent"


def test_what_is_not_zero_is_the_mask():
    mask = np.zeros((6, 6), np.int16)
    mask[1:4, 2:5] = 300
    assert score(mask, mask != 0) == score(mask != 0, mask != 0)


@pytest.mark.parametrize(
    ("prediction", "reference", "spacing", "words"),
    [
        (np.zeros((3, 4), bool), np.zeros((4, 3), bool), None, "one grid"),
        (np.zeros(5, bool), np.zeros(5, bool), None, "2D or 3D"),
        (np.zeros((1, 1, 2, 2), int), np.zeros((1, 1, 2, 2), int), None, "2D or 3D"),
        (np.zeros((3, 4)), np.zeros((3, 4), bool), None, "prediction holds float64"),
        (np.zeros((3, 4), bool), np.zeros((3, 4), bool), (1.0, 1.0, 1.0), "one positive length per axis"),
        (np.zeros((3, 4), bool), np.zeros((3, 4), bool), (1.0, 0.0), "one positive length per axis"),
        (np.zeros((3, 4), bool), np.zeros((3, 4), bool), (1.0, math.nan), "one positive length per axis"),
    ],
)
def test_wrong_input_is_refused(prediction, reference, spacing, words):
    with pytest.raises(DataError, match=words):
        score(prediction, reference, spacing)


@pytest.mark.parametrize("tolerance", [-1.0, math.nan])
def test_wrong_tolerance_is_refused(tolerance):
    with pytest.raises(ConfigError, match="tolerance"):
        score(np.eye(3, dtype=bool), np.eye(3, dtype=bool), nsd_tolerance=tolerance)


def test_every_metric_is_defined():
    assert set(metric_names()) | {"nsd@t"} <= set(DEFINITIONS)


masks = st.one_of(hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=8)).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(bool, shape, elements=st.booleans()).filter(np.any) for _ in range(2)])
)


@settings(max_examples=60, deadline=None)
@given(masks)
def test_symmetry_and_relations(pair):
    first, second = pair
    there, back = score(first, second), score(second, first)
    for name in ("dice", "jaccard", "hd95", "hd95_directed", "assd"):
        assert there[name] == pytest.approx(back[name], abs=1e-12)
    assert there["jaccard"] == pytest.approx(there["dice"] / (2 - there["dice"]))
    assert all(math.isfinite(value) and value >= 0 for value in there.values())


spacings = st.tuples(*[st.floats(0.2, 6)] * 3)


@settings(max_examples=80)
@given(masks, spacings, st.floats(0, 5))
def test_every_metric_equals_its_definition(pair, spacing, tolerance):
    lengths = spacing[: pair[0].ndim]
    # A surface that lies as far away as the tolerance itself is in or out by the rounding of its distance.
    (*expected, least), (*_, most) = (oracle(*pair, lengths, t).values() for t in (tolerance - 1e-9, tolerance + 1e-9))
    got = score(*pair, lengths, nsd_tolerance=tolerance)
    *others, nsd = got.values()
    assert others == pytest.approx(expected, abs=1e-9) and least - 1e-9 <= nsd <= most + 1e-9
    assert all(0 <= got[name] <= 1 for name in got if name not in DISTANCES)
    assert got["asd"] <= np.linalg.norm(np.multiply(pair[0].shape, lengths))
    assert got["hd95"] <= got["hd95_directed"] + 1e-9 or len(pair[0].nonzero()[0]) > 1


@settings(max_examples=30)
@given(masks, st.data())
def test_moving_both_masks_changes_nothing(pair, data):
    shift = [data.draw(st.integers(0, 5)) for _ in pair[0].shape]
    moved = [np.pad(mask, [(before, 5 - before) for before in shift]) for mask in pair]
    assert score(*moved, nsd_tolerance=1) == score(*(np.pad(mask, (0, 5)) for mask in pair), nsd_tolerance=1)


@settings(max_examples=30)
@given(masks, st.floats(0, 4), st.floats(0, 4))
def test_a_larger_tolerance_never_lowers_the_surface_dice(pair, first, second):
    values = [list(score(*pair, nsd_tolerance=t).values())[-1] for t in sorted((first, second, 1000.0))]
    assert values == sorted(values) and values[-1] == 1


@settings(max_examples=40)
@given(masks, spacings, st.sampled_from(["absent", "missed", "spurious"]))
def test_empty_masks_have_their_rules(pair, spacing, status):
    mask, empty, lengths = pair[0], np.zeros_like(pair[0]), spacing[: pair[0].ndim]
    masks_of = {"absent": (empty, empty), "missed": (empty, mask), "spurious": (mask, empty)}
    got = score_pair(*masks_of[status], lengths, nsd_tolerance=2)
    diagonal = math.dist((0,) * mask.ndim, np.multiply(mask.shape, lengths))
    expected = {name: diagonal if name in DISTANCES else 0.0 for name in metric_names(2)}
    assert got.status == status
    if status == "absent":
        assert set(got.metrics.values()) == {None}
    else:
        assert got.metrics == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(masks)
def test_identity(pair):
    mask = pair[0]
    expected = {"dice": 1.0, "jaccard": 1.0, **dict.fromkeys(DISTANCES, 0.0), "nsd@0": 1.0}
    assert score(mask, mask, nsd_tolerance=0) == expected


@settings(max_examples=30, deadline=None)
@given(masks, st.floats(0.05, 20))
def test_distances_scale_with_spacing(pair, factor):
    plain = score(*pair)
    scaled = score(*pair, spacing=(factor,) * pair[0].ndim)
    for name in DISTANCES:
        assert scaled[name] == pytest.approx(factor * plain[name], abs=1e-9)
    assert scaled["dice"] == plain["dice"]


@settings(max_examples=30, deadline=None)
@given(masks)
def test_a_wider_image_changes_nothing(pair):
    padded = [np.pad(mask, 2) for mask in pair]
    assert score(*padded) == score(*pair)


@pytest.mark.parametrize("shape", [(30, 25), (12, 13, 9)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_labels_equal_one_mask_at_a_time(shape, dtype):
    rng = np.random.default_rng(2)
    # Blocks of 3 voxels, cut to the shape.
    blocks = rng.integers(0, 5, (2, *(-(-n // 3) for n in shape))).astype(dtype)
    cut = tuple(slice(n) for n in shape)
    prediction, reference = (np.kron(block, np.ones([3] * len(shape), dtype))[cut] for block in blocks)
    prediction[prediction == 2] = 0
    reference[reference == 3] = 0
    spacing = (0.5, 1.5, 2.5)[: len(shape)]
    got = score_labels(prediction, reference, 7, spacing, nsd_tolerance=1)
    assert [got[value].status for value in range(1, 7)] == ["found", "missed", "spurious", "found", "absent", "absent"]
    for value in range(1, 7):
        assert got[value] == score_pair(prediction == value, reference == value, spacing, nsd_tolerance=1)


def test_labels_accept_bool_and_no_classes():
    mask = np.eye(4, dtype=bool)
    assert score_labels(mask, mask, 2)[1].metrics["dice"] == 1.0
    assert score_labels(mask, mask, 1) == {}
