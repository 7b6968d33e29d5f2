"""What the papers printed: every row of their result tables, as data, with the figures that are not to be trusted marked as such.

One file of ``published/`` a paper. A cell stands there as it was printed, ``81.16`` or ``87.10±1.09``; nothing is rounded or corrected.
What follows the ± differs from paper to paper: see `Paper.spread`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from fewmask.config import Section, read_yaml, validate
from fewmask.errors import ConfigError, nearest
from fewmask.metrics.score import EXTRAS, OVERLAPS

FOLDER = Path(__file__).parent / "published"
METRICS = ("dice", "jaccard", "hd95", "asd", *EXTRAS, "parameters", "macs")
CELL = re.compile(r"(\d+(?:\.\d+)?)(?:±(\d+(?:\.\d+)?))?")
OWN_ROW = "Ours"

METHODS_AS_PRINTED = {
    "V-Net": "supervised",
    "Fully Sup.": "supervised",
    "UAMT": "ua-mt",
    "EM": "entropy-minimisation",
    "MC-Net+": "mc-net-plus",
    "CSCPA": "csc-pa",
}
"""The names that our method's name is not simply the lower case of."""


def _words(value: Any) -> Any:
    return tuple(value.split()) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Share = Annotated[str, Field(pattern=r"^\d+%$")]
Kind = Literal["comparison", "ablation", "cost"]


class Doubt(Section):
    """Why figures of a row are not to be compared with as they stand.

    Attributes:
        row: as in the table.
        metrics: which of its figures; none named: all.
        kind: ``impossible`` where no set of masks gives these figures, ``doubtful`` where something speaks against them.
        why: one sentence without its full stop.
    """

    row: str
    metrics: Words = ()
    kind: Literal["impossible", "doubtful"]
    why: str


class Table(Section):
    """The part of a printed table that belongs to one data set and one number of labels.

    Attributes:
        source: which table of the paper.
        kind: ``comparison`` of methods, ``ablation`` of one, or ``cost``: millions of parameters, 10^9 multiply-adds.
        method: whose ablation it is.
        dataset: by its name in `fewmask.data.protocols`.
        subset: of its test images, where there are several.
        protocol: the one of `fewmask.data.protocols` that goes the paper's way.
        labelled: how many were labelled; None where that is not certain.
        unlabelled: how many were not.
        share: the same as the paper's share.
        metrics: the columns.
        rows: method or variant, and its cells.
        doubts: about them.
    """

    source: str
    kind: Kind = "comparison"
    method: str | None = None
    dataset: str
    subset: str | None = None
    protocol: str
    labelled: int | None = Field(None, ge=1)
    unlabelled: int | None = Field(None, ge=0)
    share: Share | None = None
    metrics: Words
    rows: dict[str, Words]
    doubts: tuple[Doubt, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.kind == "ablation") != (self.method is not None):
            raise ValueError("method must be named exactly where an ablation is of one")
        if (self.kind == "cost") == (self.share is not None):
            raise ValueError("share must be there, but not for costs")
        if unknown := set(self.metrics) - set(METRICS):
            raise ValueError(f"there is no metric {', '.join(sorted(unknown))}")
        for row, cells in self.rows.items():
            if len(cells) != len(self.metrics) or not all(CELL.fullmatch(cell) for cell in cells):
                raise ValueError(f"row {row!r} must have {len(self.metrics)} cells such as 81.16 or 87.10±1.09")
        for doubt in self.doubts:
            if doubt.row not in self.rows or set(doubt.metrics) - set(self.metrics):
                raise ValueError(f"the doubt about {doubt.row!r} is about nothing in the table")
        return self


class Paper(Section):
    """A paper and its tables.

    Attributes:
        name: of its file, which is its method's.
        title: as printed.
        cite: who, where and when.
        link: where it can be read.
        spread: what follows a ±: ``none`` is printed; ``ci90``, half a 90 % confidence interval of the mean over runs; or it is
            ``undefined``.
        own: our name of the method that the paper is about; its row is called like it or ``Ours``.
        remarks: what one should know before comparing.
        labels: by the ablations' sources and rows, what the shipped suite that runs them calls the rows.
        tables: in the paper's order.
    """

    name: str
    title: str
    cite: str
    link: str
    spread: Literal["none", "ci90", "undefined"]
    own: str
    remarks: tuple[str, ...] = ()
    labels: dict[str, dict[str, str]] = Field(default_factory=dict)
    tables: tuple[Table, ...]

    @model_validator(mode="after")
    def _labels_are_of_rows(self) -> Self:
        for source, labels in self.labels.items():
            tables = [table for table in self.tables if table.source == source and table.kind == "ablation"]
            if not tables or any(set(labels) - set(table.rows) for table in tables):
                raise ValueError(f"the labels of {source!r} are of no rows of an ablation")
        return self


