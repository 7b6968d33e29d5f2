"""A `CheckReport` for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from fewmask.data.check.findings import SEVERITIES, CheckReport, Finding, relative
from fewmask.words import count

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLOURS = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_SHOWN = 3  # cases that are named where many share one finding


def render(report: CheckReport) -> list[RenderableType]:
    """The summary, the findings with equal messages gathered, and the verdict."""
    parts: list[RenderableType] = [_summary(report)]
    if report.findings:
        parts.append(_findings(report))
    parts.append(_verdict(report))
    return parts


def _summary(report: CheckReport) -> Table:
    summary = report.summary
    table = Table(title=Text(report.name, "bold"), title_justify="left", box=box.SIMPLE, show_header=False)
    table.add_column(style="dim")
    table.add_column()
    cases = summary["cases"]
    table.add_row("cases", f"{cases['train']} train, {cases['unlabelled']} unlabelled, {cases['test']} test")
    table.add_row("labels", str(summary["labelled"]))
    table.add_row("voxels", _range(summary["shape"], "{:.0f}"))
    spacing = "unknown: pictures without one" if summary["unit"] == "px" else _range(summary["spacing"], "{:.4g}")
    table.add_row("spacing, mm", spacing)
    intensities = [row.intensity for row in report.rows if row.intensity is not None]
    if intensities:
        lowest, highest = min(low for low, _, _ in intensities), max(high for _, _, high in intensities)
        mean = sum(value for _, value, _ in intensities) / len(intensities)
        table.add_row("intensity", f"{lowest:.4g} to {highest:.4g}, mean {mean:.4g}")
    for name, share in summary["class_share"].items():
        present = sum(bool(row.volumes and row.volumes[report.class_names.index(name)]) for row in report.rows)
        table.add_row(name, f"{share:.2%} of the labelled voxels, in {present} labels")
    return table


def _range(spread: dict[str, list[float]] | None, style: str) -> str:
    if spread is None:
        return "unknown or mixed"
    low, middle, high = (" x ".join(style.format(value) for value in spread[key]) for key in ("min", "median", "max"))
    return low if low == high else f"{low} to {high}, median {middle}"


def _findings(report: CheckReport) -> Table:
    gathered: dict[tuple[Any, str], list[Finding]] = {}
    for finding in report.findings:
        gathered.setdefault((finding.severity, finding.message), []).append(finding)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("")
    table.add_column("file", overflow="fold")
    table.add_column("finding", overflow="fold")
    for (severity, message), findings in gathered.items():
        names = [relative(finding.path, report.root) for finding in findings[:_SHOWN]]
        if len(findings) > _SHOWN:
            names.append(f"and {len(findings) - _SHOWN} more")
        table.add_row(Text(severity, _COLOURS[severity]), Text("\n".join(names)), Text(message))
    return table


def _verdict(report: CheckReport) -> Text:
    counts = {severity: report.count(severity) for severity in SEVERITIES}
    if not report.findings:
        return Text("Nothing wrong was found.", "green")
    text = ", ".join(count(amount, severity) for severity, amount in counts.items())
    if counts["error"]:
        return Text(f"{text}. Mend the errors before training.", "bold red")
    return Text(f"{text}. Nothing that stops training.", "yellow" if counts["warning"] else "green")
