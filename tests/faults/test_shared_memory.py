"""A /dev/shm without room: the training goes on, more slowly, to the same weights; it never waits for a batch that was lost."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from fewmask.data.batch import Batch
from fewmask.data.crossing import ByValue, received, sent
from fewmask.errors import FewmaskWarning
from processes import ENVIRONMENT, assert_equal_runs

SETTINGS = {"train__iterations": 9}
FILL = "mount -t tmpfs -o size=64k none /dev/shm && head -c {} /dev/zero > /dev/shm/filler 2>/dev/null; exec "
OVER = ["unshare", "--mount", "--map-root-user", "sh", "-c"]


@pytest.fixture(scope="module")
def isolated():
    """Skips where no mount of one's own can be made."""
    try:
        done = subprocess.run([*OVER, FILL.format(1) + "true"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs the program unshare")
    if done.returncode:
        pytest.skip(f"cannot mount a small /dev/shm here: {done.stderr.decode()}")


@pytest.mark.parametrize(
    ("filled", "told"), [(0, "batches travel more slowly"), ("1m", "loaded without processes of their own")]
)
def test_a_training_goes_on(isolated, words, undisturbed, tmp_path, filled, told):
    """Room for the locks of the processes and not for a batch; and no room for anything."""
    run = tmp_path / "run"
    settings = SETTINGS | {"sampling__workers": 1, "sampling__patch_size": "[32,32,32]"}
    program = [sys.executable, "-m", "fewmask", *map(str, words(run, **settings))]
    command = FILL.format(filled) + " ".join(f"'{word}'" for word in program)
    done = subprocess.run([*OVER, command], env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("/dev/shm") == 1 and told in done.stderr
    assert_equal_runs(run, undisturbed("mean-teacher", **SETTINGS, sampling__patch_size="[32,32,32]"))


def test_a_long_path_of_temporary_files(words, undisturbed, tmp_path):
    """No socket can be made there, by which processes hand each other what lies in shared memory."""
    run, place = tmp_path / "run", tmp_path / ("t" * 100)
    place.mkdir()
    settings = SETTINGS | {"sampling__workers": 1}
    program = [sys.executable, "-m", "fewmask", *map(str, words(run, **settings))]
    environment = ENVIRONMENT | {"TMPDIR": str(place)}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("too long for sockets") == 1 and "set TMPDIR to a shorter one" in done.stderr
    assert_equal_runs(run, undisturbed("mean-teacher", **SETTINGS))


def test_by_value_nothing_changes():
    batch = Batch(torch.randn(2, 1, 4, 4), torch.ones(2, 4, 4).long(), torch.randn(0, 1, 4, 4), cases=("a", "b"))
    assert sent(batch) is batch, "in the main process nothing has to travel"
    with pytest.warns(FewmaskWarning, match="because") as said:
        first, second = received(iter([ByValue.of(batch, "because"), ByValue.of(batch, "why not")]))
    assert len(said) == 1
    for back in (first, second):
        assert back.cases == ("a", "b") and back.distances is None and back.labels.dtype == torch.int64
        assert torch.equal(back.labelled, batch.labelled) and back.unlabelled.shape == (0, 1, 4, 4)
