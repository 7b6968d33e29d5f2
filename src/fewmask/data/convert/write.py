"""Writing a case, each file in one step and in the type that its values have."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fewmask.data.convert.base import Content, Plan, Source
from fewmask.data.formats import nifti
from fewmask.data.geometry import Geometry
from fewmask.data.grids import agree, apart
from fewmask.data.image import read_geometry, read_label, suffix_of, write_image
from fewmask.data.layout import IMAGE_FOLDERS, LABEL_FOLDERS
from fewmask.errors import DataError
from fewmask.files import replacing
from fewmask.words import count

if TYPE_CHECKING:
    from fewmask.config import GeometryChoice

PICTURES = (".png", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg")
_FOLDER = {group: folder for folder, group in IMAGE_FOLDERS.items()}


def label_ending(plan: Plan) -> str:
    """The ending of the labels: the images', but PNG beside JPEG."""
    return plan.label_ending or (".png" if plan.file_ending in (".jpg", ".jpeg") else plan.file_ending)


def targets(root: Path, plan: Plan, case: Source) -> tuple[list[Path], Path | None]:
    """The files that a case will have: an image per channel (one for all in pictures), and a label."""
    folder = _FOLDER[case.group]
    number = 1 if _is_joint(plan) else len(plan.channel_names)
    images = [root / folder / f"{case.id}_{channel:04d}{plan.file_ending}" for channel in range(number)]
    label = root / LABEL_FOLDERS[folder] / f"{case.id}{label_ending(plan)}" if case.labelled else None
    return images, label


def _is_joint(plan: Plan) -> bool:
    return plan.joint or plan.file_ending in PICTURES


def write_case(root: Path, plan: Plan, case: Source, by: GeometryChoice = "header", *, overwrite: bool = True) -> None:
    """Read a case and write its files, the label first: the first image is there only when all is.

    Args:
        root: the dataset folder.
        plan: of the conversion.
        case: the case.
        by: what says where voxels lie (see `fewmask.config.PreprocessConfig`); a label that belongs to its image by another
            choice than the default is written anew, on its image's grid by every choice.
        overwrite: replace a file with other contents; without it, it stays and is an error.

    Raises:
        DataError: it cannot be read; its image and label have different shapes; or a label value is no class.
        WriteError: the disk is full, or the folder cannot be written.
    """
    content = case.load()
    images, label = targets(root, plan, case)
    where = case.files[0] if case.files else root / case.id
    _check(where, plan, case, content, by)
    if label is not None:
        _write_label(label, content, by, overwrite)
    for number, path in reversed(list(enumerate(images))):
        if isinstance(content.image, tuple):
            copy_file(content.image[number], path, overwrite=overwrite)
        elif plan.file_ending in PICTURES:
            write_picture(path, content.image, overwrite=overwrite)
        else:
            geometry = _geometry(content, content.image[number].shape)
            write_volume(path, content.image[number], geometry, overwrite=overwrite)


def _write_label(path: Path, content: Content, by: GeometryChoice, overwrite: bool) -> None:
    images, label = content.image, content.label
    if by != "header" and isinstance(images, tuple) and suffix_of(images[0]) not in PICTURES and label is not None:
        grid = read_geometry(images[0], by=by)
        values = read_label(label, by=by).data if isinstance(label, Path) else label.astype(np.uint8)
        write_image(path, values.reshape(grid.shape), grid, like=images[0], overwrite=overwrite)
    elif isinstance(content.label, Path):
        copy_file(content.label, path, overwrite=overwrite)
    elif content.label is not None:
        values = content.label.astype(np.uint8)
        if suffix_of(path) in PICTURES:
            write_picture(path, values[None], overwrite=overwrite)
        else:
            write_volume(path, values, _geometry(content, values.shape), overwrite=overwrite)


def _geometry(content: Content, shape: tuple[int, ...]) -> Geometry:
    return content.geometry or Geometry.plain(shape)


