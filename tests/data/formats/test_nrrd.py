"""NRRD headers of other programs, written by pynrrd, against what pynrrd and SimpleITK read."""

import nrrd
import numpy as np
import pytest
import SimpleITK

from fewmask.data.image import read_geometry, read_image, read_label, write_image
from fewmask.errors import DataError
from readers import LPS, by_itk, by_pynrrd

DIRECTIONS = np.array([[0.6, 0.8, 0], [-0.8, 0.6, 0], [0, 0, 1]]) * np.array([[0.75], [0.5], [2.5]])  # a row an axis
ORIGIN = np.array([11.5, -7.25, 3.0])
VOXELS = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6) - 50


def write(path, values=VOXELS, space="left-posterior-superior", directions=DIRECTIONS, **more):
    """An NRRD of pynrrd's; names of fields with an underscore for the blank."""
    header = {"space": space, "space directions": directions, "space origin": ORIGIN}
    header |= {name.replace("_", " "): value for name, value in more.items()}
    nrrd.write(str(path), values, header)
    return path


@pytest.mark.parametrize("short", [True, False], ids=["short", "long"])
@pytest.mark.parametrize("space", ["left-posterior-superior", "right-anterior-superior", "left-anterior-superior"])
def test_spaces(tmp_path, space, short):
    path = write(
        tmp_path / "scan.nrrd", space="".join(word[0] for word in space.split("-")).upper() if short else space
    )
    scan, (values, affine) = read_image(path), by_itk(path)
    if not short:
        np.testing.assert_allclose(by_pynrrd(path)[1], affine, atol=1e-9)
    np.testing.assert_array_equal(scan.data[0], by_pynrrd(path)[0] if not short else values)
    np.testing.assert_allclose(scan.geometry.affine, affine, atol=1e-9)


def test_skewed_axes_and_no_space_at_all(tmp_path):
    skewed = DIRECTIONS + np.array([[0, 0, 0], [0, 0, 0], [0.3, 0, 0]])
    path = write(tmp_path / "skewed.nrrd", directions=skewed)
    np.testing.assert_allclose(read_geometry(path).affine, by_pynrrd(path)[1], atol=1e-6)
    nrrd.write(str(tmp_path / "plain.nrrd"), VOXELS, {"spacings": [0.75, 0.5, 2.5]})
    np.testing.assert_allclose(read_geometry(tmp_path / "plain.nrrd").affine, by_itk(tmp_path / "plain.nrrd")[1])
    assert read_geometry(tmp_path / "plain.nrrd").spacing == pytest.approx((0.75, 0.5, 2.5))


@pytest.mark.parametrize("kind", ["vector", "list", "RGB-color", "3-vector", "covariant-vector"])
@pytest.mark.parametrize("place", [0, 1, 3])
def test_the_axis_of_channels_wherever_it_is(tmp_path, kind, place):
    channels = np.stack([VOXELS, VOXELS + 7, VOXELS - 9])
    kinds, directions = ["domain"] * 3, list(DIRECTIONS)
    kinds.insert(place, kind)
    directions.insert(place, np.full(3, np.nan))
    path = write(
        tmp_path / "scan.nrrd", np.moveaxis(channels, 0, place).copy(), directions=np.array(directions), kinds=kinds
    )
    scan, (values, affine) = read_image(path), by_pynrrd(path)
    np.testing.assert_array_equal(scan.data, np.moveaxis(values, place, 0))
    np.testing.assert_array_equal(scan.data, channels)
    np.testing.assert_allclose(scan.geometry.affine, affine, atol=1e-9)


UNITS = {"mm": 1, "um": 1e-3, "microns": 1e-3, "m": 1e3, "cm": 10, "millimeter": 1, "": 1, "nm": 1e-6}


@pytest.mark.parametrize("unit", UNITS)
def test_units_of_space(tmp_path, unit):
    """Neither pynrrd nor ITK turns them into millimetres; they hold the numbers, the field the unit."""
    path = write(tmp_path / "scan.nrrd", space_units=[unit] * 3)
    expected = np.diag([*[UNITS[unit]] * 3, 1.0]) @ by_pynrrd(path)[1]
    np.testing.assert_allclose(read_geometry(path).affine, expected, rtol=1e-9, atol=1e-15)
    labels = (VOXELS % 3).astype(np.uint8)
    write_image(tmp_path / "label.nrrd", labels, read_geometry(path), like=path)
    assert read_label(tmp_path / "label.nrrd").geometry.matches(read_geometry(path), 1e-6)
    np.testing.assert_array_equal(by_itk(tmp_path / "label.nrrd")[0], labels)


