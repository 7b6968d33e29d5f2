"""Which pages and axes of a TIFF are read, against tifffile, Pillow and the arrays that were written."""

import shutil
import subprocess

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture
from PIL import ImageSequence

from fewmask.data.image import read_geometry, read_image, read_label
from fewmask.errors import DataError


def stack(pages, kind="uint8", shape=(6, 9)):
    """Slices ``(pages, rows, columns)`` of which none is another's mirror, turn or copy."""
    values = np.arange(pages * shape[0] * shape[1]).reshape(pages, *shape)
    return (values % 251).astype(kind) if kind != "bool" else values % 7 == 0


def agree(path):
    data = read_image(path).data
    assert data.shape[1:] == read_geometry(path).shape
    return data


def is_volume(path, slices):
    """Whether image and label both are these slices, in order."""
    label = read_label(path)
    assert label.geometry.shape == read_geometry(path).shape
    return np.array_equal(agree(path), slices.T[None]) and np.array_equal(label.data, slices.T)


@pytest.mark.parametrize("pages", [2, 3, 4, 9])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", "bool"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_pages_of_pillow(tmp_path, pages, kind, compression):
    slices = stack(pages, kind)
    first, *others = (Picture.fromarray(one) for one in slices)
    first.save(tmp_path / "x.tif", save_all=True, append_images=others, compression=compression)
    with Picture.open(tmp_path / "x.tif") as picture:
        assert np.array_equal(np.stack([np.asarray(page) for page in ImageSequence.Iterator(picture)]), slices)
    assert is_volume(tmp_path / "x.tif", slices)


@pytest.mark.parametrize("pages", [2, 3, 4, 9])
@pytest.mark.parametrize("metadata", [{}, None])
@pytest.mark.parametrize("big", [False, True])
def test_pages_of_tifffile_one_by_one(tmp_path, pages, metadata, big):
    """Each page is a series of its own to tifffile, whose imread returns the first; Pillow sees all."""
    slices = stack(pages)
    with tifffile.TiffWriter(tmp_path / "x.tif", bigtiff=big) as writer:
        for one in slices:
            writer.write(one, photometric="minisblack", metadata=metadata, compression="zlib")
    with Picture.open(tmp_path / "x.tif") as picture:
        assert picture.n_frames == pages
    assert is_volume(tmp_path / "x.tif", slices)


