"""How scans are named in practice, and whether the names say whose they are."""

import re
from pathlib import Path

import pytest

import fewmask.data.protocols
from fewmask.data.patients import find_patients
from helpers import SHARED

LISTS = sorted((Path(fewmask.data.protocols.__file__).parent / "lists").glob("*.txt"))
N = range(1, 13)


def each(form, *parts):
    """Ids of twelve patients: ``form`` filled with a patient's number and each of the parts."""
    return {form.format(n, *part): n for n in N for part in (parts or [()])}


def words(*names):
    return [(name,) for name in names]


# What the ids are: the patient of each id, as the people who name scans so mean it.
CLEAR = {
    "ACDC": each("patient{:03d}_frame{}", *words("01", "12")),
    "slices of ACDC": each("patient{:03d}_frame{}_slice_{}", ("01", 1), ("01", 2), ("12", 1)),
    "BIDS sessions": each("sub-{:02d}_ses-{}", *words("01", "02")),
    "BIDS runs": each("sub-{:02d}_ses-01_run-{}_T1w", *words(1, 2)),
    "BIDS kinds": each("sub-CC11{:04d}_{}", *words("T1w", "T2w")),
    "sides in words": each("P{}_{}", *words("left", "right")),
    "sides of breasts": each("{}_{}_breast", *words("left", "right")),
    "views of breasts": each("Mass-Training_P_{:05d}_{}_{}", ("LEFT", "CC"), ("LEFT", "MLO"), ("RIGHT", "CC")),
    "case and slice": each("case{}-slice{}", *words(1, 2, 17)),
    "case, kind, slice": each("Case{}_T2_slice_{:03d}", *words(3, 4)),
    "camera and side": each("IMG_{:04d}_{}", *words("L", "R")),
    "dataset and time": each("LUNG1-{:03d}_t{}", *words(0, 1)),
    "dots": each("pat{}.day{}", *words(1, 2)),
    "BraTS of today": each("BraTS-GLI-{:05d}-{}", *words("000", "001")),
    "eyes in Latin": each("{:04d}_{}", *words("od", "os")),
    "eyes, capital": each("{:03d}_{}", *words("OD", "OS")),
    "spaces": each("Patient-{} visit-{}", *words(1, 2)),
    "brackets": each("patient {} ({})", *words(1, 2)),
    "baseline": each("AMD{}_{}", *words("baseline", "followup")),
    "before and after": each("S{:02d}_{}", *words("pre", "post")),
    "scans of subjects": each("subject{}_scan{}", *words(1, 2)),
    "images of patients": each("p{:02d}_img{}", *words("03", "07")),
    "phases of the heart": each("A{}S9V9_sa_{}", *words("ED", "ES")),
    "views of the heart": each("patient{:04d}_{}_{}", ("2CH", "ED"), ("4CH", "ES")),
    "axes of the heart": each("{:03d}_{}_ED", *words("SA", "LA")),
    "time points": each("MR_heart_{:03d}_tp{}", *words(1, 2)),
    "ADNI": each("{0:03d}_S_{0:04d}_I{1}", *words(13721, 20011)),
    "ADNI in full": each("ADNI_{0:03d}_S_{0:04d}_MR_I{1}", *words(13721, 20011)),
    "OASIS 1": each("OAS1_{:04d}_MR{}", *words(1, 2)),
    "OASIS 3": each("OAS3{:04d}_MR_d{}", *words("0129", "2340")),
    "TCGA slides": each("TCGA-A2-A{:03d}-01Z-00-DX{}", *words(1, 2)),
    "TCGA slices": each("TCGA_CS_4{:03d}_19960909_{}", *words(1, 2)),
    "nodules": each("LIDC-IDRI-{:04d}_nodule{}", *words(1, 2)),
    "sides attached": each("Image_{:02d}{}", *words("L", "R")),
    "video": each("video{}_frame{}", *words("0001", "0002")),
    "endoscopy": each("seq_{}_frame_{}", *words(1, 2)),
    "crops": each("ISIC_{:07d}_crop{}", *words(1, 2)),
    "mice": each("mouse{}_wk{}", *words(4, 8)),
    "follow-up": each("pt-{:03d}_fu{}", *words(1, 2)),
    "planes": each("K{:03d}_{}", *words("cor", "sag", "ax")),
    "exam and phase": each("exam{}_phase{}", *words(1, 2)),
    "study and series": each("study{}_series{}", *words(1, 2)),
    "nodes": each("patient_{:03d}_node_{}", *words(0, 1, 2)),
    "pancreas slices": each("PANCREAS_{:04d}_slice_{}", *words(10, 11)),
    "liver slices": each("volume-{}_slice_{}", *words(10, 11)),
    "kinds of picture": each("{:04d}-{}", *words("T1", "FLAIR")),
    "words run together": each("patient{}frame{}", *words(1, 2)),
    "names": {f"{name}_visit{n}": name for name in ("anna", "bert", "carl") for n in (1, 2)},
    "one patient has one scan": {**each("patient{:03d}_frame{}", *words("01", "12")), "patient099_frame01": 99},
    "one id of another kind": {**each("sub-{:02d}_ses-{}", *words("01", "02")), "phantom": "phantom"},
}

