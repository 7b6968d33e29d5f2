"""Synthetic scans with known labels: what the demo trains on and what tests use.

A scan shows a bright, kidney-like organ, a dark curved vessel that runs past it, and round bright bodies that are neither, in a textured
background under a slow change of brightness; it is blurred and noisy. Position, size, bend, contrast, blur and noise differ from scan
to scan, so that a few labelled ones do not show all there is to see. Everything is a function of the seed and the scan's number.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewmask.data.dataset import Dataset
from fewmask.data.image import Geometry, write_image
from fewmask.files import write_json

Array = NDArray[Any]
CLASSES = ("background", "organ", "vessel")


@dataclass(frozen=True)
class Phantom:
    """How hard the scans are.

    Attributes:
        shape: voxels per axis; two or three.
        noise: standard deviation of the noise, where the organ is about 1 brighter than the background.
        blur: largest standard deviation of the blur, in voxels.
        variation: how much scans differ in contrast, position and form; 0 to 1.
        bodies: unlabelled bright bodies per scan.
    """

    shape: tuple[int, ...] = (40, 40, 40)
    noise: float = 2.0
    blur: float = 1.0
    variation: float = 0.5
    bodies: int = 1

    def scan(self, seed: int, number: int) -> tuple[Array, Array]:
        """One scan.

        Returns:
            Image ``(*shape)`` float32 and label ``(*shape)`` uint8.
        """
        from scipy.ndimage import gaussian_filter

        rng = np.random.default_rng([seed, number])
        grid = self._bent_grid(rng)
        organ, vessel = self._organ(grid, rng), self._vessel(grid, rng)
        label = np.where(organ, 1, np.where(vessel, 2, 0)).astype(np.uint8)
        vary = self.variation
        brightness = {1: 1.0 + vary * rng.uniform(-0.4, 0.4), 2: -1.2 + vary * rng.uniform(-0.4, 0.4)}
        image = gaussian_filter(rng.normal(size=self.shape), 3) * 6 * 0.35
        for value, level in brightness.items():
            image[label == value] += level
        for _ in range(self.bodies):
            image[self._body(grid, rng) & (label == 0)] += rng.uniform(0.6, 1.6)
        image += 0.5 * vary * np.tensordot(rng.normal(size=len(self.shape)), grid, 1)
        image = gaussian_filter(image, self.blur * rng.uniform(0.5, 1.0))
        image += rng.normal(size=self.shape) * self.noise * (1 + vary * rng.uniform(-0.5, 0.5))
        return (image * 100 * (1 + vary * rng.uniform(-0.3, 0.3))).astype(np.float32), label

    def _bent_grid(self, rng: np.random.Generator) -> Array:
        """Coordinates in [-1, 1] per axis ``(dims, *shape)``, shifted, scaled and smoothly deformed."""
        from scipy.ndimage import zoom

        axes = [np.linspace(-1, 1, side) for side in self.shape]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"))
        shift = rng.uniform(-0.2, 0.2, len(self.shape)) * self.variation
        scale = 1 + rng.uniform(-0.2, 0.2, len(self.shape)) * self.variation
        coarse = rng.normal(size=(len(self.shape), *[4] * len(self.shape))) * 0.12 * self.variation
        factors = [side / 4 for side in self.shape]
        bend = np.stack([zoom(field, factors, order=3, mode="nearest", grid_mode=True) for field in coarse])
        scaled: Array = (grid + shift.reshape(-1, *[1] * len(self.shape))) * scale.reshape(
            -1, *[1] * len(self.shape)
        ) + bend
        return scaled

    def _organ(self, grid: Array, rng: np.random.Generator) -> Array:
        """An ellipsoid with a hollow at one side."""
        radii = np.array([0.5, 0.36, 0.44])[: len(grid)]
        body = sum(((axis + 0.25) / radius) ** 2 for axis, radius in zip(grid, radii, strict=True)) < 1
        hollow = sum((axis + offset) ** 2 for axis, offset in zip(grid, (-0.12, 0.25, 0.25), strict=False)) < 0.22**2
        return np.asarray(body & ~hollow)

    def _vessel(self, grid: Array, rng: np.random.Generator) -> Array:
        """A tube that bends through the upper half of the volume along its last axis."""
        along = grid[-1]
        phase = rng.uniform(-0.5, 0.5) * self.variation
        first = 0.35 + 0.15 * np.sin(2.5 * along + phase)
        second = 0.3 + 0.15 * np.cos(2.5 * along + phase)
        if len(grid) == 2:
            return np.asarray(np.abs(grid[0] - first) < 0.1)
        return np.asarray((grid[0] - first) ** 2 + (grid[1] - second) ** 2 < 0.16**2)

    def _body(self, grid: Array, rng: np.random.Generator) -> Array:
        centre = rng.uniform(-0.9, 0.9, len(grid))
        distance = sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True))
        return np.asarray(distance < rng.uniform(0.08, 0.18) ** 2)


def write_phantom(
    root: Path, phantom: Phantom, *, train: int, unlabelled: int, test: int, seed: int = 0, spacing: float = 1.5
) -> Dataset:
    """Write phantom scans as a dataset folder.

    Args:
        root: the folder, for example ``Dataset999_Phantom``.
        phantom: how the scans look.
        train: labelled training scans.
        unlabelled: scans without labels, in ``imagesUn/``.
        test: labelled test scans.
        seed: of all randomness.
        spacing: millimetres between voxels.
    """
    ending = ".nii.gz" if len(phantom.shape) == 3 else ".tif"
    affine = np.diag([spacing] * 3 + [1.0]) if len(phantom.shape) == 3 else np.eye(4)
    geometry = Geometry(phantom.shape, affine)
    number = 0
    for group, count in {"Tr": train, "Un": unlabelled, "Ts": test}.items():
        for _ in range(count):
            image, label = phantom.scan(seed, number)
            write_image(root / f"images{group}" / f"phantom_{number:03d}_0000{ending}", image, geometry)
            if group != "Un":
                write_image(root / f"labels{group}" / f"phantom_{number:03d}{ending}", label, geometry)
            number += 1
    description = {
        "name": "Phantom",
        "channel_names": {"0": "synthetic"},
        "labels": {name: value for value, name in enumerate(CLASSES)},
        "numTraining": train,
        "file_ending": ending,
    }
    write_json(root / "dataset.json", description)
    return Dataset.open(root)