def _check(where: Path, plan: Plan, case: Source, content: Content, by: GeometryChoice) -> None:
    image = content.image
    parts = len(image)
    wanted = 1 if isinstance(image, tuple) and _is_joint(plan) else len(plan.channel_names)
    if parts != wanted:
        raise DataError(
            f"{where}: has {count(parts, 'channel')}, but {count(wanted, 'channel')} were expected; leave it out or mend it"
        )
    if (content.label is None) == case.labelled:
        raise DataError(
            f"{where}: case {case.id!r} was to have {'a' if case.labelled else 'no'} label; look at its files"
        )
    if content.label is None:
        return
    path, label, there = where, content.label, content.geometry
    if isinstance(label, Path):
        read = read_label(label, by=by)
        path, label, there = label, read.data, read.geometry
    own = by if isinstance(content.label, Path) else "header"  # as the converter read its arrays
    here = read_geometry(image[0], by=own) if isinstance(image, tuple) else content.geometry
    shape = image.shape[1:] if isinstance(image, np.ndarray) else here.shape  # type: ignore[union-attr]
    if tuple(shape) != label.shape:
        raise DataError(f"{path}: the label has the shape {label.shape}, its image {tuple(shape)}; find the right one")
    if here is not None and there is not None and not agree(there, here, by):
        other = image[0] if isinstance(image, tuple) and isinstance(content.label, Path) else Path("its image")
        raise DataError(f"{path}: {apart(path, there, other, here, by)}")
    low, high = (int(label.min()), int(label.max())) if label.size else (0, 0)
    if low < 0 or high >= len(plan.class_names):
        raise DataError(
            f"{path}: holds label values from {low} to {high}, but the classes are 0 to {len(plan.class_names) - 1}; "
            "say in the settings what the others mean, or mend the file"
        )


def narrowed(values: np.ndarray) -> np.ndarray:
    """Whole numbers that were read as float32 in the smallest of uint8, int16 and int32 that holds them; others as they are."""
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if not np.array_equal(values, np.rint(values)):
        return values
    for kind in (np.uint8, np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= min(np.iinfo(kind).max, 2**24):
            return values.astype(kind)
    return values


def copy_file(source: Path, path: Path, *, overwrite: bool = True) -> None:
    """Copy a file byte by byte, in one step.

    Raises:
        DataError: the source cannot be read, or has another ending than the copy.
        WriteError: the copy cannot be written, or see `fewmask.files.replacing`.
    """
    if suffix_of(source) != suffix_of(path):
        raise DataError(f"{source}: is no {suffix_of(path)} like the rest of its data set; convert it first")
    with replacing(path, overwrite=overwrite) as temporary:
        shutil.copyfile(source, temporary)


def write_volume(path: Path, values: np.ndarray, geometry: Geometry, *, overwrite: bool = True) -> None:
    """Write a channel ``(*S)`` as NIfTI in the type of its values; float64 becomes float32, 64-bit integers 32-bit ones."""
    narrow: dict[str, Any] = {"float64": np.float32, "float16": np.float32, "int64": np.int32, "uint64": np.int32}
    stored = np.ascontiguousarray(values, dtype=narrow.get(values.dtype.name, values.dtype))
    if values.dtype.name in ("int64", "uint64") and not np.array_equal(stored, values):
        raise DataError(f"{path}: values up to {values.max()} do not fit into 32 bits; scale them")
    with replacing(path, overwrite=overwrite) as temporary:
        nifti.write(temporary, stored, geometry, None)


def write_picture(path: Path, values: np.ndarray, *, overwrite: bool = True) -> None:
    """Write a picture ``(C, rows, columns)`` of 8 bits, one or three channels, without loss.

    Raises:
        DataError: a value is no whole number of 0 to 255, or there is another number of channels.
    """
    from PIL import Image

    if suffix_of(path) not in (".png", ".bmp", ".tif", ".tiff"):
        raise DataError(f"{path}: would be changed by JPEG; write .png")
    pixels = np.clip(values, 0, 255).astype(np.uint8)
    if values.ndim != 3 or len(values) not in (1, 3) or not np.array_equal(pixels, values):
        raise DataError(f"{path}: is no grey or RGB picture of 8 bits; save it as one")
    with replacing(path, overwrite=overwrite) as temporary:
        Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)).save(temporary)
