"""HDF5 volumes with lists, as SSL4MIS and its followers pass data sets around."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from fewmask.config import Lengths, Section
from fewmask.data.convert.base import Content, Converter, Plan, Source, register
from fewmask.data.convert.find import by_id, files, folders, wrong_layout
from fewmask.data.convert.hdf5 import read_pair
from fewmask.data.convert.labels import Names, check_classes, whole_numbers
from fewmask.data.convert.lists import Lists, read_lists
from fewmask.data.geometry import Geometry

_H5 = r".*\.(h5|hdf5)"


class H5Config(Section):
    """Settings of ``h5``."""

    axes: Literal["zyx", "xyz"] = Field(
        "zyx",
        description="order of the arrays' axes. zyx: written through SimpleITK, as SSL4MIS; xyz: as UA-MT's left atrium",
    )
    spacing: Lengths | None = Field(
        None,
        description="millimetres along x, y and z, which the files do not say; none: 1, and distances are in voxels",
    )
    classes: Names = Field(("background", "foreground"), description="class names in the order of label values")
    channel: str = Field("image", description="the channel's name")


@register("h5")
class H5(Converter):
    """HDF5 files with the arrays ``image`` and ``label``, one a case, and the lists that say who trains and tests.

    Cases of test.list go to imagesTs, all others to imagesTr. The lists become the split ``lists``, in which all training labels
    are seen, and the training list's order becomes the order of `fewmask split --ordered`.
    """

    Config = H5Config
    title = "HDF5 files with image and label, and .list files, as SSL4MIS has them"
    layout = """\
ACDC/                            or  BraTS2019/, Pancreas_h5/, ...
  data/                              the files may lie in RAW itself,
    patient001_frame01.h5            or each in a folder of its name
    ...
    slices/                          slices of the same volumes: not used
  train.list                         one case a line; .txt is fine
  val.list  test.list                where there are such"""

    def plan(self, raw: Path) -> Plan:
        """One case a file."""
        check_classes("h5", self.config.classes)
        paths = _volumes(raw)
        if not paths:
            raise wrong_layout(raw, "HDF5 files such as data/patient001_frame01.h5, with image and label")
        lists = read_lists(raw)
        test = set(lists.parts.get("test", ()))
        cases = [self._case(name, path, name in test) for name, path in paths.items()]
        notes = (
            []
            if self.config.spacing
            else ["the files do not say their spacing; without --set spacing=[...] a voxel counts as 1 mm"]
        )
        return planned(raw, self.config, cases, lists, notes)

    def _case(self, name: str, path: Path, test: bool) -> Source:
        return Source(name, (path,), lambda: self._read(path), "test" if test else "train")

    def _read(self, path: Path) -> Content:
        image, label = read_pair(path)
        label = whole_numbers(path, label)
        if self.config.axes == "zyx":
            image, label = image.T, label.T
        spacing = self.config.spacing or (1.0,) * image.ndim
        return Content(
            np.ascontiguousarray(image)[None], np.ascontiguousarray(label), Geometry.spaced(image.shape, spacing)
        )


def planned(raw: Path, config: H5Config, cases: list[Source], lists: Lists, notes: list[str]) -> Plan:
    """The plan of files with lists."""
    names = [case.id for case in cases]
    named = {name for part in lists.parts.values() for name in part}
    if named and (rest := [name for name in names if name not in named]):
        notes.append(f"{len(rest)} cases are in no list, {rest[0]!r} among them; they come as training cases")
    split = lists.split(names)
    return Plan(
        name=raw.resolve().name,
        channel_names=(config.channel,),
        class_names=tuple(config.classes),
        cases=cases,
        training_order=lists.order([case.id for case in cases if case.group == "train"]),
        splits={"lists": split} if split else {},
        notes=notes,
        missing=lists.missing(names),
    )


def _volumes(raw: Path) -> dict[str, Path]:
    """Files by case: the file's name, or its folder's where all are called alike, as ``mri_norm2.h5``."""
    for folder in (raw, *folders(raw, "data|h5|.*_h5")):
        if found := files(folder, _H5):
            return by_id(found, lambda path: path.stem)
    inner = [path for folder in folders(raw) for path in files(folder, _H5)]
    alike = len({path.name for path in inner}) == 1 < len(inner)
    return by_id(inner, lambda path: path.parent.name if alike else path.stem)
