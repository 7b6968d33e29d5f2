"""How much of each method's file stands in its nearest neighbour, too: is there a component that nobody has written?

    python benchmarks/method_lines.py [--most 0.35]

A line counts if it holds more than a bracket; spaces at its ends and comments do not. A line that stands in both files is counted as
often as in the one that has it less often. The share is of the smaller file of a pair. Ends with code 1 where a share is above the bound.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "src/fewmask/methods"
NO_METHODS = {"__init__.py", "base.py"}


def lines_of(path: Path) -> Counter[str]:
    """The lines of a file that say something."""
    stripped = (line.split("  # ")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return Counter(line for line in stripped if line.strip('()[]{},"') and not line.startswith("#"))


def shares(folder: Path = FOLDER) -> dict[str, tuple[float, str]]:
    """The nearest neighbour of each file and the share of identical lines, by name."""
    files = {path.stem: lines_of(path) for path in sorted(folder.glob("*.py")) if path.name not in NO_METHODS}
    nearest = dict.fromkeys(files, (0.0, ""))
    for one, other in combinations(files, 2):
        common = (files[one] & files[other]).total() / min(files[one].total(), files[other].total())
        for name, neighbour in ((one, other), (other, one)):
            nearest[name] = max(nearest[name], (common, neighbour))
    return nearest


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=float, default=0.35)
    most = parser.parse_args().most
    found = shares()
    print("| method | nearest | identical lines |\n|---|---|---|")
    for name, (share, neighbour) in sorted(found.items(), key=lambda item: -item[1][0]):
        print(f"| {name} | {neighbour} | {share:.0%} |")
    sys.exit(int(max(share for share, _ in found.values()) > most))


if __name__ == "__main__":
    main()
