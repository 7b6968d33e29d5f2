"""The spacing that a TIFF file knows: OME's physical sizes, ImageJ's unit, or the density of its pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from fewmask.data.formats.density import by_dots, millimetres
from fewmask.data.formats.tiff_parts import Part

_INCH, _CENTIMETRE = 2, 3  # ResolutionUnit
_MICROMETRE = "µm"  # what OME's physical sizes are in if they do not say


def spacing_of(file: Any, part: Part, slices: int) -> tuple[float, ...] | None:
    """Millimetres between neighbours as ``(rows, columns)``, or ``(z, y, x)`` of a stack; None where an axis is not known.

    Args:
        file: an open ``tifffile.TiffFile``.
        part: its picture, or the first part of its stack.
        slices: of the stack; one is a picture.
    """
    lengths: tuple[float | None, ...] = (None, None, None)
    if file.is_ome:
        lengths = _of_ome(file.ome_metadata or "", part)
    if lengths[1:] == (None, None) and file.is_imagej:
        lengths = _of_imagej(file.imagej_metadata or {}, part.page)
    if lengths[1:] == (None, None):
        lengths = (lengths[0], *(_of_density(part.page) or (None, None)))
    wanted = lengths if slices > 1 else lengths[1:]
    known = tuple(length for length in wanted if length is not None and 0 < length < math.inf)
    return known if len(known) == len(wanted) else None


def _of_ome(header: str, part: Part) -> tuple[float | None, ...]:
    """``(z, y, x)`` of the image in the header whose pixels are the part's."""
    try:
        root = ElementTree.fromstring(header.encode())
    except (ElementTree.ParseError, ValueError):
        return None, None, None
    rows, columns = part.size
    for pixels in root.iter():
        if pixels.tag.endswith("}Pixels") or pixels.tag == "Pixels":
            said = pixels.attrib
            if (said.get("SizeY"), said.get("SizeX")) == (str(rows), str(columns)):
                return tuple(_physical(said, axis) for axis in "ZYX")
    return None, None, None


def _physical(said: Mapping[str, str], axis: str) -> float | None:
    unit = millimetres(said.get(f"PhysicalSize{axis}Unit", _MICROMETRE))
    length = _number(said.get(f"PhysicalSize{axis}"))
    return None if unit is None or length is None else unit * length


def _of_imagej(said: Mapping[str, Any], page: Any) -> tuple[float | None, ...]:
    """``(z, y, x)``: the unit's share by the density in pixels a unit; between slices one unit, where it does not say."""
    unit = millimetres(str(said.get("unit", "")))
    if unit is None:
        return None, None, None
    across, down = _density(page)
    depth = _number(said.get("spacing", 1.0))
    return tuple(None if length is None else unit * length for length in (depth, _inverse(down), _inverse(across)))


def _of_density(page: Any) -> tuple[float, float] | None:
    """``(rows, columns)`` where the density has a unit and is believed."""
    inches = {_INCH: 1.0, _CENTIMETRE: 2.54}.get(int(page.tags.valueof("ResolutionUnit", default=_INCH)))
    across, down = _density(page)
    if inches is None or across is None or down is None:
        return None
    return by_dots(across * inches, down * inches)


def _density(page: Any) -> tuple[float | None, float | None]:
    """Pixels a unit, along a row and a column; one that is not said is the other."""
    across, down = (_ratio(page.tags.valueof(f"{axis}Resolution", default=None)) for axis in "XY")
    return (down if across is None else across), (across if down is None else down)


def _ratio(value: Any) -> float | None:
    if not isinstance(value, tuple) or len(value) != 2 or not value[1]:
        return None
    return float(value[0]) / float(value[1]) or None


def _inverse(value: float | None) -> float | None:
    return 1 / value if value else None


def _number(value: Any) -> float | None:
    try:
        number = abs(float(value))  # ImageJ's spacing is negative where a stack runs the other way
    except (TypeError, ValueError):
        return None
    return number if 0 < number < math.inf else None
