"""TIFF pictures and stacks: every page, depth and axis that the file has.

tifffile decodes what it can, which with imagecodecs is every compression in use; Pillow turns colours that are neither
grey, RGB nor a palette into RGB, and steps in where a codec is missing and it loses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np

from fewmask.data.formats.claims import DEFLATE, refuse_excess
from fewmask.data.formats.palette import refuse_reversed
from fewmask.data.formats.pillow import drop_alpha, open_picture, pixels
from fewmask.data.formats.polarity import WHITE_IS_ZERO, means_numbers, upright
from fewmask.data.formats.tiff_axes import arranged, check_axes, depth
from fewmask.data.formats.tiff_parts import PALETTE, Part, parts_of
from fewmask.data.formats.tiff_spacing import spacing_of
from fewmask.errors import DataError

_PLAIN = (0, 1, 2, 3, 4)  # photometric: grey either way round, RGB, palette, mask
_RGB = 2
_COLOURS = {5: "CMYK", 6: "YCbCr", 8: "Lab"}
_APART = 2  # PlanarConfig: each sample in a plane of its own
_JPEG = (6, 7, 33007, 34892)
_RATIOS = {
    1: 1,
    5: 2600,
    8: DEFLATE,
    32773: 64,
    32946: DEFLATE,
}  # bytes that one of each compression can become, at most
_FAX = (2, 3, 4)  # a row can become one bit
_SMALL = 1 << 28  # bytes; where a compression has no such limit, less than this is always believed


def read(path: Path, label: bool) -> np.ndarray:
    """Samples ``(C, rows, columns)`` in their stored type, or ``(C, x, y, slices)`` of a stack.

    Opaque alpha is dropped. A palette gives its indices in a label and its colours in an image.

    Raises:
        DataError: it holds an axis or several pictures that a scan cannot have, or a codec is not installed.
        ValueError: its header claims more than the file can hold.
    """
    import tifffile

    with tifffile.TiffFile(path) as file:
        parts = _parts(path, file)
        codec = _missing_codec(parts)
        by_pillow = codec is not None or any(_is_for_pillow(part.page) for part in parts)
        cut = [part.page for part in parts for page in part.pages if by_pillow and not _pillow_keeps(page)]
        if cut:
            raise _wants_codec(path, codec) if codec else _too_deep(path, cut[0])
        try:
            stored = [_by_pillow(path, part) if by_pillow else (part.source.asarray(), part.axes) for part in parts]
        except Exception as error:
            raise (_wants_codec(path, codec) if codec else error) from error
        turned = _turned(path, file, parts, [values for values, _ in stored], label)
        values = np.concatenate(
            [
                _sampled(path, part.page, values, axes, label)
                for part, values, (_, axes) in zip(parts, turned, stored, strict=True)
            ],
            axis=1,
        )
        if label:
            _check_channels(path, file, parts[0], values)
    return np.ascontiguousarray(values[:, 0] if values.shape[1] == 1 else values.transpose(0, 3, 2, 1))


def read_grid(path: Path) -> tuple[tuple[int, ...], tuple[float, ...] | None]:
    """``(rows, columns)``, or ``(x, y, slices)`` of a stack, and millimetres per axis; reads headers only.

    Returns:
        The shape and the spacing, which is None where the file does not know it of every axis.

    Raises:
        DataError: as `read`.
    """
    import tifffile

    with tifffile.TiffFile(path) as file:
        parts = _parts(path, file)
        slices = sum(depth(part.axes, part.shape) for part in parts)
        sizes = dict(zip(parts[0].axes, parts[0].shape, strict=True))
        lengths = spacing_of(file, parts[0], slices)
    rows, columns = int(sizes["Y"]), int(sizes["X"])
    if slices == 1:
        return (rows, columns), lengths
    return (columns, rows, slices), lengths and lengths[::-1]


def write(path: Path, data: np.ndarray, spacing: Sequence[float] | None) -> None:
    """Write a picture ``(rows, columns)`` or a stack ``(x, y, slices)`` as pages.

    Args:
        path: where to.
        data: uint8 or float32.
        spacing: millimetres per axis of ``data``, kept as OME's physical sizes; None: not known, and nothing is said.
    """
    import tifffile

    values = data.T if data.ndim == 3 else data
    said: dict[str, Any] = {}
    if spacing is not None:
        axes = "ZYX"[-data.ndim :]
        lengths = tuple(spacing) if data.ndim == 2 else tuple(spacing)[::-1]
        said = {f"PhysicalSize{axis}": length for axis, length in zip(axes, lengths, strict=True)}
        said |= {f"PhysicalSize{axis}Unit": "mm" for axis in axes}
        # The same contents are the same bytes: a random identifier would make every call's file another.
        said |= {"axes": axes, "UUID": str(uuid5(NAMESPACE_OID, blake2b(values.tobytes()).hexdigest()))}
    tifffile.imwrite(path, values, photometric="minisblack", compression="zlib", ome=bool(said), metadata=said)


def orientation(path: Path) -> int:
    """The orientation tag of the first page; 1 is upright."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        return int(file.pages.first.tags.valueof("Orientation", default=1))


