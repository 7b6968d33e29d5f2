"""DICOM files written by pydicom, and what pydicom and SimpleITK read in them."""

import numpy as np
import SimpleITK
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import apply_modality_lut
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

CT, MR, PET = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "4", "128"))
CLASSES = {"CT": CT, "MR": MR, "PT": PET, "NM": "1.2.840.10008.5.1.4.1.1.20", "CR": "1.2.840.10008.5.1.4.1.1.1"}


def image(stored, *, bits=None, high=None, modality="CT", sop=None, z=0.0, number=1, **elements):
    """An image of ``stored`` ``(rows, columns)`` at a height; ``elements`` by keyword, None leaves one out."""
    kept = 8 * stored.itemsize
    values = Dataset()
    values.SOPClassUID = sop or CLASSES[modality]
    values.SOPInstanceUID = f"1.2.3.{number}"
    values.Modality = modality
    values.PatientID, values.PatientName, values.PatientBirthDate = "17", "DOE^JANE", "19700101"
    values.StudyInstanceUID, values.SeriesInstanceUID, values.FrameOfReferenceUID = "1.2.1", "1.2.2", "1.2.4"
    values.SeriesNumber, values.SeriesDescription, values.InstanceNumber = 1, "axial", number
    values.ImagePositionPatient = [-3, -4, z]
    values.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    values.PixelSpacing = [0.7, 0.8]
    values.Rows, values.Columns = stored.shape
    values.SamplesPerPixel, values.PhotometricInterpretation = 1, "MONOCHROME2"
    values.BitsAllocated, values.BitsStored = kept, bits or kept
    values.HighBit = (bits or kept) - 1 if high is None else high
    values.PixelRepresentation = int(stored.dtype.kind == "i")
    for name, value in elements.items():
        if value is None:
            delattr(values, name)
        else:
            setattr(values, name, value)
    data = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    values.add_new(0x7FE00010, "OW" if kept > 8 else "OB", data + b"\0" * (len(data) % 2))
    return values


def write(path, values, syntax=ExplicitVRLittleEndian):
    """A file in any plain transfer syntax."""
    given, values = values, Dataset()
    values.update(given)
    if syntax in (ExplicitVRBigEndian, GE):
        values.PixelData = np.frombuffer(values.PixelData, f"u{values.BitsAllocated // 8}").byteswap().tobytes()
    values.file_meta = FileMetaDataset()
    values.file_meta.TransferSyntaxUID = syntax
    values.file_meta.MediaStorageSOPClassUID = values.get("SOPClassUID", CT)
    values.file_meta.MediaStorageSOPInstanceUID = values.get("SOPInstanceUID", "1.2.3")
    path.parent.mkdir(parents=True, exist_ok=True)
    if syntax == GE:
        values.save_as(path, implicit_vr=True, little_endian=True)
    else:
        values.save_as(path, enforce_file_format=True)


GE = UID("1.2.840.113619.5.2")


def write_bare(path, values):
    """A file without the 132 bytes in front and without what says how it is stored."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values.save_as(path, implicit_vr=True, little_endian=True)


def write_scan(folder, values, *, step=2.0, start=0.0, first=1, name="{:03d}.dcm", **elements):
    """A scan of ``values`` ``(columns, rows, slices)``; an element that is a function is asked for each slice's value."""
    for z in range(values.shape[2]):
        own = {key: value(z) if callable(value) else value for key, value in elements.items()}
        slice_ = image(values[:, :, z].T, z=start + step * z, number=first + z, **own)
        write(folder / name.format(z), slice_)


def by_pydicom(path):
    """What pydicom makes of a file: stored values times slope plus intercept, or through the modality table."""
    values = dcmread(path, force=True)
    if "TransferSyntaxUID" not in values.file_meta:
        values.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return apply_modality_lut(values.pixel_array, values)


def by_simpleitk(path):
    """What SimpleITK makes of a file."""
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path), imageIO="GDCMImageIO"))[0]
