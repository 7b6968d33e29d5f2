"""2D pictures: copied where they fit, made fit where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from fewmask.data.convert.base import Files
from fewmask.data.image import read_image, suffix_of
from fewmask.errors import DataError

Colours = Literal["grey", "rgb"]


def same_ending(paths: Sequence[Path]) -> str:
    """The ending that all pictures have, or ``.png``, which all can be made."""
    endings = {path.suffix for path in paths}
    return endings.pop() if len(endings) == 1 and suffix_of(paths[0]) == paths[0].suffix else ".png"


def picture(path: Path, colours: Colours, ending: str) -> np.ndarray | Files:
    """A picture for `Content.image`: the file itself where it has the ending and the channels, else its values.

    Grey becomes RGB by repeating it; RGB becomes grey only where its channels are equal.

    Raises:
        DataError: it cannot be read, has colours where grey is wanted, or would have to become a JPEG.
    """
    values = read_image(path).data
    if values.ndim != 3:
        raise DataError(f"{path}: is a stack of pictures; save each as a file")
    wanted = 3 if colours == "rgb" else 1
    if len(values) == wanted and path.suffix == ending:
        return (path,)
    if ending in (".jpg", ".jpeg"):
        raise DataError(
            f"{path}: has {len(values)} channels where the others have {wanted}, and would lose by becoming a JPEG again; save it as the others"
        )
    if len(values) == wanted:
        return values
    if len(values) == 1:
        return np.repeat(values, 3, axis=0)
    if wanted == 1 and len(values) == 3 and all(np.array_equal(values[0], other) for other in values[1:]):
        return values[:1]
    raise DataError(f"{path}: has {len(values)} channels where the others have {wanted}; save it as the others")
