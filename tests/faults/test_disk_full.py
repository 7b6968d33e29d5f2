"""A full disk: an error that names the file, and everything that was there before as it was."""

from __future__ import annotations

import pytest

from helpers import write_dataset
from processes import contents, partials


def whole(folder):
    """What a reader may rely on: all files but those that only the next start looks at."""
    return {name: data for name, data in contents(folder).items() if not name.endswith((".lock", "filler"))}


def assert_full(said, name):
    """One error of one line, about this file."""
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, said
    assert f"{name}: cannot be written, disk full" in errors[0]
    assert "Traceback" not in said


@pytest.fixture
def stopped(server, words, undisturbed, disk):
    """A run on a small disk that stands at a checkpoint, the command that continues it, and how it would end."""
    place = disk("16m")
    run, settings = place.path / "run", {"train__iterations": 12}
    process = server.start(*words(run, **settings))
    process.reach(run, 6)
    process.kill()
    return place, run, words(run, **settings), undisturbed("mean-teacher", **settings)


@pytest.mark.parametrize("name", ["metrics.csv", "last.pt", "last.safetensors"])
def test_while_training(server, stopped, name):
    """The files that a training writes, each met by a disk that has room for those before it."""
    place, run, command, undisturbed = stopped
    state, weights = (len(contents(undisturbed)[f"checkpoints/last.{ending}"]) for ending in ("pt", "safetensors"))
    place.fill({"metrics.csv": 0, "last.pt": state // 2 + weights // 2, "last.safetensors": state + weights // 2}[name])
    for stale in partials(run):
        stale.unlink()
    before = whole(run)
    assert_full(server.run(*command, code=1), name)
    after = whole(run)
    assert {*before, *after} - {*before} <= {"checkpoints/best.safetensors"}  # of a validation that came before
    changed = {file for file in before if before[file] != after[file]}
    assert changed <= ({"metrics.csv", "checkpoints/best.safetensors"} if name != "metrics.csv" else set())
    assert not partials(run)
    place.free()
    server.run(*command)
    assert whole(run)["checkpoints/last.safetensors"] == whole(undisturbed)["checkpoints/last.safetensors"]


def test_when_a_training_starts(server, words, disk):
    place = disk("1m")
    place.fill()
    said = server.run(*words(place.path / "run"), code=1)
    assert_full(said, "config.yaml")
    place.free()
    assert [path for path in (place.path / "run").rglob("*") if path.is_file()] == []


def test_while_the_store_is_made(server, words, disk):
    """What is prepared stays, and what is not is named and leaves nothing."""
    place = disk("1m")
    store = place.path / "store"
    place.fill(70_000)  # an image takes 20 KB
    assert_full(server.run(*words(place.path / "run", store=store), code=1), ".npy")
    kept = {name: data for name, data in whole(store).items() if name.endswith("image.npy")}
    assert len(kept) >= 1
    assert not partials(place.path)
    assert not (place.path / "run").exists()
    place.free()
    server.run(*words(place.path.parent / "elsewhere", store=store, train__iterations=1))
    assert kept.items() <= whole(store).items()


@pytest.fixture(scope="module")
def models(server, words, tmp_path_factory):
    """A run for scans of each format and a folder of such scans; two labelled cases, one step."""
    made = {}

    def make(ending, dims):
        if ending not in made:
            root = tmp_path_factory.mktemp("format")
            data = write_dataset(root / "data", cases=2, test=1, dims=dims, ending=ending, shape=(40,) * dims)
            patch = "[16,16,16]" if dims == 3 else "[32,32]"
            settings = {"train__iterations": 1, "sampling__patch_size": patch}
            budget = ["--labelled", "2", "--val", "0"]
            command = words(root / "run", "supervised", data, **settings)
            at = command.index("--labelled")
            server.run(*command[:at], *budget, *command[at + 4 :])
            made[ending] = (root / "run", data / "imagesTs")
        return made[ending]

    return make


@pytest.mark.parametrize(("ending", "dims"), [(".nii.gz", 3), (".nrrd", 3), (".mha", 3), (".png", 2), (".bmp", 2)])
def test_while_predicting(server, models, disk, ending, dims):
    """No room at all: ITK's writers, for one, say nothing then and leave an empty file."""
    place = disk("1m")
    run, scans = models(ending, dims)
    output = place.path / "out"
    output.mkdir()
    old = output / f"test_000{ending}"
    old.write_bytes(b"the old one")
    place.fill()
    said = server.run("predict", run, scans, output, code=1)
    assert_full(said, old.name)
    assert contents(output) == {old.name: b"the old one"}
    assert list(output.iterdir()) == [old]


def test_while_reporting(server, undisturbed, disk):
    place = disk("1m")
    page = place.path / "report.html"
    page.write_text("the old one")
    place.fill()
    assert_full(server.run("report", undisturbed("mean-teacher", train__iterations=12), "-o", page, code=1), page.name)
    assert page.read_text() == "the old one"
    assert not partials(place.path)
