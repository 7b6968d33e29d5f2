"""A scan to predict: its files, its name, and what its label map will be called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fewmask.data.geometry import Geometry
from fewmask.data.image import Image, read_channels, read_geometry, suffix_of
from fewmask.errors import DataError
from fewmask.words import count

if TYPE_CHECKING:
    from fewmask.config import GeometryChoice

JPEG = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Scan:
    """A scan to predict.

    Attributes:
        name: the case's name, without channel number and ending.
        files: one file per channel, or one that holds all.
    """

    name: str
    files: tuple[Path, ...]

    @property
    def output_name(self) -> str:
        """File name of the label map: the input's, in the input's format; PNG where the input is JPEG, which would blur labels."""
        suffix = suffix_of(self.files[0])
        return self.name + (".png" if suffix in JPEG else suffix)

    def check(self, spatial_dims: int, by: GeometryChoice = "header") -> None:
        """Look at the headers alone: what cannot be predicted is known before hours are spent on the scans before it.

        Raises:
            DataError: a header cannot be read, or says another number of dimensions.
        """
        for path in self.files:
            geometry = read_geometry(path, dims=spatial_dims, by=by)
            if len(geometry.shape) != spatial_dims:
                raise DataError(
                    f"{path}: is {len(geometry.shape)}D ({geometry.describe()}), but the model was trained on "
                    f"{spatial_dims}D scans; remove or convert it"
                )

    def read(self, channels: Sequence[str], *, dims: int | None = None, by: GeometryChoice = "header") -> Image:
        """Image ``(C, *S)`` with the channels that the model was trained on.

        Args:
            channels: their names.
            dims: of the model; see `fewmask.data.image.read_image`.
            by: likewise.

        Raises:
            DataError: unreadable, channels on differing grids, or not as many as the model needs.
        """
        image = read_channels(self.files, dims=dims, by=by)
        if len(image.data) != len(channels):
            have = count(len(image.data), "channel")
            names = ", ".join(channels)
            raise DataError(
                f"{image.path}: has {have}, but the model was trained on {len(channels)} ({names}); give it those"
            )
        return image


def image_of_array(array: np.ndarray, spacing: Sequence[float]) -> Image:
    """An array as an image.

    Args:
        array: ``(*S)``, or ``(C, *S)`` where there are several channels.
        spacing: millimetres per axis of ``S``.

    Raises:
        DataError: the array has another number of dimensions.
    """
    data, dims = np.asarray(array, dtype=np.float32), len(spacing)
    data = data[None] if data.ndim == dims else data
    if data.ndim != dims + 1:
        raise DataError(f"an array of shape {np.shape(array)} is no {dims}D image; give (*S) or (C, *S)")
    return Image(data, Geometry.spaced(data.shape[1:], spacing), Path("array"))
