"""The report's files: a page, Markdown with its figures, LaTeX and csv."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from fewmask.bench.grid import escape_latex, to_latex
from fewmask.bench.report.content import BenchRun, read_bench
from fewmask.bench.report.find import runs_below, runs_of_suite
from fewmask.bench.report.markdown import FOLDER, to_report_markdown
from fewmask.bench.report.page import to_html
from fewmask.bench.report.records import csv_files
from fewmask.bench.report.shown import Report, prepare
from fewmask.bench.suite import REPORT
from fewmask.bench.suite_files import KEPT, open_suite, to_yaml, with_known_folders
from fewmask.bench.tables import to_csv
from fewmask.errors import RunError
from fewmask.files import replacing, write_text
from fewmask.places import inside

OURS = re.compile(r"(setting|efficiency)\d+-[\w@.-]+\.(svg|jpg)")
"""The names of figures."""


def write_bench_report(
    runs: Sequence[BenchRun],
    output: Path,
    *,
    baseline: str | None = None,
    title: str | None = None,
    suite: str | None = None,
    metrics: Sequence[str] | None = None,
    level: float = 0.95,
    alpha: float = 0.05,
    pictures: bool = True,
    remarks: Sequence[str] = (),
) -> list[Path]:
    """Compare runs and write everything that is to be said of them into a folder.

    Args:
        runs: run folders with their labels; those that have no scores yet are left out and told.
        output: the folder; it is made if need be.
        baseline: label that the others are tested against; None: ``supervised``, or else the first.
        title: of the report; None: made from the data sets.
        suite: the text of the suite, to repeat the runs by.
        metrics: that have a column; None: all but second opinions. The csv files have all.
        level: of the intervals.
        alpha: level of the tests.
        pictures: whether scans are read and shown.
        remarks: more to be told at the top.

    Returns:
        ``report.html``, ``report.md``, ``report.tex`` and the csv files.

    Raises:
        RunError: no run is scored, a file of one is odd, or runs of a setting were scored differently.
        ConfigError: there is no such baseline, or a level is none.
        WriteError: the folder cannot be written.
    """
    if output.is_file():
        raise RunError(f"{output} is a file: give a folder for the report")
    bench = read_bench(runs, baseline=baseline, title=title, metrics=metrics, level=level, alpha=alpha, remarks=remarks)
    report = prepare(bench, suite, pictures)
    markdown, figures = to_report_markdown(report)
    texts = {
        "report.html": to_html(report),
        "report.md": markdown,
        "report.tex": to_tex(report),
        **csv_files(bench),
        **_published_csv(report),
    }
    for old in inside(output, FOLDER).glob("*.*"):  # of a former report, which may have had more settings
        if OURS.fullmatch(old.name) and f"{FOLDER}/{old.name}" not in figures:
            old.unlink()
    for name, content in figures.items():
        with replacing(output / name) as temporary:
            temporary.write_bytes(content)
    for name, text in texts.items():
        write_text(output / name, text)
    return [output / name for name in texts]


def report_comparison(
    name: str,
    output: Path | None = None,
    to: Path | None = None,
    *,
    baseline: str | None = None,
    title: str | None = None,
    level: float = 0.95,
    pictures: bool = True,
) -> list[Path]:
    """`write_bench_report` of a suite, of its output, or of any folder with run folders.

    Args:
        name: a suite as `fewmask.bench.suite.find_suite` takes it, or a folder without one.
        output: folder of the suite's runs; None: ``bench/NAME``, or ``name`` if it is one.
        to: where the report goes; None: ``report`` in the folder of the runs.
        baseline: None: the suite's.
        title: None: the suite's.
        level: of the intervals.
        pictures: whether scans are read and shown.

    Returns:
        The files.

    Raises:
        ConfigError: there is no such suite or folder, or no such baseline.
        RunError: no run is there that was scored.
    """
    if Path(name).is_dir() and not (Path(name) / KEPT).is_file():
        folder, found, suite, metrics = Path(name), runs_below(Path(name)), None, None
    else:
        known, folder = open_suite(name, output)
        found, metrics = runs_of_suite(known, folder), known.metrics
        title, baseline = title or known.title, baseline or found.baseline
        suite = to_yaml(with_known_folders(known, folder))
    return write_bench_report(
        found.runs,
        to or folder / REPORT,
        baseline=baseline,
        title=title,
        suite=suite,
        metrics=metrics,
        level=level,
        pictures=pictures,
        remarks=found.remarks,
    )


def to_tex(report: Report) -> str:
    """All tables, to be copied from or read in whole."""
    grids = [
        grid for part in report.sections for grid in (part.scores, part.tests, part.classes, part.intervals) if grid
    ]
    parts = [to_latex(grid) for grid in grids]
    for paper in report.papers:
        about = " ".join(f"{escape_latex(sentence)}." for sentence in (paper.source, *paper.remarks))
        parts += [f"\\paragraph{{{escape_latex(paper.name)}}} {about}\n", *map(to_latex, paper.grids)]
    return "% needs \\usepackage{booktabs}\n" + "\n".join(parts)


def _published_csv(report: Report) -> dict[str, str]:
    """One table for all papers; nothing where no paper has such a setting."""
    tables = [table for part in report.sections for table in part.theirs]
    lines: list[str] = []
    for table in tables:
        head, *rows = to_csv(table).splitlines()
        title = '"' + table.title.replace('"', '""') + '"'
        lines += [*([] if lines else [f"table,{head}"]), *(f"{title},{row}" for row in rows)]
    return {"published.csv": "\n".join(lines) + "\n"} if lines else {}
