"""BraTS 2019, as the challenge gives it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from fewmask.config import Section
from fewmask.data.convert.base import Content, Converter, Plan, Source, register
from fewmask.data.convert.find import descend, files, folders, wrong_layout
from fewmask.data.convert.labels import binary, remapped
from fewmask.data.image import read_label, suffix_of
from fewmask.errors import DataError

_NAMES = {"flair": "FLAIR", "t1": "T1", "t1ce": "T1ce", "t2": "T2"}
_GRADES = ("HGG", "LGG")


class BratsConfig(Section):
    """Settings of ``brats2019``."""

    modalities: Literal["flair", "all"] = Field(
        "flair", description="flair alone, as the papers; or all four as channels"
    )
    target: Literal["whole", "parts"] = Field(
        "whole", description="whole: the whole tumour (label > 0); parts: necrotic core, oedema, enhancing tumour"
    )


@register("brats2019")
class Brats2019(Converter):
    """Brain MRI with gliomas outlined; scans are copied byte by byte, whole and not normalised."""

    Config = BratsConfig
    title = "BraTS 2019: FLAIR and whole tumour, or all four modalities and the tumour's parts"
    published = "brats2019"
    layout = """\
MICCAI_BraTS_2019_Data_Training/
  HGG/
    BraTS19_2013_2_1/
      BraTS19_2013_2_1_flair.nii.gz   _t1, _t1ce, _t2 likewise
      BraTS19_2013_2_1_seg.nii.gz     0, 1, 2, 4
    ...
  LGG/ ..."""

    def plan(self, raw: Path) -> Plan:
        """One case a folder, high grade before low grade."""
        home = descend(raw, lambda folder: all((folder / grade).is_dir() for grade in _GRADES))
        if home is None:
            raise wrong_layout(raw, "the folders HGG and LGG, with BraTS19_.../BraTS19_..._flair.nii.gz in each")
        found = {grade: folders(home / grade, r"BraTS19_.+") for grade in _GRADES}
        if not any(found.values()):
            raise wrong_layout(home / "HGG", "folders named BraTS19_...")
        endings = {
            suffix_of(path)
            for case in [*found["HGG"], *found["LGG"]][:1]
            for path in files(case, r".*_flair\.nii(\.gz)?")
        }
        ending = endings.pop() if endings else ".nii.gz"
        wanted = ["flair"] if self.config.modalities == "flair" else list(_NAMES)
        parts = ("necrotic core", "oedema", "enhancing tumour") if self.config.target == "parts" else ("whole tumour",)
        return Plan(
            name="BraTS2019",
            channel_names=tuple(_NAMES[name] for name in wanted),
            class_names=("background", *parts),
            cases=[self._case(folder, wanted, ending) for folder in [*found["HGG"], *found["LGG"]]],
            file_ending=ending,
            expected={"high-grade scans": (259, len(found["HGG"])), "low-grade scans": (76, len(found["LGG"]))},
            reference="Menze et al., TMI 2015; Bakas et al., Scientific Data 2017 and arXiv 1811.02629",
        )

    def _case(self, folder: Path, wanted: list[str], ending: str) -> Source:
        images = tuple(folder / f"{folder.name}_{name}{ending}" for name in wanted)
        label = folder / f"{folder.name}_seg{ending}"
        for path in (*images, label):
            if not path.is_file():
                raise DataError(f"{folder}: expected {path.name}, but it is missing; complete the download")
        return Source(folder.name, (*images, label), lambda: self._read(images, label))

    def _read(self, images: tuple[Path, ...], path: Path) -> Content:
        label = read_label(path)
        if self.config.target == "whole":
            return Content(images, binary(path, label.data, (1, 2, 4)), label.geometry)
        return Content(images, remapped(path, label.data, {0: 0, 1: 1, 2: 2, 4: 3}), label.geometry)