def _parts(path: Path, file: Any) -> list[Part]:
    parts = parts_of(path, file)
    for part in parts:
        check_axes(path, part.axes, part.shape)
    _refuse_excess(path, parts)
    return parts


def _refuse_excess(path: Path, parts: list[Part]) -> None:
    """Against a header that asks for more than its file can unpack to."""
    pages = [page for part in parts for page in part.pages if page is not None]
    files = {Path(page.parent.filehandle.path) for page in pages}
    stored = sum(file.stat().st_size for file in files)
    page = parts[0].page
    claimed = sum(math.prod(part.shape) * part.page.bitspersample // 8 for part in parts)
    ratio = max(_ratio(part.page) for part in parts)
    if page.photometric not in _PLAIN:
        ratio = max(ratio, 16)  # colours that are stored for blocks of pixels
    if ratio or claimed > _SMALL:
        refuse_excess(claimed, stored, packed=True, ratio=ratio or 1 << 16)


def _ratio(page: Any) -> int:
    """Bytes that one byte of the page can become, at most; 0 where there is no telling."""
    return int(page.imagewidth) if page.compression in _FAX else _RATIOS.get(int(page.compression), 0)


def _is_for_pillow(page: Any) -> bool:
    return page.photometric not in _PLAIN or (page.compression in _JPEG and page.bitspersample == 8)


def _missing_codec(parts: list[Part]) -> str | None:
    """What of tifffile's decoders is not installed, in words."""
    import tifffile

    for page in (part.page for part in parts):
        if _is_for_pillow(page):
            continue
        if page.compression not in tifffile.TIFF.DECOMPRESSORS:
            return f"its compression {_word(page.compression)}"
        if page.predictor != 1 and page.predictor not in tifffile.TIFF.UNPREDICTORS:
            return f"its predictor {_word(page.predictor)}"
        if page.bitspersample not in (1, 8, 16, 32, 64) and not _has_imagecodecs():
            return f"samples of {page.bitspersample} bits"
    return None


def _word(code: Any) -> str:
    return str(getattr(code, "name", code))


def _has_imagecodecs() -> bool:
    try:
        import imagecodecs  # noqa: F401
    except ImportError:
        return False
    return True


def _wants_codec(path: Path, codec: str) -> DataError:
    return DataError(f"{path}: cannot be read in full without the decoder of {codec}; pip install imagecodecs")


def _too_deep(path: Path, page: Any) -> DataError:
    return DataError(
        f"{path}: its colours are {_COLOURS.get(int(page.photometric), _word(page.photometric))} of {page.bitspersample} bits, of which only 8 would be kept; save it as RGB"
    )


def _pillow_keeps(page: Any) -> bool:
    """Whether Pillow keeps all bits of a page: it cuts colours to 8."""
    return bool(page.bitspersample <= 8 or page.samplesperpixel == 1)


def _by_pillow(path: Path, part: Part) -> tuple[np.ndarray, str]:
    """The part's pages as Pillow decodes them, and their axes: its own samples, the stored ones where they are plain."""
    pages = []
    for page in part.pages:
        with open_picture(Path(page.parent.filehandle.path)) as picture:
            picture.seek(page.index)
            values = pixels(picture)
        pages.append(_as_stored(part.page, values))
    leading = [(axis, n) for axis, n in zip(part.axes, part.shape, strict=True) if axis not in "SYX"]
    values = np.stack(pages).reshape(*(n for _, n in leading), *pages[0].shape)
    return values, "".join(axis for axis, _ in leading) + "SYX"


def _as_stored(page: Any, values: np.ndarray) -> np.ndarray:
    """Undo what Pillow does to grey: it turns white is 0 round, and spreads 2 and 4 bits over 8."""
    if page.photometric == WHITE_IS_ZERO and page.bitspersample <= 8:
        values = ~values
    if page.photometric in (0, 1) and page.bitspersample in (2, 4):
        values = values // (255 // (2**page.bitspersample - 1))
    return values


def _turned(path: Path, file: Any, parts: list[Part], values: list[np.ndarray], label: bool) -> list[np.ndarray]:
    """Grey whose white is 0 the right way round, decided over all its pages at once."""
    places = [place for place, part in enumerate(parts) if part.page.photometric == WHITE_IS_ZERO]
    if not places:
        return values
    page = parts[places[0]].page
    numbers = means_numbers(file, page)
    joined = np.stack([values[place] for place in places]) if len(places) > 1 else values[places[0]][None]
    made = upright(path, joined, page.bitspersample, label=label, numbers=numbers)
    turned = list(values)
    for place, one in zip(places, made, strict=True):
        turned[place] = one
    return turned


def _sampled(path: Path, page: Any, values: np.ndarray, axes: str, label: bool) -> np.ndarray:
    """``(C, Z, Y, X)``: a palette looked up, alpha dropped, samples laid out as channels."""
    if page.photometric == PALETTE and page.colormap is not None:
        colours = _colours(page)
        if label:
            refuse_reversed(path, values, colours)
        elif int(values.max(initial=0)) >= len(colours):
            raise ValueError("an index without a colour")
        else:
            values, axes = colours[values.astype(np.intp)], f"{axes.replace('S', 'Q')}S"
    values = arranged(values, axes)
    if _has_alpha(page, values):
        values = _without_alpha(path, page, values)
    return values.reshape(-1, *values.shape[2:])


def _without_alpha(path: Path, page: Any, values: np.ndarray) -> np.ndarray:
    try:
        return np.moveaxis(drop_alpha(path, np.moveaxis(values, 1, 0)), 0, 1)
    except DataError:
        if page.planarconfig == _APART:
            raise _called_channels(path, "TIFF", values.shape[1]) from None
        raise


def _colours(page: Any) -> np.ndarray:
    """The palette as ``(entries, 3)`` uint8; old writers stored 8 bits of its 16."""
    table = np.asarray(page.colormap).T
    return (table >> 8 if table.max(initial=0) > 255 else table).astype(np.uint8)


def _has_alpha(page: Any, values: np.ndarray) -> bool:
    """Whether the last sample is alpha; one of no said meaning beside RGB is, where it is opaque throughout."""
    samples = values.shape[1]
    if page.photometric not in _PLAIN or samples not in (2, 4) or page.photometric == PALETTE:
        return False
    extra = tuple(page.extrasamples)
    if extra and extra[-1] in (1, 2):
        return True
    opaque = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    return bool(page.photometric == _RGB and samples == 4 and (values[:, -1] == opaque).all())


def _check_channels(path: Path, file: Any, part: Part, values: np.ndarray) -> None:
    """Refuse a label whose header calls its planes colours or channels, where they may be slices."""
    if len(values) == 1 or all(np.array_equal(channel, values[0]) for channel in values[1:]):
        return
    if "C" in part.axes or part.page.planarconfig == _APART:
        header = "ImageJ" if file.is_imagej else "OME" if file.is_ome else "TIFF"
        raise _called_channels(path, header, len(values))


def _called_channels(path: Path, header: str, planes: int) -> DataError:
    """What tifffile, scikit-image and imageio make of a short stack unless told: nothing in the file says that it is one."""
    return DataError(
        f"{path}: holds {planes} planes that its {header} header calls {'colours' if header == 'TIFF' else 'channels'}; where "
        "they are slices, save them as such, as tifffile does with photometric='minisblack' and metadata={'axes': 'ZYX'}"
    )
