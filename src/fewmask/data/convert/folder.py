"""Pictures in one folder, masks in another."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from fewmask.config import Section
from fewmask.data.convert.base import Content, Converter, Plan, Source, register
from fewmask.data.convert.find import by_id, descend, files, folders, stem, wrong_layout
from fewmask.data.convert.labels import Names, check_classes, remapped, two_values
from fewmask.data.convert.lists import read_lists
from fewmask.data.convert.pictures import Colours, picture, same_ending
from fewmask.data.image import read_image, read_label
from fewmask.data.layout import Group
from fewmask.errors import ConfigError, DataError
from fewmask.words import count

PICTURE = r".+\.(png|bmp|tif|tiff|jpg|jpeg)"
_TAILS = ("", "_mask", "_segmentation", "_anno", "_lesion", "_label", "_seg", "_gt", "-mask")


class FolderConfig(Section):
    """Settings of ``folder``."""

    images: str = Field("images", description="name of the pictures' folder; image is found too")
    masks: str = Field("masks", description="name of the masks' folder; mask, labels and annotations are found too")
    tail: str | None = Field(
        None, description="what a mask's name has at its end beyond its picture's, such as _mask; none: found out"
    )
    values: dict[int, int] | None = Field(
        None,
        description="class of each value in the masks, such as {0: 0, 255: 1}; none: classes as stored, or 0 and 255",
    )
    threshold: float | None = Field(None, description="masks are 1 above this value, for grey and JPEG masks")
    classes: Names = Field(("background", "foreground"), description="class names in the order of label values")
    colours: Literal["auto", "grey", "rgb"] = Field(
        "auto", description="channels of the pictures; auto: as the first one"
    )


@register("folder")
class PictureFolder(Converter):
    """Pictures and masks of the same names. A picture without a mask is an unlabelled one.

    Pictures are copied byte by byte where all have one ending and colour, and become PNG otherwise. train.list, val.list and test.list
    beside the folders become the split ``lists``.
    """

    Config = FolderConfig
    title = "2D pictures with masks: images/ and masks/, mask values remapped"
    layout = """\
RAW/
  images/      a.jpg  b.jpg ...
  masks/       a.png  b.png ...     or a_mask.png, a_segmentation.png, ...
  train.list   val.list  test.list  where there are such"""

    def plan(self, raw: Path) -> Plan:
        """One case a picture."""
        config: FolderConfig = self.config
        check_classes("folder", config.classes)
        _check_settings(config)
        home, images, masks = self._find(raw)
        scans = by_id(images, stem)
        labels = by_id(masks, _case_of(masks, scans, config.tail))
        if strange := [path for case, path in labels.items() if case not in scans]:
            raise DataError(
                f"{strange[0]}: is a mask without a picture ({count(len(strange), 'such mask')}); say by --set tail=... how masks' names end"
            )
        colours: Colours = "rgb" if self._is_rgb(images[0]) else "grey"
        ending = same_ending(images)
        lists = read_lists(home)
        test = set(lists.parts.get("test", ()))
        cases = [
            self._case(case, path, labels.get(case), case in test, (colours, ending)) for case, path in scans.items()
        ]
        split = lists.split([case.id for case in cases if case.labelled])
        return Plan(
            name=raw.resolve().name,
            channel_names=("red", "green", "blue") if colours == "rgb" else ("grey",),
            class_names=tuple(config.classes),
            cases=cases,
            file_ending=ending,
            label_ending=".png",
            training_order=lists.order([case.id for case in cases if case.group == "train" and case.labelled]),
            splits={"lists": split} if split else {},
            missing=lists.missing(scans),
        )

    def _find(self, raw: Path) -> tuple[Path, list[Path], list[Path]]:
        pictures = rf"{re.escape(self.config.images)}|image"
        shelf = rf"{re.escape(self.config.masks)}|mask|labels|annotations"
        home = descend(raw, lambda folder: _first(folder, pictures) is not None, alone=True)
        images = files(found, PICTURE) if home and (found := _first(home, pictures)) else []
        if home is None or not images:
            raise wrong_layout(
                raw, f"pictures such as {self.config.images}/a.png, and masks such as {self.config.masks}/a.png"
            )
        masks = _first(home, shelf)
        return home, images, files(masks, PICTURE) if masks else []

    def _is_rgb(self, first: Path) -> bool:
        return self.config.colours == "rgb" or (self.config.colours == "auto" and len(read_image(first).data) == 3)

    def _case(self, case: str, path: Path, mask: Path | None, test: bool, look: tuple[Colours, str]) -> Source:
        group: Group = "test" if test else "train" if mask else "unlabelled"

        def load() -> Content:
            return Content(picture(path, *look), None if mask is None else self._label(mask))

        return Source(case, (path, mask) if mask else (path,), load, group, mask is not None)

    def _label(self, path: Path) -> np.ndarray:
        if self.config.threshold is not None:
            return np.asarray(read_image(path).data.max(axis=0) > self.config.threshold, dtype=np.uint8)
        label = read_label(path).data
        if self.config.values is not None:
            return remapped(path, label, self.config.values)
        return two_values(path, label, len(self.config.classes))


def _check_settings(config: FolderConfig) -> None:
    if config.values is not None and config.threshold is not None:
        raise ConfigError("settings of folder: set either values or threshold, not both")
    if config.threshold is not None and len(config.classes) != 2:
        raise ConfigError("settings of folder: a threshold makes two classes; name two")
    if config.values is not None and not all(0 <= value < len(config.classes) for value in config.values.values()):
        raise ConfigError(f"settings of folder: values must give classes from 0 to {len(config.classes) - 1}")


def _first(home: Path, pattern: str) -> Path | None:
    return next(iter(folders(home, pattern)), None)


def _case_of(masks: list[Path], scans: dict[str, Path], tail: str | None) -> Callable[[Path], str]:
    """From a mask to its picture's name; of the known tails the one that fits most masks."""

    def cut(path: Path, end: str) -> str:
        return stem(path).removesuffix(end)

    tails = _TAILS if tail is None else (tail,)
    best = max(tails, key=lambda end: sum(stem(path).endswith(end) and cut(path, end) in scans for path in masks))
    return lambda path: cut(path, best)
