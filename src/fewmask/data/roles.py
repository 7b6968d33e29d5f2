"""What a run knows of each scan of a data set that it may have been trained on, or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fewmask.data.split import Split
from fewmask.errors import DataError

if TYPE_CHECKING:
    from fewmask.data.dataset import Dataset


@dataclass(frozen=True)
class Roles:
    """The scans of a data set, by what may be known of their labels; case ids, sorted.

    Attributes:
        labelled: their labels may be read: the run did, or they are new to it and have one.
        validation: those among them that chose the run's checkpoint.
        unlabelled: they have no label, or the run's split hides it.
        test: for scoring; nothing may be chosen by them.
    """

    labelled: tuple[str, ...]
    validation: tuple[str, ...]
    unlabelled: tuple[str, ...]
    test: tuple[str, ...]


def roles_of(dataset: Dataset, split: Split) -> Roles:
    """Sort a data set's scans by the split of a run; the data set may have other scans than the run knew.

    A label that the split hides stays hidden, whatever the folder holds.

    Args:
        dataset: the data set.
        split: of the run.
    """
    test = {*split.test, *dataset.ids("test")} - {*split.labelled, *split.validation, *split.unlabelled}
    known = {case.id for case in dataset.cases.values() if case.label is not None}
    labelled = known - test - {*split.unlabelled}
    return Roles(
        labelled=tuple(sorted(labelled)),
        validation=tuple(sorted(labelled & {*split.validation})),
        unlabelled=tuple(sorted({*dataset.cases} - test - labelled)),
        test=tuple(sorted(test & {*dataset.cases})),
    )


def check_fits(
    dataset: Dataset, channel_names: tuple[str, ...], class_names: tuple[str, ...], spatial_dims: int
) -> None:
    """Refuse a data set that is of another kind than the one that a run was trained on.

    Raises:
        DataError: its classes, its number of channels or its dimensions differ.
    """
    channels, wanted = len(dataset.channel_names), len(channel_names)
    for what, here, there in (
        ("the classes", list(dataset.class_names), list(class_names)),
        ("a number of channels that is", channels, wanted),
        ("a number of dimensions that is", dataset.spatial_dims, spatial_dims),
    ):
        if here != there:
            raise DataError(f"{dataset.root}: has {what} {here}, but the run was trained on {there}; give it such data")
