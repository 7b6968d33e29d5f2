"""ISIC 2018, task 1, as the challenge gives it."""

from __future__ import annotations

from pathlib import Path

from fewmask.data.convert.base import Converter, Plan, Source, register
from fewmask.data.convert.find import descend, files, folders, stem, wrong_layout
from fewmask.data.convert.masks import masked, missing
from fewmask.data.layout import Group

_IMAGES = r"ISIC2018_Task1(-2)?_{}_Input"
_MASKS = r"ISIC2018_Task1_{}_GroundTruth"
_IMAGE = r"ISIC_\d+\.jpg"


@register("isic2018")
class Isic2018(Converter):
    """Dermoscopic images with the lesion outlined. Images stay the JPEG files that they are; masks become 0 and 1.

    The challenge's test images are test cases. Its 100 validation images are left out, as in the papers.
    """

    title = "ISIC 2018, task 1: skin lesion"
    published = "isic2018"
    layout = """\
ISIC2018_Task1-2_Training_Input/    ISIC_0000000.jpg ...
ISIC2018_Task1_Training_GroundTruth/  ISIC_0000000_segmentation.png ...
ISIC2018_Task1-2_Test_Input/        ISIC_0012169.jpg ...
ISIC2018_Task1_Test_GroundTruth/    ISIC_0012169_segmentation.png ..."""

    def plan(self, raw: Path) -> Plan:
        """One case an image."""
        home = descend(raw, lambda folder: bool(folders(folder, _IMAGES.format("Training"))))
        if home is None:
            raise wrong_layout(
                raw, "the folders ISIC2018_Task1-2_Training_Input and ISIC2018_Task1_Training_GroundTruth"
            )
        train, test = _cases(home, "Training", "train"), _cases(home, "Test", "test")
        return Plan(
            name="ISIC2018",
            channel_names=("R", "G", "B"),
            class_names=("background", "lesion"),
            cases=train + test,
            file_ending=".jpg",
            expected={"training images": (2594, len(train)), "test images": (1000, len(test))},
            reference="Codella et al., Skin lesion analysis toward melanoma detection 2018; Tschandl et al., Scientific Data 2018",
        )


def _cases(home: Path, part: str, group: Group) -> list[Source]:
    images = [path for folder in folders(home, _IMAGES.format(part)) for path in files(_inner(folder, _IMAGE), _IMAGE)]
    if not images:
        return []
    shelves = folders(home, _MASKS.format(part))
    if not shelves:
        raise wrong_layout(home, f"the folder {_MASKS.format(part)} beside {images[0].parent.name}")
    shelf = _inner(shelves[0], r"ISIC_\d+_segmentation\.png")
    return [_case(path, shelf, group) for path in images]


def _inner(folder: Path, pattern: str) -> Path:
    """The folder itself, or one of the same name in it, as some unpackers make it."""
    return descend(folder, lambda inner: bool(files(inner, pattern)), depth=1) or folder


def _case(image: Path, shelf: Path, group: Group) -> Source:
    mask = shelf / f"{stem(image)}_segmentation.png"
    if not mask.is_file():
        raise missing(mask, image)
    return masked(stem(image), image, mask, ending=".jpg", group=group)
