"""What every process of a team does in `test_distributed.py`: each scenario writes what it saw as JSON, a file a rank."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from lightning_fabric import Fabric

from fewmask.components.memory_bank import MemoryBank
from fewmask.data.dataset import Dataset
from fewmask.data.split import Split
from fewmask.engine import validate
from fewmask.engine.distributed import Team
from fewmask.engine.fit import Trainer
from fewmask.engine.job import assemble
from fewmask.engine.train import train
from fewmask.errors import DataError, FollowerError
from fewmask.methods import METHODS, Phase, SoftmaxPredictor, Step, Turn
from fewmask.methods.base import Method
from fewmask.run_folder import RunFolder
from toys import small_experiment

SPLIT = Split(labelled=("case_000", "case_001", "case_002", "case_003"), unlabelled=("extra_000", "extra_001"))
WHOLE = Split(
    labelled=("case_000", "case_001", "case_002"), validation=("case_003",), unlabelled=("extra_000", "extra_001")
)
VALIDATED = Split(labelled=("case_000",), validation=("case_001", "case_002", "case_003"))


class TwoTurns(Method):
    """A warm-up of the first network alone, then turns of both."""

    def __init__(self, task, config, network):
        super().__init__(task, config, network)
        self.first, self.second = self.build_network(), self.build_network()

    def phases(self):
        return [Phase("warm-up", 1), Phase("main")]

    def turns(self, phase):
        first, second = (Turn(name, list(getattr(self, name).parameters())) for name in ("first", "second"))
        return [first] if phase == "warm-up" else [first, second]

    def forward(self, batch, progress):
        logits = self.first(batch.labelled)
        if progress.phase == "main" and progress.turn == "first":
            logits = logits + self.second(batch.labelled)  # a gradient for the one that does not step
        return self.supervised(logits if progress.turn == "first" else self.second(batch.labelled), batch.labels)

    def predictor(self):
        return SoftmaxPredictor(self.first)


class TellsItsRank(TwoTurns):
    """Logs what is different in every process."""

    def phases(self):
        return [Phase()]

    def turns(self, phase):
        return [Turn("main", list(self.first.parameters()))]

    def forward(self, batch, progress):
        step: Step = self.supervised(self.first(batch.labelled), batch.labels)
        step.logs["rank"] = float(os.environ.get("RANK", "0"))
        if step.logs["rank"]:
            step.logs["only_in_some"] = 5.0
        return step


def undisturbed():
    """The experiment that `test_distributed.py` also runs through the program, stops and continues."""
    changes = {"iterations": 30, "checkpoint_every": 100, "validate_every": 20, "devices": 2}
    return small_experiment(
        "mean-teacher", train=changes, network={"norm": "batch", "dropout": 0.5}, sampling={"workers": 1}
    )


def team_of(precision="32-true"):
    world = int(os.environ.get("WORLD_SIZE", "1"))
    strategy = "ddp_find_unused_parameters_true" if world > 1 else "auto"
    fabric = Fabric(accelerator="cpu", devices=world, strategy=strategy, precision=precision)
    fabric.launch()
    return Team(fabric)


def trainer(team, folder, data, experiment, split=SPLIT):
    job = team.together(lambda: assemble(experiment, data, split), one_by_one=True)
    return Trainer(job, RunFolder(folder), team=team)


def exactly(folder, data, labelled):
    """Supervised training in double precision by a loss that is a mean over samples; the weights go to ``double.pt``."""
    torch.set_default_dtype(torch.float64)
    method = {"name": "supervised", "dice_weight": 0.0, "ce_weight": 1.0}
    sampling = {"labelled": labelled, "workers": 0}
    experiment = small_experiment(method=method, sampling=sampling, train={"iterations": 5, "accumulate": 2, "lr": 0.1})
    Trainer(assemble(experiment, data, SPLIT), RunFolder(folder), team=team_of("64-true")).fit()
    torch.set_default_dtype(torch.float32)


def every_method(team, folder, data):
    """Two steps of each method; then the largest difference of any weight between the processes."""
    worst = {}
    for name in METHODS:
        experiment = small_experiment(name, train={"iterations": 2}, network={"norm": "batch", "dropout": 0.5})
        made = trainer(team, folder / name, data, experiment)
        before = [parameter.detach().clone() for parameter in made.method.parameters()]
        made.fit()
        values = [parameter.detach() for parameter in made.method.parameters()]
        moved = any(not torch.equal(old, new) for old, new in zip(before, values, strict=True))
        mine = torch.cat([value.flatten() for value in values])
        gap = max(float((mine - other).abs().max()) for other in team.gather(mine))
        worst[name] = {"gap": gap, "moved": moved, "weights": len(mine), "banks": banks(team, made.method)}
    return worst


def banks(team, method):
    """Of each memory bank the visits, and whether all processes have the same in it."""
    found = [module for module in method.modules() if isinstance(module, MemoryBank)]
    same = [all(torch.equal(one, two) for two in team.gather(one)) for bank in found for one in bank.buffers()]
    return {"visits": [int(bank.visits) for bank in found], "same": all(same)}


def spread_validation(team, folder, data):
    """Three cases over the processes: who predicted what, and what all think the mean is."""
    made, seen = trainer(team, folder, data, small_experiment(network={"norm": "batch"}), VALIDATED), []
    image = made.job.store.image
    made.job.store.image = lambda case: seen.append(case) or image(case)
    made._validate()
    together = made.state.best
    alone = type("Alone", (), {"rank": 0, "world": 1, "gather": staticmethod(lambda value: [value])})()
    made.job.store.image = image
    arguments = (made.job.store, VALIDATED.validation, made.job.task, made.job.experiment.inference)
    whole = validate.validation_dice(made.method.predictor(), *arguments, device=torch.device("cpu"), team=alone)
    return {"seen": seen, "together": together, "whole": whole}


def errors(team):
    """A problem of one process ends the work of all; one of them has the reason."""

    def read():
        if team.rank == team.world - 1:
            raise DataError("a scan is damaged")
        return "fine"

    found = []
    for one_by_one in (False, True):
        try:
            team.together(read, one_by_one=one_by_one)
        except (DataError, FollowerError) as error:
            found.append(type(error).__name__)
    found.append(type(team.agreed(DataError("all saw it"))).__name__)
    return found


def main(folder, root):
    METHODS.register("two-turns")(TwoTurns)
    METHODS.register("tells-its-rank")(TellsItsRank)
    data, rank = Dataset.open(root), int(os.environ.get("RANK", "0"))
    exactly(folder / "double", data, labelled=2)
    team = team_of()
    order = []
    team.together(
        lambda: order.append(sorted(path.name for path in folder.glob("came-*"))) or (folder / f"came-{rank}").touch(),
        one_by_one=True,
    )
    report = {
        "order": order,
        "any": [team.any(rank == 1), team.any(False)],
        "errors": errors(team),
        "methods": every_method(team, folder / "methods", data),
        "validation": spread_validation(team, folder / "validation", data),
    }
    trainer(team, folder / "logs", data, small_experiment("tells-its-rank", train={"iterations": 2})).fit()
    stream = assemble(small_experiment(), data, SPLIT).stream(Phase(), team.rank, team.world)
    report["patches"] = [float(stream.batch(step).labelled.sum()) for step in range(3)]
    train(undisturbed(), data, WHOLE, folder / "whole")
    (folder / f"rank-{rank}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
