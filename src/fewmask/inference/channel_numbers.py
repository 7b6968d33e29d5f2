"""What ``_0001`` at the end of a file's name means: a channel where the model has such a channel, else a part of the scan's own name.

nnU-Net's ``ID_0000.ext``, ``ID_0001.ext`` ... are the channels of one scan ``ID``, as many as the model has. Scanners and cameras number
scans in the same way: ``scan_0001``, ``scan_0002`` for a model of one channel are two scans, and so are two RGB pictures of such names.
Where the folder's other names are nnU-Net's, a number that the model does not have is refused.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

from fewmask.data.formats.bitmap import JPEG, TIFF
from fewmask.data.image import read_image, suffix_of
from fewmask.errors import DataError, FewmaskWarning
from fewmask.inference.scan import Scan
from fewmask.words import count

_NUMBERED = re.compile(r"(.+)_(\d{4})")
_SEGMENTATION = ".seg"
_PICTURES = (".png", ".bmp", *TIFF, *JPEG)

Group = dict[int | None, Path]
"""The files of one name by their numbers; None: the one without a number."""


def scans_of_files(folder: Path, files: Sequence[Path], channels: int) -> list[Scan]:
    """The scans that the images of a folder are, by name.

    Args:
        folder: where they lie.
        files: all images there, sorted.
        channels: how many the model has.

    Raises:
        DataError: numbers that are neither the model's channels nor plainly scans' own, or two scans whose label maps would have one name.
    """
    groups: dict[tuple[str, str], Group] = {}
    for file in _without_segmentations(folder, files):
        name, number = split_number(file)
        group = groups.setdefault((name, suffix_of(file)), {})
        if (twin := group.setdefault(number, file)) is not file:  # a.nii.gz and a.NII.GZ
            raise _one_name(file, twin)
    alone = sum(0 in group for group in groups.values()) == 1
    found = (_scans_of_group(folder, name, group, channels, alone=alone) for (name, _), group in groups.items())
    scans = [scan for several in found for scan in several]
    _check_names(scans)
    return sorted(scans, key=lambda scan: scan.files[0].name)


def scan_of_file(path: Path, channels: int) -> Scan:
    """A single file; with several channels wanted, its siblings of the same name go with it."""
    name, number = split_number(path)
    suffix = path.name[-len(suffix_of(path)) :]
    siblings = [path.with_name(f"{name}_{channel:04d}{suffix}") for channel in range(channels)]
    if channels > 1 and path in siblings and all(sibling.is_file() for sibling in siblings):
        if not (channels == 3 and _is_colour(path)):
            return Scan(name, tuple(siblings))
        return Scan(stem_of(path), (path,))
    return Scan(name if number in (0, None) else stem_of(path), (path,))


def split_number(path: Path) -> tuple[str, int | None]:
    """A file's name without ending and number, and the number; None: it has none."""
    found = _NUMBERED.fullmatch(stem_of(path))
    return (found[1], int(found[2])) if found else (stem_of(path), None)


def stem_of(path: Path) -> str:
    """A file's name without its ending."""
    return path.name[: -len(suffix_of(path))]


def _scans_of_group(folder: Path, name: str, group: Group, channels: int, *, alone: bool) -> list[Scan]:
    """One scan of several channels, or several scans.

    Args:
        folder: where they lie.
        name: what the files have in common.
        group: the files, by number.
        channels: how many the model has.
        alone: whether no other name of the folder has a file ``_0000``, which would be nnU-Net's way.
    """
    files = list(group.values())
    if len(files) == 1:
        return [Scan(name if {0, None} & set(group) else stem_of(files[0]), (files[0],))]
    if channels > 1 and set(group) == set(range(channels)) and not (channels == 3 and _is_colour(files[0])):
        return [Scan(name, tuple(files))]
    counted = (0 not in group or alone) if channels == 1 else _holds_all(files[0], channels)
    if None in group or not counted:
        listed = ", ".join(file.name for file in files[:4]) + (", ..." if len(files) > 4 else "")
        raise DataError(
            f"{folder}: {listed} are no channels 0 to {max(len(files), channels) - 1} of one scan, and the model has "
            f"{count(channels, 'channel')}; rename them, a scan that is called {stem_of(files[-1])} to {stem_of(files[-1])}_0000"
        )
    if 0 in group:
        warnings.warn(
            f"{folder}: {files[0].name} to {files[-1].name} are taken for {len(files)} scans, not for channels of one, because the model "
            f"has {count(channels, 'channel')}{'' if channels == 1 else ' and a file has them all'}",
            FewmaskWarning,
            stacklevel=5,
        )
    return [Scan(stem_of(file), (file,)) for file in files]


def _is_colour(path: Path) -> bool:
    """Whether a file is an RGB picture, and so three channels by itself."""
    return suffix_of(path) in _PICTURES and _holds_all(path, 3)


def _holds_all(path: Path, channels: int) -> bool:
    """Whether a file holds all channels of the model by itself; one that cannot be read does not."""
    try:
        return len(read_image(path).data) == channels
    except DataError:
        return False


def _without_segmentations(folder: Path, files: Sequence[Path]) -> list[Path]:
    """Without the label maps that 3D Slicer puts beside scans: ``a.seg.nrrd`` beside ``a.nrrd``."""
    names = {split_number(file)[0] for file in files} | {stem_of(file) for file in files}
    beside = {
        file
        for file in files
        if stem_of(file).lower().endswith(_SEGMENTATION) and stem_of(file)[: -len(_SEGMENTATION)] in names
    }
    if beside:
        warnings.warn(
            f"{folder}: {len(beside)} segmentations beside their scans, {min(beside).name} among them, are not predicted; move them to "
            "another folder, or give one by its path",
            FewmaskWarning,
            stacklevel=5,
        )
    return [file for file in files if file not in beside]


def _check_names(scans: Sequence[Scan]) -> None:
    """Two scans must not share a label map's name."""
    taken: dict[str, Scan] = {}
    for scan in scans:
        other = taken.setdefault(scan.output_name, scan)
        if other is not scan:
            raise _one_name(scan.files[0], other.files[0])


def _one_name(path: Path, other: Path) -> DataError:
    return DataError(f"{path}: its label map would have the same name as that of {other.name}; rename one of them")
