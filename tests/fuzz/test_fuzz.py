"""A hundred damaged files of all formats; `benchmarks/damaged_files.py` tries thousands."""

import sys

import pytest

from fewmask.errors import DataError
from fuzz import harness
from fuzz.readers import difference, judge
from fuzz.seeds import FILES, damaged, nifti, np, sound

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs fork and /proc")


def test_a_hundred_damaged_files():
    tally = harness.fuzz(100, seed=0)
    assert tally.faults == []
    assert tally.counts["refused"] > 30 and tally.counts["same"] > 5


def test_sound_files_are_read_as_others_read_them(tmp_path):
    found = harness.warm_up(tmp_path)
    alone = {"a.zip", "a.tar", "a.tgz", "case.h5", "config.yaml", "metrics.csv", "slice.dcm", "a.jpg"}
    assert {name: outcome for name, outcome in found.items() if outcome != "same"} == dict.fromkeys(alone, "alone")


def test_the_harness_sees_what_is_wrong(tmp_path, monkeypatch):
    """A reader that hangs, that crashes, that eats memory, that is wrong, or whose error nobody foresaw."""
    (tmp_path / "a.nii").write_bytes(nifti())
    monkeypatch.setattr(harness, "LIMIT", 1)
    wrong = {
        "more than 1 s": lambda path, scratch: __import__("time").sleep(9),
        "ended by signal 11": lambda path, scratch: __import__("os").kill(__import__("os").getpid(), 11),
        "MemoryError": lambda path, scratch: np.ones(2**33, np.uint8),
        "KeyError: 'x'": lambda path, scratch: {}["x"],
    }
    for said, reader in wrong.items():
        monkeypatch.setattr(harness, "judge", reader)
        assert harness.in_a_child(tmp_path / "a.nii", tmp_path).startswith(said)
    values = np.zeros((1, 2, 3), np.float32)
    assert "values" in difference((values, (1, 1)), (values + 1, None))
    assert "spacing" in difference((values, (1, 1)), (values, (1, 2)))
    assert "shape" in difference((values, (1, 1)), (values[0], None))
    assert difference((values, (1, 1)), (values, (1, 1))) is None


def test_damage_is_the_same_each_time_and_differs_by_seed():
    for name in FILES:
        first, again, other = (damaged(name, np.random.default_rng([seed, 5])) for seed in (1, 1, 2))
        assert first == again != other
        assert sound(name) == sound(name)


def test_an_error_in_several_lines_is_a_fault(tmp_path, monkeypatch):
    def reader(path, scratch):
        raise DataError("one\ntwo")

    monkeypatch.setattr("fuzz.readers.READERS", {"nii": reader})
    assert judge(tmp_path / "a.nii", tmp_path).startswith("more than one line")
