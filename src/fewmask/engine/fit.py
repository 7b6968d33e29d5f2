"""The training loop: phases, steps, turns; logs, validation and checkpoints at their intervals.

A step is a function of the weights, the optimisers and its own number: batches come from a stateless stream and torch's generator is
seeded anew at each step. Hence a run that continues from a checkpoint equals one that was never interrupted.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from fewmask.config import TrainConfig
from fewmask.data.batch import Batch
from fewmask.data.sampling import batches, explained_loaders
from fewmask.engine.checkpoint import TrainState, fitting, load_latest, previous, save_state
from fewmask.engine.distributed import Team, make_fabric, pooled_means, resolve_processes
from fewmask.engine.interrupt import InterruptedRunError, Interruption
from fewmask.engine.job import Job
from fewmask.engine.kept import keep, start_from
from fewmask.engine.listener import Listener, Silent
from fewmask.engine.loggers import read_all_metrics
from fewmask.engine.memory_format import lay_out
from fewmask.engine.optim import build_optimiser, learning_rate, set_learning_rate, turn_config
from fewmask.engine.run_loggers import RunLoggers
from fewmask.engine.tally import Forward, Tally
from fewmask.engine.validate import validation_dice
from fewmask.errors import FewmaskError, RunError
from fewmask.inference.weights import save_weights
from fewmask.methods.base import Method, Phase, Progress, Step, Turn, build_method
from fewmask.run_folder import RunFolder


class Trainer:
    """Runs a job into a run folder.

    Args:
        job: what to train on.
        run: where to write; created by the caller.
        listener: hears how it goes.
        team: the processes that train; none: as the config and the launcher say.
    """

    def __init__(self, job: Job, run: RunFolder, listener: Listener | None = None, team: Team | None = None) -> None:
        self.job, self.run, self.listener = job, run, listener or Silent()
        self.config = job.experiment.train
        self.team = team or Team(make_fabric(resolve_processes(self.config)))
        self.fabric = self.team.fabric
        torch.manual_seed(self.config.seed)
        self.method: Method = build_method(job.task, job.experiment.method, job.experiment.network)
        lay_out(self.method, self.config, job.task.spatial_dims)
        self.model = self.fabric.setup_module(self.method)
        self.phases = self.method.phases()
        self.state = TrainState()
        self.settings: dict[str, TrainConfig] = {}  # of each turn of the phase under way
        self.optimisers: dict[str, Any] = {}
        self.loggers: RunLoggers | None = None  # of the main process
        self.interruption = Interruption()
        self.tally = Tally()
        self.saved = 0  # the iteration of the last checkpoint
        self.scores: dict[str, float] = {}  # of the last validation

    @property
    def total(self) -> int:
        """Steps of all phases."""
        return sum(self._length(phase) for phase in self.phases)

    def fit(self, *, resume: bool = False, interruption: Interruption | None = None) -> None:
        """Train to the end.

        Args:
            resume: continue from the run's last checkpoint, where there is one.
            interruption: hears the signals already; none: it is set up for the training.

        Raises:
            RunError: the loss is not finite, a loader process died, a file went missing, or the checkpoint cannot be read.
            WriteError: the disk is full.
            InterruptedRunError: the user asked to stop; a checkpoint was saved.
        """
        saved = self.team.together(lambda: load_latest(self.run.state) if resume else None, one_by_one=True)
        if saved is not None:
            self._restore(saved)
        else:
            self.team.together(lambda: start_from(self.method), one_by_one=True)
        self.listener.begin(self.state.done, self.total)
        if self.team.is_main:
            self.loggers = RunLoggers(self.run, self.job.experiment, self.state.done)
        self.interruption = interruption or self.interruption
        try:
            with contextlib.nullcontext() if interruption else self.interruption, explained_loaders():
                for index in range(self.state.phase, len(self.phases)):
                    self._run_phase(index, saved)
                    saved = None
            if self.loggers:
                self.loggers.finish(self.scores)
        finally:
            if self.loggers:
                self.loggers.close()
        if self.team.is_main:
            previous(self.run.state).unlink(missing_ok=True)

    def _restore(self, saved: dict[str, Any]) -> None:
        with fitting(self.run.state):
            self.state = TrainState(**saved["state"])
            self.method.load_state_dict(saved["method"])
            self.fabric.strategy.precision.load_state_dict(saved["precision"])
            self.tally.restore(saved["forwards"][self.team.rank] if saved.get("forwards") else [])
            self.saved = self.state.done
        self.team.together(lambda: read_all_metrics(self.run.metrics, self.state.row), one_by_one=True)

    def _length(self, phase: Phase) -> int:
        return phase.length(self.config.iterations)

    def _run_phase(self, index: int, saved: dict[str, Any] | None) -> None:
        phase = self.phases[index]
        turns = self.method.turns(phase.name)
        self.settings = {turn.name: turn_config(self.config, turn) for turn in turns}
        self.optimisers = {
            turn.name: self.fabric.setup_optimizers(build_optimiser(self.settings[turn.name], turn)) for turn in turns
        }
        if saved is None:
            self.state.phase, self.state.iteration = index, 0
        elif saved["state"]["phase"] == index:
            with fitting(self.run.state):
                for name, optimiser in self.optimisers.items():
                    optimiser.load_state_dict(saved["optimisers"][name])
        if self.state.due:
            self._after_step(phase)
        for group in self._batch_groups(phase):
            self._step(phase, turns, group)
            self._after_step(phase)
            if self.team.any(self.interruption.requested):
                self._stop()

    def _stop(self) -> None:
        self._checkpoint()
        try:
            self.interruption.stop(self.state.done, self.total)
        except InterruptedRunError as stopped:
            raise self.team.agreed(stopped) from None

    def _batch_groups(self, phase: Phase) -> Iterator[list[Batch]]:
        """The batches of each remaining step of a phase, ``accumulate`` of them a step."""
        many = self.config.accumulate
        stream = self.job.stream(phase, self.team.rank, self.team.world)
        start, stop = self.state.iteration * many, self._length(phase) * many
        loaded = batches(stream, start, stop, self.job.experiment.sampling.workers)
        for _ in range(self._length(phase) - self.state.iteration):
            yield [next(loaded).map(self.fabric.to_device) for _ in range(many)]

    def _step(self, phase: Phase, turns: list[Turn], group: list[Batch]) -> None:
        began = time.perf_counter()
        torch.manual_seed((self.config.seed * 1_000_003 + self.state.done) * self.team.world + self.team.rank)
        self.model.train()
        for turn in turns:
            progress = Progress(self.state.iteration, self._length(phase), phase.name, turn.name)
            optimiser, settings = self.optimisers[turn.name], self.settings[turn.name]
            set_learning_rate(optimiser, learning_rate(settings, progress.iteration, progress.iterations))
            self.method.zero_grad(set_to_none=True)
            for batch in group:
                # Gradients travel once a turn, with its last batch.
                with self.fabric.no_backward_sync(self.model, enabled=batch is not group[-1]):
                    step = self.model(batch, progress)
                    self._note(turn, step, batch, alone=len(turns) == 1)
                    self.fabric.backward(step.loss / len(group))
            if settings.clip_norm:
                # Non-finite gradients are left to the loss check, and under fp16 to the loss scaling, which skips the step.
                self.fabric.clip_gradients(self.model, optimiser, max_norm=settings.clip_norm, error_if_nonfinite=False)
            optimiser.step()
        self.method.after_step(progress)
        self.state.iteration += 1
        self.state.done += 1
        self.state.seconds += time.perf_counter() - began

    def _note(self, turn: Turn, step: Step, batch: Batch, *, alone: bool) -> None:
        values = {"loss": step.loss.detach(), **step.logs}
        named = {name if alone else f"{turn.name}/{name}": value for name, value in values.items()}
        self.tally.add(Forward(self.state.done + 1, batch.cases, named))
        if self.fabric.device.type == "cpu" and self.team.world == 1:
            self._check_losses()  # else a device, or the others, would have to be waited for: at the next row

    def _after_step(self, phase: Phase) -> None:
        done, config = self.state.done, self.config
        last = done == self.total
        values: dict[str, float | str] = {}
        saves = last or done % config.checkpoint_every == 0 or self.state.iteration == self._length(phase)
        validates = bool(self.job.split.validation) and phase.validated and (last or done % config.validate_every == 0)
        if done % config.log_every == 0 or saves or validates:
            values = self._row(phase)
        if validates:
            values["val_dice"] = self._validate()
        if values:
            if self.loggers:
                self.loggers.log(done, values)
            self.tally.clear()
            self.state.row = done
        self.state.due = False
        self.listener.step(done, values)
        if saves:
            self._checkpoint()

    def _row(self, phase: Phase) -> dict[str, float | str]:
        """Means over steps and processes of what was logged since the last row."""
        self._check_losses()
        means = pooled_means(self.team.gather(self.tally.sums()))
        rate = next(iter(self.optimisers.values())).param_groups[0]["lr"]
        return {"phase": phase.name, "lr": float(rate), **means, "seconds": self.state.seconds}

    def _validate(self) -> float:
        job = self.job
        self.team.share_buffers(self.method)
        predictor = self.method.predictor()
        try:
            # Several processes stop together, hence after the validation.
            with self.interruption.at_once() if self.team.world == 1 else contextlib.nullcontext():
                dice = validation_dice(
                    predictor,
                    job.store,
                    job.split.validation,
                    job.task,
                    job.experiment.inference,
                    device=self.fabric.device,
                    team=self.team,
                )
        except KeyboardInterrupt:
            if self.interruption.requested:
                self.state.due = True
                self._stop()
            raise
        if dice > self.state.best:
            self.state.best = dice
            self._save_weights("best", {"val_dice": round(dice, 6)})
        self.scores = {"final/val_dice": dice, "final/best_val_dice": self.state.best}
        return dice

    def _save_weights(self, which: str, notes: dict[str, float]) -> None:
        if self.team.is_main:
            notes = {"iteration": self.state.done, "row": self.state.row, **notes}
            save_weights(self.run.checkpoints / f"{which}.safetensors", self.method.predictor(), notes)

    def _save_last(self) -> None:
        self._save_weights("last", {})
        phase = self.phases[self.state.phase]
        if self.state.iteration == self._length(phase):
            keep(self.method, phase, self.run, self.state.iteration)

    def _checkpoint(self) -> None:
        """Save, unless the last step broke the weights: the loss tells that only in the step after."""
        self._check_losses()
        wrong = next((name for name, p in self.method.named_parameters() if not bool(p.isfinite().all())), None)
        if wrong:
            cases = [case for part in self.team.gather(self.tally.suspects) for case in part]
            raise self._diverged(f"the weights {wrong} are not finite after iteration {self.state.done}", cases)
        forwards = self.team.gather(self.tally.state())
        if self.team.is_main:
            save_state(
                self.run.state,
                self.state,
                self.method,
                self.optimisers,
                precision=self.fabric.strategy.precision.state_dict(),  # fp16's loss scale
                forwards=forwards,
                alongside=self._save_last,
            )
        self.saved = self.state.done

    def _check_losses(self) -> None:
        """All processes look at all processes' losses, so that they end together."""
        broken = [forward for forward in self.team.gather(self.tally.broken()) if forward]
        if broken:
            first = min(broken, key=lambda forward: forward.iteration)
            raise self._diverged(str(first), first.cases)

    def _diverged(self, what: str, cases: Sequence[str]) -> FewmaskError:
        kept = f"the checkpoint of iteration {self.saved} is whole" if self.saved else "no checkpoint was written yet"
        exact = "" if self.config.precision == "fp32" else "with train.precision=fp32, "
        return self.team.agreed(
            RunError(
                f"{what}, on patches of {', '.join(dict.fromkeys(cases))}: start another run {exact}with a lower train.lr "
                f"or with train.clip_norm=1, or look at these scans with fewmask check; {kept}"
            )
        )
