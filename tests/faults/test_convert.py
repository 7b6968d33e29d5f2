"""`kill -9` and a full disk while converting: typed again, the command ends where an undisturbed one ends."""

from __future__ import annotations

import signal

from layouts import write_la
from processes import contents, partials, wait_for

CASES = [f"CASE{number:02d}" for number in range(16)]


def written(root):
    """How many cases are whole."""
    return len(list(root.glob("imagesTr/[!.]*")))


def test_killed_while_converting(server, tmp_path):
    raw = write_la(tmp_path / "raw", CASES)
    server.run("convert", "la", raw, tmp_path / "whole")
    out, command = tmp_path / "out", ("convert", "la", raw, tmp_path / "out")
    for least in (1, 6):
        process = server.start(*command)
        wait_for(lambda process=process, least=least: written(out) >= least or not process.alive, pause=0.002)
        process.kill()
        assert least <= written(out) < len(CASES), process.said
        assert not (out / "dataset.json").exists()
    server.run(*command)
    assert contents(out) == contents(tmp_path / "whole") and not partials(out)


def test_two_at_once(server, tmp_path):
    """The second is told to wait, by name; then it finds all done. What the first is writing stays."""
    raw = write_la(tmp_path / "raw", CASES)
    server.run("convert", "la", raw, tmp_path / "whole")
    command = ("convert", "la", raw, tmp_path / "out")
    first = server.start(*command)
    wait_for(lambda: written(tmp_path / "out") >= 1 or not first.alive, pause=0.002)
    first.signal(signal.SIGSTOP)
    try:
        said = server.run(*command, code=1)
        assert said.count("error: ") == 1
        assert f"is in use by another call of fewmask (process {first.pid} on " in said and "wait until it ends" in said
    finally:
        first.signal(signal.SIGCONT)
    assert first.code() == 0, first.said
    server.run(*command)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_killed_at_the_first_write(server, tmp_path):
    raw = write_la(tmp_path / "raw", CASES[:2])
    server.run("convert", "la", raw, tmp_path / "whole")
    for leftover in ([], [".lock"], [".lock", ".partial-00000000.1.1-x-conversion.json"]):
        out = tmp_path / f"out{len(leftover)}"
        out.mkdir()
        for name in leftover:
            (out / name).write_text("half")
        server.run("convert", "la", raw, out)
        assert contents(out) == contents(tmp_path / "whole")


def test_a_refusal_leaves_no_folder_and_no_lock(server, tmp_path):
    (tmp_path / "raw").mkdir()
    said = server.run("convert", "la", tmp_path / "raw", tmp_path / "new/out", code=1)
    assert said.count("error: ") == 1 and not (tmp_path / "new").exists()
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    server.run("convert", "la", write_la(tmp_path / "la", CASES[:1]), full, code=1)
    assert contents(full) == {"notes.txt": b"mine"}


def test_a_full_disk_while_converting(server, disk, tmp_path):
    raw = write_la(tmp_path / "raw", CASES[:4])
    place = disk("2m")
    place.fill(12000)
    said = server.run("convert", "la", raw, place.path / "out", code=1)
    assert said.count("error: ") == 1 and "cannot be written, disk full" in said
    place.free()
    server.run("convert", "la", raw, place.path / "out")
    server.run("convert", "la", raw, tmp_path / "whole")
    assert contents(place.path / "out") == contents(tmp_path / "whole")
