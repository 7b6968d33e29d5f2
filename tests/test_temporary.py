"""Whose a temporary file is: a killed command's goes, a living one's stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from fewmask import temporary
from fewmask.files import sweep, write_text
from fewmask.temporary import is_living, sweep_once, temporary_file, temporary_folder

HOLD = """
import sys
from pathlib import Path
from fewmask.temporary import temporary_file, temporary_folder
place = Path(sys.argv[1])
temporary_file(place / "scan.nii.gz")
with temporary_folder(place) as folder:
    (folder / "half").write_text("half")
    print(folder, flush=True)
    sys.stdin.read()
"""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there no process is asked whether it lives")


@pytest.fixture(autouse=True)
def _anew(monkeypatch):
    """As the first write of a new process."""
    monkeypatch.setattr(temporary, "_swept", set())


@pytest.fixture
def other(tmp_path):
    """Another process with a file and a folder in the making."""
    made = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    made.stdout.readline()
    yield made
    made.kill()
    made.communicate()


def test_what_a_living_process_writes_stays_until_it_was_killed(tmp_path, other, monkeypatch):
    made = sorted(tmp_path.iterdir())
    assert len(made) == 2 and all(is_living(path) for path in made)
    write_text(tmp_path / "a.txt", "a")
    sweep(tmp_path)  # even for who holds the folder
    assert sorted(tmp_path.iterdir()) == [*made, tmp_path / "a.txt"]
    other.kill()
    other.wait()
    write_text(tmp_path / "b.txt", "b")  # not looked for again by the same process
    assert len(list(tmp_path.iterdir())) == 4
    monkeypatch.setattr(temporary, "_swept", set())
    write_text(tmp_path / "b.txt", "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt"]


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="the start of a process is known from /proc")  # noqa: PTH110
def test_a_process_that_only_has_the_same_number_is_another(tmp_path):
    mine = temporary_file(tmp_path / "a.txt")
    place, number, start = mine.name.split("-")[1].split(".")
    (tmp_path / f".partial-{place}.{number}.{int(start) + 1}-x-a.txt").touch()
    temporary._swept.clear()
    sweep_once(tmp_path)
    assert list(tmp_path.iterdir()) == [mine]


@pytest.mark.parametrize("name", [".partial-00000000.1.1-x-a.txt", ".fewmask-00000000.1.1-x", ".partial-x-a.txt"])
def test_what_nobody_can_be_asked_about_goes_by_its_age(tmp_path, name):
    path = tmp_path / name
    path.mkdir() if name.startswith(".fewmask") else path.touch()
    sweep_once(tmp_path)
    assert path.exists()
    day = time.time() - 25 * 3600
    os.utime(path, (day, day))
    temporary._swept.clear()
    sweep_once(tmp_path)
    assert not path.exists()


def test_nothing_else_goes_and_no_link_is_followed(tmp_path):
    outside, place = tmp_path / "outside", tmp_path / "place"
    outside.mkdir(), place.mkdir()
    (outside / "kept").touch()
    kept = [place / ".fewmask", place / ".fewmask-old", place / "partial-1.nii.gz", place / ".hidden"]
    for path in kept:
        path.mkdir()
        os.utime(path, (0, 0))
    dead = temporary_file(place / "a").name.replace(f".{os.getpid()}.", ".999999999.")
    (place / dead).symlink_to(outside)
    temporary._swept.clear()
    with temporary_folder(place) as mine:
        assert sorted(path for path in place.iterdir() if not path.name.startswith(".partial")) == sorted([*kept, mine])
        assert not (place / dead).is_symlink()
    assert (outside / "kept").exists()


def test_many_sweep_at_once(tmp_path):
    """None fails because another was faster, and all is gone."""
    place = tmp_path / "place"
    place.mkdir()
    owner = temporary_file(place / "a").name.split("-")[1].replace(f".{os.getpid()}.", ".999999999.")
    for number in range(300):
        (place / f".partial-{owner}-{number}-a").touch()
        (place / f".fewmask-{owner}-{number}").mkdir()
        (place / f".fewmask-{owner}-{number}/half").touch()
    code = (
        "import sys; from pathlib import Path; from fewmask.temporary import sweep_once; sweep_once(Path(sys.argv[1]))"
    )
    sweepers = [subprocess.Popen([sys.executable, "-W", "error", "-c", code, str(place)]) for _ in range(4)]
    assert [one.wait() for one in sweepers] == [0] * 4
    assert len(list(place.iterdir())) == 1  # this process's
