"""Left atrium, the 2018 Atrial Segmentation Challenge: as the challenge gave it, or as the field passes it around."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from fewmask.config import Lengths, Section
from fewmask.data.convert.base import Content, Converter, Plan, Source, register
from fewmask.data.convert.find import descend, folders, wrong_layout
from fewmask.data.convert.hdf5 import read_pair
from fewmask.data.convert.labels import binary
from fewmask.data.convert.write import narrowed
from fewmask.data.geometry import Geometry
from fewmask.data.image import read_geometry, read_image, read_label
from fewmask.errors import DataError

_SCAN, _ATRIUM, _COPY = "lgemri.nrrd", "laendo.nrrd", "mri_norm2.h5"


class LeftAtriumConfig(Section):
    """Settings of ``la``."""

    spacing: Lengths = Field(
        (0.625, 0.625, 0.625), description="millimetres per axis of mri_norm2.h5 copies, which do not say"
    )


@register("la")
class LeftAtrium(Converter):
    """LGE-MRI with the left atrium outlined.

    The challenge's NRRD files keep their geometry and intensities, and the whole scan. The copies ``mri_norm2.h5`` are cut
    around the reference and normalised already; they come as they are, ordered (x, y, z).
    """

    Config = LeftAtriumConfig
    title = "left atrium, 2018 Atrial Segmentation Challenge: NRRD folders, or the field's mri_norm2.h5 copies"
    published = "la"
    layout = """\
Training Set/                       or  2018LA_Seg_Training Set/
  06SR5RBREL16DQ6M8LWS/                   06SR5RBREL16DQ6M8LWS/
    lgemri.nrrd                             mri_norm2.h5   image, label
    laendo.nrrd   255 = left atrium       0RZDK210BSMWAA6467LU/ ...
  0RZDK210BSMWAA6467LU/ ...
Testing Set/  too, where it is there"""

    def plan(self, raw: Path) -> Plan:
        """One case a folder."""
        found = descend(raw, _holds_cases)
        if found is None:
            raise wrong_layout(raw, f"folders named by case with {_SCAN} and {_ATRIUM}, or with {_COPY}, in each")
        cases = [self._case(path, "train") for path in folders(found) if _is_case(path)]
        if found.name == "Training Set":
            cases += [self._case(path, "test") for path in folders(found.parent / "Testing Set") if _is_case(path)]
        copies = sum(path.name == _COPY for case in cases for path in case.files)
        if copies not in (0, len(cases)):
            raise DataError(f"{found}: holds both NRRD scans and {_COPY} copies; keep one kind")
        notes = [
            f"{_COPY} copies are cut around the reference, test scans included: figures on them are not those of whole scans"
        ]
        return Plan(
            name="LeftAtrium",
            channel_names=("LGE-MRI",),
            class_names=("background", "left atrium"),
            cases=cases,
            expected={"training scans": (100, sum(case.group == "train" for case in cases))},
            reference="Xiong et al., A global benchmark of algorithms for segmenting the left atrium, Medical Image Analysis 2021",
            notes=notes if copies else [],
            shortcuts=("reference-crop",) if copies else (),
        )

    def _case(self, folder: Path, group: Any) -> Source:
        copy, scan, atrium = (folder / name for name in (_COPY, _SCAN, _ATRIUM))
        if copy.is_file():
            return Source(folder.name, (copy,), lambda: self._copy(copy), group)
        if not atrium.is_file() and group == "train":
            raise DataError(f"{folder}: expected {_ATRIUM} beside {_SCAN}, but it is missing; complete the download")
        files = (scan, atrium) if atrium.is_file() else (scan,)
        return Source(folder.name, files, lambda: _original(*files), group, labelled=len(files) == 2)

    def _copy(self, path: Path) -> Content:
        image, label = read_pair(path)
        return Content(image[None], binary(path, label, (1, 255)), Geometry.spaced(image.shape, self.config.spacing))


def _holds_cases(folder: Path) -> bool:
    return folder.name != "Testing Set" and any(_is_case(path) for path in folders(folder))


def _is_case(folder: Path) -> bool:
    return (folder / _SCAN).is_file() or (folder / _COPY).is_file()


def _original(scan: Path, atrium: Path | None = None) -> Content:
    image = read_image(scan)
    values = narrowed(image.data)
    if atrium is None:
        return Content(values, None, image.geometry)
    label, there = binary(atrium, read_label(atrium).data, (255, 1)), read_geometry(atrium)
    if not there.matches(image.geometry):
        raise DataError(
            f"{atrium}: lies on another grid than {scan.name} ({there.difference(image.geometry)}); download it again"
        )
    return Content(values, label, image.geometry)
