"""Which DICOM slices make one scan: of one patient, study, series and direction, whatever else identifiers say."""

import json

import numpy as np
import pytest
import SimpleITK
from pydicom.uid import generate_uid

from fewmask.data.convert import convert
from fewmask.data.convert.identity import Identity, shared_patients
from fewmask.data.split import make_split
from fewmask.errors import DataError
from pydicom_files import CLASSES, image, write, write_scan

ONE, TWO = (np.random.default_rng(seed).integers(-1000, 2000, (5, 4, 6)).astype(np.int16) for seed in (1, 2))
NOBODY = {"PatientID": "", "PatientName": "", "PatientBirthDate": ""}
ABSENT = {"PatientID": None, "PatientName": None, "PatientBirthDate": None}


def scans(raw, out, **settings):
    done = convert("dicom", raw, out, settings)
    return {case: done.dataset.read(case).data[0] for case in done.dataset.cases}, done


def is_one_to_simpleitk(folder):
    """How many series SimpleITK's own grouping finds in a folder."""
    return len(SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))) == 1


ABSENT_BIRTH = {"PatientBirthDate": None}
PATIENTS = {
    "ids": ({"PatientID": "A"}, {"PatientID": "B"}),
    "ids, a name for all": ({"PatientID": "A", **ABSENT_BIRTH}, {"PatientID": "B", **ABSENT_BIRTH}),
    "names": ({"PatientID": "", "PatientName": "DOE^JANE"}, {"PatientID": "", "PatientName": "ROE^RICHARD"}),
    "names, one id": ({"PatientID": "S", "PatientName": "A"}, {"PatientID": "S", "PatientName": "B"}),
    "birth dates": (
        {"PatientID": None, "PatientBirthDate": "19500101"},
        {"PatientID": None, "PatientBirthDate": "19600101"},
    ),
    "one without": ({"PatientID": "A"}, NOBODY),
    "umlauts": ({"PatientID": "", "PatientName": "MÜLLER"}, {"PatientID": "", "PatientName": "MÖLLER"}),
}
SERIES = {"one series": "1.2.2", "no series": None, "empty series": ""}


@pytest.mark.parametrize("uid", SERIES)
@pytest.mark.parametrize("kind", PATIENTS)
def test_two_patients_never_merge(tmp_path, kind, uid):
    """Of one folder and series, the second's slices going on where the first's end: one even stack to whoever asks the series."""
    for number, (values, own) in enumerate(zip((ONE, TWO), PATIENTS[kind], strict=True)):
        more = {"SeriesInstanceUID": SERIES[uid], "SpecificCharacterSet": "ISO_IR 100", **own}
        write_scan(tmp_path / "raw/all", values, start=12.0 * number, name=f"{number}-{{:03d}}.dcm", **more)
    assert uid != "one series" or is_one_to_simpleitk(tmp_path / "raw/all")
    found, done = scans(tmp_path / "raw", tmp_path / "out")
    assert len(found) == 2
    for values, truth in zip(found.values(), (ONE, TWO), strict=True):
        np.testing.assert_array_equal(values, truth)
    told = done.dataset.description.patients != {}  # one folder: what may be one patient stays together in splits
    assert told == (kind in ("ids", "names, one id", "one without"))


@pytest.mark.parametrize(
    "blank",
    [NOBODY, ABSENT, {"PatientID": "ANONYMOUS", "PatientName": "Anonymized"}, {"PatientID": "000", "PatientName": "-"}],
)
@pytest.mark.parametrize("uid", SERIES)
def test_without_identifiers_folders_tell_patients_apart(tmp_path, blank, uid):
    for number, (folder, values) in enumerate((("a", ONE), ("b", TWO))):
        write_scan(tmp_path / "raw" / folder, values, start=12.0 * number, SeriesInstanceUID=SERIES[uid], **blank)
    found, done = scans(tmp_path / "raw", tmp_path / "out")
    np.testing.assert_array_equal(found["a"], ONE)
    np.testing.assert_array_equal(found["b"], TWO)
    assert done.dataset.description.patients == {}
    if uid == "one series":
        assert "hold slices of one series, but no patient's name or number" in done.missing[0]


def test_a_series_over_two_folders_is_one_scan_of_its_patient(tmp_path):
    """As discs hold so many files a folder; the header says whose it is."""
    write_scan(tmp_path / "raw/A", ONE[:, :, :3])
    write_scan(tmp_path / "raw/B", ONE[:, :, 3:], start=6.0, first=4)
    found, done = scans(tmp_path / "raw", tmp_path / "out")
    np.testing.assert_array_equal(found["A"], ONE)
    assert len(found) == 1 and not done.missing


