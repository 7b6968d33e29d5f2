import re
from pathlib import Path

import pytest

from fewmask.bench.jobs import expand
from fewmask.bench.published import all_results
from fewmask.bench.suite import nested
from fewmask.bench.suite_files import find_suite, open_suite, suite_names
from fewmask.config import read_yaml
from fewmask.errors import ConfigError
from fewmask.methods import METHODS
from fewmask.methods.base import method_config
from fewmask.metrics.score import EXTRAS, metric_names
from fewmask.recipes import recipe_names, recipe_path

OWN = ("smoke", "la-cpu", "ph2-cpu", "ph2-labels-cpu")


@pytest.mark.parametrize("name", suite_names())
def test_shipped_suite_expands(name):
    suite = find_suite(name)
    jobs = expand(suite, Path("out"))
    assert {job.place.data for job in jobs} == set(suite.data)
    assert {job.place.label for job in jobs} == {method.label for method in suite.methods}
    assert all(data.dataset is None for data in suite.data.values()), "shipped suites name no folder"
    assert {*suite.metrics} <= {*metric_names(), *EXTRAS} and suite.baseline
    text = (Path(find_suite.__code__.co_filename).parent / "suites" / f"{name}.yaml").read_text()
    assert text.startswith("# ") and f"#   fewmask bench run {name}" in text


@pytest.mark.parametrize("name", [name for name in suite_names() if name not in OWN])
def test_suites_of_papers_run_what_was_published(name):
    """Every labelled count stands in a table of the protocol, and every method's row, where the paper is not about it, in a comparison."""
    published = all_results()
    for entry, data in find_suite(name).data.items():
        rows = [row for row in published if row.table.protocol == data.protocol]
        counts = {str(row.table.labelled) for row in rows} | {row.table.share for row in rows}
        assert {*data.labelled} <= counts, entry
        known = {row.method for row in rows}
        assert {
            method.name for method in find_suite(name).methods if data.methods is None or method.label in data.methods
        } <= known | {"supervised"}


def borrowed_recipes(suite):
    """Data set, method and labelled count of the runs whose recipe was not made for their method, and whether the suite sets them."""
    for entry, data in suite.data.items():
        for method in (one for one in suite.methods if data.methods is None or one.label in data.methods):
            for labelled in data.labelled:
                special = [some for some in data.exceptions if some.applies(method.label, labelled)]
                if any(some.skip for some in special):
                    continue
                wanted = [one.format(method=method.name, labelled=labelled) for one in method.recipe or data.recipe]
                recipe = next(one for one in wanted if one in recipe_names())
                if read_yaml(recipe_path(recipe)).get("method", {}).get("name") != method.name:
                    keys = [*method.set, *(key for some in special for key in some.set)]
                    yield entry, method.label, labelled, any(key.startswith("method.") for key in keys)


@pytest.mark.parametrize("name", [name for name in suite_names() if name not in OWN])
def test_who_borrows_a_recipe_has_settings_of_the_suite(name):
    """A baseline's recipe says nothing of another method's weights, ramps or forms."""
    runs = list(borrowed_recipes(find_suite(name)))
    assert [run for run in runs if not run[-1]] == []
    borrowers = {
        "semigda-2d": {"urpc", "dtc", "mc-net", "mcf"},
        "la-paper": {"supervised", "entropy-minimisation", "cct", "ua-mt", "urpc", "cps", "dtc"},  # la-drawn
    }
    assert {label for _, label, _, _ in runs} == borrowers.get(name, set())


@pytest.mark.parametrize(
    ("suite", "entry", "label", "of", "wanted"),
    [
        ("la-paper", "la", "sassnet", lambda e: e.method.adversarial["weight"], {"4": 0.015, "8": 0.015, "16": 0.01}),
        ("pancreas-paper", "mcf", "bcp", lambda e: e.train.iterations, {"6": 5600, "12": 5000}),
    ],
)
def test_what_depends_on_the_labelled_count(suite, entry, label, of, wanted):
    places = {
        job.place.labelled: of(job.experiment)
        for job in expand(find_suite(suite).only([entry]), Path("out"))
        if job.place.label == label
    }
    assert places == wanted


