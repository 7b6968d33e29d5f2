"""PNG of 16 bits a channel in colours, of which Pillow would drop the low bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fewmask.data.formats.claims import refuse_excess
from fewmask.data.formats.pillow import drop_alpha
from fewmask.errors import DataError

_SAMPLES = {2: 3, 4: 2, 6: 4}  # by the header's kind of colour: RGB, grey with alpha, RGB with alpha


def is_deep_colour(path: Path) -> bool:
    """Whether it is a PNG of 16 bits a channel and more than one channel; 16 bits of grey are read in full by Pillow."""
    start = _header(path)
    return start[:4] == b"\x89PNG" and len(start) == 26 and start[24] == 16 and start[25] != 0


def read_deep_colour(path: Path) -> np.ndarray:
    """Its samples ``(C, rows, columns)`` uint16; opaque alpha is dropped.

    Raises:
        DataError: imagecodecs is not installed, or a pixel is transparent.
        ValueError: its header claims more than the file can hold, or it is damaged.
    """
    try:
        import imagecodecs
    except ImportError:
        raise DataError(
            f"{path}: is a colour PNG of 16 bits per channel, which cannot be read in full; pip install imagecodecs, or "
            "save it as TIFF"
        ) from None
    start, data = _header(path), path.read_bytes()
    width, height = (int.from_bytes(start[place : place + 4], "big") for place in (16, 20))
    samples = _SAMPLES.get(start[25], 0)
    refuse_excess(width * height * samples * 2, len(data), packed=True)
    values = imagecodecs.png_decode(data)
    if values.dtype != np.uint16 or values.shape != (height, width, samples):
        raise ValueError("its pixels are not what its header says")
    values = np.moveaxis(values, -1, 0)
    return np.ascontiguousarray(drop_alpha(path, values) if samples in (2, 4) else values)


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(26)
