"""The loggers of other projects, each read back with what the project itself reads."""

import json
import shutil
import struct
import sys
import time

import pytest

from fewmask.config import load_experiment
from fewmask.data.dataset import Dataset
from fewmask.engine.interrupt import InterruptedRunError
from fewmask.engine.loggers import read_metrics
from fewmask.engine.run_loggers import RunLoggers
from fewmask.engine.train import train
from fewmask.errors import ConfigError, FewmaskWarning
from fewmask.run_folder import RunFolder
from helpers import write_dataset
from toys import Recorder, small_experiment

ALL = ["tensorboard", "mlflow", "wandb"]


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory):
    """The address of a store with MLflow's tables, which take seconds to make."""
    tracking = pytest.importorskip("mlflow.tracking", reason="needs fewmask[mlflow]")
    pytest.importorskip("alembic", reason="needs fewmask[mlflow]")
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/elsewhere.db"
    tracking.MlflowClient(tracking_uri=uri)
    return uri


@pytest.fixture
def elsewhere(mlflow_server, monkeypatch):
    """A client of that store, which the environment names."""
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    return MlflowClient(tracking_uri=mlflow_server)


@pytest.fixture(autouse=True)
def quiet_home(tmp_path_factory, monkeypatch):
    """W&B keeps a log in the user's cache."""
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "wandb-cache"))


def scalars(folder):
    """Of a folder of TensorBoard events: steps and values by name."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


def wandb_records(path):
    """The records of a .wandb file: LevelDB's log format, with W&B's own messages in it."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(whole)
            whole = b""
            yield record.WhichOneof("record_type"), record


def wandb_run(run):
    """Of all files that W&B has of a run, in their order: ids, config, rows, summary and exit codes."""
    found = {"ids": [], "config": {}, "rows": [], "summary": {}, "exits": []}
    for path in sorted((run / "wandb").glob("offline-run-*/*.wandb")):
        for _ in range(200):  # its service may still be writing when finish() returns
            records = list(wandb_records(path))
            if records and records[-1][0] == "exit":
                break
            time.sleep(0.05)
        for kind, record in records:
            if kind == "run":
                found["ids"].append(record.run.run_id)
                found["config"] |= {u.key: json.loads(u.value_json) for u in record.run.config.update}
            elif kind == "history":
                row = {
                    i.nested_key[0] if i.nested_key else i.key: json.loads(i.value_json) for i in record.history.item
                }
                found["rows"].append((record.history.step.num, row))
            elif kind == "summary":
                found["summary"] |= {u.key: json.loads(u.value_json) for u in record.summary.update if u.key}
            elif kind == "exit":
                found["exits"].append(record.exit.exit_code)
    return found


def test_a_stopped_training_goes_on_in_the_same_run_of_every_tracker(tmp_path, elsewhere):
    pytest.importorskip("wandb", reason="needs fewmask[wandb]")
    dataset = Dataset.open(write_dataset(tmp_path / "blobs", cases=3, dims=2))
    split = dataset.split(labelled=3, validation=1)
    experiment = small_experiment(train={"loggers": ALL, "validate_every": 3, "checkpoint_every": 2})

    def go_on(**how):
        return train(experiment, dataset, split, tmp_path / "a run", resume=True, **how)

    with pytest.raises(InterruptedRunError):
        go_on(listener=Recorder(stop_after=3))
    (killed,) = elsewhere.search_runs([elsewhere.get_experiment_by_name("fewmask").experiment_id])
    assert killed.info.status == "KILLED"
    rows = read_metrics(go_on().metrics)
    assert [row["iteration"] for row in rows] == [*"123456"]
    losses = [(n, pytest.approx(float(row["loss"]), rel=1e-5)) for n, row in enumerate(rows, start=1)]
    dice = {name: pytest.approx(float(value), rel=1e-5) for name, value in scores_of(rows).items()}

    events = scalars(tmp_path / "a run" / "tensorboard")
    assert events["loss"] == losses and {name: events[name][-1][1] for name in dice} == dice

    (kept,) = elsewhere.search_runs([killed.info.experiment_id])
    assert (kept.info.run_id, kept.info.status, kept.info.run_name) == (killed.info.run_id, "FINISHED", "a run")
    assert kept.data.params["train.iterations"] == "6" and kept.data.params["method.name"] == "supervised"
    assert [(m.step, m.value) for m in elsewhere.get_metric_history(kept.info.run_id, "loss")] == losses
    assert {name: kept.data.metrics[name] for name in dice} == dice
    assert not (tmp_path / "a run" / "mlflow.db").exists()

    logged = wandb_run(tmp_path / "a run")
    assert len(logged["ids"]) == 2 and len(set(logged["ids"])) == 1 and logged["exits"] == [1, 0]
    assert logged["config"]["train"]["iterations"] == 6
    assert [(step, row["loss"]) for step, row in logged["rows"]] == losses
    assert {name: logged["summary"][name] for name in dice} == dice


def scores_of(rows):
    """The final scores that the rows of metrics.csv lead to."""
    dice = [float(row["val_dice"]) for row in rows if row["val_dice"]]
    return {"final/val_dice": dice[-1], "final/best_val_dice": max(dice)}