def runs_by_protocol(*names):
    """What suites run: protocol, labelled count as the suite has it, label and method."""
    return {
        (suite.data[job.place.data].protocol, job.place.labelled, job.place.label, job.experiment.method.name)
        for suite in map(find_suite, names)
        for job in expand(suite.model_copy(update={"seeds": (0,)}), Path("out"))
    }


def amounts_of(table):
    return {str(table.labelled), table.share}


def test_every_published_row_of_our_methods_is_run():
    comparisons = [name for name in suite_names() if name not in OWN and "ablation" not in name]
    runs = {(protocol, labelled, method) for protocol, labelled, _, method in runs_by_protocol(*comparisons)}
    rows = [row for row in all_results() if row.table.kind == "comparison" and row.method in METHODS]
    assert len(rows) > 200
    for row in rows:
        wanted = {(row.table.protocol, amount, row.method) for amount in amounts_of(row.table)}
        assert wanted & runs, f"{row.paper.name}: {row.table.source}, {row.table.share}, {row.row}"


NOT_PROVEN = {f"one module removed ({letter})" for letter in "defg"}  # which module that is
NOT_PUBLISHED = {
    ("diff-cl", "cross+hfm+contrast-filtered"),
    *(
        ("uncertainty-dual-network", label)
        for label in ("labels-only", *(f"without-{part}" for part in ("cr", "ue", "contrast", "cce")))
    ),
}


def test_rows_of_ablations_are_what_the_suites_call_them():
    """Both ways: the label of a row is run where the table is of, and what a suite runs has a row."""
    ablations = [name for name in suite_names() if name.endswith("-ablation")]
    runs = runs_by_protocol(*ablations)
    covered = {(protocol, amount) for protocol, amount, *_ in runs}
    sources = {(paper.name, source) for row in all_results() for paper in [row.paper] for source in paper.labels}
    rows = [
        row
        for row in all_results()
        if (row.paper.name, row.table.source) in sources
        and {(row.table.protocol, amount) for amount in amounts_of(row.table)} & covered
    ]
    assert len(rows) == 4 * 2 + 8 * 3 + 3 * 4 * 3
    met = set()
    for row in rows:
        wanted = {(row.table.protocol, amount, row.label, row.method) for amount in amounts_of(row.table)}
        assert bool(wanted & runs) != (row.row in NOT_PROVEN), f"{row.paper.name}: {row.table.source}, {row.row}"
        met |= wanted & runs
    curves = "diffusion-co-training"  # printed without figures
    missed = {(method, label) for _, _, label, method in runs - met if method != curves}
    assert missed == NOT_PUBLISHED


def test_ablations_switch_what_their_labels_say():
    def found(name, *parts):
        jobs = expand(find_suite(name), Path("out"))
        configs = {job.place.label: method_config(job.experiment.method) for job in jobs}
        return {label: tuple(part(config) for part in parts) for label, config in configs.items()}

    weights = (
        lambda c: (c.cross_ds.weight, c.cross_cs.weight),
        lambda c: len(c.hfm.stages),
        lambda c: c.contrast.weight > 0,
    )
    assert found("diff-cl-ablation", *weights, lambda c: c.propagation.candidate_filter) == {
        "labels-only": ((0, 0), 0, False, "none"),
        "cross": ((1, 1), 0, False, "none"),
        "cross+hfm": ((1, 1), 1, False, "none"),
        "cross+hfm+contrast": ((1, 1), 1, True, "none"),
        "cross+hfm+contrast-filtered": ((1, 1), 1, True, "pseudo"),
    }
    rounds = {f"rounds-{count}": (count, True) for count in (0, 1, 3, 5, 10)}
    of_rounds = (lambda c: c.rounds.count, lambda c: c.pretrain.iterations > 0)
    assert found("co-training-ablation", *of_rounds) == rounds | {"not-pre-trained": (5, False)}
    assert found("semigda-ablation", lambda c: c.align, lambda c: c.adapters, lambda c: c.agree) == {
        "neither": ("none", "none", False),
        "dam": ("both", "none", False),
        "cdsa": ("none", "both", True),
        "both": ("both", "both", True),
        "image-adapter": ("both", "image", True),
        "mask-adapter": ("both", "mask", True),
        "mask-loss-alone": ("none", "both", False),
        "labelled-losses": ("labelled", "both", False),
    }


