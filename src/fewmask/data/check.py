"""Everything that can be wrong with a data set, found before hours are spent on it, and all of it at once."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fewmask.data.dataset import Dataset
from fewmask.data.formats_bitmap import exif_orientation
from fewmask.data.image import Image, read_image, read_label, suffix_of
from fewmask.data.layout import Case
from fewmask.errors import DataError

if TYPE_CHECKING:
    from rich.console import RenderableType

Severity = Literal["error", "warning", "note"]
SPACING_FACTOR = 1.5  # a spacing this many times the median, or the median's part, is an outlier


@dataclass(frozen=True)
class Finding:
    """One thing to know about a data set.

    Attributes:
        severity: ``"error"`` stops training or makes its figures wrong, ``"warning"`` may, ``"note"`` does not.
        case: the case it is about, or None.
        path: the file it is about.
        message: what is wrong and what to do.
    """

    severity: Severity
    case: str | None
    path: Path
    message: str


@dataclass(frozen=True)
class Row:
    """What was measured on one case; None where a file could not be read.

    Attributes:
        case: its id.
        group: train, unlabelled or test.
        shape: voxels per axis.
        spacing: millimetres per axis.
        channels: number of channels.
        intensity: smallest, mean and largest finite value of all channels.
        volumes: voxels of each class, background first; None without a label.
    """

    case: str
    group: str
    shape: tuple[int, ...] | None = None
    spacing: tuple[float, ...] | None = None
    channels: int | None = None
    intensity: tuple[float, float, float] | None = None
    volumes: tuple[int, ...] | None = None


@dataclass(frozen=True)
class CheckReport:
    """The outcome of `check_dataset`.

    Attributes:
        name: of the data set.
        root: its folder.
        class_names: background first.
        findings: errors first, then warnings and notes, each by case.
        rows: one a case, by id.
    """

    name: str
    root: Path
    class_names: tuple[str, ...]
    findings: list[Finding] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing was found that stops training."""
        return not self.count("error")

    def count(self, severity: Severity) -> int:
        """How many findings are of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def summary(self) -> dict[str, Any]:
        """The data set in a few figures: cases a group, shapes and spacings from smallest to largest, class shares."""
        groups = {group: sum(row.group == group for row in self.rows) for group in ("train", "unlabelled", "test")}
        labelled = [row for row in self.rows if row.volumes is not None]
        total = sum(sum(row.volumes or ()) for row in labelled)
        share = {
            name: sum((row.volumes or ())[value] for row in labelled) / total if total else None
            for value, name in enumerate(self.class_names)
        }
        return {
            "name": self.name,
            "cases": groups,
            "labelled": len(labelled),
            "shape": _extent([row.shape for row in self.rows if row.shape is not None]),
            "spacing": _extent([row.spacing for row in self.rows if row.spacing is not None]),
            "class_share": share,
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "notes": self.count("note"),
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; paths are relative to the data set where they lie in it."""
        findings = [{**asdict(finding), "path": relative(finding.path, self.root)} for finding in self.findings]
        return {"summary": self.summary(), "findings": findings, "cases": [asdict(row) for row in self.rows]}

    def tables(self) -> list[RenderableType]:
        """The report for a terminal."""
        from fewmask.data.check_tables import tables

        return tables(self)


def check_dataset(
    data: Dataset | Path | str, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> CheckReport:
    """Read every file of a data set once and report all that is wrong.

    Opens labels of ``labelsTr`` and ``labelsTs`` only; holds ``workers`` cases in memory at a time.

    Args:
        data: a data set or its folder.
        workers: threads that read; decompression runs in parallel.
        progress: called with the number of cases done and in all.

    Raises:
        DataError: ``dataset.json`` is missing or wrong, or there is no scan at all. Anything else is a finding.
    """
    dataset = data if isinstance(data, Dataset) else Dataset.open(data, strict=False)
    cases = list(dataset.cases.values())
    findings = [Finding(p.severity, p.case, p.path, f"{p.message}") for p in dataset.problems]
    rows, digests = [], []
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for done, (row, digest, found) in enumerate(pool.map(lambda case: _check_case(dataset, case), cases), start=1):
            rows.append(row)
            digests.append(digest)
            findings.extend(found)
            if progress is not None:
                progress(done, len(cases))
    findings.extend(_duplicates(cases, digests))
    findings.extend(_outliers(cases, rows))
    findings.extend(_counts(dataset))
    order = {"error": 0, "warning": 1, "note": 2}
    findings.sort(key=lambda f: (order[f.severity], f.case or "", str(f.path), f.message))
    return CheckReport(dataset.name, dataset.root, dataset.class_names, findings, rows)


def relative(path: Path, root: Path) -> str:
    """``path`` as seen from the data set's folder."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _check_case(dataset: Dataset, case: Case) -> tuple[Row, str | None, list[Finding]]:
    """One case: its row, a hash of its voxels, and the findings."""
    findings: list[Finding] = []

    def add(severity: Severity, path: Path, message: str) -> None:
        findings.append(Finding(severity, case.id, path, message))

    images = []
    for path in case.images:
        try:
            images.append(read_image(path))
        except DataError as error:
            add("error", path, str(error).removeprefix(f"{path}: "))
        else:
            for severity, message in _about_image(images[-1]):
                add(severity, path, message)
    for image in images[1:]:
        if not image.geometry.matches(images[0].geometry):
            add("error", image.path, _other_grid(image, images[0]))
    channels = sum(len(image.data) for image in images)
    complete = len(images) == len(case.images)
    if complete and len(case.images) in (1, len(dataset.channel_names)) and channels != len(dataset.channel_names):
        add("error", case.images[0], f"has {channels} channels, but dataset.json names {len(dataset.channel_names)}")

    volumes = None
    if case.label is not None:
        try:
            label = read_label(case.label)
        except DataError as error:
            add("error", case.label, str(error).removeprefix(f"{case.label}: "))
        else:
            counts = np.bincount(label.data.ravel(), minlength=len(dataset.class_names))
            for severity, message in _about_label(counts, dataset.class_names):
                add(severity, case.label, message)
            if images and not label.geometry.matches(images[0].geometry):
                add("error", case.label, _other_grid(label, images[0]))
            volumes = tuple(int(count) for count in counts[: len(dataset.class_names)])
    if not images:
        return Row(case.id, case.group, volumes=volumes), None, findings
    geometry = images[0].geometry
    row = Row(case.id, case.group, geometry.shape, geometry.spacing, channels, _intensity(images), volumes)
    return row, _digest(images) if complete else None, findings
