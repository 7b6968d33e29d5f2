"""The report: one HTML page, self-contained, of one or several runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from fewmask.bench.statistics import FEWEST_PAIRS, signed_rank_test
from fewmask.errors import RunError
from fewmask.files import write_text
from fewmask.metrics.words import mean_and_spread, metric_title, p_value
from fewmask.report.case_views import look_at_cases
from fewmask.report.curves import AT_ONCE, Panel, training_panels
from fewmask.report.data import Run, read_runs
from fewmask.report.figures import score_plot
from fewmask.report.pictures import draw_cases, error_legend
from fewmask.report.remarks import remarks
from fewmask.report.svg import COLOURS, run_kind
from fewmask.report.tables import case_rows, common_unit, comparable, score_groups, shown_metrics
from fewmask.words import count, duration, listed

HEADLINE = ("dice", "hd95")
PLOTTED = ("dice", "hd95", "asd")
LEVEL = 0.05  # of the test
MOST_CLASSES = 8  # with plots of their own


def write_report(runs: Sequence[Path], output: Path, title: str | None = None, notes: Sequence[str] = ()) -> Path:
    """Write curves, scores and pictures of runs onto one page that needs no other file and no network.

    Args:
        runs: run folders; scores are taken from their ``predictions`` folder (or the folder itself) where there are any.
        output: the HTML file; its folder is made if need be.
        title: of the page; None: made from the data set and the methods.
        notes: sentences for the reader, shown at the top.

    Returns:
        ``output``.

    Raises:
        RunError: no run is given, a file of a run is missing or odd.
        WriteError: ``output`` cannot be written.
    """
    output = Path(output)
    if output.is_dir():
        raise RunError(f"{output} is a folder: give a file for the report, such as {output / 'report.html'}")
    page = render(read_runs(runs), title, notes)
    write_text(output, page)
    return output


def render(runs: Sequence[Run], title: str | None = None, notes: Sequence[str] = ()) -> str:
    """The page as text; arguments as for `write_report`."""
    scored = [run for run in runs if run.scores]
    views, problems = look_at_cases(runs)
    panels = training_panels(runs)
    rows, total = case_rows(runs)
    return template("report.html").render(
        title=title or _title(runs),
        subtitle=_subtitle(runs),
        written=f"{datetime.now():%d %B %Y, %H:%M}",
        runs=runs,
        scored=scored,
        tiles=[_tile(run) for run in runs],
        uses_unlabelled={run.index: _uses_unlabelled(run) for run in runs},
        shared_split=runs[0].split if len({_parts(run) for run in runs}) == 1 else None,
        remarks=[*remarks(runs), *problems],
        notes=notes,
        groups=score_groups(runs),
        unit=common_unit(runs),
        ranked=comparable(runs),
        plots=_score_panels(scored),
        plotted_classes=min(MOST_CLASSES, len(_classes(scored))),
        classes=_classes(scored),
        verdict=_verdict(scored),
        cases=rows,
        case_count=total,
        pictures=draw_cases(views),
        error_scale=error_legend(views),
        panels=panels[:AT_ONCE],
        more_panels=panels[AT_ONCE:],
        definitions=_definitions(scored),
    )


def template(name: str) -> Template:
    """A page of ``templates/``."""
    environment = Environment(
        loader=PackageLoader("fewmask.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"swatch": _swatch, "line": _line, "count": count, "duration": duration, "colours": COLOURS}
    return environment.get_template(name)


def _swatch(index: int) -> Markup:
    """A run's marker in its colour; decorative, because its name stands beside it."""
    return _key("swatch", index)


def _line(index: int) -> Markup:
    """A run's line in its colour, whole, dashed or dotted as in the plots; decorative, too."""
    return _key("line", index)


def _key(what: str, index: int) -> Markup:
    return Markup('<i class="{} on-{} kind-{}" aria-hidden="true"></i>').format(what, index % COLOURS, run_kind(index))


def _title(runs: Sequence[Run]) -> str:
    methods = list(dict.fromkeys(run.method for run in runs))
    sets = list(dict.fromkeys(str(run.dataset["name"]) for run in runs))
    return f"{listed(methods)} on {', '.join(sets)}"


