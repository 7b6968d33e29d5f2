"""The contract between a converter and what runs it.

A converter looks at a folder and says which cases are in it, without opening a scan; what each case holds is read when its turn comes.
It writes nothing: names, formats, resuming and ``dataset.json`` are `fewmask.data.convert.run`'s.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fewmask.config import Section
from fewmask.data.geometry import Geometry
from fewmask.data.layout import Group
from fewmask.data.split import Split
from fewmask.registry import Registry

Files = tuple[Path, ...]


@dataclass(frozen=True, eq=False)
class Content:
    """What a case holds.

    Attributes:
        image: values ``(C, *S)``; or files of the data set's ending, one per channel, which are copied byte by byte.
        label: class numbers ``(*S)``; or a file of the label's ending, which is copied; None where there is none.
        geometry: of the arrays; none: unit spacing at the origin, as of pictures.
    """

    image: np.ndarray | Files
    label: np.ndarray | Path | None = None
    geometry: Geometry | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """A case before it is read.

    Attributes:
        id: its name in the data set.
        files: all that it is made from; their names and sizes tell a resumed conversion whether it is still the same case.
        load: reads it.
        group: the folder that it goes to: ``"train"``, ``"unlabelled"`` or ``"test"``.
        labelled: whether `load` gives a label.
        patient: whom it shows, where several cases show one.
    """

    id: str
    files: Files
    load: Callable[[], Content]
    group: Group = "train"
    labelled: bool = True
    patient: str | None = None


@dataclass
class Plan:
    """What a conversion will write.

    Attributes:
        name: of the data set, for people.
        channel_names: in channel order.
        class_names: background first.
        cases: in the order in which they are converted.
        file_ending: of the images; labels get ``label_ending``.
        label_ending: none: as the images.
        joint: whether one file holds all channels of a case, as pictures always do.
        expected: how many cases the published data set has, by what they are (``{"training scans": 100}``), and how many are here.
        training_order: the published order in which cases get labels.
        splits: built from lists that lie beside the data; the published ones are looked up by the converter's name.
        reference: what to cite.
        notes: what the user should know of this conversion.
        missing: labels that should be there and are not, and the like; each a sentence, shown as a warning.
        shortcuts: that the data themselves take, by their names in `fewmask.data.protocols`, such as ``"reference-crop"``.
    """

    name: str
    channel_names: tuple[str, ...]
    class_names: tuple[str, ...]
    cases: list[Source]
    file_ending: str = ".nii.gz"
    label_ending: str | None = None
    joint: bool = False
    expected: dict[str, tuple[int, int]] = field(default_factory=dict)
    training_order: tuple[str, ...] | None = None
    splits: dict[str, Split] = field(default_factory=dict)
    reference: str = ""
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    shortcuts: tuple[str, ...] = ()


class Converter(ABC):
    """Base of all converters.

    Args:
        config: its settings, an instance of its ``Config``.

    Attributes:
        Config: the class of the settings.
        title: the data set in one line.
        layout: the folder that it wants, drawn as a tree; errors about the layout point to it.
        published: the name of the data set in `fewmask.data.protocols`, whose splits are written; None: it has none.
    """

    Config: ClassVar[type[Section]] = Section
    title: ClassVar[str]
    layout: ClassVar[str]
    published: ClassVar[str | None] = None

    def __init__(self, config: Any = None) -> None:
        self.config: Any = config if config is not None else self.Config()

    @abstractmethod
    def plan(self, raw: Path) -> Plan:
        """Find the cases of ``raw``, a folder (of an archive, what was in it).

        Raises:
            DataError: it is laid out in another way; `fewmask.data.convert.find.wrong_layout` words it.
        """


CONVERTERS: Registry[Converter] = Registry("converter")
register = CONVERTERS.register
