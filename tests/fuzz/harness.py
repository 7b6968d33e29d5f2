"""Each damaged file is read in a child of its own: one that hangs, eats memory or crashes is seen, and stops nothing."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fuzz.readers import judge
from fuzz.seeds import FILES, damaged, sound

LIMIT = 10  # seconds of processor time; by the clock six times as many, for the machine may be busy
MEMORY = 2 * 2**30  # bytes beyond what the program itself takes


@dataclass
class Tally:
    """What became of the inputs.

    Attributes:
        counts: by what became of them: ``refused``, ``same``, ``alone``, ``fault``.
        faults: of each the file's name, its number, and what is wrong.
        slowest: seconds, and of which.
    """

    counts: Counter = field(default_factory=Counter)
    faults: list[tuple[str, int, str]] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")

    def add(self, name, number, outcome, seconds):
        kind = outcome if outcome in ("refused", "same", "alone") else "fault"
        self.counts[kind] += 1
        self.slowest = max(self.slowest, (seconds, f"{name} {number}"))
        if kind == "fault":
            self.faults.append((name, number, outcome))


def input_of(seed, number):
    """Name and bytes of an input; the same for the same numbers, whatever else is tried."""
    names = sorted(FILES)
    name = names[number % len(names)]
    return name, damaged(name, np.random.default_rng([seed, number]))


def warm_up(scratch):
    """Load what the readers need, so that a child costs milliseconds; sound files must be read, and alike."""
    found = {}
    for name in FILES:
        folder = scratch / f"sound-{name}"
        (folder / "in").mkdir(parents=True)
        (folder / "in" / name).write_bytes(sound(name))
        found[name] = judge(folder / "in" / name, folder)
    return found


def fuzz(count, seed, keep=None, say=None):
    """Try so many inputs.

    Args:
        count: how many.
        seed: of the damage.
        keep: a folder for those that show a fault; none: nowhere.
        say: hears of each fault.
    """
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        warm_up(Path(place))
        for number in range(count):
            name, content = input_of(seed, number)
            folder = Path(place) / str(number)
            (folder / "in").mkdir(parents=True)
            (folder / "in" / name).write_bytes(content)
            began = time.monotonic()
            outcome = in_a_child(folder / "in" / name, folder)
            faults = len(tally.faults)
            tally.add(name, number, outcome, time.monotonic() - began)
            if len(tally.faults) > faults and say:
                say(f"{name} {number}: {outcome}")
            if len(tally.faults) > faults and keep:
                (keep / f"{seed}-{number}-{name}").write_bytes(content)
            shutil.rmtree(folder)
    return tally


def in_a_child(path, scratch):
    """`judge` in a child; a sentence where it does not come back in time, or not at all."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        _child(path, scratch, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        text = answer.read().decode()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return (
            f"more than {LIMIT} s"
            if number in (signal.SIGALRM, signal.SIGXCPU, signal.SIGKILL)
            else f"ended by signal {number}"
        )
    return text or "no answer"


def _child(path, scratch, writing):
    import resource

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(6 * LIMIT)
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT + 1))  # a child begins with none used
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1), os.dup2(sink, 2)  # C libraries comment on what they read
    try:
        outcome = judge(path, scratch)
    except BaseException as error:
        outcome = f"{type(error).__name__}: {error}"
    os.write(writing, outcome.encode(errors="replace")[:4000])
    sys.stdout = sys.stderr = None
    os._exit(0)
