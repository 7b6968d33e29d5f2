from __future__ import annotations

import numpy as np
import pytest

from fewmask.data.coded import Coded, encode


def normalised(highest, shape=(1, 40, 30, 20), seed=0):
    """What z-scoring makes of whole numbers from 0 to ``highest``, each of which occurs."""
    values = np.random.default_rng(seed).integers(0, highest + 1, shape)
    values.ravel()[: highest + 1] = np.arange(highest + 1)
    return ((values - values.mean()) / values.std()).astype(np.float32)


@pytest.mark.parametrize(("highest", "kind"), [(0, np.uint8), (255, np.uint8), (256, np.uint16), (1400, np.uint16)])
def test_every_bit_comes_back(highest, kind):
    values = normalised(highest) if highest else np.zeros((1, 4, 5, 6), np.float32)
    codes, table = encode(values)
    assert (codes.dtype, codes.shape, len(table)) == (kind, values.shape, highest + 1)
    np.testing.assert_array_equal(Coded(codes, table)[...].view(np.uint32), values.view(np.uint32))


def test_zeros_of_both_signs_stay_apart():
    values = np.zeros((1, 8, 8), np.float32)
    values[0, ::2] = -0.0
    codes, table = encode(values)
    np.testing.assert_array_equal(np.signbit(Coded(codes, table)[...]), np.signbit(values))


def test_what_has_too_many_values_is_left_alone():
    assert encode(np.random.default_rng(0).normal(size=(1, 40, 30, 20)).astype(np.float32)) is None
    assert encode(normalised(1600)) is None, "24000 voxels do not pay for a table of 1601 values"
    late = np.zeros((1, 300, 1000), np.float32)  # few values in front, where a look at a part sees them
    late[0, 290:] = np.arange(10_000).reshape(10, 1000)
    assert encode(late) is not None
    late[0, 270:] = np.arange(30_000).reshape(30, 1000)
    assert encode(late) is None


def test_it_reads_like_the_array():
    values = normalised(99)
    volume = Coded(*encode(values))
    assert (volume.shape, volume.ndim, volume.dtype) == (values.shape, 4, np.float32)
    part = (slice(None), slice(3, 17), slice(0, 9), slice(5, 6))
    np.testing.assert_array_equal(volume[part], values[part])
    assert volume[part].flags["C_CONTIGUOUS"] and volume[part].dtype == np.float32
    np.testing.assert_array_equal(np.array(volume), values)
    np.testing.assert_array_equal(np.asarray(volume, dtype=np.float64), values.astype(np.float64))


@pytest.mark.parametrize("table", [np.zeros(0, np.float32), np.zeros(3), np.zeros((2, 2), np.float32)])
def test_what_is_no_table_is_refused(table):
    with pytest.raises(ValueError, match="decodes nothing"):
        Coded(np.zeros((1, 4, 4), np.uint8), table)
