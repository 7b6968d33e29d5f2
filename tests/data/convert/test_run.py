"""What all converters share: resuming, the source left alone, errors about where things are."""

import json
import os

import numpy as np
import pytest

from fewmask.data.convert import convert, run
from fewmask.data.image import write_image
from fewmask.errors import ConfigError, DataError, WriteError
from layouts import LA_CASES, everything, scan, write_la


@pytest.fixture
def raw(tmp_path):
    return write_la(tmp_path / "raw")


def test_the_source_stays_as_it_was(raw, tmp_path):
    before = everything(raw)
    convert("la", raw, tmp_path / "la")
    assert everything(raw) == before


def stop_after(monkeypatch, cases):
    """Let writing fail after some cases, as Ctrl-C does."""
    real, done = run.write_case, []

    def write(root, plan, case, *by, **options):
        if len(done) == cases:
            raise KeyboardInterrupt
        done.append(case.id)
        real(root, plan, case, *by, **options)

    monkeypatch.setattr(run, "write_case", write)
    return done


def test_a_conversion_that_was_cut_short_goes_on(raw, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            convert("la", raw, tmp_path / "la")
    assert not (tmp_path / "la/dataset.json").exists()
    (tmp_path / "la/labelsTr/.partial-x-half.nii.gz").write_bytes(b"half")
    steps = []
    done = convert("la", raw, tmp_path / "la", progress=lambda *step: steps.append(step))
    assert done.written == 2 and steps == [(1, 3), (2, 3), (3, 3)]
    convert("la", raw, tmp_path / "whole")
    assert [path.read_bytes() for path in sorted((tmp_path / "la").rglob("*.*"))] == [
        path.read_bytes() for path in sorted((tmp_path / "whole").rglob("*.*"))
    ]


def test_a_second_conversion_writes_what_changed_and_what_is_new(raw, tmp_path):
    convert("la", raw, tmp_path / "la")
    assert convert("la", raw, tmp_path / "la").written == 0
    image, _ = scan(9)
    path = raw / "Training Set" / LA_CASES[0] / "lgemri.nrrd"
    write_image(path, image, run.Dataset.open(tmp_path / "la").read(LA_CASES[0]).geometry)
    write_la(tmp_path / "more", ("NEW",))
    (tmp_path / "more/Training Set/NEW").rename(raw / "Training Set/NEW")
    before = everything(tmp_path / "la/imagesTr")
    with pytest.raises(WriteError, match=rf"{LA_CASES[0]}_0000.* other contents; add --overwrite"):
        convert("la", raw, tmp_path / "la")
    assert everything(tmp_path / "la/imagesTr") == before, "the changed case is asked for before the new one is written"
    done = convert("la", raw, tmp_path / "la", overwrite=True)
    assert done.written == 2
    np.testing.assert_array_equal(done.dataset.read(LA_CASES[0]).data[0], image)


def test_a_file_of_another_time_is_another_file(raw, tmp_path):
    convert("la", raw, tmp_path / "la")
    os.utime(raw / "Training Set" / LA_CASES[0] / "lgemri.nrrd", (1, 1))
    assert convert("la", raw, tmp_path / "la").written == 1
    assert convert("la", raw, tmp_path / "la").written == 0


def test_a_case_that_moves_to_another_folder_leaves_nothing_behind(raw, tmp_path):
    """With a test set of its own, the download's training scans are all for training."""
    assert convert("la", raw, tmp_path / "la").dataset.ids("test") == [LA_CASES[2]]
    write_la(tmp_path / "more", ("OTHER",))
    (tmp_path / "more/Training Set").rename(raw / "Testing Set")
    data = convert("la", raw, tmp_path / "la").dataset
    assert data.ids("test") == ["OTHER"] and data.ids("train", labelled=True) == sorted(LA_CASES)
    assert data.problems == [] and len(list((tmp_path / "la").rglob("*.nii.gz"))) == 8


def test_other_settings_or_another_converter_need_another_folder(raw, tmp_path):
    convert("la", raw, tmp_path / "la")
    with pytest.raises(DataError, match=r"la: was converted by 'la' with .* choose another folder"):
        convert("la", raw, tmp_path / "la", {"spacing": [1, 1, 1]})


def test_fewer_cases_than_before_are_not_taken_for_the_same(raw, tmp_path):
    convert("la", raw, tmp_path / "la")
    (raw / "Training Set" / LA_CASES[0]).rename(tmp_path / "away")
    with pytest.raises(DataError, match="was made from more cases"):
        convert("la", raw, tmp_path / "la")


def test_a_folder_of_something_else_is_left_alone(raw, tmp_path):
    (tmp_path / "la").mkdir()
    (tmp_path / "la/mine.txt").write_text("mine")
    with pytest.raises(DataError, match="is there already and is no conversion"):
        convert("la", raw, tmp_path / "la")
    assert [path.name for path in (tmp_path / "la").iterdir()] == ["mine.txt"]


def test_nothing_is_written_into_the_source(raw):
    before = everything(raw)
    for root in (raw, raw / "out", raw / "Training Set" / "out"):
        with pytest.raises(DataError, match="lies inside the raw data"):
            convert("la", raw, root)
    assert everything(raw) == before


@pytest.mark.parametrize(("name", "settings"), [("laa", {}), ("la", {"spacin": 1}), ("la", {"spacing": "wide"})])
def test_wrong_names_and_settings_are_usage_errors(raw, tmp_path, name, settings):
    with pytest.raises(ConfigError):
        convert(name, raw, tmp_path / "la", settings)


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "data.rar").write_bytes(b"Rar!")
    with pytest.raises(DataError, match=r"data\.rar: is neither a folder nor"):
        convert("la", tmp_path / "data.rar", tmp_path / "la")
    with pytest.raises(DataError, match="does not exist"):
        convert("la", tmp_path / "nowhere", tmp_path / "la")


def test_what_it_was_made_from_is_on_record(raw, tmp_path):
    convert("la", raw, tmp_path / "la")
    values = json.loads((tmp_path / "la/conversion.json").read_text())
    assert values["converter"] == "la" and sorted(values["cases"]) == sorted(LA_CASES)
