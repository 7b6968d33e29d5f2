"""``fewmask bench``: methods against each other, as a suite has it."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fewmask.cli.console import console, print_json, say, say_next
from fewmask.cli.options import JsonOption, gather_changes
from fewmask.errors import ConfigError
from fewmask.words import count, duration

if TYPE_CHECKING:
    from fewmask.bench.executors import Pool
    from fewmask.bench.jobs import Job
    from fewmask.bench.launch import Outcome
    from fewmask.bench.run import Comparison, Tally

app = typer.Typer(no_args_is_help=True, help="Compare methods: run a suite, see how far it is, report it.")

SuiteArgument = Annotated[
    str, typer.Argument(metavar="SUITE", help="A YAML file, a shipped suite, or the output folder of a comparison.")
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FOLDER",
        help="Folder of the run folders. Default: bench/NAME, or SUITE if it is one.",
    ),
]


@app.command("run")
def run(
    suite: SuiteArgument,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FOLDER",
            help="Dataset folder of one of the suite's data sets; NAME= can go where there is one.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this one of the suite's data sets; repeatable.")
    ] = None,
    output: OutputOption = None,
    executor: Annotated[
        Literal["local", "slurm", "dask"],
        typer.Option(help="local: processes of this machine, one a GPU; slurm; dask: a cluster that runs already."),
    ] = "local",
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Runs at once. Default: one a GPU, else one for four cores; elsewhere all there is room for.",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Threads of a run. Default: its share of the cores.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(metavar="URL", help="Of the Dask scheduler, such as tcp://node1:8786.")
    ] = None,
    slurm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="An option of sbatch, such as partition=gpu, gpus_per_node=1; repeatable."
        ),
    ] = None,
    store: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="For preprocessed cases. Default: DATASET/.fewmask/store.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, list the runs, and stop.")] = False,
) -> None:
    """Train, predict and score every run of a suite.

    A run that is done is not done again, one that was stopped continues, and one that fails does not stop the others. The same command
    again, also on another machine at the same time, does what is missing.
    """
    from fewmask.bench.run import prepare
    from fewmask.bench.run import run as run_jobs
    from fewmask.bench.suite_files import open_suite

    chosen, folder = open_suite(suite, output)
    pool = _pool(executor, folder, jobs, threads, address, slurm or [])
    part = chosen.only(only or []).with_data(_folders(data or []))
    comparison = prepare(part, folder, store, whole=chosen)
    missing = comparison.missing
    say(f"{chosen.name}: {count(len(comparison.jobs), 'run')} in {folder}, {len(missing)} to do")
    if dry_run:
        for job in comparison.jobs:
            say(f"  {job.place}" + ("  done" if job.scored else ""))
        say_next("fewmask", "bench", "run", folder)
        return
    with pool() as opened:
        tally = run_jobs(comparison, opened, _teller(comparison, opened))
    _conclude(comparison, tally)


def _folders(data: list[str]) -> dict[str, Path]:
    """``NAME=FOLDER`` or ``FOLDER``, whose name is empty."""
    named = [re.fullmatch(r"(?:([\w.+-]+)=)?(.+)", text, re.DOTALL) for text in data]
    return {found[1] or "": Path(found[2]) for found in named if found}


def _pool(
    executor: str, folder: Path, jobs: int | None, threads: int | None, address: str | None, slurm: list[str]
) -> Callable[[], AbstractContextManager[Pool]]:
    from fewmask.bench.executors import dask_pool, local_pool, slurm_pool
    from fewmask.bench.suite import NOTES
    from fewmask.places import inside

    if (address is not None) != (executor == "dask"):
        raise ConfigError("--executor dask and --address go together, for example --address tcp://node1:8786")
    if slurm and executor != "slurm":
        raise ConfigError("--slurm goes with --executor slurm")
    if executor == "dask":
        return lambda: dask_pool(str(address), jobs, threads)
    if executor == "slurm":
        return lambda: slurm_pool(inside(folder, NOTES, "slurm"), gather_changes(slurm), jobs, threads)
    return lambda: local_pool(jobs, threads)


def _teller(comparison: Comparison, pool: Pool) -> Callable[[Job, Outcome | None, Tally], None]:
    """Says a line when a run begins and when it has ended."""
    from fewmask.bench.notes import Notes
    from fewmask.bench.status import look, time_left

    before = len(comparison.jobs) - len(comparison.missing)

    def tell(job: Job, outcome: Outcome | None, tally: Tally) -> None:
        if outcome is None:
            say(f"{job.place} begins", style="dim")
            return
        if outcome.status == "busy":
            say(f"{job.place}: another process is at it; waiting for its end", style="dim")
            return
        left = time_left(look(comparison.jobs, compare=False), pool.at_once)
        number = f"[{before + len(tally.done) + len(tally.failed)}/{len(comparison.jobs)}] {job.place}"
        if outcome.status == "failed":
            say(f"{number}: failed: {outcome.error}", style="red")
            return
        rest = f"; {duration(left)} left" if left else ""
        say(f"{number}: {_dice(job)} in {duration(Notes.read(job.notes).seconds)}{rest}")

    return tell


def _dice(job: Job) -> str:
    """The mean score of a run; what another machine wrote may take a while to be seen here."""
    from fewmask.files import read_json

    try:
        dice = read_json(job.summary)["mean"]["metrics"]["dice"]["mean"]
    except (OSError, ValueError, KeyError, TypeError):
        return "done"
    return "no case has a class to score" if dice is None else f"Dice {100 * dice:.1f} %"


def _conclude(comparison: Comparison, tally: Tally) -> None:
    from fewmask.bench.notes import LOG

    again = ("fewmask", "bench", "run", comparison.output)
    for job, error in tally.failed.items():
        say(f"failed: {job.place}: {error}", style="red")
        if (job.notes / LOG).is_file():
            say(f"  {job.notes / LOG}")
    if tally.stopped:
        say(f"stopped with {count(len(comparison.missing), 'run')} to do; what was begun continues from its checkpoint")
        say_next(*again)
        raise typer.Exit(130)
    if tally.failed:
        say(f"{len(tally.failed)} of {count(len(comparison.jobs), 'run')} failed; the same command tries them again")
        say_next(*again)
        raise typer.Exit(1)
    say_next("fewmask", "bench", "report", comparison.output)


@app.command("status")
def status(suite: SuiteArgument, output: OutputOption = None, as_json: JsonOption = False) -> None:
    """Show which runs of a suite are done, at work, failed or waiting, and how long it will take.

    The time left is estimated from the runs of the same method that are done.
    """
    from fewmask.bench.jobs import expand
    from fewmask.bench.status import look, status_table, status_values, time_left
    from fewmask.bench.suite_files import open_suite

    chosen, folder = open_suite(suite, output)
    states = look(expand(chosen, folder))
    if as_json:
        print_json(status_values(states))
        return
    console().print(status_table(states, f"{chosen.name}: {chosen.title}"))
    for state in states:
        if state.status in ("failed", "other", "blocked"):
            say(f"{state.job.place}: {state.error}", style="red")
        elif state.status == "running":
            at = f", iteration {state.iteration}" if state.iteration else ""
            say(f"{state.job.place}: running for {duration(state.seconds)}{at}")
    done = sum(state.status == "done" for state in states)
    left = "" if done == len(states) else f"; time left: {duration(time_left(states)).replace('–', 'unknown yet')}"
    say(f"{done} of {count(len(states), 'run')} done{left}")
    say_next("fewmask", "bench", "report" if done == len(states) else "run", folder)


@app.command("report")
def report(
    suite: Annotated[
        str,
        typer.Argument(
            metavar="SUITE",
            help="The output folder of a comparison, its suite, or any folder with run folders called METHOD-seed0 in it.",
        ),
    ],
    output: OutputOption = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where the report goes. Default: report in the folder of the run folders."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD", help="What the others are tested against. Default: the suite's, else supervised."
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="Of the report. Default: the suite's.")] = None,
    level: Annotated[float, typer.Option(metavar="SHARE", help="Of the confidence intervals.")] = 0.95,
    pictures: Annotated[bool, typer.Option(help="Show the worst, the median and the best case.")] = True,
) -> None:
    """Compare the runs that are done: a page, Markdown with figures, LaTeX and csv.

    Runs that are not done are left out and told, so that it can be made at any time.
    """
    from fewmask.bench.report.write import report_comparison

    written = report_comparison(suite, output, to, baseline=baseline, title=title, level=level, pictures=pictures)
    for path in written:
        say(f"report: {path}")


@app.command("suites")
def suites(as_json: JsonOption = False) -> None:
    """List the shipped suites."""
    from rich.table import Table

    from fewmask.bench.jobs import expand
    from fewmask.bench.suite_files import find_suite, suite_names

    known = [find_suite(name) for name in suite_names()]
    if as_json:
        print_json([suite.model_dump(mode="json") for suite in known])
        return
    table = Table("suite", "what it compares", "data", "runs")
    for suite in known:
        table.add_row(suite.name, suite.title, ", ".join(suite.data), str(len(expand(suite, Path()))))
    console().print(table)
    say_next("fewmask", "bench", "run", "smoke")
