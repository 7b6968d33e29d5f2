"""Palettes against the indices and colours that were written."""

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from fewmask.data.image import read_geometry, read_image, read_label
from fewmask.errors import DataError

INDICES = np.array([[0, 1, 1, 2, 0], [0, 0, 2, 1, 0], [1, 0, 0, 0, 0]], np.uint8)
VOC = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]
RAMP = [(grey, grey, grey) for grey in range(256)]
WHITE_FIRST = [(255, 255, 255), (200, 30, 30), (0, 120, 0)]
NEGATIVE = RAMP[::-1]
TWO = [(255, 255, 255), (0, 0, 0)]
WRITERS = ["png", "bmp", "tif", "tifffile"]


def write(path, indices, colours, writer):
    """A picture of a palette by Pillow, or by tifffile; the path with its ending."""
    if writer == "tifffile":
        table = np.zeros((3, 256), np.uint16)
        table[:, : len(colours)] = np.array(colours).T * 257
        tifffile.imwrite(path.with_suffix(".tif"), indices, photometric="palette", colormap=table, compression="zlib")
        return path.with_suffix(".tif")
    picture = Picture.fromarray(indices, mode="P")
    picture.putpalette([value for colour in colours for value in colour])
    picture.save(path.with_suffix(f".{writer}"))
    return path.with_suffix(f".{writer}")


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("colours", [VOC, RAMP, WHITE_FIRST, NEGATIVE], ids=["voc", "ramp", "white first", "negative"])
def test_a_label_is_indices_and_an_image_colours(tmp_path, colours, writer):
    """Three classes on a negative ramp are 255, 254 and 253: greys that no one means as classes."""
    path = write(tmp_path / "x", INDICES, colours, writer)
    assert np.array_equal(read_label(path).data, INDICES)
    assert read_geometry(path).shape == INDICES.shape
    with Picture.open(path) as picture:
        expected = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    found = read_image(path).data
    assert np.array_equal(found, expected[: len(found)])
    assert np.array_equal(found, np.array(colours)[INDICES].transpose(2, 0, 1)[: len(found)])


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(
    ("indices", "colours", "last"),
    [
        (INDICES > 0, TWO, 1),
        (INDICES, [(255, 255, 255), (128, 128, 128), (0, 0, 0)], 2),
        ((INDICES > 0) * 255, NEGATIVE, 255),
    ],
    ids=["two", "three", "negative"],
)
def test_reversed_greys_are_refused(tmp_path, indices, colours, last, writer):
    path = write(tmp_path / "x", indices.astype(np.uint8), colours, writer)
    said = rf"entry 0 is white and whose entry {last} is black, so that either may be the background; save it as a grey PNG"
    with pytest.raises(DataError, match=said):
        read_label(path)
    assert np.array_equal(read_image(path).data[0], np.array(colours)[indices.astype(int)][..., 0])


def test_one_bit(tmp_path):
    """An empty mask beside masks of the same palette of two is refused like them; one that is not reversed is read."""
    for name, colours in (("a", TWO), ("b", TWO[::-1]), ("c", [(255, 255, 255), (255, 0, 0)])):
        picture = Picture.fromarray(np.zeros((3, 5), np.uint8), mode="P")
        picture.putpalette([value for colour in colours for value in colour])
        picture.save(tmp_path / f"{name}.png", bits=1)
    with pytest.raises(DataError, match="white"):
        read_label(tmp_path / "a.png")
    assert not read_label(tmp_path / "b.png").data.any() and not read_label(tmp_path / "c.png").data.any()


@pytest.mark.parametrize("reversed_", [False, True])
def test_one_bit_tiff_and_bmp(tmp_path, reversed_):
    """Palettes of two entries in the formats that have them, each written byte by byte."""
    mask = np.zeros((3, 8), np.uint8)
    mask[0, 1:4] = mask[2, 7] = 1
    colours = TWO if reversed_ else TWO[::-1]
    rows = np.packbits(mask, axis=1)
    table = b"".join(bytes([b, g, r, 0]) for r, g, b in colours)
    head = (40, 8, 3, 1 | 1 << 16, 0, 12, 2835, 2835, 2, 2)
    body = b"".join(bytes([row[0], 0, 0, 0]) for row in rows[::-1])
    header = b"BM" + (62 + len(body)).to_bytes(4, "little") + bytes(4) + (62).to_bytes(4, "little")
    header += b"".join(int(value).to_bytes(4, "little") for value in head)
    (tmp_path / "x.bmp").write_bytes(header + table + body)
    tags = [
        (256, 3, 1, 8),
        (257, 3, 1, 3),
        (258, 3, 1, 1),
        (259, 3, 1, 1),
        (262, 3, 1, 3),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
    ]
    tags += [(278, 3, 1, 3), (279, 4, 1, 3), (320, 3, 6, 12 + 2 + 12 * 10 + 4)]
    ifd = (10).to_bytes(2, "little") + b"".join(
        tag.to_bytes(2, "little") + kind.to_bytes(2, "little") + n.to_bytes(4, "little") + value.to_bytes(4, "little")
        for tag, kind, n, value in tags
    )
    planes = b"".join((c[plane] * 257).to_bytes(2, "little") for plane in range(3) for c in colours)
    (tmp_path / "x.tif").write_bytes(
        b"II*\0" + (12).to_bytes(4, "little") + rows.tobytes() + b"\0" + ifd + bytes(4) + planes
    )
    for path in (tmp_path / "x.bmp", tmp_path / "x.tif"):
        with Picture.open(path) as picture:
            shown = np.asarray(picture.convert("L"))
        assert np.array_equal(shown, (mask ^ reversed_) * 255), path
        assert np.array_equal(read_image(path).data[0] > 0, shown > 0)
        if reversed_:
            with pytest.raises(DataError, match="either may be the background"):
                read_label(path)
        else:
            assert np.array_equal(read_label(path).data, mask)
