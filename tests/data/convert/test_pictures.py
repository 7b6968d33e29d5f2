"""The 2D data sets: each from a tiny copy of its real layout, and from the real files where they are at hand."""

import numpy as np
import pytest
from PIL import Image

from fewmask.data.check import check_dataset
from fewmask.data.convert import convert
from fewmask.errors import DataError
from helpers import SHARED
from layouts import everything
from pictures import (
    KVASIR,
    KVASIR_TEST,
    REGIONS,
    frame,
    save,
    write_bcss,
    write_busi,
    write_glas,
    write_hmeps,
    write_isic,
    write_ph2,
    write_polyp_originals,
    write_polyps,
)

WRITERS = {
    "glas": write_glas,
    "ph2": write_ph2,
    "isic2018": write_isic,
    "busi": write_busi,
    "hmeps": write_hmeps,
    "polyp": write_polyps,
    "bcss": write_bcss,
}


@pytest.fixture
def converted(request, tmp_path):
    """What the tiny copy of a layout becomes."""
    raw = WRITERS[request.param](tmp_path / "raw")
    return convert(request.param, raw, tmp_path / "out", {"tile": 16} if request.param == "bcss" else {})


def only(*names):
    return pytest.mark.parametrize("converted", names, indirect=True)


def pixels(dataset, case):
    """As ``(rows, columns, channels)``."""
    return dataset.read(case).data.transpose(1, 2, 0)


@only(*WRITERS)
def test_result_is_sound_and_says_how_far_it_is_from_the_published_number(converted):
    findings = check_dataset(converted.dataset.root).findings
    assert [finding for finding in findings if finding.severity == "error"] == []
    assert converted.dataset.class_names[0] == "background" and len(converted.dataset.class_names) == 2
    assert converted.missing and all("where the published data set has" in sentence for sentence in converted.missing)


