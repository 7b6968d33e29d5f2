"""BraTS, ACDC and the decathlon: scans that are copied, labels that may be renumbered."""

import json

import nibabel
import numpy as np
import pytest

from fewmask.data.check import check_dataset
from fewmask.data.convert import convert
from fewmask.data.image import read_geometry, read_image, read_label
from fewmask.errors import DataError
from helpers import edit_json
from layouts import scan, write_acdc, write_brats, write_msd, write_nifti

TUMOUR = "BraTS19_2013_2_1"


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_brats_flair_and_whole_tumour(tmp_path, ending):
    raw = write_brats(tmp_path / "raw", ending)
    done = convert("brats2019", raw, tmp_path / "brats")
    assert done.dataset.channel_names == ("FLAIR",) and done.dataset.class_names == ("background", "whole tumour")
    source = raw / f"MICCAI_BraTS_2019_Data_Training/HGG/{TUMOUR}/{TUMOUR}_flair{ending}"
    case = done.dataset.case(TUMOUR)
    assert case.images[0].read_bytes() == source.read_bytes()
    np.testing.assert_array_equal(done.dataset.read_label(TUMOUR).data, scan(0, classes=4)[1] > 0)
    assert read_geometry(case.label).matches(read_geometry(source), 1e-6)
    assert check_dataset(tmp_path / "brats").ok and len(done.missing) == 2


def test_brats_all_modalities_and_parts(tmp_path):
    dataset = convert(
        "brats2019", write_brats(tmp_path / "raw"), tmp_path / "b", {"modalities": "all", "target": "parts"}
    ).dataset
    assert dataset.channel_names == ("FLAIR", "T1", "T1ce", "T2") and len(dataset.class_names) == 4
    image, label = scan(0, classes=4)
    np.testing.assert_array_equal(dataset.read(TUMOUR).data, [image.astype(int) + n for n in range(4)])
    np.testing.assert_array_equal(dataset.read_label(TUMOUR).data, label)


def test_brats_files_that_are_missing_or_odd(tmp_path):
    raw = write_brats(tmp_path / "raw")
    folder = raw / "MICCAI_BraTS_2019_Data_Training/HGG" / TUMOUR
    with pytest.raises(DataError, match="expected the folders HGG and LGG"):
        convert("brats2019", folder, tmp_path / "b")
    label = nibabel.load(folder / f"{TUMOUR}_seg.nii.gz")
    write_nifti(folder / f"{TUMOUR}_seg.nii.gz", np.full(label.shape, 3, np.uint8), label.affine)
    with pytest.raises(DataError, match=r"_seg\.nii\.gz: holds the label value 3, but only 0, 1, 2, 4"):
        convert("brats2019", raw, tmp_path / "b")
    write_nifti(folder / f"{TUMOUR}_seg.nii.gz", np.zeros(label.shape, np.uint8), np.eye(4))
    with pytest.raises(DataError, match="lies on another grid than its image"):
        convert("brats2019", raw, tmp_path / "b")
    (folder / f"{TUMOUR}_flair.nii.gz").unlink()
    with pytest.raises(DataError, match=rf"expected {TUMOUR}_flair\.nii\.gz, but it is missing"):
        convert("brats2019", raw, tmp_path / "b")


def test_acdc(tmp_path):
    raw = write_acdc(tmp_path / "raw")
    done = convert("acdc", raw, tmp_path / "acdc")
    data = done.dataset
    assert data.ids("train") == [f"patient{n:03d}_frame{frame:02d}" for n in (1, 2) for frame in (1, 12)]
    assert data.ids("test") == ["patient101_frame01", "patient101_frame12"]
    assert data.description.patients["patient001_frame12"] == "patient001"
    source = raw / "database/training/patient001/patient001_frame12"
    assert (
        data.case("patient001_frame12").images[0].read_bytes() == source.with_name(source.name + ".nii.gz").read_bytes()
    )
    assert data.read_label("patient001_frame12").data.max() == 3
    assert check_dataset(tmp_path / "acdc").ok
    assert done.missing == [f"{raw}: holds 2 training patients where the published data set has 100"]