def test_units_of_axes_and_of_several_kinds(tmp_path):
    nrrd.write(str(tmp_path / "axes.nrrd"), VOXELS, {"spacings": [750.0, 500, 2500], "units": ["um"] * 3})
    assert read_geometry(tmp_path / "axes.nrrd").spacing == pytest.approx((0.75, 0.5, 2.5))
    path = write(tmp_path / "mixed.nrrd", space_units=["mm", "mm", "um"])
    with pytest.raises(DataError, match=r"mixed\.nrrd: has axes of different units \(mm, mm, um\); write millimetres"):
        read_geometry(path)


@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_types(tmp_path, kind, endian):
    values = (VOXELS % 90).astype(kind)
    path = write(tmp_path / "scan.nrrd", values.astype(values.dtype.newbyteorder(endian)), endian=endian)
    np.testing.assert_array_equal(read_image(path).data[0], by_pynrrd(path)[0])
    np.testing.assert_array_equal(read_label(path).data, by_itk(path)[0])


@pytest.mark.parametrize("encoding", ["raw", "gzip", "ascii"])
@pytest.mark.parametrize("detached", [False, True])
def test_encodings(tmp_path, encoding, detached):
    header = {
        "space": "right-anterior-superior",
        "space directions": DIRECTIONS,
        "space origin": ORIGIN,
        "encoding": encoding,
    }
    nrrd.write(str(tmp_path / "scan.nrrd"), VOXELS, header)
    if detached:  # pynrrd would call the header .nhdr
        content = (tmp_path / "scan.nrrd").read_bytes()
        head, voxels = content.split(b"\n\n", 1)
        (tmp_path / "scan.raw").write_bytes(voxels)
        (tmp_path / "scan.nrrd").write_bytes(head + b"\ndata file: scan.raw\n\n")
    np.testing.assert_array_equal(read_image(tmp_path / "scan.nrrd").data[0], VOXELS)
    np.testing.assert_array_equal(by_itk(tmp_path / "scan.nrrd")[0], VOXELS)


@pytest.mark.parametrize("shape", [(4, 5, 1), (1, 4, 5), (4, 1, 5)], ids=str)
def test_single_slices(tmp_path, shape):
    values = np.arange(20, dtype=np.int16).reshape(shape)
    path = write(tmp_path / "slice.nrrd", values)
    scan, kept = read_image(path), [axis for axis, side in enumerate(shape) if side > 1]
    np.testing.assert_array_equal(scan.data, [values.reshape(4, 5)])
    np.testing.assert_allclose(scan.geometry.spacing, np.array([0.75, 0.5, 2.5])[kept])
    np.testing.assert_allclose(scan.geometry.affine[:, [0, 1, 3]], by_itk(path)[1][:, [*kept, 3]])
    write_image(tmp_path / "label.nrrd", (scan.data[0] % 3).astype(np.uint8), scan.geometry, like=path)
    there, affine = by_itk(tmp_path / "label.nrrd")
    assert there.shape == shape and np.array_equal(there, values % 3)
    np.testing.assert_allclose(affine, by_itk(path)[1], atol=1e-9)
    assert read_image(path, dims=3).data.shape == (1, *shape)


def test_what_slicer_writes_of_a_2d_image(tmp_path):
    image = SimpleITK.GetImageFromArray(np.arange(20, dtype=np.uint8).reshape(5, 4))
    image.SetSpacing((0.5, 0.75))
    SimpleITK.WriteImage(image, str(tmp_path / "flat.nrrd"))
    scan = read_image(tmp_path / "flat.nrrd")
    np.testing.assert_array_equal(scan.data[0], nrrd.read(str(tmp_path / "flat.nrrd"))[0])
    assert scan.geometry.spacing == (0.5, 0.75) and np.allclose(scan.geometry.affine, LPS @ np.diag([0.5, 0.75, 1, 1]))
