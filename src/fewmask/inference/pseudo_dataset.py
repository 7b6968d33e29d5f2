"""A data set whose unlabelled scans have the labels that a model gives them: for another round of training, here or in nnU-Net."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewmask.data.convert.write import write_picture
from fewmask.data.dataset import Dataset
from fewmask.data.formats.bitmap import JPEG
from fewmask.data.image import read_image, suffix_of, write_image
from fewmask.data.layout import Case
from fewmask.data.place import Link, copy, ending_of, place, with_companions
from fewmask.data.roles import Roles, check_fits, roles_of
from fewmask.data.split import Split
from fewmask.data.split_file import write_split
from fewmask.errors import ConfigError, DataError, RunError
from fewmask.files import append_text, make_folder, read_json, sweep, write_json, write_text
from fewmask.inference.inputs import check_unlabelled
from fewmask.inference.outputs import there_first
from fewmask.inference.predictor import Predictor
from fewmask.inference.pseudo_rows import Row, lines, read_rows
from fewmask.inference.pseudo_rows import table as table_text
from fewmask.inference.scan import Scan
from fewmask.locks import locked
from fewmask.places import inside

Array = NDArray[Any]
MANIFEST, TABLE, CONFIDENCE, SPLIT = "pseudo_labels.json", "pseudo_labels.csv", "confidence", "pseudo"
PREDICTED = " (predicted labels)"  # in the name: its runs do not stand beside those that had as many true ones
LEVELS = 255  # a confidence map holds probabilities times this, rounded down
FOLDERS = ("imagesTr", "labelsTr", "imagesUn", "imagesTs", "labelsTs", CONFIDENCE)


@dataclass(frozen=True)
class Choice:
    """What becomes of a prediction.

    Attributes:
        min_confidence: scans whose mean confidence over the predicted foreground is lower get no label; none: all get one.
        ignore_below: voxels whose confidence is lower get nnU-Net's ``ignore`` label; none: no voxel does.
        link: whether images are hard or symbolic links; none: copies.
    """

    min_confidence: float | None = None
    ignore_below: float | None = None
    link: Link | None = None


@dataclass(frozen=True)
class Outcome:
    """What `write_pseudo_labels` made.

    Attributes:
        roles: the scans of the source.
        rows: a row for each of its unlabelled scans.
    """

    roles: Roles
    rows: list[Row]


def write_pseudo_labels(
    predictor: Predictor,
    source: Dataset,
    split: Split,
    output: Path,
    *,
    choice: Choice,
    origin: Mapping[str, Any],
    progress: Callable[[int, int], None] | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Write a dataset folder with the true labels that a run could see and predicted ones for all other training scans.

    The labels that the split hides are not opened. ``dataset.json`` is written last, so a folder that has one is complete. The
    same call again goes on where one was stopped.

    Args:
        predictor: of the run.
        source: the data set; nothing is written there.
        split: of the run.
        output: the new folder.
        choice: what becomes of the predictions.
        origin: what the predictions come from, such as the run's name and the digest of its weights; kept in the folder, and
            compared where a call goes on.
        progress: called with scans done and scans in all.
        overwrite: predict scans anew that are there, and replace files whose contents differ from what this call writes, such as
            labels that were corrected by hand.

    Raises:
        ConfigError: ``output`` was begun from other weights or with another choice.
        DataError: the data set does not fit the run, has no unlabelled scan, or a scan cannot be read.
        RunError: ``output`` holds something else.
        WriteError: a file cannot be written, or is there with other contents.
    """
    roles = roles_of(source, split)
    check_fits(source, predictor.channels, predictor.task.class_names, predictor.task.spatial_dims)
    check_unlabelled(source, roles.unlabelled)
    manifest = {"format": 1, "source": str(source.root.resolve()), **origin, **asdict(choice)}
    _check_output(output, source, manifest)
    make_folder(output)
    with locked(output):
        write_json(output / MANIFEST, manifest)
        _sweep(output)
        writer = _Writer(predictor, source, output, choice, overwrite)
        before = () if overwrite else read_rows(output / TABLE)
        rows = {row.case: row for row in before if row.case in roles.unlabelled}
        write_text(output / TABLE, table_text(rows.values()))
        cases = [*roles.labelled, *roles.test, *roles.unlabelled]
        for done, case in enumerate(cases):
            if progress:
                progress(done, len(cases))
            if case not in roles.unlabelled:
                writer.copy(source.case(case), test=case in roles.test)
            elif case not in rows:
                rows[case] = writer.label(source.case(case))
                append_text(output / TABLE, lines([rows[case]]))
        table = [rows[case] for case in roles.unlabelled]
        write_text(output / TABLE, table_text(table))
        _describe(output, source, roles, table, split=split, choice=choice, overwrite=overwrite)
        if progress:
            progress(len(cases), len(cases))
    return Outcome(roles, table)


