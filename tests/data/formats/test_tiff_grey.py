"""TIFF's greys and depths against tifffile, Pillow and the arrays that were written."""

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from fewmask.data.image import read_geometry, read_image, read_label
from fewmask.errors import DataError

MASK = np.zeros((7, 11), bool)
MASK[1, 2:9] = MASK[2:5, 3] = MASK[6, 0] = True  # like itself in no mirror and no turn
CODECS = [None, "zlib", "lzw", "packbits", "zstd", "lzma"]


def ramp(shape, kind, top=None):
    """Values that all differ where the type has so many, none of them symmetrical."""
    values = np.arange(np.prod(shape), dtype=np.float64).reshape(shape) ** 1.5
    if np.dtype(kind).kind == "f":
        return (values / values.max()).astype(kind)
    info = np.iinfo(kind)
    top = info.max if top is None else top
    low = info.min if info.min < 0 else 0
    return (low + values / values.max() * (top - low) * 0.9).astype(kind)


def agree(path):
    """The image's values; its geometry must say the same shape without reading them."""
    data = read_image(path).data
    assert data.shape[1:] == read_geometry(path).shape
    return data


@pytest.mark.parametrize("compression", CODECS)
@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16", "float32"])
def test_white_is_zero_is_turned_in_an_image(tmp_path, kind, compression):
    values, path = ramp((6, 9), kind), tmp_path / "x.tif"
    tifffile.imwrite(path, values, photometric="miniswhite", compression=compression)
    if kind == "float32":
        expected = 1 - values
    else:
        info = np.iinfo(kind)
        expected = info.max + info.min - values.astype(int)
    found = agree(path)
    assert np.allclose(found, expected[None], rtol=0, atol=1e-6)
    if kind == "uint8":
        with Picture.open(path) as picture:
            assert np.array_equal(found[0], np.asarray(picture))
    assert np.argmax(found) == np.argmin(values)


@pytest.mark.parametrize("compression", CODECS)
@pytest.mark.parametrize("pages", [1, 3])
def test_booleans_of_tifffile_are_kept(tmp_path, compression, pages):
    """tifffile writes True as 1 and calls it black: the number is what its user had."""
    masks = np.stack([np.roll(MASK, page, axis=1) for page in range(pages)])
    tifffile.imwrite(tmp_path / "x.tif", masks if pages > 1 else MASK, compression=compression)
    expected = masks.T if pages > 1 else MASK
    assert np.array_equal(tifffile.imread(tmp_path / "x.tif"), masks if pages > 1 else MASK)
    assert np.array_equal(agree(tmp_path / "x.tif")[0], expected)
    assert np.array_equal(read_label(tmp_path / "x.tif").data, expected)


@pytest.mark.parametrize(
    "compression", [None, "group3", "group4", "tiff_ccitt", "tiff_lzw", "packbits", "tiff_deflate"]
)
def test_pillows_black_and_white_is_kept(tmp_path, compression):
    Picture.fromarray(MASK).save(tmp_path / "x.tif", compression=compression)
    with Picture.open(tmp_path / "x.tif") as picture:
        assert np.array_equal(np.asarray(picture), MASK)
    assert np.array_equal(agree(tmp_path / "x.tif")[0], MASK)
    assert np.array_equal(read_label(tmp_path / "x.tif").data, MASK)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_one_bit_of_other_writers_is_white_on_black(tmp_path, compression):
    """White is 0 in one bit, as fax machines and ImageMagick's Group4 have it: white becomes 1, as in Pillow."""
    tifffile.imwrite(tmp_path / "x.tif", ~MASK, metadata=None, software=False, compression=compression)
    with Picture.open(tmp_path / "x.tif") as picture:
        assert picture.tag_v2[262] == 0
        assert np.array_equal(np.asarray(picture), MASK)
    assert np.array_equal(read_label(tmp_path / "x.tif").data, MASK)
    assert np.array_equal(agree(tmp_path / "x.tif")[0], MASK)


@pytest.mark.parametrize("writer", ["tifffile", "ImageJ"])
@pytest.mark.parametrize("top", [1, 3, 255])
def test_deeper_labels_are_stored_numbers(tmp_path, writer, top):
    """An inverting table changes how ImageJ shows a mask of 0 and 255, not what it counts."""
    values = MASK.astype(np.uint8) * top
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="miniswhite", imagej=writer == "ImageJ")
    assert np.array_equal(tifffile.imread(tmp_path / "x.tif"), values)
    assert np.array_equal(read_label(tmp_path / "x.tif").data, values)


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_labels_of_unknown_writers_are_the_smaller_numbers(tmp_path, kind):
    values, top = MASK.astype(kind) * 2, np.iinfo(kind).max
    for name, stored in (("a", values), ("b", top - values)):
        tifffile.imwrite(tmp_path / f"{name}.tif", stored, photometric="miniswhite", metadata=None, software=False)
        assert np.array_equal(read_label(tmp_path / f"{name}.tif").data, values)
    tifffile.imwrite(
        tmp_path / "c.tif", MASK * np.array(top, kind), photometric="miniswhite", metadata=None, software=False
    )
    with pytest.raises(DataError, match=r"c\.tif: .* 0 is white, .* either way; save it with 0 as black"):
        read_label(tmp_path / "c.tif")


