"""The report claims nothing where there is nothing to compare on: no common seed, too few cases, other settings than the baseline's."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from bench.fake_bench import write_bench
from fewmask.bench.report.content import Bench, read_bench
from fewmask.bench.report.grids import comparison_grid, score_grid
from fewmask.bench.report.markdown import to_report_markdown
from fewmask.bench.report.records import csv_files
from fewmask.bench.report.remarks import of_section
from fewmask.bench.report.shown import prepare
from fewmask.bench.report.verdict import overall, verdict
from helpers import write_dataset

LABELS = ("supervised", "cps", "half-cps")
CASES = 9
APART = {"supervised": (0, 1), "cps": (2, 3), "half-cps": (1, 2)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = write_dataset(tmp_path_factory.mktemp("data") / "Dataset001_Blobs", dims=2, cases=4, test=CASES)
    return write_bench(tmp_path_factory.mktemp("bench"), root, CASES, seeds=(0,))


@pytest.fixture(scope="module")
def bench(runs):
    return read_bench(runs)


@pytest.fixture
def scored(bench):
    """The section with other seeds, number of cases and gains: cps is better in every case, by an own amount in each."""

    def scored(seeds=None, cases=CASES, gain=0.1, labels=LABELS):
        rng = np.random.default_rng(1)
        hard = rng.uniform(0.5, 0.7, cases)
        rise = np.linspace(0.5, 1.5, cases)
        seeds = seeds or dict.fromkeys(labels, (0,))
        noise = {label: rng.normal(0, 0.01, (len(seeds[label]), cases)) for label in labels}
        values = {label: hard + noise[label] + (gain * rise if label == "cps" else 0) for label in labels}
        names = tuple(f"test_{number:03d}" for number in range(cases))
        dice = replace(bench.sections[0].scores["dice"], values=values, cases=names, seeds=seeds)
        rows = {label: bench.sections[0].runs[label] for label in labels}
        return replace(bench.sections[0], scores={"dice": dice}, runs=rows, by_class={})

    return scored


def only(section):
    return Bench("title", section.labels, section.baseline or "", (section,), tuple(of_section(section)))


class TestSeeds:
    def test_methods_without_a_common_seed_are_not_compared(self, scored):
        assert verdict(scored()).headline.startswith("cps (+")
        section = scored(APART)
        told = "No method differs significantly from supervised. Not compared with it: cps."
        assert verdict(section).headline == told
        assert verdict(section).details[-1] == "no seed in common with supervised: cps"
        assert "Holm-corrected for 1 comparison," in verdict(section).evidence
        row = next(row for row in comparison_grid(section).rows if row[0].text == "cps")
        assert [cell.text for cell in row[1:]] == ["–"] * 3 and row[1].small == "no common seed"
        tests = list(csv.DictReader(io.StringIO(csv_files(only(section))["tests.csv"])))
        assert {(test["first"], test["second"]) for test in tests} == {
            ("half-cps", "supervised"),
            ("supervised", "half-cps"),
            ("cps", "half-cps"),
        }

    def test_nothing_is_bold_between_them(self, scored):
        for seeds, bold in ((None, {"cps"}), (APART, set())):
            rows = score_grid(scored(seeds)).rows
            assert {row[0].text for row in rows if any(cell.bold for cell in row)} == bold

    def test_it_is_told(self, scored):
        (told,) = of_section(scored(APART))
        assert "the same seeds (2, 3: cps; 1, 2: half-cps; 0, 1: supervised)." in told
        assert told.endswith("Those that have none in common are not compared (supervised and cps).")
        (told,) = of_section(scored({**APART, "cps": (0,)}))
        assert told.endswith("Those that have none in common are not compared (cps and half-cps).")

    def test_without_any_common_seed_there_is_no_verdict(self, scored):
        section = scored({"supervised": (0,), "cps": (1,), "half-cps": (1,)})
        assert verdict(section).headline == "No verdict: no method has a seed in common with supervised."
        section = replace(scored({"supervised": (0,), "cps": (1,), "half-cps": (2,)}), baseline=None)
        assert verdict(section).headline.endswith("no two methods have a seed in common.")
        assert "nothing can be bold here" in score_grid(section).notes[1]

    @pytest.mark.parametrize(
        ("seeds", "told"),
        [
            (None, "9 cases, seed 0. Friedman"),
            (dict.fromkeys(LABELS, (0, 1)), "9 cases, mean over the seeds 0 and 1. Friedman"),
            ({"supervised": (0, 1, 2), "cps": (0, 1, 2), "half-cps": (0,)}, "9 cases, seed 0, the only one that all"),
            (APART, "No ranks: there is no seed that all methods have."),
        ],
    )
    def test_ranks_say_on_which_seeds_they_stand(self, scored, seeds, told):
        report = prepare(only(scored(seeds)), pictures=False)
        assert report.sections[0].about_ranks.startswith(told)
        assert (report.sections[0].ranks is None) == told.startswith("No ranks")
        text, files = to_report_markdown(report)
        assert told in text and ("critical difference (Nemenyi)" in text) == ("figures/setting0-ranks.svg" in files)


class TestReach:
    def test_too_many_comparisons_for_the_cases_give_no_verdict(self, scored):
        """Six cases can be significant once, 2 / 2^6 = 0.03, but not after Holm's correction for two."""
        one = scored(cases=6, labels=("supervised", "cps"))
        assert "beats supervised" in verdict(one).headline and "no p-value" not in " ".join(comparison_grid(one).notes)
        two = scored(cases=6)
        why = "with 6 test cases and 2 comparisons no p-value can fall below 0.062 after Holm’s correction"
        assert verdict(two).headline == f"No verdict: {why}, so none can find a difference."
        assert verdict(two).evidence.startswith("The means are no more than a description. 6 test cases")
        assert len(verdict(two).details) == 3
        assert comparison_grid(two).notes[-1] == f"nothing can be significant here: {why}"
        pairs = replace(two, baseline=None)
        assert "6 test cases and 3 pairs no p-value can fall below 0.094" in verdict(pairs).headline

    def test_where_no_figure_can_be_bold_the_table_says_so(self, scored):
        seven = scored(cases=7)
        assert score_grid(seven).rows[1][1].bold and "nothing can be bold" not in score_grid(seven).notes[1]
        note = score_grid(scored(cases=6)).notes[1]
        assert note.endswith(
            "nothing can be bold here, since with 6 test cases and 3 pairs no p-value can fall below 0.094 after Holm’s correction"
        )

    def test_settings_in_which_nothing_could_be_found_are_no_ties(self, scored):
        bench = replace(only(scored()), sections=(scored(), scored(cases=6)))
        assert (
            overall(bench)[0]
            == "cps against supervised, 2 settings: significantly better in 1, too few cases to tell in 1"
        )


