"""What the program owes to whoever gives it something broken, and how a test holds it to that.

1. It exits with 1 (the data or the run are at fault) or 2 (an option or a config is), as the case says.
2. Standard error holds one line, ``error: SENTENCE``, and nothing else: no traceback, no warning of a library. The
   sentence names the file and says what to do. Standard output holds nothing.
3. Nothing is left behind. Files are as they were and there is no new one, with one exception: whole preprocessed cases in
   the hidden store of a data set, which serve the next attempt. No run folder, no partial file, no empty output folder.

``fewmask check`` reports instead of stopping: exit code 1, and an error among its findings that names the file and the remedy.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shlex
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from json import loads
from pathlib import Path
from unittest import mock

import pytest

from program import call_main

TRAIN = "train heart --output new --set train.iterations=1"  # soon over, should nothing stop it
LONGEST = 700  # characters of an error


@dataclass(frozen=True)
class Case:
    """One broken thing.

    Attributes:
        name: what is broken, in words.
        fault: gets the folder with the sound data sets and runs, and breaks something in it.
        command: what is then typed there.
        file: the name that the error must hold.
        remedy: words of the error that say what to do.
        code: the exit code.
    """

    name: str
    fault: Callable[[Path], object]
    command: str
    file: str
    remedy: str
    code: int = 1

    def __str__(self):
        return self.name


def each(cases):
    """Parametrise a test by cases, under their names."""
    names = [str(case) for case in cases]
    assert len(set(names)) == len(names), "two cases of one name"
    return pytest.mark.parametrize("case", cases, ids=names)


def call(place, *words):
    """`call_main` with what libraries would say on a terminal: pytest keeps warnings and log records to itself."""
    with warnings.catch_warnings(), contextlib.ExitStack() as stack:
        warnings.simplefilter("default")
        for name in (None, "nibabel.global"):  # nibabel binds the standard error of the moment when it is imported
            stack.enter_context(mock.patch.object(logging.getLogger(name), "handlers", []))
        low = stack.enter_context(_libraries_in_c())
        outcome = call_main(*words, cwd=place)
        return outcome._replace(err=outcome.err + low())


@contextlib.contextmanager
def _libraries_in_c():
    """What is written to file descriptor 2 past Python, as ITK and libpng do; the block gets a function that reads it."""
    saved = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield lambda: (sink.seek(0), sink.read().decode())[1]
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def check_refused(place, case):
    """Rules 1 to 3."""
    case.fault(place)
    before = listing(place)
    outcome = call(place, *shlex.split(case.command))
    assert outcome.code == case.code, outcome
    check_one_sentence(outcome, case.file, case.remedy)
    assert changes(before, listing(place)) == []


def check_one_sentence(outcome, file, remedy):
    """Rule 2."""
    assert outcome.err.startswith("error: ") and outcome.err.count("\n") == 1, outcome.err
    assert outcome.out == ""
    assert "Traceback" not in outcome.err and "fault of fewmask" not in outcome.err
    assert file in outcome.err and remedy in outcome.err, outcome.err
    assert len(outcome.err) <= LONGEST


def check_found(place, case):
    """The check's rule, on its JSON; the table says the same."""
    case.fault(place)
    before = listing(place)
    outcome = call(place, *shlex.split(case.command), "--json")
    assert outcome.code == case.code and outcome.err == "", outcome
    findings = [f"{finding['severity']}: {finding['path']} {finding['message']}" for finding in findings_of(outcome)]
    assert any(
        text.startswith("error") == bool(case.code) and case.file in text and case.remedy in text for text in findings
    ), findings
    assert listing(place) == before


def findings_of(outcome):
    return loads(outcome.out)["findings"]


def check_works(place, case):
    """Exit code 0, and nothing on standard error but progress."""
    case.fault(place)
    outcome = call(place, *shlex.split(case.command))
    assert outcome.code == 0, outcome.err
    assert not any(word in outcome.err for word in ("error", "Warning", "Traceback")), outcome.err
    return outcome


def listing(place):
    """Every path below a folder with what it holds; links are not followed."""
    found = {}
    for folder, _, names in os.walk(place):
        found[os.path.relpath(folder, place)] = "folder"
        for name in names:
            path = Path(folder, name)
            content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
            found[os.path.relpath(path, place)] = hashlib.sha1(content).hexdigest()
    return found


def changes(before, after):
    """What a failed command must not have done: paths that came, went or changed, whole stored cases apart."""
    differing = [path for path in sorted({*before, *after}) if before.get(path) != after.get(path)]
    return [path for path in differing if "/.fewmask" not in f"/{path}" or ".partial-" in path]
