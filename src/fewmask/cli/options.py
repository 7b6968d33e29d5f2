"""Options that several verbs share, and how their values are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from fewmask.config import GeometryChoice
    from fewmask.inference.predictor import Predictor

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
        help="How many labels may be used: a number of cases, or a share such as 0.1 or 10%, rounded up. Default: all.",
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
PatientsOption = Annotated[
    str | None,
    typer.Option(
        metavar="REGEX",
        help="Regular expression whose first group is the patient in a case id, such as '(.+)_scan': a patient's scans stay together. "
        "none: every scan is of another patient. Default: patients of dataset.json, else as the ids say.",
    ),
]
PartOption = Annotated[
    Literal["test", "validation", "unlabelled", "labelled"] | None,
    typer.Option("--part", help="Only the cases of this part of the run's split, wherever they lie. Default: all."),
]
FlipsOption = Annotated[
    bool | None, typer.Option("--flips/--no-flips", help="Average over mirrored copies (slower, often better).")
]
ComponentOption = Annotated[
    bool | None,
    typer.Option("--largest-component/--all-components", help="Keep the largest connected piece of each class alone."),
]
WeightingOption = Annotated[
    bool | None,
    typer.Option(
        "--gaussian/--uniform",
        help="Where windows overlap: trust their centres more than their borders, or all voxels alike.",
    ),
]
EngineOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="eager (exact), fused (faster, to 1e-5) or bf16 (fastest, rougher)."),
]
DeviceOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="cpu or cuda. Default: a GPU where there is one.")
]
GeometryOption = Annotated[
    Literal["header", "qform", "scan"] | None,
    typer.Option(
        "--geometry",
        help="Where voxels lie. header: as the files say, of NIfTI by the sform before the qform; qform: the other way round; "
        "scan: labels lie voxel by voxel on their scan, whatever their headers say. Default: as the run's config says, else header.",
    ),
]
OverwriteOption = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace files that are there with other contents. Default: they stay, and the call is refused.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def gather_changes(assignments: list[str], **sections: dict[str, Any]) -> dict[str, Any]:
    """What the command line changes in the config: options first, ``--set`` on top."""
    from fewmask.config import merge, parse_assignment

    changes: dict[str, Any] = {name: values for name, values in sections.items() if values}
    for assignment in assignments:
        changes = merge(changes, parse_assignment(assignment))
    return changes


def open_predictor(
    run: Path,
    checkpoint: str | None = None,
    device: str | None = None,
    *,
    flips: bool | None = None,
    largest_component: bool | None = None,
    gaussian: bool | None = None,
    engine: str | None = None,
    geometry: GeometryChoice | None = None,
) -> Predictor:
    """The model of a run folder, with what the command line changes in its ``inference`` settings and in ``preprocess.geometry``."""
    from fewmask.inference.predictor import Predictor

    predictor = Predictor.from_run(run, checkpoint, device)
    weighting = None if gaussian is None else "gaussian" if gaussian else "uniform"
    wanted = {"flips": flips, "largest_component": largest_component, "weighting": weighting, "engine": engine}
    changes = {key: value for key, value in wanted.items() if value is not None}
    predictor.settings = predictor.settings.model_copy(update=changes)
    if geometry is not None:
        predictor.read_by(geometry)
    return predictor