@pytest.mark.parametrize("writer", ["Pillow", "tifffile", "tifffile, big"])
def test_a_stack_that_was_cut_short(tmp_path, writer):
    """Wherever it was cut: to tifffile, and to Pillow of some, the pages before are all there were."""
    slices, whole = stack(5), tmp_path / "whole.tif"
    if writer == "Pillow":
        first, *others = (Picture.fromarray(one) for one in slices)
        first.save(whole, save_all=True, append_images=others)
    else:
        with tifffile.TiffWriter(whole, bigtiff="big" in writer) as file:
            for one in slices:
                file.write(one, photometric="minisblack", metadata=None, contiguous=False)
    assert is_volume(whole, slices)
    stored, path = whole.read_bytes(), tmp_path / "x.tif"
    with tifffile.TiffFile(whole) as file:
        ends = [page.offset for page in file.pages]
    assert len(ends) == 5
    for size in {*range(60, len(stored) - 60, 7), *ends[1:]}:  # headers, pixels, and what lies between
        path.write_bytes(stored[:size])
        for read in (read_image, read_label):
            with pytest.raises(DataError, match=r"(truncated|damaged).*copy or export it anew"):
                read(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_blocks_of_pages(tmp_path, order):
    slices = stack(8)
    with tifffile.TiffWriter(tmp_path / "x.tif", byteorder=order) as writer:
        for block in (slices[:3], slices[3:6], slices[6:7], slices[7]):
            writer.write(block, photometric="minisblack")
    assert is_volume(tmp_path / "x.tif", slices)


@pytest.mark.parametrize("pages", [3, 4])
@pytest.mark.parametrize("how", ["shaped", "plain", "truncated", "big", "tiled"])
def test_stacks_of_tifffile_at_once(tmp_path, pages, how):
    slices = stack(pages, shape=(16, 32))
    options = {
        "plain": {"metadata": None},
        "truncated": {"truncate": True},
        "big": {"bigtiff": True},
        "tiled": {"tile": (16, 16)},
    }.get(how, {})
    tifffile.imwrite(tmp_path / "x.tif", slices, photometric="minisblack", **options)
    assert is_volume(tmp_path / "x.tif", slices)


@pytest.mark.parametrize("pages", [2, 3, 4])
@pytest.mark.parametrize("big", [False, True])
def test_pages_of_tiffcp(tmp_path, pages, big):
    if shutil.which("tiffcp") is None:
        pytest.skip("tiffcp is not installed")
    slices = stack(pages, "uint16")
    for place, one in enumerate(slices):
        Picture.fromarray(one).save(tmp_path / f"{place}.tif")
    sources = [str(tmp_path / f"{place}.tif") for place in range(pages)]
    subprocess.run(["tiffcp", *(["-8"] if big else []), "-c", "lzw", *sources, str(tmp_path / "x.tif")], check=True)
    assert is_volume(tmp_path / "x.tif", slices)


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_a_stack_in_colours(tmp_path, kind):
    slices = np.stack([stack(4, kind), stack(4, kind) // 2, 250 - stack(4, kind) // 3], axis=-1)
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        for one in slices:
            writer.write(one, photometric="rgb", compression="lzw")
    assert np.array_equal(agree(tmp_path / "x.tif"), slices.transpose(3, 2, 1, 0))


def test_a_stack_of_palette_pages(tmp_path):
    slices = stack(3) % 3
    pictures = [Picture.fromarray(one, mode="P") for one in slices]
    for picture in pictures:
        picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    pictures[0].save(tmp_path / "x.tif", save_all=True, append_images=pictures[1:])
    assert np.array_equal(read_label(tmp_path / "x.tif").data, slices.T)
    assert np.array_equal(agree(tmp_path / "x.tif")[0], (slices == 1).T * 128)


@pytest.mark.parametrize("pages", [1, 3])
@pytest.mark.parametrize("place", ["before", "before, marked", "after", "after, marked", "below"])
def test_thumbnails_are_no_slices(tmp_path, pages, place):
    slices = stack(pages, shape=(32, 48))
    small, marked = slices[0, ::4, ::4], {"subfiletype": 1} if "marked" in place else {}
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        if place.startswith("before"):
            writer.write(small, photometric="minisblack", **marked)
        for one in slices:
            writer.write(one, photometric="minisblack", subifds=1 if place == "below" else None)
            if place == "below":
                writer.write(one[::4, ::4], photometric="minisblack", subfiletype=1)
        if place.startswith("after"):
            writer.write(small, photometric="minisblack", **marked)
    if pages == 1:
        assert np.array_equal(agree(tmp_path / "x.tif")[0], slices[0])
        assert np.array_equal(read_label(tmp_path / "x.tif").data, slices[0])
    else:
        assert is_volume(tmp_path / "x.tif", slices)


@pytest.mark.parametrize("metadata", [{}, None])
def test_smaller_levels_are_no_slices(tmp_path, metadata):
    whole = stack(1, shape=(32, 64))[0]
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        for step in (1, 2, 4):
            writer.write(whole[::step, ::step], photometric="minisblack", metadata=metadata)
    assert np.array_equal(agree(tmp_path / "x.tif")[0], whole)


def test_an_attached_mask_is_no_slice_and_a_page_of_another_type_is_refused(tmp_path):
    slices = stack(3)
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        writer.write(slices[0], photometric="minisblack", metadata=None)
        writer.write(slices[1] > 9, photometric="mask", subfiletype=4, metadata=None)
    assert np.array_equal(agree(tmp_path / "x.tif")[0], slices[0])
    with tifffile.TiffWriter(tmp_path / "y.tif") as writer:
        for one in (slices[0], slices[1].astype(np.uint16), slices[2]):
            writer.write(one, photometric="minisblack", metadata=None)
    with pytest.raises(
        DataError, match=r"y\.tif: is a stack whose page 2 is uint16 grey where the first is uint8 grey"
    ):
        read_image(tmp_path / "y.tif")


@pytest.mark.parametrize("odd", [1, 5, 11])
def test_an_odd_page_of_a_long_stack(tmp_path, odd):
    """tifffile looks at some pages of a long stack only; a thumbnail is passed over, another type refused."""
    slices = stack(12)
    for name, other in (("small", slices[0, ::2, ::3]), ("deep", slices[0].astype(np.uint16))):
        with tifffile.TiffWriter(tmp_path / f"{name}.tif") as writer:
            for place, one in enumerate(slices):
                writer.write(other if place == odd else one, photometric="minisblack", metadata=None)
    assert is_volume(tmp_path / "small.tif", np.delete(slices, odd, axis=0))
    with pytest.raises(DataError, match=rf"is a stack whose page {odd + 1} is uint16 grey"):
        read_image(tmp_path / "deep.tif")


@pytest.mark.parametrize("axes", ["CZYX", "ZCYX", "TCZYX", "TZCYX", "ZCTYX", "CYX", "ZYX", "CTYX", "CZTYX"])
@pytest.mark.parametrize("header", ["ome", "shaped"])
def test_named_axes(tmp_path, axes, header):
    """Channels and depth by their names, whatever the stored order; one time point is none."""
    lengths = {"C": 2, "Z": 5, "T": 1, "Y": 6, "X": 9}
    shape = [lengths[axis] for axis in axes]
    values = (np.arange(np.prod(shape)) % 251).reshape(shape).astype(np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="minisblack", ome=header == "ome", metadata={"axes": axes})
    whole = values.transpose([axes.index(axis) for axis in "TCZYX" if axis in axes])
    whole = whole.reshape(lengths["C"] if "C" in axes else 1, lengths["Z"] if "Z" in axes else 1, 6, 9)
    expected = whole[:, 0] if "Z" not in axes else whole.transpose(0, 3, 2, 1)
    assert np.array_equal(agree(tmp_path / "x.tif"), expected)
    if "C" not in axes:
        assert np.array_equal(read_label(tmp_path / "x.tif").data, expected[0])


@pytest.mark.parametrize("axes", ["ZYX", "CYX", "ZCYX", "TZCYX", "YXS", "ZYXS"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_axes_of_imagej(tmp_path, axes, compression):
    lengths = {"C": 2, "Z": 5, "T": 1, "Y": 6, "X": 9, "S": 3}
    shape = [lengths[axis] for axis in axes]
    values = (np.arange(np.prod(shape)) % 251).reshape(shape).astype(np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", values, imagej=True, metadata={"axes": axes}, compression=compression)
    last = "S" if "S" in axes else "C"
    order = [axes.index(axis) for axis in f"T{last}ZYX" if axis in axes]
    whole = values.transpose(order).reshape(
        lengths[last] if last in axes else 1, lengths["Z"] if "Z" in axes else 1, 6, 9
    )
    assert np.array_equal(agree(tmp_path / "x.tif"), whole.transpose(0, 3, 2, 1) if "Z" in axes else whole[:, 0])


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colours_of_an_ome_stack(tmp_path, planar):
    values = np.arange(4 * 6 * 9 * 3, dtype=np.uint16).reshape(4, 6, 9, 3) * 50
    stored = values if planar == "contig" else values.transpose(0, 3, 1, 2)
    axes = "ZYXS" if planar == "contig" else "ZSYX"
    tifffile.imwrite(
        tmp_path / "x.ome.tif", stored, photometric="rgb", planarconfig=planar, metadata={"axes": axes}, ome=True
    )
    assert np.array_equal(agree(tmp_path / "x.ome.tif"), values.transpose(3, 2, 1, 0))


@pytest.mark.parametrize(
    ("axes", "shape", "said"),
    [
        ("TYX", (12, 6, 9), "holds 12 time points"),
        ("TZYX", (12, 2, 6, 9), "holds 12 time points"),
        ("TCYX", (2, 2, 6, 9), "holds 2 time points"),
        ("HYX", (8, 6, 9), "holds 8 lifetimes"),
        ("AZYX", (5, 2, 6, 9), "holds 5 angles"),
        ("EYX", (4, 6, 9), "holds 4 wavelengths"),
        ("QQYX", (2, 3, 6, 9), "2 x 3 pages and does not say which axis is depth"),
    ],
)
@pytest.mark.parametrize("header", ["ome", "imagej", "shaped"])
def test_what_a_scan_cannot_hold_is_named(tmp_path, axes, shape, said, header):
    if header != "shaped" and not set(axes) <= set("TCZYX"):
        header = "shaped"
    options = {"ome": {"ome": True}, "imagej": {"imagej": True}, "shaped": {}}[header]
    tifffile.imwrite(
        tmp_path / "x.tif", np.zeros(shape, np.uint8), photometric="minisblack", metadata={"axes": axes}, **options
    )
    for read in (read_image, read_label, read_geometry):
        with pytest.raises(DataError, match=rf"x\.tif: .*{said}.*; save"):
            read(tmp_path / "x.tif")


def test_two_named_stacks_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        for _ in range(2):
            writer.write(stack(3), photometric="minisblack", metadata={"axes": "ZYX"})
    with pytest.raises(DataError, match="holds 2 pictures or stacks of one size; save each"):
        read_image(tmp_path / "x.tif")


def test_planes_in_other_files(tmp_path):
    """An OME header that names other files: those of the same folder or none, and no zeros for absent ones."""
    header = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        'DimensionOrder="XYZCT" Type="uint8" SizeX="9" SizeY="6" SizeZ="2" SizeC="1" SizeT="1"><Channel ID="C:0" '
        'SamplesPerPixel="1"/><TiffData IFD="0" FirstZ="0" PlaneCount="1"><UUID FileName="a.ome.tif">urn:uuid:1</UUID>'
        '</TiffData><TiffData IFD="0" FirstZ="1" PlaneCount="1"><UUID FileName="NAME">urn:uuid:2</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    for name in ("b.ome.tif", "../b.ome.tif"):
        text = header.replace("NAME", name)
        tifffile.imwrite(tmp_path / "a.ome.tif", stack(2)[0], description=text, metadata=None)
        with pytest.raises(
            DataError, match=r"a\.ome\.tif: says that planes of it lie in .*b\.ome\.tif; save the whole"
        ):
            read_image(tmp_path / "a.ome.tif")
    tifffile.imwrite(
        tmp_path / "a.ome.tif", stack(2)[0], description=header.replace("NAME", "b.ome.tif"), metadata=None
    )
    tifffile.imwrite(tmp_path / "b.ome.tif", stack(2)[1], metadata=None)
    assert np.array_equal(agree(tmp_path / "a.ome.tif"), stack(2).T[None])


@pytest.mark.parametrize("pages", [3, 4])
@pytest.mark.parametrize("header", ["imagej", "planar"])
def test_a_short_stack_that_is_called_colours_says_who_calls_it_so(tmp_path, header, pages):
    """tifffile's own defaults, and scikit-image's and imageio's: the file cannot be told from one in colours."""
    options = {"imagej": True} if header == "imagej" else {"photometric": "rgb", "planarconfig": "separate"}
    tifffile.imwrite(tmp_path / "x.tif", stack(pages), **options)
    calls = "ImageJ header calls channels" if header == "imagej" else "TIFF header calls colours"
    said = rf"holds {pages} planes that its {calls}; where they are slices, save them as such"
    with pytest.raises(DataError, match=said):
        read_label(tmp_path / "x.tif")
    if header == "planar" and pages == 4:
        with pytest.raises(DataError, match=said):
            read_image(tmp_path / "x.tif")
    else:
        assert np.array_equal(agree(tmp_path / "x.tif"), stack(pages))


@pytest.mark.parametrize("compression", [None, "zlib", "packbits", "lzw"])
def test_a_header_that_claims_more_than_the_file_can_hold(tmp_path, compression):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, stack(1)[0], photometric="minisblack", compression=compression)
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            file.pages.first.tags[name].overwrite(60000)
    for read in (read_image, read_label, read_geometry):
        with pytest.raises(DataError, match=r"x\.tif: "):
            read(path)
