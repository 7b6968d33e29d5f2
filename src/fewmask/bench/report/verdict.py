"""What came out, in plain words: who is better than the baseline, by how much, and on how much evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fewmask.bench.report.content import PRIMARY, Bench, Section
from fewmask.bench.statistics import FEWEST_PAIRS, Comparison, compare, compare_all, least_p
from fewmask.bench.tables import signed
from fewmask.errors import DataError
from fewmask.metrics.words import p_number, p_value
from fewmask.words import count, listed

MOST_NAMES = 3  # in a headline


@dataclass(frozen=True)
class Verdict:
    """What came out in one setting.

    Attributes:
        setting: which.
        headline: one sentence.
        details: the differences, one sentence each.
        evidence: how many cases and seeds it stands on.
    """

    setting: str
    headline: str
    details: tuple[str, ...]
    evidence: str


def overall(bench: Bench) -> list[str]:
    """How often each label that was compared in several settings is better or worse than the baseline."""
    sentences = []
    for label in bench.labels[1:]:
        found = [(s, c) for s in bench.sections for c in s.comparisons[PRIMARY] if c.first == label]
        if len(found) < 2:
            continue
        blind = [bool(out_of_reach(s.comparisons[PRIMARY], s.alpha)) for s, _ in found]
        winners = [c.winner(True, s.alpha) for (s, c), unseen in zip(found, blind, strict=True) if not unseen]
        counts = {
            "significantly better in": winners.count(label),
            "significantly worse in": winners.count(bench.baseline),
            "not significantly different in": winners.count(None),
            "too few cases to tell in": sum(blind),
        }
        parts = ", ".join(f"{words} {number}" for words, number in counts.items() if number)
        sentences.append(f"{label} against {bench.baseline}, {len(found)} settings: {parts}")
    return sentences


def verdict(section: Section) -> Verdict:
    """The verdict on one setting, by Dice."""
    if len(section.labels) < 2:
        return Verdict(
            section.heading, f"Only {section.labels[0]} was run: there is nothing to compare it with.", (), ""
        )
    if section.cases < FEWEST_PAIRS:
        return _none(section, f"with {count(section.cases, 'test case')} no test can find a difference")
    try:
        return _against(section, section.baseline) if section.baseline else _all_pairs(section)
    except DataError as error:  # too few cases in which there is anything to score
        return _none(section, str(error))


def out_of_reach(found: Sequence[Comparison], alpha: float, what: str = "comparison") -> str:
    """Why no test among these can be significant, however the methods differ; empty where one can."""
    least = least_p(found)
    if not found or least < alpha or min(c.adjusted for c in found) < alpha:
        return ""
    cases, tests = count(max(c.pairs for c in found), "test case"), count(len(found), what)
    return f"with {cases} and {tests} no p-value can fall below {p_number(least)} after Holm’s correction"


def _none(section: Section, why: str) -> Verdict:
    means = f"The means are no more than a description. {_evidence(section, 0)}"
    return Verdict(section.heading, f"No verdict: {why}.", tuple(_means(section)), means)


def _against(section: Section, baseline: str) -> Verdict:
    """Every label against the baseline."""
    found = compare(section.scores[PRIMARY], baseline)
    if not found:
        return _none(section, f"no method has a seed in common with {baseline}")
    if why := out_of_reach(found, section.alpha):
        return _none(section, f"{why}, so none can find a difference")
    winners = {c.first: c.winner(True, section.alpha) for c in found}
    better = [c for c in found if winners[c.first] == c.first]
    worse = [c for c in found if winners[c.first] == baseline]
    rest = [c for c in found if winners[c.first] is None]
    details = [
        *(_difference(section, c, "better than") for c in _sorted(better)),
        *(_difference(section, c, "worse than") for c in _sorted(worse)),
        *_undecided(section, _sorted(rest)),
    ]
    headline = _headline(section, better, worse, len(found))
    if strangers := [label for label in section.others if label not in winners]:
        headline += f" Not compared with it: {_some(strangers, len(section.others))}."
        details.append(f"no seed in common with {baseline}: {listed(strangers)}")
    return Verdict(section.heading, headline, tuple(details), _evidence(section, len(found)))


def _headline(section: Section, better: Sequence[Comparison], worse: Sequence[Comparison], others: int) -> str:
    base = section.baseline
    losers = _some([c.first for c in _sorted(worse)[::-1]], others)
    lost = f" {losers} {'is' if len(worse) == 1 else 'are'} significantly worse." if worse else ""
    best = _sorted(better)
    if len(best) > MOST_NAMES:
        gain = signed(best[0].difference, PRIMARY, 1)
        return f"{len(best)} of {others} methods beat {base} significantly, by up to {gain} points of Dice ({best[0].first}).{lost}"
    if best:
        names = listed([f"{c.first} ({signed(c.difference, PRIMARY, 1)})" for c in best])
        return f"{names} {'beats' if len(best) == 1 else 'beat'} {base} significantly, in points of Dice.{lost}"
    return f"No method beats {base}.{lost}" if worse else f"No method differs significantly from {base}."


def _some(names: Sequence[str], others: int) -> str:
    """Names where they are few, else how many."""
    return listed(names) if len(names) <= MOST_NAMES else f"{len(names)} of {others} methods"


def _difference(section: Section, found: Comparison, words: str) -> str:
    cases, of_cases = section.cases_better(found.first)
    seeds, of_seeds = section.seeds_better(found.first)
    by_seed = f", and under {seeds} of {count(of_seeds, 'seed')}" if of_seeds > 1 else ""
    against = " (its mean and its ranks point to different sides)" if _torn(found, section.alpha) else ""
    return (
        f"{found.first} is {words} {found.second}: {signed(found.difference, PRIMARY, 1)} points of Dice, {p_value(found.adjusted)}{against}; "
        f"higher in {cases} of {count(of_cases, 'case')}{by_seed}"
    )


def _undecided(section: Section, rest: Sequence[Comparison]) -> list[str]:
    """A sentence each where they are few, else one for all but those whose mean and ranks disagree."""
    alone = [c for c in rest if len(rest) <= MOST_NAMES or _torn(c, section.alpha)]
    sentences = [_difference(section, c, "not significantly different from") for c in alone]
    if len(alone) == len(rest):
        return sentences
    others = [c for c in rest if c not in alone]
    names = listed([f"{c.first} ({signed(c.difference, PRIMARY, 1)})" for c in others])
    least = p_number(min(c.adjusted for c in others))
    return [*sentences, f"not significantly different, in points of Dice: {names}; the least p is {least}"]


def _torn(found: Comparison, alpha: float) -> bool:
    return found.adjusted < alpha and found.winner(True, alpha) is None


def _all_pairs(section: Section) -> Verdict:
    """Where the baseline was not run: which differences between any two are significant."""
    found = compare_all(section.scores[PRIMARY])
    missing = "The baseline was not run here. "
    if not found:
        return _none(section, "the baseline was not run here, and no two methods have a seed in common")
    if why := out_of_reach(found, section.alpha, "pair"):
        return _none(section, f"the baseline was not run here, and {why}, so none can find a difference")
    clear = [(c, winner) for c in found if (winner := c.winner(True, section.alpha))]
    details = [
        f"{winner} is better than {c.second if winner == c.first else c.first}: "
        f"{signed(abs(c.difference), PRIMARY, 1)} points of Dice, {p_value(c.adjusted)}"
        for c, winner in sorted(clear, key=lambda pair: -abs(pair[0].difference))
    ]
    clear_text = f"{len(clear)} of {count(len(found), 'pair')} of methods differ significantly."
    text = clear_text if clear else "No two methods differ significantly."
    if len(found) == 1 and clear:
        text, details = f"{details[0]}.", []
    return Verdict(section.heading, missing + text, tuple(details), _evidence(section, len(found)))


def _means(section: Section) -> Iterator[str]:
    for label, summary in section.summaries[PRIMARY].items():
        yield f"{label}: {100 * summary.mean:.1f} % Dice"


def _evidence(section: Section, tests: int) -> str:
    numbers = {label: summary.seeds for label, summary in section.summaries[PRIMARY].items()}
    few, many = min(numbers.values()), max(numbers.values())
    seeds = count(many, "seed") if few == many else f"{few} to {many} seeds"
    once = " One seed says nothing of how much runs differ among themselves." if many == 1 else ""
    tested = (
        f" Wilcoxon’s signed-rank test over cases, seeds averaged, Holm-corrected for {count(tests, 'comparison')}, level {section.alpha:g}."
        if tests
        else ""
    )
    return f"{count(section.cases, 'test case')}, {seeds}.{tested}{once}"


def _sorted(found: Sequence[Comparison]) -> list[Comparison]:
    return sorted(found, key=lambda c: -c.difference)
