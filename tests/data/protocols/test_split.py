"""Splits by protocol: the published cases, the published order, and what is said where nothing was published."""

import pytest

from fewmask.data.dataset import Dataset
from fewmask.data.description import Description
from fewmask.data.layout import Case
from fewmask.data.protocols.shelf import read_list
from fewmask.data.protocols.split import draw_order, protocol_split
from fewmask.errors import ConfigError, DataError, FewmaskWarning
from helpers import SHARED


def folder(tmp_path, ids, test=(), unlabelled=(), patients=None, shortcuts=()):
    """A data set without files: a split needs names alone."""
    groups = [("train", ids, tmp_path), ("test", test, tmp_path), ("unlabelled", unlabelled, None)]
    cases = {case: Case(case, (tmp_path / case,), label, group) for group, some, label in groups for case in some}
    description = Description(
        "x", ("a",), ("b", "c"), ".nii.gz", ".nii.gz", None, patients or {}, None, tuple(shortcuts)
    )
    return Dataset(tmp_path, description, dict(sorted(cases.items())), [])


@pytest.fixture
def la(tmp_path):
    return folder(tmp_path, read_list("la-train"), read_list("la-test"))


def parts(split):
    return [len(part) for part in (split.labelled, split.validation, split.unlabelled, split.test)]


def test_paper_takes_the_first_of_the_published_order(la):
    split = protocol_split(la, "la/paper", 8)
    assert list(split.labelled) == read_list("la-train")[:8] and list(split.test) == read_list("la-test")
    assert parts(split) == [8, 0, 72, 20] and split.seed is None
    assert (split.protocol, split.shortcuts) == ("la/paper", ("reference-crop", "voxel-units"))
    assert split.how.startswith("protocol la/paper, lists ua-mt (UA-MT")
    assert split.how.endswith("8 of 80 training cases labelled; 20 to test")


def test_honest_pays_validation_from_the_budget(la):
    split = protocol_split(la, "la/honest", 8)
    assert parts(split) == [6, 2, 72, 20] and split.shortcuts == ()
    assert sorted(split.labelled + split.validation) == sorted(read_list("la-train")[:8])
    assert parts(protocol_split(la, "la/honest", 4)) == [4, 0, 76, 20]
    assert parts(protocol_split(la, "la/honest", 8, 1)) == [7, 1, 72, 20]
    assert parts(protocol_split(la, "la/honest", 8, 0)) == [8, 0, 72, 20]


def test_a_seed_draws_the_labelled_cases_but_never_the_test_cases(la):
    first, second = (protocol_split(la, "la/co-training", 0.1, seed=seed) for seed in (0, 1))
    assert parts(first) == parts(second) == [8, 0, 72, 20]
    assert set(first.labelled) != set(second.labelled) and first.test == second.test
    assert set(protocol_split(la, "la/co-training", 0.05, seed=1).labelled) < set(second.labelled)
    assert second.seed == 1 and protocol_split(la, "la/co-training", 0.1) == first
    assert set(protocol_split(la, "la/paper", 8, seed=0).labelled) == set(first.labelled)


def test_cropped_scans_are_told_under_every_protocol(tmp_path):
    data = folder(tmp_path, read_list("la-train"), read_list("la-test"), shortcuts=["reference-crop"])
    assert protocol_split(data, "la/honest", 8).shortcuts == ("reference-crop",)
    assert protocol_split(data, "la/paper", 8).shortcuts == ("reference-crop", "voxel-units")
    assert data.split(4).shortcuts == ("reference-crop",)


def test_published_validation_cases_are_beyond_the_budget_or_lose_their_labels(tmp_path):
    ids = [*read_list("brats2019-train"), *read_list("brats2019-validation")]
    data = folder(tmp_path, ids, read_list("brats2019-test"))
    paper = protocol_split(data, "brats2019/paper", 25)
    assert parts(paper) == [25, 25, 225, 60] and "25 more with labels to validate" in paper.how
    assert "extra-validation" in paper.shortcuts
    honest = protocol_split(data, "brats2019/honest", 25)
    assert parts(honest) == [20, 5, 250, 60] and honest.shortcuts == ()
    assert set(read_list("brats2019-validation")) <= set(honest.unlabelled)
    own = protocol_split(data, "brats2019/paper", 25, 5)
    assert parts(own) == [20, 5, 250, 60] and "extra-validation" not in own.shortcuts


def test_withdrawn_cases_are_no_surprise_and_missing_ones_are(tmp_path):
    ids = [f"PANCREAS_{number:04d}" for number in range(1, 83) if number not in (25, 70)]
    data = folder(tmp_path, ids)
    assert parts(protocol_split(data, "pancreas-ct/paper", 6)) == [6, 0, 55, 19]
    assert parts(protocol_split(data, "pancreas-ct/honest", 12)) == [10, 2, 50, 18]
    assert protocol_split(data, "pancreas-ct/paper", 6, lists="mc-net").labelled[0] == "PANCREAS_0057"
    with pytest.warns(FewmaskWarning, match="lacks 1 published case of 80, 'PANCREAS_0063'"):
        split = protocol_split(folder(tmp_path, [i for i in ids if i != "PANCREAS_0063"]), "pancreas-ct/paper", 6)
    assert "1 published ones are missing" in split.how


