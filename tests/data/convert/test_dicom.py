"""DICOM series: whatever their names and numbers say, scans lie as they lay in the patient; faults are found before anything is written."""

import numpy as np
import pytest
import SimpleITK

from dicom import write_series, write_slice
from fewmask.data.check import check_dataset
from fewmask.data.convert import convert
from fewmask.data.convert.series import find_series, slice_files
from fewmask.data.convert.stack import read_stack, stacked
from fewmask.data.formats.itk import LPS_TO_RAS
from fewmask.data.geometry import Geometry
from fewmask.errors import ConfigError, DataError
from layouts import ct, write_nifti

SHUFFLED = [3, 7, 0, 9, 1, 5, 8, 2, 6, 4]


def series(folder):
    found = find_series(slice_files(folder))
    (slices,) = found.scans
    assert found.odd == []
    return read_stack(stacked(slices))


@pytest.mark.parametrize("order", [None, SHUFFLED, list(range(9, -1, -1))], ids=["ascending", "shuffled", "descending"])
def test_values_and_places_whatever_the_order(tmp_path, order):
    values, _ = ct()
    write_series(tmp_path / "s", values + np.int16(1024), intercept=-1024, order=order)
    there, geometry = series(tmp_path / "s")
    np.testing.assert_array_equal(there, values)
    assert there.dtype == np.int16
    affine = np.array([[0.8, 0, 0, -10], [0, 0.7, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1]])
    np.testing.assert_allclose(geometry.affine, LPS_TO_RAS @ affine, atol=1e-9)


def test_the_library_that_reads_series_agrees(tmp_path):
    """SimpleITK's own series reader, which sorts by position too, as a second opinion on values and geometry."""
    values, _ = ct(3)
    write_series(tmp_path / "s", values, order=SHUFFLED)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "s")))
    image = reader.Execute()
    there, geometry = series(tmp_path / "s")
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image).T, there)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    assert geometry.matches(Geometry(there.shape, LPS_TO_RAS @ affine), 1e-6)


@pytest.mark.parametrize("orientation", [(0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1), (0.8, 0.6, 0, -0.6, 0.8, 0)])
def test_other_planes_keep_every_voxel_in_its_place(tmp_path, orientation):
    values, _ = ct(1, (6, 5, 7))
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    normal = np.cross(row, column)
    for z in range(7):
        write_slice(tmp_path / f"{z}.dcm", values[:, :, z].T, normal * 2 * z + 5, instance=z, orientation=orientation)
    there, geometry = series(tmp_path)
    np.testing.assert_array_equal(there, values)
    for index in ((0, 0, 0), (5, 4, 6), (2, 3, 1)):
        place = 5 + row * index[0] + column * index[1] + normal * 2 * index[2]
        np.testing.assert_allclose(geometry.affine @ [*index, 1], LPS_TO_RAS @ [*place, 1], atol=1e-6)


def test_a_tilted_gantry_stays_skewed(tmp_path):
    values, _ = ct(1, (6, 5, 7))
    for z in range(7):
        write_slice(tmp_path / f"{z}.dcm", values[:, :, z].T, (0, 0.4 * z, 2.0 * z), instance=z)
    _, geometry = series(tmp_path)
    np.testing.assert_allclose(geometry.affine[:3, 2], [0, -0.4, 2.0], atol=1e-9)


def test_slopes_of_single_slices_are_applied(tmp_path):
    """As in PET, where every slice has a slope of its own."""
    values, _ = ct(1, (6, 5, 6))
    for z in range(6):
        write_slice(tmp_path / f"{z}.dcm", values[:, :, z].T, (0, 0, z), instance=z, slope=1 + z / 2)
    there, _ = series(tmp_path)
    np.testing.assert_allclose(there, values * (1 + np.arange(6) / 2), rtol=1e-6)


