import nibabel
import numpy as np
import pytest

from fewmask.data.convert import convert
from fewmask.data.image import read_image
from fewmask.data.protocols.shelf import read_list
from fewmask.errors import ConfigError, DataError
from helpers import SHARED
from layouts import LA_CASES, scan, write_h5, write_la, write_la_copies

h5py = pytest.importorskip("h5py")
RAW = SHARED / "raw/2018LA_Seg_Training Set"


def test_nrrd_folders_keep_values_and_geometry(tmp_path):
    raw = write_la(tmp_path / "raw")
    done = convert("la", raw, tmp_path / "la")
    assert done.written == 3 and sorted(done.dataset.cases) == sorted(LA_CASES)
    assert done.dataset.class_names == ("background", "left atrium")
    for number, case in enumerate(LA_CASES):
        image, label = scan(number)
        there = done.dataset.read(case)
        np.testing.assert_array_equal(there.data[0], image)
        np.testing.assert_array_equal(done.dataset.read_label(case).data, label)
        original = read_image(raw / "Training Set" / case / "lgemri.nrrd").geometry
        np.testing.assert_allclose(there.geometry.affine, original.affine, atol=1e-6)
    assert any("3 training scans" in sentence and "100" in sentence for sentence in done.missing)


@pytest.mark.parametrize("inner", ["", "Training Set"])
def test_the_folder_may_be_given_at_any_level(tmp_path, inner):
    raw = write_la(tmp_path / "raw")
    assert len(convert("la", raw / inner, tmp_path / "la").dataset) == 3


def test_scans_of_the_testing_set_are_test_cases(tmp_path):
    raw = write_la(tmp_path / "raw", LA_CASES[:2])
    write_la(tmp_path / "more", ("TEST1",))
    (tmp_path / "more/Training Set").rename(raw / "Testing Set")
    (raw / "Testing Set/TEST1/laendo.nrrd").unlink()
    dataset = convert("la", raw, tmp_path / "la").dataset
    assert dataset.ids("test") == ["TEST1"] and dataset.case("TEST1").label is None


def test_copies_come_as_they_are(tmp_path):
    raw = write_la_copies(tmp_path / "raw")
    done = convert("la", raw, tmp_path / "la", {"spacing": [0.5, 0.6, 0.7]})
    for case in LA_CASES:
        with h5py.File(raw / "2018LA_Seg_Training Set" / case / "mri_norm2.h5") as file:
            np.testing.assert_array_equal(done.dataset.read(case).data[0], file["image"][()])
            np.testing.assert_array_equal(done.dataset.read_label(case).data, file["label"][()])
    np.testing.assert_allclose(done.dataset.read(LA_CASES[0]).geometry.spacing, (0.5, 0.6, 0.7), atol=1e-6)
    assert any("cut around the reference" in note for note in done.notes)


@pytest.mark.skipif(not RAW.is_dir(), reason="the raw left atrium files are not beside this checkout")
def test_real_copies_come_as_they_are(tmp_path):
    dataset = convert("la", RAW, tmp_path / "la").dataset
    assert len(dataset) == 3
    for folder in RAW.iterdir():
        with h5py.File(folder / "mri_norm2.h5") as file:
            image = dataset.read(folder.name)
            np.testing.assert_allclose(image.data[0], file["image"][()], rtol=0, atol=1e-6)
            np.testing.assert_array_equal(dataset.read_label(folder.name).data, file["label"][()])
        np.testing.assert_allclose(image.geometry.spacing, 0.625, atol=1e-6)


def test_another_layout_is_told_in_a_sentence(tmp_path):
    (tmp_path / "raw" / "pictures").mkdir(parents=True)
    with pytest.raises(
        DataError, match=r"raw: expected folders named by case with lgemri.nrrd .* but found pictures/; "
    ):
        convert("la", tmp_path / "raw", tmp_path / "la")
    assert not (tmp_path / "la").exists()


