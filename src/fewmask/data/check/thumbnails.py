"""A picture of every case with its label's outline: the fastest way to see that scans and labels belong together."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fewmask.data.check.findings import CheckReport
from fewmask.data.dataset import Dataset
from fewmask.data.formats.bitmap import JPEG, TIFF
from fewmask.data.image import Image, read_image, read_label, suffix_of
from fewmask.data.layout import Case
from fewmask.errors import DataError
from fewmask.files import replacing

COLOURS = ((0, 225, 255), (255, 196, 0), (255, 92, 138), (124, 230, 96), (190, 145, 255), (255, 142, 66))
_GROUND, _INK, _DIM = (20, 21, 24), (232, 232, 234), (150, 152, 158)
_SIDE = 384  # pixels of a picture's longer side
_TILE = 168  # the same in the contact sheet
_CAPTION = 26
_SHEET = 240  # a contact sheet of more is no longer looked at


def write_thumbnails(
    data: CheckReport | Dataset | Path | str,
    folder: Path | str,
    progress: Callable[[int, int], None] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write ``<case>.png`` for every readable case, and ``index.png``, which shows up to 240 of them side by side.

    A volume is shown by the axial slice with the largest labelled area (the middle one without a label) as a radiologist
    expects it: the patient's right on the left, the front on top, in true proportions. Bitmaps are shown as stored.

    Args:
        data: a data set, its folder, or the report of `check_dataset`.
        folder: where to; made if need be.
        progress: called with the number of cases done and in all.
        overwrite: replace pictures that are there with other contents.

    Returns:
        The path of ``index.png``.

    Raises:
        DataError: no case of the data set can be read.
        WriteError: a picture cannot be written, or is there with other contents.
    """
    if not isinstance(data, Dataset):
        data = Dataset.open(data.root if isinstance(data, CheckReport) else data, strict=False)
    folder, cases = Path(folder), list(data.cases.values())
    tiles: dict[int, Any] = {}
    shown = {round(number) for number in np.linspace(0, len(cases) - 1, min(len(cases), _SHEET))}
    places = {number: folder / _picture_name(case.id) for number, case in enumerate(cases)}
    for done, number in enumerate(sorted(places, key=lambda number: not places[number].exists()), start=1):
        case = cases[number]
        try:
            picture = draw_case(case, _SIDE)
        except DataError:
            continue  # check_dataset says what is wrong with it
        finally:
            if progress is not None:
                progress(done, len(cases))
        legend = data.class_names[1:] if case.label else ()
        _save(_captioned(picture, case.id, case.group, legend), places[number], overwrite)
        if number in shown:
            tiles[number] = _captioned(_fit(picture, _TILE), case.id, "", ())
    if not tiles:
        raise DataError(f"{data.root}: no scan can be read; run the check to see why")
    _save(_sheet([tiles[number] for number in sorted(tiles)]), folder / "index.png", overwrite)
    return folder / "index.png"


def _picture_name(case: str) -> str:
    """A case's picture; one that is called like the contact sheet, or like such a case's picture, gets a mark behind it."""
    return f"{case}-.png" if re.fullmatch("index-*", case, re.IGNORECASE) else f"{case}.png"


