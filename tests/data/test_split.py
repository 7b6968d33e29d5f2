"""Label budgets: what is seen, what is hidden, and that one choice is the same everywhere."""

import json
import multiprocessing
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fewmask.data import split_file
from fewmask.data.dataset import Dataset
from fewmask.data.description import Description
from fewmask.data.layout import Case
from fewmask.data.split import Split, budget_count
from fewmask.data.split_file import read_splits
from fewmask.errors import ConfigError, DataError, FewmaskWarning
from helpers import edit_json, write_dataset


def names_only(tmp_path, ids, patients=None, order=None, test=(), unlabelled=()):
    """A data set without files: a split needs names alone."""
    groups = [("train", ids, tmp_path / "label"), ("test", test, None), ("unlabelled", unlabelled, None)]
    cases = {case: Case(case, (tmp_path / case,), label, group) for group, some, label in groups for case in some}
    description = Description("x", ("a",), ("b", "c"), ".nii.gz", ".nii.gz", None, patients or {}, order)
    return Dataset(tmp_path, description, dict(sorted(cases.items())), [])


TWENTY = [f"c{number:02d}" for number in range(20)]


def test_every_case_has_one_part(tmp_path):
    data = names_only(tmp_path, TWENTY, test=("t1", "t2"), unlabelled=("u1",))
    split = data.split(labelled=6, validation=2, seed=3)
    assert (len(split.labelled), len(split.validation), len(split.unlabelled), split.test) == (4, 2, 15, ("t1", "t2"))
    assert sorted(split.labelled + split.validation + split.unlabelled) == sorted([*TWENTY, "u1"])
    assert split.seed == 3
    assert split.how == (
        "6 of 20 training labels are seen, chosen by seed 3, 4 to train on and 2 to validate; the others are hidden"
    )


def test_a_split_that_hides_nothing_says_so(tmp_path):
    how = names_only(tmp_path, TWENTY).split().how
    assert how == "20 of 20 training labels are seen, chosen by seed 0, all to train on"


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), small=st.integers(1, 19), more=st.integers(1, 19), validation=st.integers(0, 3))
def test_budgets_are_nested_and_keep_validation(tmp_path_factory, seed, small, more, validation):
    data = names_only(tmp_path_factory.getbasetemp(), TWENTY)
    small, large = small + validation, min(small + validation + more, 20)
    if small > 20:
        return
    a, b = data.split(small, validation, seed=seed), data.split(large, validation, seed=seed)
    assert set(a.labelled) <= set(b.labelled) and a.validation == b.validation
    assert len(a.labelled) == small - validation


def test_the_choice_depends_on_the_seed_only(tmp_path):
    forward, backward = names_only(tmp_path, TWENTY), names_only(tmp_path, TWENTY[::-1])
    assert forward.split(5, seed=1) == backward.split(5, seed=1)
    assert len({forward.split(5, seed=seed).labelled for seed in range(10)}) == 10


@pytest.mark.parametrize(
    ("labelled", "count"), [(None, 20), (1.0, 20), (1, 1), (0.1, 2), (0.01, 1), (20, 20), (0.33, 7)]
)
def test_counts_and_fractions(tmp_path, labelled, count):
    split = names_only(tmp_path, TWENTY).split(labelled)
    assert len(split.labelled) == count and len(split.unlabelled) == 20 - count


@pytest.mark.parametrize(
    ("cases", "counts"),
    [(85, (1, 2, 5, 9, 17)), (80, (1, 2, 4, 8, 16)), (160, (2, 4, 8, 16, 32)), (140, (2, 3, 7, 14, 28))],
)
def test_shares_of_labels_are_rounded_up_as_published(cases, counts):
    """Of GlaS, the left atrium and PH2; the last is PH2 with other test images, where shares are whole but for rounding."""
    found = tuple(budget_count(share, cases, "labelled", up=True) for share in (0.01, 0.02, 0.05, 0.1, 0.2))
    assert found == counts
    assert budget_count(0.2, 8, "validation") == 2, "of the budget: 1.6, to the nearest"


def test_a_validation_fraction_is_of_the_budget(tmp_path):
    split = names_only(tmp_path, TWENTY).split(10, validation=0.2)
    assert len(split.validation) == 2 and len(split.labelled) == 8


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"labelled": 21}, DataError, "21 labelled cases are asked for, but only 20"),
        ({"labelled": 0}, ConfigError, "labelled is 0;"),
        ({"labelled": -1}, ConfigError, "labelled is -1;"),
        ({"labelled": 1.5}, ConfigError, "labelled is 1.5, and a fraction"),
        ({"labelled": float("nan")}, ConfigError, "labelled is nan"),
        ({"labelled": True}, ConfigError, "labelled is True"),
        ({"labelled": 4, "validation": 1.0}, ConfigError, "validation is 1.0"),
        ({"labelled": 4, "validation": -0.1}, ConfigError, "validation is -0.1"),
        ({"labelled": 2, "validation": 2}, DataError, "validation takes 2 of the 2 labelled cases"),
        ({"labelled": 1, "validation": 0.1}, DataError, "leaves none to train on"),
        ({"labelled": 4, "ordered": True}, DataError, 'has no "training_order"'),
        ({"labelled": 4, "patients": "("}, ConfigError, "is not a regular expression"),
        ({"labelled": 4, "patients": "c.."}, ConfigError, "has no group"),
        ({"labelled": 4, "patients": "(x)"}, ConfigError, "does not fit the case id 'c00'"),
    ],
)
def test_impossible_budgets_are_refused(tmp_path, options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        names_only(tmp_path, TWENTY).split(**options)


def test_published_order(tmp_path):
    order = tuple(TWENTY[::-1])
    split = names_only(tmp_path, TWENTY, order=order).split(4, ordered=True)
    assert split.labelled == order[:4] and split.seed is None and "training_order" in split.how
    with pytest.raises(DataError, match=r'"training_order" lacks 1 cases, \'c19\''):
        names_only(tmp_path, TWENTY, order=tuple(TWENTY[:-1])).split(4, ordered=True)
    with pytest.raises(DataError, match="names, but imagesTr lacks, 1 cases, 'z'"):
        names_only(tmp_path, TWENTY, order=(*TWENTY, "z")).split(4, ordered=True)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), budget=st.integers(2, 18), validation=st.integers(0, 1), by_regex=st.booleans())