@pytest.mark.parametrize("own", [{"StudyInstanceUID": "1.9"}, {"sop": CLASSES["MR"]}], ids=["study", "kind of image"])
def test_studies_and_kinds_stay_apart(tmp_path, own):
    write_scan(tmp_path / "raw/p1", ONE, name="a{:03d}.dcm")
    write_scan(tmp_path / "raw/p1", TWO, start=12.0, name="b{:03d}.dcm", **own)
    found, done = scans(tmp_path / "raw", tmp_path / "out")
    np.testing.assert_array_equal(list(found.values()), [ONE, TWO])
    assert set(done.dataset.description.patients.values()) == {"p1"}


def own_series(_):
    return generate_uid()


def test_a_new_series_for_every_slice_is_one_scan(tmp_path):
    write_scan(tmp_path / "raw/p1", ONE, SeriesInstanceUID=own_series)
    assert not is_one_to_simpleitk(tmp_path / "raw/p1")
    found, done = scans(tmp_path / "raw", tmp_path / "out")
    np.testing.assert_array_equal(found["p1"], ONE)
    (note,) = done.notes
    assert note.startswith("1 scan taken as one although each slice has a series identifier of its own")
    assert json.loads((tmp_path / "out/conversion.json").read_text())["notes"] == done.notes


def test_a_new_series_and_a_folder_for_every_slice(tmp_path):
    write_scan(tmp_path / "raw/p1", ONE, SeriesInstanceUID=own_series, name="series{0:03d}/x.dcm")
    found, _ = scans(tmp_path / "raw", tmp_path / "out")
    np.testing.assert_array_equal(found["p1"], ONE)


@pytest.mark.parametrize(
    "own",
    [
        {"PatientID": "2"},
        {"StudyInstanceUID": "1.9"},
        {"FrameOfReferenceUID": "1.9"},
        {"SeriesNumber": 2},
        {"SeriesDescription": "late"},
    ],
    ids=lambda own: next(iter(own)),
)
def test_new_series_of_two_scans_stay_two(tmp_path, own):
    """The second goes on where the first ends, so that all but one word speaks for one scan."""
    write_scan(tmp_path / "raw/p1", ONE, SeriesInstanceUID=own_series, name="a{:03d}.dcm")
    write_scan(tmp_path / "raw/p1", TWO, SeriesInstanceUID=own_series, name="b{:03d}.dcm", start=12.0, **own)
    found, _ = scans(tmp_path / "raw", tmp_path / "out")
    assert len(found) == 2
    for values in (ONE, TWO):
        assert any(np.array_equal(values, there) for there in found.values())


def test_new_series_of_two_scans_that_only_folders_tell_apart(tmp_path):
    write_scan(tmp_path / "raw/p1/a", ONE, SeriesInstanceUID=own_series)
    write_scan(tmp_path / "raw/p1/b", TWO, SeriesInstanceUID=own_series)
    found, _ = scans(tmp_path / "raw", tmp_path / "out")
    np.testing.assert_array_equal(list(found.values()), [ONE, TWO])


def test_a_new_series_for_every_slice_with_one_missing(tmp_path):
    write_scan(tmp_path / "raw/p1", ONE, SeriesInstanceUID=own_series)
    (tmp_path / "raw/p1/003.dcm").unlink()
    with pytest.raises(DataError, match=r"p1: lacks about 1 of its slices: 002\.dcm and 004\.dcm"):
        convert("dicom", tmp_path / "raw", tmp_path / "out")


def test_series_of_one_slice_stay_what_they_are(tmp_path):
    """Localisers along three directions, each a series: no scan of three slices."""
    for number, direction in enumerate(([1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1])):
        write(
            tmp_path / f"raw/p1/{number}.dcm",
            image(ONE[:, :, number].T, SeriesInstanceUID=f"1.7.{number}", ImageOrientationPatient=direction),
        )
    found, _ = scans(tmp_path / "raw", tmp_path / "out", min_slices=1)
    assert [values.shape for values in found.values()] == [(5, 4)] * 3


DIRECTIONS = {
    "sagittal": [0, 1, 0, 0, 0, -1],
    "coronal": [1, 0, 0, 0, 0, -1],
    "oblique": [1, 0, 0, 0, 0.9063, 0.4226],
    "turned": [0, 1, 0, -1, 0, 0],
}


