"""Scoring a folder of predicted label maps against a folder of references."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from fewmask.data.dataset import Dataset
from fewmask.data.grids import agree, apart
from fewmask.data.image import SUFFIXES, Image, read_label, suffix_of
from fewmask.data.layout import is_dataset
from fewmask.errors import ConfigError, DataError, nearest
from fewmask.metrics.evaluation import Asked, Evaluation, Row, Unit
from fewmask.metrics.row_set import row_set_distance
from fewmask.metrics.score import EXTRAS, Score, metric_names, score_labels
from fewmask.names import check_name
from fewmask.places import special_kind
from fewmask.words import count

if TYPE_CHECKING:
    from fewmask.config import GeometryChoice

_MARK = re.compile(r"(.+)[._-](?:seg|segmentation|label|labels|mask|gt|anno)", re.IGNORECASE)


def evaluate(
    predictions: Path | str,
    reference: Path | str,
    class_names: Sequence[str] | None = None,
    *,
    unit: Asked = "mm",
    nsd_tolerance: float | None = None,
    also: Sequence[str] = (),
    cases: Iterable[str] | None = None,
    allow_missing: bool = False,
    geometry: GeometryChoice = "header",
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score predicted label maps against references; one case is in memory at a time.

    Args:
        predictions: a folder of label maps, or one file.
        reference: likewise, or a dataset folder, all of whose labels are then references. Files of two folders belong together by
            their names without the ending, and without a mark such as ``.seg`` of the reference's; two files always.
        class_names: background first, label value = position; None: every value found is a class, ``class_1``...
        unit: of the distances: millimetres by the spacing of the reference (or, if it says none, of the prediction), or voxels.
            Pictures that say nothing of their size are measured in pixels.
        nsd_tolerance: also compute the surface Dice at this distance, in ``unit``.
        also: further metrics: ``hd_rowset``, of 2D label maps (see `row_set_distance`).
        cases: the names to score; None: every reference.
        allow_missing: score a case without a prediction as all background instead of refusing.
        geometry: what says where voxels lie; under ``scan`` two label maps of one shape are compared voxel by voxel, whatever their
            headers say. See `fewmask.config.PreprocessConfig`.
        progress: called with cases done and cases in all.

    Raises:
        DataError: a path is missing or of the wrong kind, a case lacks a file, two files carry one name, the two grids
            of a case differ, or a label value has no class; or some cases have a spacing and others say none.
        ConfigError: the unit or the geometry is unknown, or the tolerance negative.
    """
    if unit not in get_args(Asked):
        raise ConfigError(f"there is no unit {unit!r}: {nearest(unit, get_args(Asked))}")
    if unknown := [name for name in also if name not in EXTRAS]:
        raise ConfigError(f"there is no further metric {unknown[0]!r}: {nearest(unknown[0], EXTRAS)}")
    predicted, true = _matched(Path(predictions), Path(reference))
    names = _chosen(cases, true, reference)
    missing = [name for name in names if name not in predicted]
    if missing and not allow_missing:
        raise DataError(
            f"{predictions}: has no prediction of {_listing(missing)}; add the files, or count missing ones as "
            "empty label maps (--allow-missing, in Python allow_missing=True)"
        )
    scores: dict[str, dict[int, Score]] = {}
    units: dict[Unit, str] = {}
    for done, name in enumerate(names, start=1):
        scores[name], own = _score_case(
            predicted.get(name),
            true[name],
            class_names,
            unit,
            nsd_tolerance=nsd_tolerance,
            also=also,
            geometry=geometry,
        )
        units.setdefault(own, name)
        _refuse_mixture(units)
        if progress is not None:
            progress(done, len(names))
    labels = _labels(class_names, scores.values())
    rows = _rows(scores, labels, Score("absent", dict.fromkeys(metric_names(nsd_tolerance, also))))
    extra = () if cases is not None else tuple(sorted(set(predicted) - set(true)))
    return Evaluation(
        rows, tuple(labels.values()), next(iter(units), unit), nsd_tolerance, tuple(also), tuple(missing), extra
    )


def _chosen(cases: Iterable[str] | None, true: Mapping[str, Path], reference: Path | str) -> list[str]:
    """The names to score, sorted."""
    names = sorted(true if cases is None else set(cases))
    if unknown := [name for name in names if name not in true]:
        raise DataError(f"{reference}: has no label map of {_listing(unknown)}; add the files or leave these cases out")
    return names


