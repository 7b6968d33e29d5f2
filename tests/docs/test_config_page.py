"""docs/config.md says what the schema says."""

import importlib.util
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_page_is_current():
    spec = importlib.util.spec_from_file_location("make_config_page", DOCS / "make_config_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (DOCS / "config.md").read_text(encoding="utf-8") == module.page(), "run python docs/make_config_page.py"
