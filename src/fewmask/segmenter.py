"""The Python front door: fit on a dataset folder, predict scans, save, load."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fewmask.config import Experiment, load_experiment, merge
from fewmask.errors import ConfigError, RunError

if TYPE_CHECKING:
    from fewmask.data.dataset import Dataset
    from fewmask.data.image import Image
    from fewmask.data.split import Split
    from fewmask.inference.predictor import Prediction, Predictor


class Segmenter:
    """Trains a method on a data set and segments scans with it, with the defaults of the command line.

    Args:
        method: its name; ``fewmask methods`` lists them. Or a mapping of its name and settings, ``{"name": "ua-mt", "passes": 4}``.
        experiment: further settings; none: all defaults.
        settings: sections that differ from them, for example ``train={"iterations": 2000}, network={"width": 8}``.

    Example:
        >>> dataset = Dataset.open("Dataset001_LeftAtrium")                                     # doctest: +SKIP
        >>> model = Segmenter(method="ua-mt").fit(dataset, dataset.split(labelled=8))           # doctest: +SKIP
        >>> labels = model.predict("scan.nii.gz")                                               # doctest: +SKIP
    """

    def __init__(
        self, method: str | Mapping[str, Any] | None = None, experiment: Experiment | None = None, **settings: Any
    ) -> None:
        self.method, self.base, self.settings = method, experiment, settings
        self._run: Path | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._predictor: Predictor | None = None

    def experiment(self) -> Experiment:
        """The settings that `fit` will use.

        Raises:
            ConfigError: an unknown setting or a value out of range.
        """
        values = (self.base or Experiment()).model_dump(mode="json")
        method = {"name": self.method} if isinstance(self.method, str) else dict(self.method or {})
        values = merge(values, {"method": method})
        return load_experiment(changes=merge(values, self.settings))

    def fit(
        self,
        dataset: Dataset | Path | str,
        split: Split | None = None,
        output: Path | str | None = None,
        *,
        patients: str | None = None,
    ) -> Segmenter:
        """Train.

        Args:
            dataset: the data set, or its folder.
            split: which cases are labelled; none: the command line's default split.
            output: the run folder; none: a temporary one that `save` can keep.
            patients: of the default split; see `fewmask.data.split.make_split`.

        Raises:
            ConfigError, DataError, RunError: as ``fewmask train``.
        """
        from fewmask.data.dataset import Dataset
        from fewmask.engine.train import default_split, train

        data = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
        if output is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="fewmask-")
            output = Path(self._scratch.name) / "run"
        run = train(self.experiment(), data, split or default_split(data, patients=patients), Path(output))
        self._run, self._predictor = run.path, None
        return self

    def predict(self, scan: NDArray[Any] | Path | str) -> NDArray[np.uint8]:
        """The label map ``(*S)`` of an array ``(*S)`` or ``(C, *S)``, or of an image file.

        Raises:
            RunError: nothing was fitted or loaded.
            DataError: the scan cannot be read or does not fit the model.
        """
        return self._model().segment(self._image(scan))

    def predict_full(self, scan: NDArray[Any] | Path | str) -> Prediction:
        """Labels, probabilities, uncertainty and geometry of a scan; see `predict`."""
        return self._model().predict(self._image(scan))

    def _image(self, scan: NDArray[Any] | Path | str) -> Image:
        predictor = self._model()
        if not isinstance(scan, str | Path):
            return predictor.image_of(scan)
        from fewmask.inference.inputs import find_scans

        found = find_scans(Path(scan), predictor.task.in_channels)
        if len(found) != 1:
            raise ConfigError(f"{scan}: holds {len(found)} scans; give one file, or use fewmask predict for a folder")
        return predictor.read(found[0])

    def save(self, path: Path | str, *, overwrite: bool = False) -> Path:
        """Copy the run folder to ``path``; it is there in full or not at all.

        Args:
            path: the new run folder.
            overwrite: replace a run folder that is there.

        Raises:
            RunError: nothing was fitted or loaded, ``path`` exists, or is to be replaced and is no run folder.
            WriteError: it cannot be written.
        """
        from fewmask.files import make_folder, write_error
        from fewmask.run_folder import RunFolder

        source, target = self._folder(), Path(path)
        if target.exists() and not overwrite:
            raise RunError(f"{path} exists already: choose another folder, or replace it with overwrite=True")
        if target.exists():
            RunFolder.open(target)  # nothing but a run is replaced by one
        make_folder(target.parent)
        try:
            with tempfile.TemporaryDirectory(prefix=".saving-", dir=target.parent) as beside:
                whole = Path(shutil.copytree(source, Path(beside) / "new"))
                if target.exists():
                    target.replace(Path(beside) / "old")
                whole.replace(target)
        except OSError as error:
            raise write_error(target, error) from error
        return target

    @classmethod
    def load(cls, run: Path | str) -> Segmenter:
        """The model of a run folder.

        Raises:
            RunError: there is no run, or no weights in it.
        """
        from fewmask.run_folder import RunFolder

        model = cls(experiment=RunFolder.open(run).experiment())
        model._run = Path(run)
        model._model()
        return model

    def _folder(self) -> Path:
        if self._run is None:
            raise RunError("this Segmenter was not trained: call fit(dataset) first, or Segmenter.load(run)")
        return self._run

    def _model(self) -> Predictor:
        if self._predictor is None:
            from fewmask.inference.predictor import Predictor

            self._predictor = Predictor.from_run(self._folder())
        return self._predictor
