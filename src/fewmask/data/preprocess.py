"""From a scan as it lies on disk to the array that networks see, and exactly back.

The steps: orientation, crop, resampling, normalisation. None of them looks at a label. Each is written into a
`Record`, so that a prediction returns to the scan's own grid.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fewmask.config import PreprocessConfig
from fewmask.data.crop import find_box, slices
from fewmask.data.geometry import Geometry
from fewmask.data.image import Image, read_geometry
from fewmask.data.orientation import axes_of, oriented_affine, reorient
from fewmask.data.record import Record, affine_tuple
from fewmask.data.resample import Shape, resample_image, resample_label, resampled_affine, target_shape
from fewmask.data.restore import resampled_slabs, scan_view
from fewmask.errors import ConfigError, DataError

if TYPE_CHECKING:
    from fewmask.data.dataset import Dataset

__all__ = ["Preprocessor", "Record", "resolve_spacing"]


def resolve_spacing(dataset: Dataset, config: PreprocessConfig) -> PreprocessConfig:
    """``spacing: median`` turned into numbers; any other config comes back as it is.

    The median is taken per axis, after orientation, over all training scans with and without labels. Only headers are
    read, and no test scan.

    Raises:
        ConfigError: the data set has no training scan.
        DataError: a header cannot be read, or some scans are 2D and others 3D.
    """
    if config.spacing != "median":
        return config
    spacings = []
    for case_id in (*dataset.ids("train"), *dataset.ids("unlabelled")):
        path = dataset.cases[case_id].images[0]
        geometry = read_geometry(path)
        axes = axes_of(geometry, config.orientation, path)
        by_place = sorted(zip(axes, geometry.spacing, strict=True), key=lambda item: item[0][0])
        spacings.append([length for _, length in by_place])
        if len(spacings[-1]) != len(spacings[0]):
            raise DataError(
                f"{path}: is {len(spacings[-1])}D ({geometry.describe()}), but the scans before it are {len(spacings[0])}D; "
                "remove or convert it"
            )
    if not spacings:
        raise ConfigError(f"{dataset.root}: preprocess.spacing: median needs training scans; give millimetres per axis")
    median = tuple(float(length) for length in np.median(spacings, axis=0))
    return config.model_copy(update={"spacing": median})


_CHUNK = 2**20  # voxels that are float64 at a time


def _refuse_excess(path: Path, before: Shape, after: Shape) -> None:
    """Refuse what is resampled to more than the machine's memory: the system would end the program when it is filled.

    What comes out of the resampling and what comes out of the normalisation are there at the same time.

    Raises:
        DataError: that is so.
    """
    needed = 2 * 4 * math.prod(after)
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        memory = 2**40
    if needed > max(memory, 2 * 4 * math.prod(before)):
        sizes = " x ".join(map(str, after[1:]))
        raise DataError(
            f"{path}: would be resampled to {sizes} voxels ({needed / 2**30:.3g} GiB), and this machine has {memory / 2**30:.3g} GiB; "
            "look at the spacing in its header, or choose another preprocess.spacing or preprocess.size"
        )


def _chunks(channel: np.ndarray) -> Iterator[slice]:
    """Runs of planes of about `_CHUNK` voxels."""
    planes = max(1, _CHUNK * len(channel) // channel.size)
    return (slice(first, first + planes) for first in range(0, len(channel), planes))


def _normalise(channel: np.ndarray, config: PreprocessConfig) -> np.ndarray:
    """One channel as float32; computed in float64, because sums over millions of voxels need it, but never all at once."""
    normalised = np.zeros(channel.shape, dtype=np.float32)
    shift, scale = _shift_and_scale(channel, config)
    if scale:
        for chunk in _chunks(channel):
            values = (channel[chunk].astype(np.float64) - shift) / scale
            normalised[chunk] = np.clip(values, 0, 1) if config.normalisation == "window" else values
    return normalised


def _shift_and_scale(channel: np.ndarray, config: PreprocessConfig) -> tuple[float, float]:
    """What is subtracted, and then divided by; a scale of 0 where the channel is constant."""
    if config.normalisation == "none":
        return 0.0, 1.0
    if config.normalisation == "window" and config.window is not None:
        return config.window[0], config.window[1] - config.window[0]
    low, high = float(channel.min()), float(channel.max())
    # Resampling a constant leaves rounding noise of float32, which must not be blown up to unit variance.
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        return low, 0.0
    if config.normalisation == "minmax":
        return low, high - low
    mean = math.fsum(channel[chunk].astype(np.float64).sum() for chunk in _chunks(channel)) / channel.size
    squares = (np.square(channel[chunk].astype(np.float64) - mean).sum() for chunk in _chunks(channel))
    return mean, math.sqrt(math.fsum(squares) / channel.size)


class Preprocessor:
    """Prepares images and labels of one data set, and brings predictions back.

    Args:
        config: the settings; ``spacing: median`` must have been resolved by `resolve_spacing`.
        spatial_dims: 2 or 3.

    Raises:
        ConfigError: spacing or size does not fit the axes or is not positive, or the spacing is still ``median``.
    """

    def __init__(self, config: PreprocessConfig, spatial_dims: int) -> None:
        if config.spacing == "median":
            raise ConfigError("preprocess.spacing: median has not been turned into numbers; call resolve_spacing first")
        for name, sizes in (("size", config.size), ("spacing", config.spacing)):
            if sizes is None or isinstance(sizes, str):
                continue
            if len(sizes) != spatial_dims or min(sizes) <= 0:
                raise ConfigError(f"preprocess.{name} {sizes} must be {spatial_dims} positive numbers, one per axis")
        self.config = config
        self.spatial_dims = spatial_dims

    def image(self, image: Image) -> tuple[np.ndarray, Record]:
        """The image as networks see it, ``(C, *P)`` float32, and what was done.

        Raises:
            DataError: the image has NaN or infinite voxels, not the data set's number of axes, or a singular affine.
        """
        self._check(image)
        geometry = image.geometry
        axes = axes_of(geometry, self.config.orientation, image.path)
        oriented = reorient(image.data, axes)
        box = find_box(oriented, self.config.crop, self.config.crop_margin)
        cropped = oriented[(slice(None), *slices(box))]
        shift = np.eye(4)
        shift[: len(box), 3] = [start for start, _ in box]
        affine = oriented_affine(geometry, axes) @ shift
        shape = self._shape(Geometry(cropped.shape[1:], affine))
        _refuse_excess(image.path, (len(cropped), *cropped.shape[1:]), (len(cropped), *shape))
        affine = resampled_affine(affine, cropped.shape[1:], shape)
        resampled = resample_image(cropped, shape)
        record = Record(
            original_shape=tuple(geometry.shape),
            original_affine=affine_tuple(geometry.affine),
            axes=axes,
            crop=box,
            shape=shape,
            affine=affine_tuple(affine),
            spacing=Geometry(shape, affine).spacing,
        )
        prepared = np.empty(
            resampled.shape, dtype=np.float32
        )  # in the order of its axes, however orientation moved them
        for into, channel in zip(prepared, resampled, strict=True):
            into[...] = _normalise(channel, self.config)
        return prepared, record

    def label(self, label: Image, record: Record) -> np.ndarray:
        """The label map ``(*P)`` uint8 on the grid of its prepared image.

        Raises:
            DataError: the label does not lie on its image's grid.
        """
        if label.data.shape != record.original_shape or not record.original.matches(label.geometry):
            raise DataError(
                f"{label.path}: lies on a grid of {label.geometry.describe()}, but its image on one of "
                f"{record.original.describe()} that is not the same; resample the label to its image"
            )
        cropped = reorient(label.data[None], record.axes)[(slice(None), *slices(record.crop))][0]
        return np.ascontiguousarray(resample_label(cropped, record.shape))

    def restore(self, values: np.ndarray, record: Record, fill: float | None = None) -> np.ndarray:
        """Maps on the prepared grid, back on the scan's own grid; bit-exact where nothing was resampled.

        Args:
            values: ``(K, *P)``, probabilities or other maps.
            record: of the image that they belong to.
            fill: the value outside the crop; none: background, which is 1 for class 0 and 0 for the others.

        Returns:
            ``(K, *S)`` of the scan, contiguous; float32 where something was resampled, else of the type of ``values``.

        Raises:
            DataError: the maps do not have the record's shape.
        """
        if values.shape[1:] != record.shape:
            raise DataError(
                f"maps of shape {values.shape[1:]} do not fit the prepared image's {record.shape}; pass its own record"
            )
        resampled = record.cropped_shape != record.shape
        restored = np.full(
            (len(values), *record.original_shape),
            0 if fill is None else fill,
            dtype=np.float32 if resampled else values.dtype,
        )
        if fill is None:
            restored[0] = 1
        inside = scan_view(restored, record)
        for first, slab in resampled_slabs([(0, values)], record.shape, record.cropped_shape):
            inside[:, first : first + slab.shape[1]] = slab
        return restored

    def _check(self, image: Image) -> None:
        if image.data.ndim != self.spatial_dims + 1 or min(image.data.shape) < 1:
            raise DataError(
                f"{image.path}: is {image.data.ndim - 1}D ({image.geometry.describe()}), but the other scans are "
                f"{self.spatial_dims}D; remove or convert it"
            )
        bad = image.data.size - int(np.isfinite(image.data).sum())
        if bad:
            raise DataError(f"{image.path}: has {bad} voxels that are NaN or infinite; replace them before training")

    def _shape(self, geometry: Geometry) -> Shape:
        if self.config.size is not None:
            return tuple(self.config.size)
        if isinstance(self.config.spacing, str):
            return geometry.shape
        return target_shape(geometry.shape, geometry.spacing, self.config.spacing)
