"""NIfTI headers that other programs write, against what SimpleITK and nibabel read."""

import gzip

import nibabel
import numpy as np
import pytest

from fewmask.data.image import read_geometry, read_image, read_label, write_image
from readers import by_itk

TURN = np.array([[0.6, -0.8, 0, 11.5], [0.8, 0.6, 0, -7.25], [0, 0, 1, 3], [0, 0, 0, 1]])
OBLIQUE = TURN @ np.diag([0.75, 0.5, 2.5, 1])
LENGTHS = {"unknown": 1, "mm": 1, "meter": 1000, "micron": 0.001}
VOXELS = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)


def write(
    path, values=VOXELS, affine=OBLIQUE, *, kind=nibabel.Nifti1Image, unit="mm", time=None, codes=(1, 1), qform=None
):
    """A NIfTI of nibabel's; ``codes`` of sform and qform, ``qform``: another affine for it."""
    image = kind(values, affine)
    image.header.set_xyzt_units(unit, time)
    image.set_qform(affine if qform is None else qform, codes[1], update_affine=False)
    image.set_sform(affine, codes[0], update_affine=False)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("codes", [(1, 1), (2, 0), (0, 1)], ids=["both", "sform", "qform"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("unit", LENGTHS)
def test_units_are_those_of_itk(tmp_path, unit, ending, codes):
    path = write(tmp_path / f"scan{ending}", unit=unit, codes=codes)
    scan, (values, affine) = read_image(path), by_itk(path)
    np.testing.assert_array_equal(scan.data[0], values)
    np.testing.assert_allclose(scan.geometry.affine, affine, rtol=1e-5, atol=1e-5 * LENGTHS[unit])
    np.testing.assert_allclose(scan.geometry.spacing, np.array([0.75, 0.5, 2.5]) * LENGTHS[unit], rtol=1e-5)
    np.testing.assert_array_equal(read_geometry(path).affine, scan.geometry.affine)


@pytest.mark.parametrize("unit", LENGTHS)
def test_units_of_nifti_2(tmp_path, unit):
    """SimpleITK 2.5.7 reads no NIfTI-2, so nibabel's affine is scaled by hand."""
    path = write(tmp_path / "scan.nii.gz", kind=nibabel.Nifti2Image, unit=unit)
    expected = np.diag([*[LENGTHS[unit]] * 3, 1.0]) @ nibabel.load(path).affine
    np.testing.assert_allclose(read_geometry(path).affine, expected, rtol=1e-12)


@pytest.mark.parametrize("time", ["sec", "msec", "usec", "hz", "ppm", "rads"])
def test_units_of_time_are_no_lengths(tmp_path, time):
    path = write(tmp_path / "scan.nii", unit="micron", time=time)
    np.testing.assert_allclose(read_geometry(path).affine, by_itk(path)[1], rtol=1e-5, atol=1e-8)


def test_units_of_a_big_endian_file(tmp_path):
    image = nibabel.Nifti1Image(VOXELS, OBLIQUE, nibabel.Nifti1Header(endianness=">"))
    image.header.set_xyzt_units("micron", "sec")
    image.to_filename(tmp_path / "scan.nii")
    scan, (values, affine) = read_image(tmp_path / "scan.nii"), by_itk(tmp_path / "scan.nii")
    np.testing.assert_array_equal(scan.data[0], values)
    np.testing.assert_allclose(scan.geometry.affine, affine, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("unit", LENGTHS)
def test_what_is_written_like_a_scan_keeps_its_unit(tmp_path, unit, kind):
    scan, labels = write(tmp_path / "scan.nii.gz", unit=unit, time="sec", kind=kind), (VOXELS % 3).astype(np.uint8)
    write_image(tmp_path / "label.nii.gz", labels, read_geometry(scan), like=scan)
    there, here = nibabel.load(scan), nibabel.load(tmp_path / "label.nii.gz")
    assert type(here) is kind and here.header["xyzt_units"] == there.header["xyzt_units"]
    np.testing.assert_array_equal(here.affine, there.affine)
    np.testing.assert_array_equal(here.header["pixdim"], there.header["pixdim"])
    np.testing.assert_array_equal(np.asarray(here.dataobj), labels)
    np.testing.assert_array_equal(read_geometry(tmp_path / "label.nii.gz").affine, read_geometry(scan).affine)
    if kind is nibabel.Nifti1Image:
        np.testing.assert_array_equal(by_itk(tmp_path / "label.nii.gz")[1], by_itk(scan)[1])


SHAPES = [(4, 5), (4, 5, 1), (1, 4, 5), (4, 1, 5), (4, 5, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_single_slice_along_any_axis_is_2d_and_keeps_its_shape(tmp_path, shape):
    values = np.arange(20, dtype=np.int16).reshape(shape)
    path = write(tmp_path / "slice.nii.gz", values)
    scan = read_image(path)
    np.testing.assert_array_equal(scan.data, [values.reshape(4, 5)])
    kept = [axis for axis, side in enumerate(shape) if side > 1]
    np.testing.assert_allclose(scan.geometry.spacing, np.array([0.75, 0.5, 2.5])[kept], rtol=1e-6)
    corners = np.zeros((2, 4))  # where the last voxel lies does not depend on how its axes are counted
    corners[0, kept], corners[1, :2], corners[:, 3] = (3, 4), (3, 4), 1
    np.testing.assert_allclose(scan.geometry.affine @ corners[1], nibabel.load(path).affine @ corners[0], rtol=1e-6)
    labels = (values.reshape(4, 5) % 3).astype(np.uint8)
    write_image(tmp_path / "label.nii.gz", labels, scan.geometry, like=path)
    written = nibabel.load(tmp_path / "label.nii.gz")
    assert written.shape == shape[:3] and np.array_equal(np.asarray(written.dataobj).reshape(4, 5), labels)
    np.testing.assert_array_equal(written.affine, nibabel.load(path).affine)
    assert read_label(tmp_path / "label.nii.gz").geometry.matches(scan.geometry, 1e-9)
    if len(shape) == 3:
        there, affine = by_itk(tmp_path / "label.nii.gz")
        np.testing.assert_array_equal(there.reshape(4, 5), labels)
        np.testing.assert_array_equal(affine, by_itk(path)[1])


@pytest.mark.parametrize("shape", SHAPES[:4], ids=str)
def test_a_single_slice_among_volumes_keeps_its_axes(tmp_path, shape):
    values = np.arange(20, dtype=np.int16).reshape(shape)
    path = write(tmp_path / "slice.nii.gz", values)
    scan = read_image(path, dims=3)
    assert scan.data.shape[1:] == scan.geometry.shape == read_geometry(path, dims=3).shape == (*shape, 1)[:3]
    np.testing.assert_allclose(scan.geometry.affine, nibabel.load(path).affine)
    labels = (scan.data[0] % 3).astype(np.uint8)
    write_image(tmp_path / "label.nii.gz", labels, scan.geometry, like=path)
    assert nibabel.load(tmp_path / "label.nii.gz").shape == shape


def test_a_label_may_have_another_of_these_shapes(tmp_path):
    grids = [
        read_geometry(write(tmp_path / f"{n}.nii", np.ones(shape, np.uint8)))
        for n, shape in enumerate(((4, 5), (4, 5, 1)))
    ]
    assert grids[0].matches(grids[1], 1e-9) and grids[1].matches(grids[0], 1e-9)


def moved(x):
    affine = OBLIQUE.copy()
    affine[0, 3] += x
    return affine


@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (1, 2), (4, 1)], ids=str)
def test_sform_or_qform(tmp_path, codes):
    """nibabel takes the sform; ITK the qform where the sform's code is not that of the scanner and both are rigid."""
    path = write(tmp_path / "scan.nii", codes=codes, qform=moved(5))
    np.testing.assert_array_equal(read_geometry(path).affine, nibabel.load(path).affine)
    np.testing.assert_allclose(read_geometry(path).affine, OBLIQUE, atol=1e-5)
    np.testing.assert_allclose(read_geometry(path, by="qform").affine, moved(5), atol=1e-5)
    np.testing.assert_allclose(by_itk(path)[1], OBLIQUE if codes[0] == 1 else moved(5), atol=1e-5)


@pytest.mark.parametrize("by", ["header", "qform"])
def test_what_is_written_like_a_scan_keeps_both_codes(tmp_path, by):
    path = write(tmp_path / "scan.nii", codes=(2, 1), qform=moved(5))
    write_image(tmp_path / "label.nii", (VOXELS % 3).astype(np.uint8), read_geometry(path, by=by), like=path)
    there, here = nibabel.load(path).header, nibabel.load(tmp_path / "label.nii").header
    for get in ("get_sform", "get_qform"):
        (affine, code), (expected, wanted) = getattr(here, get)(coded=True), getattr(there, get)(coded=True)
        assert code == wanted and np.array_equal(affine, expected)
    np.testing.assert_array_equal(by_itk(tmp_path / "label.nii")[1], by_itk(path)[1])


def test_neither_code_is_as_nibabel_has_it(tmp_path):
    """ITK puts the first voxel at the origin with axes to left, back and up; nibabel the middle, with the first axis to the left."""
    path = write(tmp_path / "scan.nii")
    content = bytearray(path.read_bytes())
    content[252:256] = bytes(4)  # nibabel itself would not leave both codes at 0
    path.write_bytes(content)
    np.testing.assert_array_equal(read_geometry(path).affine, nibabel.load(path).affine)
    np.testing.assert_allclose(by_itk(path)[1], np.diag([-0.75, -0.5, 2.5, 1]), atol=1e-6)


@pytest.mark.parametrize("slope", [(2, -1024), (0.5, 0), (0, 0), (0, 7)], ids=str)
@pytest.mark.parametrize("kind", ["u1", "i2", "u2", ">i2"])
def test_slopes_are_those_of_itk(tmp_path, kind, slope):
    image = nibabel.Nifti1Image(
        VOXELS.astype(kind), OBLIQUE, nibabel.Nifti1Header(endianness=">" if kind[0] == ">" else "<")
    )
    image.to_filename(tmp_path / "scan.nii")
    content = bytearray((tmp_path / "scan.nii").read_bytes())
    content[112:120] = np.array(slope, ">f4" if kind[0] == ">" else "<f4").tobytes()  # scl_slope and scl_inter
    (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(bytes(content)))
    found, (values, _) = read_image(tmp_path / "scan.nii.gz").data[0], by_itk(tmp_path / "scan.nii.gz")
    np.testing.assert_array_equal(found, nibabel.load(tmp_path / "scan.nii.gz").get_fdata())
    # The standard says that a slope of 0 scales nothing; ITK takes it as 1 and still adds the intercept.
    np.testing.assert_array_equal(found, values - 7 if slope == (0, 7) else values)


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", ">i8", ">f8"])
def test_labels_of_any_type(tmp_path, kind):
    labels = (VOXELS % 100).astype(kind)
    image = nibabel.Nifti1Image(labels, OBLIQUE, nibabel.Nifti1Header(endianness=">" if kind[0] == ">" else "<"))
    image.header.set_data_dtype(labels.dtype)
    image.to_filename(tmp_path / "label.nii")
    np.testing.assert_array_equal(read_label(tmp_path / "label.nii").data, VOXELS % 100)
    np.testing.assert_array_equal(by_itk(tmp_path / "label.nii")[0], VOXELS % 100)
