"""Which pages of a TIFF file are its picture or stack; the others are thumbnails, smaller levels and attachments.

A header that names axes (OME, ImageJ, tifffile's own, a microscope's) is followed. Without one, pages of one size and
type are slices in their order. The page that stands for the others is the first that is not marked as a reduced copy or
a mask; one that is a smaller copy of a later page is a thumbnail, marked or not.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fewmask.errors import DataError

UNNAMED = "IQ"  # tifffile's letters for a sequence of pages, and for an axis that a writer did not name
PALETTE = 3  # photometric kind; each page has colours of its own
GREYS = (0, 1)  # photometric kinds: white is 0, black is 0


@dataclass(frozen=True)
class Part:
    """One page, or pages that a header puts together.

    Attributes:
        source: tifffile's page or series, which reads them.
        axes: a letter an axis, as stored.
        shape: of those axes.
        pages: in stored order.
    """

    source: Any
    axes: str
    shape: tuple[int, ...]
    pages: tuple[Any, ...]

    @property
    def page(self) -> Any:
        """The page whose tags hold for all of them."""
        return self.source.keyframe

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.page.imagelength), int(self.page.imagewidth)

    @property
    def kind(self) -> tuple[Any, ...]:
        """What two parts have in common whose pages can be slices of one stack."""
        page = self.page
        colour = "grey" if page.photometric in GREYS else page.photometric
        return *self.size, page.imagedepth, page.samplesperpixel, str(page.dtype), colour

    @property
    def named(self) -> bool:
        """Whether an axis beside rows, columns and samples has a name."""
        return any(axis not in f"XYS{UNNAMED}" for axis in self.axes)


def parts_of(path: Path, file: Any) -> list[Part]:
    """The parts of the file's picture or stack, to be laid one behind the other.

    Args:
        path: of the file; opens errors.
        file: it, as an open ``tifffile.TiffFile``.

    Raises:
        DataError: it holds several stacks, a stack of unlike pages, or planes that lie in files that are missing; or it was cut
            short.
    """
    _refuse_cut(path, file)
    if file.is_ome:
        _refuse_missing_files(path, file.ome_metadata or "")
    kind, parts = _by_header(path, file)
    if not parts:
        parts = [Part(page, page.axes, page.shape, (page,)) for page in _pages(file) if page.shape]
    if not parts:
        raise DataError(f"{path}: holds no picture; export it anew")
    main = _main([part for part in parts if not _is_marked(part.page)] or parts)
    return _alike(path, parts, main, kind)


def _refuse_cut(path: Path, file: Any) -> None:
    """Every page says where the next one lies, the last one 0. Where there is none, tifffile takes the pages before for all."""
    if not len(file.pages):
        return
    layout, stream = file.tiff, file.filehandle
    last = file.pages[-1].offset
    stream.seek(last)
    (tags,) = struct.unpack(layout.tagnoformat, stream.read(layout.tagnosize))
    stream.seek(last + layout.tagnosize + tags * layout.tagsize)
    (following,) = struct.unpack(layout.offsetformat, stream.read(layout.offsetsize))
    if following and following not in {page.offset for page in file.pages}:
        raise DataError(
            f"{path}: is damaged or cut short, for its page {len(file.pages) + 1} cannot be found; copy or export it anew"
        )


def _by_header(path: Path, file: Any) -> tuple[str, list[Part]]:
    """What kind of header puts pages together, and its parts: none where the pages have to be looked at one by one."""
    try:
        series = file.series
    except RuntimeError:  # a long stack that looked alike where tifffile sampled it
        return "generic", []
    kind = series[0].kind if series else "generic"
    if kind in ("generic", "uniform"):  # tifffile samples some pages of a uniform stack only
        return kind, []
    return kind, [_of_series(path, one) for one in series if len(_index(one)) == 1]


def _pages(file: Any) -> list[Any]:
    file.pages._clear(fully=False)
    file.pages.useframes = False  # frames borrow the tags of the first page, and unlike ones cannot
    return [page if hasattr(page, "tags") else page.aspage() for page in file.pages]


def _of_series(path: Path, series: Any) -> Part:
    if any(page is None for page in series.pages):
        raise DataError(f"{path}: lacks planes that its header names; save the whole stack as one file")
    return Part(series, series.axes, series.shape, tuple(series.pages))


def _index(series: Any) -> tuple[int, ...]:
    """Where the first page hangs in the tree of pages: more than one number is a page below another."""
    index: tuple[int, ...] = series.keyframe.treeindex
    return index


def _is_marked(page: Any) -> bool:
    return bool(page.is_reduced or page.is_mask)


def _main(parts: list[Part]) -> Part:
    """The first part, unless it alone has its size and a later one shows the same larger."""
    first = parts[0]
    if sum(part.size == first.size for part in parts) > 1 or len(first.pages) > 1:
        return first
    larger = [part for part in parts if _is_copy(first.size, part.size)]
    return max(larger, key=lambda part: part.size[0] * part.size[1]) if larger else first


def _is_copy(small: tuple[int, int], large: tuple[int, int]) -> bool:
    """Whether a picture of one size can be another's, made smaller: the ratio of its sides agrees to a pixel."""
    scale = large[0] / small[0]
    return scale > 1 and large[1] > small[1] and abs(large[1] / scale - small[1]) <= 1


def _alike(path: Path, parts: list[Part], main: Part, kind: str) -> list[Part]:
    """All parts like ``main``, in order."""
    unmarked = [part for part in parts if _is_marked(part.page) == _is_marked(main.page)]
    alike = [part for part in unmarked if part.kind == main.kind]
    if len(alike) == 1:
        return alike
    if kind not in ("uniform", "generic", "shaped") or any(part.named for part in alike):
        raise DataError(f"{path}: holds {len(alike)} pictures or stacks of one size; save each as a file of its own")
    for part in unmarked:
        if part.size == main.size and part.kind != main.kind:
            raise DataError(
                f"{path}: is a stack whose page {part.page.index + 1} is {_type(part)} where the first is {_type(main)}; "
                "save all its pages in one type"
            )
    return alike


def _type(part: Part) -> str:
    samples = part.page.samplesperpixel
    return f"{part.page.dtype} {'grey' if part.page.photometric in GREYS else 'in colours'}" + (
        f" of {samples} samples" if samples > 1 else ""
    )


def _refuse_missing_files(path: Path, header: str) -> None:
    """An OME header can name other files for its planes: taken from the same folder, and only where they are there.

    tifffile would fill absent ones with zeros, and follow a name to any folder.
    """
    own = re.search(r"<(?:\w+:)?OME\b[^>]*\bUUID=\"([^\"]*)\"", header)
    for name, uuid in re.findall(r"<(?:\w+:)?UUID\b[^>]*\bFileName=\"([^\"]*)\"[^>]*>\s*([^<\s]*)", header):
        if name.lower() == path.name.lower() or (own is not None and uuid == own[1]):
            continue
        beside = path.parent / name
        if Path(name).name != name or "\\" in name or beside.is_symlink() or not beside.is_file():
            raise DataError(f"{path}: says that planes of it lie in {name}; save the whole stack as one file")
