"""One call from settings, data and split to a finished run folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from fewmask.config import Experiment
from fewmask.data.dataset import Dataset
from fewmask.data.split import Split
from fewmask.engine.distributed import Team, make_fabric, resolve_processes
from fewmask.engine.fit import Trainer
from fewmask.engine.interrupt import InterruptedRunError, Interruption
from fewmask.engine.job import Job, assemble
from fewmask.engine.kept import start_from
from fewmask.engine.listener import Listener
from fewmask.engine.run_loggers import check_loggers
from fewmask.errors import RunError
from fewmask.run_folder import RunFolder

VALIDATION_SHARE = 0.2
FEWEST_TO_VALIDATE = 5


def default_split(
    dataset: Dataset,
    labelled: int | float | None = None,
    validation: int | float | None = None,
    seed: int = 0,
    patients: str | None = None,
) -> Split:
    """The split of a run that names none.

    Args:
        dataset: the data.
        labelled: label budget; none: every label there is.
        validation: share or number of the budget that validates; none: a fifth of it where it holds five cases or more, else nothing.
        seed: of the choice.
        patients: see `fewmask.data.split.make_split`.
    """
    split = dataset.split(labelled=labelled, seed=seed, patients=patients)
    if validation is None:
        validation = VALIDATION_SHARE if len(split.labelled) >= FEWEST_TO_VALIDATE else 0
    if not validation:
        return split
    return dataset.split(labelled=labelled, validation=validation, seed=seed, patients=patients)


def train(
    experiment: Experiment,
    dataset: Dataset,
    split: Split,
    output: Path,
    *,
    resume: bool = False,
    store: Path | None = None,
    preparing: Callable[[int, int], None] | None = None,
    listener: Listener | None = None,
) -> RunFolder:
    """Train a model into a run folder.

    With several devices, or under torchrun or srun, every process calls this, and the main one writes.

    Args:
        experiment: the settings.
        dataset: the data.
        split: which labels are used.
        output: the run folder.
        resume: continue a run that is there; a run that is not there is begun.
        store: folder for preprocessed cases; none: inside the data set.
        preparing: hears of the preprocessing: cases done, cases in all.
        listener: hears of the training.

    Raises:
        RunError: the folder holds a run and ``resume`` is off, or another process trains into it; or the training fails.
        WriteError: the disk is full, or a folder may not be written.
        InterruptedRunError: a signal asked to stop; what was done is saved.
        ConfigError: settings that do not work with this data, or differ from those of the run to resume.
        DataError: a case cannot be read.
    """
    experiment = experiment.model_copy(update={"train": resolve_processes(experiment.train)})
    check_loggers(experiment.train.loggers)
    team = Team(make_fabric(experiment.train))
    run = RunFolder(team.gather(output)[0])

    def prepare() -> Job:
        if team.is_main:
            stack.enter_context(run.hold())
        _check_output(run, resume)
        try:
            with interruption.at_once():
                job = assemble(experiment, dataset, split, store, preparing)
        except KeyboardInterrupt:
            raise InterruptedRunError(
                "stopped while the scans were prepared: type the command again, and it goes on from there"
            ) from None
        if run.resumable:
            run.check_same(job.experiment, split)
        return job

    with ExitStack() as stack, team.watched(), Interruption() as interruption:
        job = team.together(prepare, one_by_one=True)
        trainer = Trainer(job, run, listener, team)
        if not team.gather(run.resumable)[0]:  # before anything is written, in case there is nothing to start from
            team.together(lambda: start_from(trainer.method), one_by_one=True)
        if team.is_main and not run.resumable:
            run.create(job.experiment, job.task, split, job.dataset)
        trainer.fit(resume=resume, interruption=interruption)
    return run


def _check_output(run: RunFolder, resume: bool) -> None:
    if run.started and not resume:
        raise RunError(f"{run.path} already holds a run: continue it with --resume auto, or choose another --output")
    if not run.started and not run.empty:
        raise RunError(f"{run.path} is not empty and not a run folder: choose another --output")
