"""Where a paper's figures and ours part, in words: a sentence each, without the full stop."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fewmask.bench.case_scores import CaseScores
from fewmask.bench.published import Table
from fewmask.data.protocols.shelf import find_protocol, read_list
from fewmask.data.protocols.shortcuts import SENTENCES, stamp
from fewmask.metrics.score import DISTANCES, EXTRAS
from fewmask.metrics.words import PLAIN
from fewmask.words import count

OF_THE_DATA = ("reference-crop", "shared-origin")
"""Shortcuts that lie in the data: no run can tell whether they are taken, only who prepared them can."""
TO_RECORD = (
    '"shortcuts": ["reference-crop"] in dataset.json before the first run says which they take, [] that they take none'
)


def differences(scores: CaseScores, table: Table, ours: str, recorded: bool) -> Iterator[str]:
    """All that can be seen from the scores, the protocols and the table.

    Args:
        scores: of any metric of the table.
        table: the paper's.
        ours: the protocol that our runs follow; empty: none.
        recorded: whether it is known which shortcuts our data take.
    """
    _, theirs = find_protocol(table.protocol)
    if ours != table.protocol:
        yield f"ours follow {ours or 'no protocol'}, the paper {table.protocol}: differences are no measure of the methods"
    yield from _training_cases(scores, table)
    yield from _test_cases(scores, table)
    if scores.unit not in PLAIN and {*table.metrics} & {*DISTANCES}:
        yield f"the paper's distances are in voxels, ours in {scores.unit}"
    if {*table.metrics} & {*EXTRAS}:
        yield "the row-set distance grows with the picture, 224 x 224 in the paper, so no difference is given"
    yield from _shortcuts(scores, table, recorded)
    yield from (sentence.rstrip(".") for sentence in theirs.published)
    if ours == table.protocol:
        yield from (sentence.rstrip(".") for sentence in theirs.differs)


def _training_cases(scores: CaseScores, table: Table) -> Iterator[str]:
    if scores.setting and table.labelled not in (None, scores.setting.labelled):
        yield f"ours train on {scores.setting.labelled} labelled cases, the paper on {table.labelled}"
    if scores.setting and table.unlabelled not in (None, scores.setting.unlabelled):
        yield f"ours train on {scores.setting.unlabelled} unlabelled cases, the paper on {table.unlabelled}"


def _test_cases(scores: CaseScores, table: Table) -> Iterator[str]:
    """Where the paper's are known one by one."""
    known, theirs = find_protocol(table.protocol)
    lists = known.lists[theirs.lists]
    if lists.unit != "case" or not isinstance(lists.test, str) or lists.test == "imagesTs":
        return
    of_subset = known.subsets[table.subset] if table.subset else ""
    listed = {case for case in read_list(lists.test) if re.match(of_subset, case)}
    if listed != {*scores.cases}:
        same = len(listed & {*scores.cases})
        yield f"ours are scored on {count(len(scores.cases), 'test case')}, the paper on {len(listed)}, by name {same} of them the same"


def _shortcuts(scores: CaseScores, table: Table, recorded: bool) -> Iterator[str]:
    """Which of the paper's are not ours, and which may be; then our own."""
    known, protocol = find_protocol(table.protocol)
    theirs = {*protocol.shortcuts, *known.lists[protocol.lists].shortcuts}
    ours = {*scores.shortcuts, *(["voxel-units"] if scores.unit == "voxel" else [])}
    more = [name for name in SENTENCES if name in theirs - ours]
    open_ones = [SENTENCES[name] for name in more if name in OF_THE_DATA and not recorded]
    if not_ours := [SENTENCES[name] for name in more if SENTENCES[name] not in open_ones]:
        yield f"the paper's figures take shortcuts that ours do not: {'; '.join(not_ours)}"
    if open_ones:
        yield f"the paper's figures take shortcuts of which nothing is recorded for ours: {'; '.join(open_ones)}. {TO_RECORD}"
    if text := stamp(scores.shortcuts):
        yield text
