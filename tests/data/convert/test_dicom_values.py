"""Values of DICOM slices, of every way to store them, against pydicom and SimpleITK; written by pydicom and GDCM."""

import numpy as np
import pytest
import SimpleITK
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    RLELossless,
)

from fewmask.data.convert import convert
from fewmask.data.convert.pixels import read_plane
from fewmask.data.convert.slices import read_slice
from fewmask.errors import DataError
from pydicom_files import CLASSES, GE, by_pydicom, by_simpleitk, image, write, write_bare, write_scan

U12 = np.array([[0, 1, 2047, 9], [2048, 4095, 100, 7], [3, 2, 1000, 4094]], np.uint16)
S12 = np.array([[0, 1, 2047, 9], [-2048, -1, 100, 7], [3, -2, -1000, 5]], np.int16)
S16 = np.array([[0, 1, 32767, 9], [-32768, -1, 100, 7], [3, -2, -1000, 5]], np.int16)
U16 = np.array([[0, 1, 65535, 9], [32768, 40000, 100, 7], [3, 2, 1000, 5]], np.uint16)
U8 = np.array([[0, 1, 200, 9], [255, 4, 100, 7], [3, 2, 128, 5]], np.uint8)
S32 = np.array([[0, 1, -70000, 9], [2**31 - 1, -(2**31), 100, 7], [3, 2, 1000, 5]], np.int32)

# What is stored: array, bits, and what its unused bits hold otherwise.
STORED = {
    "unsigned 12 of 16": (U12, 12, U12),
    "unsigned 16": (U16, 16, U16),
    "signed 16": (S16, 16, S16),
    "signed 12 of 16": (S12, 12, S12),
    "signed 12 of 16, bits above unset": (S12, 12, S12 & 0xFFF),
    "unsigned 12 of 16, an overlay above": (U12, 12, U12 | 0x3000),
    "unsigned 8": (U8, 8, U8),
    "signed 8": (S12.astype(np.int8), 8, S12.astype(np.int8)),
    "signed 32": (S32, 32, S32),
    "unsigned 32": (U16.astype(np.uint32) * 3, 32, U16.astype(np.uint32) * 3),
}
SHADES = ["MONOCHROME2", "MONOCHROME1"]


def values_of(path):
    return read_plane(read_slice(path)).T


def seen_by_simpleitk(path, values):
    """SimpleITK's values; of a file of which 0 is white, those of its twin of which it is black."""
    values.PhotometricInterpretation = "MONOCHROME2"
    twin = path.with_name("twin.dcm")
    write(twin, values)
    return by_simpleitk(twin)


@pytest.mark.parametrize("shade", SHADES)
@pytest.mark.parametrize("kind", STORED)
def test_stored_values_whatever_is_shown_white(tmp_path, kind, shade):
    truth, bits, there = STORED[kind]
    values = image(there, bits=bits, PhotometricInterpretation=shade)
    write(tmp_path / "x.dcm", values)
    read = values_of(tmp_path / "x.dcm")
    np.testing.assert_array_equal(read, truth)
    np.testing.assert_array_equal(read, by_pydicom(tmp_path / "x.dcm"))
    np.testing.assert_array_equal(read, seen_by_simpleitk(tmp_path / "x.dcm", values))


SLOPES = [(1, -1024), (0.5, 0), (1, -0.5), (2.345678, -100.25), (0.0001, 0.001), (-1, 4095), (3, -40000), (1e5, 7)]


@pytest.mark.parametrize("shade", SHADES)
@pytest.mark.parametrize(("slope", "intercept"), SLOPES)
@pytest.mark.parametrize("stored", [U12, S12], ids=["unsigned", "signed"])
def test_slopes_and_intercepts(tmp_path, stored, slope, intercept, shade):
    more = {"RescaleSlope": slope, "RescaleIntercept": intercept, "PhotometricInterpretation": shade}
    values = image(stored, bits=12, modality="PT", **more)
    write(tmp_path / "x.dcm", values)
    read = values_of(tmp_path / "x.dcm")
    assert read.dtype.kind == ("i" if float(slope).is_integer() and float(intercept).is_integer() else "f")
    np.testing.assert_allclose(read, stored.astype(float) * slope + intercept, rtol=1e-6)
    np.testing.assert_allclose(read, by_pydicom(tmp_path / "x.dcm"), rtol=1e-6)
    if slope > 0:  # of negative ones SimpleITK mistakes the range
        np.testing.assert_allclose(read, seen_by_simpleitk(tmp_path / "x.dcm", values), rtol=1e-6)


SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, GE]


@pytest.mark.parametrize("shade", SHADES)
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_plain_transfer_syntaxes(tmp_path, syntax, shade):
    values = image(S12, bits=12, PhotometricInterpretation=shade, RescaleIntercept=-1000, RescaleSlope=1)
    write(tmp_path / "x.dcm", values, syntax)
    read = values_of(tmp_path / "x.dcm")
    np.testing.assert_array_equal(read, S12.astype(int) - 1000)
    if shade == "MONOCHROME2":  # SimpleITK can't read signed values of 12 bits of which 0 is white
        np.testing.assert_array_equal(read, by_simpleitk(tmp_path / "x.dcm"))
    if syntax != GE:
        np.testing.assert_array_equal(read, by_pydicom(tmp_path / "x.dcm"))


@pytest.mark.parametrize("shade", SHADES)
@pytest.mark.parametrize("kind", ["unsigned 12 of 16", "signed 16", "signed 12 of 16", "unsigned 8"])
def test_run_lengths(tmp_path, kind, shade):
    truth, bits, there = STORED[kind]
    write(
        tmp_path / "plain.dcm",
        image(there, bits=bits, PhotometricInterpretation=shade, RescaleSlope=2, RescaleIntercept=1),
    )
    packed = dcmread(tmp_path / "plain.dcm")
    packed.compress(RLELossless)
    packed.save_as(tmp_path / "x.dcm")
    read = values_of(tmp_path / "x.dcm")
    np.testing.assert_array_equal(read, truth.astype(int) * 2 + 1)
    np.testing.assert_array_equal(read, by_pydicom(tmp_path / "x.dcm"))


@pytest.mark.parametrize("shade", SHADES)
@pytest.mark.parametrize(
    ("codec", "stored"),
    [("JPEG", U16), ("JPEG", S16), ("JPEG", U8), ("JPEG2000", U16), ("JPEG2000", S16)],
    ids=["JPEG unsigned 16", "JPEG signed 16", "JPEG unsigned 8", "JPEG 2000 unsigned 16", "JPEG 2000 signed 16"],
)
def test_lossless_jpeg(tmp_path, stored, codec, shade):
    """As GDCM writes them; the first is lossless JPEG, which most CT archives hold."""
    stored = np.tile(stored, (16, 16))
    writer = SimpleITK.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.SetUseCompression(True)
    writer.SetCompressor(codec)
    writer.SetFileName(str(tmp_path / "packed.dcm"))
    writer.Execute(SimpleITK.GetImageFromArray(stored[None]))
    packed = dcmread(tmp_path / "packed.dcm")
    values = image(stored, PhotometricInterpretation=shade, RescaleSlope=0.5, RescaleIntercept=-3)
    values.PixelData = packed.PixelData
    values["PixelData"].is_undefined_length = True
    write(tmp_path / "x.dcm", values, packed.file_meta.TransferSyntaxUID)
    assert packed.file_meta.TransferSyntaxUID.name.startswith("JPEG")
    np.testing.assert_array_equal(by_simpleitk(tmp_path / "packed.dcm"), stored)
    np.testing.assert_array_equal(values_of(tmp_path / "x.dcm"), stored.astype(float) * 0.5 - 3)


@pytest.mark.parametrize("shade", SHADES)
def test_without_the_bytes_in_front(tmp_path, shade):
    """And without a word on how it is stored, as old archives keep slices; by name or not."""
    for name in ("x.dcm", "IM0001"):
        write_bare(
            tmp_path / name, image(U12, bits=12, PhotometricInterpretation=shade, RescaleSlope=2, RescaleIntercept=-9)
        )
        np.testing.assert_array_equal(values_of(tmp_path / name), U12.astype(int) * 2 - 9)
    np.testing.assert_array_equal(values_of(tmp_path / "x.dcm"), by_pydicom(tmp_path / "x.dcm"))