def test_patients_are_counted_where_the_lists_name_patients(tmp_path):
    ids = [f"patient{number:03d}_frame{frame:02d}" for number in range(1, 101) for frame in (1, 12)]
    paper = protocol_split(folder(tmp_path, ids), "acdc/paper", 7)
    assert parts(paper) == [14, 20, 126, 40]
    assert paper.labelled[:2] == ("patient099_frame01", "patient099_frame12")
    assert "7 of 70 training patients labelled" in paper.how


def test_subjects_of_the_description(tmp_path):
    ids = {f"frame{number:03d}": str(number % 55 + 1) for number in range(220)}
    data = folder(tmp_path, ids, patients=ids)
    split = protocol_split(data, "hmeps/paper", 0.1)
    assert {ids[case] for case in split.test} == {"3", "4", "19", "38", "45", "46", "51", "52"}
    owner = {ids[case]: "seen" for case in split.labelled}
    assert not any(owner.get(ids[case]) for case in (*split.unlabelled, *split.test))
    mixed = protocol_split(data, "hmeps/paper", 0.1, lists="frames-seed0")
    assert len(mixed.test) == 44 and mixed.shortcuts == ("shared-origin",)


def test_patients_on_both_sides_are_told_as_far_as_they_are_known(tmp_path):
    ids, tests = ["train_1", "train_2"], ["testA_1"]
    apart = folder(tmp_path, ids, tests, patients={"train_1": "1", "testA_1": "2"})
    shared = folder(tmp_path, ids, tests, patients={"train_2": "2", "testA_1": "2"})
    assert protocol_split(apart, "glas/honest", 1).shortcuts == ()
    assert protocol_split(shared, "glas/honest", 1).shortcuts == ("shared-origin",)


def test_patterns_and_folders(tmp_path):
    data = folder(tmp_path, [f"train_{n}" for n in range(1, 86)], [f"testA_{n}" for n in range(1, 61)])
    assert parts(protocol_split(data, "glas/paper", 0.1)) == [9, 0, 76, 60], "8.5, rounded up as published"
    assert parts(protocol_split(data, "glas/paper", 0.1, lists="reversed")) == [6, 0, 54, 85]
    skin = folder(tmp_path, [f"ISIC_{n}" for n in range(100)], [f"ISIC_{n}" for n in range(100, 140)])
    paper = protocol_split(skin, "isic2018/paper", 8)
    assert parts(paper) == [8, 20, 72, 40] and set(paper.test) == set(skin.ids("test"))
    assert parts(protocol_split(skin, "isic2018/honest", 10)) == [8, 2, 90, 40]


def test_drawn_lists_hold_for_every_budget_and_seed_and_say_that_they_are_ours(tmp_path):
    data = folder(tmp_path, [f"IMD{number:03d}" for number in range(200)])
    one, two = protocol_split(data, "ph2/paper", 0.05), protocol_split(data, "ph2/honest", 0.2, seed=7)
    assert one.test == two.test and parts(one) == [8, 0, 152, 40] and parts(two) == [26, 6, 128, 40]
    assert "no published list exists" in one.how and one.seed == 0
    assert data.split(4).protocol is None


def test_unlabelled_scans_of_a_published_list_are_used_and_others_are_not(tmp_path):
    train = read_list("la-train")
    data = folder(tmp_path, train[:8], read_list("la-test"), unlabelled=[*train[8:], "STRANGER"])
    split = protocol_split(data, "la/paper", 8)
    assert parts(split) == [8, 0, 72, 20] and "STRANGER" not in split.unlabelled
    with pytest.raises(DataError, match="has no label but the split trains"):
        protocol_split(data, "la/paper", 9).check(data)


def test_every_beginning_of_a_drawn_order_is_in_proportion():
    units = [f"benign_{n}" for n in range(40)] + [f"malignant_{n}" for n in range(20)]
    order = draw_order(units, 3, "(benign|malignant)_")
    for size in (6, 12, 30):
        assert sum(unit.startswith("benign") for unit in order[:size]) == size * 2 // 3
    assert sorted(order) == sorted(units) and draw_order(units[::-1], 3, "(benign|malignant)_") == order
    assert draw_order(units, 4, "(benign|malignant)_") != order


@pytest.mark.parametrize(
    ("arguments", "options", "kind", "message"),
    [
        (("la/paper", 81), {}, DataError, "81 labelled are asked for, but there are 80 to train on"),
        (("la/paper", 4, 4), {}, DataError, "validation takes all of the 4 labelled"),
        (("la/paper", 0), {}, ConfigError, "labelled is 0"),
        (("la/paper", 4), {"lists": "mc-net"}, ConfigError, "la has no lists 'mc-net': valid: ua-mt"),
        (("la/fair", 4), {}, ConfigError, "there is no protocol 'la/fair'"),
        (("ph2/paper", 4), {}, None, None),
        (("brats2019/paper", 4), {}, DataError, "holds no labelled training case of BraTS 2019, whole tumour"),
    ],
)
def test_what_cannot_be(la, arguments, options, kind, message):
    if kind is None:  # any folder can be drawn from
        protocol_split(la, *arguments, **options)
        return
    with pytest.raises(kind, match=message):
        protocol_split(la, *arguments, **options)


def test_real_left_atrium_says_what_it_lacks():
    root = SHARED / "Dataset001_LeftAtrium"
    if not root.is_dir():
        pytest.skip("the real left-atrium scans are not here")
    data = Dataset.open(root)
    with pytest.warns(FewmaskWarning, match="lacks 8 published cases of 100"):
        split = protocol_split(data, "la/paper", 8)
    assert list(split.labelled) == list(data.description.training_order[:8]) and len(split.test) == 12
