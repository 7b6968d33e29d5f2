#!/usr/bin/env bash
# Versions: pydicom 3.0.2, SimpleITK 2.5.7 (GDCM inside), Python 3.11.
#
# 1. Twelve bits that end at bit 15 (BitsAllocated 16, BitsStored 12, HighBit 15; legal until DICOM 2003).
#    Guess: a reader shifts the words right by HighBit + 1 - BitsStored, as dcmtk 3.6.7 does.
#    Behaviour: neither pydicom nor SimpleITK looks at HighBit; both keep the twelve LOWEST bits, without a warning.
#    Seen: stored 0 1 2047 2048 4095 are read as 0 16 4080 0 4080, by both.
# 2. RescaleSlope 0 (PET writes it for an empty slice).
#    Guess: value = 0 * stored + intercept, as the standard has it.
#    Behaviour: pydicom does so; SimpleITK takes the slope for 1.
#    Seen: stored 0 1 2047 2048 4095 with intercept 5 are 5 5 5 5 5 by pydicom, 5 6 2052 2053 4100 by SimpleITK.
#
# Exits 0 while both behave so, 1 as soon as one behaves otherwise.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 pydicom==3.0.2 simpleitk==2.5.7
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
import SimpleITK
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import apply_modality_lut
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

STORED = np.array([[0, 1, 2047, 2048, 4095]], np.uint16)


def write(path, words, high, **more):
    values = Dataset()
    values.file_meta = FileMetaDataset()
    values.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values.SOPClassUID = values.file_meta.MediaStorageSOPClassUID = CTImageStorage
    values.SOPInstanceUID = values.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    values.Modality, values.PatientID, values.SeriesInstanceUID = "CT", "1", "1.2"
    values.ImagePositionPatient, values.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    values.PixelSpacing, values.SamplesPerPixel, values.PhotometricInterpretation = [1, 1], 1, "MONOCHROME2"
    values.Rows, values.Columns = words.shape
    values.BitsAllocated, values.BitsStored, values.HighBit, values.PixelRepresentation = 16, 12, high, 0
    for name, value in more.items():
        setattr(values, name, value)
    values.add_new(0x7FE00010, "OW", words.astype("<u2").tobytes())
    values.save_as(path, enforce_file_format=True)


def read(path):
    values = dcmread(path)
    image = SimpleITK.ReadImage(str(path), imageIO="GDCMImageIO")
    both = apply_modality_lut(values.pixel_array, values).ravel(), SimpleITK.GetArrayFromImage(image).ravel()
    return [[int(value) for value in each] for each in both]


path = Path(sys.argv[1]) / "slice.dcm"
write(path, STORED << 4, 15)
upper = read(path)
write(path, STORED, 11, RescaleSlope=0, RescaleIntercept=5)
slope = read(path)
print("upper bits: pydicom", *upper[0], "| SimpleITK", *upper[1])
print("slope of 0: pydicom", *slope[0], "| SimpleITK", *slope[1])
cut = [0, 16, 4080, 0, 4080]
sys.exit(0 if upper == [cut, cut] and slope == [[5] * 5, [5, 6, 2052, 2053, 4100]] else 1)
PYTHON
