"""Where results go: beside each other, never over a scan, and never over each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fewmask.data.image import suffix_of
from fewmask.errors import DataError
from fewmask.inference.scan import Scan
from fewmask.places import inside

Value = TypeVar("Value")


@dataclass(frozen=True)
class Outputs:
    """The files that a scan will have.

    Attributes:
        labels: its label map.
        classes: a map of the probability of each class; empty where none is wanted.
        beside: further maps by their names, such as ``"uncertainty"``.
    """

    labels: Path
    classes: tuple[Path, ...]
    beside: dict[str, Path]

    @classmethod
    def of(cls, labels: Path, classes: Sequence[str], beside: Sequence[str]) -> Outputs:
        """The files beside a label map.

        Args:
            labels: the label map.
            classes: the classes whose probabilities are wanted, as parts of file names.
            beside: names of further maps, which are those of their folders.
        """
        maps = tuple(map_path(labels, "probabilities", f"_{name}") for name in classes)
        return cls(labels, maps, {name: map_path(labels, name) for name in beside})

    def __iter__(self) -> Iterator[Path]:
        return iter((self.labels, *self.classes, *self.beside.values()))

    @property
    def begun(self) -> bool:
        """Whether one of them is there already."""
        return any(path.exists() for path in self)


def output_path(scan: Scan, target: Path, *, single: bool) -> Path:
    """Where a scan's label map goes: into the folder ``target``, or, for a single scan, to the file that ``target`` names."""
    if not single and target.is_file():
        raise DataError(f"{target}: is a file, but the label maps of a folder go into a folder; name one")
    if not single or target.is_dir():
        return target / scan.output_name
    try:
        suffix_of(target)
    except DataError:
        return target / scan.output_name
    return target


def check_apart(source: Path, scans: Sequence[Scan], outputs: Sequence[Outputs]) -> None:
    """Refuse to overwrite a scan, to mix label maps with the scans of a folder, where they would pass for scans, or to write two maps into one file.

    Names that differ in upper and lower case alone are told apart, as the file system of the scans did.
    """
    taken: dict[Path, Scan] = {}
    for scan, files in zip(scans, outputs, strict=True):
        path = files.labels
        if path.exists() and any(path.samefile(file) for file in scan.files):
            raise DataError(f"{path}: is the scan itself and would be overwritten; write to another folder")
        for file in files:
            if (other := taken.setdefault(file, scan)) is not scan:
                raise DataError(
                    f"{scan.files[0]}: its map {file.parent.name}/{file.name} would have the same name as one of "
                    f"{other.files[0].name}; rename one of them"
                )
    folder = outputs[0].labels.parent
    if source.is_dir() and folder.is_dir() and folder.samefile(source):
        raise DataError(f"{source}: holds the scans; write the label maps to another folder")


def outputs_of(
    source: Path, target: Path, scans: Sequence[Scan], classes: Sequence[str], beside: Sequence[str]
) -> list[Outputs]:
    """The files of each scan; see `output_path`, `Outputs.of` and `check_apart`."""
    paths = [output_path(scan, target, single=source.is_file()) for scan in scans]
    outputs = [Outputs.of(path, classes, beside) for path in paths]
    check_apart(source, scans, outputs)
    return outputs


def begun_first(scans: Sequence[Scan], outputs: Sequence[Outputs]) -> list[tuple[Scan, Outputs]]:
    """Scans and their files, those first that have one: a refusal to replace it comes before hours are spent on the others."""
    return sorted(zip(scans, outputs, strict=True), key=lambda pair: not pair[1].begun)


def there_first(pairs: Iterable[tuple[Path, Value]]) -> list[tuple[Path, Value]]:
    """Files and what goes into them, those first that are there: a refusal to replace one comes before a new one is written."""
    return sorted(pairs, key=lambda pair: not pair[0].exists())


def map_path(labels: Path, folder: str, tail: str = "") -> Path:
    """Where a float map goes: beside its label map, in its format, or as TIFF where that format holds whole numbers only.

    Raises:
        WriteError: ``folder`` is a link there.
    """
    suffix = suffix_of(labels)
    stem = labels.name[: -len(suffix)]
    return inside(labels.parent, folder) / f"{stem}{tail}{'.tif' if suffix in ('.png', '.bmp') else suffix}"
