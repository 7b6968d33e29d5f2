"""PNG, BMP, JPEG and TIFF files.

Pixels are read as stored: the EXIF orientation is not applied, to images and labels alike, because it only asks viewers
to turn the picture, while masks, and the predictions that are written back, belong to the stored grid. `fewmask check`
names the files that carry one.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from fewmask.data.formats.claims import refuse_excess
from fewmask.data.geometry import Geometry
from fewmask.errors import DataError

TIFF = (".tif", ".tiff")
JPEG = (".jpg", ".jpeg")


def read(path: Path, label: bool) -> tuple[np.ndarray, Geometry]:
    """Pixels ``(C, rows, columns)`` in their stored type, or ``(C, x, y, pages)`` of a TIFF stack.

    Opaque alpha is dropped. A palette gives its indices in a label and its colours in an image.
    """
    if label and path.suffix.lower() in JPEG:
        raise DataError(f"{path}: JPEG changes pixel values and so cannot hold labels; save the label as PNG")
    values = _read_tiff(path) if path.suffix.lower() in TIFF else None
    if values is None:
        values = _read_pillow(path, label)
    return values, _geometry(path, values.shape[1:])


def read_geometry(path: Path) -> Geometry:
    """The geometry alone; reads the header only."""
    if path.suffix.lower() not in TIFF:
        with _open(path) as picture:
            return Geometry.plain((picture.height, picture.width))
    import tifffile

    with tifffile.TiffFile(path) as file:
        sizes = dict(zip(file.series[0].axes, file.series[0].shape, strict=True))
    columns, rows = sizes.pop("X"), sizes.pop("Y")
    pages = math.prod(n for axis, n in sizes.items() if axis not in "SC")
    return _geometry(path, (columns, rows, pages) if pages > 1 else (rows, columns))


def write(path: Path, data: np.ndarray, geometry: Geometry, like: Path | None) -> None:
    """Write ``data``: 2D uint8, or in TIFF also float32 and 3D (as pages, spacing beside); ``like`` is unused."""
    if path.suffix.lower() in TIFF:
        import tifffile

        tifffile.imwrite(path, data.T if data.ndim == 3 else data, photometric="minisblack", compression="zlib")
        if data.ndim == 3:
            path.with_suffix(".json").write_text(json.dumps({"spacing": geometry.spacing[::-1]}), encoding="utf-8")
        return
    from PIL import Image

    Image.fromarray(data).save(path)


def _geometry(path: Path, shape: tuple[int, ...]) -> Geometry:
    """Unit spacing, or for a TIFF stack that of the JSON file beside it, in (z, y, x) as nnU-Net has it."""
    if len(shape) == 3:
        stem = path.name.removesuffix(path.suffix)
        for name in (f"{re.sub(r'_[0-9]{4}$', '', stem)}.json", f"{stem}.json"):
            if (path.parent / name).is_file():
                return Geometry(shape, np.diag([*reversed(_stack_spacing(path.parent / name)), 1.0]))
    return Geometry.plain(shape)


def _stack_spacing(path: Path) -> tuple[float, ...]:
    try:
        z, y, x = (float(length) for length in json.loads(path.read_text(encoding="utf-8-sig"))["spacing"])
    except (ValueError, KeyError, TypeError):
        raise DataError(f'{path}: must hold the stack\'s spacing, as in {{"spacing": [2.5, 1, 1]}} (z, y, x)') from None
    return z, y, x


def exif_orientation(path: Path) -> int:
    """The EXIF orientation that viewers apply and fewmask does not; 1 is upright."""
    if path.suffix.lower() in TIFF:
        import tifffile

        with tifffile.TiffFile(path) as file:
            return int(file.pages.first.tags.valueof("Orientation", default=1))
    with _open(path) as picture:
        return int(picture.getexif().get(0x0112, 1))


def _open(path: Path) -> Any:
    """A picture in one of the formats of this module: Pillow would go by the content alone and start Ghostscript for PostScript."""
    from PIL import Image

    try:
        return Image.open(path, formats=("PNG", "BMP", "JPEG", "TIFF"))
    except Image.DecompressionBombError:
        raise DataError(
            f"{path}: says that it has more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels; cut it into tiles"
        ) from None


def _read_tiff(path: Path) -> np.ndarray | None:
    import tifffile

    with tifffile.TiffFile(path) as file:
        series, page = file.series[0], file.pages.first
        # Palettes, CMYK, inverted grey and the codecs that tifffile lacks: Pillow turns these to grey or RGB.
        plain = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB)
        if page.photometric not in plain or page.compression not in (1, 8, 32946):
            return None
        refuse_excess(series.nbytes, path.stat().st_size, packed=page.compression != 1)
        axes, values = series.axes, series.asarray()
    channel = next((axis for axis in "SC" if axis in axes), None)
    values = values[None] if channel is None else np.moveaxis(values, axes.index(channel), 0)
    values = values.reshape(values.shape[0], -1, *values.shape[-2:])
    if channel == "S" and values.shape[0] in (2, 4):
        values = _drop_alpha(path, values)
    return np.ascontiguousarray(values[:, 0] if values.shape[1] == 1 else values.transpose(0, 3, 2, 1))


def _read_pillow(path: Path, label: bool) -> np.ndarray:
    from PIL import ImageSequence

    with _open(path) as picture:
        if label and picture.format in ("JPEG", "MPO"):
            raise DataError(f"{path}: is a JPEG whatever its name says, and JPEG changes label values; save it as PNG")
        _refuse_deep_colour(path)
        if path.suffix.lower() not in TIFF:
            return _pixels(path, picture, label)
        pages = [_pixels(path, page, label) for page in ImageSequence.Iterator(picture)]
    return pages[0] if len(pages) == 1 else np.stack(pages).transpose(1, 3, 2, 0)


def _pixels(path: Path, picture: Any, label: bool) -> np.ndarray:
    """One picture as ``(C, rows, columns)``."""
    if picture.mode == "P" and not label:
        picture = picture.convert("RGBA")
    elif picture.mode not in ("1", "L", "P", "I", "F", "LA", "RGB", "RGBA") and not picture.mode.startswith("I;16"):
        picture = picture.convert("RGBA" if picture.mode in ("PA", "La", "RGBa") else "RGB")
    values = np.asarray(picture)
    values = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
    if picture.mode in ("LA", "RGBA"):
        values = _drop_alpha(path, values)
    return values


def _drop_alpha(path: Path, values: np.ndarray) -> np.ndarray:
    opaque = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    if np.any(values[-1] != opaque):
        raise DataError(f"{path}: has transparent pixels, whose value is undefined; save it without an alpha channel")
    return values[:-1]


def _refuse_deep_colour(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(26)
    if start[:4] == b"\x89PNG" and start[24] == 16 and start[25] != 0:  # Pillow would drop the low byte of each channel
        raise DataError(
            f"{path}: is a colour PNG of 16 bits per channel, which cannot be read in full; save it as TIFF"
        )
