from __future__ import annotations

import os
import stat

import pytest

from fewmask.files import replacing, write_json, write_text


def test_the_file_appears_whole_in_a_new_folder(tmp_path):
    path = tmp_path / "a" / "b" / "text.txt"
    write_text(path, "äöü\n")
    assert path.read_bytes() == "äöü\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["text.txt"]


def test_a_failed_writer_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "text.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError, match="half way"), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("half way")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_reader_sees_the_old_file_until_the_end(tmp_path):
    path = tmp_path / "text.txt"
    write_text(path, "old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("name", ["scan.nii.gz", "x" * 200 + ".nii.gz"])
def test_the_temporary_name_keeps_the_ending_beside_the_target(tmp_path, name):
    with replacing(tmp_path / name) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".nii.gz")
        assert temporary.name.startswith(".")
    assert (tmp_path / name).exists()


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_permissions_are_those_of_an_ordinary_new_file(tmp_path):
    (tmp_path / "ordinary").touch()
    write_text(tmp_path / "ours", "")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ordinary", "ours")]
    assert modes[0] == modes[1]


def test_json_has_no_nan(tmp_path):
    write_json(tmp_path / "a.json", {"ä": [1, 2.5]})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "ä": [\n    1,\n    2.5\n  ]\n}\n'
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert "ä" in (tmp_path / "a.json").read_text(encoding="utf-8")
