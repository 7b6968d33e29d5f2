from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fewmask.data.record import Record
from fewmask.data.resample import resample_image
from fewmask.data.restore import resampled_slabs, scan_view


@settings(max_examples=80, deadline=None)
@given(data=st.data(), dims=st.sampled_from([2, 3]))
def test_slabs_of_any_size_give_the_interpolated_volume(data, dims) -> None:
    shape, target = (data.draw(st.tuples(*[st.integers(1, 12)] * dims)) for _ in range(2))
    values = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, shape[0] - 1)))) | {shape[0]})
    slabs = [(first, values[:, first:stop]) for first, stop in zip([0, *cuts], cuts, strict=False) if first < stop]
    pieces = list(resampled_slabs(iter(slabs), shape, target))
    assert [first for first, _ in pieces] == list(np.cumsum([0, *(slab.shape[1] for _, slab in pieces)])[:-1])
    got = np.concatenate([slab for _, slab in pieces], axis=1)
    np.testing.assert_allclose(got, resample_image(values, target, smooth=False), atol=5e-6)
    ((_, at_once),) = resampled_slabs([(0, values)], shape, target)
    np.testing.assert_array_equal(got, at_once)


def test_a_slab_may_be_overwritten_once_the_next_is_asked_for() -> None:
    """As the sums of the sliding window are."""
    values = np.random.default_rng(0).normal(size=(1, 7, 5)).astype(np.float32)

    def reused():
        buffer = np.empty((1, 1, 5), np.float32)
        for plane in range(7):
            buffer[:] = values[:, plane : plane + 1]
            yield plane, buffer

    got = np.concatenate([slab.copy() for _, slab in resampled_slabs(reused(), (7, 5), (17, 5))], axis=1)
    np.testing.assert_allclose(got, resample_image(values, (17, 5), smooth=False), atol=5e-6)


def test_what_is_written_into_the_view_lies_where_the_scan_has_it() -> None:
    """The scan's axis 0 is the third, mirrored; its axis 1 the first; its axis 2 the second, mirrored."""
    record = Record(
        original_shape=(4, 5, 6),
        original_affine=tuple(map(tuple, np.eye(4).tolist())),
        axes=((2, -1), (0, 1), (1, -1)),
        crop=((1, 5), (0, 6), (2, 4)),
        shape=(4, 6, 2),
        affine=tuple(map(tuple, np.eye(4).tolist())),
        spacing=(1.0, 1.0, 1.0),
    )
    scan = np.zeros((1, 4, 5, 6))
    view = scan_view(scan, record)
    assert view.shape == (1, 4, 6, 2)
    view[0, 0, 1, 0] = 7
    # oriented index (0 + 1, 1, 0 + 2); scan axis 0: 4 - 1 - 2, axis 1: 1, axis 2: 6 - 1 - 1
    assert np.argwhere(scan == 7).tolist() == [[0, 1, 1, 4]]
