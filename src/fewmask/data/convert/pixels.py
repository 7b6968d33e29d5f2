"""The voxels of a DICOM slice as the scanner measured them, by one rule for every way of storing them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fewmask.data.convert.header import GE, NATIVE, parse
from fewmask.data.convert.slices import Slice
from fewmask.errors import DataError
from fewmask.temporary import temporary_folder

_RLE = "1.2.840.10008.1.2.5"


def read_plane(each: Slice) -> np.ndarray:
    """Values ``(columns, rows)``: the stored ones times the slope plus the intercept, or as the modality table says.

    Whether 0 is shown black or white changes no value of a measuring image (CT, MR, PET, ...). An X-ray picture in which 0 is
    white is turned, within the range of its stored bits, so that it holds what is shown, like the others of its kind.
    Whole numbers are int16 where they fit, else int32 or int64; others float32.

    Raises:
        DataError: the voxels cannot be read.
    """
    try:
        values = parse(each.path)
        stored = _stored(values)
        if each.white and each.projection:
            stored = _turned(stored, int(values.BitsStored), bool(values.PixelRepresentation))
        plane = _measured(stored, values)
        if plane.shape != each.size[::-1]:
            raise ValueError(f"has {plane.shape[::-1]} voxels where its header says {each.size}")
    except DataError:
        raise
    except Exception as error:  # pydicom and GDCM raise a dozen kinds over damaged voxels
        reason = " ".join(str(error).split())[-120:] or type(error).__name__
        raise DataError(f"{each.path}: has voxels that cannot be read ({reason}); copy or export it again") from error
    return _narrow(plane).T


def _stored(values: Any) -> np.ndarray:
    """Stored values ``(rows, columns)``, signed where they are, without what else lies in unused bits."""
    syntax = _syntax(values)
    if syntax == _RLE:  # GDCM refuses what pydicom writes
        return np.asarray(values.pixel_array)
    if syntax not in NATIVE:
        return _unpacked(values)
    bits, stored, high = int(values.BitsAllocated), int(values.BitsStored), int(values.HighBit)
    if high == stored - 1:
        return np.asarray(values.pixel_array)
    # Neither pydicom nor GDCM looks at the highest bit; the words are read whole, and the value is cut out of them.
    if not 0 < stored <= high + 1 <= bits:
        raise ValueError(f"{stored} bits up to bit {high} of {bits}")
    signed = bool(values.PixelRepresentation)
    values.BitsStored, values.HighBit, values.PixelRepresentation = bits, bits - 1, 0
    words = values.pixel_array.astype(np.int64)
    cut = (words >> (high + 1 - stored)) & ((1 << stored) - 1)
    values.BitsStored, values.PixelRepresentation = stored, int(signed)
    return np.asarray(np.where(cut >> (stored - 1), cut - (1 << stored), cut) if signed else cut)


def _syntax(values: Any) -> str:
    """The transfer syntax; of a file that says none, the plain one that it was read by."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if not hasattr(values, "file_meta"):
        values.file_meta = FileMetaDataset()
    syntax = values.file_meta.get("TransferSyntaxUID")
    if not syntax:
        implicit, little = values.original_encoding
        syntax = (ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian) if little else ExplicitVRBigEndian
        values.file_meta.TransferSyntaxUID = syntax
    elif str(syntax) == GE:  # little endian but for the voxels
        size = int(values.BitsAllocated) // 8
        values.PixelData = np.frombuffer(values.PixelData, f">u{size}").astype(f"<u{size}").tobytes()
        values.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return str(syntax)


def _unpacked(values: Any) -> np.ndarray:
    """Compressed voxels by GDCM, from a copy that says nothing but how they are stored.

    From the file itself GDCM would rescale, and invert MONOCHROME1 or refuse it where it is signed.
    """
    import SimpleITK
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import SecondaryCaptureImageStorage

    bare = Dataset()
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = values.file_meta.TransferSyntaxUID
    bare.SOPClassUID = bare.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    bare.SOPInstanceUID = bare.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    for name in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        setattr(bare, name, values[name].value)
    bare.SamplesPerPixel, bare.PhotometricInterpretation = 1, "MONOCHROME2"
    bare.add(values["PixelData"])
    with temporary_folder(Path(tempfile.gettempdir())) as folder:
        bare.save_as(folder / "slice.dcm", enforce_file_format=True)
        image = SimpleITK.ReadImage(str(folder / "slice.dcm"), imageIO="GDCMImageIO")
    return np.asarray(SimpleITK.GetArrayFromImage(image).reshape(int(values.Rows), int(values.Columns)))


def _turned(stored: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    """Stored values with black and white exchanged."""
    return (-1 if signed else (1 << bits) - 1) - stored.astype(np.int64)


def _measured(stored: np.ndarray, values: Any) -> np.ndarray:
    if values.get("ModalityLUTSequence"):
        from pydicom.pixels import apply_modality_lut

        return np.asarray(apply_modality_lut(stored, values))
    slope, intercept = (
        float(default if values.get(name) in (None, "") else values.get(name))
        for name, default in (("RescaleSlope", 1), ("RescaleIntercept", 0))
    )
    if not np.isfinite([slope, intercept]).all():
        raise ValueError(f"slope {slope}, intercept {intercept}")
    if slope == 0 and stored.min() != stored.max():
        raise ValueError("a RescaleSlope of 0 would make all of them equal")
    if slope.is_integer() and intercept.is_integer():
        small = stored.itemsize <= 2 and abs(slope) < 2**14 and abs(intercept) < 2**30
        return stored.astype(np.int32 if small else np.int64) * int(slope) + int(intercept)
    return stored * slope + intercept


def _narrow(plane: np.ndarray) -> np.ndarray:
    if plane.dtype.kind == "f":
        return plane.astype(np.float32)
    low, high = int(plane.min()), int(plane.max())
    for kind in (np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return plane.astype(kind)
    return plane.astype(np.int64)
