"""Shortcuts of published protocols: what makes figures better than they would be in use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

Shortcut = Literal[
    "reference-crop",
    "best-on-test",
    "threshold-on-test",
    "extra-validation",
    "shared-origin",
    "voxel-units",
    "resized-scoring",
]

SENTENCES: dict[Shortcut, str] = {
    "reference-crop": "every scan, test scans included, is cut around its reference: where the object is was given away",
    "best-on-test": "the checkpoint is the one that is best on the test set",
    "threshold-on-test": "the threshold of the foreground is the one that is best on the test set",
    "extra-validation": "the checkpoint is chosen on labelled cases beyond the label budget",
    "shared-origin": "training and test images come, or may come, from the same patient or video",
    "voxel-units": "distances are in voxels, not in millimetres",
    "resized-scoring": "images and masks are scored at the network's size, not at their own",
}

NEVER_TAKEN: frozenset[Shortcut] = frozenset({"best-on-test", "threshold-on-test", "resized-scoring"})
"""Shortcuts that fewmask does not offer: a run under such a protocol is honest in this point, and not stamped."""


def taken(shortcuts: Iterable[Shortcut]) -> tuple[Shortcut, ...]:
    """Those that a run really takes, in the order of `Shortcut`."""
    here = set(shortcuts) - NEVER_TAKEN
    return tuple(name for name in get_args(Shortcut) if name in here)


def stamp(shortcuts: Iterable[str]) -> str | None:
    """The sentence that stands under every table of a run that takes shortcuts; None where it takes none.

    A name that this version does not know is shown as it is.
    """
    known: dict[str, str] = {str(name): text for name, text in SENTENCES.items()}
    told = [known.get(name, name) for name in shortcuts]
    return f"shortcuts taken: {'; '.join(told)}" if told else None
