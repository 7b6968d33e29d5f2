"""Polyps in colonoscopy: Kvasir-SEG, CVC-ClinicDB and CVC-300, together as PraNet has them or as their owners give them."""

from __future__ import annotations

from pathlib import Path

from fewmask.data.convert.base import Converter, Plan, Source, register
from fewmask.data.convert.find import by_id, descend, files, folders, stem, wrong_layout
from fewmask.data.convert.masks import masked, missing
from fewmask.data.layout import Group

_PICTURE = r".+\.(png|jpg|jpeg|tif|tiff|bmp)"
_IMAGES, _MASKS = r"images?|original", r"masks?|ground[ _]truth"
_SOURCES = {"kvasir(-seg)?": "kvasir", "cvc-clinicdb": "clinicdb", "cvc-300": "cvc300"}


@register("polyp")
class Polyp(Converter):
    """RGB frames with polyps outlined, as PNG files. Names open with the source: ``kvasir_``, ``clinicdb_``, ``cvc300_``.

    The test cases are PraNet's 100, 62 and 60 images in either layout; a number is taken for the same frame of CVC-ClinicDB in both.
    """

    title = "polyps in colonoscopy: Kvasir-SEG, CVC-ClinicDB, CVC-300, with PraNet's test images"
    published = "polyp"
    layout = """\
TrainDataset/                        or  Kvasir-SEG/    images/  masks/
  image/  cju0qkwl35piu0993l0dewei2.png   CVC-ClinicDB/  Original/  Ground Truth/
          1.png ...                       CVC-300/       images/  masks/
  mask/   the same names
TestDataset/
  Kvasir/  CVC-ClinicDB/  CVC-300/
    images/  masks/"""

    def plan(self, raw: Path) -> Plan:
        """One case a frame."""
        bundle = descend(raw, lambda folder: bool(folders(folder, "TrainDataset")))
        cases = _bundle(bundle) if bundle else self._originals(raw)
        counts = {source: sum(case.id.startswith(f"{source}_") for case in cases) for source in _SOURCES.values()}
        return Plan(
            name="Polyp",
            channel_names=("R", "G", "B"),
            class_names=("background", "polyp"),
            cases=cases,
            file_ending=".png",
            expected={
                "images of Kvasir-SEG": (1000, counts["kvasir"]),
                "images of CVC-ClinicDB": (612, counts["clinicdb"]),
                "images of CVC-300": (60, counts["cvc300"]),
            },
            reference="Jha et al. 2020 (Kvasir-SEG); Bernal et al. 2015 (CVC-ClinicDB); Vazquez et al. 2017 (CVC-300); Fan et al. 2020 (PraNet)",
        )

    def _originals(self, raw: Path) -> list[Source]:
        home = descend(raw, lambda folder: any(_parts(inner) for inner in _of_sources(folder).values()))
        if home is None:
            raise wrong_layout(raw, "TrainDataset and TestDataset, or Kvasir-SEG, CVC-ClinicDB and CVC-300")
        return [case for source, folder in _of_sources(home).items() for case in _cases(folder, source, "train")]


def _bundle(home: Path) -> list[Source]:
    """PraNet's folders; in its training folder CVC-ClinicDB's frames have numbers and Kvasir-SEG's have letters."""
    train = folders(home, "TrainDataset")[0]
    cases = _cases(train, None, "train")
    for test in folders(home, "TestDataset"):
        for source, folder in _of_sources(test).items():
            cases += _cases(folder, source, "test")
    return cases


def _of_sources(folder: Path) -> dict[str, Path]:
    return {source: found[0] for name, source in _SOURCES.items() if (found := folders(folder, name))}


def _parts(folder: Path) -> tuple[Path, Path] | None:
    """The folders of images and of masks in a source's folder, or one below it (CVC-ClinicDB has PNG/ and TIF/)."""
    home = descend(folder, lambda inner: bool(folders(inner, _IMAGES) and folders(inner, _MASKS)), depth=1)
    return (folders(home, _IMAGES)[0], folders(home, _MASKS)[0]) if home else None


def _cases(folder: Path, source: str | None, group: Group) -> list[Source]:
    parts = _parts(folder)
    if parts is None:
        raise wrong_layout(folder, "the folders images and masks")
    masks = by_id(files(parts[1], _PICTURE), stem)
    cases = []
    for image in files(parts[0], _PICTURE):
        mask = masks.get(stem(image))
        if mask is None:
            raise missing(parts[1] / f"{stem(image)}.png", image)
        whose = source or ("clinicdb" if stem(image).isdigit() else "kvasir")
        cases.append(masked(f"{whose}_{stem(image)}", image, mask, group=group))
    return cases
