import json

import pytest

from fewmask.bench.jobs import expand
from fewmask.bench.notes import Notes
from fewmask.bench.status import look, status_table, status_values, time_left
from fewmask.bench.suite_files import find_suite
from fewmask.cli.terminal import PlainConsole
from fewmask.config import MethodSection
from fewmask.errors import RunError
from fewmask.locks import locked
from fewmask.methods import method_config

CO = "diffusion-co-training"


@pytest.fixture
def jobs(write_suite, tmp_path):
    methods = ["supervised", {"name": CO, "starts_from": {"method.pretrained": CO}}]
    suite = find_suite(str(write_suite(blobs={"labelled": [2]}, methods=methods, seeds=[0, 1, 2])))
    return expand(suite, tmp_path / "out")


def finish(job, seconds):
    (job.folder / "predictions").mkdir(parents=True)
    (job.folder / "predictions/summary.json").write_text("{}")
    settings = method_config(job.experiment.method).model_dump(mode="json")
    resolved = job.experiment.model_copy(update={"method": MethodSection(name=job.experiment.method.name, **settings)})
    (job.folder / "config.yaml").write_text(resolved.to_yaml())
    (job.folder / "split.json").write_text('{"labelled": ["case_000"]}')
    (job.folder / "metrics.csv").write_text(f"iteration,seconds\n4,{seconds}\n")


def note(job, **values):
    job.notes.mkdir(parents=True, exist_ok=True)
    Notes(**values).write(job.notes)


def test_states(jobs, tmp_path, monkeypatch):
    """A job as its folders have it; the time of a run from elsewhere is that of its log."""
    monkeypatch.setattr("fewmask.bench.status.time", lambda: 1000.0)
    base, teacher, second, *_ = jobs
    finish(base, 7)
    note(teacher, status="failed", seconds=3, error="no memory")
    note(second, status="running", seconds=2, began=990)
    states = look(jobs)
    assert [state.status for state in states] == ["done", "failed", "stopped", "blocked", "waiting", "blocked"]
    assert states[0].seconds == 7 and states[0].iteration == 4 and states[1].error == "no memory"
    assert states[3].error == f"it starts from blobs/2/{CO}-seed0, which failed"
    monkeypatch.setattr("fewmask.locks.locked", held_by_another(second.notes))
    assert look(jobs)[2].status == "running" and look(jobs)[2].seconds == 12
    note(second, status="running", seconds=2, began=1010)
    assert look(jobs)[2].seconds == 2, "the other machine's clock is ahead"
    (base.folder / "config.yaml").write_text(
        base.experiment.model_copy(update={"train": base.experiment.train.model_copy(update={"lr": 0.5})}).to_yaml()
    )
    state = look(jobs)[0]
    assert state.status == "other" and "train.lr (0.5 then, 0.01 now)" in state.error


def held_by_another(folder):
    """The lock of a folder is taken, the others are free."""

    def ask(path, **options):
        if path == folder:
            raise RunError("in use")
        return locked(path, **options)

    return ask


def test_time_left(jobs):
    """From the same method where it has a run that is done, else from all that are."""
    assert time_left(look(jobs)) is None
    finish(jobs[0], 10)
    assert time_left(look(jobs), at_once=1) == pytest.approx(5 * 10)
    finish(jobs[1], 40)
    note(jobs[2], status="stopped", seconds=4)
    assert time_left(look(jobs), at_once=1) == pytest.approx(2 * 40 + 6 + 10)
    assert time_left(look(jobs), at_once=2) == pytest.approx((2 * 40 + 6 + 10) / 2)
    assert time_left(look(jobs), at_once=9) == 40, "no sooner than the longest run"
    for job, seconds in zip(jobs[2:], (1, 2, 3, 4), strict=True):
        finish(job, seconds)
    assert time_left(look(jobs)) == 0


def test_what_is_shown(jobs):
    finish(jobs[0], 10)
    note(jobs[1], status="failed", error="no memory")
    states = look(jobs)
    console = PlainConsole(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(status_table(states, "small"))
    lines = [line for line in console.export_text().splitlines() if "seed" not in line]
    assert any("supervised" in line and "1 done, 2 waiting" in line and "20 s" in line for line in lines), lines
    assert any(CO in line and "1 failed, 2 blocked" in line for line in lines)
    values = json.loads(json.dumps(status_values(states)))
    assert (values["jobs"], values["done"], values["waiting"], values["failed"], values["seconds_left"]) == (
        6,
        1,
        2,
        1,
        20,
    )
    assert values["runs"][1]["error"] == "no memory" and values["runs"][0]["seconds"] == 10
