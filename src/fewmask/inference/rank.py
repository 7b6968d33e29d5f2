"""Unlabelled scans in the order in which their labels would teach a model most."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewmask.data.dataset import Dataset
from fewmask.data.image import Image
from fewmask.data.roles import Roles, check_fits, roles_of
from fewmask.data.split import Split
from fewmask.errors import ConfigError
from fewmask.files import json_text, read_json, write_text
from fewmask.inference.features import PooledFeatures
from fewmask.inference.inputs import check_unlabelled
from fewmask.inference.predictor import Predictor
from fewmask.inference.scan import Scan
from fewmask.inference.select import By, disagreement, foreground_doubt, order, percentile_ranks
from fewmask.methods.base import SoftmaxPredictor
from fewmask.overwrite import refusal, refuse_text

Array = NDArray[Any]


@dataclass(frozen=True)
class Model:
    """Something that predicts: a run, or one of the networks of a run."""

    name: str
    predictor: Predictor


@dataclass(frozen=True)
class Ranked:
    """A scan and its place.

    Attributes:
        rank: 1 for the scan to label first.
        case: its id.
        entropy: mean over what is foreground or might be (see `foreground_doubt`), and over the models.
        disagreement: 1 - mean Dice of the models' label maps; none where there is one model.
        novelty: distance of its features from the nearest scan that is ranked before it or, where the order goes by novelty, labelled.
        nearest: that scan.
        foreground: voxels that the first model takes for foreground.
    """

    rank: int
    case: str
    entropy: float
    disagreement: float | None
    novelty: float
    nearest: str | None
    foreground: int


def models_of(name: str, predictor: Predictor) -> list[Model]:
    """The models of a run: its networks where the prediction is their mean, else the one that predicts."""
    module = predictor.module
    networks = list(module.networks) if isinstance(module, SoftmaxPredictor) else []
    if len(networks) < 2:
        return [Model(name, predictor)]
    return [Model(f"{name} {number}", predictor.of(SoftmaxPredictor(net))) for number, net in enumerate(networks, 1)]


def rank(
    models: Sequence[Model],
    dataset: Dataset,
    split: Split,
    by: By = "combined",
    *,
    keep: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Ranked], Roles]:
    """Order the scans whose labels the run did not see; none of these labels is opened.

    Args:
        models: one or more, of the same classes and channels.
        dataset: the scans.
        split: of the run: who is labelled.
        by: what counts; ``combined``: the mean of the percentile ranks of entropy and disagreement, times novelty.
        keep: a folder for the predicted label maps (see `predicted`); none: they are not kept.
        progress: called with scans done and scans in all.

    Raises:
        ConfigError: ``by`` is disagreement, and there is one model.
        DataError: the data set does not fit the models, has no unlabelled scan, or a scan cannot be read.
        WriteError: the disk is full.
    """
    roles = _checked(models, dataset, split, by)
    spreads = by in ("diversity", "combined")
    known = roles.labelled if spreads else ()
    watcher, seen, fixed = _Watcher(models, keep), [], []
    for done, case in enumerate([*roles.unlabelled, *known]):
        if progress:
            progress(done, len(roles.unlabelled) + len(known))
        image = models[0].predictor.read(Scan(case, dataset.case(case).images))
        if done < len(roles.unlabelled):
            seen.append(watcher.look(image, case))
        else:
            fixed.append(watcher.features(image))
    if progress:
        progress(len(roles.unlabelled) + len(known), len(roles.unlabelled) + len(known))
    entropies = np.array([scan.entropy for scan in seen])
    disagreements = np.array([scan.disagreement for scan in seen]) if len(models) > 1 else None
    features = np.array([scan.features for scan in seen])
    picks = order(
        _doubts(by, entropies, disagreements), features, np.array(fixed).reshape(-1, features.shape[1]), spreads=spreads
    )
    names = {**dict(enumerate(roles.unlabelled)), **{-1 - number: case for number, case in enumerate(known)}}
    rows = []
    for place, pick in enumerate(picks, start=1):
        scan, near = seen[pick.index], None if pick.nearest is None else names[pick.nearest]
        rows.append(
            Ranked(place, scan.case, scan.entropy, scan.disagreement, pick.novelty, near, foreground=scan.foreground)
        )
    return rows, roles


def _checked(models: Sequence[Model], dataset: Dataset, split: Split, by: By) -> Roles:
    """Who is unlabelled, once it is clear that all of them can be predicted and compared."""
    if by == "disagreement" and len(models) < 2:
        raise ConfigError("--by disagreement compares models: give several runs, such as other seeds or methods")
    for model in models:
        task = model.predictor.task
        check_fits(dataset, model.predictor.channels, task.class_names, task.spatial_dims)
    roles = roles_of(dataset, split)
    check_unlabelled(dataset, roles.unlabelled)
    return roles


def _doubts(by: By, entropies: Array, disagreements: Array | None) -> Array | None:
    """What an order maximises beside novelty."""
    if by == "diversity":
        return None
    if by != "combined":
        return entropies if by == "entropy" or disagreements is None else disagreements
    ranks = percentile_ranks(entropies)
    return ranks if disagreements is None else (ranks + percentile_ranks(disagreements)) / 2


@dataclass(frozen=True)
class _Seen:
    """What the models make of a scan."""

    case: str
    entropy: float
    disagreement: float | None
    features: Array
    foreground: int


class _Watcher:
    """Runs the models over scans, and looks into the first one while it predicts."""

    def __init__(self, models: Sequence[Model], keep: Path | None) -> None:
        self.models, self.keep = models, keep
        first = models[0].predictor
        first.settings = first.settings.model_copy(update={"engine": "eager"})  # others replace the layers
        self.pooled = PooledFeatures(first.module, (first.task.in_channels, *first.task.patch_size), first.device)

    def features(self, image: Image) -> Array:
        """Of a scan that is labelled already."""
        with self.pooled.watching():
            self.models[0].predictor.segment(image)
        return self.pooled.mean()

    def look(self, image: Image, case: str) -> _Seen:
        """The doubt about a scan, mean over the models, and how they differ."""
        doubts, maps = [], []
        for number, model in enumerate(self.models):
            entropy = np.empty(image.geometry.shape, dtype=np.float32)
            with nullcontext() if number else self.pooled.watching():
                maps.append(model.predictor.segment(image, uncertainty=entropy))
            doubts.append(foreground_doubt(entropy, maps[-1] > 0))
        if self.keep is not None:
            np.savez_compressed(self.keep / f"{case}.npz", *maps)
        differ = disagreement(maps, self.models[0].predictor.task.num_classes) if len(maps) > 1 else None
        return _Seen(case, float(np.mean(doubts)), differ, self.pooled.mean(), int((maps[0] > 0).sum()))


def predicted(keep: Path, case: str) -> list[Array]:
    """The label maps of a scan that `rank` kept, one a model."""
    with np.load(keep / f"{case}.npz", allow_pickle=False) as maps:
        return [maps[name] for name in maps.files]


def check_rank(folder: Path, facts: dict[str, Any]) -> None:
    """See, before any scan is looked at, that a folder holds no ranking of other facts.

    Raises:
        WriteError: it does.
    """
    path = folder / "rank.json"
    if not path.is_file():
        return
    try:
        before = read_json(path)
        same = {key: value for key, value in before.items() if key != "scans"} == facts
    except (OSError, ValueError, AttributeError):
        same = False
    if not same:
        raise refusal(path, "is another ranking")


def write_rank(folder: Path, rows: Sequence[Ranked], facts: dict[str, Any], *, overwrite: bool = False) -> None:
    """Write ``rank.csv`` and ``rank.json``.

    Args:
        folder: where to.
        rows: first the scan to label first.
        facts: what else the JSON tells, such as the runs.
        overwrite: replace files that are there with other contents.

    Raises:
        WriteError: they cannot be written, or one is there with other contents; then neither is.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, list(Ranked.__dataclass_fields__), lineterminator="\n")
    table.writeheader()
    for row in rows:
        values = asdict(row)
        table.writerow({k: f"{v:.6g}" if isinstance(v, float) else "" if v is None else v for k, v in values.items()})
    texts = {
        folder / "rank.csv": text.getvalue(),
        folder / "rank.json": json_text({**facts, "scans": [asdict(row) for row in rows]}),
    }
    if not overwrite:
        refuse_text(texts.items())
    for path, contents in texts.items():
        write_text(path, contents, overwrite=overwrite)
