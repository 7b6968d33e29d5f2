"""PH2, dermoscopic images, as its owners give it."""

from __future__ import annotations

from pathlib import Path

from fewmask.data.convert.base import Converter, Plan, Source, register
from fewmask.data.convert.find import descend, folders, wrong_layout
from fewmask.data.convert.masks import masked, missing
from fewmask.errors import DataError

_CASE = r"IMD\d+"


@register("ph2")
class PH2(Converter):
    """Dermoscopic images with the lesion outlined. Images are copied byte by byte; the folders of colours (roi) are not used.

    Nobody published who tests: all are training cases, and `fewmask split --protocol ph2/honest` draws.
    """

    title = "PH2, dermoscopic images: skin lesion"
    published = "ph2"
    layout = """\
PH2Dataset/
  PH2 Dataset images/
    IMD002/
      IMD002_Dermoscopic_Image/IMD002.bmp
      IMD002_lesion/IMD002_lesion.bmp
    IMD003/ ..."""

    def plan(self, raw: Path) -> Plan:
        """One case a folder."""
        home = descend(raw, lambda folder: bool(folders(folder, _CASE)))
        if home is None:
            raise wrong_layout(raw, "folders named IMD002, IMD003 ... with IMD002_Dermoscopic_Image and IMD002_lesion")
        cases = [_case(folder) for folder in folders(home, _CASE)]
        return Plan(
            name="PH2",
            channel_names=("R", "G", "B"),
            class_names=("background", "lesion"),
            cases=cases,
            file_ending=".bmp",
            label_ending=".png",
            expected={"images": (200, len(cases))},
            reference="Mendonca et al., PH2 - a dermoscopic image database for research and benchmarking, EMBC 2013",
        )


def _case(folder: Path) -> Source:
    name = folder.name
    image, mask = folder / f"{name}_Dermoscopic_Image/{name}.bmp", folder / f"{name}_lesion/{name}_lesion.bmp"
    if not image.is_file():
        raise DataError(f"{folder}: expected {image.relative_to(folder)}, but it is missing; complete the download")
    if not mask.is_file():
        raise missing(mask, image)
    return masked(name, image, mask, ending=".bmp", threshold=0)
