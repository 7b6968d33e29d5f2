"""Options that several verbs share, and how their values are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

DatasetArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DATASET", help="Dataset folder: dataset.json, imagesTr, labelsTr, imagesUn, imagesTs, labelsTs."
    ),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of a training.")]
CheckpointOption = Annotated[
    Literal["auto", "last", "best"] | None,
    typer.Option(
        help="Weights to use; auto: best on validation, where there is one. Default: as the run's config says."
    ),
]
LabelledOption = Annotated[
    str | None,
    typer.Option(
        metavar="AMOUNT",
        help="How many labels may be used: a number of cases, or a share such as 0.1 or 10%. Default: all.",
    ),
]
ProtocolOption = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        metavar="NAME",
        help="A protocol of a public data set, such as la/paper or la/honest; `fewmask datasets` lists them.",
    ),
]
ListsOption = Annotated[
    str | None,
    typer.Option(
        "--lists",
        metavar="NAME",
        help="With --protocol: others of the data set's published lists; `fewmask datasets show NAME` has them.",
    ),
]
PartOption = Annotated[
    Literal["test", "validation", "unlabelled", "labelled"] | None,
    typer.Option("--part", help="Only the cases of this part of the run's split, wherever they lie. Default: all."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def gather_changes(assignments: list[str], **sections: dict[str, Any]) -> dict[str, Any]:
    """What the command line changes in the config: options first, ``--set`` on top."""
    from fewmask.config import merge, parse_assignment

    changes: dict[str, Any] = {name: values for name, values in sections.items() if values}
    for assignment in assignments:
        changes = merge(changes, parse_assignment(assignment))
    return changes
