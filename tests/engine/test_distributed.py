"""Two processes on the CPU that train one model, started by torchrun, by lightning's own launcher and by hand."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from statistics import fmean

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from fewmask.config import TrainConfig
from fewmask.data.dataset import Dataset
from fewmask.engine.checkpoint import load_state
from fewmask.engine.distributed import is_follower, launched, pooled_means, resolve_processes
from fewmask.engine.loggers import read_metrics
from fewmask.errors import ConfigError
from fewmask.methods import METHODS
from fewmask.run_folder import RunFolder
from helpers import write_dataset
from team_worker import WHOLE, exactly, undisturbed

TESTS = Path(__file__).resolve().parents[1]
NAMES = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID")


def environment():
    paths = [str(TESTS.parent / "src"), str(TESTS)]
    kept = {name: value for name, value in os.environ.items() if name not in NAMES}
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}


def start(*words, cwd):
    """A process and all that it starts, as a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, words)],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process, timeout=150):
    """Its output and errors; nothing of it is left alive."""
    try:
        return process.communicate(timeout=timeout)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def children(parent):
    """Process ids of the followers that a process started; its loaders know no rank."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status, variables = (entry / "stat").read_text(), (entry / "environ").read_bytes()
            except OSError:
                continue
            if int(status.rpartition(")")[2].split()[1]) == parent and b"\0LOCAL_RANK=1\0" in variables + b"\0":
                found.append(int(entry.name))
    return found


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("team")
    write_dataset(root / "blobs", cases=4, unlabelled=2, dims=2)
    return root


@pytest.fixture(scope="module")
def reports(place):
    """What the two processes of `team_worker.py` saw."""
    words = ("torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    process = start(*words, TESTS / "team_worker.py", place / "two", place / "blobs", cwd=place)
    (place / "two").mkdir()
    _, errors = finish(process)
    assert process.returncode == 0, errors
    return [json.loads((place / "two" / f"rank-{rank}.json").read_text()) for rank in (0, 1)]


def test_two_processes_equal_one_with_the_doubled_batch(reports, place):
    """In double precision, by a loss that is a mean over samples, with accumulated gradients."""
    exactly(place / "one", Dataset.open(place / "blobs"), labelled=4)
    one, two = (load_state(RunFolder(place / name).state)["method"] for name in ("one", "two/double"))
    assert all(value.dtype == torch.float64 for value in one.values() if value.is_floating_point())
    assert one.keys() == two.keys()
    torch.testing.assert_close(two, one, rtol=0, atol=1e-8)


def test_each_process_reads_its_own_patches(reports):
    assert set(reports[0]["patches"]).isdisjoint(reports[1]["patches"])


def test_every_method_keeps_the_weights_of_all_processes_equal(reports):
    """Student and teacher, first and second network, also where turns leave networks out."""
    for report in reports:
        assert set(METHODS) <= set(report["methods"])
        assert {name: entry["gap"] for name, entry in report["methods"].items() if entry["gap"] != 0} == {}
        assert all(entry["moved"] for entry in report["methods"].values())
        assert all(entry["banks"]["same"] for entry in report["methods"].values())
        # Two steps of two processes with two labelled patches each: everybody remembers what all have seen.
        assert report["methods"]["diff-cl"]["banks"]["visits"] == [8]


def test_validation_is_spread_and_its_mean_is_that_of_all_cases(reports):
    """Three cases for two processes: the mean of the two processes' means would be another number."""
    seen = [report["validation"]["seen"] for report in reports]
    assert seen == [["case_001", "case_003"], ["case_002"]]
    for report in reports:
        assert report["validation"]["together"] == pytest.approx(report["validation"]["whole"], abs=1e-12)
        assert report["validation"]["together"] > 0


def test_logged_numbers_are_means_over_all_processes(reports, place):
    rows = read_metrics(RunFolder(place / "two" / "logs").metrics)
    assert [float(row["rank"]) for row in rows] == [0.5, 0.5]
    assert [float(row["only_in_some"]) for row in rows] == [5.0, 5.0]


def test_the_main_process_comes_first(reports):
    assert reports[0]["order"] == [[]]
    assert reports[1]["order"] == [["came-0"]]


def test_a_flag_of_one_is_known_to_all(reports):
    assert [report["any"] for report in reports] == [[True, False]] * 2


def test_an_error_of_one_ends_all_and_one_says_why(reports):
    assert reports[0]["errors"] == ["FollowerError", "FollowerError", "DataError"]
    assert reports[1]["errors"] == ["DataError", "DataError", "FollowerError"]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the follower through /proc")
