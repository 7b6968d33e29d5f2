"""What `check_dataset` hands back: findings, a row of figures a case, and their summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fewmask.data.geometry import Unit

if TYPE_CHECKING:
    from rich.console import RenderableType

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing to know about a data set.

    Attributes:
        severity: ``"error"`` stops training or makes its figures wrong, ``"warning"`` may, ``"note"`` does not.
        case: the case it is about, or None.
        path: the file it is about.
        message: what is wrong and what to do.
    """

    severity: Severity
    case: str | None
    path: Path
    message: str


@dataclass(frozen=True)
class Row:
    """What was measured on one case; None where a file could not be read.

    Attributes:
        case: its id.
        group: train, unlabelled or test.
        shape: voxels per axis.
        spacing: per axis, in ``unit``.
        channels: how many.
        intensity: smallest, mean and largest finite value of all channels.
        volumes: voxels of each class, background first; None without a label.
        unit: of the spacing: millimetres, or pixels of a picture that says nothing of its size.
    """

    case: str
    group: str
    shape: tuple[int, ...] | None = None
    spacing: tuple[float, ...] | None = None
    channels: int | None = None
    intensity: tuple[float, float, float] | None = None
    volumes: tuple[int, ...] | None = None
    unit: Unit | None = None


@dataclass(frozen=True)
class CheckReport:
    """The outcome of `check_dataset`.

    Attributes:
        name: of the data set.
        root: its folder.
        class_names: background first.
        findings: errors first, then warnings and notes.
        rows: one a case, by id.
    """

    name: str
    root: Path
    class_names: tuple[str, ...]
    findings: list[Finding] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing was found that stops training or spoils its figures."""
        return not self.count("error")

    def count(self, severity: Severity) -> int:
        """How many findings are of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def summary(self) -> dict[str, Any]:
        """The data set in a few figures; shapes and spacings as smallest, median and largest per axis."""
        volumes = [row.volumes for row in self.rows if row.volumes is not None]
        totals = [sum(counts) for counts in zip(*volumes, strict=True)] or [0] * len(self.class_names)
        return {
            "name": self.name,
            "cases": {group: sum(row.group == group for row in self.rows) for group in ("train", "unlabelled", "test")},
            "labelled": len(volumes),
            "shape": _spread([row.shape for row in self.rows if row.shape is not None]),
            "spacing": _spread([row.spacing for row in self.rows if row.spacing is not None]),
            "unit": _unit({row.unit for row in self.rows if row.unit is not None}),
            "class_share": {
                name: total / max(sum(totals), 1) for name, total in zip(self.class_names, totals, strict=True)
            },
            **{f"{severity}s": self.count(severity) for severity in SEVERITIES},
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; paths are relative to the data set's folder."""
        findings = [{**asdict(finding), "path": relative(finding.path, self.root)} for finding in self.findings]
        return {"summary": self.summary, "findings": findings, "cases": [asdict(row) for row in self.rows]}

    def tables(self) -> list[RenderableType]:
        """The report for a terminal, as rich renderables."""
        from fewmask.data.check.tables import render

        return render(self)


def relative(path: Path, root: Path) -> str:
    """``path`` as seen from the data set's folder."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _unit(units: set[Unit]) -> Unit | None:
    """Of all spacings; None where there is none, or they are mixed."""
    return next(iter(units)) if len(units) == 1 else None


def _spread(values: Sequence[tuple[float, ...]]) -> dict[str, list[float]] | None:
    """Per axis; None where there is nothing, or 2D and 3D are mixed."""
    if len({len(value) for value in values}) != 1:
        return None
    axes = [sorted(axis) for axis in zip(*values, strict=True)]
    return {
        "min": [axis[0] for axis in axes],
        "median": [axis[len(axis) // 2] for axis in axes],
        "max": [axis[-1] for axis in axes],
    }
