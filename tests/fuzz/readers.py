"""Damaged files through fewmask's own readers, and the same bytes through readers that share no code with them.

A file is either refused with one of fewmask's errors, or taken. What is taken is compared: NIfTI, MetaImage and NRRD with readers of a
few lines below, that follow the formats' texts, and so is BMP; PNG and TIFF with ITK's own readers (libpng, libtiff; fewmask has Pillow and
tifffile); JSON and safetensors with Python's own. Where the other reader refuses, or the
file uses something that it does not know, nothing is said of the values; nor of JPEG's, which has no checksums, so that every decoder
makes up something of its own for damaged bits.
"""

from __future__ import annotations

import gzip
import json
import math
import struct
import warnings
import zlib

import numpy as np

from fewmask.errors import FewmaskError


class UnknownError(Exception):
    """The other reader does not read such a file."""


def judge(path, scratch):
    """What fewmask makes of a file: ``refused``, ``same`` as another reader, ``alone``, or a sentence that says what is wrong."""
    name = path.name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            values = READERS[name.partition(".")[2] if name not in READERS else name](path, scratch)
        except FewmaskError as error:
            text = str(error)
            return "refused" if text and "\n" not in text else f"more than one line: {text!r}"
        if values is None:
            return "alone"
        try:
            other = OTHERS.get(path.suffix if name not in OTHERS else name, unknown)(path)
        except Exception:
            return "alone"
        try:
            return difference(values, other) or "same"
        except UnknownError:
            return "alone"


def difference(mine, other):
    """What differs between two ``(values (C, *S), spacing)`` or two plain values, in words; none where nothing does."""
    if not isinstance(mine, tuple):
        return None if mine == other else f"differs: {mine!r} here, {other!r} elsewhere"
    (values, spacing), (others, lengths) = mine, other
    values, others = comparable(values, others)
    if values.shape != others.shape:
        return f"differs: shape {values.shape} here, {others.shape} elsewhere"
    with np.errstate(all="ignore"):
        same = np.allclose(values, others.astype(np.float32), rtol=1e-5, atol=1e-6, equal_nan=True)
    if not same:
        return f"differs: values {values.ravel()[:4]} here, {others.ravel()[:4]} elsewhere"
    if lengths is not None and not np.allclose(spacing, lengths, rtol=1e-4):
        return f"differs: spacing {spacing} here, {lengths} elsewhere"
    return None


def comparable(values, others):
    """ITK reads a palette of greys as colours, and of a stack no more pages than one leads to the next."""
    if values.ndim == 3 and {len(values), len(others)} == {1, 3}:
        return np.broadcast_to(values, (3, *values.shape[1:])), np.broadcast_to(others, (3, *others.shape[1:]))
    if values.ndim == 4 and len(others) > 1:
        raise UnknownError  # a damaged number of samples, which one reader believes and the other does not
    if values.ndim == 4 and others.ndim == 3:
        others = others.transpose(0, 2, 1)[..., None]
    if values.ndim == others.ndim == 4 and others.shape[3] < values.shape[3]:
        values = values[..., : others.shape[3]]
    return values, others


def image(path, scratch):
    from fewmask.data.image import read_geometry, read_image, read_label

    try:
        geometry = read_geometry(path)
    except FewmaskError:
        geometry = None
    read = read_image(path)
    if (
        geometry is None
        or geometry.shape != read.geometry.shape
        or not np.array_equal(geometry.affine, read.geometry.affine)
    ):
        raise AssertionError("the header alone says another grid than the whole file")
    try:
        label = read_label(path).data
    except FewmaskError:
        label = None
    plain = path.name.partition(".")[2] in (
        "nii",
        "nii.gz",
        "nrrd",
        "mha",
    )  # elsewhere a palette may stand between the two
    if label is not None and plain and not np.array_equal(label, read.data[0]):
        raise AssertionError("label and image differ")
    return read.data, read.geometry.spacing


def converted(name, **settings):
    def read(path, scratch):
        from fewmask.data.convert import convert

        made = convert(name, path if path.suffix != ".h5" else path.parent, scratch / "made", settings)
        case = next(iter(made.dataset.cases))
        made.dataset.read(case), made.dataset.read_label(case)

    return read


def series(path, scratch):
    """The slice among sound ones before and behind it."""
    from dicom import write_slice
    from fewmask.data.convert import convert
    from fuzz.seeds import volume

    for number in (-2, -1, 1, 2, 3):
        write_slice(
            path.parent / f"{number + 2}.dcm",
            volume(np.int16, (6, 5)),
            (0, 0, float(number)),
            spacing=(1.5, 2.0),
            slope=2.0,
            intercept=-3.0,
            instance=number + 3,
        )
    made = convert("dicom", path.parent, scratch / "made")
    read = made.dataset.read(next(iter(made.dataset.cases)))
    if read.data.shape[-1] != 6:
        return None  # it was left out
    return np.moveaxis(read.data[0], -1, 0)[2:3].copy() if read.data.ndim == 4 else None