def test_acdc_slice_by_slice(tmp_path):
    raw = write_acdc(tmp_path / "raw")
    whole = convert("acdc", raw, tmp_path / "whole").dataset
    data = convert("acdc", raw, tmp_path / "slices", {"slices": True}).dataset
    for case in whole.cases:
        image, label = whole.read(case), whole.read_label(case).data
        parts = [name for name in data.cases if name.startswith(f"{case}_slice")]
        assert parts == [f"{case}_slice{place + 1:02d}" for place in range(label.shape[2])]
        for place, name in enumerate(parts):
            there = data.read(name)
            np.testing.assert_array_equal(there.data, image.data[..., place])
            np.testing.assert_array_equal(data.read_label(name).data, label[..., place])
            np.testing.assert_allclose(there.geometry.spacing, image.geometry.spacing[:2], atol=1e-6)
            assert data.description.patients[name] == case[:10] and data.cases[name].group == whole.cases[case].group
    assert data.spatial_dims == 2 and check_dataset(data.root).ok


def test_acdc_of_which_a_part_is_missing(tmp_path):
    raw = write_acdc(tmp_path / "raw")
    patient = raw / "database/training/patient002"
    (patient / "patient002_frame12_gt.nii.gz").unlink()
    with pytest.raises(DataError, match=r"patient002: expected patient002_frame12_gt\.nii\.gz, as Info\.cfg says"):
        convert("acdc", raw, tmp_path / "acdc")
    (patient / "Info.cfg").write_text("Group: DCM\n")
    with pytest.raises(DataError, match=r"Info\.cfg: expected lines such as"):
        convert("acdc", raw, tmp_path / "acdc")
    with pytest.raises(DataError, match="expected folders named patient001"):
        convert("acdc", patient, tmp_path / "acdc")


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("test", ["test", "unlabelled"])
def test_decathlon(tmp_path, channels, test):
    raw = write_msd(tmp_path / "raw", channels)
    data = convert("msd", raw, tmp_path / "msd", {"test": test}).dataset
    assert len(data.channel_names) == channels and data.class_names == ("background", "edema", "tumour")
    assert data.ids(test) == ["BRATS_900"] and data.case("BRATS_900").label is None
    original = read_image(raw / "Task01_BrainTumour/imagesTr/BRATS_001.nii.gz")
    image = data.read("BRATS_001")
    np.testing.assert_array_equal(image.data, original.data)
    assert image.geometry.matches(original.geometry, 1e-6) and len(data.case("BRATS_001").images) == channels
    np.testing.assert_array_equal(data.read_label("BRATS_001").data, scan(0, classes=3)[1])
    assert check_dataset(tmp_path / "msd").ok


@pytest.mark.parametrize(
    "name", ["/etc/hosts", "../../secret.nii.gz", "imagesTr/../../../secret.nii.gz", "", 7, "imagesTr/nope.nii.gz"]
)
def test_decathlon_lists_name_files_below_the_task(tmp_path, name):
    raw = write_msd(tmp_path / "raw")
    write_nifti(tmp_path / "secret.nii.gz", scan()[0])
    path = raw / "Task01_BrainTumour/dataset.json"
    edit_json(path, test=[name])
    with pytest.raises(DataError, match=r"dataset\.json: names"):
        convert("msd", raw, tmp_path / "msd")
    assert not (tmp_path / "msd").exists()


def test_decathlon_counts(tmp_path):
    raw = write_msd(tmp_path / "raw")
    path = raw / "Task01_BrainTumour/dataset.json"
    edit_json(path, numTraining=484)
    assert (
        "holds 2 training scans where the published data set has 484"
        in convert("msd", raw, tmp_path / "msd").missing[0]
    )
    path.write_text(
        json.dumps({"labels": {"background": 0, "a": 1}, "channel_names": {"0": "x"}, "file_ending": ".nii.gz"})
    )
    with pytest.raises(DataError, match=r"expected dataset\.json with modality and a list of training scans"):
        convert("msd", raw, tmp_path / "other")


def test_labels_that_are_no_classes_are_named(tmp_path):
    raw = write_msd(tmp_path / "raw")
    write_nifti(raw / "Task01_BrainTumour/labelsTr/BRATS_001.nii.gz", np.full((12, 10, 8), 5, np.uint8))
    with pytest.raises(
        DataError, match=r"BRATS_001\.nii\.gz: holds label values from 5 to 5, but the classes are 0 to 2"
    ):
        convert("msd", raw, tmp_path / "msd")
    write_nifti(raw / "Task01_BrainTumour/labelsTr/BRATS_001.nii.gz", np.zeros((12, 10, 9), np.uint8))
    with pytest.raises(DataError, match="the label has the shape"):
        convert("msd", raw, tmp_path / "msd")
    assert read_label(raw / "Task01_BrainTumour/labelsTr/BRATS_002.nii.gz").data.max() == 2