@dataclass(frozen=True)
class Figure:
    """A printed number.

    Attributes:
        printed: as it stands in the paper.
        mean: overlaps as a share in [0, 1] like fewmask's own, everything else as printed.
        spread: likewise; None where nothing is printed.
        doubts: about it.
    """

    printed: str
    mean: float
    spread: float | None
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True)
class Result:
    """A row of a table, with all that tells it from the others.

    Attributes:
        paper: where it was printed.
        table: which table.
        row: its first cell as printed.
        method: fewmask's name of the method, whether it is registered or not.
        figures: by metric.
    """

    paper: Paper
    table: Table
    row: str
    method: str
    figures: dict[str, Figure]

    @property
    def label(self) -> str | None:
        """What the shipped suite of an ablation calls the row; None where none runs it."""
        return self.paper.labels.get(self.table.source, {}).get(self.row)


def published_names() -> list[str]:
    """The papers, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


@cache
def read_published(name: str) -> Paper:
    """A paper's tables.

    Raises:
        ConfigError: there is none of that name, or its file is not what it should be.
    """
    if name not in published_names():
        raise ConfigError(f"there are no published figures called {name!r}: {nearest(name, published_names())}")
    path = FOLDER / f"{name}.yaml"
    paper: Paper = validate(Paper, {"name": name, **read_yaml(path)}, str(path))
    return paper


@cache
def all_results() -> tuple[Result, ...]:
    """Every row of every table of every paper."""
    papers = [read_published(name) for name in published_names()]
    return tuple(_result(paper, table, row) for paper in papers for table in paper.tables for row in table.rows)


def find_published(
    dataset: str | None = None,
    method: str | None = None,
    labelled: int | str | None = None,
    *,
    subset: str | None = None,
    paper: str | None = None,
    protocol: str | None = None,
    kind: Kind = "comparison",
) -> list[Result]:
    """The rows that fit all that is given, paper by paper.

    Args:
        dataset: by its name in `fewmask.data.protocols`.
        method: fewmask's name of it.
        labelled: how many labels, or the paper's share of them, such as ``"10%"``.
        subset: of a data set's test images, such as ``"CVC-300"``.
        paper: the name of one.
        protocol: such as ``"la/paper"``.
        kind: comparisons, ablations or costs.

    Returns:
        Nothing where a valid combination was not published.

    Raises:
        ConfigError: a name is in no paper at all.
    """
    asked = {"dataset": dataset, "method": method, "subset": subset, "paper": paper, "protocol": protocol}
    for key, value in asked.items():
        known = {text for result in all_results() if (text := _facts(result)[key]) is not None}
        if value is not None and value not in known:
            raise ConfigError(f"no {key} called {value!r} is in the published tables: {nearest(value, known)}")
    fixed = {key: value for key, value in asked.items() if value is not None}
    return [
        result
        for result in all_results()
        if result.table.kind == kind
        and fixed.items() <= _facts(result).items()
        and labelled in (None, result.table.labelled, result.table.share)
    ]


def _facts(result: Result) -> dict[str, str | None]:
    table = result.table
    return {
        "dataset": table.dataset,
        "method": result.method,
        "subset": table.subset,
        "paper": result.paper.name,
        "protocol": table.protocol,
    }


def _result(paper: Paper, table: Table, row: str) -> Result:
    figures = {
        metric: _figure(
            cell, metric, tuple(d for d in table.doubts if d.row == row and metric in (d.metrics or METRICS))
        )
        for metric, cell in zip(table.metrics, table.rows[row], strict=True)
    }
    own = table.method or (paper.own if row == OWN_ROW else None)
    return Result(paper, table, row, own or METHODS_AS_PRINTED.get(row, row.lower()), figures)


def _figure(cell: str, metric: str, doubts: tuple[Doubt, ...]) -> Figure:
    scale = 100.0 if metric in OVERLAPS else 1.0
    mean, _, spread = cell.partition("±")
    return Figure(cell, float(mean) / scale, float(spread) / scale if spread else None, doubts)
