"""Files of one data set in another: copied or linked, each whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from fewmask.data.convert.write import copy_file
from fewmask.data.dataset import Dataset
from fewmask.data.formats.bitmap import JPEG, TIFF
from fewmask.data.image import suffix_of
from fewmask.errors import DataError
from fewmask.files import make_folder, write_error, write_text
from fewmask.overwrite import refuse_change

Link = Literal["hard", "symbolic"]


def ending_of(source: Dataset) -> str:
    """The ending of images and labels, which nnU-Net wants to be one; PNG where the source has JPEG, which it does not read."""
    return ".png" if source.file_ending.lower().endswith(JPEG) else source.file_ending


def with_companions(path: Path, target: Path, *, is_label: bool = False) -> Iterator[tuple[Path, Path]]:
    """A file of an image and, of a stack of pages, the one with its spacing."""
    if suffix_of(path) == ".mhd":
        raise DataError(
            f"{path}: keeps its voxels in a second file, which nnU-Net does not read; save the data set as .mha"
        )
    yield path, target
    if suffix_of(path) in TIFF:
        numbered = "" if is_label else r"_\d{4}$"
        case, there = (re.sub(numbered, "", file.name[: -len(suffix_of(file))]) for file in (path, target))
        for name in (f"{case}.json", f"{path.name[: -len(suffix_of(path))]}.json"):
            if path.with_name(name).is_file():
                yield path.with_name(name), target.with_name(f"{there}.json")  # where nnU-Net looks for it
                return


def place(file: Path, target: Path, link: Link | None, *, overwrite: bool = True) -> None:
    """Copy a file, or link it, in place of what may be there.

    Raises:
        WriteError: the folder cannot be written, hard links do not reach it, or a file with other contents is there and is not to
            be overwritten.
    """
    if link is None:
        copy(file, target, overwrite=overwrite)
        return
    if not overwrite:
        refuse_change(target, file)
    make_folder(target.parent)
    try:
        target.unlink(missing_ok=True)
        if link == "hard":
            os.link(file.resolve(), target)
        else:
            target.symlink_to(file.resolve())
    except OSError as error:
        raise write_error(target, error) from error


def copy(file: Path, target: Path, *, overwrite: bool = True) -> None:
    """Copy an image, a label, or what belongs to one, in one step; see `fewmask.files.replacing`."""
    if target.suffix == ".json":
        write_text(target, file.read_text(encoding="utf-8-sig"), overwrite=overwrite)
    else:
        copy_file(file, target, overwrite=overwrite)
