"""Names are shown as they are: in the report, in files and on the terminal they do nothing."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.conftest import call_main
from fewmask.cli import console as printing
from fewmask.data.check import check_dataset
from fewmask.data.dataset import Dataset
from fewmask.errors import DataError
from fewmask.inference.inputs import find_scans
from fewmask.metrics import evaluate
from fewmask.names import file_parts, is_safe, shown
from fewmask.report.html import write_report
from helpers import edit_json, write_dataset
from report.fake_runs import write_run

SCRIPT = "<script>alert(1)<!script>"  # a file name cannot hold a slash
BREAKOUT = "\"'><img src=x onerror=alert(1)>"
STYLE = "<!style><svg onload=alert(1)>"
TEMPLATE = "{{ 7 * 7 }}{% raw %}"
ACTIVE = {"script", "iframe", "object", "embed", "form", "link", "base", "foreignobject", "animate", "set", "img", "a"}


class Walk(HTMLParser):
    """Collects what of a page could act or reach out."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.found, self.words = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        if tag in ACTIVE:
            self.found.append(tag)
        for name, value in attributes:
            if name.startswith("on") or name == "srcdoc" or "javascript:" in (value or "").lower():
                self.found.append(f"{tag} {name}={value}")
            if name in ("src", "href", "xlink:href", "action", "srcset") and not value.startswith(("#", "data:image/")):
                self.found.append(f"{tag} {name}={value}")

    handle_startendtag = handle_starttag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Two scored runs under hostile names, of a data set with hostile case ids, classes and channels."""
    place = tmp_path_factory.mktemp("hostile")
    root = write_dataset(place / BREAKOUT, cases=4, dims=2, test=3, name=STYLE)
    for number, name in enumerate((SCRIPT, BREAKOUT, TEMPLATE)):
        for path in root.glob(f"*Ts/test_00{number}*"):
            path.rename(path.with_name(path.name.replace(f"test_00{number}", name)))
    labels = {"background": 0, f"{SCRIPT} </title></style></script>": 1}
    edit_json(root / "dataset.json", labels=labels, channel_names={"0": BREAKOUT + TEMPLATE})
    runs = [write_run(place / "runs" / name, root, shift=shift) for shift, name in ((1, STYLE), (2, SCRIPT))]
    for run in runs:
        edit_json(run / "split.json", how=f"by {SCRIPT}{BREAKOUT}")
        edit_json(run / "environment.json", command=["fewmask", BREAKOUT], gpu=STYLE, platform=SCRIPT, python=BREAKOUT)
        metrics = (run / "metrics.csv").read_text().replace("dice_loss", '"<b onclick=x()>/<script>"', 1)
        (run / "metrics.csv").write_text(metrics.replace(",train,", f",{SCRIPT},"))
        summary = json.loads((run / "predictions" / "summary.json").read_text())
        (run / "predictions" / "summary.json").write_text(json.dumps({**summary, "unit": f"mm{BREAKOUT}"}))
    return runs


def test_a_report_of_hostile_names_holds_nothing_active(hostile, tmp_path):
    for runs in (hostile[:1], hostile):
        write_report(runs, tmp_path / "report.html", title=SCRIPT + BREAKOUT, notes=[STYLE])
        text = (tmp_path / "report.html").read_text(encoding="utf-8")
        page = Walk(text)
        assert page.found == []
        words = "".join(page.words)
        for name in (SCRIPT, BREAKOUT, STYLE, TEMPLATE):  # shown as they are, so nothing was lost or evaluated
            assert name in words
        assert "Content-Security-Policy" in text and "default-src 'none'" in text
        assert "http://" not in text.replace("http://www.w3.org/", "") and "https://" not in text


def test_the_walk_finds_what_is_active():
    bad = [
        "<script>1</script>",
        "<p onclick='x()'>",
        "<image href='http://x/y'/>",
        "<a href='javascript:x'>",
        "<svg onload=x>",
    ]
    assert [bool(Walk(text).found) for text in bad] == [True] * len(bad)


def test_scores_keep_names_verbatim_and_cells_apart(tmp_path):
    """Names are keys: they are quoted, not changed. SECURITY.md says how to open such a table."""
    root = write_dataset(tmp_path / "blobs", cases=1, dims=2, test=1)
    names = ["=cmd()", 'a,"b"']
    edit_json(root / "dataset.json", labels={"background": 0, names[1]: 1})
    for path in root.glob("*Ts/test_000*"):
        path.rename(path.with_name(path.name.replace("test_000", names[0])))
    evaluate(root / "labelsTs", root / "labelsTs", Dataset.open(root).class_names).write(tmp_path)
    with (tmp_path / "scores.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert [row["case"], row["class"]] == names


ESCAPES = {
    "colour": "\x1b[31mred",
    "title": "\x1b]0;title\x07",
    "one byte": "\x9b2Jx",
    "rewrite": "good\rbad",
    "line": "a\nb",
    "turned": "a\u202egnp.exe",
    "no text": "caf\udce9",
    "nul": "a\0b",
}


@pytest.mark.parametrize("name", ESCAPES.values(), ids=ESCAPES)
def test_unsafe_names_are_seen(name):
    assert not is_safe(name)
    assert is_safe(shown(name).replace("\n", ""))
    assert name.isprintable() or shown(name) != name or "\n" in name


@pytest.mark.parametrize("name", ["scan_01", "Läsion é 病変 עברית", "می‌خواهم", "a b", "[red]", "=1", "-x", "👩‍⚕️"])
def test_real_names_are_safe(name):
    assert is_safe(name) and shown(name) == name


@pytest.mark.parametrize("name", [name for key, name in ESCAPES.items() if key != "nul"])
def test_file_names_with_escapes_are_refused(tmp_path, name):
    root = write_dataset(tmp_path / "blobs", cases=2, dims=2)
    (root / "imagesTr" / "case_001_0000.png").rename(root / "imagesTr" / f"{name}_0000.png")
    (root / "labelsTr" / "case_001.png").rename(root / "labelsTr" / f"{name}.png")
    for call in (
        Dataset.open,
        lambda root: find_scans(root / "imagesTr", 1),
        lambda root: evaluate(root / "labelsTr", root / "labelsTr"),
    ):
        with pytest.raises(DataError, match="control characters or bytes that are no text"):
            call(root)
    report = check_dataset(root)
    assert not report.ok
    outcome = call_main("check", "blobs", cwd=tmp_path)
    assert outcome.code == 1
    assert is_safe(outcome.out.replace("\n", ""))


@pytest.mark.parametrize("entry", ["labels", "channel_names", "name"])
@pytest.mark.parametrize("name", ESCAPES.values(), ids=ESCAPES)
def test_names_with_escapes_in_dataset_json_are_refused(tmp_path, entry, name):
    root = write_dataset(tmp_path / "blobs", cases=1, dims=2)
    edit_json(
        root / "dataset.json",
        **{entry: {"labels": {"background": 0, name: 1}, "channel_names": {"0": name}, "name": name}[entry]},
    )
    with pytest.raises(DataError, match=r"dataset\.json: the \w+ '.+' holds control characters") as error:
        Dataset.open(root)
    assert is_safe(str(error.value))


@given(st.text(max_size=40))
def test_any_text_can_be_shown(text):
    assert is_safe(shown(text).replace("\n", "").replace("\t", ""))
    assert shown(shown(text)) == shown(text)
    assert shown(text) == text or not is_safe(text)
    shown(text).encode("utf-8")


@given(st.lists(st.text(max_size=100), min_size=1, max_size=6, unique=True))
def test_any_names_make_file_names_that_differ(names):
    parts = file_parts(names)
    assert len({part.casefold() for part in parts}) == len(names)
    assert all(not set(part) & set('/\\:\0*?"<>|') for part in parts)


def printed(monkeypatch, action):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setattr("sys.stderr", stream)
    action()
    return stream.getvalue()


@pytest.mark.parametrize("text", [*ESCAPES.values(), "[red]x[/]", "[/]", ":smile:", "[link=http://x]y[/link]"])
def test_the_console_prints_text_as_it_is(monkeypatch, text):
    from rich.table import Table
    from rich.text import Text

    table = Table("name")
    table.add_row(text)
    table.add_row(Text(text))
    values = {text: [text]}
    for action in (
        lambda: printing.say(text),
        lambda: printing.say_next("fewmask", text),
        lambda: printing.print_error(text),
        lambda: printing.print_json(values),
        lambda: printing.console().print(table),
    ):
        output = printed(monkeypatch, action)
        assert is_safe(output.replace("\n", ""))
        assert is_safe(text) <= (text in output)
    assert json.loads(printed(monkeypatch, lambda: printing.print_json(values))) == values