def _score_case(
    prediction: Path | None,
    reference: Path,
    class_names: Sequence[str] | None,
    unit: Asked,
    *,
    nsd_tolerance: float | None,
    also: Sequence[str],
    geometry: GeometryChoice,
) -> tuple[dict[int, Score], Unit]:
    """The scores of a case by class, and the unit of its distances."""
    true = read_label(reference, by=geometry)
    predicted = true if prediction is None else read_label(prediction, by=geometry)
    if not agree(predicted.geometry, true.geometry, geometry):
        why = apart(predicted.path, predicted.geometry, reference, true.geometry, geometry)
        raise DataError(f"{predicted.path}: {why}")
    highest = max(_highest(predicted, class_names), _highest(true, class_names))
    values = np.zeros_like(true.data) if prediction is None else predicted.data
    grid = true.geometry if true.geometry.unit == "mm" else predicted.geometry
    spacing = grid.spacing if unit == "mm" else None
    scores = score_labels(values, true.data, len(class_names) if class_names else highest + 1, spacing, nsd_tolerance)
    for label, score in scores.items() if also else ():
        absent = score.status == "absent"
        score.metrics["hd_rowset"] = None if absent else row_set_distance(values == label, true.data == label)
    return scores, grid.unit if unit == "mm" else unit


def _refuse_mixture(units: Mapping[Unit, str]) -> None:
    """Millimetres and pixels have no mean."""
    if len(units) > 1:
        raise DataError(
            f"{units['mm']} has a spacing and {units['px']} says none, so their distances have no common unit; give --unit voxel "
            "(in Python unit='voxel'), or write the spacing into all files"
        )


def _highest(label: Image, class_names: Sequence[str] | None) -> int:
    highest = int(label.data.max(initial=0))
    if class_names and highest >= len(class_names):
        raise DataError(
            f"{label.path}: holds the label value {highest}, but the classes end at {len(class_names) - 1} "
            f"({class_names[-1]}); renumber the labels or name more classes"
        )
    return highest


def _labels(class_names: Sequence[str] | None, scores: Iterable[Mapping[int, Score]]) -> dict[int, str]:
    """Label value to class name; without names, of the values that any case holds."""
    if class_names:
        return dict(enumerate(class_names[1:], start=1))
    found = {value for case in scores for value, score in case.items() if score.status != "absent"}
    return {value: f"class_{value}" for value in sorted(found)}


def _rows(scores: Mapping[str, Mapping[int, Score]], labels: Mapping[int, str], absent: Score) -> tuple[Row, ...]:
    """One a case and class; ``absent`` where a case has no score of a class."""
    found = (
        (case, label, of_case.get(value, absent)) for case, of_case in scores.items() for value, label in labels.items()
    )
    return tuple(Row(case, label, score.status, score.metrics, score.voxels) for case, label, score in found)


def _matched(predictions: Path, reference: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """The files of both sides by case name."""
    for path in (predictions, reference):
        if not path.exists():
            raise DataError(f"{path}: there is no such file or folder; check the path")
    if predictions.is_dir() != reference.is_dir():
        raise DataError(
            f"{predictions} and {reference}: one is a folder, the other a file; give two folders or two files"
        )
    if reference.is_dir():
        predicted, true = _files(predictions), _files(reference)
        named: dict[str, Path] = {}
        for name, path in true.items():
            other = named.setdefault(_as_predicted(name, predicted, true), path)
            if other is not path:
                raise DataError(f"{reference}: {other.name} and {path.name} are of one case; remove one of them")
        return predicted, named
    name = _stem(reference)
    return {name: predictions}, {name: reference}


def _as_predicted(name: str, predicted: Container[str], true: Container[str]) -> str:
    """The name of a reference, without a mark such as ``.seg`` or ``_label`` where the prediction has none."""
    found = _MARK.fullmatch(name)
    if name in predicted or found is None or found[1] not in predicted or found[1] in true:
        return name
    return found[1]


def _files(folder: Path) -> dict[str, Path]:
    if is_dataset(folder):
        data = Dataset.open(folder)
        data.warn_of_lost()
        return {case.id: case.label for case in data.cases.values() if case.label is not None}
    files: dict[str, Path] = {}
    for path in _label_maps(folder):
        if other := files.get(_stem(path)):
            raise DataError(f"{folder}: {other.name} and {path.name} carry one case name; remove one of them")
        files[_stem(path)] = path
    if not files:
        raise DataError(
            f"{folder}: holds no label map, and its subfolders are not searched; give the folder of the label maps "
            f"themselves (supported endings: {', '.join(SUFFIXES)})"
        )
    return files


def _label_maps(folder: Path) -> Iterator[Path]:
    """The label maps right in a folder; hidden files and other formats are passed over."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.name.lower().endswith(SUFFIXES):
            continue
        if kind := special_kind(path):  # passed over, its case would go unscored without a word
            raise DataError(f"{path}: is {kind} and no file; remove it, or put a label map in its place")
        if path.is_file():
            check_name(path.name, f"{folder}: the file name")
            yield path


def _stem(path: Path) -> str:
    return path.name[: -len(suffix_of(path))]


def _listing(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{count(len(names), 'case')}: {', '.join(names[:most])}{more}"