def test_a_run_stopped_in_one_process_continues_on_two_nodes_to_the_same_weights(reports, place):
    """SIGTERM to the follower alone stops both between two steps; the second sitting is two torchrun agents, as on two machines."""
    (place / "two.yaml").write_text(undisturbed().to_yaml())
    Dataset.open(place / "blobs").save_split("whole", WHOLE)
    words = ("fewmask", "train", "blobs", "--recipe", "two.yaml", "--split", "whole", "--output", "cut")
    process = start(*words, cwd=place)
    for line in process.stderr:
        if line.startswith("iteration 4/"):
            break
    (follower,) = children(process.pid)
    os.kill(follower, signal.SIGTERM)
    output, errors = finish(process)
    assert process.returncode == 130, errors
    assert errors.count("checkpoint saved: continue with --resume auto") == 1
    assert "Traceback" not in errors and output == ""
    done = load_state(RunFolder(place / "cut").state)["state"]["done"]
    assert 4 <= done < 30

    agents, port = [], free_port()
    for rank in (0, 1):
        launcher = ("torch.distributed.run", "--nnodes", "2", "--node_rank", rank, "--nproc_per_node", "1")
        address = ("--master_addr", "127.0.0.1", "--master_port", port)
        agents.append(
            start(*launcher, *address, "-m", *words, "--resume", "auto", "--set", "train.devices=1", cwd=place)
        )
    outputs = [finish(agent) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], outputs
    assert ["trained mean-teacher" in output for output, _ in outputs] == [True, False]
    assert [row["iteration"] for row in read_metrics(RunFolder(place / "cut").metrics)] == [
        str(n) for n in range(1, 31)
    ]
    for which in ("last", "best"):
        cut, whole = (load_file(RunFolder(place / run).weights(which)) for run in ("cut", "two/whole"))
        torch.testing.assert_close(cut, whole, rtol=0, atol=0)


def test_pooled_means_weigh_by_counts():
    parts = [{"loss": (3.0, 3), "extra": (1.0, 1)}, {"loss": (5.0, 1)}, {}]
    assert pooled_means(parts) == {"loss": 2.0, "extra": 1.0}


@given(values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20), world=st.integers(1, 5), data=st.data())
def test_pooled_means_do_not_depend_on_who_has_what(values, world, data):
    shares = [[] for _ in range(world)]
    for value in values:
        shares[data.draw(st.integers(0, world - 1))].append(value)
    parts = [{"loss": (sum(share), len(share))} if share else {} for share in shares]
    assert pooled_means(parts)["loss"] == pytest.approx(fmean(values), abs=1e-9)


@pytest.fixture
def variables(monkeypatch):
    """Sets the environment as a launcher would; without words, as nobody did."""
    for name in (*NAMES, *(name for name in os.environ if name.startswith("SLURM_"))):
        monkeypatch.delenv(name, raising=False)

    def write(**values):
        for name, value in values.items():
            monkeypatch.setenv(name, str(value))

    return write


TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": 4, "WORLD_SIZE": 8, "RANK": 5, "LOCAL_RANK": 1}
SRUN = {"SLURM_NTASKS": 8, "SLURM_NNODES": 2, "SLURM_NTASKS_PER_NODE": 4, "SLURM_PROCID": 3, "SLURM_JOB_NAME": "train"}


@pytest.mark.parametrize("launcher", [TORCHRUN, SRUN], ids=["torchrun", "srun"])
def test_the_launcher_says_how_many_processes_there_are(variables, launcher):
    assert (launched(), is_follower()) == (None, False)
    variables(**launcher)
    assert (launched(), is_follower()) == ((4, 2), True)
    for config in (TrainConfig(), TrainConfig(devices=4, nodes=2)):
        resolved = resolve_processes(config)
        assert (resolved.devices, resolved.nodes) == (4, 2)
    with pytest.raises(
        ConfigError, match=r"train\.devices is 3 and train\.nodes 1, but 4 processes were started on each of 2 nodes"
    ):
        resolve_processes(TrainConfig(devices=3))


def test_a_batch_script_of_one_task_launches_nothing(variables):
    """Slurm sets its variables there too, but no other process exists."""
    variables(SLURM_NTASKS=1, SLURM_PROCID=0, SLURM_NNODES=1)
    assert (launched(), is_follower()) == (None, False)
    assert resolve_processes(TrainConfig(devices=4)).devices == 4


def test_srun_must_say_how_many_tasks_a_node_has(variables):
    variables(**{name: value for name, value in SRUN.items() if name != "SLURM_NTASKS_PER_NODE"})
    with pytest.raises(ConfigError, match="--ntasks-per-node"):
        launched()


def test_several_nodes_need_a_launcher(variables):
    with pytest.raises(ConfigError, match="started alone: start one a GPU with torchrun or srun"):
        resolve_processes(TrainConfig(nodes=2))
