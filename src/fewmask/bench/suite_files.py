"""Where suites are: shipped in ``suites/``, in files of the user's, in the outputs of comparisons."""

from __future__ import annotations

from pathlib import Path

import yaml

from fewmask.bench.suite import Suite
from fewmask.config import read_yaml, validate
from fewmask.errors import ConfigError, nearest
from fewmask.whole import read_whole

FOLDER = Path(__file__).parent / "suites"
KEPT = "suite.yaml"  # of an output, with the folders of its data sets


def suite_names() -> list[str]:
    """The shipped suites."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find_suite(name: str) -> Suite:
    """A shipped suite by its name, the user's own by its file, or that of an output by its folder.

    Raises:
        ConfigError: it is not there, or not valid.
    """
    path = Path(name)
    if (path / KEPT).is_file():  # first: an output may be called like a shipped suite
        return read_suite(path / KEPT)
    if name in suite_names():
        return read_suite(FOLDER / f"{name}.yaml")
    if name.endswith((".yaml", ".yml")) or path.is_file():
        return read_suite(path)
    raise ConfigError(
        f"there is no suite {name!r}: give a YAML file, the folder of a comparison, or a shipped one; "
        f"{nearest(name, suite_names())}"
    )


def read_suite(path: Path) -> Suite:
    """A suite from a file, its paths made absolute.

    Raises:
        ConfigError: the file is missing, cut short or not valid.
    """
    values = read_yaml(path)
    try:
        read_whole(path)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    suite: Suite = validate(Suite, {"name": path.stem, **values}, str(path))
    data = {
        name: one.model_copy(
            update={
                "dataset": None if one.dataset is None else str((path.parent / one.dataset).resolve()),
                "recipe": _beside(one.recipe, path),
            }
        )
        for name, one in suite.data.items()
    }
    methods = tuple(
        one.model_copy(update={"recipe": None if one.recipe is None else _beside(one.recipe, path)})
        for one in suite.methods
    )
    return suite.model_copy(update={"data": data, "methods": methods})


def _beside(recipes: tuple[str, ...], path: Path) -> tuple[str, ...]:
    """Files of the user's lie beside the suite."""
    return tuple(str((path.parent / name).resolve()) if name.endswith((".yaml", ".yml")) else name for name in recipes)


def open_suite(name: str, output: Path | None = None) -> tuple[Suite, Path]:
    """A suite and the folder of its runs.

    Args:
        name: see `find_suite`; the folder of a comparison is its output too.
        output: the folder; None: ``bench/NAME``.

    Raises:
        ConfigError: see `find_suite`.
    """
    suite = find_suite(name)
    if output is None:
        output = Path(name) if (Path(name) / KEPT).is_file() else Path("bench") / suite.name
    return suite, output


def with_known_folders(suite: Suite, output: Path) -> Suite:
    """A suite with the folders of data sets that an earlier run in its output was given, where it names none itself.

    Raises:
        ConfigError: what the output keeps of its suite is not valid.
    """
    earlier = read_suite(output / KEPT).data if (output / KEPT).is_file() else {}
    missing = [name for name, data in suite.data.items() if data.dataset is None and name in earlier]
    return suite.with_data({name: Path(folder) for name in missing if (folder := earlier[name].dataset)})


def to_yaml(suite: Suite) -> str:
    """A suite as the text of a file that `read_suite` reads back."""
    return yaml.safe_dump(suite.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
