"""Lengths of pixels, in mm, from what pictures say: units by name, and densities of prints and scanners, which are none."""

from __future__ import annotations

import math

_FINEST_PRINT = 0.01  # mm; a pixel of this size or more is a dot of a screen, a printer or a scanner (2,540 an inch)
_SCANNER_STEP = 300  # dots an inch; the finer settings of scanners are multiples
_FINEST_SCANNER = 12800  # dots an inch

_UNITS = {
    "km": 1e6,
    "m": 1e3,
    "meter": 1e3,
    "metre": 1e3,
    "dm": 100.0,
    "cm": 10.0,
    "centimeter": 10.0,
    "mm": 1.0,
    "millimeter": 1.0,
    "um": 1e-3,
    "micron": 1e-3,
    "microns": 1e-3,
    "micrometer": 1e-3,
    "nm": 1e-6,
    "nanometer": 1e-6,
    "pm": 1e-9,
    "å": 1e-7,
    "angstrom": 1e-7,
    "in": 25.4,
    "inch": 25.4,
    "ft": 304.8,
    "thou": 0.0254,
    "mil": 0.0254,
    "pt": 25.4 / 72,
}


def millimetres(unit: str) -> float | None:
    """How long a unit is that a microscope names; None for a pixel, or a word that is no length.

    Both signs for micro, and their escape in ImageJ's headers, are ``u``.
    """
    word = unit.replace("\\u00B5", "u").replace("\\u00b5", "u").strip().casefold()
    return _UNITS.get(word.replace("\u00b5", "u").replace("\u03bc", "u"))


def believed(length: float) -> bool:
    """Whether a pixel's length in mm that only a density says was measured.

    Programs write 72, 96, 300 or 600 dots an inch into any picture, which says how large to print it. Only pixels finer
    than print are taken at their word, and of these none at the steps of scanners.
    """
    if not (math.isfinite(length) and 0 < length < _FINEST_PRINT):
        return False
    dots = 25.4 / length
    return dots > _FINEST_SCANNER or abs(dots / _SCANNER_STEP - round(dots / _SCANNER_STEP)) > 1e-3


def by_dots(across: float, down: float) -> tuple[float, float] | None:
    """Height and width of a pixel, in mm, by its dots an inch along rows and columns; None where they are not believed."""
    lengths = tuple(25.4 / dots if dots > 0 else math.inf for dots in (down, across))
    return (lengths[0], lengths[1]) if all(believed(length) for length in lengths) else None
