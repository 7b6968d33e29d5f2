"""Race: `fewmask --help` and `import fewmask` against a Python that does nothing.

    python benchmarks/start_up.py [--repeats 11] [--clock cpu]

The runners take turns; each is a new process, and files lie in the system's cache after the first. What counts is the median and what
it has over the bare Python.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

RUNNERS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import fewmask": [sys.executable, "-c", "import fewmask"],
    "fewmask --help": [sys.executable, "-m", "fewmask", "--help"],
    "fewmask --version": [sys.executable, "-m", "fewmask", "--version"],
    "fewmask methods": [sys.executable, "-m", "fewmask", "methods"],
}


def main() -> None:
    """Start each in turns and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: of the started process")
    options = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in RUNNERS}
    for turn in range(options.repeats + 1):
        for name, words in RUNNERS.items():
            seconds = started(words, options.clock)
            if turn:
                times[name].append(seconds)
    bare = statistics.median(times["python -c pass"])
    print("| command | s | over a bare Python |\n|---|---|---|")
    for name, values in times.items():
        print(f"| `{name}` | {statistics.median(values):.3f} | {statistics.median(values) - bare:+.3f} |")


def started(words: list[str], clock: str) -> float:
    """Seconds from the start of a process to its end; by the processor, if ``clock`` is cpu."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    elapsed, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used if clock == "cpu" else elapsed


if __name__ == "__main__":
    main()
