"""Prepared cases on disk as memory-mapped arrays: preparing happens once, and a patch is read without its volume.

``root/<settings>/<case>/`` holds ``image.npy`` with ``image.json``, and for cases whose label was asked for
``label.npy`` and ``foreground.npy`` with ``label.json``. Under ``preprocess.store: compact`` an image of few distinct values is stored
as codes, and ``table.npy`` turns them into float32 (see `fewmask.data.coded`). The JSON file carries a key made of the settings and the bytes
of the input files, and is written last: an array without it, or with another key, counts as not there and is made anew.
Processes that share a store prepare a case one after the other, and find it done when their turn comes.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fewmask.config import PreprocessConfig
from fewmask.data.coded import CODES, UNREADABLE, Coded, Volume, encode, load_array
from fewmask.data.dataset import Dataset
from fewmask.data.fingerprint import Stamp, digest, folder_name, input_key
from fewmask.data.preprocess import Preprocessor, resolve_spacing
from fewmask.data.record import Record
from fewmask.errors import DataError, RunError
from fewmask.files import make_folder, read_json, replacing, sweep, write_json
from fewmask.locks import locked
from fewmask.places import inside, refuse_links, refuse_special

VERSION = (
    2  # raise it when preprocessing gives other numbers for the same settings: every stored case is then made anew
)
FOREGROUND_VOXELS = 10_000
MOST_OPEN = 4096  # files kept mapped; Linux allows a process 65530 mappings


def sample_foreground(label: np.ndarray, limit: int = FOREGROUND_VOXELS) -> np.ndarray:
    """Voxels of each foreground class, drawn without replacement and the same each time.

    Args:
        label: ``(*P)`` uint8.
        limit: voxels per class; a smaller class gives all of its own.

    Returns:
        ``(n, 1 + dims)`` int32: the class, then the index; sorted by class.
    """
    generator = np.random.default_rng(0)
    rows = [np.empty((0, 1 + label.ndim), dtype=np.int32)]
    for value in np.unique(label):
        if value == 0:
            continue
        places = np.flatnonzero(label == value)
        if len(places) > limit:
            places = np.sort(generator.choice(places, limit, replace=False))
        index = np.unravel_index(places, label.shape)
        rows.append(np.stack([np.full(len(places), value), *index], axis=1).astype(np.int32))
    return np.concatenate(rows)


def _save(path: Path, values: np.ndarray) -> None:
    with replacing(path) as temporary:
        np.save(temporary, values)


def _open(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> Volume:
    """A stored array whose last axes must be ``shape``, decoded as it is read where it is coded.

    Raises:
        ValueError: it is something else, or a file is shorter than its header says.
    """
    refuse_special(path)
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(values, np.memmap):
        raise ValueError("holds several arrays")
    coded = dtype is np.float32 and values.dtype in CODES
    volume = Coded(values, load_array(path.with_name("table.npy"))) if coded else values
    if volume.shape[-len(shape) :] != shape or volume.dtype != dtype:
        raise ValueError(f"holds {volume.dtype} {volume.shape}")
    return volume


def _samples(folder: Path, *names: str) -> dict[str, str]:
    """What arrays look like at a glance, so that one that is not what was made is noticed when the store is opened again."""
    return {name: Stamp.of(folder / name).sample for name in names}


class Store:
    """The prepared cases of one data set under one set of settings.

    Asking for a case that is not prepared, or whose input files have changed, prepares it. Each case is checked once in
    the life of a store; from then on only the size and time of its arrays are looked at. Files stay mapped, so that reading another
    patch is no more than a copy out of the memory in which the system keeps the file, one for all loader processes. A store can be
    pickled to these.

    Args:
        root: folder for stores; several settings and data sets can share it.
        dataset: where the cases come from.
        config: the settings; ``spacing: median`` is resolved on the data set.

    Attributes:
        config: the settings with every value resolved.
        folder: where the cases of these settings lie.

    Raises:
        ConfigError: the settings do not fit the data set.
    """

    def __init__(self, root: Path, dataset: Dataset, config: PreprocessConfig) -> None:
        self.dataset = dataset
        self.config = resolve_spacing(dataset, config)
        self._preprocessor = Preprocessor(self.config, dataset.spatial_dims)
        settings = json.dumps([VERSION, self.config.model_dump(mode="json")], sort_keys=True)
        self._settings = digest(settings.encode())
        self.root = Path(root)
        self.folder = self.root / self._settings
        self._images: dict[str, tuple[str, Record]] = {}
        self._labels: set[str] = set()
        self._stamps: dict[Path, Stamp] = {}
        self._maps: dict[Path, tuple[Stamp, Volume]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}  # a pickled map would be the whole array

    def prepare(
        self, images: Iterable[str], labels: Iterable[str], progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Make what is missing or out of date.

        Args:
            images: case ids.
            labels: ids of the cases whose label may be opened; no other label file is touched.
            progress: called with the parts done and the parts in all.

        Raises:
            DataError: an input file cannot be read or used.
        """
        labels = list(dict.fromkeys(labels))
        images = list(dict.fromkeys((*images, *labels)))
        jobs = [(self._image, case_id) for case_id in images] + [(self._label, case_id) for case_id in labels]
        for done, (job, case_id) in enumerate(jobs, start=1):
            job(case_id)
            if progress is not None:
                progress(done, len(jobs))

    def image(self, case_id: str) -> Volume:
        """The prepared image ``(C, *P)`` float32, mapped: only what is indexed is read."""
        return self._mapped(case_id, "image.npy", np.float32)

    def label(self, case_id: str) -> Volume:
        """The prepared label map ``(*P)`` uint8, mapped."""
        self._label(case_id)
        return self._mapped(case_id, "label.npy", np.uint8)

    def foreground(self, case_id: str) -> np.ndarray:
        """Sampled foreground voxels, int32 ``(n, 1 + dims)``: class, then index (see `sample_foreground`)."""
        self._label(case_id)
        path = self._case_folder(case_id) / "foreground.npy"
        try:
            rows = load_array(path)
        except UNREADABLE as error:
            raise self._damaged(path) from error
        self._check_unchanged(path)
        return rows

    def record(self, case_id: str) -> Record:
        """What preprocessing did to the case."""
        return self._image(case_id)[1]

    def shape(self, case_id: str) -> tuple[int, ...]:
        """Voxels per axis ``(*P)`` of the prepared case."""
        return self.record(case_id).shape

    def spacing(self, case_id: str) -> tuple[float, ...]:
        """Millimetres per axis of the prepared case."""
        return self.record(case_id).spacing

    def _case_folder(self, case_id: str) -> Path:
        return self.folder / folder_name(case_id)

    def _damaged(self, path: Path) -> RunError:
        return RunError(
            f"{path}: was removed, damaged or replaced while in use; start again (a training with --resume auto), "
            "and it is prepared anew where need be"
        )

    def _mapped(self, case_id: str, name: str, dtype: type[np.generic]) -> Volume:
        path, shape = self._case_folder(case_id) / name, self.shape(case_id)
        self._check_unchanged(path)
        stamp, volume = self._maps.get(path, (None, None))
        if volume is None or stamp is not self._stamps[path]:
            try:
                volume = _open(path, shape, dtype)
            except UNREADABLE as error:
                raise self._damaged(path) from error
            self._check_unchanged(path)
            if len(self._maps) >= MOST_OPEN:
                self._maps.clear()
            self._maps[path] = (self._stamps[path], volume)
        return volume

    def _check_unchanged(self, path: Path) -> None:
        """See that an array still is the one that was checked; a copy, or one that was only touched, will do.

        A case that is replaced in the middle of a run would change the run without a word.
        """
        try:
            self._stamps[path] = self._stamps[path].renewed(path)
        except (OSError, ValueError) as error:
            raise self._damaged(path) from error

    def _image(self, case_id: str) -> tuple[str, Record]:
        """Key and record of a case whose image is on disk and up to date."""
        if case_id not in self._images:
            key = input_key(self._settings, self.dataset.case(case_id).images)
            record = self._stored_record(case_id, key) or self._make_image(case_id, key)
            self._stamp(case_id, "image.npy")
            self._images[case_id] = (key, record)
        return self._images[case_id]

    def _stored_record(self, case_id: str, key: str) -> Record | None:
        folder = self._case_folder(case_id)
        try:
            stored = read_json(folder / "image.json")
            if stored["key"] != key:
                return None
            record = Record.from_dict(stored["record"])
            _open(folder / "image.npy", record.shape, np.float32)
            return record if stored["made"] == _samples(folder, *stored["made"]) else None
        except UNREADABLE:
            return None

    def _make_image(self, case_id: str, key: str) -> Record:
        with self._alone(case_id) as folder:
            done = self._stored_record(case_id, key)
            if done is not None:
                return done
            values, record = self._preprocessor.image(self.dataset.read(case_id, self.config.geometry))
            # Without the old key first gone, a crash here could leave a new array under it.
            (folder / "image.json").unlink(missing_ok=True)
            coded = encode(values) if self.config.store == "compact" else None
            arrays = {"image.npy": values} if coded is None else {"table.npy": coded[1], "image.npy": coded[0]}
            for name, array in arrays.items():
                _save(folder / name, array)
            made = _samples(folder, *arrays)
            write_json(folder / "image.json", {"case": case_id, "key": key, "record": record.to_dict(), "made": made})
            return record

    @contextlib.contextmanager
    def _alone(self, case_id: str) -> Iterator[Path]:
        """The case's folder while no other process prepares it; what one that was killed left half written is removed."""
        refuse_links(self.root)
        folder = inside(self.root, self._settings, folder_name(case_id))
        make_folder(folder)
        with locked(folder, wait=True):
            sweep(folder)
            yield folder

    def _stamp(self, case_id: str, *names: str) -> None:
        for path in (self._case_folder(case_id) / name for name in names):
            self._stamps[path] = Stamp.of(path)

    def _label(self, case_id: str) -> None:
        """See that a case's label is on disk and up to date; the label file is opened here and nowhere else."""
        if case_id in self._labels:
            return
        image_key, record = self._image(case_id)
        path = self.dataset.case(case_id).label
        if path is None:
            raise DataError(f"{self.dataset.root}: case {case_id!r} has no label; use it as an unlabelled one")
        key = input_key(image_key, [path])
        if not self._label_is_stored(case_id, key, record):
            self._make_label(case_id, key, record)
        self._stamp(case_id, "label.npy", "foreground.npy")
        self._labels.add(case_id)

    def _label_is_stored(self, case_id: str, key: str, record: Record) -> bool:
        folder = self._case_folder(case_id)
        try:
            stored = read_json(folder / "label.json")
            _open(folder / "label.npy", record.shape, np.uint8)
            rows = load_array(folder / "foreground.npy")
            current = stored["key"] == key and len(rows) == stored["foreground"]
            return bool(current and stored["made"] == _samples(folder, *stored["made"]))
        except UNREADABLE:
            return False

    def _make_label(self, case_id: str, key: str, record: Record) -> None:
        with self._alone(case_id) as folder:
            if self._label_is_stored(case_id, key, record):
                return
            label = self.dataset.read_label(case_id, self.config.geometry)
            values = self._preprocessor.label(label, record, self.dataset.case(case_id).images[0])
            rows = sample_foreground(values)
            (folder / "label.json").unlink(missing_ok=True)
            _save(folder / "label.npy", values)
            _save(folder / "foreground.npy", rows)
            made = _samples(folder, "label.npy", "foreground.npy")
            write_json(folder / "label.json", {"case": case_id, "key": key, "foreground": len(rows), "made": made})