def dataset_json(path, scratch):
    from fewmask.data.description import read_description

    found = read_description(path.parent)
    return [list(found.channel_names), list(found.class_names), found.file_ending, dict(found.patients)]


def splits_json(path, scratch):
    from fewmask.data.dataset import Dataset
    from fewmask.data.description import Description
    from fewmask.data.layout import Case

    cases = {name: Case(name, (path,), path, "train") for name in "abc"}
    split = Dataset(path.parent, Description("x", ("CT",), ("a", "b"), ".nii", ".nii"), cases, []).load_split("mine")
    return [list(split.labelled), list(split.validation), list(split.unlabelled), list(split.test)]


def config(path, scratch):
    from fewmask.config import load_experiment

    load_experiment(path)


def metrics(path, scratch):
    from fewmask.engine.loggers import read_metrics

    read_metrics(path)


def stored(path, scratch):
    """As the store reads it: in the known shape and type, or not at all."""
    from fewmask.data.coded import UNREADABLE
    from fewmask.data.store import _open
    from fewmask.errors import RunError
    from fuzz.seeds import SHAPE

    try:
        return np.array(_open(path, SHAPE, np.float32)), None
    except UNREADABLE as error:  # then it is made anew
        raise RunError(" ".join(str(error).split())) from error


def weights(path, scratch):
    import torch

    from fewmask.inference.weights import load_weights

    module = torch.nn.Linear(3, 2)
    load_weights(path, module)
    return [module.weight.tolist(), module.bias.tolist()]


def unknown(path):
    raise UnknownError


def other_nifti(path):
    """NIfTI-1 and -2 of one file, by the text of the standard; no units, no colour."""
    data = path.read_bytes()
    if path.name.endswith(".gz"):
        data = gzip.decompress(data)
    size = {struct.pack(order + "i", n): (n, order) for n in (348, 540) for order in "<>"}.get(data[:4])
    if size is None:
        raise UnknownError
    kind, order = size
    if kind == 348:
        dims = struct.unpack_from(order + "8h", data, 40)
        (code,) = struct.unpack_from(order + "h", data, 70)
        pixdim = struct.unpack_from(order + "8f", data, 76)
        offset, slope, inter = struct.unpack_from(order + "3f", data, 108)
        (units,) = data[123:124]
        (sform,) = struct.unpack_from(order + "h", data, 254)
        rows = np.array(struct.unpack_from(order + "12f", data, 280)).reshape(3, 4)
    else:
        (code,) = struct.unpack_from(order + "h", data, 12)
        dims = struct.unpack_from(order + "8q", data, 16)
        pixdim = struct.unpack_from(order + "8d", data, 104)
        (offset,) = struct.unpack_from(order + "q", data, 168)
        slope, inter = struct.unpack_from(order + "2d", data, 176)
        (sform,) = struct.unpack_from(order + "i", data, 348)
        rows = np.array(struct.unpack_from(order + "12d", data, 400)).reshape(3, 4)
        (units,) = struct.unpack_from(order + "i", data, 500)
    types = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
    if (
        code not in types
        or not 1 <= dims[0] <= 3
        or units & 7 not in (0, 2)
        or not 1 <= sform <= 5
        or not math.isfinite(offset)
    ):
        raise UnknownError
    shape = tuple(dims[1 : 1 + dims[0]])
    values = np.frombuffer(data, order + types[code], math.prod(shape), int(offset)).reshape(shape, order="F")
    if math.isfinite(slope) and math.isfinite(inter) and slope != 0:
        values = values.astype(np.float64) * slope + inter
    shape = (*shape, 1, 1)[:3]
    shape = shape if shape[2] > 1 else shape[:2]
    lengths = np.linalg.norm(rows[:, :3], axis=0)[: len(shape)]
    del pixdim
    return values.reshape(1, *shape), lengths


_TYPES = {
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_UCHAR": "u1",
    "MET_CHAR": "i1",
    "MET_FLOAT": "f4",
    "int16": "i2",
    "uint8": "u1",
}


def other_meta(path):
    """MetaImage of one file, uncompressed."""
    data = path.read_bytes()
    head, found, voxels = data.partition(b"ElementDataFile = LOCAL\n")
    entries = dict(line.split(" = ", 1) for line in head.decode("latin-1").splitlines())
    if not found or entries["CompressedData"] != "False" or entries["BinaryDataByteOrderMSB"] != "False":
        raise UnknownError
    shape = tuple(int(side) for side in entries["DimSize"].split())
    lengths = [abs(float(length)) for length in entries["ElementSpacing"].split()]
    if int(entries["NDims"]) != len(shape) or {*entries} != {*_META}:
        raise UnknownError
    values = np.frombuffer(voxels, "<" + _TYPES[entries["ElementType"]], math.prod(shape)).reshape(shape, order="F")
    dims = 2 if len(shape) == 3 and shape[2] == 1 else len(shape)
    return values.reshape(1, *shape[:dims]), lengths[:dims]


_META = [
    "ObjectType",
    "NDims",
    "BinaryData",
    "BinaryDataByteOrderMSB",
    "CompressedData",
    "TransformMatrix",
    "Offset",
    "CenterOfRotation",
    "ElementSpacing",
    "DimSize",
    "ElementType",
]


