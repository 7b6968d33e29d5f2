"""BUSI, breast ultrasound images, as its owners give it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fewmask.data.convert.base import Content, Converter, Plan, Source, register
from fewmask.data.convert.find import descend, files, folders, wrong_layout
from fewmask.data.convert.masks import above
from fewmask.data.convert.pictures import picture
from fewmask.errors import DataError

_KINDS = ("benign", "malignant")
_IMAGE = re.compile(r"(benign|malignant) \((\d+)\)\.png", re.IGNORECASE)


@register("busi")
class Busi(Converter):
    """Ultrasound images with lesions outlined. The masks of several lesions in one image are merged.

    ``benign (1).png`` becomes ``benign_1``. Normal images, whose masks are empty, are left out, as in the papers. The test images
    are those of GMS (Huo et al., 2024).
    """

    title = "BUSI, breast ultrasound images: benign and malignant lesions"
    published = "busi"
    layout = """\
Dataset_BUSI_with_GT/
  benign/      benign (1).png      benign (1)_mask.png   and benign (100)_mask_1.png ... for more lesions
  malignant/   malignant (1).png   malignant (1)_mask.png
  normal/      not used"""

    def plan(self, raw: Path) -> Plan:
        """One case an image with a lesion."""
        home = descend(raw, lambda folder: all(folders(folder, kind) for kind in _KINDS))
        if home is None:
            raise wrong_layout(raw, "the folders benign and malignant with 'benign (1).png' and 'benign (1)_mask.png'")
        cases = [case for kind in _KINDS for case in _cases(folders(home, kind)[0])]
        counts = {kind: sum(case.id.startswith(kind) for case in cases) for kind in _KINDS}
        return Plan(
            name="BUSI",
            channel_names=("R", "G", "B"),
            class_names=("background", "lesion"),
            cases=cases,
            file_ending=".png",
            expected={"benign images": (437, counts["benign"]), "malignant images": (210, counts["malignant"])},
            reference="Al-Dhabyani et al., Dataset of breast ultrasound images, Data in Brief 2020",
        )


def _cases(folder: Path) -> list[Source]:
    """The images of a folder, by number."""
    images = [(int(found[2]), path) for path in files(folder) if (found := _IMAGE.fullmatch(path.name))]
    return [_case(folder.name.lower(), number, path) for number, path in sorted(images)]


def _case(kind: str, number: int, image: Path) -> Source:
    masks = files(image.parent, re.escape(image.stem) + r"_mask(_\d+)?\.png")
    if not masks:
        raise DataError(
            f"{image.parent}: expected '{image.stem}_mask.png' for {image.name}, but it is missing; complete the download"
        )
    return Source(f"{kind}_{number}", (image, *masks), lambda: Content(picture(image, "rgb", ".png"), _merged(masks)))


def _merged(masks: Sequence[Path]) -> np.ndarray:
    """1 where any of the masks has a lesion."""
    label = above(masks[0])
    for path in masks[1:]:
        more = above(path)
        if more.shape != label.shape:
            raise DataError(f"{path}: has another size than {masks[0].name}; download it again")
        label |= more
    return label