@pytest.mark.parametrize("bits", [2, 4, 12])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_samples_of_odd_bits(tmp_path, bits, photometric):
    """Stored numbers in a label, whatever the compression, and no more than the bits' range turned round in an image."""
    import imagecodecs

    values = ramp((5, 8), "uint16" if bits > 8 else "uint8", top=2**bits - 1)
    packed = imagecodecs.packints_encode(values, bits)
    _odd(tmp_path / "x.tif", packed, values.shape, bits, photometric)
    white = 2**bits - 1
    expected = values if photometric == "minisblack" else white - values.astype(int)
    assert np.array_equal(tifffile.imread(tmp_path / "x.tif"), values)
    assert np.array_equal(agree(tmp_path / "x.tif")[0], expected)
    small = np.minimum(values, 1)
    _odd(tmp_path / "l.tif", imagecodecs.packints_encode(small, bits), values.shape, bits, photometric)
    assert np.array_equal(read_label(tmp_path / "l.tif").data, small)


def _odd(path, packed, shape, bits, photometric):
    """A TIFF written by hand, for tifffile writes whole bytes only."""
    tags = {
        256: shape[1], 257: shape[0], 258: bits, 259: 1, 262: photometric == "minisblack", 273: 8, 277: 1, 278: shape[0],
        279: len(packed),
    }  # fmt: skip
    place = 8 + len(packed) + len(packed) % 2
    entries = b"".join(
        tag.to_bytes(2, "little")
        + (4).to_bytes(2, "little")
        + (1).to_bytes(4, "little")
        + int(value).to_bytes(4, "little")
        for tag, value in tags.items()
    )
    header = b"II*\0" + place.to_bytes(4, "little") + packed + b"\0" * (len(packed) % 2)
    path.write_bytes(header + len(tags).to_bytes(2, "little") + entries + bytes(4))


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize(
    ("compression", "predictor"),
    [(None, False), *((codec, False) for codec in CODECS[1:]), ("lzw", True), ("zlib", True), ("zstd", True)],
)
@pytest.mark.parametrize("kind", ["uint16", "float32"])
def test_colours_keep_their_depth(tmp_path, kind, compression, predictor, planar):
    values, path = ramp((6, 9, 3), kind), tmp_path / "x.tif"
    planes = values.transpose(2, 0, 1)
    stored = values if planar == "contig" else planes
    tifffile.imwrite(
        path, stored, photometric="rgb", planarconfig=planar, compression=compression, predictor=predictor or None
    )
    assert np.array_equal(agree(path), planes.astype(np.float32))


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("samples", [2, 4])
def test_alpha(tmp_path, kind, samples):
    """Opaque alpha is dropped, and what is transparent refused, at every depth."""
    values = ramp((6, 9, samples), kind)
    values[..., -1] = 1 if kind == "float32" else np.iinfo(kind).max
    name = "rgb" if samples == 4 else "minisblack"
    options = {"photometric": name, "extrasamples": ["unassalpha"], "planarconfig": "contig", "compression": "lzw"}
    tifffile.imwrite(tmp_path / "x.tif", values, **options)
    assert np.array_equal(agree(tmp_path / "x.tif"), values[..., :-1].transpose(2, 0, 1))
    values[0, 0, -1] = 0
    tifffile.imwrite(tmp_path / "x.tif", values, **options)
    with pytest.raises(DataError, match="transparent"):
        read_image(tmp_path / "x.tif")


def test_samples_that_are_no_alpha_are_channels(tmp_path):
    values = ramp((6, 9, 4), "uint16")
    tifffile.imwrite(
        tmp_path / "x.tif", values, photometric="minisblack", extrasamples=["unspecified"] * 3, planarconfig="contig"
    )
    assert np.array_equal(agree(tmp_path / "x.tif"), values.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("mode", "compression"),
    [("CMYK", None), ("CMYK", "tiff_lzw"), ("YCbCr", None), ("YCbCr", "jpeg"), ("RGB", "jpeg"), ("L", "jpeg")],
)
def test_other_colours_are_what_pillow_makes_of_them(tmp_path, mode, compression):
    values = ramp((16, 24, 3), "uint8")
    picture = Picture.fromarray(values if mode != "L" else values[..., 0]).convert(mode)
    picture.save(tmp_path / "x.tif", compression=compression)
    with Picture.open(tmp_path / "x.tif") as opened:
        expected = np.asarray(opened.convert("L" if mode == "L" else "RGB"))
    assert np.array_equal(agree(tmp_path / "x.tif"), expected[None] if mode == "L" else expected.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("photometric", "name", "samples"), [("separated", "CMYK", 4), ("ycbcr", "YCbCr", 3), ("cielab", "Lab", 3)]
)
def test_other_colours_are_not_cut_to_8_bits(tmp_path, photometric, name, samples):
    tifffile.imwrite(tmp_path / "x.tif", ramp((6, 9, samples), "uint16"), photometric=photometric)
    with pytest.raises(DataError, match=rf"x\.tif: its colours are {name} of 16 bits, .* save it as RGB"):
        read_image(tmp_path / "x.tif")
