"""Spacing of pictures and TIFF stacks, written by tifffile, Pillow and imageio, against what tifffile and Pillow read."""

import json
import xml.etree.ElementTree as ElementTree

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from fewmask.data.formats.density import millimetres
from fewmask.data.geometry import Geometry
from fewmask.data.image import read_geometry, read_image, read_label, write_image

STACK = np.arange(5 * 6 * 8, dtype=np.uint8).reshape(5, 6, 8)
FLAT = STACK[0]


def known(path):
    """Spacing in mm, or None where it is in pixels; of the header, which must be that of the whole file."""
    header, whole = read_geometry(path), read_image(path).geometry
    assert (header.shape, header.unit, header.spacing) == (whole.shape, whole.unit, whole.spacing)
    if header.unit == "px":
        assert header.spacing == (1.0,) * len(header.shape)
    return header.spacing if header.unit == "mm" else None


def ome_sizes(path):
    """``{"X": (length, unit), ...}`` as an XML reader finds them in the header that tifffile hands out."""
    with tifffile.TiffFile(path) as file:
        pixels = ElementTree.fromstring(file.ome_metadata).find(".//{*}Pixels")
    return {
        axis: (float(pixels.get(f"PhysicalSize{axis}")), pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        for axis in "XYZ"
        if pixels.get(f"PhysicalSize{axis}")
    }


def ome(path, values, sizes, axes="ZYX", **more):
    said = {"axes": axes}
    for axis, (length, unit) in sizes.items():
        said |= {f"PhysicalSize{axis}": length} | ({f"PhysicalSize{axis}Unit": unit} if unit else {})
    tifffile.imwrite(path, values, ome=True, photometric="minisblack", metadata=said, **more)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [(None, 1e-3), ("µm", 1e-3), ("nm", 1e-6), ("mm", 1.0), ("cm", 10.0), ("m", 1e3), ("in", 25.4), ("Å", 1e-7)],
)
def test_ome_units(tmp_path, unit, factor):
    path = tmp_path / "x.ome.tif"
    ome(path, STACK, {"X": (0.5, unit), "Y": (0.25, unit), "Z": (2.0, unit)})
    assert {axis: length for axis, (length, _) in ome_sizes(path).items()} == {"X": 0.5, "Y": 0.25, "Z": 2.0}
    assert known(path) == pytest.approx((0.5 * factor, 0.25 * factor, 2 * factor))


@pytest.mark.parametrize(
    ("axes", "shape"),
    [("YX", (6, 8)), ("CYX", (2, 6, 8)), ("YXS", (6, 8, 3)), ("ZCYX", (5, 2, 6, 8)), ("CZYX", (2, 5, 6, 8))],
)
def test_ome_axes(tmp_path, axes, shape):
    path, values = tmp_path / "x.tif", np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    said = {"axes": axes, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 3}
    tifffile.imwrite(path, values, ome=True, photometric="rgb" if "S" in axes else "minisblack", metadata=said)
    assert known(path) == pytest.approx((0.0005, 0.00025, 0.003) if "Z" in axes else (0.00025, 0.0005))


@pytest.mark.parametrize("unit", ["pixel", "reference frame"])
def test_ome_lengths_that_are_none(tmp_path, unit):
    ome(tmp_path / "x.tif", STACK, dict.fromkeys("XYZ", (2.0, unit)))
    assert known(tmp_path / "x.tif") is None


def test_a_stack_whose_depth_is_not_known_is_in_pixels(tmp_path):
    ome(tmp_path / "x.tif", STACK, {"X": (0.5, "µm"), "Y": (0.5, "µm")})
    assert known(tmp_path / "x.tif") is None