@pytest.mark.parametrize("plane", DIRECTIONS)
def test_a_localiser_in_the_scans_series(tmp_path, plane):
    write_scan(tmp_path / "raw/p1", ONE)
    write(tmp_path / "raw/p1/localiser.dcm", image(TWO[:, :, 0].T, ImageOrientationPatient=DIRECTIONS[plane], number=0))
    found, done = scans(tmp_path / "raw", tmp_path / "out")
    np.testing.assert_array_equal(found["p1"], ONE)
    assert "1 series of less than 5 slices left out" in done.notes
    assert "1 more scan than series, because directions differ within one; taken apart" in done.notes


def test_two_directions_in_one_series_are_two_scans(tmp_path):
    write_scan(tmp_path / "raw/p1", ONE, name="a{:03d}.dcm")
    for z in range(6):
        values = image(TWO[:, :, z].T, ImageOrientationPatient=DIRECTIONS["sagittal"], number=20 + z)
        values.ImagePositionPatient = [2.0 * z, 0, 0]
        write(tmp_path / f"raw/p1/b{z:03d}.dcm", values)
    found, done = scans(tmp_path / "raw", tmp_path / "out")
    for values in (ONE, TWO):
        assert any(
            np.array_equal(values, there) or np.array_equal(values[:, :, ::-1], there) for there in found.values()
        )
    assert set(done.dataset.description.patients.values()) == {"p1"}


