"""Writes docs/datasets.md from the protocols' files: run `python docs/make_datasets_page.py` after changing one."""

from __future__ import annotations

from pathlib import Path

from fewmask.data.protocols import Lists, Protocol, PublicDataset, find_public, public_names
from fewmask.data.protocols.shelf import read_list
from fewmask.data.protocols.shortcuts import NEVER_TAKEN, SENTENCES
from fewmask.run_folder import flatten

HEAD = """# Public data sets and their protocols

What the papers train and test on, whose lists these are, and what their figures leave out. The same is printed by

```bash
fewmask datasets
fewmask datasets show la
```

A **protocol** fixes the cases and the settings that decide what a figure means: patch, stride, spacing, normalisation, unit, and which
checkpoint counts. `paper` is what was published, `honest` what a figure needs to hold for the next patient: no crop around the reference,
millimetres, validation paid from the label budget, patients on one side. Each takes one command:

```bash
fewmask convert la downloads/la Dataset001_LeftAtrium
fewmask train Dataset001_LeftAtrium --recipe la/ua-mt --split la-paper-8 --output runs/paper
fewmask train Dataset001_LeftAtrium --recipe la/ua-mt --protocol la/honest --labelled 8 --output runs/honest
```

`convert` saves the published splits by names such as `la-paper-8`; `fewmask split DATASET --protocol la/paper --labelled 12 --seed 3` makes
others under the same lists. With `--protocol` a training takes the protocol's settings on top of the recipe's, and `--set` comes last.
Recipes that bear a protocol's name differ from it in nothing that it fixes.

**Shortcuts.** What makes published figures better than they would be in use has a name and stands under every table of a run that takes
it: in `fewmask evaluate`, in `summary.json` and in the report. Some shortcuts fewmask does not offer at all; runs are honest there.

{shortcuts}

**Where no list was published** there is none here either. A draw of ours goes by a name of its own, such as `fewmask-seed0`, is the same
for everybody, and is no way to meet a published figure exactly. When cases of a published list are missing from a folder, every command
that uses the list says so.

**Test cases that lie among the others**, as drawn ones do, are predicted and scored by the run's own split:

```bash
fewmask predict runs/ph2 Dataset002_PH2 runs/ph2/predictions --part test
fewmask evaluate runs/ph2/predictions Dataset002_PH2 --part test
```

Licences and addresses are those that the owners gave when this was written; what counts is what they say now. This page is written from the
files in `src/fewmask/data/protocols/` by `python docs/make_datasets_page.py`.
"""


def page() -> str:
    """The whole page."""
    rows = [
        f"| `{name}` | {sentence} | {'never' if name in NEVER_TAKEN else 'yes'} |"
        for name, sentence in SENTENCES.items()
    ]
    shortcuts = "\n".join(["| shortcut | meaning | taken here |", "|---|---|---|", *rows])
    return HEAD.format(shortcuts=shortcuts) + "".join(section(find_public(name)) for name in public_names())


def section(known: PublicDataset) -> str:
    """What is known of a data set."""
    links = ", ".join(f"[{what}]({url})" for what, url in known.home.items())
    lines = [
        f"\n## {known.title}\n",
        f"`{known.name}`, {known.dims}D. {known.modality[0].upper()}{known.modality[1:]}; outlined: {known.target}.",
    ]
    lines += [f"\n- cases: {known.cases}", f"- home: {links}", f"- licence: {known.licence}"]
    lines += [f"- download: {known.get}" + (f" ({known.size})" if known.size else ""), f"- cite: {known.cite}"]
    lines += [f"- {remark}" for remark in known.remarks]
    lines += [
        "\n| lists | whose |",
        "|---|---|",
        *(f"| `{name}` | {whose(lists)} |" for name, lists in known.lists.items()),
    ]
    names = list(known.protocols)
    lines += [f"\n| | {' | '.join(f'`{known.name}/{name}`' for name in names)} |", "|---|" + "---|" * len(names)]
    for what, cells in table(known).items():
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def whose(lists: Lists) -> str:
    """The source of lists, with how many cases their files name."""
    parts = {part: getattr(lists, part) for part in ("train", "validation", "test")}
    counts = [
        f"{part} {len(read_list(names))}"
        for part, names in parts.items()
        if isinstance(names, str) and names != "imagesTs"
    ]
    return lists.source + (f" ({', '.join(counts)})" if counts else "")


def table(known: PublicDataset) -> dict[str, list[str]]:
    """The rows of the protocols' table."""
    rows: dict[str, list[str]] = {}
    keys = {key for protocol in known.protocols.values() for key in flatten(known.settings_of(protocol))}
    for protocol in known.protocols.values():
        for what, cell in cells(known, protocol, sorted(keys)).items():
            rows.setdefault(what, []).append(cell)
    return rows


def cells(known: PublicDataset, protocol: Protocol, keys: list[str]) -> dict[str, str]:
    """One protocol's column."""
    settings = flatten(known.settings_of(protocol))
    shortcuts = (*protocol.shortcuts, *known.lists[protocol.lists].shortcuts)
    validation = {"none": "none", "lists": "the lists' cases, beyond the budget"}
    return {
        "what": protocol.about,
        "lists": f"`{protocol.lists}`",
        "labelled": ", ".join(map(str, protocol.labelled)),
        "validation": validation.get(str(protocol.validation), f"{protocol.validation} of the budget, from five on"),
        "scans cut with": protocol.crop,
        "checkpoint": protocol.selection.replace("-", " "),
        "metrics": ", ".join(f"`{metric}`" for metric in protocol.metrics),
        **{f"`{key}`": f"`{settings[key]}`" if key in settings else "" for key in keys},
        "shortcuts": ", ".join(f"`{name}`" for name in shortcuts) or "none",
        "notes": " ".join(protocol.notes),
    }


if __name__ == "__main__":
    (Path(__file__).parent / "datasets.md").write_text(page(), encoding="utf-8")
