"""Files of every format: what is written is read back, and what is broken says so."""

import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as Picture
from scipy.spatial.transform import Rotation

from fewmask.data.image import (
    SUFFIXES,
    Geometry,
    read_channels,
    read_geometry,
    read_image,
    read_label,
    suffix_of,
    write_image,
)
from fewmask.errors import DataError, WriteError

VOLUMES = [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"]
BITMAPS = [".png", ".bmp", ".tif", ".tiff"]
TURN = np.array([[0.6, -0.8, 0, 11.5], [0.8, 0.6, 0, -7.25], [0, 0, 1, 3], [0, 0, 0, 1]])
OBLIQUE = TURN @ np.diag([0.7, 0.9, 2.5, 1])
SKEWED = OBLIQUE @ np.array([[1, 0, 0.2, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def volume(shape=(5, 6, 7), seed=0):
    return np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint8)


@pytest.mark.parametrize("affine", [OBLIQUE, SKEWED], ids=["oblique", "skewed"])
@pytest.mark.parametrize("suffix", VOLUMES)
def test_volume_round_trip(tmp_path, suffix, affine):
    path, values = tmp_path / f"a.b c é{suffix}", volume()
    write_image(path, values, Geometry(values.shape, affine))
    label, image = read_label(path), read_image(path)
    assert label.data.dtype == np.uint8 and np.array_equal(label.data, values)
    assert image.data.dtype == np.float32 and np.array_equal(image.data, values[None])
    for geometry in (label.geometry, image.geometry, read_geometry(path)):
        assert geometry.shape == values.shape
        np.testing.assert_allclose(geometry.affine, affine, atol=2e-6)
    assert sorted(file.suffix for file in tmp_path.iterdir()) == sorted(
        {path.suffix} | ({".zraw"} if suffix == ".mhd" else set())
    )


@pytest.mark.parametrize("suffix", [*VOLUMES, ".tif"])
def test_float_maps_keep_their_values(tmp_path, suffix):
    values = np.random.default_rng(1).normal(size=(4, 5, 6))
    write_image(tmp_path / f"m{suffix}", values, Geometry.plain(values.shape))
    assert np.array_equal(read_image(tmp_path / f"m{suffix}").data[0], values.astype(np.float32))


@pytest.mark.parametrize("suffix", [*VOLUMES, ".tif"])
@settings(max_examples=12)
@given(
    values=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5)),
    degrees=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.1, 10)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    mirrored=st.booleans(),
    whole=st.booleans(),
)
def test_any_volume_round_trips(tmp_path_factory, suffix, values, degrees, spacing, origin, mirrored, whole):
    """Every value and the place of every voxel; a single slice comes back as 2D."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("zyx", degrees, degrees=True).as_matrix() * spacing
    affine[:3, 0] *= -1 if mirrored else 1
    affine[:3, 3] = origin
    if suffix == ".tif":  # a stack knows its spacing only, and axes of one pixel are not told apart
        affine, values = np.diag([*spacing, 1.0]), np.pad(values, 1)
    values = values if whole else (values / np.float32(7)).astype(np.float32) - 9
    path = tmp_path_factory.mktemp("file") / f"scan{suffix}"
    write_image(path, values, Geometry(values.shape, affine))
    image = read_image(path)
    if 1 in values.shape:  # the last such axis is the one across the slice
        across = 2 - values.shape[::-1].index(1)
        values = values.take(0, axis=across)
        affine = affine[:, [*(axis for axis in range(3) if axis != across), across, 3]]
    assert np.array_equal(image.data[0], values)
    assert image.geometry.shape == image.data.shape[1:] == read_geometry(path).shape
    np.testing.assert_allclose(image.geometry.affine, affine, atol=1e-4)
    if whole:
        assert np.array_equal(read_label(path).data, image.data[0])


@pytest.mark.parametrize("suffix", BITMAPS)
@settings(max_examples=12)
@given(values=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_any_bitmap_round_trips(tmp_path_factory, suffix, values):
    path = tmp_path_factory.mktemp("file") / f"picture{suffix}"
    write_image(path, values, Geometry.plain(values.shape))
    assert np.array_equal(read_label(path).data, values) and read_label(path).data.dtype == np.uint8
    assert np.array_equal(read_image(path).data[0], values)


@pytest.mark.parametrize("suffix", [*BITMAPS, ".nii.gz", ".mha"])
def test_2d_round_trip(tmp_path, suffix):
    values, path = volume((5, 9)), tmp_path / f"p{suffix}"
    write_image(path, values, Geometry.plain(values.shape))
    label = read_label(path)
    assert np.array_equal(label.data, values) and label.geometry.shape == (5, 9) == read_geometry(path).shape
    assert label.geometry.spacing == (1.0, 1.0)


def test_tiff_stack_round_trip(tmp_path):
    values, path = volume((5, 6, 7)), tmp_path / "stack.tiff"
    write_image(path, values, Geometry(values.shape, np.diag([0.5, 0.75, 3, 1])))
    assert (tmp_path / "stack.json").read_text() == '{"spacing": [3.0, 0.75, 0.5]}'
    assert read_label(path).geometry.spacing == (0.5, 0.75, 3.0) == read_geometry(path).spacing
    assert tifffile.imread(path).shape == (7, 6, 5)
    assert np.array_equal(read_label(path).data, values) and read_geometry(path).shape == (5, 6, 7)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_lps_becomes_ras(tmp_path, suffix):
    scan = SimpleITK.GetImageFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    scan.SetSpacing((0.5, 1.5, 3.0))
    scan.SetOrigin((10, 20, 30))
    SimpleITK.WriteImage(scan, str(tmp_path / f"s{suffix}"))
    image = read_image(tmp_path / f"s{suffix}")
    assert image.data.shape == (1, 4, 3, 2) and image.data[0, 1, 2, 1] == 12 + 2 * 4 + 1
    assert np.array_equal(image.geometry.affine, [[-0.5, 0, 0, -10], [0, -1.5, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1]])


@pytest.mark.parametrize("suffix", VOLUMES)
def test_nifti_and_itk_agree_on_space(tmp_path, suffix):
    """The same physical point in both readers: SimpleITK reads what we wrote and says where a voxel lies, in LPS."""
    values = volume()
    write_image(tmp_path / f"x{suffix}", values, Geometry(values.shape, OBLIQUE))
    point = SimpleITK.ReadImage(str(tmp_path / f"x{suffix}")).TransformIndexToPhysicalPoint((1, 2, 3))
    np.testing.assert_allclose(np.array(point) * [-1, -1, 1], (OBLIQUE @ [1, 2, 3, 1])[:3], atol=1e-5)


def test_nifti_header_carries_over(tmp_path):
    original = nibabel.Nifti1Image(volume().astype(np.int16), SKEWED)
    original.header.set_sform(SKEWED, 4)
    original.header.set_qform(OBLIQUE, 2)
    original.header.set_xyzt_units("mm", "sec")
    original.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"name of a patient"))
    nibabel.save(original, tmp_path / "scan.nii.gz")
    scan = read_image(tmp_path / "scan.nii.gz")
    write_image(tmp_path / "out.nii.gz", volume(seed=1), scan.geometry, like=scan.path)
    before, after = nibabel.load(scan.path), nibabel.load(tmp_path / "out.nii.gz")
    for field in (
        "sform_code",
        "qform_code",
        "srow_x",
        "srow_y",
        "srow_z",
        "quatern_b",
        "qoffset_x",
        "pixdim",
        "xyzt_units",
    ):
        assert np.array_equal(before.header[field], after.header[field]), field
    assert after.get_data_dtype() == np.uint8 and not after.header.extensions
    assert np.array_equal(read_label(tmp_path / "out.nii.gz").data, volume(seed=1))


def test_itk_header_carries_over_exactly(tmp_path):
    scan = SimpleITK.GetImageFromArray(volume().T.astype(np.float32))
    scan.SetSpacing((1 / 3, 0.1, 0.7))
    scan.SetOrigin((-100.1, 1 / 7, 3))
    scan.SetDirection((0.6, -0.8, 0, 0.8, 0.6, 0, 0, 0, 1))
    SimpleITK.WriteImage(scan, str(tmp_path / "scan.nrrd"))
    write_image(tmp_path / "out.nrrd", volume(), read_geometry(tmp_path / "scan.nrrd"), like=tmp_path / "scan.nrrd")
    before, after = (SimpleITK.ReadImage(str(tmp_path / name)) for name in ("scan.nrrd", "out.nrrd"))
    assert before.GetSpacing() == after.GetSpacing() and before.GetOrigin() == after.GetOrigin()
    assert before.GetDirection() == after.GetDirection()


def test_slope_and_intercept_are_applied(tmp_path):
    file = nibabel.Nifti1Image(volume(), np.eye(4))
    file.header.set_slope_inter(0.5, -1)
    nibabel.save(file, tmp_path / "s.nii.gz")  # nibabel writes the stored values so that slope x stored + inter = value
    stored = nibabel.load(tmp_path / "s.nii.gz").dataobj.get_unscaled()
    header = nibabel.load(tmp_path / "s.nii.gz").dataobj
    expected = stored.astype(np.float64) * header.slope + header.inter
    np.testing.assert_allclose(read_image(tmp_path / "s.nii.gz").data[0], expected, rtol=1e-6)


def test_channels_of_a_4d_nifti_and_of_rgb_voxels(tmp_path):
    values = np.random.default_rng(0).normal(size=(4, 5, 6, 3)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "four.nii.gz")
    assert np.array_equal(read_image(tmp_path / "four.nii.gz").data, values.transpose(3, 0, 1, 2))
    colours = np.zeros((4, 5, 6), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    colours["G"] = 7
    nibabel.save(nibabel.Nifti1Image(colours, np.eye(4)), tmp_path / "rgb.nii.gz")
    assert read_image(tmp_path / "rgb.nii.gz").data.mean(axis=(1, 2, 3)).tolist() == [0, 7, 0]
    with pytest.raises(DataError, match="3 differing channels"):
        read_label(tmp_path / "four.nii.gz")


def test_channels_of_several_files_are_stacked_on_one_grid(tmp_path):
    paths, grid = [tmp_path / f"a_{channel:04d}.nii.gz" for channel in range(3)], Geometry((5, 6, 7), OBLIQUE)
    for seed, path in enumerate(paths):
        write_image(path, volume(seed=seed), grid)
    scan = read_channels(paths)
    assert scan.path == paths[0] and np.array_equal(scan.data, np.stack([volume(seed=seed) for seed in range(3)]))
    moved = OBLIQUE.copy()
    moved[0, 3] += 4
    write_image(paths[2], volume(), Geometry(grid.shape, moved))
    with pytest.raises(
        DataError,
        match=r"a_0002.* than a_0000\.nii\.gz \(the origin is 4 mm off \(4, 0, 0\); voxels up to 4 mm apart\)",
    ):
        read_channels(paths)


def test_rgb_alpha_palette_and_cmyk(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    Picture.fromarray(rgb).save(tmp_path / "rgb.png")
    assert np.array_equal(read_image(tmp_path / "rgb.png").data, rgb.transpose(2, 0, 1))
    alpha = np.dstack([rgb, np.full((4, 5), 255, np.uint8)])
    Picture.fromarray(alpha).save(tmp_path / "opaque.png")
    assert np.array_equal(read_image(tmp_path / "opaque.png").data, rgb.transpose(2, 0, 1))
    alpha[0, 0, 3] = 9
    Picture.fromarray(alpha).save(tmp_path / "clear.png")
    with pytest.raises(DataError, match=r"clear\.png: has transparent pixels"):
        read_image(tmp_path / "clear.png")
    palette = Picture.fromarray(np.array([[0, 1], [2, 1]], np.uint8), mode="L").convert("P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "palette.png")
    assert read_label(tmp_path / "palette.png").data.tolist() == [[0, 1], [2, 1]]
    assert read_image(tmp_path / "palette.png").data[:, 0, 1].tolist() == [255, 0, 0]
    Picture.new("CMYK", (5, 4), (0, 0, 0, 0)).save(tmp_path / "ink.tif")
    assert read_image(tmp_path / "ink.tif").data.shape == (3, 4, 5)
    assert read_image(tmp_path / "ink.tif").data.min() == 255
    with pytest.raises(DataError, match="class numbers"):
        read_label(tmp_path / "rgb.png")


def test_a_grey_label_that_was_saved_as_rgb_is_read(tmp_path):
    Picture.fromarray(np.repeat(volume((4, 5))[..., None], 3, axis=2)).save(tmp_path / "l.png")
    assert np.array_equal(read_label(tmp_path / "l.png").data, volume((4, 5)))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_is_kept(tmp_path, suffix):
    values = np.array([[0, 1, 40000], [65535, 256, 3]], np.uint16)
    Picture.fromarray(values).save(tmp_path / f"deep{suffix}")
    assert read_image(tmp_path / f"deep{suffix}").data.tolist() == [values.tolist()]


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_16_bit_rgb_tiff_and_planes(tmp_path, compression):
    values = np.random.default_rng(0).integers(0, 65536, (4, 5, 3)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "c.tif", values, photometric="rgb", compression=compression)
    assert np.array_equal(read_image(tmp_path / "c.tif").data, values.transpose(2, 0, 1))
    planes = values.transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "p.tif", planes, photometric="rgb", planarconfig="separate", compression=compression)
    assert np.array_equal(read_image(tmp_path / "p.tif").data, planes)


def test_lzw_tiff_stack_is_read_by_pillow(tmp_path):
    pages = [Picture.fromarray(volume((4, 5), seed)) for seed in range(3)]
    pages[0].save(tmp_path / "z.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    expected = np.stack([volume((4, 5), seed).T for seed in range(3)], axis=-1)
    assert np.array_equal(read_label(tmp_path / "z.tif").data, expected)
    assert read_geometry(tmp_path / "z.tif").shape == (5, 4, 3)


def test_deep_colour_png_is_refused(tmp_path):
    Picture.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "d.png")
    data = bytearray((tmp_path / "d.png").read_bytes())
    data[24] = 16
    (tmp_path / "d.png").write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"d\.png"):
        read_image(tmp_path / "d.png")


def test_exif_orientation_is_not_applied(tmp_path):
    exif = Picture.Exif()
    exif[0x0112] = 6
    Picture.fromarray(np.zeros((4, 9, 3), np.uint8)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").data.shape == (3, 4, 9)
    assert read_geometry(tmp_path / "turned.jpg").shape == (4, 9)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("damage", ["empty", "truncated", "wrong magic", "missing"])
def test_damaged_files_say_which_and_what_to_do(tmp_path, suffix, damage):
    path, three = tmp_path / f"case{suffix}", suffix in VOLUMES
    values = volume((40, 41, 12) if three else (90, 91))
    if suffix in (".jpg", ".jpeg"):
        Picture.fromarray(values).save(path)
    else:
        write_image(path, values, Geometry.plain(values.shape))
    victim = path.with_suffix(".zraw") if suffix == ".mhd" else path
    whole = victim.read_bytes()
    changed = {"empty": b"", "truncated": whole[: len(whole) // 2], "wrong magic": b"<html>not an image</html>" * 40}
    if damage == "missing":
        victim.unlink()
    else:
        victim.write_bytes(changed[damage])
    for read in (read_image, read_label):
        with pytest.raises(DataError, match=f"case\\{suffix}: .*;"):
            read(path)


@pytest.mark.parametrize("values", [[0.5], [-1], [256], [np.nan], [np.inf]])
def test_labels_must_be_small_whole_numbers(tmp_path, values):
    data = np.zeros((3, 3, 3), np.float32)
    data[1, 1, 1] = values[0]
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / "l.nii.gz")
    assert read_image(tmp_path / "l.nii.gz").data.shape == (1, 3, 3, 3)
    with pytest.raises(DataError, match=r"l\.nii\.gz: holds label values"):
        read_label(tmp_path / "l.nii.gz")


def test_whole_numbers_in_floats_are_labels(tmp_path):
    nibabel.save(nibabel.Nifti1Image(volume().astype(np.float64), np.eye(4)), tmp_path / "l.nii")
    assert np.array_equal(read_label(tmp_path / "l.nii").data, volume())


def test_what_a_format_cannot_hold_is_refused(tmp_path):
    plain = Geometry.plain((4, 4))
    with pytest.raises(DataError, match="JPEG"):
        write_image(tmp_path / "x.jpg", np.zeros((4, 4), np.uint8), plain)
    with pytest.raises(DataError, match="2D labels only"):
        write_image(tmp_path / "x.png", np.zeros((4, 4), np.float32), plain)
    with pytest.raises(DataError, match="0 to 255"):
        write_image(tmp_path / "x.png", np.full((4, 4), 256), plain)
    with pytest.raises(DataError, match="own geometry"):
        write_image(tmp_path / "x.png", np.zeros((4, 5), np.uint8), plain)
    with pytest.raises(DataError, match="convert it"):
        write_image(tmp_path / "x.dcm", np.zeros((4, 4), np.uint8), plain)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path, geometry = tmp_path / "x.nii.gz", Geometry.plain((5, 6, 7))
    write_image(path, volume(), geometry)

    def fail(image, where):
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nibabel, "save", fail)
    with pytest.raises(WriteError, match=r"x\.nii\.gz: cannot be written, disk full"):
        write_image(path, volume(seed=1), geometry)
    assert np.array_equal(read_label(path).data, volume()) and [file.name for file in tmp_path.iterdir()] == [
        "x.nii.gz"
    ]


def test_suffixes_and_matching():
    assert suffix_of("a/b.C.NII.GZ") == ".nii.gz" and suffix_of("x.tif") == ".tif"
    with pytest.raises(DataError, match=r"\.nii\.gz, "):
        suffix_of("scan.gz")
    grid, half_voxel = Geometry((5, 6, 7), OBLIQUE), OBLIQUE.copy()
    half_voxel[0, 3] += 0.35
    assert grid.matches(Geometry((5, 6, 7), OBLIQUE + 1e-6)) and not grid.matches(Geometry((5, 6, 7), half_voxel))
    assert not grid.matches(Geometry((5, 6, 8), OBLIQUE))
    np.testing.assert_allclose(grid.spacing, (0.7, 0.9, 2.5))


def test_gzip_without_its_end_is_refused(tmp_path):
    """A file whose last block is cut holds all header bytes and most voxels: it must not come back half zero."""
    write_image(
        tmp_path / "x.nii.gz", np.random.default_rng(0).integers(0, 256, (30, 30, 30)), Geometry.plain((30, 30, 30))
    )
    data = gzip.compress(gzip.decompress((tmp_path / "x.nii.gz").read_bytes()))
    (tmp_path / "x.nii.gz").write_bytes(data[:-2000])
    with pytest.raises(DataError, match="truncated"):
        read_image(tmp_path / "x.nii.gz")
