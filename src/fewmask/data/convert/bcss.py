"""BCSS, breast cancer semantic segmentation: tiles of the regions, tumour against everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BeforeValidator, Field

from fewmask.config import Section
from fewmask.data.convert.base import Content, Converter, Plan, Source, register
from fewmask.data.convert.find import by_id, descend, files, folders, stem, wrong_layout
from fewmask.data.convert.masks import missing
from fewmask.data.image import read_geometry, read_image, read_label
from fewmask.errors import DataError

_REGION = r"TCGA-.+\.png"
_PUBLISHED_TILES = 3888
Reader = Callable[[Path, Path], tuple[np.ndarray, np.ndarray]]
Codes = Annotated[tuple[int, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)]


class BcssConfig(Section):
    """Settings of ``bcss``."""

    tile: int = Field(1024, ge=16, description="pixels along a side of a tile")
    tumour: Codes = Field(
        (1,), description="codes of meta/gtruth_codes.tsv that are the tumour; everything else is background"
    )


@register("bcss")
class Bcss(Converter):
    """Tiles of H&E regions, cut edge to edge; the last of a row or column is moved inwards and overlaps the one before.

    A region smaller than a tile is one tile of its own size. What lies outside of a region (code 0) is background, as in the papers. A
    tile's patient is the region's; a tile is named by its first row and column.
    """

    Config = BcssConfig
    title = "BCSS, breast cancer histology: tumour, in tiles of the region images"
    published = "bcss"
    layout = """\
0_Public-data-Amgad2019_0.25MPP/
  rgbs_colorNormalized/   TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500.png ...
  masks/                  the same names"""

    def plan(self, raw: Path) -> Plan:
        """One case a tile; the sizes of the regions are read from their headers."""
        home = descend(raw, lambda folder: bool(_images(folder)))
        if home is None:
            raise wrong_layout(raw, "the folders rgbs_colorNormalized and masks with TCGA-*.png of the same names")
        masks = by_id(files(home / "masks", _REGION), stem)
        regions, read = _images(home), lru_cache(maxsize=1)(_region)  # the tiles of a region come one after another
        cases = [case for path in regions for case in self._tiles(path, masks.get(stem(path)), read)]
        note = (
            f"{len(cases)} tiles; the published protocol has {_PUBLISHED_TILES:,}, and how they were cut is not known"
        )
        return Plan(
            name="BCSS",
            channel_names=("R", "G", "B"),
            class_names=("background", "tumour"),
            cases=cases,
            file_ending=".png",
            expected={"regions": (151, len(regions))},
            reference="Amgad et al., Structured crowdsourcing enables convolutional segmentation of histology images, Bioinformatics 2019",
            notes=[note],
        )

    def _tiles(self, image: Path, mask: Path | None, read: Reader) -> Iterator[Source]:
        if mask is None:
            raise missing(image.parents[1] / "masks" / image.name, image)
        rows, columns = read_geometry(image).shape
        region = stem(image).split("_MPP")[0]
        for row in _starts(rows, self.config.tile):
            for column in _starts(columns, self.config.tile):
                load = partial(self._tile, partial(read, image, mask), row, column)
                name = f"{region}_r{row:05d}_c{column:05d}"
                yield Source(name, (image, mask), load, patient="-".join(region.split("-")[:3]))

    def _tile(self, read: Callable[[], tuple[np.ndarray, np.ndarray]], row: int, column: int) -> Content:
        pixels, codes = read()
        here = slice(row, row + self.config.tile), slice(column, column + self.config.tile)
        return Content(pixels[:, *here], np.isin(codes[here], self.config.tumour).astype(np.uint8))


def _images(folder: Path) -> list[Path]:
    found = [inner for inner in folders(folder, "rgbs_colorNormalized|rgbs|images") if folders(folder, "masks")]
    return files(found[-1], _REGION) if found else []


def _starts(length: int, tile: int) -> list[int]:
    """Where tiles begin along an axis: edge to edge, the last one moved inwards."""
    return sorted({min(start, max(length - tile, 0)) for start in range(0, length, tile)})


def _region(image: Path, mask: Path) -> tuple[np.ndarray, np.ndarray]:
    """The pixels ``(3, rows, columns)`` and codes ``(rows, columns)`` of a region.

    Raises:
        DataError: one cannot be read, or they differ in size.
    """
    pixels, codes = read_image(image).data.astype(np.uint8), read_label(mask).data
    if pixels.shape[1:] != codes.shape:
        raise DataError(f"{mask}: has the size {codes.shape}, its image {pixels.shape[1:]}; find the right one")
    return pixels, codes