def broken(folder, kind):
    values, _ = ct()
    if kind == "missing":
        write_series(folder, values, skip=(4, 5))
    elif kind == "twice":
        write_series(folder, values)
        write_series(folder / "again", values)
    elif kind == "uneven":
        write_series(folder, values, order=[0, 1, 2, 3, 4.2, 5, 6, 7, 8, 9][:0] or None)
        write_slice(
            folder / "000004.dcm", values[:, :, 4].T, (-10, -20, 30 + 4.2 * 2.5), instance=5, spacing=(0.7, 0.8)
        )
    elif kind == "sideways":
        write_series(folder, values)
        write_slice(folder / "000004.dcm", values[:, :, 4].T, (-8, -20, 40), instance=5, spacing=(0.7, 0.8))
    elif kind == "size":
        write_series(folder, values)
        write_slice(folder / "loc.dcm", values[:-1, :, 0].T, (0, 0, 0), spacing=(0.7, 0.8))
    elif kind == "near":
        write_series(folder, values)
        write_slice(
            folder / "loc.dcm", values[:, :, 0].T, (0, 0, 0), orientation=(1, 0, 0, 0, 0.9998, 0.02), spacing=(0.7, 0.8)
        )
    elif kind == "no position":
        write_series(folder, values)
        write_slice(folder / "x.dcm", values[:, :, 0].T, None)
    elif kind == "cut":
        write_series(folder, values)
        path = folder / "000003.dcm"
        path.write_bytes(path.read_bytes()[:300])
    return folder


FAULTS = {
    "missing": r"lacks about 2 of its slices: 000003\.dcm and 000006\.dcm are 7\.5 mm apart where others are 2\.5 mm",
    "twice": "has 11 slices or more at one place",
    "uneven": "has uneven slices",
    "sideways": "has uneven slices",
    "size": r"loc\.dcm: is of another size, spacing or direction than 000000\.dcm of the same series",
    "near": r"loc\.dcm: is of another size, spacing or direction than 000000\.dcm of the same series",
    "no position": "lacks a valid ImagePositionPatient",
    "cut": r"000003\.dcm: is truncated or no DICOM image",
}