def test_ome_sizes_are_those_of_the_image_not_of_its_thumbnail(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.tif", ome=True) as writer:
        for values, length in ((FLAT[::2, ::2], 1.0), (FLAT, 0.5)):
            said = {"axes": "YX", "PhysicalSizeX": length, "PhysicalSizeY": length}
            writer.write(values, photometric="minisblack", metadata=said)
    assert known(tmp_path / "x.tif") == pytest.approx((0.0005, 0.0005))


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("micron", 1e-3),
        ("um", 1e-3),
        ("\\u00B5m", 1e-3),
        ("mm", 1.0),
        ("cm", 10.0),
        ("inch", 25.4),
        ("nm", 1e-6),
        ("Micron", 1e-3),
    ],
)
def test_imagej_units(tmp_path, unit, factor):
    path = tmp_path / "x.tif"
    tifffile.imwrite(
        path, STACK, imagej=True, resolution=(2, 4), metadata={"axes": "ZYX", "spacing": 3.0, "unit": unit}
    )
    with tifffile.TiffFile(path) as file:
        assert (file.imagej_metadata["spacing"], file.pages[0].resolution) == (3.0, (2.0, 4.0))
    assert known(path) == pytest.approx((0.5 * factor, 0.25 * factor, 3 * factor))


def test_imagej_slices_are_a_unit_apart_unless_it_says_otherwise(tmp_path):
    """As ImageJ itself: it leaves out a spacing of 1."""
    tifffile.imwrite(tmp_path / "x.tif", STACK, imagej=True, resolution=(2, 2), metadata={"axes": "ZYX", "unit": "um"})
    assert known(tmp_path / "x.tif") == pytest.approx((0.0005, 0.0005, 0.001))


@pytest.mark.parametrize("unit", ["pixel", "pixels", "", "furlong"])
def test_imagej_without_a_length(tmp_path, unit):
    said = {"axes": "ZYX", "spacing": 3.0, "unit": unit}
    tifffile.imwrite(tmp_path / "x.tif", STACK, imagej=True, resolution=(2, 2), metadata=said)
    assert known(tmp_path / "x.tif") is None


def test_a_flat_imagej_picture_by_its_unit(tmp_path):
    said = {"unit": "micron"}
    tifffile.imwrite(tmp_path / "x.tif", FLAT, imagej=True, resolution=(0.1, 0.2), metadata=said)
    assert known(tmp_path / "x.tif") == pytest.approx((0.005, 0.010))


@pytest.mark.parametrize("unit", ["INCH", "CENTIMETER"])
@pytest.mark.parametrize("length", [0.00025, 0.0005, 0.002, 0.0065])
def test_a_density_finer_than_print_is_a_microscope_s(tmp_path, unit, length):
    path, inches = tmp_path / "x.tif", {"INCH": 25.4, "CENTIMETER": 10}[unit]
    tifffile.imwrite(path, FLAT, resolution=(inches / length, inches / length / 2), resolutionunit=unit)
    with tifffile.TiffFile(path) as file:
        across, down = (inches / dots for dots in file.pages[0].resolution)
    assert (across, down) == pytest.approx((length, 2 * length), rel=1e-4) or length == 0.0065
    expected = (down, across) if down < 0.01 else None
    assert known(path) == (pytest.approx(expected) if expected else None)


@pytest.mark.parametrize("dots", [1, 72, 96, 100, 144, 150, 200, 254, 300, 350, 400, 600, 1200, 2400, 4800, 9600])
@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg", ".bmp"])
def test_a_density_of_print_or_scanner_is_none(tmp_path, dots, suffix):
    path = tmp_path / f"x{suffix}"
    Picture.fromarray(FLAT).save(path, dpi=(dots, dots))
    with Picture.open(path) as picture:
        assert picture.info["dpi"] == pytest.approx((dots, dots), abs=0.02)
    assert known(path) is None


