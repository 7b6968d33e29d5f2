"""HMEPS, human and mouse eyes for pupil segmentation, as its owners give it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from fewmask.data.convert.base import Content, Converter, Plan, Source, register
from fewmask.data.convert.find import descend, files, folders, stem, wrong_layout
from fewmask.data.convert.masks import above, missing
from fewmask.data.image import read_image
from fewmask.errors import DataError

_FRAME = r".+\.(jpg|jpeg|png)"


@register("hmeps")
class Hmeps(Converter):
    """Infrared frames of eyes with the pupil in red. Frames become grey PNG files, the mean of their channels where these differ.

    The subject of a frame is its patient; the test subjects are those of the owners' own code. Frames without a pupil stay.
    """

    title = "HMEPS, human and mouse eyes: pupil"
    published = "hmeps"
    layout = """\
NN_human_mouse_eyes/
  fullFrames/                  <frame>.jpg ...
  annotation/png/              <frame>.png ...    red above 127 is the pupil
  annotation/annotations.csv   filename, sub, ..."""

    def plan(self, raw: Path) -> Plan:
        """One case a frame of the table."""
        home = descend(raw, lambda folder: bool(folders(folder, "fullFrames")))
        if home is None:
            raise wrong_layout(
                raw, "the folders fullFrames and annotation/png and the table annotation/annotations.csv"
            )
        subjects = _subjects(home / "annotation/annotations.csv")
        masks = {stem(path): path for path in files(home / "annotation/png", r".+\.png")}
        frames = files(home / "fullFrames", _FRAME)
        if strange := [path for path in frames if stem(path) not in subjects]:
            raise DataError(
                f"{strange[0]}: is not in annotation/annotations.csv, as {len(strange)} frames are not; complete the download"
            )
        cases = [_case(path, masks, subjects[stem(path)]) for path in frames]
        return Plan(
            name="HMEPS",
            channel_names=("infrared",),
            class_names=("background", "pupil"),
            cases=cases,
            file_ending=".png",
            expected={"frames": (11897, len(cases))},
            reference="Mariotti et al., MEYE - web app for translational and real-time pupillometry, eNeuro 2021",
        )


def _case(frame: Path, masks: dict[str, Path], subject: str) -> Source:
    mask = masks.get(stem(frame))
    if mask is None:
        raise missing(frame.parents[1] / "annotation/png" / f"{stem(frame)}.png", frame)
    return Source(stem(frame), (frame, mask), lambda: Content(_grey(frame), above(mask)), patient=subject)


def _grey(path: Path) -> np.ndarray:
    values = read_image(path).data
    return values if len(values) == 1 else np.rint(values.mean(axis=0, keepdims=True))


def _subjects(table: Path) -> dict[str, str]:
    """The subject of each frame."""
    try:
        text = table.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"{table}: cannot be read ({error.strerror}); complete the download") from None
    rows = csv.DictReader(text.splitlines(), skipinitialspace=True)
    if not {"filename", "sub"} <= set(rows.fieldnames or ()):
        raise DataError(f"{table}: has no columns 'filename' and 'sub'; download it again")
    return {Path(str(row["filename"])).stem: str(row["sub"]).strip() for row in rows}
