import runpy
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[1] / "examples/minimal_mean_teacher.py"


def test_minimal_mean_teacher_runs_and_is_short(monkeypatch, capsys):
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) < 150
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "--iterations", "5"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    printed = capsys.readouterr().out
    organ, vessel = (float(printed.split(f"{name} ")[1][:5]) for name in ("organ", "vessel"))
    assert 0 <= organ <= 1 and 0 <= vessel <= 1