def test_a_density_without_a_unit_is_none(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", FLAT, resolution=(50800, 50800), resolutionunit="NONE")
    assert known(tmp_path / "x.tif") is None


def test_a_density_says_nothing_of_depth(tmp_path):
    tifffile.imwrite(
        tmp_path / "x.tif", STACK, photometric="minisblack", resolution=(50800, 50800), resolutionunit="INCH"
    )
    assert known(tmp_path / "x.tif") is None


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_a_density_of_a_microscope_in_other_pictures(tmp_path, suffix):
    Picture.fromarray(FLAT).save(tmp_path / f"x{suffix}", dpi=(50800, 25400))
    assert known(tmp_path / f"x{suffix}") == pytest.approx((0.001, 0.0005))


def test_the_file_beside_a_stack_wins(tmp_path):
    ome(tmp_path / "x.tif", STACK, dict.fromkeys("XYZ", (0.5, "µm")))
    (tmp_path / "x.json").write_text(json.dumps({"spacing": [3, 2, 1]}), encoding="utf-8")
    assert known(tmp_path / "x.tif") == (1, 2, 3)


@pytest.mark.parametrize("values", [STACK, FLAT, FLAT.astype(np.float32)])
@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".ome.tif"])
def test_what_is_written_keeps_its_spacing_for_other_readers(tmp_path, values, suffix):
    """Also where the file beside a stack is lost."""
    data, lengths = values.T if values.ndim == 3 else values, (0.0005, 0.25, 3.5)[: values.ndim]
    path = tmp_path / f"x{suffix}"
    write_image(path, data, Geometry.spaced(data.shape, lengths))
    first = path.read_bytes()
    for companion in tmp_path.glob("*.json"):
        companion.unlink()
    assert known(path) == pytest.approx(lengths)
    np.testing.assert_array_equal(tifffile.imread(path), values)
    order = "XYZ" if values.ndim == 3 else "YX"
    assert ome_sizes(path) == {axis: (pytest.approx(length), "mm") for axis, length in zip(order, lengths, strict=True)}
    write_image(path, data, Geometry.spaced(data.shape, lengths), overwrite=False)
    assert path.read_bytes() == first


def test_a_picture_in_pixels_is_written_without_a_spacing(tmp_path):
    write_image(tmp_path / "x.tif", STACK.T, Geometry.plain(STACK.T.shape))
    assert [path.name for path in tmp_path.iterdir()] == ["x.tif"]
    assert known(tmp_path / "x.tif") is None


def test_a_png_keeps_the_length_of_a_microscope_s_pixel(tmp_path):
    write_image(tmp_path / "x.png", FLAT, Geometry.spaced(FLAT.shape, (0.001, 0.0005)))
    with Picture.open(tmp_path / "x.png") as picture:
        assert picture.info["dpi"] == pytest.approx((50800, 25400), rel=1e-4)
    assert known(tmp_path / "x.png") == pytest.approx((0.001, 0.0005), rel=1e-4)


def test_a_mask_that_lost_its_spacing_lies_on_its_picture(tmp_path):
    ome(tmp_path / "scan.tif", FLAT, {"X": (0.5, "µm"), "Y": (0.5, "µm")}, axes="YX")
    Picture.fromarray((FLAT > 3).astype(np.uint8)).save(tmp_path / "mask.png")
    tifffile.imwrite(tmp_path / "narrow.tif", FLAT[:, :-1])
    scan, mask = read_image(tmp_path / "scan.tif").geometry, read_label(tmp_path / "mask.png").geometry
    assert scan.matches(mask) and mask.matches(scan)
    assert not scan.matches(read_geometry(tmp_path / "narrow.tif"))


def test_two_pictures_that_both_know_their_spacing_must_agree(tmp_path):
    for name, length in (("a", 0.5), ("b", 0.8)):
        ome(tmp_path / f"{name}.tif", FLAT, {"X": (length, "µm"), "Y": (length, "µm")}, axes="YX")
    assert not read_geometry(tmp_path / "a.tif").matches(read_geometry(tmp_path / "b.tif"))


@pytest.mark.parametrize("lengths", [(1.0, 1.0, 1.0), (0.7, 0.7, 3.0), (-0.7, -0.7, 5.0)])
def test_a_picture_is_no_slice_of_a_scan(tmp_path, lengths):
    """Of equal sides, shapes alone would let a mask pass that is turned: rows of a PNG are the second axis of a NIfTI."""
    mask = np.zeros((8, 8), np.uint8)
    mask[1:3, 2:7] = 1
    nibabel.save(nibabel.Nifti1Image(mask.T, np.diag([*lengths, 1.0])), tmp_path / "x.nii.gz")
    Picture.fromarray(mask).save(tmp_path / "x.png")
    scan, picture = read_label(tmp_path / "x.nii.gz"), read_label(tmp_path / "x.png")
    assert not np.array_equal(scan.data, picture.data)
    if lengths != (1.0, 1.0, 1.0):  # as before: voxels of one unit at the origin
        assert not scan.geometry.matches(picture.geometry) and not picture.geometry.matches(scan.geometry)


@pytest.mark.parametrize("word", ["\u00b5m", "\u03bcm", "\\u00B5m", "um", "Micron", " microns "])
def test_names_of_a_micrometre(word):
    assert millimetres(word) == 1e-3
