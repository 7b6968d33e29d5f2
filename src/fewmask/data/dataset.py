"""A dataset folder: nnU-Net's raw layout, and ``imagesUn/`` for scans without labels."""

from __future__ import annotations

import contextlib
import difflib
import warnings
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from fewmask.data.description import Description, read_description
from fewmask.data.image import VOLUMES, Image, read_channels, read_geometry, read_label
from fewmask.data.layout import Case, Group, Problem, list_cases
from fewmask.data.owners import known_owners, warn_of_shared_patients
from fewmask.data.split import Split, make_split
from fewmask.data.split_file import NAME as SPLITS
from fewmask.data.split_file import read_splits, write_split
from fewmask.errors import DataError, FewmaskWarning, nearest
from fewmask.names import check_name
from fewmask.words import count

if TYPE_CHECKING:
    from fewmask.config import GeometryChoice

__all__ = ["Case", "Dataset", "Group", "Problem"]


class Dataset:
    """The cases of a folder; `Dataset.open` makes one.

    Attributes:
        root: the folder.
        description: the contents of ``dataset.json``.
        cases: by id, sorted.
        problems: what is odd about the files' names; `fewmask check` reports it.
    """

    def __init__(self, root: Path, description: Description, cases: dict[str, Case], problems: list[Problem]) -> None:
        self.root = root
        self.description = description
        self.cases = cases
        self.problems = problems

    @classmethod
    def open(cls, path: Path | str, strict: bool = True) -> Dataset:
        """List a dataset folder. Reads names and ``dataset.json`` only.

        Args:
            path: the folder that holds ``dataset.json``.
            strict: whether a case id that is used twice is an error; otherwise it is one of `problems`.

        Raises:
            DataError: ``dataset.json`` is missing or wrong, there is no scan, or an id is used twice.
        """
        root = Path(path)
        description = read_description(root)
        listing = list_cases(root, description.file_ending, description.label_ending, len(description.channel_names))
        for case_id, (first, second) in listing.duplicates.items():
            message = f"has the same case id as {first.relative_to(root)}; rename one of them"
            if strict:
                raise DataError(f"{second}: {message}")
            listing.problems.append(Problem("error", case_id, second, message))
        for file in listing.unsafe:
            if strict:
                check_name(file.name, f"{file.parent}: the file name")
            message = "has a name with control characters or bytes that are no text, and is left out; rename it"
            listing.problems.append(Problem("error", None, file, message))
        if not listing.cases:
            raise DataError(
                f"{root}: holds no scan named like imagesTr/ID_0000{description.file_ending}; "
                'name the files so or mend "file_ending" in dataset.json'
            )
        return cls(root, description, listing.cases, listing.problems)

    def lost(self) -> str:
        """One sentence on labels and scans that are left out because of their names; empty where there is none."""
        lost = [problem for problem in self.problems if problem.lost]
        more = f" (fewmask check lists {len(lost) - 1} more)" if len(lost) > 1 else ""
        return f"{lost[0].path}: {lost[0].message}{more}" if lost else ""

    def warn_of_lost(self) -> None:
        """Say that labels or scans are left out because of their names."""
        if lost := self.lost():
            warnings.warn(lost, FewmaskWarning, stacklevel=1)

    @property
    def name(self) -> str:
        """The data set's name."""
        return self.description.name

    @property
    def class_names(self) -> tuple[str, ...]:
        """Background first; label value = position."""
        return self.description.class_names

    @property
    def channel_names(self) -> tuple[str, ...]:
        """In channel order."""
        return self.description.channel_names

    @property
    def file_ending(self) -> str:
        """Of the images, with the dot."""
        return self.description.file_ending

    @cached_property
    def spatial_dims(self) -> int:
        """2 or 3, as most of five scans say, so that one odd scan does not speak for all.

        A volume of one slice is 2D; but among volumes, two of the five are enough, it is a volume of one slice.
        """
        cases, dims = list(self.cases.values()), []
        for case in cases[:: max(len(cases) // 5, 1)][:5]:
            with contextlib.suppress(DataError):  # whoever reads it says what is wrong with it
                dims.append(len(read_geometry(case.images[0]).shape))
        if dims.count(3) > 1 and self.file_ending.lower() in VOLUMES:
            return 3
        return max(dims, key=lambda d: (dims.count(d), d)) if dims else len(read_geometry(cases[0].images[0]).shape)

    def __len__(self) -> int:
        return len(self.cases)

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(self.ids(group))} {group}" for group in ("train", "unlabelled", "test"))
        return f"Dataset({str(self.root)!r}: {counts})"

    def ids(self, group: Group, labelled: bool | None = None) -> list[str]:
        """Case ids of a group, sorted; with ``labelled`` only those that have, or lack, a label file."""
        return [
            case.id
            for case in self.cases.values()
            if case.group == group and labelled in (None, case.label is not None)
        ]

    def case(self, case_id: str) -> Case:
        """One case.

        Raises:
            DataError: there is no such case.
        """
        if case_id not in self.cases:
            close = difflib.get_close_matches(case_id, self.cases, n=1) or list(self.cases)[:1]
            raise DataError(f"{self.root}: has no case {case_id!r}; its cases are named like {close[0]!r}")
        return self.cases[case_id]

    def read(self, case_id: str, by: GeometryChoice = "header") -> Image:
        """The scan of a case, float32 ``(C, *S)``, the channels of all its files stacked.

        Args:
            case_id: its id.
            by: what says where voxels lie; see `fewmask.config.PreprocessConfig`.

        Raises:
            DataError: a file cannot be read, the geometries differ, or the channels are not those of ``dataset.json``.
        """
        case = self.case(case_id)
        for problem in self.problems:
            if problem.severity == "error" and problem.case == case_id:
                raise DataError(f"{problem.path}: {problem.message}")
        image = read_channels(case.images, dims=self.spatial_dims, by=by)
        if len(image.data) != len(self.channel_names):
            raise DataError(
                f"{image.path}: case {case_id!r} has {count(len(image.data), 'channel')}, but dataset.json names "
                f"{len(self.channel_names)}; add the missing files or mend channel_names"
            )
        return image

    def read_label(self, case_id: str, by: GeometryChoice = "header") -> Image:
        """The label map of a case, uint8 ``(*S)``.

        Args:
            case_id: its id.
            by: see `read`.

        Raises:
            DataError: there is no label, or it cannot be read, or holds a value that is no class of ``dataset.json``.
        """
        path = self.case(case_id).label
        if path is None:
            raise DataError(f"{self.root}: case {case_id!r} has no label; use it as an unlabelled one")
        label = read_label(path, dims=self.spatial_dims, by=by)
        if label.data.max(initial=0) >= len(self.class_names):
            raise DataError(
                f"{path}: holds the label value {label.data.max()}, but the classes of dataset.json end at "
                f"{len(self.class_names) - 1}; add the class or renumber the label"
            )
        return label

    def split(
        self,
        labelled: int | float | None = None,
        validation: int | float = 0,
        *,
        seed: int = 0,
        ordered: bool = False,
        patients: str | None = None,
    ) -> Split:
        """Choose which labels are seen; see `make_split`."""
        return make_split(self, labelled, validation, seed=seed, ordered=ordered, patients=patients)

    def load_split(self, name: str) -> Split:
        """A split of ``splits.json``.

        Raises:
            DataError: there is no such split, or it names cases that the folder lacks.
        """
        splits, path = read_splits(self.root), self.root / SPLITS
        if name not in splits:
            raise DataError(f"{path}: has no split {name!r}; {nearest(name, splits) if splits else 'make one first'}")
        where = f"{path}: split {name!r}"
        split = Split.from_values(splits[name], where)
        try:
            split.check(self)
        except DataError as error:
            raise DataError(f"{where} does not fit the folder ({error}); mend it or make it anew") from None
        if split.protocol is None and "shared-origin" not in split.shortcuts:  # which say it themselves
            warn_of_shared_patients(split, known_owners(self, split))
        self.warn_of_lost()
        return split

    def save_split(self, name: str, split: Split, *, replace: bool = False) -> None:
        """Write a split to ``splits.json`` in one step; other splits stay.

        Args:
            name: of the split.
            split: it.
            replace: whether another split of this name is replaced; the same one needs no leave.

        Raises:
            DataError: the split does not fit the folder, or its name is another's.
            WriteError: the file cannot be written.
        """
        split.check(self)
        write_split(self.root, name, split, replace=replace)
