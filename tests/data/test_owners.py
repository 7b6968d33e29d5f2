"""Scans of one patient on one side of a split: by what is said, by what ids say, and by asking."""

import json

import pytest

from fewmask.data.check import check_dataset
from fewmask.data.dataset import Dataset
from fewmask.data.split import Split
from fewmask.engine.train import default_split
from fewmask.errors import ConfigError, DataError, FewmaskWarning
from helpers import edit_json, write_dataset

CLEAR = [f"patient{n:03d}_frame{frame}" for n in range(6) for frame in ("01", "12")]
DOUBTFUL = [f"{n:04d}_{scan}" for n in range(6) for scan in (1, 2)]


def dataset(root, ids, test=(), **description):
    """A data set of empty files: names are all that a split looks at."""
    write_dataset(root, 1, dims=2, **description)
    for old in root.glob("*Tr/*"):
        old.unlink()
    for folder, names in (("Tr", ids), ("Ts", test)):
        for name in names:
            for path in (root / f"images{folder}/{name}_0000.png", root / f"labels{folder}/{name}.png"):
                path.parent.mkdir(exist_ok=True)
                path.touch()
    return Dataset.open(root)


def sides(split):
    train, validation = ({case.split("_")[0] for case in part} for part in (split.labelled, split.validation))
    return train & validation


@pytest.mark.parametrize("seed", range(5))
def test_what_ids_say_clearly_is_used_and_said(tmp_path, seed):
    split = dataset(tmp_path, CLEAR).split(8, 2, seed=seed)
    assert len(split.validation) == 2 and not sides(split)
    assert split.patients == r"^(patient\d+)"
    assert (
        "12 of 12 scans are of 6 patients with several, as patient000_frame01, patient000_frame12 of 'patient000'"
        in split.how
    )
    assert any(sides(dataset(tmp_path, CLEAR).split(8, 2, seed=s, patients="none")) for s in range(9)), (
        "or it shows nothing"
    )


def test_whoever_knows_better_says_none(tmp_path):
    data = dataset(tmp_path, CLEAR)
    split = data.split(8, 3, patients="none")
    assert split.patients == "none" and "patient" not in split.how and len(split.validation) == 3
    edit_json(tmp_path / "dataset.json", patients="none")
    split = Dataset.open(tmp_path).split(8, 3)
    assert (split.patients, len(split.validation)) == (None, 3) and "patient" not in split.how


@pytest.mark.parametrize("make", [lambda data: data.split(8, 2), lambda data: default_split(data, 8)])
def test_in_doubt_the_user_is_asked(tmp_path, make):
    data = dataset(tmp_path, DOUBTFUL)
    with pytest.raises(ConfigError, match=r"--patients '\^\(\\d\+\)' if it is so, --patients none if not"):
        make(data)
    assert not sides(data.split(8, 2, patients=r"^(\d+)")) and data.split(8, 2, patients="none").patients == "none"
    assert data.split(8).patients is None, "nothing validates: nobody is asked"
    edit_json(tmp_path / "dataset.json", patients={case: case[:4] for case in DOUBTFUL})
    assert not sides(make(Dataset.open(tmp_path)))


def test_in_doubt_about_test_scans_the_user_is_asked(tmp_path):
    data = dataset(tmp_path, DOUBTFUL[:-1], DOUBTFUL[-1:])
    with pytest.raises(ConfigError, match="--patients none"):
        data.split(8)


def test_dataset_json_wins_over_ids(tmp_path):
    data = dataset(tmp_path, CLEAR, patients={case: case[-2:] for case in CLEAR})
    split = data.split(6, 0)
    assert len({case[-2:] for case in split.labelled}) == 1 and split.patients is None


def test_a_saved_split_with_a_patient_on_both_sides_is_told(tmp_path):
    data = dataset(tmp_path, CLEAR)
    mixed = Split(labelled=tuple(CLEAR[0:12:2]), validation=tuple(CLEAR[1:12:2]))
    data.save_split("mixed", mixed)
    with pytest.warns(
        FewmaskWarning, match=r"6 validation cases, 'patient000_frame12' among them.*rule \^\(patient\\d\+\)"
    ):
        assert data.load_split("mixed") == mixed
    for name, change in {
        "known": {"patients": "none"},
        "published": {"protocol": "acdc/paper"},
        "told": {"shortcuts": ("shared-origin",)},
    }.items():
        data.save_split(name, mixed.model_copy(update=change))
        data.load_split(name)  # a warning would be an error here
    data.save_split("regex", mixed.model_copy(update={"patients": r"_(frame\d+)"}))
    data.load_split("regex")
    data.save_split("honest", data.split(8, 2))
    data.load_split("honest")


def test_a_split_of_an_earlier_version_is_read(tmp_path):
    data = dataset(tmp_path, ["a", "b"])
    data.save_split("x", Split(labelled=("a",)))
    values = json.loads((tmp_path / "splits.json").read_text())
    del values["splits"]["x"]["patients"]
    (tmp_path / "splits.json").write_text(json.dumps(values))
    assert data.load_split("x") == Split(labelled=("a",))


def test_a_name_that_is_taken_stays(tmp_path):
    data = dataset(tmp_path, [f"c{n}" for n in range(6)])
    first, second = data.split(2), data.split(4)
    data.save_split("mine", first)
    before = (tmp_path / "splits.json").read_bytes()
    data.save_split("mine", first)
    assert (tmp_path / "splits.json").read_bytes() == before
    data.save_split("mine", first.model_copy(update={"how": "the same by another sentence"}))
    with pytest.raises(
        DataError, match=r"splits\.json: has another split 'mine'; add --replace \(in Python replace=True\)"
    ):
        data.save_split("mine", second)
    assert data.load_split("mine").labelled == first.labelled
    data.save_split("mine", second, replace=True)
    assert data.load_split("mine") == second


@pytest.mark.parametrize(
    ("ids", "severity", "text"),
    [
        (CLEAR, "note", r"12 of 12 scans are of 6 patients"),
        (DOUBTFUL, "warning", r"--patients '^(\d+)' if it is so, --patients none if not"),
    ],
)
def test_the_check_lists_what_it_found(tmp_path, ids, severity, text):
    data = dataset(tmp_path, ids)
    assert [
        f.severity for f in check_dataset(data).findings if text in f.message and f.path.name == "dataset.json"
    ] == [severity]
    edit_json(tmp_path / "dataset.json", patients="none")
    assert not [f for f in check_dataset(Dataset.open(tmp_path)).findings if "patient" in f.message]


def test_the_check_finds_patients_in_training_and_test(tmp_path):
    data = dataset(tmp_path, CLEAR[:-1], CLEAR[-1:])
    (finding,) = (f for f in check_dataset(data).findings if "trained on" in f.message)
    assert (finding.severity, finding.case) == ("warning", CLEAR[-1]) and CLEAR[-2] in finding.message
    with pytest.warns(FewmaskWarning, match="1 test cases, 'patient005_frame12'"):
        data.split(4)