@pytest.mark.parametrize("shade", SHADES)
@pytest.mark.parametrize("stored", [U12, S12], ids=["unsigned", "signed"])
def test_a_value_in_the_upper_bits(tmp_path, stored, shade):
    """12 bits up to bit 15: dcmtk shows them rightly, while pydicom and GDCM cut them off at bit 11."""
    shifted = stored.astype(np.int64) << 4
    there = shifted.astype(stored.dtype)
    write(tmp_path / "x.dcm", image(there, bits=12, high=15, PhotometricInterpretation=shade))
    np.testing.assert_array_equal(values_of(tmp_path / "x.dcm"), stored)
    assert (by_pydicom(tmp_path / "x.dcm") != stored).any()


@pytest.mark.parametrize("shade", SHADES)
def test_a_modality_table(tmp_path, shade):
    """SimpleITK reads past it; pydicom looks values up."""
    table = Dataset()
    table.add_new(0x00283002, "US", [6, 0, 16])
    table.ModalityLUTType = "US"
    table.add_new(0x00283006, "US", [1000, 500, 30, 20000, 5, 65535])
    stored = np.array([[0, 1, 2], [3, 4, 5]], np.uint8)
    write(tmp_path / "x.dcm", image(stored, ModalityLUTSequence=[table], PhotometricInterpretation=shade))
    read = values_of(tmp_path / "x.dcm")
    np.testing.assert_array_equal(read, [[1000, 500, 30], [20000, 5, 65535]])
    np.testing.assert_array_equal(read, by_pydicom(tmp_path / "x.dcm"))


def test_padding_keeps_the_value_that_it_has(tmp_path):
    values = image(S16, RescaleSlope=1, RescaleIntercept=-1024)
    values.add_new(0x00280120, "SS", -32768)
    write(tmp_path / "x.dcm", values)
    read = values_of(tmp_path / "x.dcm")
    assert read.dtype == np.int32 and read.min() == -32768 - 1024
    np.testing.assert_array_equal(read, by_simpleitk(tmp_path / "x.dcm"))


def test_a_slope_of_nothing(tmp_path):
    """PET writes it for an empty slice; over values it would wipe them out, and SimpleITK takes it for 1."""
    write(tmp_path / "empty.dcm", image(np.zeros((3, 4), np.int16), RescaleSlope=0, RescaleIntercept=5))
    np.testing.assert_array_equal(values_of(tmp_path / "empty.dcm"), np.full((3, 4), 5))
    write(tmp_path / "x.dcm", image(S16, RescaleSlope=0, RescaleIntercept=5))
    with pytest.raises(DataError, match=r"x\.dcm: .*RescaleSlope of 0"):
        values_of(tmp_path / "x.dcm")


def test_a_slope_without_a_value_is_one(tmp_path):
    write(tmp_path / "x.dcm", image(S16, RescaleSlope="", RescaleIntercept=""))
    np.testing.assert_array_equal(values_of(tmp_path / "x.dcm"), S16)


@pytest.mark.parametrize("modality", ["CT", "MR", "PT", "NM"])
def test_scans_of_which_zero_is_white_are_not_inverted(tmp_path, modality):
    """A whole conversion; SimpleITK's mean of the same slices is that of the inverted values."""
    scan = np.random.default_rng(3).integers(0, 2050, (7, 6, 5)).astype(np.uint16)
    write_scan(tmp_path / "raw/p1", scan, bits=12, modality=modality, PhotometricInterpretation="MONOCHROME1")
    done = convert("dicom", tmp_path / "raw", tmp_path / "out")
    np.testing.assert_array_equal(done.dataset.read("p1").data[0], scan)
    seen = [by_simpleitk(path).mean() for path in (tmp_path / "raw/p1").iterdir()]
    np.testing.assert_allclose(np.mean(seen), 4095 - scan.mean())
    (note,) = done.notes
    assert note.startswith("1 scan stored to be shown with 0 as white (MONOCHROME1); values are the measured ones")
    assert note in (tmp_path / "out/conversion.json").read_text()


