"""MetaImage headers of other programs, written by hand after the format's description, against metaimageio and SimpleITK."""

import zlib

import numpy as np
import pytest

from fewmask.data.image import read_geometry, read_image, read_label, write_image
from fewmask.errors import DataError
from readers import by_itk, by_metaimageio

VOXELS = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6) - 50  # (x, y, z)
TURN = "0.6 0.8 0 -0.8 0.6 0 0 0 1"


def write(path, values=VOXELS, kind="MET_SHORT", *, packed=None, body=None, **more):
    """A header and its voxels; ``packed``: deflated, with or without a word about its size."""
    content = values.T.tobytes() if values.ndim == 3 else values.transpose(2, 1, 0, 3).tobytes()
    header = {"ObjectType": "Image", "NDims": 3, "BinaryData": "True", "DimSize": " ".join(map(str, values.shape[:3]))}
    header |= {"ElementType": kind, **more}
    if packed is not None:
        content = zlib.compress(content)
        header |= {"CompressedData": "True"} | ({"CompressedDataSize": len(content)} if packed == "sized" else {})
    lines = "".join(f"{key} = {value}\n" for key, value in header.items())
    path.write_bytes(f"{lines}ElementDataFile = LOCAL\n".encode() + (content if body is None else body(content)))
    return path


GRIDS = {
    "spacing": {"ElementSpacing": "0.75 0.5 2.5"},
    "size of elements": {"ElementSize": "0.75 0.5 2.5"},
    "spacing before size": {"ElementSpacing": "0.75 0.5 2.5", "ElementSize": "1 1 1"},
    "offset": {"ElementSpacing": "0.75 0.5 2.5", "Offset": "11.5 -7.25 3"},
    "matrix": {"ElementSpacing": "0.75 0.5 2.5", "Offset": "11.5 -7.25 3", "TransformMatrix": TURN},
    "centre of rotation": {"ElementSpacing": "0.75 0.5 2.5", "Offset": "1 2 3", "TransformMatrix": TURN, "CenterOfRotation": "5 6 7"},
    "orientation in letters": {"ElementSpacing": "0.75 0.5 2.5", "Offset": "1 2 3", "AnatomicalOrientation": "RAS"},
    "nothing": {},
}  # fmt: skip


@pytest.mark.parametrize("grid", GRIDS)
def test_grids(tmp_path, grid):
    """The letters of AnatomicalOrientation and the centre of rotation move nothing: in ITK, too, the matrix says it all."""
    path = write(tmp_path / "scan.mha", **GRIDS[grid])
    scan = read_image(path)
    for values, affine in (by_itk(path), by_metaimageio(path)):
        np.testing.assert_array_equal(scan.data[0], values)
        np.testing.assert_allclose(scan.geometry.affine, affine, atol=1e-6)


@pytest.mark.parametrize(("name", "matrix"), [("Origin", "Rotation"), ("Position", "Orientation")])
def test_older_names_of_offset_and_matrix(tmp_path, name, matrix):
    path = write(tmp_path / "scan.mha", ElementSpacing="0.75 0.5 2.5", **{name: "11.5 -7.25 3", matrix: TURN})
    np.testing.assert_allclose(read_geometry(path).affine, by_itk(path)[1], atol=1e-6)
    assert read_geometry(path).affine[0, 3] == -11.5


KINDS = {
    "CHAR": "i1",
    "UCHAR": "u1",
    "SHORT": "i2",
    "USHORT": "u2",
    "INT": "i4",
    "UINT": "u4",
    "LONG": "i4",
    "LONG_LONG": "i8",
    "ULONG_LONG": "u8",
    "FLOAT": "f4",
    "DOUBLE": "f8",
}


