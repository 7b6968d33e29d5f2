"""Valid tiny files of every kind that fewmask reads, each with known contents, and seeded damage to their bytes."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zipfile
from functools import cache

import numpy as np
import yaml

SHAPE = (5, 4, 3)
EXTREMES = (0, 1, -1, 2, 7, 127, 128, 255, 256, 32767, -32768, 65535, 2**31 - 1, -(2**31), 2**32 - 1, 2**62)
FLOATS = (0.0, -1.0, 1e-30, 1e30, 1e300, float("nan"), float("inf"), -float("inf"), 0.5)
WORDS = (
    "",
    "0",
    "-1",
    "99999999999999999999",
    "1e308",
    "nan",
    "../x",
    "null",
    "[]",
    "{}",
    "\0",
    "\x1b[31m",
    "ä",
    "=1",
    ",",
    '"',
)


def volume(dtype=np.int16, shape=SHAPE):
    """Values that differ along every axis."""
    return (np.arange(np.prod(shape)).reshape(shape) * 3 - 20).astype(dtype)


def nifti(dtype=np.int16, endian="<", version=1, packed=False):
    """Written field by field, with a slope, and spacing 1.5 x 2 x 2.5 mm by the sform."""
    codes = {"uint8": (2, 8), "int16": (4, 16), "float32": (16, 32), "float64": (64, 64)}
    code, bits = codes[np.dtype(dtype).name]
    rows = [(1.5, 0, 0, -3), (0, 2, 0, 4), (0, 0, 2.5, 7)]
    slope = (0, 0) if np.dtype(dtype).kind == "f" else (2, 1)
    if version == 1:
        head = struct.pack(endian + "i35xB", 348, 0) + struct.pack(endian + "8h", 3, *SHAPE, 1, 1, 1, 1)
        head += struct.pack(endian + "3f4h", 0, 0, 0, 0, code, bits, 0)
        head += struct.pack(endian + "8f", 1, 1.5, 2, 2.5, 0, 0, 0, 0) + struct.pack(endian + "3f", 352, *slope)
        head += struct.pack(endian + "h2B4f2i", 0, 0, 2, 0, 0, 0, 0, 0, 0) + bytes(104)
        head += struct.pack(endian + "2h6f", 0, 2, 0, 0, 0, 0, 0, 0) + b"".join(
            struct.pack(endian + "4f", *r) for r in rows
        )
        head += bytes(16) + b"n+1\0" + bytes(4)
    else:
        head = struct.pack(endian + "i", 540) + b"n+2\0\r\n\x1a\n" + struct.pack(endian + "2h", code, bits)
        head += struct.pack(endian + "8q", 3, *SHAPE, 1, 1, 1, 1) + struct.pack(endian + "3d", 0, 0, 0)
        head += struct.pack(endian + "8d", 1, 1.5, 2, 2.5, 0, 0, 0, 0) + struct.pack(endian + "q2d", 544, *slope)
        head += (
            struct.pack(endian + "4d2q", 0, 0, 0, 0, 0, 0)
            + bytes(104)
            + struct.pack(endian + "2i6d", 0, 2, 0, 0, 0, 0, 0, 0)
        )
        head += b"".join(struct.pack(endian + "4d", *row) for row in rows)
        head += struct.pack(endian + "3i", 0, 2, 0) + bytes(16) + bytes(1 + 15) + bytes(4)
        head = head[:540] + bytes(4)
    data = head + volume(dtype).astype(np.dtype(dtype).newbyteorder(endian)).tobytes("F")
    return gzip.compress(data, mtime=0) if packed else data


def nrrd(packed=False):
    data = volume().tobytes("F")
    head = f"NRRD0004\ntype: int16\ndimension: 3\nspace: left-posterior-superior\nsizes: {' '.join(map(str, SHAPE))}\n"
    head += "space directions: (1.5,0,0) (0,2,0) (0,0,2.5)\nkinds: domain domain domain\nendian: little\n"
    head += f"encoding: {'gzip' if packed else 'raw'}\nspace origin: (3,-4,7)\n\n"
    return head.encode() + (gzip.compress(data, mtime=0) if packed else data)


def mha():
    head = "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
    head += (
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 3 -4 7\nCenterOfRotation = 0 0 0\nElementSpacing = 1.5 2 2.5\n"
    )
    head += f"DimSize = {' '.join(map(str, SHAPE))}\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    return head.encode() + volume().tobytes("F")


def picture(ending, mode="L"):
    from PIL import Image

    values = volume(np.uint8, (7, 9)) if mode in ("L", "P") else volume(np.uint8, (7, 9, 3))
    image = Image.fromarray(volume(np.uint16, (7, 9)) * 100 if mode == "I;16" else values)
    if mode == "P":
        image.putpalette([channel for level in range(256) for channel in (level, 255 - level, 7)])
    stream = io.BytesIO()
    image.save(stream, format={"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending.upper()))
    return stream.getvalue()


def tiff(**options):
    import tifffile

    values = options.pop("values", volume(np.uint16, (7, 9)))
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, **{"photometric": "minisblack", **options})
    return stream.getvalue()


def packed_folder(kind):
    """A data set as `convert h5` takes it would need h5py: `convert folder` of pictures does without."""
    parts = {f"set/images/a{n}.png": picture("png") for n in range(2)} | {
        f"set/masks/a{n}.png": mask(n) for n in range(2)
    }
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in parts.items():
                archive.writestr(zipfile.ZipInfo(name), content)
    else:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for name, content in parts.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(stream.getvalue(), mtime=0) if kind == "tgz" else stream.getvalue()


def mask(number):
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(((np.arange(63).reshape(7, 9) + number) % 5 == 0).astype(np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


def hdf5():
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w", track_order=False) as file:
        file.create_dataset("image", data=volume(np.float32))
        file.create_dataset("label", data=(volume() % 2).astype(np.uint8))
    return stream.getvalue()


def slice_of_dicom(folder):
    from dicom import write_slice

    write_slice(
        folder / "slice.dcm", volume(np.int16, (6, 5)), (0, 0, 0), spacing=(1.5, 2.0), slope=2.0, intercept=-3.0
    )
    return (folder / "slice.dcm").read_bytes()


def array():
    stream = io.BytesIO()
    np.save(stream, volume(np.float32))
    return stream.getvalue()


def weights():
    import torch
    from safetensors.torch import save

    return save({"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}, metadata={"channels": "1"})


DATASET = {
    "channel_names": {"0": "CT", "1": "PET"},
    "labels": {"background": 0, "tumour": 1, "organ": 2},
    "numTraining": 3,
    "file_ending": ".nii.gz",
    "name": "Seeds",
    "patients": {"a": "anna", "b": "anna"},
}
SPLITS = {"splits": {"mine": {"labelled": ["a"], "validation": ["b"], "unlabelled": ["c"], "test": [], "how": "drawn"}}}
CONFIG = {"sampling": {"patch_size": [32, 32]}, "train": {"iterations": 4, "lr": 0.01}, "method": {"name": "ua-mt"}}
METRICS = "iteration,phase,lr,loss,seconds\n10,train,0.01,0.5,1.5\n20,train,0.005,0.25,3\n"

FILES = {
    "a.nii": nifti,
    "b.nii": lambda: nifti(np.float32, ">"),
    "c.nii": lambda: nifti(np.float64),
    "d.nii": lambda: nifti(np.uint8, version=2),
    "e.nii.gz": lambda: nifti(packed=True),
    "a.nrrd": nrrd,
    "b.nrrd": lambda: nrrd(packed=True),
    "a.mha": mha,
    "a.png": lambda: picture("png"),
    "b.png": lambda: picture("png", "RGB"),
    "c.png": lambda: picture("png", "P"),
    "d.png": lambda: picture("png", "I;16"),
    "a.bmp": lambda: picture("bmp"),
    "b.bmp": lambda: picture("bmp", "RGB"),
    "a.jpg": lambda: picture("jpg"),
    "a.tif": tiff,
    "b.tif": lambda: tiff(compression="zlib"),
    "c.tif": lambda: tiff(
        values=volume(np.uint8, (5, 7, 9)), imagej=True, resolution=(2, 2), metadata={"axes": "ZYX", "spacing": 3.0}
    ),
    "d.tif": lambda: tiff(values=volume(np.uint8, (7, 9, 3)), photometric="rgb"),
    "e.tif": lambda: tiff(bigtiff=True, values=volume(np.float32, (7, 9))),
    "f.tif": lambda: tiff(values=volume(np.uint8, (5, 7, 9)), ome=True, metadata={"axes": "ZYX"}),
    "slice.dcm": None,  # needs a folder to be written in
    "a.zip": lambda: packed_folder("zip"),
    "a.tar": lambda: packed_folder("tar"),
    "a.tgz": lambda: packed_folder("tgz"),
    "case.h5": hdf5,
    "dataset.json": lambda: json.dumps(DATASET).encode(),
    "splits.json": lambda: json.dumps(SPLITS).encode(),
    "config.yaml": lambda: yaml.safe_dump(CONFIG).encode(),
    "metrics.csv": METRICS.encode,
    "image.npy": array,
    "w.safetensors": weights,
}


@cache
def sound(name):
    """The bytes of a valid file."""
    if name == "slice.dcm":
        import tempfile
        from pathlib import Path

        with tempfile.TemporaryDirectory() as folder:
            return slice_of_dicom(Path(folder))
    return FILES[name]()


def damaged(name, rng):
    """A valid file after one to three of: flips, boundary values over a field, cuts, repeats, insertions, other words.

    Most damage is done to the first 600 bytes, where headers are; a packed file is now and then unpacked for it and packed again.
    """
    data = sound(name)
    packed = name.endswith((".gz", ".tgz")) and rng.random() < 0.7
    data = bytearray(gzip.decompress(data) if packed else data)
    for _ in range(int(rng.integers(1, 4))):
        _damage(data, rng)
    return gzip.compress(bytes(data), mtime=0) if packed else bytes(data)


def _damage(data, rng):
    if not data:
        return
    end = min(len(data), 600) if rng.random() < 0.7 else len(data)
    place, kind = int(rng.integers(end)), int(rng.integers(8))
    if kind == 0:
        data[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        data[place] = int(rng.integers(256))
    elif kind == 2:
        size, order = int(rng.choice([1, 2, 4, 8])), "<>"[int(rng.integers(2))]
        value = int(rng.choice(EXTREMES)) % 2 ** (8 * size)
        put(data, place, value.to_bytes(size, "little" if order == "<" else "big"))
    elif kind == 3:
        put(
            data,
            place,
            struct.pack("<>"[int(rng.integers(2))] + "fd"[int(rng.integers(2))], _fitting(float(rng.choice(FLOATS)))),
        )
    elif kind == 4:
        del data[place:]
    elif kind == 5:
        piece = bytes(data[place : place + int(rng.integers(1, 64))])
        data[place:place] = piece
    elif kind == 6:
        del data[place : place + int(rng.integers(1, 32))]
    else:
        word = str(rng.choice(WORDS)).encode()
        data[place : place + len(word)] = word


def _fitting(value):
    return value if abs(value) <= 3e38 or value != value or abs(value) == float("inf") else 3e38


def put(data, place, piece):
    """Over what is there, as far as it goes."""
    data[place : place + len(piece)] = piece[: len(data) - place]
