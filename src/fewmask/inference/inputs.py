"""What to predict: the scans behind a path, and what their label maps will be called."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from fewmask.data.dataset import Dataset
from fewmask.data.image import SUFFIXES, suffix_of
from fewmask.data.layout import is_dataset
from fewmask.errors import DataError
from fewmask.inference.channel_numbers import scan_of_file, scans_of_files
from fewmask.inference.scan import Scan
from fewmask.names import check_name
from fewmask.places import special_kind


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

    Of a dataset folder all scans, training, unlabelled and test. What a number such as ``_0001`` at a name's end means in another
    folder, the model's channels say; see `fewmask.inference.channel_numbers`.

    Args:
        path: a file, or a folder (its subfolders are not searched).
        channels: how many channels the model needs.

    Raises:
        DataError: nothing there, no file of a supported format, or names that cannot be told apart.
    """
    if path.is_file():
        suffix_of(path)
        return [scan_of_file(path, channels)]
    if kind := special_kind(path):
        raise DataError(f"{path}: is {kind} and no file; give an image file or a folder of images")
    if not path.is_dir():
        raise DataError(f"{path}: does not exist; give an image file or a folder of images")
    if is_dataset(path):
        return [Scan(case.id, case.images) for case in Dataset.open(path).cases.values()]
    return scans_of_files(path, _images(path), channels)


def _images(folder: Path) -> list[Path]:
    """The images right in a folder, sorted; hidden files and other formats are passed over."""
    files = [
        file
        for file in sorted(folder.iterdir())
        if not file.name.startswith(".") and file.name.lower().endswith(SUFFIXES)
    ]
    for file in files:
        check_name(file.name, f"{folder}: the file name")
    if not files:
        raise DataError(
            f"{folder}: holds no image, and its subfolders are not searched; give the folder of the images themselves "
            f"(supported endings: {', '.join(SUFFIXES)})"
        )
    return files


def scans_of_cases(path: Path, channels: int, cases: Collection[str] | None) -> list[Scan]:
    """`find_scans`, those of certain names alone; None: all.

    Raises:
        DataError: as `find_scans`, or there is none of these names.
    """
    scans = [scan for scan in find_scans(path, channels) if cases is None or scan.name in cases]
    if not scans:
        raise DataError(f"{path}: holds none of the {len(cases or ())} scans that are asked for; give their folder")
    return scans
