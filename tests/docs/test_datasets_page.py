"""docs/datasets.md says what the protocols' files say."""

import importlib.util
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_page_is_current():
    spec = importlib.util.spec_from_file_location("make_datasets_page", DOCS / "make_datasets_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    current = (DOCS / "datasets.md").read_text(encoding="utf-8")
    assert current == module.page(), "run python docs/make_datasets_page.py"