def test_patients_stay_together(tmp_path_factory, seed, budget, validation, by_regex):
    ids = [f"p{number // 3}_{number}" for number in range(20)]
    patients = None if by_regex else {case: case.split("_")[0] for case in ids}
    data = names_only(tmp_path_factory.getbasetemp(), ids, patients)
    budget = budget if not validation else max(budget, 4)
    split = data.split(budget, validation, seed=seed, patients=r"^(p\d+)_" if by_regex else None)
    parts = [{case.split("_")[0] for case in part} for part in (split.labelled, split.validation, split.unlabelled)]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert budget <= len(split.labelled) + len(split.validation) <= budget + 2
    if len(split.labelled) + len(split.validation) != budget:
        assert f"{budget} and {validation} to validate were asked for" in split.how


@settings(max_examples=60)
@given(
    patients=st.lists(st.integers(1, 4), min_size=3, max_size=9),
    seed=st.integers(0, 2**32),
    data=st.data(),
    extra=st.integers(0, 3),
)
def test_any_split_is_whole_disjoint_nested_and_repeatable(tmp_path_factory, patients, seed, data, extra):
    """Patients of one to four scans, any budget: every case has one part, patients stay together, budgets are nested."""
    owner = {f"p{p}_{n}": f"p{p}" for p, count in enumerate(patients) for n in range(count)}
    unlabelled, test = [f"u{n}" for n in range(extra)], [f"t{n}" for n in range(extra)]
    folder = tmp_path_factory.getbasetemp()
    dataset = names_only(folder, list(owner), owner, test=test, unlabelled=unlabelled)
    largest = len(owner) - max(patients)
    budget = data.draw(st.integers(1, max(largest, 1)))
    validation = data.draw(st.integers(0, max(budget - 4, 0)))
    split, larger = (dataset.split(size, validation, seed=seed) for size in (budget, budget + max(patients)))
    parts = [split.labelled, split.validation, split.unlabelled, split.test]
    assert sorted(case for part in parts for case in part) == sorted([*owner, *unlabelled, *test])
    owners = [{owner[case] for case in part if case in owner} for part in parts]
    assert sum(map(len, owners)) == len(set().union(*owners))
    assert budget <= len(split.labelled) + len(split.validation) < budget + max(patients)
    assert validation <= len(split.validation) < validation + max(patients)
    assert set(split.labelled) <= set(larger.labelled) and split.validation == larger.validation
    again = names_only(folder, list(owner)[::-1], owner, test=test[::-1], unlabelled=unlabelled[::-1])
    assert again.split(budget, validation, seed=seed) == split
    assert Split.from_values(json.loads(split.model_dump_json()), "split") == split


def test_patients_in_training_and_test_are_warned_of(tmp_path):
    with pytest.warns(FewmaskWarning, match="1 test cases, 'p1_c'"):
        names_only(tmp_path, ["p1_a", "p2_a"], test=("p1_c", "p3_a")).split(1, patients="(p.)")


def test_a_folder_without_labels_has_no_split(tmp_path):
    with pytest.raises(DataError, match="no scan of imagesTr has a label"):
        names_only(tmp_path, [], unlabelled=("u",)).split(1)


def test_scans_without_label_in_images_tr_are_unlabelled(tmp_path):
    write_dataset(tmp_path, 3)
    (tmp_path / "labelsTr" / "case_001.nii.gz").unlink()
    assert Dataset.open(tmp_path).split().unlabelled == ("case_001",)
    edit_json(tmp_path / "dataset.json", training_order=["case_002", "case_001", "case_000"])
    assert Dataset.open(tmp_path).split(1, ordered=True).labelled == ("case_002",)


def test_a_split_is_frozen_and_holds_a_case_once():
    with pytest.raises(ValidationError, match="case 'a' is in labelled and in test"):
        Split(labelled=("a",), test=("a",))
    with pytest.raises(ValidationError, match="no labelled case"):
        Split(labelled=())
    with pytest.raises(ValidationError):
        Split(labelled=("a",)).labelled = ("b",)


def test_splits_saved_at_once_are_all_kept(tmp_path, monkeypatch):
    """Each process reads the file, waits, and writes it."""

    def slowly(root):
        found = read_splits(root)
        time.sleep(0.2)
        return found

    monkeypatch.setattr(split_file, "read_splits", slowly)
    made = Split(labelled=["a"], unlabelled=[], validation=[], test=[], seed=0, how="by hand")
    fork = multiprocessing.get_context("fork")
    writers = [
        fork.Process(target=split_file.write_split, args=(tmp_path, f"split{n}", made), kwargs={"replace": False})
        for n in range(3)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(read_splits(tmp_path)) == ["split0", "split1", "split2"]