def test_a_missing_atrium_is_named(tmp_path):
    raw = write_la(tmp_path / "raw")
    (raw / "Training Set" / LA_CASES[1] / "laendo.nrrd").unlink()
    with pytest.raises(DataError, match=rf"{LA_CASES[1]}: expected laendo.nrrd beside lgemri.nrrd"):
        convert("la", raw, tmp_path / "la")


def test_mixed_kinds_are_refused(tmp_path):
    raw = write_la(tmp_path / "raw", LA_CASES[:2])
    write_h5(raw / "Training Set" / LA_CASES[2] / "mri_norm2.h5", *scan())
    with pytest.raises(DataError, match="keep one kind"):
        convert("la", raw, tmp_path / "la")


def test_a_strange_label_value_is_named(tmp_path):
    raw = tmp_path / "raw"
    image, label = scan()
    write_h5(raw / "set" / LA_CASES[0] / "mri_norm2.h5", image.astype(np.float32), label * 7)
    with pytest.raises(DataError, match=r"mri_norm2\.h5: holds the label value 7"):
        convert("la", raw, tmp_path / "la")


def test_a_spacing_must_fit(tmp_path):
    with pytest.raises(ConfigError, match="spacing"):
        convert("la", write_la_copies(tmp_path / "raw"), tmp_path / "la", {"spacing": [1, 1]})


def test_links_out_of_a_copy_are_not_followed(tmp_path):
    secret = tmp_path / "secret.h5"
    write_h5(secret, *scan())
    path = tmp_path / "raw" / "set" / LA_CASES[0] / "mri_norm2.h5"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["image"] = h5py.ExternalLink(str(secret), "image")
        file["label"] = scan()[1]
    with pytest.raises(DataError, match="image is no array of this file"):
        convert("la", tmp_path / "raw", tmp_path / "la")


def test_virtual_arrays_are_not_followed_either(tmp_path):
    secret = tmp_path / "secret.h5"
    write_h5(secret, *scan())
    path = tmp_path / "raw" / "set" / LA_CASES[0] / "mri_norm2.h5"
    path.parent.mkdir(parents=True)
    shape = scan()[0].shape
    layout = h5py.VirtualLayout(shape, dtype="uint8")
    layout[:] = h5py.VirtualSource(str(secret), "image", shape)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("image", layout)
        file["label"] = scan()[1]
    with pytest.raises(DataError, match="image is no array of this file"):
        convert("la", tmp_path / "raw", tmp_path / "la")


def test_an_array_that_claims_terabytes(tmp_path):
    path = tmp_path / "raw" / "set" / LA_CASES[0] / "mri_norm2.h5"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("image", (10**4, 10**4, 10**4), "f4", chunks=(10, 10, 10), compression="gzip")
        file.create_dataset("label", (10**4, 10**4, 10**4), "u1", chunks=(10, 10, 10), compression="gzip")
    with pytest.raises(DataError, match="claims 4000000000000 bytes"):
        convert("la", tmp_path / "raw", tmp_path / "la")


def test_the_whole_set_comes_with_the_published_splits(tmp_path):
    """The hundred names of the field's lists, with tiny arrays."""
    train, test = (read_list(f"la-{part}") for part in ("train", "test"))
    write_la_copies(tmp_path / "raw", (*train, *test))
    done = convert("la", tmp_path / "raw", tmp_path / "la")
    assert done.missing == [] and done.dataset.ids("test") == sorted(test) and len(done.dataset.ids("train")) == 80
    assert done.dataset.description.shortcuts == ("reference-crop",)
    paper = [done.dataset.load_split(name) for name in done.splits if name.startswith("la-paper-")]
    assert sorted(len(split.labelled) for split in paper) == [4, 8, 16]
    for split in paper:
        assert list(split.labelled) == train[: len(split.labelled)] and sorted(split.test) == sorted(test)
        assert "reference-crop" in split.shortcuts


def test_whole_numbers_stay_small(tmp_path):
    convert("la", write_la(tmp_path / "raw"), tmp_path / "la")
    kinds = {path.parent.name: nibabel.load(path).get_data_dtype() for path in (tmp_path / "la").rglob("*.nii.gz")}
    assert set(kinds.values()) == {np.dtype("u1")}
