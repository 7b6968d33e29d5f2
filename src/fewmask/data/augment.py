"""Random changes of a patch. All take the random generator, so that a sample is a function of its seed.

Images are ``(C, *S)``, labels ``(*S)``; the axial plane is the first two spatial axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewmask.config import AugmentConfig

Array = NDArray[Any]


def augment(
    image: Array, label: Array | None, config: AugmentConfig, rng: np.random.Generator
) -> tuple[Array, Array | None]:
    """A random variant of a patch; image and label move together, intensities change in the image alone.

    What is only turned and flipped comes back as a view.
    """
    if config.rotate_degrees:
        image, label = rotate(image, label, rng.uniform(-config.rotate_degrees, config.rotate_degrees))
    if config.rotate_flip:
        image, label = rotate_flip(image, label, rng, always_flip=config.always_flip)
    if config.intensity and rng.random() < config.intensity:
        image = change_intensity(image, rng)
    return image, label


def rotate_flip(
    image: Array, label: Array | None, rng: np.random.Generator, *, always_flip: bool = False
) -> tuple[Array, Array | None]:
    """A quarter turn and a flip in the axial plane, uniform over the symmetries of the square.

    Where the plane's sides differ only half turns keep the shape, and only they are used. The field's released code always flips
    (``always_flip``), which leaves mirror images alone: no training patch then has the handedness of a scan.
    """
    square = image.shape[1] == image.shape[2]
    turns = int(rng.integers(4)) if square else 2 * int(rng.integers(2))
    axis, flip = int(rng.integers(2)), always_flip or bool(rng.integers(2))

    def move(array: Array, first: int) -> Array:
        array = np.rot90(array, turns, axes=(first, first + 1))
        return np.flip(array, first + axis) if flip else array

    return move(image, 1), None if label is None else move(label, 0)


def rotate(image: Array, label: Array | None, degrees: float) -> tuple[Array, Array | None]:
    """In-plane rotation about the patch's centre, linear for the image, nearest for the label; zeros come in at the edges."""
    from scipy.ndimage import rotate as turn

    image = turn(image, degrees, axes=(1, 2), reshape=False, order=1, mode="constant")
    return image, None if label is None else turn(label, degrees, axes=(0, 1), reshape=False, order=0, mode="constant")


def change_intensity(image: Array, rng: np.random.Generator, strength: float = 1.0) -> Array:
    """Random brightness, contrast and gamma; the ranges suit images of about unit variance.

    Args:
        image: ``(C, *S)``, float32.
        rng: the sample's generator.
        strength: 1 for ordinary augmentation; 2 gives the strong views of weak-to-strong methods.
    """
    shift = rng.uniform(-0.2, 0.2) * strength
    gain = 2 ** (rng.uniform(-0.4, 0.4) * strength)
    gamma = 2 ** (rng.uniform(-0.4, 0.4) * strength)
    low, high = float(image.min()), float(image.max())
    if high > low:
        image = ((image - low) / (high - low)) ** gamma * (high - low) + low
    mean = image.mean()
    return np.asarray((image - mean) * gain + mean + shift, dtype=np.float32)


def strong_view(image: Array, rng: np.random.Generator) -> Array:
    """The strong view of an unlabelled patch: a large intensity change and noise; its geometry stays."""
    changed = change_intensity(image, rng, strength=2.0)
    return np.asarray(changed + rng.normal(0, 0.1, image.shape), dtype=np.float32)
