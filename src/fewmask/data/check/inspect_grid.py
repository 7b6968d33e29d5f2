"""What `check_dataset` says of where the files of a case lie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fewmask.data.check.findings import Severity
from fewmask.data.grids import agree, apart, codes_apart, compare
from fewmask.data.image import VOLUMES, Image, suffix_of

if TYPE_CHECKING:
    from fewmask.config import GeometryChoice

LONGEST = 50.0  # mm that no voxel of a patient is long


def about_grid(image: Image, first: Image, by: GeometryChoice) -> Iterator[tuple[Severity, str]]:
    """What is odd about the grid of a file, alone and beside the first of its case.

    Args:
        image: a scan's channel, or its label.
        first: the scan's first channel.
        by: how both were read.
    """
    if not agree(image.geometry, first.geometry, by):
        yield "error", apart(image.path, image.geometry, first.path, first.geometry, by)
    elif not image.geometry.matches(first.geometry):
        words = compare(image.geometry, first.geometry).words
        yield "note", f"is taken voxel by voxel on the grid of {first.path.name} (by its header: {words})"
    if suffix_of(image.path) not in VOLUMES:
        return
    if (between := codes_apart(image.path)) is not None:
        taken, other = ("qform", "sform") if by == "qform" else ("sform", "qform")
        yield (
            "warning",
            f"has a sform and a qform that are up to {between:.3g} mm apart; fewmask takes the {taken}, other programs may take the "
            f"{other} (--geometry {'header' if by == 'qform' else 'qform'} does); write one into its header as both",
        )
    if max(image.geometry.spacing) > LONGEST and min(image.geometry.shape) > 1:
        lengths = " x ".join(f"{length:.4g}" for length in image.geometry.spacing)
        yield "warning", f"has voxels of {lengths} mm; check the unit in its header"
