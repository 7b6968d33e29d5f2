"""What to predict: the scans behind a path, and what their label maps will be called."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from fewmask.data.dataset import Dataset
from fewmask.data.image import SUFFIXES, Image, read_channels, read_geometry, suffix_of
from fewmask.data.layout import is_dataset
from fewmask.errors import DataError
from fewmask.names import check_name
from fewmask.places import special_kind
from fewmask.words import count

_CHANNEL = re.compile(r"(.+)_(\d{4})")
JPEG = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Scan:
    """A scan to predict.

    Attributes:
        name: the case's name, without channel number and ending.
        files: one file per channel, or one that holds all.
    """

    name: str
    files: tuple[Path, ...]

    @property
    def output_name(self) -> str:
        """File name of the label map: the input's, in the input's format; PNG where the input is JPEG, which would blur labels."""
        suffix = suffix_of(self.files[0])
        return self.name + (".png" if suffix in JPEG else suffix)

    def check(self, spatial_dims: int) -> None:
        """Look at the headers alone: what cannot be predicted is known before hours are spent on the scans before it.

        Raises:
            DataError: a header cannot be read, or says another number of dimensions.
        """
        for path in self.files:
            geometry = read_geometry(path)
            if len(geometry.shape) != spatial_dims:
                raise DataError(
                    f"{path}: is {len(geometry.shape)}D ({geometry.describe()}), but the model was trained on "
                    f"{spatial_dims}D scans; remove or convert it"
                )

    def read(self, channels: Sequence[str]) -> Image:
        """Image ``(C, *S)`` with the channels that the model was trained on.

        Raises:
            DataError: unreadable, channels on differing grids, or not as many as the model needs.
        """
        image = read_channels(self.files)
        if len(image.data) != len(channels):
            have = count(len(image.data), "channel")
            names = ", ".join(channels)
            raise DataError(
                f"{image.path}: has {have}, but the model was trained on {len(channels)} ({names}); give it those"
            )
        return image


def check_unlabelled(dataset: Dataset, cases: Sequence[str]) -> None:
    """See that there are scans whose label a run did not see, and that their headers can be read.

    Raises:
        DataError: there is none, or see `Scan.check`.
    """
    if not cases:
        raise DataError(f"{dataset.root}: has no scan that the run did not see the label of; put scans into imagesUn/")
    for case in cases:
        Scan(case, dataset.case(case).images).check(dataset.spatial_dims)


def find_scans(path: Path, channels: int) -> list[Scan]:
    """The scans of a file or a folder, by name.

    Of a dataset folder all scans, training, unlabelled and test. In another folder, ``ID_0000.ext``, ``ID_0001.ext``... are the channels of one scan; a file without such a number is a scan of its own.

    Args:
        path: a file, or a folder (its subfolders are not searched).
        channels: how many channels the model needs.

    Raises:
        DataError: nothing there, no file of a supported format, or names that cannot be told apart.
    """
    if path.is_file():
        suffix_of(path)
        return [_scan_of_file(path, channels)]
    if kind := special_kind(path):
        raise DataError(f"{path}: is {kind} and no file; give an image file or a folder of images")
    if not path.is_dir():
        raise DataError(f"{path}: does not exist; give an image file or a folder of images")
    if is_dataset(path):
        return [Scan(case.id, case.images) for case in Dataset.open(path).cases.values()]
    groups: dict[tuple[str, str], list[Path]] = {}
    for file in sorted(path.iterdir()):
        if file.name.startswith(".") or not file.name.lower().endswith(SUFFIXES):
            continue
        check_name(file.name, f"{path}: the file name")
        groups.setdefault((_name(file), suffix_of(file)), []).append(file)
    if not groups:
        raise DataError(
            f"{path}: holds no image, and its subfolders are not searched; give the folder of the images themselves "
            f"(supported endings: {', '.join(SUFFIXES)})"
        )
    scans = [Scan(name, tuple(files)) for (name, _), files in groups.items()]
    _check_numbers(scans)
    _check_names(scans)
    return scans


def scans_of_cases(path: Path, channels: int, cases: Collection[str] | None) -> list[Scan]:
    """`find_scans`, those of certain names alone; None: all.

    Raises:
        DataError: as `find_scans`, or there is none of these names.
    """
    scans = [scan for scan in find_scans(path, channels) if cases is None or scan.name in cases]
    if not scans:
        raise DataError(f"{path}: holds none of the {len(cases or ())} scans that are asked for; give their folder")
    return scans


def _check_numbers(scans: Sequence[Scan]) -> None:
    """Several files of one name must be its channels 0, 1, ...: a gap would shift all behind it."""
    for scan in scans:
        suffix = scan.files[0].name[-len(suffix_of(scan.files[0])) :]
        wanted = [f"{scan.name}_{channel:04d}{suffix}".lower() for channel in range(len(scan.files))]
        if len(scan.files) > 1 and [file.name.lower() for file in scan.files] != wanted:
            names = ", ".join(file.name for file in scan.files)
            raise DataError(
                f"{scan.files[0].parent}: {names} are no channels 0 to {len(wanted) - 1} of one scan; rename them"
            )


def _check_names(scans: Sequence[Scan]) -> None:
    """Two scans must not share a label map's name."""
    taken: dict[str, Scan] = {}
    for scan in scans:
        other = taken.setdefault(scan.output_name, scan)
        if other is not scan:
            raise DataError(
                f"{scan.files[0]}: its label map would have the same name as that of {other.files[0].name}; rename one of them"
            )


def _scan_of_file(path: Path, channels: int) -> Scan:
    """A single file; with several channels wanted, its siblings of the same name go with it."""
    name, suffix = _name(path), path.name[-len(suffix_of(path)) :]
    siblings = [path.with_name(f"{name}_{channel:04d}{suffix}") for channel in range(channels)]
    if channels > 1 and path in siblings and all(sibling.is_file() for sibling in siblings):
        return Scan(name, tuple(siblings))
    return Scan(name, (path,))


def _name(path: Path) -> str:
    stem = path.name[: -len(suffix_of(path))]
    match = _CHANNEL.fullmatch(stem)
    return match[1] if match else stem