@pytest.mark.parametrize("name", WRITERS)
def test_another_layout_is_told_in_a_sentence(tmp_path, name):
    (tmp_path / "raw" / "scans").mkdir(parents=True)
    with pytest.raises(DataError, match=r"raw: expected .*, but found scans/; give the folder that holds it$"):
        convert(name, tmp_path / "raw", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", WRITERS)
def test_a_missing_mask_is_named_and_nothing_is_touched(tmp_path, name):
    raw = WRITERS[name](tmp_path / "raw")
    masks = {
        "glas": "train_2_anno.bmp",
        "ph2": "IMD003_lesion.bmp",
        "isic2018": "ISIC_0000001_segmentation.png",
        "busi": "benign (3)_mask.png",
        "hmeps": "y-00B-1-0.png",
        "polyp": "2.png",
        "bcss": f"{next(iter(REGIONS))}.png",
    }
    mask = max(raw.rglob(masks[name]), key=lambda path: "mask" in path.parent.name)
    mask.unlink()
    before = everything(raw)
    with pytest.raises(DataError, match="but it is missing; complete the download") as error:
        convert(name, raw, tmp_path / "out")
    assert mask.name in str(error.value) and everything(raw) == before


@only("glas")
def test_glands_are_one_class_and_images_keep_their_bytes(converted, tmp_path):
    data = converted.dataset
    assert data.ids("test") == ["testA_1", "testB_2"] and len(data.ids("train")) == 3
    raw = next(tmp_path.glob("raw/*"))
    assert (data.root / "imagesTr/train_10_0000.bmp").read_bytes() == (raw / "train_10.bmp").read_bytes()
    for case in data.cases:
        glands = np.asarray(Image.open(raw / f"{case}_anno.bmp"))
        assert glands.max() > 1
        np.testing.assert_array_equal(data.read_label(case).data, glands > 0)
    assert data.description.patients["testB_2"] == data.description.patients["train_1"] == "1"


@only("ph2")
def test_ph2(converted):
    data = converted.dataset
    assert sorted(data.cases) == [f"IMD{number:03d}" for number in range(2, 7)] and data.ids("test") == []
    np.testing.assert_array_equal(pixels(data, "IMD004"), frame(4)[0])
    np.testing.assert_array_equal(data.read_label("IMD004").data, frame(4)[1])
    assert "ph2-honest-20percent-seed0" in converted.splits
    assert any("no published list exists" in note for note in converted.notes)
    assert data.load_split("ph2-paper-20percent-seed0").protocol == "ph2/paper"


@only("isic2018")
def test_isic_keeps_its_jpeg_files_and_leaves_validation_images_out(converted, tmp_path):
    data = converted.dataset
    assert data.ids("train") == [f"ISIC_{n:07d}" for n in range(3)] and len(data.ids("test")) == 2
    original = tmp_path / "raw/ISIC2018_Task1-2_Training_Input/ISIC_0000001.jpg"
    assert (data.root / "imagesTr/ISIC_0000001_0000.jpg").read_bytes() == original.read_bytes()
    np.testing.assert_array_equal(data.read_label("ISIC_0000101").data, frame(101)[1])


def test_isic_without_its_masks_folder(tmp_path):
    raw = write_isic(tmp_path / "raw")
    (raw / "ISIC2018_Task1_Training_GroundTruth").rename(tmp_path / "away")
    with pytest.raises(DataError, match="expected the folder ISIC2018_Task1_Training_GroundTruth beside"):
        convert("isic2018", raw, tmp_path / "out")


@only("busi")
def test_busi_merges_lesions_and_takes_the_published_test_images(converted):
    data = converted.dataset
    assert sorted(data.cases) == ["benign_1", "benign_100", "benign_3", "benign_4", "malignant_1", "malignant_201"]
    assert data.ids("test") == ["benign_3", "benign_4", "malignant_201"]
    assert converted.splits == [] and any("no published split was saved" in note for note in converted.notes)
    for case, number in (("benign_1", 1), ("benign_3", 3), ("benign_4", 4), ("malignant_201", 201)):
        np.testing.assert_array_equal(data.read_label(case).data, frame(number)[1])
    merged = frame(100)[1].copy()
    merged[:3, :3] = True
    np.testing.assert_array_equal(data.read_label("benign_100").data, merged)
    grey = frame(3, channels=1)[0]
    np.testing.assert_array_equal(pixels(data, "benign_3"), np.dstack([grey] * 3))


def test_busi_masks_of_different_sizes(tmp_path):
    raw = write_busi(tmp_path / "raw")
    save(next(raw.rglob("*_mask_1.png")), np.zeros((5, 5), np.uint8))
    with pytest.raises(DataError, match=r"_mask_1\.png: has another size than benign \(100\)_mask\.png"):
        convert("busi", raw, tmp_path / "out")


@only("hmeps")
def test_hmeps_takes_the_red_pupil_and_the_subject(converted):
    data = converted.dataset
    assert data.ids("test") == ["y-00B-1-0"] and len(data) == 4
    assert data.description.patients["y-00B-2-0"] == "6"
    np.testing.assert_array_equal(data.read_label("y-00B-0-0").data, frame(0)[1])
    assert data.read_label("y-00B-3-0").data.max() == 0
    assert data.read("y-00B-0-0").data.shape == (1, 24, 30)
    assert np.abs(pixels(data, "y-00B-0-0")[..., 0] - frame(0, channels=1)[0]).mean() < 5, "JPEG is near the original"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("sub,", "subject,"), r"annotations\.csv: has no columns 'filename' and 'sub'"),
        (lambda text: text.replace("y-00B-2-0", "z"), r"y-00B-2-0\.jpg: is not in annotation/annotations\.csv, as 1 "),
    ],
)
def test_hmeps_with_a_broken_table(tmp_path, change, message):
    raw = write_hmeps(tmp_path / "raw")
    table = next(raw.rglob("annotations.csv"))
    table.write_text(change(table.read_text()))
    with pytest.raises(DataError, match=message):
        convert("hmeps", raw, tmp_path / "out")