DOUBTFUL = {
    "numbers": each("{:04d}_{}", *words(1, 2)),
    "slices as numbers": each("{:03d}_{}", *words(11, 12, 13)),
    "dashes": each("{}-{}", *words(1, 2)),
    "training01_01": {f"training{n:02d}_{m:02d}": n for n in range(1, 6) for m in range(1, 5)},
    "people or kinds": {f"{n:02d}_{kind}": n for n in N for kind in ("dr", "g", "h")},
    "words": {f"{name}_{n}": name for name in ("anna", "bert", "carl", "dora", "emil") for n in (1, 2)},
    "letters attached": each("{}{}", *words("A", "B")),
    "kind first": {f"{kind}_{n:03d}": n for n in N for kind in ("T1", "T2")},
    "a few of many": {**{f"scan_{n:03d}": n for n in range(40)}, "scan_100_L": 100, "scan_100_R": 100},
    "half of the ids": {**each("patient{:03d}_frame{}", *words("01", "12")), **{f"x{n}": f"x{n}" for n in range(20)}},
    "one patient": {f"patient1_frame{n:02d}": 1 for n in range(8)},
}

NONE = {
    "counter": [f"scan_{n:03d}" for n in range(30)],
    "counter from one": [f"case{n}" for n in range(30)],
    "case and counter": [f"case_{n:05d}" for n in range(30)],
    "patients once": [f"patient{n:03d}" for n in range(30)],
    "patients once, one frame": [f"patient{n:03d}_frame01" for n in range(30)],
    "sessions once": [f"sub-{n:02d}_ses-01" for n in range(30)],
    "PH2": [f"IMD{n:03d}" for n in range(30)],
    "hippocampus": [f"hippocampus_{n:03d}" for n in range(30)],
    "decathlon": [f"BRATS_{n:03d}" for n in range(30)],
    "ISIC": [f"ISIC_{n:07d}" for n in range(30)],
    "ISIC resized": [f"ISIC_{n:07d}_downsampled" for n in range(30)],
    "KiTS": [f"case_{n:05d}" for n in range(30)],
    "FLARE": [f"FLARE22_Tr_{n:04d}" for n in range(30)],
    "TotalSegmentator": [f"s{n:04d}" for n in range(30)],
    "PROMISE12": [f"Case{n:02d}" for n in range(30)],
    "BTCV": [f"img{n:04d}" for n in range(30)],
    "LiTS": [f"volume-{n}" for n in range(30)],
    "BraTS 2021": [f"BraTS2021_{n:05d}" for n in range(30)],
    "BUSI as downloaded": [f"{kind} ({n})" for kind in ("benign", "malignant", "normal") for n in range(30)],
    "grades": [f"{kind}_{n}" for kind in ("benign", "malignant") for n in range(30)],
    "slides": [f"{kind}_{n:03d}" for kind in ("tumor", "normal", "test") for n in range(30)],
    "hospitals": [f"hospital{h}_{n:03d}" for h in range(4) for n in range(20)],
    "head and neck": [f"HN-{h}-{n:03d}" for h in ("CHUM", "CHUS", "HGJ", "HMR") for n in range(20)],
    "centres and counters": [f"center_{h}_{n:04d}" for h in "ABCD" for n in range(20)],
    "folds": [f"fold{h}_{n:03d}" for h in range(5) for n in range(20)],
    "parts of a study": [f"{part}_frame_{n}" for part in ("train", "test") for n in range(20)],
    "parts, as fewmask's own tests": ["case_000", "case_001", "extra_000", "test_000"],
    "IXI": [f"IXI{n:03d}-Guys-{n * 13:04d}-T1" for n in range(30)],
    "eyes of different people": [f"{n}_{'ADGN'[n % 4]}" for n in range(30)],
    "dates and times": [f"2019{n % 12 + 1:02d}01_{n * 7919 % 240000:06d}" for n in range(60)],
    "dates in names": [f"IMG_2019{n % 12 + 1:02d}01_{n * 7919 % 240000:06d}" for n in range(60)],
    "years": [f"{2007 + n % 3}_{n:06d}" for n in range(60)],
    "UIDs": [f"1.3.6.1.4.1.14519.5.2.1.6279.6001.{n * 7919 + 10**20}" for n in range(30)],
    "UUIDs": [f"{n * 7919:08x}-ac0d-44ef-93ee-{n * 104729:012x}" for n in range(30)],
    "codes": [f"{n * 2654435761 % 16**12:012X}{'LR'[n % 2]}" for n in range(30)],
    "drives": [f"{n}_training" for n in range(21, 41)],
    "nothing": [],
    "one scan": ["patient001_frame01"],
}