def _subtitle(runs: Sequence[Run]) -> str:
    first = runs[0]
    names = list(dict.fromkeys(name for run in runs for name in run.dataset["class_names"][1:]))
    classes = ", ".join(names[:MOST_CLASSES]) + (
        f" and {len(names) - MOST_CLASSES} more" if len(names) > MOST_CLASSES else ""
    )
    channels = ", ".join(first.dataset["channel_names"])
    return f"{first.task.spatial_dims}D segmentation of {classes} in {channels}"


def _tile(run: Run) -> dict[str, Any]:
    """The headline of a run: its mean Dice and HD95."""
    if run.scores is None:
        return {"run": run, "scores": []}
    found = [
        (metric_title(metric, run.scores.unit), *mean_and_spread(run.scores.overall["metrics"][metric], metric))
        for metric in HEADLINE
        if metric in run.scores.overall["metrics"]
    ]
    return {"run": run, "scores": found}


def _uses_unlabelled(run: Run) -> bool:
    """Whether the method learns from unlabelled scans; a method that is not installed here gets the benefit of the doubt."""
    from fewmask.methods import METHODS

    return run.method not in METHODS or METHODS[run.method].uses_unlabelled


def _parts(run: Run) -> tuple[frozenset[str], ...]:
    split = run.split
    return tuple(frozenset(part) for part in (split.labelled, split.unlabelled, split.validation, split.test))


def _classes(scored: Sequence[Run]) -> list[str]:
    return list({name: None for run in scored for name in (run.scores.classes if run.scores else ())})


def _score_panels(scored: Sequence[Run]) -> list[Panel]:
    """Plots of every class, a dot a case."""
    metrics, unit, classes = shown_metrics(scored), common_unit(scored), _classes(scored)
    panels = []
    for number, class_name in enumerate(classes[:MOST_CLASSES]):
        for metric in PLOTTED:
            if metric not in metrics:
                continue
            heading = metric_title(metric, unit) + (f" – {class_name}" if len(classes) > 1 else "")
            upper = 100.0 if metric == "dice" else None
            plot = score_plot(
                scored,
                class_name,
                metric,
                scale=100 if metric == "dice" else 1,
                upper=upper,
                name=f"score{number}{metric}",
                label=f"{heading}, by case",
            )
            panels.append(Panel(heading, plot))
    return panels


def _verdict(scored: Sequence[Run]) -> str | None:
    """Two runs compared case by case, in a sentence."""
    if len(scored) != 2 or not comparable(scored):
        return None
    first, second = scored
    if first.scores is None or second.scores is None:
        return None
    pairs = [(first.scores.case_mean(case), second.scores.case_mean(case)) for case in first.scores.cases]
    gains = [100 * (b - a) for a, b in pairs if a is not None and b is not None]
    if not gains:
        return None
    better = sum(gain > 0 for gain in gains)
    mean = fmean(gains)
    difference = f"{abs(mean):.1f} points {'higher' if mean > 0 else 'lower'}"
    return (
        f"{second.name} has a higher Dice than {first.name} in {better} of {count(len(gains), 'case')}; "
        f"its mean is {difference} ({_test(gains)})."
    )


def _test(gains: Sequence[float]) -> str:
    """What Wilcoxon's test says of paired differences."""
    if len(gains) < FEWEST_PAIRS:
        return "too few cases for a test"
    p, _ = signed_rank_test(gains)
    return f"Wilcoxon over cases: {p_value(p)}, {'' if p < LEVEL else 'not '}significant"


def _definitions(scored: Sequence[Run]) -> list[tuple[str, str]]:
    """What the columns mean, in the words of the evaluation."""
    if not scored or scored[0].scores is None:
        return []
    texts = scored[0].scores.definitions
    shown = [
        (metric_title(metric), texts.get("nsd@t" if "@" in metric else metric)) for metric in shown_metrics(scored)
    ]
    return [(name, text) for name, text in shown if text]
