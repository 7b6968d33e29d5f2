"""Race: one random patch with its label, from fewmask's store and by reading a gzip HDF5 volume and cropping it, as the field does.

    python benchmarks/patches.py [DATASET] [--cases 4] [--repeats 30] [--patch 112 112 80] [--clock cpu]

Needs h5py (``pip install h5py``); with blosc2 installed, chunked compressed arrays run too. Without a dataset folder, made scans of
whole-numbered voxels are used. All get the same prepared arrays and the same places, take turns, and must give the same bits. Volumes
lie in the system's file cache, except in the second table, where they were dropped from it before every read (Linux only; what the disk
below has kept cannot be dropped, so read it as a lower bound of what a cold disk does). All compute on one thread, so on a busy machine
``--clock cpu`` gives steadier ratios than the clock on the wall; it does not see the waiting for a disk.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fewmask.allocator import keep_freed_memory
from fewmask.config import PreprocessConfig
from fewmask.data.dataset import Dataset
from fewmask.data.phantom import Phantom, write_phantom
from fewmask.data.sampling import read_patch
from fewmask.data.store import Store

try:
    import h5py
except ImportError:
    raise SystemExit("this race needs h5py as the other runner: pip install h5py") from None
try:
    import blosc2
except ImportError:
    blosc2 = None

Array = np.ndarray
Way = Callable[[str, tuple[slice, ...]], tuple[Array, Array]]
FIELD = "gzip HDF5, volume read and cropped"
MEMORY = "float32 arrays in memory"


def main() -> None:
    """Prepare the cases in every form, then race."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, nargs="?")
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--patch", type=int, nargs=3, default=(112, 112, 80))
    options = parser.parse_args()
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.dataset:
            data = Dataset.open(options.dataset)
        else:
            data = write_phantom(folder / "data", Phantom((160, 128, 88)), train=options.cases, unlabelled=0, test=0)
        cases = data.ids("train")[: options.cases]
        stores = {form: Store(folder / form, data, PreprocessConfig(store=form)) for form in ("float32", "compact")}
        for store in stores.values():
            store.prepare(cases, cases)
        store = stores["float32"]
        ways = peers(store, cases, folder)
        for form, one in stores.items():
            ways |= ours(one, cases, form)
        memory = {case: (np.array(store.image(case)), np.array(store.label(case))) for case in cases}
        ways[MEMORY] = lambda case, place: cut(memory[case], place)
        sizes(folder, cases)
        race(ways, stores, cases, options, None)
        race(ways, stores, cases, options, folder)


def ours(store: Store, cases: Sequence[str], form: str) -> dict[str, Way]:
    """A store as it reads the first patch of a case, and the next ones."""

    def first(case: str, place: tuple[slice, ...]) -> tuple[Array, Array]:
        store._maps.clear()
        return cut((store.image(case), store.label(case)), place)

    return {
        f"store {form}, file opened for the patch": first,
        f"store {form}": lambda case, place: cut((store.image(case), store.label(case)), place),
    }


def cut(volumes: tuple[Array, Array], place: tuple[slice, ...]) -> tuple[Array, Array]:
    """A patch of an image and its label, in memory."""
    start, sides = [part.start for part in place], [part.stop - part.start for part in place]
    image, label = (np.ascontiguousarray(read_patch(volume, start, sides, [0] * len(place))) for volume in volumes)
    return image, label.copy() if np.may_share_memory(label, volumes[1]) else label


def peers(store: Store, cases: Sequence[str], folder: Path) -> dict[str, Way]:
    """The same arrays in the forms of others."""
    (folder / "peers").mkdir()
    for case in cases:
        image, label = np.array(store.image(case)), np.array(store.label(case))
        with h5py.File(folder / "peers" / f"{case}.h5", "w") as file:
            file.create_dataset("image", data=image, compression="gzip")
            file.create_dataset("label", data=label, compression="gzip")
        if blosc2 is not None:
            pack(folder / "peers" / f"{case}-image.b2nd", image)
            pack(folder / "peers" / f"{case}-label.b2nd", label)

    def from_hdf5(case: str, place: tuple[slice, ...]) -> tuple[Array, Array]:
        with h5py.File(folder / "peers" / f"{case}.h5") as file:
            image, label = file["image"][:], file["label"][:]
        return image[(slice(None), *place)].copy(), label[place].copy()

    def from_blosc(case: str, place: tuple[slice, ...]) -> tuple[Array, Array]:
        image, label = (
            blosc2.open(str(folder / "peers" / f"{case}-{kind}.b2nd"), mode="r") for kind in ("image", "label")
        )
        return image[(slice(None), *place)], label[place]

    ways: dict[str, Way] = {FIELD: from_hdf5}
    return ways | ({"float32 in blosc2, lz4 and bitshuffle": from_blosc} if blosc2 is not None else {})


def pack(path: Path, values: Array) -> None:
    """A chunked array of which a patch reads its own chunks."""
    blosc2.set_nthreads(1)
    sides = [min(side, 64) for side in values.shape[-3:]]
    lead = values.shape[:-3]
    settings = {"codec": blosc2.Codec.LZ4, "clevel": 5, "filters": [blosc2.Filter.BITSHUFFLE]}
    blosc2.asarray(values, urlpath=str(path), chunks=(*lead, *sides), cparams=settings)


def sizes(folder: Path, cases: Sequence[str]) -> None:
    """Megabytes of a case in each form."""
    for form, files in {
        "store float32": (folder / "float32").rglob("*.npy"),
        "store compact": (folder / "compact").rglob("*.npy"),
        "gzip HDF5": (folder / "peers").glob("*.h5"),
        "blosc2": (folder / "peers").glob("*.b2nd"),
    }.items():
        print(f"{form}: {sum(path.stat().st_size for path in files) / len(cases) / 1e6:.2f} MB a case")


def race(
    ways: dict[str, Way], stores: dict[str, Store], cases: Sequence[str], options: argparse.Namespace, cold: Path | None
) -> None:
    """Time all ways on the same patches, in turns; ``cold``: the folder to drop from the file cache before each read."""
    if cold and not hasattr(os, "posix_fadvise"):
        return
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    generator = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(options.repeats + 1):
        case = cases[turn % len(cases)]
        start = [
            int(generator.integers(side - size + 1))
            for side, size in zip(stores["float32"].shape(case), options.patch, strict=True)
        ]
        place = tuple(slice(low, low + size) for low, size in zip(start, options.patch, strict=True))
        expected = None
        for name, read in ways.items():
            if cold:
                drop(cold, stores)
            began = clock()
            found = read(case, place)
            seconds[name].append(clock() - began)
            expected = expected or found
            assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(found, expected, strict=True)), name
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    print(f"\n| {'read from disk' if cold else 'in the file cache'} | ms a patch | ratio |\n|---|---|---|")
    for name, median in medians.items():
        if not cold or (name != MEMORY and "opened" not in name):
            print(f"| {name} | {1e3 * median:.2f} | {medians[FIELD] / median:.1f}x |")


def drop(folder: Path, stores: dict[str, Store]) -> None:
    """Take the files out of the system's cache; a mapped file would stay."""
    for store in stores.values():
        store._maps.clear()
    for path in (path for path in folder.rglob("*") if path.suffix in (".npy", ".h5", ".b2nd")):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
