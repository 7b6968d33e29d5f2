"""Race: `fewmask check` of 200 scans, this checkout against another one.

    python benchmarks/check_folder.py OTHER [--cases 200] [--repeats 5] [--pictures]

OTHER is a folder with another version of the sources (``git worktree add OTHER REVISION``). Both check the same folder in turns, each time
in a new process; the files lie in the system's cache after the first turn, which does not count. What counts is the ratio of the medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fewmask.data.image import Geometry, write_image
from fewmask.files import write_json

HERE = Path(__file__).resolve().parents[1]


def main() -> None:
    """Make the folder, check it in turns, print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--pictures", action="store_true", help="PNG pictures instead of NIfTI volumes")
    options = parser.parse_args()
    sources = {"this": HERE / "src", "other": options.other.resolve() / "src"}
    times: dict[str, list[float]] = {name: [] for name in sources}
    with tempfile.TemporaryDirectory() as folder:
        root = make(Path(folder) / "Dataset001_Race", options.cases, pictures=options.pictures)
        for turn in range(options.repeats + 1):
            for name, source in sources.items():
                seconds = checked(root, source)
                if turn:
                    times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        print(f"{name}: {medians[name]:.2f} s ({min(values):.2f} to {max(values):.2f})")
    print(f"this / other: {medians['this'] / medians['other']:.3f}")


def make(root: Path, cases: int, *, pictures: bool) -> Path:
    """A dataset folder of ellipsoids in noise, about the size of the hippocampus scans, or of 192 x 256 pictures."""
    rng = np.random.default_rng(0)
    shape, ending = ((192, 256), ".png") if pictures else ((36, 50, 35), ".nii.gz")
    axes = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    mask = (sum(axis**2 for axis in axes) < 0.3).astype(np.uint8)
    geometry = Geometry.plain(shape)
    for number in range(cases):
        image = rng.integers(0, 100, shape).astype(np.uint8) + 100 * mask
        write_image(root / "imagesTr" / f"case_{number:03d}_0000{ending}", image, geometry)
        write_image(root / "labelsTr" / f"case_{number:03d}{ending}", mask, geometry)
    entries = {"channel_names": {"0": "grey"}, "labels": {"background": 0, "organ": 1}, "file_ending": ending}
    write_json(root / "dataset.json", {**entries, "numTraining": cases})
    return root


def checked(root: Path, source: Path) -> float:
    """Seconds of one check with the sources of a folder."""
    environment = {**os.environ, "PYTHONPATH": str(source)}
    began = time.perf_counter()
    words = [sys.executable, "-m", "fewmask", "check", str(root)]
    done = subprocess.run(words, env=environment, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
