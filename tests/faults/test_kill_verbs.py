"""`kill -9` at points spread over every change of a file that a verb makes: typed again, it ends as if undisturbed.

All files below one folder are compared byte for byte, the data set with its store, the run, the output and the temporary directory;
all but the minute at which a page says that it was written.
FEWMASK_KILLS=20 kills at 20 points of each verb; less takes its time off the suite.
"""

from __future__ import annotations

import os
import re
import shutil

import pytest

from layouts import write_la
from processes import contents

KNOWN = ("raw", "raw.zip", "data", "run", "predictions", "out")
SLOW = ("export-program",)
PAGES, WRITTEN = {"out/report.html", "out/rank.html"}, re.compile(rb"\d\d [A-Z][a-z]+ \d{4}, \d\d:\d\d")
POINTS = int(os.environ.get("FEWMASK_KILLS", "4"))
VERBS = {
    "convert": ("convert", "la", "raw", "out"),
    "convert-archive": ("convert", "la", "raw.zip", "out"),
    "check": ("check", "data", "--thumbnails", "out"),
    "split": ("split", "data", "--labelled", "2", "--val", "1"),
    "predict": ("predict", "run", "data", "out", "--probabilities", "--uncertainty", "--part", "test"),
    "evaluate": ("evaluate", "predictions", "data/labelsTs", "-o", "out"),
    "rank": ("rank", "run", "data", "-o", "out"),
    "pseudo-label": ("pseudo-label", "run", "data", "out"),
    "report": ("report", "run", "-o", "out/report.html"),
    "export": ("export", "run", "out/weights.safetensors"),
    "export-program": ("export", "run", "out/program.pt2"),
}


@pytest.fixture(scope="module")
def template(server, data, undisturbed, tmp_path_factory):
    """What a verb may find: raw data, a data set, a run and predictions."""
    world = tmp_path_factory.mktemp("template")
    (world / "tmp").mkdir()
    write_la(world / "raw", ["CASE00", "CASE01", "CASE02"])
    shutil.make_archive(str(world / "raw"), "zip", world / "raw")
    shutil.copytree(data, world / "data", ignore=shutil.ignore_patterns(".fewmask"))
    shutil.copytree(undisturbed("mean-teacher", train__iterations=6), world / "run")
    server.run("predict", world / "run", world / "data", world / "predictions", "--part", "test")
    return world


def tree(world):
    """Every folder below, and every file with its bytes."""
    folders = {str(path.relative_to(world)): None for path in world.rglob("*") if path.is_dir()}
    files = contents(world)
    for page in PAGES & files.keys():
        files[page], times = WRITTEN.subn(b"then", files[page])
        assert times == 1, page
    return folders | files


@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_any_change_and_typed_again(server, template, tmp_path, verb):
    world = tmp_path / "world"
    words = [world / word if word.split("/")[0] in KNOWN else word for word in VERBS[verb]]
    kill_and_repeat(server, template, world, words, points=1 if POINTS < 5 and verb in SLOW else POINTS)


def spread(total, points):
    """Some of the changes 1 to ``total``, the first and the last among them; of one alone, that in the middle."""
    return (
        sorted({1 + round(n * (total - 1) / (points - 1)) for n in range(points)}) if points > 1 else [1 + total // 2]
    )


def kill_and_repeat(server, template, world, words, see=tree, points=POINTS, **more):
    """Type ``words`` in a fresh ``world``, be killed at each of some points, type them again: what ``see`` sees must be the same."""
    count = world.with_name("count")

    def fresh():
        shutil.rmtree(world, ignore_errors=True)
        shutil.copytree(template, world)

    def go(number):
        temporary = str(world / "tmp")
        process = server.start(*words, kill=[number, str(world), str(count)], temporary=temporary, **more)
        return process.code(), process.said

    fresh()
    assert go(0)[0] == 0
    total, whole = int(count.read_text()), see(world)
    assert total > 2 and whole != see(template)
    for point in spread(total, points):
        fresh()
        code, said = go(point)
        assert code == -9, f"change {point} of {total}: {said}"
        code, said = go(0)
        assert code == 0, f"after the kill at change {point} of {total}: {said}"
        again = see(world)
        assert sorted(again) == sorted(whole), f"change {point} of {total}"
        assert [name for name in whole if again[name] != whole[name]] == [], f"change {point} of {total}"