class _Writer:
    """Writes cases into a new folder; a case that is there is written again to the same bytes."""

    def __init__(self, predictor: Predictor, source: Dataset, output: Path, choice: Choice, overwrite: bool) -> None:
        self.predictor, self.source, self.output, self.choice = predictor, source, output, choice
        self.overwrite = overwrite
        self.ending = ending_of(source)
        make_folder(output / "imagesTr")
        make_folder(output / "labelsTr")

    def copy(self, case: Case, *, test: bool) -> None:
        """A scan with its true label, if it has one."""
        self._images(case, "imagesTs" if test else "imagesTr")
        if case.label is None:
            return
        target = self.output / ("labelsTs" if test else "labelsTr") / f"{case.id}{self.ending}"
        if suffix_of(case.label) == suffix_of(target):
            for file, there in with_companions(case.label, target, is_label=True):
                copy(file, there, overwrite=self.overwrite)  # never a link: labels are edited in place
        else:
            label = self.source.read_label(case.id)
            write_image(target, label.data, label.geometry, overwrite=self.overwrite)

    def label(self, case: Case) -> Row:
        """A scan with a predicted label, and how sure the model was."""
        scans = [self.predictor.read(Scan(case.id, case.images))]
        geometry, like = scans[0].geometry, case.images[0]
        confidence = np.empty(geometry.shape, dtype=np.float32)
        labels = self.predictor.segment(scans.pop(), confidence=confidence)  # and the scan itself is let go
        found = labels > 0
        mean = float(confidence[found].mean(dtype=np.float64)) if found.any() else None
        least, limit = self.choice.min_confidence, self.choice.ignore_below
        kept = least is None or (mean is not None and mean >= least)
        unsure = confidence < (0 if limit is None else limit)
        row = Row(case.id, kept, mean, int(found.sum()), float(unsure.mean()))
        labels[unsure] = self.predictor.task.num_classes
        levels = np.floor(confidence * LEVELS).astype(np.uint8)
        maps = {CONFIDENCE: levels, "labelsTr": labels} if kept else {CONFIDENCE: levels}
        files = ((self.output / folder / f"{case.id}{self.ending}", values) for folder, values in maps.items())
        for path, values in there_first(files):
            write_image(path, values, geometry, like=like, overwrite=self.overwrite)
        self._images(case, "imagesTr" if kept else "imagesUn")
        return row

    def _images(self, case: Case, folder: str) -> None:
        for number, path in enumerate(case.images):
            target = self.output / folder / f"{case.id}_{number:04d}{self.ending}"
            if suffix_of(path) in JPEG:
                write_picture(target, read_image(path).data, overwrite=self.overwrite)
                continue
            for file, there in with_companions(path, target):
                place(file, there, self.choice.link, overwrite=self.overwrite)


def _check_output(output: Path, source: Dataset, manifest: Mapping[str, Any]) -> None:
    """Only an empty folder is begun, only one's own is gone on with, and the source is neither."""
    if output.is_file():
        raise RunError(f"{output}: is a file; name a folder")
    inside, above = output.resolve(), source.root.resolve()
    if inside.is_relative_to(above) or above.is_relative_to(inside):
        raise RunError(f"{output}: is the data set itself or lies in it; write to another folder")
    if not output.exists() or not any(not entry.name.startswith(".") for entry in output.iterdir()):
        return
    try:
        before = read_json(output / MANIFEST)
    except (OSError, ValueError):
        before = None
    if not isinstance(before, dict):
        raise RunError(f"{output}: is not empty and not begun by fewmask pseudo-label; choose another folder")
    changed = [key for key in manifest if before.get(key) != manifest[key]]
    if changed:
        told = "; ".join(f"{key} ({before.get(key)!r} then, {manifest[key]!r} now)" for key in changed)
        raise ConfigError(f"{output}: was begun otherwise: {told}; choose another folder")


def _sweep(output: Path) -> None:
    """What a killed call left half written: nnU-Net would take hidden files for cases."""
    for folder in (output, *(inside(output, name) for name in FOLDERS)):
        sweep(folder)


def _describe(
    output: Path,
    source: Dataset,
    roles: Roles,
    rows: list[Row],
    *,
    split: Split,
    choice: Choice,
    overwrite: bool = False,
) -> None:
    """``splits.json`` and ``dataset.json``; other splits stay."""
    values = _description(output, source, roles, rows, choice)
    write_split(output, SPLIT, _pseudo_split(roles, rows, split), replace=overwrite, option="--overwrite")
    write_json(output / "dataset.json", values, overwrite=overwrite)


def _description(output: Path, source: Dataset, roles: Roles, rows: list[Row], choice: Choice) -> dict[str, Any]:
    """``dataset.json``, in which nothing is said of cases that are not there."""
    kept = [row.case for row in rows if row.kept]
    labels = {name: value for value, name in enumerate(source.class_names)}
    if choice.ignore_below is not None:
        labels["ignore"] = len(labels)
    if not roles.labelled and not kept:
        raise DataError(f"{output}: no scan got a label; lower --min-confidence")
    values = {
        "channel_names": {str(number): name for number, name in enumerate(source.channel_names)},
        "labels": labels,
        "numTraining": len(roles.labelled) + len(kept),
        "file_ending": ending_of(source),
        "name": source.name.removesuffix(PREDICTED) + PREDICTED,
        "description": f"{len(roles.labelled)} scans with true labels, {len(kept)} with those of a model; see {MANIFEST}",
    }
    if source.description.patients:
        values["patients"] = source.description.patients
    if source.description.shortcuts:
        values["shortcuts"] = list(source.description.shortcuts)
    return values


def _pseudo_split(roles: Roles, rows: list[Row], split: Split) -> Split:
    """Validation has true labels only."""
    kept, left = ([row.case for row in rows if row.kept == chosen] for chosen in (True, False))
    return Split(
        labelled=tuple(sorted({*roles.labelled, *kept} - {*roles.validation})),
        validation=roles.validation,
        unlabelled=tuple(left),
        test=roles.test,
        how=f"{len(roles.labelled)} true labels, {len(kept)} predicted ones; validation has true ones only",
        shortcuts=split.shortcuts,  # but no protocol, which knows true labels only
    )