def started(folder, *loggers):
    """A run folder with the config that asks for these loggers."""
    experiment = load_experiment(changes={"train": {"loggers": list(loggers)}})
    run = RunFolder(folder)
    run.path.mkdir(parents=True)
    return run, experiment


def test_mlflow_writes_a_database_into_the_run_folder(tmp_path, monkeypatch, mlflow_server):
    tracking = pytest.importorskip("mlflow.tracking", reason="needs fewmask[mlflow]")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run, experiment = started(tmp_path / "with a space", "mlflow")
    shutil.copy(mlflow_server.removeprefix("sqlite:///"), run.path / "mlflow.db")  # empty tables, to save their making
    loggers = RunLoggers(run, experiment)
    loggers.log(10, {"phase": "train", "lr": 0.1, "loss": 0.5})
    loggers.finish({})
    loggers.close()
    again = RunLoggers(RunFolder(run.path.rename(tmp_path / "moved")), experiment, after=10)
    again.log(20, {"lr": 0.1, "loss": 0.25})
    again.close()
    client = tracking.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/moved/mlflow.db")
    kept = client.get_run(json.loads((tmp_path / "moved" / "trackers.json").read_text())["mlflow"])
    assert [(m.step, m.value) for m in client.get_metric_history(kept.info.run_id, "loss")] == [(10, 0.5), (20, 0.25)]


def test_a_run_that_somebody_deleted_in_mlflow_is_begun_anew(tmp_path, elsewhere):
    run, experiment = started(tmp_path / "run", "mlflow")
    (run.path / "trackers.json").write_text('{"mlflow": "0123456789abcdef0123456789abcdef"}')
    loggers = RunLoggers(run, experiment, after=10)
    loggers.log(20, {"lr": 0.1})
    loggers.close()
    made = json.loads((run.path / "trackers.json").read_text())["mlflow"]
    assert [m.step for m in elsewhere.get_metric_history(made, "lr")] == [20]


def test_names_in_the_run_folder_that_lead_elsewhere_are_not_followed(tmp_path):
    pytest.importorskip("wandb", reason="needs fewmask[wandb]")
    run, experiment = started(tmp_path / "run", "wandb")
    (run.path / "trackers.json").write_text('{"wandb": "../../elsewhere"}')
    loggers = RunLoggers(run, experiment)
    loggers.log(1, {"lr": 0.1})
    loggers.close()
    (name,) = wandb_run(run.path)["ids"]
    assert name.isalnum() and not list(tmp_path.glob("*elsewhere*"))


def test_a_tracker_that_fails_is_told_once_and_the_rows_go_on(tmp_path, elsewhere):
    run, experiment = started(tmp_path / "run", "mlflow", "tensorboard")
    loggers = RunLoggers(run, experiment)
    loggers.log(1, {"lr": 0.1})
    client = loggers.trackers["mlflow"].client

    def away(*_, **__):
        raise ConnectionError("the server is away")

    client.log_batch = away
    with pytest.warns(FewmaskWarning, match=r"mlflow has failed \(ConnectionError: the server is away\)"):
        loggers.log(2, {"lr": 0.2})
    loggers.log(3, {"lr": 0.3})
    loggers.finish({"final/val_dice": 0.5})
    loggers.close()
    assert [row["iteration"] for row in read_metrics(run.metrics)] == ["1", "2", "3"]
    events = scalars(run.path / "tensorboard")
    assert [step for step, _ in events["lr"]] == [1, 2, 3] and events["final/val_dice"] == [(3, 0.5)]


def test_a_tracker_that_cannot_begin_does_not_keep_the_run_from_beginning(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="needs fewmask[mlflow]")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run, experiment = started(tmp_path / "run", "mlflow")
    (run.path / "mlflow.db").mkdir()  # SQLite cannot open a folder
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 0)  # else a minute and a half
    with pytest.warns(FewmaskWarning, match="mlflow has failed"):
        loggers = RunLoggers(run, experiment)
    loggers.log(1, {"lr": 0.1})
    assert len(read_metrics(run.metrics)) == 1


@pytest.mark.parametrize(
    ("name", "package"), [("mlflow", "mlflow"), ("wandb", "wandb"), ("tensorboard", "tensorboard")]
)
def test_a_missing_package_is_told_before_anything_is_prepared(tmp_path, monkeypatch, name, package):
    dataset = Dataset.open(write_dataset(tmp_path / "blobs", cases=2, dims=2))
    for module in [module for module in sys.modules if module.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, module)
    for module in [module for module in sys.modules if module.partition(".")[0] == package] or [package]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"train.loggers: {name} needs .* pip install 'fewmask\[{name}\]'"):
        train(small_experiment(train={"loggers": [name]}), dataset, dataset.split(), tmp_path / "run")
    assert not (tmp_path / "run").exists() and not (tmp_path / "blobs" / ".fewmask").exists()


def test_configs_of_older_runs_are_read():
    assert load_experiment(changes={"train": {"tensorboard": True}}).train.loggers == ("tensorboard",)
    assert load_experiment(changes={"train": {"tensorboard": False}}).train.loggers == ()
    with pytest.raises(ConfigError, match="loggers"):
        load_experiment(changes={"train": {"loggers": ["tensorbord"]}})
