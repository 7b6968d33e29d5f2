"""Pictures as Pillow decodes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fewmask.errors import DataError


def open_picture(path: Path) -> Any:
    """A picture in one of the formats of fewmask: Pillow would go by the content alone and start Ghostscript for PostScript.

    Raises:
        DataError: it says that it is larger than Pillow opens.
    """
    from PIL import Image

    try:
        return Image.open(path, formats=("PNG", "BMP", "JPEG", "TIFF"))
    except Image.DecompressionBombError:
        raise DataError(
            f"{path}: says that it has more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels; cut it into tiles"
        ) from None


def pixels(picture: Any) -> np.ndarray:
    """One picture as ``(S, rows, columns)``: a palette's indices, alpha as its last sample, other colours as RGB."""
    if picture.mode not in ("1", "L", "P", "I", "F", "LA", "RGB", "RGBA") and not picture.mode.startswith("I;16"):
        picture = picture.convert("RGBA" if picture.mode in ("PA", "La", "RGBa") else "RGB")
    values = np.asarray(picture)
    return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def drop_alpha(path: Path, values: np.ndarray) -> np.ndarray:
    """Samples ``(S, ...)`` without the last, which is alpha.

    Raises:
        DataError: a pixel is transparent.
    """
    opaque = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    if np.any(values[-1] != opaque):
        raise DataError(f"{path}: has transparent pixels, whose value is undefined; save it without an alpha channel")
    return values[:-1]
