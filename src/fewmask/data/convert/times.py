"""Several images at one place: echoes, time points, diffusion weightings, which are scans of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fewmask.data.convert.slices import Slice
from fewmask.data.convert.stack import stacked
from fewmask.errors import DataError

_SURE = ("echo", "time", "b")  # differing in these, two images are never neighbours in one scan
_TRAITS = (*_SURE, "acquisition", "kind", "trigger")


def untangled(slices: list[Slice]) -> list[list[Slice]]:
    """The scans in a series; the series as it is where it is one, or where nothing tells its images apart.

    What tells them apart becomes part of each slice's names.
    """
    for name in _TRAITS if _overlaid(slices) else _SURE:
        parts: dict[str, list[Slice]] = {}
        for each in slices:
            parts.setdefault(each.traits.get(name, ""), []).append(each)
        if not 1 < len(parts) <= len(slices) / 2:
            continue
        scans = [scan for value, part in parts.items() for scan in untangled(_named(part, name, value))]
        if _fit(scans):
            return scans
    return [slices]


def _named(slices: list[Slice], name: str, value: str) -> list[Slice]:
    words = value.rsplit("\\", maxsplit=1)[-1] if name == "kind" else value
    return [replace(each, names=(*each.names, f"{name}-{words}")) for each in slices]


def _overlaid(slices: list[Slice]) -> bool:
    heights = sorted(each.height for each in slices)
    return bool((np.diff(heights) < 1e-3).any())


def _fit(scans: list[list[Slice]]) -> bool:
    """Whether each is an even stack, and all lie at the same places or between each other's."""
    try:
        heights = [[each.height for each in stacked(scan)] for scan in scans]
    except DataError:
        return False
    if min(map(len, heights)) < 2:
        return False
    return max(each[0] for each in heights) < min(each[-1] for each in heights)
