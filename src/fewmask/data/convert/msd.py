"""Medical Segmentation Decathlon."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from fewmask.config import Section
from fewmask.data.convert.base import Content, Converter, Plan, Source, register
from fewmask.data.convert.find import descend, inside, read_object, stem, wrong_layout
from fewmask.data.convert.write import narrowed
from fewmask.data.description import read_description
from fewmask.data.image import read_image
from fewmask.data.layout import Group
from fewmask.errors import DataError


class MsdConfig(Section):
    """Settings of ``msd``."""

    test: Literal["test", "unlabelled"] = Field(
        "test",
        description="where the scans of imagesTs go, whose labels are secret: imagesTs, or imagesUn to learn from",
    )


@register("msd")
class Decathlon(Converter):
    """A task of the decathlon. Scans of several modalities (a fourth axis) become a file per channel; others are copied."""

    Config = MsdConfig
    title = "a task of the Medical Segmentation Decathlon, such as Task02_Heart"
    layout = """\
Task02_Heart/
  dataset.json     modality, labels, training, test
  imagesTr/        la_003.nii.gz ...
  labelsTr/        la_003.nii.gz ...
  imagesTs/        la_001.nii.gz ...   without labels"""

    def plan(self, raw: Path) -> Plan:
        """One case a scan of dataset.json."""
        home = descend(raw, lambda folder: (folder / "dataset.json").is_file(), alone=True)
        if home is None:
            raise wrong_layout(raw, "dataset.json, imagesTr and labelsTr of a task")
        values, known = read_object(home / "dataset.json"), read_description(home)
        if not isinstance(values.get("training"), list) or "modality" not in values:
            raise wrong_layout(
                home, "dataset.json with modality and a list of training scans", "another kind of dataset.json"
            )
        channels = len(known.channel_names)
        cases = [_training(home, entry, channels) for entry in values["training"]]
        group: Group = "unlabelled" if self.config.test == "unlabelled" else "test"
        cases += [_test(home, entry, channels, group) for entry in values.get("test") or []]
        stated = known.num_training
        return Plan(
            name=known.name,
            channel_names=known.channel_names,
            class_names=known.class_names,
            cases=cases,
            expected={"training scans": (stated, len(values["training"]))} if stated is not None else {},
            reference=str(values.get("reference", "")),
        )


def _training(home: Path, entry: Any, channels: int) -> Source:
    if not isinstance(entry, dict) or not {"image", "label"} <= set(entry):
        raise DataError(f"{home / 'dataset.json'}: a training scan is {entry!r}; expected its image and its label")
    image, label = (inside(home, entry[part], home / "dataset.json") for part in ("image", "label"))
    return Source(stem(image), (image, label), lambda: _read(image, label, channels))


def _test(home: Path, entry: Any, channels: int, group: Group) -> Source:
    path = entry.get("image") if isinstance(entry, dict) else entry
    image = inside(home, path, home / "dataset.json")
    return Source(stem(image), (image,), lambda: _read(image, None, channels), group, labelled=False)


def _read(path: Path, label: Path | None, channels: int) -> Content:
    if channels == 1:
        return Content((path,), label)
    image = read_image(path)
    return Content(narrowed(image.data), label, image.geometry)
