"""The scores of a set of cases: their rows, their summary, and the files that keep them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Literal

from fewmask.files import json_text, write_text
from fewmask.metrics.overlap import dice, jaccard
from fewmask.metrics.score import DEFINITIONS, OVERLAPS, Metrics, Status, metric_names
from fewmask.overwrite import refuse_text
from fewmask.whole import digest_of

if TYPE_CHECKING:
    from rich.table import Table

Asked = Literal["mm", "voxel"]
Unit = Literal["mm", "voxel", "px"]


@dataclass(frozen=True)
class Row:
    """One class of one case: what `Score` says, and of what."""

    case: str
    class_name: str
    status: Status
    metrics: Metrics
    voxels: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True)
class Evaluation:
    """The scores of a set of cases.

    Attributes:
        rows: one a case and foreground class, cases in order of their names.
        class_names: the foreground classes.
        unit: of the distances; ``px`` where millimetres were asked for and the pictures say nothing of their size.
        nsd_tolerance: of the surface Dice, in that unit; None: not computed.
        also: metrics on request.
        missing: cases without a prediction, scored as if it were all background.
        extra: predictions without a reference, not scored.
        shortcuts: what the run that predicted took, by name; stands under every table.
    """

    rows: tuple[Row, ...]
    class_names: tuple[str, ...]
    unit: Unit
    nsd_tolerance: float | None = None
    also: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    shortcuts: tuple[str, ...] = ()

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The metrics in their order."""
        return metric_names(self.nsd_tolerance, self.also)

    def summary(self) -> dict[str, Any]:
        """Means and standard deviations over cases.

        Returns:
            ``{"classes": {name: entry}, "mean": entry}``, where an entry is ``{"n", "absent", "missed", "spurious",
            "metrics": {metric: {"mean", "std"}}, "pooled": {"dice", "jaccard"}}``. ``n`` counts the cases behind the mean: all but the absent ones.
            ``std`` is the sample standard deviation over cases (divisor n - 1; None below two). In ``"mean"``, the mean
            is that of the class means, the deviation that of the cases' means over their classes, ``n`` the cases with
            any class, and the other counts are sums over classes. ``pooled`` are the overlaps of the voxels of all cases together,
            in ``"mean"`` the mean of the classes'.
        """
        classes = {name: self._entry([row for row in self.rows if row.class_name == name]) for name in self.class_names}
        overall = self._entry(self.rows)
        by_case: dict[str, list[Metrics]] = {}
        for row in self.rows:
            if row.status != "absent":
                by_case.setdefault(row.case, []).append(row.metrics)
        for name, values in overall["metrics"].items():
            values["mean"] = _mean(entry["metrics"][name]["mean"] for entry in classes.values())
            values["std"] = _std(_mean(metrics[name] for metrics in case) for case in by_case.values())
        pooled = {name: _mean(entry["pooled"][name] for entry in classes.values()) for name in OVERLAPS}
        return {"classes": classes, "mean": overall | {"n": len(by_case), "pooled": pooled}}

    def _entry(self, rows: Sequence[Row]) -> dict[str, Any]:
        counts = {status: sum(row.status == status for row in rows) for status in ("absent", "missed", "spurious")}
        columns = {name: [row.metrics[name] for row in rows] for name in self.metric_names}
        metrics = {name: {"mean": _mean(values), "std": _std(values)} for name, values in columns.items()}
        return {"n": len(rows) - counts["absent"], **counts, "metrics": metrics, "pooled": _pooled(rows)}

    def write(self, folder: Path | str, *, overwrite: bool = False) -> None:
        """Write ``scores.csv`` and ``summary.json``, each in one step.

        The table has one row a case and class, with empty cells where absent; the summary also names the definitions, and
        has the table's digest, by which `fewmask.report.scores` sees that the two are whole and belong together.

        Args:
            folder: made if need be.
            overwrite: replace files that are there with other contents.

        Raises:
            WriteError: a file cannot be written, or is there with other contents; then neither is.
        """
        text = io.StringIO(newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow(("case", "class", "status", *self.metric_names))
        for row in self.rows:
            table.writerow((row.case, row.class_name, row.status, *(row.metrics[name] for name in self.metric_names)))
        about = {
            "fewmask": _version(),
            "scores": digest_of(text.getvalue()),
            "unit": self.unit,
            "nsd_tolerance": self.nsd_tolerance,
            "cases": len({row.case for row in self.rows}),
            "missing_predictions": list(self.missing),
            "extra_predictions": list(self.extra),
            "shortcuts": list(self.shortcuts),
        }
        texts = {
            Path(folder) / "scores.csv": text.getvalue(),
            Path(folder) / "summary.json": json_text(about | self.summary() | {"definitions": DEFINITIONS}),
        }
        if not overwrite:
            refuse_text(texts.items())
        for path, contents in texts.items():
            write_text(path, contents, overwrite=overwrite)

    def table(self) -> Table:
        """The summary for the console; see `fewmask.metrics.table`."""
        from fewmask.metrics.table import summary_table

        return summary_table(self)


def _pooled(rows: Sequence[Row]) -> Metrics:
    """Dice and Jaccard of the voxels of all rows; None where there is not one."""
    predicted, true, both = (sum(row.voxels[place] for row in rows) for place in range(3))
    if not predicted + true:
        return dict.fromkeys(OVERLAPS)
    return {"dice": dice(predicted, true, both), "jaccard": jaccard(predicted, true, both)}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _std(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return stdev(known) if len(known) > 1 else None


def _version() -> str:
    try:
        return metadata.version("fewmask")
    except metadata.PackageNotFoundError:  # run from a source tree
        return "not installed"
