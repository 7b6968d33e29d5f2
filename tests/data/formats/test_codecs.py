"""What is read with imagecodecs, and what is said without it."""

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from fewmask.data.image import read_geometry, read_image, read_label
from fewmask.errors import DataError

CHANNELS = {"rgb": (2, 3), "rgb with alpha": (6, 4), "grey with alpha": (4, 2)}
READ = """
import json, sys
sys.modules["imagecodecs"] = None
from fewmask.data.image import read_image, read_label
from fewmask.errors import DataError
said = {}
for path in sys.argv[1:]:
    for read in (read_image, read_label):
        try:
            said[f"{path} {read.__name__}"] = read(path).data.tolist()
        except DataError as error:
            said[f"{path} {read.__name__}"] = str(error)
print(json.dumps(said))
"""


def deep_png(path, values, colour):
    """A PNG of 16 bits a channel, written chunk by chunk from the standard: Pillow has no writer for it."""

    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    rows, columns, _ = values.shape
    header = columns.to_bytes(4, "big") + rows.to_bytes(4, "big") + bytes([16, colour, 0, 0, 0])
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def deep(samples):
    values = (np.arange(5 * 7 * samples).reshape(5, 7, samples) * 577 % 65536).astype(np.uint16)
    if samples in (2, 4):
        values[..., -1] = 65535
    return values


@pytest.mark.parametrize("kind", CHANNELS)
def test_deep_colour_png_is_read_in_full(tmp_path, kind):
    colour, samples = CHANNELS[kind]
    values, path = deep(samples), tmp_path / "x.png"
    deep_png(path, values, colour)
    with Picture.open(path) as picture:  # the high bytes, which are all that Pillow keeps
        assert np.array_equal(np.asarray(picture.convert("RGB"))[..., 0], values[..., 0] >> 8)
    opaque = values[..., : samples - (samples in (2, 4))]
    assert np.array_equal(read_image(path).data, opaque.transpose(2, 0, 1))
    assert read_geometry(path).shape == (5, 7)
    if samples == 2:
        with pytest.raises(DataError, match="label values"):
            read_label(path)
    if samples in (2, 4):
        values[1, 1, -1] = 7
        deep_png(path, values, colour)
        with pytest.raises(DataError, match="transparent"):
            read_image(path)


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    """What a process says of these files that cannot import imagecodecs."""
    folder = tmp_path_factory.mktemp("without")
    grey, colours = deep(1)[..., 0], deep(3)
    for name, compression in (
        ("lzw", "lzw"),
        ("zlib", "zlib"),
        ("lzma", "lzma"),
        ("packbits", "packbits"),
        ("jxl", "jpegxl"),
    ):
        tifffile.imwrite(folder / f"rgb16-{name}.tif", colours, photometric="rgb", compression=compression)
        tifffile.imwrite(
            folder / f"rgb8-{name}.tif", (colours >> 8).astype(np.uint8), photometric="rgb", compression=compression
        )
        tifffile.imwrite(folder / f"grey16-{name}.tif", grey, photometric="minisblack", compression=compression)
        tifffile.imwrite(
            folder / f"white-{name}.tif",
            (grey >> 8).astype(np.uint8),
            photometric="miniswhite",
            compression=compression,
        )
        tifffile.imwrite(
            folder / f"bool-{name}.tif", grey % 3 == 0, compression=compression if name != "jxl" else "lzw"
        )
    deep_png(folder / "deep.png", colours, 2)
    source = str(Path(__file__).parents[3] / "src")
    made = subprocess.run(
        [sys.executable, "-c", READ, *sorted(str(path) for path in folder.iterdir())], check=True, capture_output=True,
        text=True, env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return {Path(key.split()[0]).name + " " + key.split()[1]: said for key, said in json.loads(made.stdout).items()}


@pytest.mark.parametrize("name", ["lzw", "zlib", "lzma", "packbits", "jxl"])
@pytest.mark.parametrize("kind", ["rgb16", "rgb8", "grey16", "white", "bool"])
def test_without_imagecodecs_nothing_is_lost_in_silence(without, kind, name):
    """What tifffile alone or Pillow decodes in full is read; for the others the package is named."""
    grey, colours = deep(1)[..., 0], deep(3)
    found = without[f"{kind}-{name}.tif read_image"]
    refused = (name == "jxl" and kind != "bool") or (name == "lzw" and kind == "rgb16")
    if refused:
        assert "its compression" in found and found.endswith("; pip install imagecodecs")
        return
    expected = {
        "rgb16": colours.transpose(2, 0, 1),
        "rgb8": (colours >> 8).transpose(2, 0, 1),
        "grey16": grey[None],
        "white": 255 - (grey >> 8)[None],
        "bool": (grey % 3 == 0)[None],
    }[kind]
    assert np.array_equal(found, expected)
    if kind == "bool":
        assert np.array_equal(without[f"{kind}-{name}.tif read_label"], expected[0])


def test_without_imagecodecs_a_deep_png_names_it(without):
    assert (
        "16 bits per channel" in without["deep.png read_image"]
        and "pip install imagecodecs" in without["deep.png read_image"]
    )