@pytest.mark.parametrize("packed", [None, "sized", "unsized"])
@pytest.mark.parametrize("msb", [False, True], ids=["little", "big"])
@pytest.mark.parametrize("kind", KINDS)
def test_types(tmp_path, kind, msb, packed):
    """Deflated voxels without a word about their size are noise to ITK, whose reader says nothing, and refused by metaimageio."""
    values = (VOXELS % 90).astype((">" if msb else "<") + KINDS[kind])
    path = write(tmp_path / "scan.mha", values, f"MET_{kind}", packed=packed, BinaryDataByteOrderMSB=str(msb))
    np.testing.assert_array_equal(read_image(path).data[0], VOXELS % 90)
    np.testing.assert_array_equal(read_label(path).data, VOXELS % 90)
    if packed != "unsized":
        np.testing.assert_array_equal(by_itk(path)[0], VOXELS % 90)
    if packed != "unsized" and "LONG" not in kind:
        np.testing.assert_array_equal(by_metaimageio(path)[0], VOXELS % 90)


@pytest.mark.parametrize("packed", [None, "sized"])
@pytest.mark.parametrize("kind", ["MET_SHORT", "MET_SHORT_ARRAY"])
def test_channels(tmp_path, kind, packed):
    channels = np.stack([VOXELS, VOXELS + 7, VOXELS - 9], axis=-1)
    path = write(tmp_path / "scan.mha", channels, kind, packed=packed, ElementNumberOfChannels=3)
    np.testing.assert_array_equal(read_image(path).data, np.moveaxis(channels, -1, 0))
    np.testing.assert_array_equal(by_itk(path)[0], channels)


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-9], lambda c: c[:20] + bytes([c[20] ^ 255]) + c[21:], lambda c: c[:-1] + b"\0"]
)
def test_damaged_deflated_voxels_are_refused(tmp_path, damage):
    with pytest.raises(DataError, match=r"scan\.mha: .*(damaged|truncated).* copy or export it anew"):
        read_image(write(tmp_path / "scan.mha", packed="unsized", body=damage))


def test_numbers_of_8_bytes_under_the_name_of_4_are_refused(tmp_path):
    path = write(tmp_path / "scan.mha", VOXELS.astype(np.int64), "MET_LONG")
    with pytest.raises(DataError, match=r"MET_LONG, which has 4 bytes, but holds 8 .* write MET_LONG_LONG"):
        read_image(path)


@pytest.mark.parametrize(("unit", "length"), [("mm", 1), ("um", 1e-3), ("cm", 10), ("?", 1)])
def test_units(tmp_path, unit, length):
    path = write(tmp_path / "scan.mha", ElementSpacing="0.75 0.5 2.5", Offset="1 2 3", DistanceUnits=unit)
    np.testing.assert_allclose(read_geometry(path).affine, np.diag([*[length] * 3, 1.0]) @ by_itk(path)[1], atol=1e-12)
    write_image(tmp_path / "label.mha", (VOXELS % 3).astype(np.uint8), read_geometry(path), like=path)
    assert read_geometry(tmp_path / "label.mha").matches(read_geometry(path), 1e-6)


def test_slopes_are_not_applied(tmp_path):
    """ElementToIntensityFunctionSlope: neither ITK nor metaimageio does."""
    path = write(tmp_path / "scan.mha", ElementToIntensityFunctionSlope=2, ElementToIntensityFunctionOffset=-1000)
    for values, _ in (by_itk(path), by_metaimageio(path)):
        np.testing.assert_array_equal(read_image(path).data[0], values)


@pytest.mark.parametrize("shape", [(4, 5, 1), (1, 4, 5), (4, 1, 5)], ids=str)
def test_single_slices(tmp_path, shape):
    values = np.arange(20, dtype=np.int16).reshape(shape)
    path = write(
        tmp_path / "slice.mha", values, ElementSpacing="0.75 0.5 2.5", Offset="11.5 -7.25 3", TransformMatrix=TURN
    )
    scan, kept = read_image(path), [axis for axis, side in enumerate(shape) if side > 1]
    np.testing.assert_array_equal(scan.data, [values.reshape(4, 5)])
    np.testing.assert_allclose(scan.geometry.affine[:, [0, 1, 3]], by_metaimageio(path)[1][:, [*kept, 3]], atol=1e-9)
    write_image(tmp_path / "label.mha", (scan.data[0] % 3).astype(np.uint8), scan.geometry, like=path)
    there, affine = by_metaimageio(tmp_path / "label.mha")
    assert there.shape == shape and np.array_equal(there, values % 3)
    np.testing.assert_allclose(affine, by_itk(path)[1], atol=1e-9)