TIMES = {
    "time": ("TemporalPositionIdentifier", 1, 2),
    "echo": ("EchoNumbers", 1, 2),
    "b": ("DiffusionBValue", 0.0, 800.0),
    "acquisition": ("AcquisitionNumber", 3, 4),
    "kind": ("ImageType", ["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]),
}


@pytest.mark.parametrize("trait", TIMES)
def test_images_at_one_place_that_differ_in(tmp_path, trait):
    element, *each = TIMES[trait]
    for number, (values, own) in enumerate(zip((ONE, TWO), each, strict=True)):
        write_scan(tmp_path / "raw/p1", values, name=f"{number}-{{:03d}}.dcm", first=1 + 6 * number, **{element: own})
    found, done = scans(tmp_path / "raw", tmp_path / "out")
    np.testing.assert_array_equal(list(found.values()), [ONE, TWO])
    assert all(f"axial_{trait}-" in case for case in found)
    assert (
        "1 more scan than series, because echoes, time points or the like differ within one; taken apart" in done.notes
    )


def test_two_echoes_of_three_times(tmp_path):
    made = {}
    for echo in (1, 2):
        for time in (1, 2, 3):
            made[f"{time}{echo}"] = ONE + np.int16(10 * time + echo)
            more = {"EchoNumbers": echo, "TemporalPositionIdentifier": time}
            write_scan(tmp_path / "raw/p1", made[f"{time}{echo}"], name=f"{echo}{time}-{{:03d}}.dcm", **more)
    found, _ = scans(tmp_path / "raw", tmp_path / "out")
    assert len(found) == 6
    for name, values in found.items():
        np.testing.assert_array_equal(values, made[name.split("time-")[1][0] + name.split("echo-")[1][0]])


def test_echoes_between_each_other_are_no_finer_scan(tmp_path):
    """Every second place is another echo's: even as one stack, and wrong."""
    write_scan(tmp_path / "raw/p1", ONE, name="a{:03d}.dcm", EchoNumbers=1)
    write_scan(tmp_path / "raw/p1", TWO, name="b{:03d}.dcm", start=1.0, EchoNumbers=2)
    found, _ = scans(tmp_path / "raw", tmp_path / "out")
    np.testing.assert_array_equal(list(found.values()), [ONE, TWO])


def test_acquisitions_between_each_other_are_one_scan(tmp_path):
    """As MR scanners take every second slice first."""
    write_scan(tmp_path / "raw/p1", ONE, AcquisitionNumber=lambda z: 1 + z % 2)
    found, _ = scans(tmp_path / "raw", tmp_path / "out")
    np.testing.assert_array_equal(found["p1"], ONE)


def test_images_at_one_place_that_nothing_tells_apart(tmp_path):
    write_scan(tmp_path / "raw/p1", ONE, name="a{:03d}.dcm")
    write_scan(tmp_path / "raw/p1", TWO, name="b{:03d}.dcm")
    with pytest.raises(DataError, match=r"slices or more at one place, .* copies, or several time points"):
        convert("dicom", tmp_path / "raw", tmp_path / "out")


def test_one_patient_in_two_folders_is_told_and_not_named(tmp_path):
    """Both scans stay on one side of every split, and nothing of the header is written."""
    who = {"PatientID": "MRN-778899", "PatientName": "SURNAME^FORENAME", "PatientBirthDate": "19511224"}
    write_scan(tmp_path / "raw/before", ONE, SeriesInstanceUID="1.5.1", **who)
    write_scan(tmp_path / "raw/middle", ONE, SeriesInstanceUID="1.5.2", PatientID="other")
    write_scan(tmp_path / "raw/then", TWO, SeriesInstanceUID="1.5.3", **{**who, "PatientName": "Surname Forename"})
    done = convert("dicom", tmp_path / "raw", tmp_path / "out")
    assert done.dataset.description.patients == {"before": "before", "then": "before"}
    assert done.notes == ["2 scans in several folders are of 1 patient; dataset.json keeps them together"]
    for path in (tmp_path / "out").glob("*.json"):
        assert not any(word in path.read_text() for word in ("MRN", "SURNAME", "Surname", "1951"))


WHO = {
    "same number": (("7", "a", ""), ("7", "a", ""), True),
    "same number and birth, other spelling": (("7", "a b", "1950"), ("7", "a", "1950"), True),
    "same number, no names": (("7", "", ""), ("7", "a", ""), True),
    "same number, other birth": (("7", "a", "1950"), ("7", "a", "1960"), False),
    "same number, other name": (("7", "a", ""), ("7", "b", ""), False),
    "other number": (("7", "a", "1950"), ("8", "a", "1950"), False),
    "name and birth": (("", "a", "1950"), ("", "A^", "1950"), True),
    "name alone": (("", "a", ""), ("", "a", ""), False),
    "nobody": (("", "", ""), ("", "", ""), False),
    "a birth date alone": (("", "", "1950"), ("", "", "1950"), False),
    "anonymous": (("ANON", "Anonymous", ""), ("ANON", "Anonymous", ""), False),
    "pseudonyms": (("ANON001", "", ""), ("ANON002", "", ""), False),
}


@pytest.mark.parametrize("kind", WHO)
def test_who_is_one_patient_across_folders(kind):
    one, other, same = WHO[kind]
    tokens = shared_patients(["x", "y"], ["x", "y"], [Identity.of(*one), Identity.of(*other)])
    assert tokens == (["x", "x"] if same else [None, None])


def test_folders_of_several_patients():
    """A folder is a patient only where headers don't say otherwise."""
    a, b, nobody = Identity.of("1", "a", ""), Identity.of("2", "b", ""), Identity.of("", "", "")
    assert shared_patients(["f_1", "f_2", "f_3", "f_4"], ["f"] * 4, [a, b, a, b]) == ["f_1", "f_2", "f_1", "f_2"]
    assert shared_patients(["f_1", "f_2"], ["f"] * 2, [nobody, nobody]) == ["f", "f"]
    assert shared_patients(["f_1", "f_2"], ["f"] * 2, [nobody, a]) == ["f", "f"]
    assert shared_patients(["f_1", "f_2"], [None] * 2, [nobody, nobody]) == [None, None]
    assert shared_patients(["f_1", "f_2", "g"], ["f", "f", "g"], [a, nobody, a]) == ["f_1"] * 3


def test_splits_keep_a_patient_together(tmp_path):
    for number in range(8):
        write_scan(tmp_path / f"raw/visit{number}", ONE, SeriesInstanceUID=f"1.5.{number}", PatientID=f"p{number // 2}")
    label = tmp_path / "labels"
    label.mkdir()
    for number in range(8):
        values = SimpleITK.GetImageFromArray((ONE > 500).astype(np.uint8).T)
        values.SetSpacing((0.8, 0.7, 2.0))
        values.SetOrigin((-3, -4, 0))
        SimpleITK.WriteImage(values, str(label / f"visit{number}.nii.gz"))
    data = convert("dicom", tmp_path / "raw", tmp_path / "out", {"labels": str(label)}).dataset
    for seed in range(4):
        split = make_split(data, 4, 2, seed=seed)
        held = {data.description.patients[case] for case in split.validation}
        assert not held & {data.description.patients[case] for case in (*split.labelled, *split.unlabelled)}
