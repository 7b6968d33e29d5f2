"""The published splits of a data set, looked up by its name in `fewmask.data.protocols`."""

from __future__ import annotations

from fewmask.data.dataset import Dataset
from fewmask.data.split import Split


def published_test(name: str | None) -> frozenset[str]:
    """The cases on which the field tests; they go to ``imagesTs``. Empty where nobody published a list."""
    return frozenset()


def published_splits(name: str | None, dataset: Dataset) -> dict[str, Split]:
    """The splits of a data set that have been published, as far as their cases are here."""
    return {}