@pytest.mark.parametrize("kind", FAULTS)
def test_faults_are_found_before_anything_is_written(tmp_path, kind):
    broken(tmp_path / "raw/p1", kind)
    with pytest.raises(DataError, match=FAULTS[kind]) as error:
        convert("dicom", tmp_path / "raw", tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_faulty_series_can_be_left_out(tmp_path):
    write_series(tmp_path / "raw/good", ct()[0], series="1.1")
    write_series(tmp_path / "raw/bad", ct()[0], series="1.2", skip=(4,))
    done = convert("dicom", tmp_path / "raw", tmp_path / "out", {"faulty": "skip"})
    assert list(done.dataset.cases) == ["good"] and "lacks about 1 of its slices" in done.missing[0]


REPORT, SCREEN = "1.2.840.10008.5.1.4.1.1.88.22", "1.2.840.10008.5.1.4.1.1.7"


def test_what_else_lies_in_an_export(tmp_path):
    """Reports and plans are no images; a picture of the screen is one, but of another series."""
    write_series(tmp_path / "raw/p1", ct()[0], series="1.1")
    write_slice(tmp_path / "raw/p1/report.dcm", None, None, series="1.2", sop=REPORT)
    write_slice(tmp_path / "raw/p1/plan.dcm", None, None, series="1.3", sop="1.2.840.10008.5.1.4.1.1.481.5")
    write_slice(tmp_path / "raw/p1/screen.dcm", ct()[0][:, :, 0], None, series="1.4", sop=SCREEN)
    done = convert("dicom", tmp_path / "raw", tmp_path / "out")
    assert list(done.dataset.cases) == ["p1"] and done.dataset.read("p1").data.shape == (1, *ct()[0].shape)
    pictures, others = done.notes
    assert "1 image left out" in pictures and "screen.dcm: lacks a valid ImagePositionPatient" in pictures
    assert others == "no images and left out: 1 Enhanced SR Storage, 1 RT Plan Storage, p1/plan.dcm for one"


def test_a_broken_slice_takes_its_folder_with_it(tmp_path):
    """It may be the last of any series there, which no gap would tell."""
    write_series(tmp_path / "raw/bad", ct()[0], series="1.1")
    write_series(tmp_path / "raw/good", ct()[0], series="1.2")
    (tmp_path / "raw/bad/000009.dcm").write_bytes(b"")
    done = convert("dicom", tmp_path / "raw", tmp_path / "out", {"faulty": "skip"})
    assert list(done.dataset.cases) == ["good"] and "000009.dcm: is truncated" in done.missing[0]


def test_voxels_that_end_too_early(tmp_path):
    write_series(tmp_path / "raw/p1", ct()[0])
    path = tmp_path / "raw/p1/000009.dcm"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(DataError, match=r"000009\.dcm: "):
        convert("dicom", tmp_path / "raw", tmp_path / "out")


def test_a_header_that_claims_gigabytes(tmp_path):
    write_series(tmp_path / "raw/p1", ct()[0])
    path = tmp_path / "raw/p1/000009.dcm"
    for tag in (b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x11\x00US\x02\x00"):
        data = bytearray(path.read_bytes())
        place = data.index(tag) + len(tag)
        data[place : place + 2] = b"\xff\xff"
        path.write_bytes(data)
    with pytest.raises(DataError, match=r"000009\.dcm: is no DICOM image: its header claims"):
        convert("dicom", tmp_path / "raw", tmp_path / "out")


def test_one_folder_or_many(tmp_path):
    write_series(tmp_path / "raw/anna/ct", ct(1)[0], series="1.1", order=SHUFFLED)
    write_series(tmp_path / "raw/bert", ct(2)[0], series="1.2", patient="P2")
    write_series(tmp_path / "raw/bert/second", ct(3)[0], series="1.3", patient="P2", description="Late phase/2")
    write_series(tmp_path / "raw/bert/scout", ct(4)[0][:, :, :2], series="1.4", patient="P2")
    (tmp_path / "raw/anna/report.txt").write_text("text")
    done = convert("dicom", tmp_path / "raw", tmp_path / "many")
    assert list(done.dataset.cases) == ["anna", "bert_1_Late-phase-2", "bert_1_axial"]
    assert done.dataset.ids("unlabelled") == list(done.dataset.cases)
    assert done.dataset.description.patients == {"bert_1_Late-phase-2": "bert", "bert_1_axial": "bert"}
    assert done.notes == [
        "1 series of less than 5 slices left out",
        "1 of 3 series are named or numbered in another order than they lie; sorted by position",
    ]
    np.testing.assert_array_equal(done.dataset.read("anna").data[0], ct(1)[0])
    assert list(convert("dicom", tmp_path / "raw/anna/ct", tmp_path / "one").dataset.cases) == ["ct"]


def test_with_labels_whose_axes_run_otherwise(tmp_path):
    """As of dcm2niix and the tools after it: rows from the back to the front."""
    values, label = ct()
    write_series(tmp_path / "raw/anna", values)
    flip = np.diag([-0.8, 0.7, 2.5, 1.0])
    flip[:3, 3] = [10, 20 - 0.7 * 11, 30]
    write_nifti(tmp_path / "labels/anna.nii.gz", label[:, ::-1], flip)
    settings = {"labels": str(tmp_path / "labels"), "classes": ["background", "organ"]}
    data = convert("dicom", tmp_path / "raw", tmp_path / "out", settings).dataset
    assert data.class_names == ("background", "organ")
    np.testing.assert_array_equal(data.read_label("anna").data, label)
    assert check_dataset(tmp_path / "out").ok
    write_nifti(tmp_path / "labels/anna.nii.gz", label, np.eye(4))
    with pytest.raises(DataError, match=r"anna\.nii\.gz: lies on another grid than its scan"):
        convert("dicom", tmp_path / "raw", tmp_path / "other", settings)
    write_nifti(tmp_path / "labels/bert.nii.gz", label)
    with pytest.raises(DataError, match=r"bert\.nii\.gz: is a label without a scan; the scans are named anna"):
        convert("dicom", tmp_path / "raw", tmp_path / "other", settings)


def test_a_folder_without_series(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/x.txt").write_text("no dicom")
    with pytest.raises(DataError, match=r"expected DICOM series of 5 slices or more, but found x\.txt"):
        convert("dicom", tmp_path / "raw", tmp_path / "out")
    with pytest.raises(ConfigError, match="classes"):
        convert("dicom", tmp_path / "raw", tmp_path / "out", {"classes": ["one"]})


def test_no_name_of_a_patient_is_taken_over(tmp_path):
    write_series(tmp_path / "raw/p1", ct()[0], patient="SURNAME^FORENAME")
    convert("dicom", tmp_path / "raw", tmp_path / "out")
    import gzip

    for path in (tmp_path / "out").rglob("*.*"):
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        assert b"SURNAME" not in content
