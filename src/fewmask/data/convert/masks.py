"""Masks that come as pictures: white on black, in colours, or blurred by a JPEG."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fewmask.data.convert.base import Content, Source
from fewmask.data.convert.pictures import Colours, picture
from fewmask.data.image import read_image
from fewmask.data.layout import Group
from fewmask.errors import DataError


def above(path: Path, threshold: float = 127) -> np.ndarray:
    """1 where the first channel (red, or grey) is brighter than ``threshold``, else 0: uint8 ``(rows, columns)``.

    A mask of 0 and 1 alone, as one of one bit a pixel is, keeps its ones.

    Raises:
        DataError: the mask cannot be read.
    """
    values = read_image(path).data[0]
    made: np.ndarray = (values > (0 if values.max() <= 1 else threshold)).astype(np.uint8)
    return made


def masked(
    case: str,
    image: Path,
    mask: Path,
    *,
    ending: str = ".png",
    threshold: float = 127,
    group: Group = "train",
    colours: Colours = "rgb",
) -> Source:
    """A picture and its mask as a case; see `above` and `fewmask.data.convert.pictures.picture`."""
    return Source(case, (image, mask), lambda: Content(picture(image, colours, ending), above(mask, threshold)), group)


def missing(path: Path, beside: Path) -> DataError:
    """The error of a file that its data set must have."""
    return DataError(f"{path.parent}: expected {path.name} for {beside.name}, but it is missing; complete the download")