def draw_case(case: Case, side: int) -> Any:
    """A Pillow RGB picture of one case, ``side`` pixels long at its longer side.

    Raises:
        DataError: a file cannot be read, or scan and label differ in shape.
    """
    from PIL import Image as Pillow

    image = read_image(case.images[0])  # a single slice is 2D, among volumes, too
    label = read_label(case.label).data if case.label is not None else None
    if label is not None and label.shape != image.geometry.shape:
        raise DataError(
            f"{case.label}: has another shape than its scan, so it cannot be drawn on it; see `fewmask check`"
        )
    values, mask, (height, width) = _plane(image, label)
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = np.array(Pillow.fromarray(_to_colour(values)).resize(size, Pillow.Resampling.BICUBIC))
    for value in np.unique(mask[mask > 0]) if mask is not None else ():
        area = Pillow.fromarray(np.where(mask == value, 255, 0).astype(np.uint8))
        inside = np.asarray(area.resize(size, Pillow.Resampling.BICUBIC)) > 127
        picture[_outline(inside, max(1, side // 128))] = COLOURS[(int(value) - 1) % len(COLOURS)]
    return Pillow.fromarray(picture)


def _plane(image: Image, label: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None, tuple[float, float]]:
    """The slice to show, ``(C, rows, columns)``, its labels, and its height and width in millimetres."""
    if image.data.ndim == 3 and suffix_of(image.path) in (".png", ".bmp", *TIFF, *JPEG):
        return image.data, label, (float(image.data.shape[1]), float(image.data.shape[2]))
    import nibabel

    turn = nibabel.orientations.io_orientation(image.geometry.affine)
    # A degenerate affine leaves an axis without direction; such a scan is shown as stored.
    turn = turn if not np.isnan(turn).any() else np.array([[0, 1], [1, 1], [2, 1]])
    canonical = [nibabel.orientations.apply_orientation(_three(channel), turn) for channel in image.data]
    shape = canonical[0].shape
    lengths = np.linalg.norm(image.geometry.affine[:3, :3], axis=0)[np.argsort(turn[:, 0])]
    across = shape.index(1) if 1 in shape else 2
    marked = None if label is None else nibabel.orientations.apply_orientation(_three(label), turn)
    position = shape[across] // 2
    if marked is not None and marked.any():
        others = tuple(axis for axis in range(3) if axis != across)
        position = int(np.argmax((marked > 0).sum(axis=others)))
    rows, columns = (axis for axis in (2, 1, 0) if axis != across)
    extent = (shape[rows] * lengths[rows], shape[columns] * lengths[columns])
    values = np.stack([_upright(channel, across, position) for channel in canonical])
    return values, None if marked is None else _upright(marked, across, position), extent


def _three(array: np.ndarray) -> np.ndarray:
    return array if array.ndim == 3 else array[..., None]


def _upright(volume: np.ndarray, axis: int, position: int) -> np.ndarray:
    """One slice of a RAS volume: right on the left and front (or top) up; sagittal ones look to the left."""
    return np.asarray(np.take(volume, position, axis=axis).T[::-1, ::-1])


def _to_colour(values: np.ndarray) -> np.ndarray:
    """``(C, rows, columns)`` as uint8 ``(rows, columns, 3)``: three 8-bit channels as they are, else the first, windowed."""
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    if len(values) == 3 and values.min() >= 0 and 1 < values.max() <= 255:
        return np.ascontiguousarray(values.transpose(1, 2, 0), dtype=np.uint8)
    grey = values[0]
    low, high = np.percentile(grey, (0.5, 99.5))
    grey = np.clip((grey - low) / max(high - low, 1e-6), 0, 1) * 255
    return np.asarray(np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2))


def _outline(inside: np.ndarray, width: int) -> np.ndarray:
    from scipy import ndimage

    core = ndimage.binary_erosion(inside, iterations=width, border_value=1)
    return np.asarray(inside & ~core, dtype=bool)


def _fit(picture: Any, side: int) -> Any:
    from PIL import Image as Pillow

    scale = side / max(picture.size)
    return picture.resize([max(1, round(n * scale)) for n in picture.size], Pillow.Resampling.LANCZOS)


def _captioned(picture: Any, name: str, group: str, classes: tuple[str, ...]) -> Any:
    """The picture with the case's name, its group and the classes in their colours below."""
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    font = ImageFont.load_default(size=13 if picture.width > _TILE else 11)
    canvas = Pillow.new("RGB", (picture.width, picture.height + _CAPTION), _GROUND)
    canvas.paste(picture, (0, 0))
    draw = ImageDraw.Draw(canvas)
    middle, right = picture.height + _CAPTION // 2, picture.width - 8
    words = [(group, _DIM)] if group else []
    words += [(class_name, COLOURS[number % len(COLOURS)]) for number, class_name in reversed(list(enumerate(classes)))]
    for word, colour in words:  # from the right, as long as half of the line is free
        length = draw.textlength(word, font=font)
        if right - length < picture.width / 2:
            break
        draw.text((right, middle), word, fill=colour, font=font, anchor="rm")
        right -= round(length) + 12
    while draw.textlength(name, font=font) > right - 16 and len(name) > 4:
        name = name[:-2].rstrip("…") + "…"
    draw.text((8, middle), name, fill=_INK, font=font, anchor="lm")
    return canvas


def _sheet(tiles: list[Any]) -> Any:
    """The tiles in rows, about 3:2 in all."""
    from PIL import Image as Pillow

    width, height, gap = max(tile.width for tile in tiles), max(tile.height for tile in tiles), 8
    columns = min(len(tiles), max(1, round((1.5 * len(tiles) * height / width) ** 0.5)))
    rows = -(-len(tiles) // columns)
    canvas = Pillow.new("RGB", (columns * (width + gap) + gap, rows * (height + gap) + gap), _GROUND)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        left = gap + column * (width + gap) + (width - tile.width) // 2
        canvas.paste(tile, (left, gap + row * (height + gap) + height - tile.height))
    return canvas


def _save(picture: Any, path: Path, overwrite: bool) -> None:
    with replacing(path, overwrite=overwrite) as temporary:
        picture.save(temporary, format="PNG", compress_level=3)
