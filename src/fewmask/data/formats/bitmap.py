"""PNG, BMP, JPEG and TIFF files.

Pixels are read as stored: the EXIF orientation is not applied, to images and labels alike, because it only asks viewers
to turn the picture, while masks, and the predictions that are written back, belong to the stored grid. `fewmask check`
names the files that carry one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fewmask.data.formats import png, tiff
from fewmask.data.formats.density import by_dots
from fewmask.data.formats.palette import refuse_reversed
from fewmask.data.formats.pillow import drop_alpha, open_picture, pixels
from fewmask.data.geometry import Geometry
from fewmask.errors import DataError

TIFF = (".tif", ".tiff")
JPEG = (".jpg", ".jpeg")
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # little and big end first, classic and BigTIFF


def read(path: Path, label: bool) -> tuple[np.ndarray, Geometry]:
    """Pixels ``(C, rows, columns)`` in their stored type, or ``(C, x, y, pages)`` of a TIFF stack.

    Opaque alpha is dropped. A palette gives its indices in a label and its colours in an image.
    """
    if label and path.suffix.lower() in JPEG:
        raise DataError(f"{path}: JPEG changes pixel values and so cannot hold labels; save the label as PNG")
    values = tiff.read(path, label) if _is_tiff(path) else _read_pillow(path, label)
    return values, read_geometry(path)


def read_geometry(path: Path) -> Geometry:
    """The geometry alone; reads the header only."""
    if _is_tiff(path):
        return _geometry(path, *tiff.read_grid(path))
    with open_picture(path) as picture:
        dots = picture.info.get("dpi")
        return _spaced((picture.height, picture.width), by_dots(*map(float, dots)) if dots else None)


def write(path: Path, data: np.ndarray, geometry: Geometry, like: Path | None) -> None:
    """Write ``data``: 2D uint8, or in TIFF also float32 and 3D (as pages, spacing beside); ``like`` is unused.

    Millimetres are kept where they are known: TIFF has them as OME's physical sizes, PNG and BMP as a density.
    """
    known = geometry.unit == "mm"
    if path.suffix.lower() in TIFF:
        tiff.write(path, data, geometry.spacing if known else None)
        if data.ndim == 3 and known:
            path.with_suffix(".json").write_text(json.dumps({"spacing": geometry.spacing[::-1]}), encoding="utf-8")
        return
    from PIL import Image

    dots = tuple(25.4 / length for length in geometry.spacing[1::-1])
    # A density that its reader would take for print is left out.
    Image.fromarray(data).save(path, **({"dpi": dots} if known and by_dots(*dots) else {}))


def _is_tiff(path: Path) -> bool:
    """By its name, or whatever its name, by its first bytes: Pillow would read its first page alone."""
    if path.suffix.lower() in TIFF:
        return True
    with path.open("rb") as file:
        return file.read(4) in _TIFF_STARTS


def _geometry(path: Path, shape: tuple[int, ...], lengths: Sequence[float] | None) -> Geometry:
    """A TIFF stack's spacing is that of the JSON file beside it, in (z, y, x) as nnU-Net has it; else what the file says."""
    if len(shape) == 3:
        stem = path.name.removesuffix(path.suffix)
        for name in (f"{re.sub(r'_[0-9]{4}$', '', stem)}.json", f"{stem}.json"):
            if (path.parent / name).is_file():
                return _spaced(shape, _stack_spacing(path.parent / name)[::-1])
    return _spaced(shape, lengths)


def _spaced(shape: tuple[int, ...], lengths: Sequence[float] | None) -> Geometry:
    """A grid of these millimetres an axis; None: it knows none."""
    if lengths is None:
        return Geometry.plain(shape)
    return Geometry(tuple(shape), np.diag([*lengths, *[1.0] * (4 - len(lengths))]), picture=True)


def _stack_spacing(path: Path) -> tuple[float, ...]:
    try:
        z, y, x = (float(length) for length in json.loads(path.read_text(encoding="utf-8-sig"))["spacing"])
    except (ValueError, KeyError, TypeError):
        raise DataError(f'{path}: must hold the stack\'s spacing, as in {{"spacing": [2.5, 1, 1]}} (z, y, x)') from None
    return z, y, x


def exif_orientation(path: Path) -> int:
    """The EXIF orientation that viewers apply and fewmask does not; 1 is upright."""
    if _is_tiff(path):
        return tiff.orientation(path)
    with open_picture(path) as picture:
        return int(picture.getexif().get(0x0112, 1))


def _read_pillow(path: Path, label: bool) -> np.ndarray:
    if png.is_deep_colour(path):
        return png.read_deep_colour(path)
    with open_picture(path) as picture:
        if label and picture.format in ("JPEG", "MPO"):
            raise DataError(f"{path}: is a JPEG whatever its name says, and JPEG changes label values; save it as PNG")
        return _coloured(path, picture, label)


def _coloured(path: Path, picture: Any, label: bool) -> np.ndarray:
    """One picture as ``(C, rows, columns)``."""
    if picture.mode == "P":
        if label:
            colours = np.array(picture.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
            refuse_reversed(path, np.asarray(picture), colours)
        else:
            picture = picture.convert("RGBA")
    alpha = picture.mode in ("LA", "RGBA", "PA", "La", "RGBa")
    values = pixels(picture)
    return drop_alpha(path, values) if alpha else values