@pytest.mark.parametrize("name", suite_names())
def test_pre_training_is_the_smaller_part_of_a_run(name):
    """A recipe may be far shorter than the run that a method's default is meant for."""
    for experiment in (job.experiment for job in expand(find_suite(name), Path("out"))):
        length = getattr(method_config(experiment.method), "pretrain_iterations", 0)
        assert length < experiment.train.iterations / 2, experiment.method.name


def test_all_that_was_asked_for_is_there():
    wanted = {"smoke", "la-cpu", "ph2-cpu", "la-paper", "pancreas-paper", "brats-paper", "ciampi-2d", "semigda-2d"}
    assert wanted <= {*suite_names()}


def test_paths_are_relative_to_the_file(write_suite, tmp_path, blobs):
    suite = find_suite(str(write_suite(blobs={"dataset": "elsewhere"})))
    assert suite.name == "small" and suite.data["blobs"].dataset == str(tmp_path / "elsewhere")
    assert suite.data["blobs"].recipe == (str(tmp_path / "tiny.yaml"),)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"metods": []}, "unknown key 'metods', did you mean 'methods'"),
        ({"blobs": {"labeled": [1]}}, "unknown key 'data.blobs.labeled', did you mean 'labelled'"),
        ({"methods": [{"name": "cps", "sett": {}}]}, "unknown key 'methods.0.sett'"),
        ({"baseline": "supervized"}, "did you mean 'supervised'"),
        ({"methods": ["supervised", "supervised"]}, "two methods are called 'supervised'"),
        ({"methods": [{"name": "supervised", "label": "../cps"}]}, "label"),
        ({"seeds": [0, 0]}, "each seed once"),
        ({"blobs": {"labelled": ["ten"]}}, "give a number of cases such as 8"),
        ({"metrics": ["dize"]}, "did you mean 'dice'"),
        ({"metrics": ["nsd@two"]}, "there is no metric 'nsd@two'"),
        ({"methods": ["supervised", {"name": "cps", "starts_from": {"method.x": "csp"}}]}, "did you mean 'cps'"),
        ({"blobs": {"lists": "ua-mt"}}, "lists needs a protocol"),
    ],
)
def test_mistakes_are_told(write_suite, changes, error):
    with pytest.raises(ConfigError, match=re.escape(error)):
        find_suite(str(write_suite(**{"baseline": None, **changes})))


def test_the_surface_dice_may_have_a_column(write_suite):
    assert find_suite(str(write_suite(metrics=["dice", "nsd@2"]))).metrics == ("dice", "nsd@2")


def test_names_of_data_and_output(write_suite, tmp_path):
    suite, output = open_suite(str(write_suite()))
    assert output == Path("bench/small")
    with pytest.raises(ConfigError, match="did you mean 'blobs'"):
        suite.with_data({"blob": tmp_path})
    assert suite.with_data({"": tmp_path}).data["blobs"].dataset == str(tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'smoke'"):
        open_suite("smok")


def test_some_of_the_data_sets():
    suite = find_suite("ciampi-2d")
    assert list(suite.only(["ph2"]).data) == ["ph2"] and suite.only([]) == suite
    assert {job.place.data for job in expand(suite.only(["ph2", "glas"]), Path("out"))} == {"ph2", "glas"}
    with pytest.raises(ConfigError, match="did you mean 'ph2'"):
        suite.only(["ph3"])


def test_dotted_keys():
    assert nested({"a.b": 1, "a.c.d": 2, "e": [3]}) == {"a": {"b": 1, "c": {"d": 2}}, "e": [3]}


def test_the_suite_of_the_page_can_be_run(tmp_path):
    """`docs/bench.md` shows a suite; every key of it is one."""
    page = (Path(__file__).resolve().parents[2] / "docs/bench.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "mine.yaml").write_text("train: {lr: 0.5}\n")
    (tmp_path / "page.yaml").write_text(text)
    jobs = expand(find_suite(str(tmp_path / "page.yaml")), tmp_path)
    assert len(jobs) == 3 * (2 * 4 + 2) and {job.experiment.train.iterations for job in jobs} == {2000}
    phantom = re.findall(r"`(phantom: .*?)`", page)[0]
    text = text.replace("dataset: ../Dataset001_Heart", phantom)
    (tmp_path / "page.yaml").write_text(text)
    assert find_suite(str(tmp_path / "page.yaml")).data["heart"].phantom.train == 8
