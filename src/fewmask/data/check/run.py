"""Everything that can be wrong with a data set, found before hours are spent on it, and all of it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fewmask.data.check.findings import SEVERITIES, CheckReport, Finding, Row
from fewmask.data.check.inspect_case import Inspection, inspect_case
from fewmask.data.dataset import Dataset
from fewmask.data.layout import Case
from fewmask.data.owners import in_doubt
from fewmask.data.patients import find_patients
from fewmask.errors import DataError

if TYPE_CHECKING:
    from fewmask.config import GeometryChoice

__all__ = ["CheckReport", "Finding", "Row", "check_dataset"]

OUTLIER = 1.5  # a spacing this many times the median, or this many times smaller, is worth a look


def check_dataset(
    data: Dataset | Path | str,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    *,
    geometry: GeometryChoice = "header",
) -> CheckReport:
    """Read every file of a data set once and report all that is wrong.

    No label is opened but those of ``labelsTr`` and ``labelsTs``; no more than ``workers`` cases are in memory.

    Args:
        data: a data set or its folder.
        workers: threads that read; decompression runs in parallel.
        progress: called with the number of cases done and in all.
        geometry: what says where voxels lie; see `fewmask.config.PreprocessConfig`.

    Raises:
        DataError: ``dataset.json`` is missing or wrong, or there is no scan at all. Anything else is a finding.
    """
    dataset = data if isinstance(data, Dataset) else Dataset.open(data, strict=False)

    try:
        dims: int | None = dataset.spatial_dims
    except DataError:  # no scan can be read, as the findings will say
        dims = None

    def inspect(case: Case) -> Inspection:
        return inspect_case(case, dataset.class_names, len(dataset.channel_names), dims=dims, by=geometry)

    inspections = []
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for inspection in pool.map(inspect, dataset.cases.values()):
            inspections.append(inspection)
            if progress is not None:
                progress(len(inspections), len(dataset))
    findings = [Finding(p.severity, p.case, p.path, p.message) for p in dataset.problems]
    findings += [finding for inspection in inspections for finding in inspection.findings]
    findings += [
        *_duplicates(inspections, dataset.root),
        *_outliers(inspections),
        *_unsized(inspections),
        *_single_slices(inspections),
        *_overview(dataset, inspections),
        *_patients(dataset),
    ]
    findings.sort(key=lambda finding: (SEVERITIES.index(finding.severity), finding.case or "", str(finding.path)))
    return CheckReport(
        dataset.name, dataset.root, dataset.class_names, findings, [inspection.row for inspection in inspections]
    )


def _duplicates(inspections: list[Inspection], root: Path) -> Iterator[Finding]:
    """Scans with the same voxels: in training and test they make the test figures worthless."""
    same: dict[str, list[Case]] = {}
    for inspection in inspections:
        if inspection.digest is not None:
            same.setdefault(inspection.digest, []).append(inspection.case)
    for cases in same.values():
        for case in cases[1:]:
            twin = cases[0] if (case.group == "test") == (cases[0].group == "test") else None
            leaked = next((other for other in cases if (other.group == "test") != (case.group == "test")), None)
            other = leaked or twin or cases[0]
            where = other.images[0].relative_to(root).as_posix()
            if leaked is not None:
                message = f"is the same scan as {where}: leakage between training and test; remove one of them"
                yield Finding("error", case.id, case.images[0], message)
            else:
                yield Finding("warning", case.id, case.images[0], f"is the same scan as {where}; remove one of them")


def _outliers(inspections: list[Inspection]) -> Iterator[Finding]:
    measured = [(inspection.case, inspection.row.spacing) for inspection in inspections if inspection.row.spacing]
    sized = {inspection.case.id for inspection in inspections if inspection.row.unit == "mm"}
    dims = {len(spacing) for _, spacing in measured}
    if len(dims) > 1:
        usual = max(dims, key=[len(spacing) for _, spacing in measured].count)
        for case, spacing in measured:
            if len(spacing) != usual:
                message = f"is {len(spacing)}D, but most scans are {usual}D; keep them in data sets of their own"
                yield Finding("error", case.id, case.images[0], message)
        measured = [(case, spacing) for case, spacing in measured if len(spacing) == usual]
    measured = [(case, spacing) for case, spacing in measured if case.id in sized]
    if not measured:
        return
    median = np.median([spacing for _, spacing in measured], axis=0)
    for case, spacing in measured:
        if np.any(np.maximum(spacing / median, median / np.maximum(spacing, 1e-12)) > OUTLIER):
            here, usually = (" x ".join(f"{length:.3g}" for length in lengths) for lengths in (spacing, median))
            message = f"has voxels of {here} mm, far from the median of {usually} mm; check its header"
            yield Finding("warning", case.id, case.images[0], message)


def _unsized(inspections: list[Inspection]) -> Iterator[Finding]:
    """Pictures without a spacing among scans that have one: their distances have no common unit."""
    unsized = [inspection.case for inspection in inspections if inspection.row.unit == "px"]
    if 0 < len(unsized) < sum(inspection.row.unit is not None for inspection in inspections):
        for case in unsized:
            message = "does not say how large a pixel is, as other scans do; write the spacing into it, or score with --unit voxel"
            yield Finding("warning", case.id, case.images[0], message)


def _single_slices(inspections: list[Inspection]) -> Iterator[Finding]:
    """Volumes of one slice among thicker ones: a scout, perhaps, or a slice of a volume that was taken apart."""
    for inspection in inspections:
        shape = inspection.row.shape
        if shape is not None and len(shape) == 3 and 1 in shape:
            case = inspection.case
            message = "has one slice, where other scans have several; it is taken as a volume of one slice"
            yield Finding("warning", case.id, case.images[0], message)


def _overview(dataset: Dataset, inspections: list[Inspection]) -> Iterator[Finding]:
    description, path = dataset.description, dataset.root / "dataset.json"
    training = len(dataset.ids("train"))
    if description.num_training not in (None, training):
        message = f"says numTraining {description.num_training}, but {training} scans of imagesTr have a label"
        yield Finding("note", None, path, message)
    if not training:
        yield Finding(
            "error", None, dataset.root / "labelsTr", "holds no label of a scan; add at least one to train with"
        )
    if (first := dataset.class_names[0]).casefold() != "background":
        message = f"calls class 0 {first!r}; it counts as background, which is neither learnt as an object nor scored"
        yield Finding("note", None, path, message)
    unscored = dataset.ids("test", labelled=False)
    if unscored:
        message = (
            f"{len(unscored)} of {len(dataset.ids('test'))} test scans have no label in labelsTs and cannot be scored"
        )
        yield Finding("note", None, dataset.root / "imagesTs", message)
    volumes = [inspection.row.volumes for inspection in inspections if inspection.row.volumes is not None]
    for value, name in enumerate(dataset.class_names):
        if volumes and not any(counts[value] for counts in volumes):
            yield Finding("warning", None, path, f"names the class {name!r} ({value}), but no label contains it")


def _patients(dataset: Dataset) -> Iterator[Finding]:
    """Whose scans they are, where the ids tell it and ``dataset.json`` does not; and who is in training and test scans."""
    path = dataset.root / "dataset.json"
    found = find_patients(dataset.cases)
    told = dataset.description.patients or dataset.description.unrelated
    if not told and found.verdict == "doubtful":
        yield Finding("warning", None, path, in_doubt(found))
    elif not told and found.verdict == "clear":
        rule = f" (rule {found.pattern})" if found.pattern else ""
        message = f"does not say so, but by their ids {found.describe()}{rule}; a split keeps them together, or not with --patients none"
        yield Finding("note", None, path, message)
    of = dataset.description.patients or ({} if told or found.verdict != "clear" else found.of)
    trained = {of[case]: case for case in (*dataset.ids("train"), *dataset.ids("unlabelled")) if case in of}
    for case in dataset.ids("test"):
        if case in of and of[case] in trained:
            message = f"is of the patient of {trained[of[case]]!r}, who is trained on: test scores will be too good; move one of them"
            yield Finding("warning", case, dataset.case(case).images[0], message)
