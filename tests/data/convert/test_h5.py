import random
import sys

import numpy as np
import pytest

from fewmask.data.check import check_dataset
from fewmask.data.convert import convert
from fewmask.data.convert.hdf5 import read_pair
from fewmask.errors import ConfigError, DataError, FewmaskError
from helpers import SHARED
from layouts import scan, write_h5

h5py = pytest.importorskip("h5py")
NAMES = [f"patient{n:03d}_frame01" for n in (3, 1, 2, 4, 5)]
HEART = ["background", "right", "myocardium", "left"]


@pytest.fixture
def raw(tmp_path):
    """As SSL4MIS has ACDC: volumes (z, y, x), slices beside them, lists."""
    root = tmp_path / "ACDC"
    for number, name in enumerate(NAMES):
        image, label = scan(number, classes=4)
        write_h5(root / f"data/{name}.h5", image.T.astype(np.float32) / 255, label.T)
        write_h5(root / f"data/slices/{name}_slice_1.h5", image[:, :, 0].T / 255, label[:, :, 0].T)
    (root / "train.list").write_text("".join(f"{name}\n" for name in NAMES[:3]))
    (root / "train_slices.list").write_text(f"{NAMES[0]}_slice_1\n")
    (root / "val.list").write_text(f"{NAMES[3]}\n\n")
    (root / "test.list").write_text(f"{NAMES[4]}.h5\r\n")
    return root


def test_volumes_and_lists(raw, tmp_path):
    done = convert("h5", raw, tmp_path / "acdc", {"classes": HEART, "spacing": [1.5, 1.4, 10]})
    data = done.dataset
    assert data.ids("test") == NAMES[4:] and data.ids("train") == sorted(NAMES[:4])
    split = data.load_split("lists")
    assert split.labelled == tuple(NAMES[:3]) and split.validation == (NAMES[3],) and split.test == (NAMES[4],)
    assert data.split(labelled=2, ordered=True).labelled == tuple(NAMES[:2])
    for number, name in enumerate(NAMES):
        image, label = scan(number, classes=4)
        np.testing.assert_array_equal(data.read(name).data[0], image.astype(np.float32) / 255)
        np.testing.assert_array_equal(data.read_label(name).data, label)
    np.testing.assert_allclose(data.read(NAMES[0]).geometry.spacing, (1.5, 1.4, 10))
    assert done.splits == ["lists"] and done.notes == [] and done.missing == []
    assert check_dataset(tmp_path / "acdc").ok


def test_more_classes_than_were_told(raw, tmp_path):
    with pytest.raises(
        DataError, match=r"patient001_frame01\.h5: holds label values from 0 to 3, but the classes are 0 to 1"
    ):
        convert("h5", raw, tmp_path / "acdc")


def test_lists_and_files_that_do_not_fit(raw, tmp_path):
    (raw / "data" / f"{NAMES[1]}.h5").rename(raw / "data/extra.h5")
    done = convert("h5", raw, tmp_path / "acdc", {"classes": HEART, "spacing": [1, 1, 1]})
    assert done.missing == [f"{raw / 'train.list'}: names 1 cases that are not there, {NAMES[1]!r} among them"]
    assert "1 cases are in no list, 'extra' among them" in done.notes[0]
    assert done.dataset.split(labelled=4, ordered=True).labelled == (NAMES[0], NAMES[2], "extra", NAMES[3])
    (raw / "test.list").write_text(NAMES[0])
    with pytest.raises(DataError, match=r"train\.list: names 'patient003_frame01', which is in test\.list already"):
        convert("h5", raw, tmp_path / "other", {"classes": HEART})
    (raw / "test.list").unlink()
    (raw / "train.txt").write_text(NAMES[0])
    with pytest.raises(DataError, match=r"is a list of train cases like train\.list"):
        convert("h5", raw, tmp_path / "other", {"classes": HEART})


def test_files_in_folders_of_their_names(tmp_path):
    """As UA-MT's left atrium, without the converter of its own."""
    for number, name in enumerate(("A", "B")):
        write_h5(tmp_path / f"raw/{name}/mri_norm2.h5", *scan(number))
    done = convert("h5", tmp_path / "raw", tmp_path / "out", {"axes": "xyz"})
    assert list(done.dataset.cases) == ["A", "B"] and "spacing" in done.notes[0]
    np.testing.assert_array_equal(done.dataset.read("B").data[0], scan(1)[0])


@pytest.mark.skipif(
    not (SHARED / "raw/2018LA_Seg_Training Set").is_dir(), reason="the raw files are not beside this checkout"
)
def test_real_files(tmp_path):
    raw = SHARED / "raw/2018LA_Seg_Training Set"
    data = convert("h5", raw, tmp_path / "out", {"axes": "xyz", "spacing": [0.625] * 3}).dataset
    name = sorted(path.name for path in raw.iterdir())[0]
    with h5py.File(raw / name / "mri_norm2.h5") as file:
        np.testing.assert_allclose(data.read(name).data[0], file["image"][()], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda path: path.write_bytes(b""), "is truncated or no HDF5 file"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50)), "is truncated or no HDF5 file"),
        (lambda path: h5py.File(path, "w").close(), "expected the arrays image and label, but found nothing"),
        (lambda path: write_h5(path, np.zeros((2, 3, 4)), np.zeros((2, 3, 5), int)), "the image has the shape"),
        (lambda path: write_h5(path, np.zeros((2, 3, 4)), np.full((2, 3, 4), 0.5)), "label values that are not whole"),
        (
            lambda path: write_h5(path, np.zeros((2, 3, 4, 5)), np.zeros((2, 3, 4, 5))),
            "expected numbers in two or three axes",
        ),
    ],
    ids=["empty", "cut", "nothing in it", "shapes", "fractions", "four axes"],
)
def test_damaged_and_odd_files(tmp_path, make, match):
    (tmp_path / "raw").mkdir()
    make(tmp_path / "raw/a.h5")
    with pytest.raises(DataError, match=match) as error:
        convert("h5", tmp_path / "raw", tmp_path / "out")
    assert "a.h5" in str(error.value) and "\n" not in str(error.value)


def test_bytes_that_are_wrong_anywhere(tmp_path):
    """Read, or refused in a sentence: 150 files with one to eight wrong bytes in their structure, or cut short."""
    write_h5(tmp_path / "a.h5", *scan())
    whole, path, refused = (tmp_path / "a.h5").read_bytes(), tmp_path / "b.h5", 0
    for seed in range(150):
        rng = random.Random(seed)
        data = bytearray(whole)
        for _ in range(rng.choice([1, 2, 8])):
            data[rng.randrange(min(len(data), 4000))] = rng.choice([0, 255, rng.randrange(256)])
        path.write_bytes(data if rng.random() < 0.8 else data[: rng.randrange(len(data))])
        try:
            read_pair(path)
        except DataError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert 10 < refused < 150


def test_without_h5py_it_says_what_to_install(raw, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(FewmaskError, match=r"HDF5 needs h5py; type: pip install 'fewmask\[convert\]'"):
        convert("h5", raw, tmp_path / "out", {"classes": HEART})


def test_settings(raw, tmp_path):
    for settings in ({"classes": ["a"]}, {"classes": ["a", "a"]}, {"spacing": [1, 1]}, {"axes": "yxz"}):
        with pytest.raises(ConfigError):
            convert("h5", raw, tmp_path / "out", {"classes": HEART, **settings})
