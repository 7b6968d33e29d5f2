"""DICOM objects that are no images of a patient: named, left out, and no fault of the scan beside them."""

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import UID_dictionary

from fewmask.data.convert import convert
from fewmask.data.convert.slices import OddImageError, Other, read_slice
from fewmask.data.convert.sop import is_image
from fewmask.errors import DataError
from pydicom_files import CT, by_simpleitk, image, write, write_scan

SCAN = np.random.default_rng(5).integers(-1000, 2000, (6, 5, 5)).astype(np.int16)
OTHERS = {
    "Segmentation Storage": "66.4",
    "Surface Segmentation Storage": "66.5",
    "Tractography Results Storage": "66.6",
    "Spatial Registration Storage": "66.1",
    "Deformable Spatial Registration Storage": "66.3",
    "Spatial Fiducials Storage": "66.2",
    "Raw Data Storage": "66",
    "Real World Value Mapping Storage": "67",
    "Parametric Map Storage": "30",
    "RT Dose Storage": "481.2",
    "RT Structure Set Storage": "481.3",
    "RT Plan Storage": "481.5",
    "RT Ion Plan Storage": "481.8",
    "RT Beams Treatment Record Storage": "481.4",
    "Comprehensive SR Storage": "88.33",
    "X-Ray Radiation Dose SR Storage": "88.67",
    "Key Object Selection Document Storage": "88.59",
    "Grayscale Softcopy Presentation State Storage": "11.1",
    "12-lead ECG Waveform Storage": "9.1.1",
    "Encapsulated PDF Storage": "104.1",
    "MR Spectroscopy Storage": "4.2",
}


def uid(end):
    return f"1.2.840.10008.5.1.4.1.1.{end}"


