"""What may happen to a prediction after the network: fewer components, and a map of how unsure it was."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def largest_component(labels: npt.NDArray[np.integer], classes: Iterable[int]) -> npt.NDArray[np.integer]:
    """The label map with only the largest connected component of each class; the rest becomes background.

    Voxels that touch at a corner are connected. Of equally large components the first in index order stays.

    Args:
        labels: label map ``(*S)`` of integers.
        classes: the foreground classes to treat; one that has no voxels stays empty.

    Returns:
        A new array of the same shape and type.
    """
    from scipy import ndimage

    kept = labels.copy()
    touching = np.ones((3,) * labels.ndim)
    for value in classes:
        components, count = ndimage.label(labels == value, structure=touching)
        if count > 1:
            sizes = np.bincount(components.ravel())
            largest = 1 + int(np.argmax(sizes[1:]))
            kept[(components > 0) & (components != largest)] = 0
    return kept


def entropy_map(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """How unsure a prediction is, per voxel: H = -sum_k p_k ln(p_k + 1e-6), over ln K.

    Args:
        probabilities: ``(K, *S)``, summing to 1 over K.

    Returns:
        ``(*S)`` float32 in [0, 1]: 0 where one class is certain, 1 where all K are equally likely; all 0 where K is 1.
    """
    entropy = np.zeros(probabilities.shape[1:], dtype=np.float64)
    for channel in probabilities:
        values = channel.astype(np.float64)
        entropy -= values * np.log(values + 1e-6)
    if len(probabilities) > 1:
        entropy /= np.log(len(probabilities))
    return np.clip(entropy, 0.0, 1.0).astype(np.float32)
