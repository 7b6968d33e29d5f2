from __future__ import annotations

import os
import pickle
import shutil
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest

from fewmask.config import PreprocessConfig
from fewmask.data import fingerprint
from fewmask.data import store as store_module
from fewmask.data.dataset import Dataset
from fewmask.data.fingerprint import folder_name
from fewmask.data.preprocess import Preprocessor
from fewmask.data.store import Store, sample_foreground
from fewmask.errors import DataError, RunError
from helpers import SHARED, write_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    # Uncompressed, so that a changed voxel leaves the file's size alone.
    return Dataset.open(write_dataset(tmp_path / "data", cases=2, unlabelled=1, classes=3, ending=".nii"))


@pytest.fixture
def whole_numbers(dataset: Dataset) -> Dataset:
    """The same with whole-numbered voxels, as scanners store them."""
    for case in dataset.cases.values():
        for path in case.images:
            scan = nibabel.load(path)
            nibabel.Nifti1Image(np.rint(scan.get_fdata()).astype(np.int16), scan.affine).to_filename(path)
    return dataset


COMPACT = PreprocessConfig(store="compact")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def change_a_voxel(path: Path) -> None:
    """Other contents of the same size, with the old times."""
    before = path.stat()
    contents = bytearray(path.read_bytes())
    contents[-6] ^= 0x40
    path.write_bytes(bytes(contents))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


