"""From a run folder and a scan to a label map in the scan's own geometry."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fewmask.config import Experiment, GeometryChoice, InferenceConfig
from fewmask.data.image import Geometry, Image, write_image
from fewmask.data.preprocess import Preprocessor
from fewmask.data.restore import resampled_slabs, scan_view
from fewmask.errors import ConfigError, DataError, RunError
from fewmask.inference.engines import Engine, accelerate, device_of
from fewmask.inference.inputs import scans_of_cases
from fewmask.inference.noise_samples import WithSpread, check_spread, set_draws
from fewmask.inference.outputs import Outputs, begun_first, outputs_of, there_first
from fewmask.inference.postprocess import entropy_map, largest_component
from fewmask.inference.scan import Scan, image_of_array
from fewmask.inference.scratch import scratch_array
from fewmask.inference.sliding_window import default_stride, most_likely, probability_slabs
from fewmask.inference.weights import load_weights
from fewmask.methods import build_method
from fewmask.names import file_parts
from fewmask.run_folder import RunFolder
from fewmask.task import Task
from fewmask.words import count

Array = NDArray[Any]


@dataclass(frozen=True)
class Prediction:
    """What a scan was segmented into.

    Attributes:
        labels: ``(*S)`` uint8, on the scan's own grid.
        probabilities: ``(K, *S)`` float32.
        geometry: the scan's grid.
    """

    labels: Array
    probabilities: Array
    geometry: Geometry

    @property
    def uncertainty(self) -> Array:
        """Entropy of the probabilities over its largest value, ``(*S)`` float32 in [0, 1]."""
        return np.asarray(entropy_map(self.probabilities))


class Predictor:
    """A trained model.

    Args:
        module: image ``(B, C, *S)`` to class probabilities ``(B, K, *S)``.
        task: what it was trained for.
        experiment: preprocessing and inference settings.
        channels: the channels' names.
        device: where it runs; none: a GPU where there is one.
    """

    def __init__(
        self,
        module: nn.Module,
        task: Task,
        experiment: Experiment,
        channels: Sequence[str],
        device: torch.device | str | None = None,
    ) -> None:
        self.device = device_of(device)
        self.module = module.to(self.device).eval()
        self._fast: dict[tuple[Engine, bool], nn.Module] = {}
        self.task, self.channels = task, tuple(channels)
        self.settings: InferenceConfig = experiment.inference
        self.preprocessor = Preprocessor(experiment.preprocess, task.spatial_dims)

    @classmethod
    def from_run(cls, path: Path | str, checkpoint: str | None = None, device: str | None = None) -> Predictor:
        """The model of a run folder.

        Args:
            path: the run folder.
            checkpoint: ``last``, ``best`` or ``auto``; none: as the run's config says.
            device: see `Predictor`.

        Raises:
            ConfigError: there is no such device.
            RunError: no run there, or no usable weights in it.
        """
        run = RunFolder.open(path)
        experiment, task = run.experiment(), run.task()
        try:
            module = build_method(task, experiment.method, experiment.network).predictor()
        except ConfigError as error:
            raise RunError(
                f"{run.config}: names what is not here ({error}); install the version of the training"
            ) from None
        load_weights(run.weights(checkpoint or experiment.inference.checkpoint), module)
        return cls(module, task, experiment, run.dataset()["channel_names"], device)

    def of(self, module: nn.Module) -> Predictor:
        """Another network in place of this one, such as a part of it, under the same settings."""
        other = copy.copy(self)
        other.module, other._fast = module.to(self.device).eval(), {}
        return other

    def read_by(self, geometry: GeometryChoice) -> None:
        """Let another header than in training say where voxels lie; see `fewmask.config.PreprocessConfig`."""
        changed = self.preprocessor.config.model_copy(update={"geometry": geometry})
        self.preprocessor = Preprocessor(changed, self.task.spatial_dims)

    def read(self, scan: Scan) -> Image:
        """A scan with the channels and axes that the model was trained on; see `fewmask.inference.inputs.Scan.read`."""
        return scan.read(self.channels, dims=self.task.spatial_dims, by=self.preprocessor.config.geometry)

    def predict(self, image: Image) -> Prediction:
        """Segment one scan and keep the probabilities of all classes; `segment` needs less memory.

        Args:
            image: ``(C, *S)`` with its geometry.

        Raises:
            DataError: NaN voxels, or not the number of channels or dimensions that the model was trained on.
        """
        probabilities = np.empty((self.task.num_classes, *image.data.shape[1:]), dtype=np.float32)
        labels = self.segment(image, probabilities=probabilities)
        return Prediction(labels, probabilities, image.geometry)

    def draw(self, count: int) -> None:
        """Average over this many noise samples, for a method that predicts from noise.

        Raises:
            ConfigError: the method does not, or the number is below 1.
        """
        set_draws(self.module, count)
        self._fast.clear()

    def segment(
        self,
        image: Image,
        *,
        probabilities: Array | None = None,
        uncertainty: Array | None = None,
        spread: Array | None = None,
        confidence: Array | None = None,
    ) -> Array:
        """The label map of one scan, ``(*S)`` uint8 on the scan's own grid.

        The probabilities of all classes are in memory for a slab of the first prepared axis only, as many planes as the
        patch has, so memory does not grow with the classes (``docs/performance.md`` has the figures).

        Args:
            image: ``(C, *S)`` with its geometry.
            probabilities: ``(K, *S)`` float32 to be filled with the class probabilities; a memory-mapped file will do.
            uncertainty: ``(*S)`` float32 to be filled with their entropy (see `entropy_map`).
            spread: ``(*S)`` float32 to be filled with how far noise samples lie apart, 0 to 1, for a method that predicts from
                several of them (see `draw`).
            confidence: ``(*S)`` float32 to be filled with the probability of the voxel's class, at most, where a component was removed.

        Raises:
            ConfigError: ``inference.stride`` does not fit the patch, or there are no noise samples to spread.
            DataError: NaN voxels, or not the number of channels or dimensions that the model was trained on.
        """
        if len(image.data) != self.task.in_channels:
            raise DataError(
                f"{image.path}: has {count(len(image.data), 'channel')}, but the model was "
                f"trained on {self.task.in_channels}; give (C, *S) with those"
            )
        prepared, record = self.preprocessor.image(image)
        del image  # where the caller keeps no reference either, its voxels need no memory from here on
        labels: Array = np.zeros(record.original_shape, dtype=np.uint8)
        classes = slice(self.task.num_classes)
        targets: list[tuple[Array, Callable[[Array], Array]]] = [
            (scan_view(labels[None], record), lambda slab: most_likely(slab[classes]))
        ]
        if probabilities is not None:
            probabilities[0], probabilities[1:] = 1, 0  # outside the crop there is background only
            targets.append((scan_view(probabilities, record), lambda slab: slab[classes]))
        if uncertainty is not None:
            uncertainty[...] = 0
            targets.append((scan_view(uncertainty[None], record), lambda slab: entropy_map(slab[classes])))
        if spread is not None:
            check_spread(self.module)
            spread[...] = 0
            targets.append((scan_view(spread[None], record), lambda slab: slab[-1]))
        if confidence is not None:
            confidence[...] = 1
            targets.append((scan_view(confidence[None], record), lambda slab: slab[classes].max(0)))
        slabs = self._slabs(prepared, spread=spread is not None)
        for first, slab in resampled_slabs(slabs, record.shape, record.cropped_shape):
            for inside, values_of in targets:
                inside[:, first : first + slab.shape[1]] = values_of(slab)
        if self.settings.largest_component:
            whole, labels = labels, largest_component(labels, range(1, self.task.num_classes))
            if confidence is not None:
                np.subtract(1, confidence, out=confidence, where=whole != labels)
        return labels

    def _slabs(self, prepared: Array, *, spread: bool) -> Iterator[tuple[int, Array]]:
        """Class probabilities, and the spread behind them if it is wanted, on the prepared grid, slab by slab."""
        slabs = probability_slabs(
            torch.from_numpy(prepared),
            self._network(spread=spread),
            self.task.patch_size,
            self.settings.stride or default_stride(self.task.patch_size),
            weighting=self.settings.weighting,
            window_batch=self.settings.window_batch,
            flips=self.settings.flips,
            device=self.device,
        )
        return ((first, slab.numpy()) for first, slab in slabs)

    def _network(self, *, spread: bool) -> nn.Module:
        """The network as ``inference.engine`` says; made once, so that a folder of small images does not wait for it."""
        key = (self.settings.engine, spread)
        if key not in self._fast:
            self._fast[key] = accelerate(WithSpread(self.module) if spread else self.module, key[0], self.device)
        return self._fast[key]

    def predict_array(self, array: Array, spacing: Sequence[float] | None = None) -> Prediction:
        """Segment an array; see `image_of` for what it may be, and `predict`."""
        return self.predict(self.image_of(array, spacing))

    def image_of(self, array: Array, spacing: Sequence[float] | None = None) -> Image:
        """An array as an image; see `fewmask.inference.scan.image_of_array`."""
        return image_of_array(array, spacing or self.task.spacing)

    def predict_files(
        self,
        source: Path,
        target: Path,
        *,
        probabilities: bool = False,
        uncertainty: bool = False,
        spread: bool = False,
        progress: Callable[[int, int], None] | None = None,
        cases: Collection[str] | None = None,
        overwrite: bool = False,
    ) -> list[Path]:
        """Segment a file or a folder of files, each into a label map of the same type, name and geometry; these maps' paths.

        Args:
            source: an image, or a folder (see `fewmask.inference.inputs.find_scans`).
            target: a folder; or a file, where ``source`` is one scan.
            probabilities: also write one float map per class, into ``probabilities/`` beside the label maps.
            uncertainty: also write the entropy map, into ``uncertainty/``.
            spread: also write the spread over noise samples, into ``spread/``.
            progress: called with scans done and scans in all.
            cases: only the scans of these names; None: all.
            overwrite: replace maps that are there with other contents; scans that have some come first, so it is known early.

        Raises:
            ConfigError: see `segment`.
            DataError: a scan cannot be read or predicted, or two would be written into one file.
            WriteError: a result cannot be written, or is there with other contents.
        """
        if spread:
            check_spread(self.module)
        scans = scans_of_cases(source, self.task.in_channels, cases)
        classes = file_parts(list(self.task.class_names)) if probabilities else []
        beside = [name for name, on in (("uncertainty", uncertainty), ("spread", spread)) if on]
        outputs = outputs_of(source, target, scans, classes, beside)
        for scan in scans:
            scan.check(self.task.spatial_dims, self.preprocessor.config.geometry)
        for done, (scan, files) in enumerate(begun_first(scans, outputs)):
            if progress:
                progress(done, len(scans))
            self._predict_file(scan, files, overwrite=overwrite)
        if progress:
            progress(len(scans), len(scans))
        return [files.labels for files in outputs]

    def _predict_file(self, scan: Scan, outputs: Outputs, *, overwrite: bool) -> None:
        """The label map of one scan and the maps beside it."""
        scans = [self.read(scan)]
        geometry, like = scans[0].geometry, scan.files[0]
        beside = {name: np.empty(geometry.shape, dtype=np.float32) for name in outputs.beside}
        number = len(outputs.classes)
        with scratch_array(outputs.labels.parent, (number, *geometry.shape)) if number else nullcontext() as maps:
            labels = self.segment(scans.pop(), probabilities=maps, **beside)  # and the scan itself is let go
            arrays = [labels, *(() if maps is None else maps), *beside.values()]
            for path, values in there_first(zip(outputs, arrays, strict=True)):
                write_image(path, values, geometry, like=like, overwrite=overwrite)
