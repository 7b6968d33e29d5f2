"""What is there with other contents stays; what is there with the same bytes is no question, so the bytes must be a function of the data."""

import gzip
import time

import numpy as np
import pytest

from fewmask.data.image import Geometry, write_image
from fewmask.errors import WriteError
from fewmask.files import replacing, write_json, write_text
from fewmask.overwrite import refuse_text

SAID = r"is there already with other contents; add --overwrite \(in Python overwrite=True\) to replace it, or write elsewhere"


def label(seed, dims):
    values = np.random.default_rng(seed).integers(0, 3, (5, 4, 3)[:dims]).astype(np.uint8)
    return values, Geometry(values.shape, np.diag([0.5, 0.75, 2, 1]) if dims == 3 else np.eye(4))


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".png", ".bmp", ".tif"])
def test_label_maps_have_the_same_bytes_at_any_time_and_place(tmp_path, monkeypatch, suffix):
    values, geometry = label(0, 2 if suffix in (".png", ".bmp") else 3)
    write_image(tmp_path / f"a{suffix}", values, geometry)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(time, "time", lambda: 2e9)
    write_image(tmp_path / f"a{suffix}", values, geometry, overwrite=False)  # equal bytes are no question
    write_image(tmp_path / f"elsewhere/a{suffix}", values, geometry)
    assert {path.name: path.read_bytes() for path in (tmp_path / "elsewhere").iterdir()} == before
    other, _ = label(1, values.ndim)
    with pytest.raises(WriteError, match=SAID):
        write_image(tmp_path / f"a{suffix}", other, geometry, overwrite=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    write_image(tmp_path / f"a{suffix}", other, geometry)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} != before


def test_a_gzip_names_no_time_and_no_file(tmp_path):
    write_image(tmp_path / "a.nii.gz", *label(0, 3))
    head = (tmp_path / "a.nii.gz").read_bytes()[:10]
    assert head[:2] == b"\x1f\x8b" and head[3] == 0 and head[4:8] == bytes(4), head
    assert len(gzip.decompress((tmp_path / "a.nii.gz").read_bytes())) == 352 + 60


def test_text_files(tmp_path):
    path = tmp_path / "a.csv"
    write_text(path, "ä\n", overwrite=False)
    write_text(path, "ä\n", overwrite=False)
    with pytest.raises(WriteError, match=SAID):
        write_text(path, "b\n", overwrite=False)
    assert path.read_text(encoding="utf-8") == "ä\n"
    write_text(path, "b\n")
    with pytest.raises(WriteError, match=SAID):
        write_json(path, {}, overwrite=False)
    refuse_text([(path, "b\n"), (tmp_path / "new", "x")])
    with pytest.raises(WriteError, match=r"a\.csv: " + SAID):
        refuse_text([(tmp_path / "new", "x"), (path, "c\n")])
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]


def test_a_file_that_stays_is_not_touched(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100_000)
    before = path.stat()
    with replacing(path, overwrite=False) as temporary:
        temporary.write_bytes(b"x" * 100_000)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    with pytest.raises(WriteError, match=SAID), replacing(path, overwrite=False) as temporary:
        temporary.write_bytes(b"x" * 99_999 + b"y")
    assert path.stat().st_ino == before.st_ino and [entry.name for entry in tmp_path.iterdir()] == ["a"]
