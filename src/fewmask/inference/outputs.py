"""Where results go: beside each other, never over a scan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fewmask.data.image import suffix_of
from fewmask.errors import DataError
from fewmask.inference.inputs import Scan
from fewmask.places import inside


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


def check_apart(source: Path, scans: Sequence[Scan], paths: Sequence[Path]) -> None:
    """Refuse to overwrite a scan, or to mix label maps with the scans of a folder, where they would pass for scans."""
    for scan, path in zip(scans, paths, strict=True):
        if path.exists() and any(path.samefile(file) for file in scan.files):
            raise DataError(f"{path}: is the scan itself and would be overwritten; write to another folder")
    if source.is_dir() and paths[0].parent.is_dir() and paths[0].parent.samefile(source):
        raise DataError(f"{source}: holds the scans; write the label maps to another folder")


def map_path(labels: Path, folder: str, tail: str = "") -> Path:
    """Where a float map goes: beside its label map, in its format, or as TIFF where that format holds whole numbers only.

    Raises:
        WriteError: ``folder`` is a link there.
    """
    suffix = suffix_of(labels)
    stem = labels.name[: -len(suffix)]
    return inside(labels.parent, folder) / f"{stem}{tail}{'.tif' if suffix in ('.png', '.bmp') else suffix}"
