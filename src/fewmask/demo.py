"""The demo: synthetic scans through the whole of fewmask, with the unlabelled ones and without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewmask import __version__
from fewmask.config import Experiment, load_experiment
from fewmask.data.phantom import Phantom, write_phantom
from fewmask.engine.listener import Listener
from fewmask.engine.train import train
from fewmask.errors import RunError
from fewmask.files import read_json, write_json
from fewmask.inference.predictor import Predictor
from fewmask.locks import NAME as LOCK
from fewmask.locks import held
from fewmask.metrics import evaluate
from fewmask.metrics.words import mean_and_spread, metric_title
from fewmask.recipes import recipe_path
from fewmask.report.html import write_report
from fewmask.run_folder import RunFolder

if TYPE_CHECKING:
    from rich.table import Table

    from fewmask.data.dataset import Dataset

STARTED = "demo.json"
METHODS = ("supervised", "cps")
SHOWN = ("dice", "hd95", "asd")
SCANS = {"train": 1, "unlabelled": 24, "test": 12}


@dataclass(frozen=True)
class DemoResult:
    """What the demo found.

    Attributes:
        table: mean Dice per method, for printing.
        verdict: the same in a sentence.
        report: the HTML page.
    """

    table: Table
    verdict: str
    report: Path


def run_demo(
    output: Path,
    *,
    seed: int = 0,
    iterations: int | None = None,
    say: Callable[[str], None] = print,
    listener: Callable[[], Listener] | None = None,
) -> DemoResult:
    """Make scans, train the baseline and a semi-supervised method on them, score both on test scans, and report.

    The same demo again goes on where it was stopped or killed, and leaves what is done.

    Args:
        output: folder to write; must not exist, unless it is of the same demo.
        seed: of scans, networks and patches.
        iterations: training steps of each method; none: the recipe's.
        say: takes a line for the user.
        listener: makes a listener for a training.

    Raises:
        RunError: ``output`` exists and is no demo of the same seed and iterations, or one is at work there.
    """
    values = {"seed": seed, "iterations": iterations, "fewmask": __version__}
    if output.exists() and not _is_same(output, values):
        raise RunError(f"{output} exists already: choose another --output, or delete it")
    with held(output):
        write_json(output / STARTED, values)
        return _run(output, seed, iterations, say, listener)


def _is_same(output: Path, values: dict[str, Any]) -> bool:
    if not output.is_dir():
        return False
    made = [path for path in output.iterdir() if path.name != LOCK and not path.name.startswith(".partial-")]
    try:
        return not made or read_json(output / STARTED) == values
    except (OSError, ValueError):
        return False


def _run(
    output: Path,
    seed: int,
    iterations: int | None,
    say: Callable[[str], None],
    listener: Callable[[], Listener] | None,
) -> DemoResult:
    say(
        f"making {SCANS['train']} labelled, {SCANS['unlabelled']} unlabelled and {SCANS['test']} test scans in {output}"
    )
    dataset = write_phantom(output / "Dataset999_Phantom", Phantom(), seed=seed, **SCANS)
    runs, scores = [], {}
    for method in METHODS:
        say(f"training {method}")
        run = _train(dataset, _experiment(method, seed, iterations), output / method, listener)
        scores[method], unit = _score(dataset, run)
        runs.append(run.path)
    dice = {method: 100 * summary["mean"]["metrics"]["dice"]["mean"] for method, summary in scores.items()}
    gain = dice[METHODS[1]] - dice[METHODS[0]]
    verdict = (
        f"{METHODS[1]} with {SCANS['unlabelled']} unlabelled scans: Dice {dice[METHODS[1]]:.1f} %, "
        f"{METHODS[0]} without: {dice[METHODS[0]]:.1f} % ({gain:+.1f})"
    )
    notes = ["The scans are synthetic (fewmask demo): the numbers say nothing about yours."]
    report = write_report(runs, output / "report.html", title="fewmask demo", notes=notes)
    return DemoResult(_table(scores, unit), verdict, report)


def _experiment(method: str, seed: int, iterations: int | None) -> Experiment:
    changes: dict[str, Any] = {"method": {"name": method}, "train": {"seed": seed}}
    if iterations:
        changes["train"]["iterations"] = iterations
    return load_experiment(recipe_path("phantom/demo"), changes)


def _train(
    dataset: Dataset, experiment: Experiment, output: Path, listener: Callable[[], Listener] | None
) -> RunFolder:
    heard = listener() if listener else None
    return train(experiment, dataset, dataset.split(), output, resume=True, listener=heard)


def _score(dataset: Dataset, run: RunFolder) -> tuple[dict[str, Any], str]:
    Predictor.from_run(run.path).predict_files(dataset.root / "imagesTs", run.predictions, overwrite=True)
    result = evaluate(run.predictions, dataset.root / "labelsTs", dataset.class_names)
    result.write(run.predictions, overwrite=True)
    return result.summary(), result.unit


def _table(scores: dict[str, dict[str, Any]], unit: str) -> Table:
    """Mean +- standard deviation over test scans of each method and class."""
    from rich.table import Table

    table = Table("method", "class", *(metric_title(metric, unit) for metric in SHOWN), title="Test scans")
    for method, summary in scores.items():
        for name, entry in {**summary["classes"], "mean": summary["mean"]}.items():
            cells = [" ".join(mean_and_spread(entry["metrics"][metric], metric)).rstrip() for metric in SHOWN]
            table.add_row(method, name, *cells, end_section=name == "mean")
    return table