def grouped(of):
    """Ids by patient, as sets."""
    sets = {}
    for case, name in of.items():
        sets.setdefault(name, set()).add(case)
    return {frozenset(cases) for cases in sets.values() if len(cases) > 1}


@pytest.mark.parametrize(("verdict", "name"), [*(("clear", n) for n in CLEAR), *(("doubtful", n) for n in DOUBTFUL)])
def test_scans_of_one_patient_are_found(verdict, name):
    truth = (CLEAR if verdict == "clear" else DOUBTFUL)[name]
    found = find_patients(reversed(list(truth)))
    assert found.verdict == verdict
    assert {frozenset(cases) for cases in found.groups.values()} == grouped(truth)
    assert grouped(found.of) == grouped(truth) and set(found.of) <= set(truth)
    assert str(len(found.groups)) in found.describe() and str(len(truth)) in found.describe()
    # The rule says the same to whoever types it.
    rule = re.compile(found.pattern)
    assert {case: match[1] for case in truth if (match := rule.search(case))} == dict(found.of)


@pytest.mark.parametrize("name", NONE)
def test_ids_that_name_no_patient_twice_stay_alone(name):
    found = find_patients(NONE[name])
    assert (found.verdict, found.groups, found.pattern) == ("none", {}, "")


def test_there_are_enough_schemes():
    assert len(CLEAR) + len(DOUBTFUL) + len(NONE) >= 90


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_published_lists_have_a_scan_a_name(path):
    assert find_patients(path.read_text().split()).verdict == "none"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public data sets are not on this machine")
@pytest.mark.parametrize("name", ["001_LeftAtrium", "002_PH2", "004_Hippocampus"])
def test_real_folders_have_a_scan_a_patient(name):
    files = (SHARED / f"Dataset{name}").glob("images*/*")
    assert find_patients(path.name.split("_0000.")[0] for path in files).verdict == "none"