def without_voxels(sop, **elements):
    values = image(np.zeros((2, 2), np.int16), sop=sop, number=90, **elements)
    for name in ("PixelData", "Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(values, name)
    return values


@pytest.mark.parametrize("what", OTHERS)
def test_left_out_by_name_in_the_scans_own_series(tmp_path, what):
    """It shares the scan's folder, patient and even its series identifier."""
    write_scan(tmp_path / "raw/p1", SCAN)
    write(tmp_path / "raw/p1/other.dcm", without_voxels(uid(OTHERS[what])))
    assert dcmread(tmp_path / "raw/p1/other.dcm").SOPClassUID.name == what
    assert read_slice(tmp_path / "raw/p1/other.dcm") == Other(tmp_path / "raw/p1/other.dcm", what)
    done = convert("dicom", tmp_path / "raw", tmp_path / "out")
    np.testing.assert_array_equal(done.dataset.read("p1").data[0], SCAN)
    assert done.notes == [f"no images and left out: 1 {what}, p1/other.dcm for one"] and not done.missing


def test_every_class_of_the_standard_is_an_image_or_not():
    """As pydicom lists them: images say so in their names, but for volumes of ultrasound."""
    classes = {
        number: entry[0]
        for number, entry in UID_dictionary.items()
        if entry[1] == "SOP Class" and "Storage" in entry[0]
    }
    images = {name for number, name in classes.items() if is_image(number)}
    assert {"CT Image Storage", "Positron Emission Tomography Image Storage", "Enhanced US Volume Storage"} <= images
    assert all("Image" in name for name in images - {"Enhanced US Volume Storage"}) and not images & set(OTHERS)
    assert len(classes) > 150 and is_image("1.3.46.670589.5.0.10") is None


@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("what", ["RT Dose Storage", "Segmentation Storage", "Parametric Map Storage"])
def test_voxels_alone_make_no_image(tmp_path, what, frames):
    """A dose or a segmentation with the very grid of a slice, one frame or several, which SimpleITK reads as an image."""
    write_scan(tmp_path / "raw/p1", SCAN)
    plane = np.full((frames * 5, 6), 7, np.uint16)
    values = image(plane, sop=uid(OTHERS[what]), z=10.0, number=6, modality="CT")
    values.Rows, values.NumberOfFrames = 5, frames
    write(tmp_path / "raw/p1/dose.dcm", values)
    assert (dcmread(tmp_path / "raw/p1/dose.dcm").pixel_array == 7).all()
    if what != "Parametric Map Storage":
        assert (by_simpleitk(tmp_path / "raw/p1/dose.dcm") == 7).all()
    done = convert("dicom", tmp_path / "raw", tmp_path / "out")
    np.testing.assert_array_equal(done.dataset.read("p1").data[0], SCAN)
    assert done.notes == [f"no images and left out: 1 {what}, p1/dose.dcm for one"]


@pytest.mark.parametrize("what", ["RT Structure Set Storage", "RT Dose Storage", "Comprehensive SR Storage"])
@pytest.mark.parametrize("kept", [0.5, 0.8])
def test_cut_short(tmp_path, what, kept):
    """A damaged object that is no image takes no scan with it; its class stands at its beginning."""
    write_scan(tmp_path / "raw/p1", SCAN)
    values = without_voxels(uid(OTHERS[what]), SeriesDescription="x" * 60)
    path = tmp_path / "raw/p1/other.dcm"
    write(path, values)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    done = convert("dicom", tmp_path / "raw", tmp_path / "out")
    assert list(done.dataset.cases) == ["p1"] and f"1 {what}" in done.notes[0]


@pytest.mark.parametrize("what", ["RT Structure Set Storage", "RT Plan Storage"])
@pytest.mark.parametrize("name", ["other.dcm", "RS0001"])
def test_without_the_bytes_in_front(tmp_path, what, name):
    write_scan(tmp_path / "raw/p1", SCAN)
    without_voxels(uid(OTHERS[what])).save_as(tmp_path / "raw/p1" / name, implicit_vr=True, little_endian=True)
    done = convert("dicom", tmp_path / "raw", tmp_path / "out")
    assert list(done.dataset.cases) == ["p1"]
    assert done.notes == [f"no images and left out: 1 {what}, p1/{name} for one"]


def test_the_index_of_a_disc(tmp_path):
    write_scan(tmp_path / "raw/p1", SCAN)
    index = Dataset()
    index.FileSetID, index.SOPClassUID, index.SOPInstanceUID = "DISC", "1.2.840.10008.1.3.10", "1.2.3"
    write(tmp_path / "raw/DICOMDIR", index)
    done = convert("dicom", tmp_path / "raw", tmp_path / "out")
    assert list(done.dataset.cases) == ["p1"]
    assert done.notes == ["no images and left out: 1 Media Storage Directory Storage, DICOMDIR for one"]


def test_private_objects(tmp_path):
    """One without voxels is left out by its number; one with all that a slice has is a slice, as makers write them."""
    write_scan(tmp_path / "raw/p1", SCAN, sop="1.3.46.670589.5.0.10", modality="MR")
    write(tmp_path / "raw/p1/other.dcm", without_voxels("1.3.12.2.1107.5.9.1"))
    done = convert("dicom", tmp_path / "raw", tmp_path / "out")
    np.testing.assert_array_equal(done.dataset.read("p1").data[0], SCAN)
    assert "1 private object (SOP class 1.3.12.2.1107.5.9.1)" in done.notes[0]


def test_a_class_that_is_no_identifier_is_not_repeated(tmp_path):
    write_scan(tmp_path / "raw/p1", SCAN)
    write(tmp_path / "raw/p1/other.dcm", without_voxels("evil\x1b[31m"))
    done = convert("dicom", tmp_path / "raw", tmp_path / "out")
    assert done.notes == ["no images and left out: 1 object without a valid SOP class, p1/other.dcm for one"]


def test_counted_by_class(tmp_path):
    write_scan(tmp_path / "raw/p1", SCAN)
    for number, what in enumerate(["RT Plan Storage", "RT Plan Storage", "Comprehensive SR Storage"]):
        write(tmp_path / f"raw/p1/other{number}.dcm", without_voxels(uid(OTHERS[what])))
    done = convert("dicom", tmp_path / "raw", tmp_path / "out")
    assert done.notes == [
        "no images and left out: 1 Comprehensive SR Storage, 2 RT Plan Storage, p1/other0.dcm for one"
    ]


def test_a_folder_of_nothing_else(tmp_path):
    write(tmp_path / "raw/p1/plan.dcm", without_voxels(uid("481.5")))
    with pytest.raises(DataError, match=r"expected DICOM series of 5 slices or more, but found 1 RT Plan Storage"):
        convert("dicom", tmp_path / "raw", tmp_path / "out")


SCREENS = {"a picture of the screen": uid("7"), "a radiograph": uid("1"), "an image of the beam": uid("481.1")}


@pytest.mark.parametrize("kind", SCREENS)
def test_images_of_another_kind_are_no_slices(tmp_path, kind):
    """They have no place in space; in the scan's own series, they still don't stop it."""
    write_scan(tmp_path / "raw/p1", SCAN)
    write(tmp_path / "raw/p1/x.dcm", image(SCAN[:, :, 0].T, sop=SCREENS[kind], ImagePositionPatient=None, number=50))
    done = convert("dicom", tmp_path / "raw", tmp_path / "out")
    np.testing.assert_array_equal(done.dataset.read("p1").data[0], SCAN)
    assert "1 image left out; p1/x.dcm: lacks a valid ImagePositionPatient" in done.notes[0]


def test_a_slice_of_the_scan_without_a_place_still_stops_it(tmp_path):
    write_scan(tmp_path / "raw/p1", SCAN)
    write(tmp_path / "raw/p1/x.dcm", image(SCAN[:, :, 0].T, ImagePositionPatient=None, number=50))
    with pytest.raises(DataError, match=r"x\.dcm: lacks a valid ImagePositionPatient"):
        convert("dicom", tmp_path / "raw", tmp_path / "out")


@pytest.mark.parametrize("name", ["p1/004.dcm", "p1/IM0004"])
@pytest.mark.parametrize("kept", [0.6, 0.99])
def test_a_slice_cut_short_still_stops_its_scan(tmp_path, name, kept):
    """The last one, which no gap would tell; by whatever name."""
    write_scan(tmp_path / "raw/p1", SCAN)
    path = tmp_path / "raw" / name
    (tmp_path / "raw/p1/004.dcm").rename(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(DataError, match=rf"{path.name}: is truncated"):
        convert("dicom", tmp_path / "raw", tmp_path / "out", {"min_slices": 3})


FRAMES = {"Enhanced CT Image Storage": "2.1", "Enhanced MR Image Storage": "4.1", "Enhanced US Volume Storage": "6.2"}


@pytest.mark.parametrize("what", FRAMES)
def test_multi_frame_images_are_named(tmp_path, what):
    for frames in (1, 3):
        values = image(np.zeros((frames * 5, 6), np.int16), sop=uid(FRAMES[what]), ImagePositionPatient=None)
        values.Rows, values.NumberOfFrames = 5, frames
        write(tmp_path / "x.dcm", values)
        with pytest.raises(OddImageError, match=rf"x\.dcm: is a multi-frame image .*{what}.*convert it to NIfTI"):
            read_slice(tmp_path / "x.dcm")


@pytest.mark.parametrize("shade", ["RGB", "PALETTE COLOR", "YBR_FULL"])
def test_colour_is_named(tmp_path, shade):
    samples = 1 if shade == "PALETTE COLOR" else 3
    values = image(np.zeros((5, 6 * samples), np.uint8), PhotometricInterpretation=shade, SamplesPerPixel=samples)
    values.Columns = 6
    write(tmp_path / "x.dcm", values)
    with pytest.raises(OddImageError, match=rf"x\.dcm: is a colour image \({shade}\)"):
        read_slice(tmp_path / "x.dcm")


def test_text_of_a_name_that_promises_more(tmp_path):
    """Neither a file of text called .dcm nor any other binary file is an object."""
    write_scan(tmp_path / "raw/p1", SCAN)
    (tmp_path / "raw/notes").mkdir()
    (tmp_path / "raw/notes/list.dcm").write_text("patients: 12\n" * 30)
    (tmp_path / "raw/p1/noise.bin").write_bytes(b"\x08\0\x05\0UI\0\0" + bytes(range(256)) * 4)
    done = convert("dicom", tmp_path / "raw", tmp_path / "out")
    assert list(done.dataset.cases) == ["p1"] and "notes/list.dcm: is truncated or no DICOM image" in done.notes[0]


def test_a_deflated_file_that_would_fill_the_memory(tmp_path, monkeypatch):
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    write(tmp_path / "x.dcm", image(np.zeros((200, 200), np.int16), sop=CT), DeflatedExplicitVRLittleEndian)
    assert read_slice(tmp_path / "x.dcm").size == (200, 200)
    monkeypatch.setattr("fewmask.data.convert.header._MOST", 2**16)
    with pytest.raises(OddImageError, match=r"x\.dcm: inflates to more than .* no slice does; leave it out"):
        read_slice(tmp_path / "x.dcm")