def other_nrrd(path):
    """NRRD of one file, raw or gzip."""
    head, _, voxels = path.read_bytes().partition(b"\n\n")
    entries = dict(line.split(": ", 1) for line in head.decode("latin-1").splitlines()[1:])
    shape = tuple(int(side) for side in entries["sizes"].split())
    if {*entries} != {*_NRRD} or int(entries["dimension"]) != len(shape) or "little" not in entries["endian"]:
        raise UnknownError
    if entries["encoding"] == "gzip":
        voxels = zlib.decompressobj(31).decompress(voxels)
    elif entries["encoding"] != "raw":
        raise UnknownError
    axes = [tuple(map(float, axis.strip("()").split(","))) for axis in entries["space directions"].split()]
    values = np.frombuffer(voxels, "<" + _TYPES[entries["type"]], math.prod(shape)).reshape(shape, order="F")
    dims = 2 if len(shape) == 3 and shape[2] == 1 else len(shape)
    return values.reshape(1, *shape[:dims]), np.linalg.norm(axes, axis=1)[:dims]


_NRRD = ["type", "dimension", "space", "sizes", "space directions", "kinds", "endian", "encoding", "space origin"]


def other_picture(path):
    """ITK's own readers; they know millimetres by other tags than fewmask does, so the spacing is left."""
    import SimpleITK

    endings = {".png": "PNG", ".tif": "TIFF"}
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO(f"{endings[path.suffix]}ImageIO")
    reader.SetFileName(str(path))
    picture = reader.Execute()
    values = SimpleITK.GetArrayFromImage(picture)
    values = np.moveaxis(values, -1, 0) if picture.GetNumberOfComponentsPerPixel() > 1 else values[None]
    if picture.GetDimension() == 3:
        values = values[:, 0] if values.shape[1] == 1 else values.transpose(0, 3, 2, 1)
    return values, None


def other_bitmap(path):
    """BMP of 8 or 24 bits without compression, as the format's text has it; no palette but that of the greys."""
    data = path.read_bytes()
    start, size, width, height, planes, bits, packed = struct.unpack_from("<10xIIiiHHI", data)
    rows = abs(height)
    if (
        (planes, packed, size) != (1, 0, 40)
        or start < 54
        or bits not in (8, 24)
        or not 0 < width < 2**15
        or not 0 < rows < 2**15
    ):
        raise UnknownError
    line = (width * bits // 8 + 3) // 4 * 4
    values = np.frombuffer(data, np.uint8, rows * line, start).reshape(rows, line)[:, : width * bits // 8]
    values = values[::-1] if height > 0 else values
    if bits == 8:
        greys = b"".join(bytes((n, n, n, 0)) for n in range(256))
        if data[54 : 54 + 1024] != greys or start < 54 + 1024:
            raise UnknownError
        return values[None], None
    return values.reshape(rows, width, 3)[..., ::-1].transpose(2, 0, 1), None


def other_dataset(path):
    values = json.loads(path.read_text(encoding="utf-8-sig"))
    channels, labels = values["channel_names"], values["labels"]
    if isinstance(channels, dict):
        channels = [channels[str(number)] for number in range(len(channels))]
    patients = {case: str(patient) for case, patient in values.get("patients", {}).items()}
    return [channels, sorted(labels, key=labels.get), values["file_ending"], patients]


def other_splits(path):
    split = json.loads(path.read_text(encoding="utf-8-sig"))["splits"]["mine"]
    return [split.get(part, []) for part in ("labelled", "validation", "unlabelled", "test")]


def other_weights(path):
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    head, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    found = {}
    for name in ("weight", "bias"):
        kind = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "I32": "<i4", "U32": "<u4", "BF16": None}[head[name]["dtype"]]
        start, stop = head[name]["data_offsets"]
        found[name] = np.frombuffer(body[start:stop], kind).reshape(head[name]["shape"]).astype(np.float32).tolist()
    return [found["weight"], found["bias"]]


def other_array(path):
    data = path.read_bytes()
    return np.frombuffer(data[128:], "<f4").reshape(5, 4, 3), None


SPACING = {"folder": {}, "h5": {"spacing": [1, 1, 1]}}
READERS = {
    **dict.fromkeys(("nii", "nii.gz", "nrrd", "mha", "png", "bmp", "jpg", "tif"), image),
    **dict.fromkeys(("zip", "tar", "tgz"), converted("folder")),
    "h5": converted("h5"),
    "dcm": series,
    "dataset.json": dataset_json,
    "splits.json": splits_json,
    "config.yaml": config,
    "metrics.csv": metrics,
    "npy": stored,
    "safetensors": weights,
}
OTHERS = {
    ".nii": other_nifti,
    ".gz": other_nifti,
    ".mha": other_meta,
    ".nrrd": other_nrrd,
    **dict.fromkeys((".png", ".tif"), other_picture),
    ".bmp": other_bitmap,
    "dataset.json": other_dataset,
    "splits.json": other_splits,
    ".safetensors": other_weights,
    ".npy": other_array,
}
