"""Signed distance maps: how far each voxel lies from the border of a class, negative inside."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def signed_distance(mask: Array) -> Array:
    """The normalised signed distance map of a mask, in voxels' units before it is normalised.

        S = d_out / max d_out - d_in / max d_in,   S = 0 on the inner border

    ``d_out`` is the distance of a background voxel to the nearest one of the mask, ``d_in`` that of a voxel of the mask to the nearest one
    of the background; the inner border are the mask's voxels with a background voxel at a face. A mask without voxels is far everywhere,
    1; one that fills its patch is -1 everywhere, since its border is not in sight.

    Args:
        mask: ``(*S)``, bool.

    Returns:
        float32 ``(*S)`` in [-1, 1].
    """
    from scipy import ndimage

    if not mask.any() or mask.all():
        return np.full(mask.shape, -1.0 if mask.any() else 1.0, np.float32)
    outside = ndimage.distance_transform_edt(~mask)
    inside = ndimage.distance_transform_edt(mask)
    border = mask & ~ndimage.binary_erosion(mask, border_value=1)
    distance: Array = outside / outside.max() - inside / inside.max()
    distance[border] = 0.0
    return distance.astype(np.float32)


def signed_distances(label: Array, num_classes: int) -> Array:
    """The map of each foreground class of a label ``(*S)``: ``(num_classes - 1, *S)`` float32."""
    return np.stack([signed_distance(label == value) for value in range(1, num_classes)])