class TestSettings:
    @staticmethod
    def other(section, label, **changes):
        """The section in which a label was run with other settings."""
        run = section.runs[label][0]
        values = {name: getattr(run.experiment, name).model_copy(update=new) for name, new in changes.items()}
        run = replace(run, experiment=run.experiment.model_copy(update=values))
        return replace(section, runs={**section.runs, label: (run,)})

    def test_settings_beside_the_method_are_told(self, scored):
        assert list(of_section(scored())) == []
        section = self.other(scored(), "cps", network={"norm": "group"}, inference={"largest_component": True})
        (told,) = of_section(section)
        assert (
            "not only the method differs from supervised: cps in inference.largest_component (true, not false) and network.norm (group, not the default). "
            in told
        )
        section = self.other(section, "half-cps", network={"norm": "group"}, inference={"largest_component": True})
        assert "supervised: all others in inference.largest_component" in next(of_section(section))

    def test_what_is_the_methods_own_or_changes_nothing_is_not(self, scored):
        section = self.other(scored(), "cps", train={"log_every": 3, "seed": 5}, sampling={"workers": 0})
        assert list(of_section(section)) == []

    def test_many_settings_are_cut(self, scored):
        train = {"lr": 0.3, "optimiser": "adam", "precision": "bf16", "momentum": 0.5, "weight_decay": 0.0}
        (told,) = of_section(self.other(scored(), "cps", train=train, preprocess={"crop": "body"}))
        assert told.count(", not ") == 4 and " and 2 more." in told
