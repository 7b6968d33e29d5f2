"""What a conversion takes from the published lists: who tests, in which order labels come, which splits are saved."""

import pytest

from fewmask.data.convert.base import Content, Source
from fewmask.data.convert.splits import published_notes, published_order, published_splits, published_test
from fewmask.data.dataset import Dataset
from fewmask.data.description import Description
from fewmask.data.layout import Case
from fewmask.data.protocols.shelf import read_list


def sources(names, patients=None, group="train"):
    return [Source(name, (), lambda: Content(()), group, patient=(patients or {}).get(name)) for name in names]


def folder(path, train, test=()):
    """A data set without files: a split needs names alone."""
    groups = ((train, "train"), (test, "test"))
    cases = {case: Case(case, (path / case,), path, group) for names, group in groups for case in names}
    return Dataset(path, Description("x", ("a",), ("b", "c"), ".png", ".png"), cases, [])


TRAIN, TEST = read_list("la-train"), read_list("la-test")


def test_left_atrium(tmp_path):
    assert published_test("la", sources(TRAIN + TEST)) == set(TEST)
    assert list(published_order("la", sources(TRAIN) + sources(TEST, group="test"))) == TRAIN
    assert published_order("la", sources(TRAIN[1:])) is None and published_order(None, sources(TRAIN)) is None
    splits = published_splits("la", folder(tmp_path, TRAIN, TEST))
    assert set(splits) >= {"la-paper-4", "la-paper-8", "la-paper-16", "la-honest-8", "la-co-training-10percent-seed0"}
    assert list(splits["la-paper-8"].labelled) == TRAIN[:8] and splits["la-paper-8"].protocol == "la/paper"
    assert published_notes("la", splits) == []


def test_an_incomplete_download_gets_no_published_split_and_is_told(tmp_path):
    splits = published_splits("la", folder(tmp_path, TRAIN, TEST[1:]))
    assert splits == {} and "no published split was saved" in published_notes("la", splits)[0]


@pytest.mark.parametrize(
    ("name", "cases", "patients", "tested"),
    [
        ("glas", ["train_1", "testA_1", "testB_20"], {}, {"testA_1", "testB_20"}),
        ("hmeps", ["a", "b", "c"], {"a": "3", "b": "33", "c": "52"}, {"a", "c"}),
        ("acdc", ["patient011_frame01", "patient012_frame01"], {}, {"patient011_frame01"}),
        ("busi", ["benign_1", "benign_3"], {}, {"benign_3"}),
        ("polyp", ["clinicdb_1", "clinicdb_100", "cvc300_149"], {}, {"clinicdb_100", "cvc300_149"}),
        ("ph2", ["IMD002", "IMD003"], {}, set()),
        ("isic2018", ["ISIC_0000000"], {}, set()),
        (None, ["anything"], {}, set()),
    ],
)
def test_who_tests(name, cases, patients, tested):
    assert published_test(name, sources(cases, patients)) == tested


def test_drawn_lists_are_told():
    assert "no published list exists" in published_notes("ph2", ["ph2-paper-5percent-seed0"])[0]
    assert "was never published" in published_notes("polyp", ["x"])[0] and published_notes(None, []) == []
