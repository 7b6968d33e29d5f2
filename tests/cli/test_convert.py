import json

import pytest

from fewmask.data.convert import CONVERTERS
from layouts import write_la
from program import call_main


@pytest.fixture
def raw(tmp_path):
    return write_la(tmp_path / "raw")


def test_convert_then_check(raw, tmp_path):
    outcome = call_main("convert", "la", "raw", "la", cwd=tmp_path)
    assert outcome.code == 0 and "3 written" in outcome.out
    assert outcome.next == ["check", "la"] and outcome.err.count("warning:") == 1
    assert call_main(*outcome.next, cwd=tmp_path).code == 0


def test_as_json(raw, tmp_path):
    outcome = call_main("convert", "la", "raw", "la", "--json", cwd=tmp_path)
    values = json.loads(outcome.out)
    assert values["written"] == 3 and len(values["train"]) + len(values["test"]) == 3


def test_the_list_names_every_converter(tmp_path):
    outcome = call_main("convert", cwd=tmp_path)
    assert outcome.code == 0 and all(name in outcome.out for name in CONVERTERS)
    assert {row["name"] for row in json.loads(call_main("convert", "--json", cwd=tmp_path).out)} == set(CONVERTERS)


@pytest.mark.parametrize("name", list(CONVERTERS))
def test_a_name_alone_prints_layout_and_settings(tmp_path, name):
    outcome = call_main("convert", name, cwd=tmp_path)
    kind = CONVERTERS[name]
    assert outcome.code == 0 and kind.layout.splitlines()[0].rstrip() in outcome.out
    assert all(f"  {key}=" in outcome.out for key in kind.Config.model_fields)


@pytest.mark.parametrize("words", [["la", "raw"], ["laa", "raw", "la"], ["la", "raw", "la", "--set", "spacin=1"]])
def test_usage_errors_exit_with_2(raw, tmp_path, words):
    outcome = call_main("convert", *words, cwd=tmp_path)
    assert outcome.code == 2 and outcome.err.count("\n") == 1


def test_a_wrong_layout_is_one_line_and_exit_code_1(tmp_path):
    (tmp_path / "raw").mkdir()
    outcome = call_main("convert", "la", "raw", "la", cwd=tmp_path)
    assert outcome.code == 1 and outcome.err.count("\n") == 1 and "found nothing" in outcome.err
