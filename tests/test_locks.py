"""Locks that an interruption does not leave behind."""

from __future__ import annotations

import sys

import pytest

from fewmask import locks
from fewmask.errors import RunError
from fewmask.locks import locked


class InterruptAt:
    """Raises KeyboardInterrupt at the n-th line that runs in the given functions."""

    def __init__(self, line, functions):
        self.left, self.functions = line, functions

    def __call__(self, frame, event, argument):
        if frame.f_code.co_filename != locks.__file__ or frame.f_code.co_name not in self.functions:
            return None
        self.left -= event == "line"
        if self.left == 0:
            sys.settrace(None)
            raise KeyboardInterrupt
        return self


@pytest.mark.parametrize("line", range(1, 9))
def test_an_interruption_while_it_is_taken_leaves_no_lock(tmp_path, line):
    before = sys.gettrace()
    sys.settrace(InterruptAt(line, {"_try_lock", "_is_at", "_sign"}))
    try:
        with pytest.raises(KeyboardInterrupt), locked(tmp_path):
            pass
    finally:
        sys.settrace(before)
    assert not list(tmp_path.iterdir())
    with locked(tmp_path):
        assert (tmp_path / ".lock").exists()


def test_an_interruption_while_it_is_held_leaves_no_lock(tmp_path):
    with pytest.raises(KeyboardInterrupt), locked(tmp_path):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_thread_that_waits_for_what_it_holds_goes_on_and_holds_it_still(tmp_path):
    with locked(tmp_path):
        with locked(tmp_path, wait=True):
            pass
        with pytest.raises(RunError, match="in use by another call"), locked(tmp_path):
            pass
    assert not list(tmp_path.iterdir())
