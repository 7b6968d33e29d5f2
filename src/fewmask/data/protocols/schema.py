"""What a file of this folder may say."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from fewmask.config import Experiment, merge, validate
from fewmask.data.protocols.shortcuts import Shortcut
from fewmask.metrics.score import metric_names
from fewmask.schema import Section


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Budgets = Annotated[tuple[int | str, ...], BeforeValidator(_as_tuple)]
Shortcuts = Annotated[tuple[Shortcut, ...], BeforeValidator(_as_tuple)]

Cases = str | Texts
"""Which units: the name of a file of ``lists/``; ``imagesTs`` for what lies there; or regular expressions, one of which must fit the whole name."""

Share = Annotated[float, Field(gt=0, lt=1)]


class Lists(Section):
    """Who trains, validates and tests; or, where nobody published it, how it is drawn.

    Attributes:
        source: whose lists these are, or that they are ours.
        unit: what the lists name: ``case``; ``patient``, as ``dataset.json`` says; or a regular expression whose first group is the
            name in a case id.
        train: none: every labelled case that is in no other part.
        ordered: whether the order of ``train`` is the published one in which cases get labels.
        validation: or the share of the training units that is drawn for it.
        test: or the share of all units that is drawn for it.
        strata: a regular expression whose first group tells kinds of units apart by name; every kind gives its share to what is drawn.
        withdrawn: units that today's download lacks.
        shortcuts: those that these lists take, whatever the protocol.
    """

    source: str
    unit: str = "case"
    train: Cases | None = None
    ordered: bool = False
    validation: Share | Cases | None = None
    test: Share | Cases
    strata: str | None = None
    withdrawn: Texts = ()
    shortcuts: Shortcuts = ()

    @property
    def drawn(self) -> bool:
        """Whether a seed of ours decides, at least in part."""
        return isinstance(self.test, float) or isinstance(self.validation, float)


class Protocol(Section):
    """How a paper, or an honest reader of it, trains and scores.

    Attributes:
        about: one sentence.
        lists: the data set's lists that it goes by.
        drawn: whether labelled units are drawn for every run even where the lists have an order.
        labelled: the budgets that were published, in units of the lists; a share is a text such as ``"5%"``.
        validation: ``none``; ``lists``: the validation cases of the lists, whose labels are used beyond the budget; or a share of the budget.
        crop: what the scans are cut with before anything else.
        selection: which checkpoint was published.
        metrics: fewmask's names for what was published.
        shortcuts: what makes the figures better than they would be in use.
        published: what to know of the published figures, whatever stands beside them.
        differs: where a run of fewmask under this protocol is not what was published, and what else to know of such a run.
        settings: on top of the data set's.
    """

    about: str
    lists: str
    labelled: Budgets
    drawn: bool = False
    validation: Literal["none", "lists"] | Share = "none"
    crop: str = "none"
    selection: Literal["last", "best-on-validation", "best-on-test"] = "last"
    metrics: Texts
    shortcuts: Shortcuts = ()
    published: Texts = ()
    differs: Texts = ()
    settings: dict[str, Any] = Field(default_factory=dict)

    @property
    def notes(self) -> Texts:
        """All that is to be told of a run under this protocol."""
        return (*self.published, *self.differs)

    @model_validator(mode="after")
    def _shortcuts_are_told(self) -> Self:
        taken = {
            "reference-crop": self.crop.startswith("reference"),
            "best-on-test": self.selection == "best-on-test",
            "extra-validation": self.validation == "lists",
        }
        for shortcut, here in taken.items():
            if here != (shortcut in self.shortcuts):
                raise ValueError(f"{shortcut} must be among the shortcuts exactly where it is taken")
        if unknown := set(self.metrics) - {*metric_names()}:
            raise ValueError(f"there is no metric {', '.join(sorted(unknown))}")
        return self


class PublicDataset(Section):
    """A public data set.

    Attributes:
        name: as ``fewmask convert`` and the recipes' folders have it.
        title: for people.
        modality: what took the images.
        target: what is outlined.
        dims: 2 or 3.
        cases: how many there are.
        home: official pages by what they hold.
        licence: as far as the owners state one.
        get: what to download, and how.
        size: of the download, where it is known.
        cite: who made it.
        layout: what ``fewmask convert`` expects.
        remarks: what one should know of the data.
        settings: the part of a config that all protocols share.
        lists: by name.
        subsets: parts of the test cases that papers score by themselves: name, and the regular expression that begins their ids.
        protocols: by name; ``paper`` and ``honest`` at least.
    """

    name: str
    title: str
    modality: str
    target: str
    dims: Literal[2, 3]
    cases: str
    home: dict[str, str]
    licence: str
    get: str
    size: str | None = None
    cite: str
    layout: Texts
    remarks: Texts = ()
    settings: dict[str, Any]
    lists: dict[str, Lists]
    subsets: dict[str, str] = Field(default_factory=dict)
    protocols: dict[str, Protocol]

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if missing := {"paper", "honest"} - set(self.protocols):
            raise ValueError(f"there is no protocol {', '.join(sorted(missing))}")
        for name, protocol in self.protocols.items():
            if protocol.lists not in self.lists:
                raise ValueError(f"protocol {name}: there are no lists {protocol.lists!r}")
            experiment: Experiment = validate(Experiment, self.settings_of(protocol), f"protocol {name}")
            in_voxels = self.dims == 3 and experiment.evaluation.unit == "voxel"
            if in_voxels != ("voxel-units" in protocol.shortcuts):
                raise ValueError(f"protocol {name}: voxel-units must be among the shortcuts exactly where it is taken")
        if self.protocols["honest"].shortcuts or self.lists[self.protocols["honest"].lists].shortcuts:
            raise ValueError("the honest protocol takes no shortcut")
        return self

    def settings_of(self, protocol: Protocol) -> dict[str, Any]:
        """The part of a config that a protocol fixes."""
        return merge(self.settings, protocol.settings)
