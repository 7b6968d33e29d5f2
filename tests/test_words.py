from __future__ import annotations

from fewmask.words import count, duration, listed


def test_durations():
    assert (duration(3.21), duration(65), duration(7265), duration(None)) == ("3.2 s", "1 min 5 s", "2 h 1 min", "–")


def test_counts_agree_with_their_noun_and_any_code_page_can_write_them():
    assert (count(0, "case"), count(1, "case"), count(12000, "case")) == ("0 cases", "1 case", "12\u00a0000 cases")
    assert all(count(12000, "case").encode(page) for page in ("cp1252", "cp850", "latin-1"))


def test_names_are_listed_whole():
    assert [listed(names) for names in ((), ("a",), ("a", "b, c"), ("a", "b", "c"))] == [
        "",
        "a",
        "a and b, c",
        "a, b and c",
    ]
