"""HDF5 files as semi-supervised papers pass them around: one array ``image``, one array ``label``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fewmask.data.formats.claims import refuse_excess
from fewmask.errors import DataError, FewmaskError


def read_pair(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """``image`` and ``label`` of a file, of one shape, as they are.

    Raises:
        DataError: the file is damaged, an array is missing, or the shapes differ.
        FewmaskError: h5py is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise FewmaskError(f"{path}: HDF5 needs h5py; type: pip install 'fewmask[convert]'") from None
    try:
        with h5py.File(path, "r") as file:
            image, label = (_array(path, file, name) for name in ("image", "label"))
    except DataError:
        raise
    except Exception as error:  # damaged files raise half a dozen kinds, RuntimeError and KeyError among them
        raise DataError(
            f"{path}: is truncated or no HDF5 file ({' '.join(str(error).split())[:160]}); copy it again"
        ) from error
    if image.shape != label.shape:
        raise DataError(f"{path}: the image has the shape {image.shape}, its label {label.shape}; make the file anew")
    return image, label


def _array(path: Path, file: Any, name: str) -> np.ndarray:
    import h5py

    found = file.get(name, getlink=True)
    if found is None:
        raise DataError(
            f"{path}: expected the arrays image and label, but found {', '.join(map(str, file)) or 'nothing'}; take another file"
        )
    if (
        not isinstance(found, h5py.HardLink)
        or not isinstance(file[name], h5py.Dataset)
        or file[name].external
        or file[name].is_virtual
    ):
        raise DataError(f"{path}: {name} is no array of this file but points elsewhere; do not trust it")
    array = file[name]
    if array.dtype.kind not in "biuf" or array.ndim not in (2, 3) or not array.size:
        raise DataError(
            f"{path}: {name} is {array.dtype} of the shape {array.shape}; expected numbers in two or three axes"
        )
    refuse_excess(array.nbytes, path.stat().st_size, packed=True)
    return np.asarray(array[()])