@only("polyp")
def test_polyps_of_the_bundle(converted):
    data = converted.dataset
    assert sorted(data.ids("train")) == ["clinicdb_1", "clinicdb_2", f"kvasir_{KVASIR}"]
    assert sorted(data.ids("test")) == ["clinicdb_100", "cvc300_149", "cvc300_150", f"kvasir_{KVASIR_TEST}"]
    mask = frame(6)[1].copy()
    mask[0, 0], mask[0, 1] = False, True
    np.testing.assert_array_equal(data.read_label("cvc300_150").data, mask)
    np.testing.assert_array_equal(pixels(data, "clinicdb_2"), frame(2)[0])


def test_polyps_of_their_owners_are_parted_as_in_the_bundle(tmp_path):
    data = convert("polyp", write_polyp_originals(tmp_path / "raw"), tmp_path / "out").dataset
    assert sorted(data.ids("train")) == ["clinicdb_1", f"kvasir_{KVASIR}"]
    assert sorted(data.ids("test")) == ["clinicdb_100", f"kvasir_{KVASIR_TEST}"]
    np.testing.assert_array_equal(pixels(data, "clinicdb_1"), frame(1)[0])
    np.testing.assert_array_equal(data.read_label("clinicdb_100").data, frame(100)[1])
    assert (data.read_label(f"kvasir_{KVASIR}").data != frame(0)[1]).mean() < 0.02, "JPEG masks are near"


@only("bcss")
def test_bcss_tiles_cover_every_region(converted, tmp_path):
    data, home = converted.dataset, next(tmp_path.glob("raw/*"))
    assert len(data) == 12 + 2 + 3 and "17 tiles; the published protocol has 3,888" in converted.notes[0]
    for name, shape in REGIONS.items():
        region = name.split("_MPP")[0]
        image = np.asarray(Image.open(home / f"rgbs_colorNormalized/{name}.png"))
        codes = np.asarray(Image.open(home / f"masks/{name}.png"))
        covered = np.zeros(shape, int)
        for case in data.cases:
            if case.startswith(region):
                row, column = (int(part[1:]) for part in case.rsplit("_", 2)[1:])
                here = slice(row, row + 16), slice(column, column + 16)
                assert covered[here].shape == (min(16, shape[0]), 16)
                covered[here] += 1
                np.testing.assert_array_equal(pixels(data, case), image[here])
                np.testing.assert_array_equal(data.read_label(case).data, codes[here] == 1)
                assert data.description.patients[case] == "-".join(name.split("-")[:3])
        assert covered.min() == 1 and covered.max() <= 4


def test_bcss_with_other_codes_of_tumour(tmp_path):
    raw = write_bcss(tmp_path / "raw")
    data = convert("bcss", raw, tmp_path / "out", {"tile": 64, "tumour": [1, 19]}).dataset
    codes = np.asarray(Image.open(next(raw.rglob(f"masks/{next(iter(REGIONS))}.png"))))
    case = "TCGA-A1-A0SK-DX1_xmin45749_ymin25055_r00000_c00000"
    np.testing.assert_array_equal(data.read_label(case).data, np.isin(codes, [1, 19]))
    assert len(data) == 3


def test_real_ph2_files(tmp_path):
    raw = SHARED / "raw/PH2Dataset"
    if not raw.is_dir():
        pytest.skip("the real PH2 files are not here")
    data = convert("ph2", raw, tmp_path / "ph2").dataset
    assert sorted(data.cases) == ["IMD002", "IMD003", "IMD004", "IMD006"]
    for case in data.cases:
        home = raw / "PH2 Dataset images" / case
        stored = (data.root / f"imagesTr/{case}_0000.bmp").read_bytes()
        assert stored == (home / f"{case}_Dermoscopic_Image/{case}.bmp").read_bytes()
        mask = np.asarray(Image.open(home / f"{case}_lesion/{case}_lesion.bmp"))
        np.testing.assert_array_equal(data.read_label(case).data, mask.reshape(*mask.shape[:2], -1).max(2) > 0)
        assert 0.02 < data.read_label(case).data.mean() < 0.98
