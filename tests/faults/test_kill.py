"""`kill -9` at any moment: the run continues, and ends where an undisturbed one ends."""

from __future__ import annotations

import random
import shutil
import signal
import time

import pytest

from processes import assert_equal_runs, contents, partials


def test_twenty_kills_change_nothing(server, words, undisturbed, tmp_path):
    rng, settings = random.Random(0), {"train__iterations": 63}
    run, command = tmp_path / "run", words(tmp_path / "run", **settings)
    # The least last row to wait for; then a file to catch half written, or the most seconds to wait in addition.
    moments = [(0, 0.3), (3, 0.15), (6, "best.safetensors")]
    moments += [(3 * n, 0.15 if n % 2 else rng.choice(["last.pt", "last.safetensors"])) for n in range(3, 20)]
    caught = []
    for least, what in moments:
        process = server.start(*command)
        if isinstance(what, str):
            process.reach(run, least, what)
        else:
            process.reach(run, least)
            time.sleep(rng.uniform(0, what))
        assert process.alive, process.said
        process.kill()
        caught.append([path.name.split("-", 2)[2] for path in partials(run)])
    assert len(caught) == 20
    assert sum(map(bool, caught)) >= 3, f"hardly a kill came while a file was written: {caught}"
    server.run(*command)
    assert_equal_runs(run, undisturbed("mean-teacher", **settings))


def test_two_networks_and_loader_processes(server, words, undisturbed, tmp_path):
    """Only the main process is killed: its loader processes must not keep the next one out of the run folder."""
    settings = {"train__iterations": 24, "sampling__workers": 1}
    run, command = tmp_path / "run", words(tmp_path / "run", "cps", **settings)
    for least in (3, 8, 14, 20):
        process = server.start(*command)
        process.reach(run, least)
        process.signal()
        process.code()
    server.run(*command)
    assert_equal_runs(run, undisturbed("cps", train__iterations=24))


@pytest.mark.parametrize("moment", ["config.yaml", "task.json", "split.json", "environment.json"])
def test_a_start_that_was_killed_is_no_obstacle(server, words, undisturbed, tmp_path, moment):
    run, settings = tmp_path / "run", {"train__iterations": 6}
    made = undisturbed("mean-teacher", **settings)
    order = ["config.yaml", "task.json", "split.json", "dataset.json", "environment.json"]
    run.mkdir()
    for name in order[: order.index(moment)]:
        shutil.copy(made / name, run)
    (run / f".partial-abc-{moment}").write_text("half")
    (run / ".lock").write_text("process 1 on nowhere")
    server.run(*words(run, **settings))
    assert_equal_runs(run, made)
    again = contents(run)
    for name in ("config.yaml", "task.json", "split.json", "dataset.json"):
        assert again[name] == contents(made)[name]


@pytest.fixture(scope="module")
def two_checkpoints(server, words, tmp_path_factory):
    """The files of a run at two moments, and the command that continues it."""
    run = tmp_path_factory.mktemp("two") / "run"
    command = words(run, train__iterations=21)
    found = []
    for least in (6, 13):
        process = server.start(*command)
        process.reach(run, least)
        process.signal(signal.SIGTERM)
        assert process.code() == 130, process.said
        found.append(contents(run))
    return found


@pytest.mark.parametrize(
    "new", [["last.safetensors"], ["best.safetensors"], ["best.safetensors", "last.safetensors"], []]
)
@pytest.mark.parametrize("rotated", [False, True])
def test_a_kill_between_two_files_of_a_checkpoint(server, words, undisturbed, two_checkpoints, tmp_path, new, rotated):
    """Some files are the new checkpoint's, the others still the old one's; or the old state was moved and the new not yet."""
    old, late = two_checkpoints
    files = (
        old
        | {"metrics.csv": late["metrics.csv"]}
        | {f"checkpoints/{name}": late[f"checkpoints/{name}"] for name in new}
    )
    if rotated:
        files["checkpoints/previous.pt"] = files.pop("checkpoints/last.pt")
    run = tmp_path / "run"
    for name, data in files.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(data)
    server.run(*words(run, train__iterations=21))
    assert_equal_runs(run, undisturbed("mean-teacher", train__iterations=21))


def test_what_killed_writers_left_in_the_store_goes(server, words, data, tmp_path):
    store, run = tmp_path / "store", tmp_path / "run"
    settings = {"train__iterations": 3}
    process = server.start(*words(run, store=store, **settings))
    process.reach(store, 0, ".npy")
    process.kill()
    server.run(*words(run, store=store, **settings))
    assert not partials(store)
    assert not list(store.rglob(".lock"))
