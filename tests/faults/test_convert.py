"""`kill -9` and a full disk while converting: typed again, the command ends where an undisturbed one ends."""

from __future__ import annotations

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
