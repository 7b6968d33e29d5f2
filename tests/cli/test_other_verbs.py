import json

import pytest
import torch
from safetensors.torch import load_file

from fewmask import __version__
from fewmask.cli import bench
from fewmask.inference.predictor import Predictor

VERBS = (
    "demo",
    "convert",
    "check",
    "split",
    "train",
    "predict",
    "evaluate",
    "rank",
    "pseudo-label",
    "report",
    "bench",
    "export",
    "methods",
    "datasets",
    "networks",
    "doctor",
)
HEAVY = ("torch", "monai", "scipy", "nibabel", "SimpleITK", "matplotlib", "lightning_fabric")


def test_methods(cli):
    rows = json.loads(cli("methods", "--json").out)
    assert {"supervised", "mean-teacher", "ua-mt", "cps"} <= {row["name"] for row in rows}
    outcome = cli("methods")
    assert all(row["name"] in outcome.out for row in rows) and cli(*outcome.next).code == 0


def test_card_of_every_method(cli):
    for row in json.loads(cli("methods", "--json").out):
        shown = cli("methods", "show", row["name"])
        card = json.loads(cli("methods", "show", row["name"], "--json").out)
        assert shown.code == 0 and card["card"] in shown.out
        assert all(f"  {key}=" in shown.out for key, _, _ in card["settings"])


def test_printed_settings_can_be_typed(cli):
    shown = cli("methods", "show", "ua-mt").out.split("Settings")[1]
    lines = [line.split("  ")[1] for line in shown.splitlines()[1:]]
    words = [word for line in lines for word in ("--set", f"method.{line}")]
    outcome = cli("train", "nowhere", "--output", "x", "--method", "ua-mt", *words)
    assert "nowhere: is not a folder" in outcome.err  # the settings passed


def test_unknown_method(cli):
    outcome = cli("methods", "show", "ua-tm")
    assert outcome.code == 2 and "did you mean 'ua-mt'" in outcome.err
    assert cli("methods", "list").code == 2
    assert "`fewmask methods show ua-mt`" in cli("methods", "ua-mt").err


def test_networks(cli):
    rows = json.loads(cli("networks", "--json").out)
    assert {(row["name"], row["dims"]) for row in rows} >= {("vnet", 3), ("unet-2d", 2)}
    count = next(row["parameters"] for row in rows if (row["name"], row["dims"]) == ("vnet", 3))
    assert f"{count:,}" in cli("networks").out


def test_doctor(cli):
    facts = json.loads(cli("doctor", "--json").out)
    assert facts["packages"]["torch"] == torch.__version__ and facts["cores"] >= 1
    assert torch.__version__ in cli("doctor").out


def test_export_program(cli, runs, place):
    assert cli("export", "runs/skin", "model.pt2").code == 0
    program = torch.export.load(place / "model.pt2").module()
    module = Predictor.from_run(runs / "skin", device="cpu").module
    for size in (1, 3):
        patches = torch.randn(size, 3, 32, 32)
        torch.testing.assert_close(program(patches), module(patches), atol=1e-5, rtol=0)


def test_export_weights(cli, runs, place):
    assert cli("export", "runs/skin", "model.safetensors", "--checkpoint", "last").code == 0
    written, kept = load_file(place / "model.safetensors"), load_file(runs / "skin/checkpoints/last.safetensors")
    assert written.keys() == kept.keys() and all(written[key].equal(kept[key]) for key in kept)


def test_export_errors(cli, runs, place):
    outcome = cli("export", "runs/skin", "model.onnx")
    assert outcome.code == 2 and "use the ending .pt2" in outcome.err and not (place / "model.onnx").exists()
    assert cli("export", "nowhere", "model.pt2").code == 1
    assert cli("export", "runs/skin", "model.pt2", "--checkpoint", "bset").code == 2


def test_report(cli, runs, place):
    outcome = cli("report", "runs/heart", "runs/skin", "--output", "page.html")
    assert outcome.code == 0 and "report: page.html" in outcome.out, outcome.err
    assert "mean-teacher" in (place / "page.html").read_text()
    assert cli("report", "runs/heart").code == 0 and (runs / "heart/report.html").is_file()
    outcome = cli("report", "nowhere")
    assert outcome.code == 1 and "nowhere is not a run folder" in outcome.err


def test_help_names_every_verb_in_full_sentences(cli):
    text = cli("--help").out
    assert "..." not in text.split("Commands:")[1]
    assert [line.split()[0] for line in text.split("Commands:")[1].splitlines() if line.strip()] == list(VERBS)
    assert cli().code == 2


@pytest.mark.parametrize("verb", [*VERBS, *(f"bench {verb.name}" for verb in bench.app.registered_commands)])
def test_help_of_a_verb_fits_80_columns(cli, verb):
    outcome = cli(*verb.split(), "--help")
    assert outcome.code == 0 and f"Usage: fewmask {verb}" in outcome.out
    assert max(len(line) for line in outcome.out.splitlines()) <= 80


def test_version_and_unknown_verb(cli):
    assert cli("--version").out == f"{__version__}\n"
    outcome = cli("trian")
    assert outcome.code == 2 and "train" in outcome.err


def test_help_imports_nothing_heavy(tmp_path):
    import os
    import subprocess
    import sys
    from pathlib import Path

    code = (
        "import sys\nsys.argv = ['fewmask', '--help']\nfrom fewmask.cli import main\n"
        f"try:\n    main()\nfinally:\n    sys.stderr.write(' '.join(n for n in {HEAVY} if n in sys.modules))"
    )
    sources = Path(__file__).resolve().parents[2] / "src"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(sources)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "Usage: fewmask" in done.stdout and done.stderr == ""
