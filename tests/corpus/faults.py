"""Ways to break a file: each returns a function of the folder or the path that it breaks."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
import zlib

import nibabel
import numpy as np

SHAPE = (20, 18, 14)
AFFINE = np.diag([1.0, 1.0, 1.5, 1.0])


def at(name, *faults):
    """Faults of a path, one after the other, applied to ``name`` in the folder."""

    def fault(place):
        for one in faults:
            one(place / name)

    return fault


def both(*faults):
    """Several faults of the folder."""
    return lambda place: [fault(place) for fault in faults]


def nothing(path):
    """No fault: the command line is the fault."""


def written(content):
    """The file holds this text or these bytes."""

    def fault(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return fault


def cut(size):
    """Only the first bytes are left; a negative number leaves out the last."""
    return lambda path: path.write_bytes(path.read_bytes()[:size])


def flipped(position):
    """One byte is not what it was."""

    def fault(path):
        content = bytearray(path.read_bytes())
        content[position] ^= 0xFF
        path.write_bytes(content)

    return fault


def gone(path):
    """The file or folder is not there."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def folder(path):
    """A folder lies where a file should."""
    if path.exists():
        gone(path)
    path.mkdir(parents=True)


def link_to(target):
    """A link of this name leads to ``target``."""

    def fault(path):
        if path.exists():
            gone(path)
        path.symlink_to(target)

    return fault


def entries(**changes):
    """Entries of a JSON file changed; None removes one."""

    def fault(path):
        values = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))

    return fault


def noise(shape=SHAPE, dtype=np.float32):
    """Numbers from 0 to 99."""
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def nifti(values, affine=AFFINE, kind=nibabel.Nifti1Image, **header):
    """A NIfTI file of these values; header fields are set after all that nibabel would mend."""

    def fault(path):
        image = kind(values, affine, dtype=values.dtype)  # named, because nibabel asks before it writes int64
        image.to_filename(path)
        if header:
            patch_header(path, image.header, header)

    return fault


def patch_header(path, header, changes):
    """Overwrite fields of a NIfTI header where they lie in the file."""
    packed = path.name.endswith(".gz")
    content = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    for name, value in changes.items():
        kind, offset = header.structarr.dtype.fields[name][:2]
        raw = np.array(value, dtype=kind.base).tobytes() if kind.shape else np.array(value, dtype=kind).tobytes()
        content[offset : offset + len(raw)] = raw
    path.write_bytes(gzip.compress(bytes(content)) if packed else bytes(content))


def with_voxel(value, dtype=np.float32):
    """The scan with one voxel of this value."""
    values = noise(dtype=dtype)
    values[3, 3, 3] = value
    return nifti(values)


def png_chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width, height, pixels=b"", depth=8, colour=0):
    """A PNG of any claim: its header says one thing, ``pixels`` another."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(pixels)) + png_chunk(b"IEND", b"")


def picture(values, mode=None, **options):
    """A bitmap of these values in Pillow's ``mode``."""

    def fault(path):
        from PIL import Image

        made = Image.fromarray(values)
        (made if mode is None else made.convert(mode)).save(path, **options)

    return fault


def nrrd(sizes="20 18 14", kind="uint8", more="", content=bytes(20 * 18 * 14)):
    """An NRRD file, header and raw voxels."""
    dimension = len(sizes.split())
    more = f"{more}\n" if more else ""
    text = f"NRRD0004\ntype: {kind}\ndimension: {dimension}\nsizes: {sizes}\nencoding: raw\nendian: little\n{more}\n"
    return written(text.encode() + content)


def tiff(values, claims=None, **options):
    """A TIFF file; ``claims`` are the rows and columns that its header says instead of the true ones."""

    def fault(path):
        import tifffile

        tifffile.imwrite(path, values, photometric="minisblack", **options)
        if claims:
            with tifffile.TiffFile(path, mode="r+") as file:
                tags = file.pages.first.tags
                for name, number in zip(("ImageLength", "ImageWidth"), claims, strict=True):
                    tags[name].overwrite(number)

    return fault
