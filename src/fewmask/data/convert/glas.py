"""GlaS, glands in colon histology, as the contest gives it."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from fewmask.data.convert.base import Content, Converter, Plan, Source, register
from fewmask.data.convert.find import descend, files, wrong_layout
from fewmask.data.convert.masks import missing
from fewmask.data.convert.pictures import picture
from fewmask.data.image import read_label
from fewmask.errors import DataError

_IMAGE = r"(train|testA|testB)_\d+\.bmp"


@register("glas")
class GlaS(Converter):
    """H&E images with glands outlined. Images are copied byte by byte; the number of a gland in its mask becomes 1.

    testA and testB are test cases. Where Grade.csv is there, the images of a patient are known to belong together.
    """

    title = "GlaS, gland segmentation in colon histology (Warwick-QU)"
    published = "glas"
    layout = """\
Warwick QU Dataset (Released 2016_07_08)/
  train_1.bmp   train_1_anno.bmp ... train_85.bmp
  testA_1.bmp   testA_1_anno.bmp ... testA_60.bmp
  testB_1.bmp   testB_1_anno.bmp ... testB_20.bmp
  Grade.csv"""

    def plan(self, raw: Path) -> Plan:
        """One case an image."""
        home = descend(raw, lambda folder: bool(files(folder, _IMAGE)))
        if home is None:
            raise wrong_layout(raw, "pictures named train_1.bmp, testA_1.bmp ... with train_1_anno.bmp ... beside them")
        patients = _patients(home / "Grade.csv")
        cases = [_case(path, patients.get(path.stem)) for path in files(home, _IMAGE)]
        tests = sum(case.group == "test" for case in cases)
        return Plan(
            name="GlaS",
            channel_names=("R", "G", "B"),
            class_names=("background", "gland"),
            cases=cases,
            file_ending=".bmp",
            label_ending=".png",
            expected={"training images": (85, len(cases) - tests), "test images": (80, tests)},
            reference="Sirinukunwattana et al., Gland segmentation in colon histology images, Medical Image Analysis 2017",
        )


def _case(path: Path, patient: str | None) -> Source:
    mask = path.with_name(f"{path.stem}_anno.bmp")
    if not mask.is_file():
        raise missing(mask, path)

    def load() -> Content:
        return Content(picture(path, "rgb", ".bmp"), (read_label(mask).data > 0).astype("uint8"))

    return Source(path.stem, (path, mask), load, "test" if path.stem.startswith("test") else "train", patient=patient)


def _patients(table: Path) -> dict[str, str]:
    """The patient of each image, from the contest's table; nothing where it is not there."""
    if not table.is_file():
        return {}
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file)]
    head = [re.sub(r"[\s_]", "", cell).casefold() for cell in rows[0]] if rows else []
    if "name" not in head or "patientid" not in head:
        raise DataError(f"{table}: has no columns 'name' and 'patient ID'; download it again")
    name, patient = head.index("name"), head.index("patientid")
    return {row[name]: row[patient] for row in rows[1:] if len(row) > max(name, patient)}
