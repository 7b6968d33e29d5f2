"""What the pages say can be typed, and what they point at is there."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import typer
import yaml

from fewmask.cli.app import app
from fewmask.cli.options import gather_changes
from fewmask.config import load_experiment, validate
from fewmask.data.convert import CONVERTERS
from fewmask.errors import ConfigError
from fewmask.methods import METHODS, method_config
from fewmask.recipes import FOLDER, recipe_names

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
VERBS = typer.main.get_command(app).commands


def with_inner(commands):
    """Verbs, and the verbs of verbs."""
    for command in commands:
        yield command
        yield from with_inner(getattr(command, "commands", {}).values())


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def typed_commands(text):
    """The words after `fewmask` of each command in the bash blocks of a page."""
    for block in re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split("&&"):
                words = shlex.split(part, comments=True)
                if words and words[0] in ("srun", "torchrun") and "fewmask" in words:
                    words = words[words.index("fewmask") :]
                if words and Path(words[0]).name == "fewmask":
                    yield words[1:]


def recipe_commands(text):
    """The same of the comments at the head of a recipe."""
    for line in text.splitlines():
        if line.startswith("#   fewmask "):
            yield shlex.split(line[1:])[1:]


COMMANDS = [
    pytest.param(words, id=f"{name_of(page)}: {' '.join(words)}")
    for pages, parse in ((PAGES, typed_commands), (sorted(FOLDER.rglob("*.yaml")), recipe_commands))
    for page in pages
    for words in parse(page.read_text(encoding="utf-8"))
]


def after(words, *options):
    """The values of options among the words of a command."""
    return [value for option, value in pairwise(words) if option in options]


@pytest.mark.parametrize("words", COMMANDS)
def test_command_can_be_typed(words):
    verb, *rest = words
    if verb.startswith("-"):
        assert verb in ("--help", "--version")
        return
    assert verb in VERBS, f"there is no verb {verb}"
    command = VERBS[verb]
    while rest and rest[0] in getattr(command, "commands", {}):  # a verb of verbs, such as bench
        command, rest = command.commands[rest[0]], rest[1:]
    assert not hasattr(command, "commands") or "--help" in rest, f"there is no {' '.join(words[:2])}"
    if "--help" not in rest:
        command.make_context(verb, list(rest))  # raises on an unknown option, a wrong value, a missing argument
    if verb == "convert":
        converter_takes(rest)
        return
    for recipe in after(rest, "--recipe"):
        assert recipe in recipe_names() or recipe.endswith(".yaml")
    for method in after(rest, "--method"):
        assert method in METHODS
    if verb == "convert":
        validate(CONVERTERS[rest[0]].Config, gather_changes(after(rest, "--set")), rest[0])
        return
    changes = {}
    for assignment in after(rest, "--set"):
        key, value = assignment.split("=", 1)
        section, _, field = key.partition(".")
        changes.setdefault(section, {})[field] = yaml.safe_load(value)
    load_experiment(changes=changes)


def converter_takes(words):
    """The converter is there and has the settings that are asked for."""
    if words and not words[0].startswith("-"):
        settings = gather_changes(after(words, "--set"))
        validate(CONVERTERS[words[0]].Config, settings, " ".join(words))


def test_there_are_commands_to_check():
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_inline_verbs_options_and_settings_exist(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]
    options = {
        option
        for verb in with_inner(VERBS.values())
        for param in verb.params
        for option in (*param.opts, *param.secondary_opts)
    }
    options |= {"--help", "--version", "--debug"}
    for span in spans:
        if match := re.match(r"fewmask ([a-z][a-z-]*)", span):
            assert match[1] in VERBS, f"`{span}`: there is no such verb"
        if match := re.match(r"(--[a-z-]+)( |$)", span):
            assert match[1] in options, f"`{span}`: no verb has this option"
        for key, value in re.findall(r"--set ([\w.]+)=(\S+)", span):
            if not key.startswith("method.") and key != "SECTION.KEY":
                section, _, field = key.partition(".")
                load_experiment(changes=only(section, field, value))


def only(section, field, value):
    """One change, with what a window needs to be valid."""
    extra = {"window": [0, 1]} if value == "window" else {}
    extra |= {"normalisation": "window"} if field == "window" else {}
    return {section: {**extra, field: yaml.safe_load(value)}}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_local_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    local = [
        target.split("#")[0] for target in targets if not re.match(r"[a-z]+:", target) and not target.startswith("#")
    ]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_readme_opens_with_the_two_commands():
    screen = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:30]
    first, second = (line for line in screen if line.startswith("python3 -m venv"))
    assert first.endswith("fewmask demo") and second.endswith("/pytest -n 2 --dist loadfile")


def test_every_method_has_a_card_and_a_line_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in METHODS if not (ROOT / f"docs/cards/{name}.md").is_file()] == []
    assert [name for name in METHODS if f"| `{name}` |" not in readme] == []


@pytest.mark.parametrize("name", list(METHODS))
def test_method_settings_on_its_card_exist(name):
    text = (ROOT / f"docs/cards/{name}.md").read_text(encoding="utf-8")
    for key in re.findall(r"method\.([\w.]+)=", text):
        assert key.split(".")[0] in METHODS[name].Config.model_fields


def test_an_unknown_setting_would_be_found():
    with pytest.raises(ConfigError):
        method_config(load_experiment(changes={"method": {"name": "cps", "nonsense": 1}}).method)


NAMED_TESTS = [
    (name_of(page), file, name)
    for page in PAGES
    for file, name in re.findall(r"`([\w/]+\.py)::(\w+)`", page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("page", "file", "name"), sorted(set(NAMED_TESTS)))
def test_a_test_that_a_page_names_is_there(page, file, name):
    text = (ROOT / "tests" / file).read_text(encoding="utf-8")
    assert re.search(rf"^ *def {name}\(", text, re.MULTILINE), f"{page} names {file}::{name}"