XRAY = {
    "CR": CLASSES["CR"],
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "MG": "1.2.840.10008.5.1.4.1.1.1.2",
    "XA": "1.2.840.10008.5.1.4.1.1.12.1",
    "RF": "1.2.840.10008.5.1.4.1.1.12.2",
}


@pytest.mark.parametrize("modality", XRAY)
def test_xray_pictures_hold_what_is_shown(tmp_path, modality):
    """In both shades the same values, SimpleITK's; signed ones too, which SimpleITK can't read."""
    sop = XRAY[modality]
    write(tmp_path / "2.dcm", image(U12, bits=12, modality=modality, sop=sop))
    write(
        tmp_path / "1.dcm",
        image(4095 - U12, bits=12, modality=modality, sop=sop, PhotometricInterpretation="MONOCHROME1"),
    )
    for name in ("1.dcm", "2.dcm"):
        np.testing.assert_array_equal(values_of(tmp_path / name), U12)
        np.testing.assert_array_equal(by_simpleitk(tmp_path / name), U12)
    write(tmp_path / "s.dcm", image(S12, bits=12, modality=modality, sop=sop, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(values_of(tmp_path / "s.dcm"), -1 - S12)


def test_what_is_shown_is_said(tmp_path):
    scan = np.random.default_rng(3).integers(0, 2050, (7, 6, 5)).astype(np.uint16)
    more = {"modality": "XA", "sop": XRAY["XA"], "PhotometricInterpretation": "MONOCHROME1"}
    write_scan(tmp_path / "raw/p1", scan, bits=12, **more)
    done = convert("dicom", tmp_path / "raw", tmp_path / "out")
    np.testing.assert_array_equal(done.dataset.read("p1").data[0], 4095 - scan.astype(int))
    assert "1 scan of X-ray pictures in which 0 is white" in done.notes[0]


def test_what_no_reader_here_unpacks_is_named(tmp_path):
    """And the user isn't told to copy an intact file again."""
    values = image(U12)
    write(tmp_path / "raw/x.dcm", values)
    values = dcmread(tmp_path / "raw/x.dcm")
    values.PixelData = encapsulate([values.PixelData])
    write(tmp_path / "raw/x.dcm", values, HTJ2KLossless)
    with pytest.raises(DataError, match=r"High-Throughput JPEG 2000.*which is not read; decompress it") as error:
        convert("dicom", tmp_path / "raw", tmp_path / "out", {"min_slices": 1})
    assert "again" not in str(error.value)


def test_values_that_no_file_of_ours_holds(tmp_path):
    """Unsigned 32 bits up to their end: refused, not wrapped to negative numbers."""
    scan = np.full((4, 3, 5), 4_000_000_000, np.uint32)
    write_scan(tmp_path / "raw/p1", scan)
    assert (by_simpleitk(tmp_path / "raw/p1/000.dcm") == 4_000_000_000).all()
    with pytest.raises(DataError, match="values up to 4000000000 do not fit into 32 bits"):
        convert("dicom", tmp_path / "raw", tmp_path / "out")


def test_slices_with_slopes_of_their_own(tmp_path):
    """As in PET; SimpleITK's series reader takes the first slice's type for all and cuts fractions."""
    scan = np.random.default_rng(4).integers(0, 30000, (6, 5, 7)).astype(np.int16)
    write_scan(
        tmp_path / "raw/p1", scan, modality="PT", RescaleSlope=lambda z: 1 if z == 0 else 0.37 * z, RescaleIntercept=0
    )
    done = convert("dicom", tmp_path / "raw", tmp_path / "out")
    truth = scan * np.array([1, *(0.37 * np.arange(1, 7))])
    np.testing.assert_allclose(done.dataset.read("p1").data[0], truth, rtol=1e-6)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(tmp_path / f"raw/p1/{z:03d}.dcm") for z in range(7)])
    assert np.abs(SimpleITK.GetArrayFromImage(reader.Execute()).T - truth).max() > 0.5
