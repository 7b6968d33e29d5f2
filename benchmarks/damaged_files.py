"""Thousands of damaged files of every format that fewmask reads: ``python benchmarks/damaged_files.py 2000 --seed 1``.

No hang over 10 s, no crash, bounded memory, no error but fewmask's own, and what is taken is what independent readers take; `tests/fuzz`
tries a hundred of them. Ends with 1 where one shows a fault; ``--keep FOLDER`` keeps those files.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fuzz.harness import fuzz


def main() -> int:
    """Try them and say what became of them."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("count", type=int, nargs="?", default=2000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--keep", type=Path)
    chosen = options.parse_args()
    if chosen.keep:
        chosen.keep.mkdir(parents=True, exist_ok=True)
    tally = fuzz(chosen.count, chosen.seed, chosen.keep, lambda text: print(text, flush=True))
    print(
        f"{chosen.count} inputs, seed {chosen.seed}: {dict(tally.counts)}; slowest {tally.slowest[0]:.1f} s ({tally.slowest[1]})"
    )
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
