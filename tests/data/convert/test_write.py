"""How cases are written: types, copies, errors, and the folder that is looked for."""

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewmask.data.convert import convert
from fewmask.data.convert.find import descend, listed, wrong_layout
from fewmask.data.convert.write import copy_file, narrowed, write_picture, write_volume
from fewmask.data.geometry import Geometry
from fewmask.data.image import read_image
from fewmask.errors import DataError
from layouts import scan, write_h5, write_msd


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 255], "u1"),
        ([0, 256], "i2"),
        ([-1, 5], "i2"),
        ([-40000, 0], "i4"),
        ([0.5, 1], "f4"),
        ([0, 2.0**30], "f4"),
        ([np.nan, 1], "f4"),
    ],
)
def test_whole_numbers_are_narrowed_exactly(values, kind):
    array = np.array(values, np.float32)
    there = narrowed(array)
    assert there.dtype == np.dtype(kind)
    np.testing.assert_array_equal(there.astype(np.float64), array.astype(np.float64))


AFFINES = st.tuples(
    st.lists(st.floats(0.3, 5), min_size=3, max_size=3),
    st.lists(st.floats(-200, 200), min_size=3, max_size=3),
    st.permutations(range(3)),
    st.lists(st.sampled_from([-1, 1]), min_size=3, max_size=3),
)


@settings(max_examples=25)
@given(AFFINES, st.sampled_from(["u1", "i2", "i4", "f4", "f8"]))
def test_volumes_keep_geometry_and_values(tmp_path_factory, parts, kind):
    spacing, origin, order, signs = parts
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3)[list(order)] * np.array(spacing) * signs).round(4)
    affine[:3, 3] = origin
    values = np.random.default_rng(0).integers(0, 200, (4, 5, 6)).astype(kind)
    path = tmp_path_factory.getbasetemp() / "volume.nii.gz"
    write_volume(path, values, Geometry(values.shape, affine))
    there = read_image(path)
    np.testing.assert_array_equal(there.data[0], values)
    np.testing.assert_allclose(there.geometry.affine, affine, rtol=1e-5, atol=1e-4)
    assert nibabel.load(path).get_data_dtype() == (np.dtype("f4") if kind == "f8" else np.dtype(kind))


def test_integers_too_large_are_refused(tmp_path):
    with pytest.raises(DataError, match="do not fit into 32 bits"):
        write_volume(tmp_path / "a.nii.gz", np.full((2, 2, 2), 2**40), Geometry.plain((2, 2, 2)))


@pytest.mark.parametrize(
    "values", [np.full((1, 2, 2), 0.5), np.full((1, 2, 2), 256), np.full((2, 2, 2), 1), np.full((2, 2), 1)]
)
def test_pictures_are_of_8_bits(tmp_path, values):
    with pytest.raises(DataError, match="8 bits"):
        write_picture(tmp_path / "a.png", values)
    assert not (tmp_path / "a.png").exists()


def test_copies_have_the_ending_of_their_content(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"x")
    with pytest.raises(DataError, match=r"is no \.nii\.gz"):
        copy_file(tmp_path / "a.nii", tmp_path / "b.nii.gz")


def test_junk_of_archivers_is_no_data(tmp_path):
    for name in ("__MACOSX", ".git", "a", "B"):
        (tmp_path / name).mkdir()
    for name in (".DS_Store", "._a.png", "Thumbs.db", "c.png", "desktop.ini"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in listed(tmp_path)] == ["B", "a", "c.png"]
    assert listed(tmp_path / "nowhere") == []


def test_two_data_sets_are_not_taken_for_one(tmp_path):
    write_msd(tmp_path / "raw")
    (tmp_path / "raw/Task02_Heart").mkdir()
    (tmp_path / "raw/Task02_Heart/dataset.json").write_text("{}")
    with pytest.raises(DataError, match="raw: holds 2 data sets, Task01_BrainTumour, Task02_Heart; give one"):
        convert("msd", tmp_path / "raw", tmp_path / "out")


def test_how_deep_is_looked(tmp_path):
    (tmp_path / "a/b/c/wanted").mkdir(parents=True)
    assert descend(tmp_path, lambda folder: folder.name == "c", depth=3).name == "c"
    assert descend(tmp_path, lambda folder: folder.name == "c", depth=2) is None


def test_a_packed_archive_inside_is_pointed_at(tmp_path):
    (tmp_path / "labels.zip").write_bytes(b"")
    assert str(wrong_layout(tmp_path, "labels")).endswith(
        "expected labels, but found labels.zip; unpack labels.zip first"
    )


def test_half_a_case_is_not_taken_for_a_whole_one(tmp_path):
    """A case is whole when its image is there, which is written last."""
    pytest.importorskip("h5py")
    write_h5(tmp_path / "raw/a.h5", *scan(0))
    convert("h5", tmp_path / "raw", tmp_path / "out")
    (tmp_path / "out/imagesTr/a_0000.nii.gz").unlink()
    assert convert("h5", tmp_path / "raw", tmp_path / "out").written == 1
    (tmp_path / "out/labelsTr/a.nii.gz").unlink()
    assert convert("h5", tmp_path / "raw", tmp_path / "out").written == 1