class Builds:
    """Counts what is prepared rather than taken from disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.images: list[str] = []
        self.labels: list[str] = []
        image, label = Preprocessor.image, Preprocessor.label
        monkeypatch.setattr(Preprocessor, "image", lambda s, i: (self.images.append(i.path.name), image(s, i))[1])
        monkeypatch.setattr(
            Preprocessor, "label", lambda s, i, *of: (self.labels.append(i.path.name), label(s, i, *of))[1]
        )

    def taken(self) -> tuple[list[str], list[str]]:
        done = (self.images[:], self.labels[:])
        self.images.clear()
        self.labels.clear()
        return done


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Builds:
    return Builds(monkeypatch)


def test_what_is_stored_is_what_preprocessing_gives(dataset: Dataset, root: Path) -> None:
    config = PreprocessConfig(spacing=(2.0, 1.0, 1.0), crop="body")
    store = Store(root, dataset, config)
    preprocessor = Preprocessor(config, 3)
    for case_id in dataset.ids("train"):
        image, record = preprocessor.image(dataset.read(case_id))
        label = preprocessor.label(dataset.read_label(case_id), record)
        np.testing.assert_array_equal(store.image(case_id), image)
        np.testing.assert_array_equal(store.label(case_id), label)
        assert store.record(case_id) == record
        assert store.shape(case_id) == record.shape == label.shape
        assert store.spacing(case_id) == record.spacing
        assert (store.image(case_id).dtype, store.label(case_id).dtype) == (np.float32, np.uint8)
        foreground = store.foreground(case_id)
        assert foreground.dtype == np.int32
        np.testing.assert_array_equal(label[tuple(foreground[:, 1:].T)], foreground[:, 0])
        assert len(foreground) == np.count_nonzero(label)


def test_a_current_store_is_left_alone(dataset: Dataset, root: Path, builds: Builds) -> None:
    ids = dataset.ids("train")
    steps: list[tuple[int, int]] = []
    Store(root, dataset, PreprocessConfig()).prepare(ids, ids, lambda done, total: steps.append((done, total)))
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert tuple(map(len, builds.taken())) == (2, 2)
    Store(root, dataset, PreprocessConfig()).prepare(ids, ids)
    assert builds.taken() == ([], [])


def test_labels_alone_bring_their_images_along(dataset: Dataset, root: Path) -> None:
    store = Store(root, dataset, PreprocessConfig())
    store.prepare([], ["case_000"])
    assert {path.name for path in (store.folder / "case_000").iterdir()} == {
        "image.npy",
        "image.json",
        "label.npy",
        "foreground.npy",
        "label.json",
    }


def test_changed_contents_of_the_same_size_and_time_are_seen(dataset: Dataset, root: Path, builds: Builds) -> None:
    ids = dataset.ids("train")
    Store(root, dataset, PreprocessConfig()).prepare(ids, ids)
    builds.taken()
    scan = dataset.cases["case_001"].images[0]
    old = np.array(Store(root, dataset, PreprocessConfig()).image("case_001"))
    change_a_voxel(scan)
    store = Store(root, dataset, PreprocessConfig())
    assert not np.array_equal(store.image("case_001"), old)
    store.prepare(ids, ids)
    assert builds.taken() == (["case_001_0000.nii"], ["case_001.nii"])


def test_a_changed_label_leaves_the_image_alone(dataset: Dataset, root: Path, builds: Builds) -> None:
    ids = dataset.ids("train")
    Store(root, dataset, PreprocessConfig()).prepare(ids, ids)
    builds.taken()
    path = dataset.cases["case_000"].label
    assert path is not None
    contents = bytearray(path.read_bytes())
    contents[-6] = 2
    path.write_bytes(bytes(contents))
    store = Store(root, dataset, PreprocessConfig())
    store.prepare(ids, ids)
    assert builds.taken() == ([], ["case_000.nii"])
    np.testing.assert_array_equal(store.label("case_000"), dataset.read_label("case_000").data)


def test_other_settings_are_another_store(dataset: Dataset, root: Path, builds: Builds, monkeypatch) -> None:
    first = Store(root, dataset, PreprocessConfig())
    second = Store(root, dataset, PreprocessConfig(normalisation="minmax"))
    assert first.image("case_000").max() > 1
    assert second.image("case_000").max() == 1
    assert first.folder != second.folder
    assert first.folder.parent == second.folder.parent == root
    builds.taken()
    monkeypatch.setattr(store_module, "VERSION", store_module.VERSION + 1)
    Store(root, dataset, PreprocessConfig()).prepare(["case_000"], [])
    assert builds.taken()[0] == ["case_000_0000.nii"]


def test_the_median_spacing_is_resolved_without_the_test_scans(tmp_path: Path, root: Path) -> None:
    for number, (spacing, counts) in enumerate(
        [((1, 2, 3), {}), ((1, 4, 3), {}), ((9, 9, 9), {"cases": 0, "test": 5})]
    ):
        part = write_dataset(tmp_path / str(number), spacing=spacing, ending=".nii", **{"cases": 2 - number, **counts})
        for path in part.rglob("*.nii"):
            target = tmp_path / "data" / path.parent.name / f"{number}{path.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    shutil.copy(tmp_path / "0" / "dataset.json", tmp_path / "data")
    dataset = Dataset.open(tmp_path / "data")
    assert Store(root, dataset, PreprocessConfig(spacing="median")).config.spacing == (1, 2, 3)
    other = Store(root, dataset, PreprocessConfig(spacing="median"))
    assert other.folder == Store(root, dataset, PreprocessConfig(spacing=(1, 2, 3))).folder


def test_a_label_that_was_not_asked_for_is_never_opened(dataset: Dataset, root: Path) -> None:
    garbage = dataset.cases["case_001"].label
    assert garbage is not None
    garbage.write_bytes(b"this is no image")
    store = Store(root, dataset, PreprocessConfig())
    store.prepare(["case_000", "case_001", "extra_000"], ["case_000"])
    assert store.image("case_001").any()
    assert store.record("case_001").shape == store.shape("case_001")
    garbage.unlink()
    Store(root, dataset, PreprocessConfig()).prepare(["case_001"], [])
    with pytest.raises(DataError, match=r"case_001\.nii"):
        Store(root, dataset, PreprocessConfig()).label("case_001")


def test_a_case_without_a_label(dataset: Dataset, root: Path) -> None:
    with pytest.raises(DataError, match="extra_000"):
        Store(root, dataset, PreprocessConfig()).label("extra_000")


def test_a_missing_scan_is_named(dataset: Dataset, root: Path) -> None:
    dataset.cases["case_000"].images[0].unlink()
    with pytest.raises(DataError, match=r"case_000_0000\.nii"):
        Store(root, dataset, PreprocessConfig()).image("case_000")


@pytest.mark.parametrize("name", ["image.npy", "table.npy", "image.json", "label.npy", "label.json", "foreground.npy"])
@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "garbage"])
def test_damaged_files_are_made_anew(whole_numbers: Dataset, root: Path, name: str, damage: str) -> None:
    dataset = whole_numbers
    store = Store(root, dataset, COMPACT)
    expected = np.array(store.image("case_000")), np.array(store.label("case_000")), store.foreground("case_000")
    path = store.folder / "case_000" / name
    contents = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes({"cut": contents[: len(contents) // 2], "empty": b"", "garbage": b"\x80garbage" * 99}[damage])
    fresh = Store(root, dataset, COMPACT)
    for got, wanted in zip(
        (fresh.image("case_000"), fresh.label("case_000"), fresh.foreground("case_000")), expected, strict=True
    ):
        np.testing.assert_array_equal(got, wanted)


def test_damage_while_in_use_is_a_clear_error(dataset: Dataset, root: Path) -> None:
    store = Store(root, dataset, PreprocessConfig())
    store.prepare(["case_000"], [])
    path = store.folder / "case_000" / "image.npy"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(RunError, match=r"image\.npy.*start again"):
        store.image("case_000")


@pytest.mark.parametrize(
    "dies_at", ["table.npy", "image.npy", "image.json", "label.npy", "foreground.npy", "label.json"]
)
def test_a_killed_build_leaves_nothing_that_is_taken_for_whole(whole_numbers, root, monkeypatch, dies_at) -> None:
    dataset = whole_numbers
    old = Store(root, dataset, COMPACT)
    old.prepare(["case_000"], ["case_000"])
    original = dataset.cases["case_000"].images[0].read_bytes()
    change_a_voxel(dataset.cases["case_000"].images[0])
    replace = Path.replace

    def dying(self: Path, target: Path) -> Path:
        if Path(target).name == dies_at:
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", dying)
        Store(root, dataset, COMPACT).prepare(["case_000"], ["case_000"])
    # The old scan comes back: whatever the interrupted build left must not be served under its key.
    dataset.cases["case_000"].images[0].write_bytes(original)
    store = Store(root, dataset, COMPACT)
    image, record = Preprocessor(COMPACT, 3).image(dataset.read("case_000"))
    np.testing.assert_array_equal(store.image("case_000"), image)
    np.testing.assert_array_equal(store.label("case_000"), dataset.read_label("case_000").data)
    assert not [path for path in store.folder.rglob("*") if path.name.startswith(".partial")]
    assert record == store.record("case_000")


def test_arrays_are_mapped_not_loaded(dataset: Dataset, root: Path) -> None:
    store = Store(root, dataset, PreprocessConfig())
    patch = store.image("case_000")[:, 2:6, 3:7, 1:4]
    assert isinstance(patch, np.memmap)
    assert isinstance(store.label("case_000"), np.memmap)
    assert not store.image("case_000").flags.writeable


def test_whole_numbered_scans_take_a_byte_a_voxel_and_lose_nothing(whole_numbers: Dataset, root: Path) -> None:
    store = Store(root, whole_numbers, COMPACT)
    image, _ = Preprocessor(PreprocessConfig(), 3).image(whole_numbers.read("case_000"))
    np.testing.assert_array_equal(np.array(store.image("case_000")).view(np.uint32), image.view(np.uint32))
    codes = np.load(store.folder / "case_000" / "image.npy", mmap_mode="r")
    assert (codes.dtype, codes.shape) == (np.uint8, image.shape)
    part = (slice(None), slice(2, 6), slice(3, 7), slice(1, 4))
    np.testing.assert_array_equal(store.image("case_000")[part], image[part])


def test_scans_are_float_where_resampled_or_by_default(whole_numbers: Dataset, root: Path) -> None:
    config = PreprocessConfig(spacing=(1.3, 1.1, 0.9), store="compact")
    store = Store(root, whole_numbers, config)
    image, _ = Preprocessor(config, 3).image(whole_numbers.read("case_000"))
    assert isinstance(store.image("case_000"), np.memmap)
    np.testing.assert_array_equal(store.image("case_000"), image)
    assert isinstance(Store(root, whole_numbers, PreprocessConfig()).image("case_000"), np.memmap)


def test_files_stay_mapped_until_they_are_replaced(dataset: Dataset, root: Path) -> None:
    store = Store(root, dataset, PreprocessConfig())
    first = store.image("case_000")
    assert store.image("case_000") is first
    path = store.folder / "case_000" / "image.npy"
    other = shutil.copy(path, path.with_name("other.npy"))  # has another time
    Path(other).replace(path)
    second = store.image("case_000")
    assert second is not first and store.image("case_000") is second
    np.testing.assert_array_equal(second, first)


def test_only_so_many_files_stay_mapped(dataset: Dataset, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MOST_OPEN", 2)
    store = Store(root, dataset, PreprocessConfig())
    for case_id in ("case_000", "case_001", "extra_000") * 2:
        assert store.image(case_id).shape[1:] == store.shape(case_id)
        assert len(store._maps) <= 2


def test_a_pickled_store_trusts_what_was_checked(dataset: Dataset, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(root, dataset, PreprocessConfig())
    store.prepare(["case_000"], ["case_000"])
    assert store.image("case_000").nbytes > len(pickle.dumps(store)), "maps are opened anew, not copied"
    copy = pickle.loads(pickle.dumps(store))
    monkeypatch.setattr(fingerprint, "file_digest", lambda path: pytest.fail(f"{path} was read again"))
    np.testing.assert_array_equal(copy.image("case_000"), store.image("case_000"))
    np.testing.assert_array_equal(copy.foreground("case_000"), store.foreground("case_000"))


ODD = ["a b", "..", ".", "a.b", "a_b", "Ärzte-患者", "é", "e\u0301", "x" * 240, "x" * 241, "con*?", "", "A:B", "a b "]


def test_folder_names_are_safe_and_different() -> None:
    names = [folder_name(case_id) for case_id in ODD]
    assert len(set(names)) == len(ODD)
    for name in names:
        assert name.isascii()
        assert len(name) <= 80
        assert not set(name) & set('/\\:*?"<>| ')
        assert name.strip(".")
    assert folder_name("LA_012-b") == "LA_012-b"


@pytest.mark.parametrize("case_id", ["my scan 1", "Ärzte-患者", "v1.2..x"])
def test_odd_case_ids_work(tmp_path: Path, case_id: str) -> None:
    root = write_dataset(tmp_path / "data", cases=1, dims=2)
    for path in root.rglob("case_000*"):
        path.rename(path.with_name(path.name.replace("case_000", case_id)))
    dataset = Dataset.open(root)
    store = Store(tmp_path / "store", dataset, PreprocessConfig())
    store.prepare([case_id], [case_id])
    assert store.image(case_id).shape == (1, *store.shape(case_id))
    assert [path.parent for path in (tmp_path / "store").rglob("image.npy")] == [store.folder / folder_name(case_id)]


def test_colour_images_in_2d(tmp_path: Path, root: Path) -> None:
    dataset = Dataset.open(write_dataset(tmp_path / "data", cases=1, dims=2, channels=3))
    store = Store(root, dataset, PreprocessConfig(size=(32, 24)))
    assert store.image("case_000").shape == (3, 32, 24)
    assert store.label("case_000").shape == (32, 24)
    assert store.foreground("case_000").shape[1] == 3


def test_voxels_in_a_file_beside_the_scan_count_as_its_contents(tmp_path: Path, root: Path, builds: Builds) -> None:
    dataset = Dataset.open(write_dataset(tmp_path / "data", cases=1, ending=".mhd"))
    Store(root, dataset, PreprocessConfig()).prepare(["case_000"], [])
    builds.taken()
    (voxels,) = (path for path in dataset.cases["case_000"].images[0].parent.iterdir() if path.suffix.endswith("raw"))
    contents = voxels.read_bytes()
    packed = voxels.suffix == ".zraw"
    values = bytearray(zlib.decompress(contents) if packed else contents)
    values[-6] ^= 0x40
    voxels.write_bytes(zlib.compress(bytes(values)) if packed else bytes(values))
    Store(root, dataset, PreprocessConfig()).prepare(["case_000"], [])
    assert builds.taken()[0] == ["case_000_0000.mhd"]


def test_foreground_is_limited_per_class_and_repeatable() -> None:
    label = np.zeros((50, 50, 20), dtype=np.uint8)
    label[:30] = 1
    label[40, 3, 4:9] = 7
    rows = sample_foreground(label, limit=100)
    np.testing.assert_array_equal(rows, sample_foreground(label, limit=100))
    assert np.bincount(rows[:, 0]).tolist() == [0, 100, 0, 0, 0, 0, 0, 5]
    assert len(np.unique(rows, axis=0)) == 105
    np.testing.assert_array_equal(label[tuple(rows[:, 1:].T)], rows[:, 0])
    assert rows[rows[:, 0] == 1, 1].max() > 20, "drawn from the whole class"


def test_no_foreground() -> None:
    assert sample_foreground(np.zeros((4, 4), dtype=np.uint8)).shape == (0, 3)


@pytest.mark.skipif(not (SHARED / "Dataset001_LeftAtrium").is_dir(), reason="needs the real scans")
def test_a_real_scan_comes_back_to_its_own_grid(root: Path) -> None:
    dataset = Dataset.open(SHARED / "Dataset001_LeftAtrium")
    case_id = dataset.ids("train", labelled=True)[0]
    store = Store(root, dataset, PreprocessConfig())
    store.prepare([case_id], [case_id])
    label = store.label(case_id)
    probabilities = np.stack([label == 0, label == 1])
    restored = Preprocessor(store.config, 3).restore(probabilities, store.record(case_id))
    np.testing.assert_array_equal(restored[1], dataset.read_label(case_id).data == 1)
