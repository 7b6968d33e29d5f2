"""From a run folder and a scan to a label map in the scan's own geometry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fewmask.config import Experiment, InferenceConfig
from fewmask.data.image import Geometry, Image, suffix_of, write_image
from fewmask.data.preprocess import Preprocessor
from fewmask.errors import ConfigError, DataError
from fewmask.inference.inputs import Scan, find_scans
from fewmask.inference.postprocess import entropy_map, largest_component
from fewmask.inference.sliding_window import default_stride, sliding_window
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
        self.device = _device(device)
        self.module = module.to(self.device).eval()
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
        module = build_method(task, experiment.method, experiment.network).predictor()
        load_weights(run.weights(checkpoint or experiment.inference.checkpoint), module)
        return cls(module, task, experiment, run.dataset()["channel_names"], device)

    def predict(self, image: Image) -> Prediction:
        """Segment one scan.

        Args:
            image: ``(C, *S)`` with its geometry.

        Raises:
            DataError: NaN voxels, or not the number of channels or dimensions that the model was trained on.
        """
        if len(image.data) != self.task.in_channels:
            raise DataError(
                f"{image.path}: has {count(len(image.data), 'channel')}, but the model was "
                f"trained on {self.task.in_channels}; give (C, *S) with those"
            )
        prepared, record = self.preprocessor.image(image)
        probabilities = sliding_window(
            torch.from_numpy(prepared),
            self.module,
            self.task.patch_size,
            self.settings.stride or default_stride(self.task.patch_size),
            weighting=self.settings.weighting,
            window_batch=self.settings.window_batch,
            flips=self.settings.flips,
            device=self.device,
        )
        restored = self.preprocessor.restore(probabilities.numpy(), record)
        labels = restored.argmax(0).astype(np.uint8)
        if self.settings.largest_component:
            labels = largest_component(labels, range(1, self.task.num_classes))
        return Prediction(labels, restored, image.geometry)

    def predict_array(self, array: Array, spacing: Sequence[float] | None = None) -> Prediction:
        """Segment an array.

        Args:
            array: ``(*S)``, or ``(C, *S)`` where the model has several channels.
            spacing: millimetres per axis; none: that of the training scans.

        Raises:
            DataError: the array has another number of dimensions than the task.
        """
        data = np.asarray(array, dtype=np.float32)
        data = data[None] if data.ndim == self.task.spatial_dims else data
        if data.ndim != self.task.spatial_dims + 1:
            raise DataError(
                f"an array of shape {np.shape(array)} is no {self.task.spatial_dims}D image; give (*S) or (C, *S)"
            )
        lengths = [*(spacing or self.task.spacing), *[1.0] * (3 - self.task.spatial_dims)]
        return self.predict(Image(data, Geometry(data.shape[1:], np.diag([*lengths, 1.0])), Path("array")))

    def predict_files(
        self,
        source: Path,
        target: Path,
        *,
        probabilities: bool = False,
        uncertainty: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Path]:
        """Segment a file or a folder of files, each into a label map of the same type, name and geometry.

        Args:
            source: an image, or a folder (see `find_scans`).
            target: a folder; or a file, where ``source`` is one scan.
            probabilities: also write one float map per class, into ``probabilities/`` beside the label maps.
            uncertainty: also write the entropy map, into ``uncertainty/``.
            progress: called with scans done and scans in all.

        Returns:
            The label maps' paths.

        Raises:
            DataError: a scan cannot be read or predicted, or a result cannot be written.
        """
        scans = find_scans(source, self.task.in_channels)
        paths = [output_path(scan, target, single=source.is_file()) for scan in scans]
        _check_apart(source, scans, paths)
        for scan in scans:
            scan.check(self.task.spatial_dims)
        for done, (scan, path) in enumerate(zip(scans, paths, strict=True)):
            if progress:
                progress(done, len(scans))
            prediction = self.predict(scan.read(self.channels))
            write_image(path, prediction.labels, prediction.geometry, like=scan.files[0])
            maps: dict[Path, Array] = {}
            if probabilities:
                tails = [f"_{name}" for name in file_parts(list(self.task.class_names))]
                maps |= {
                    map_path(path, "probabilities", t): p for t, p in zip(tails, prediction.probabilities, strict=True)
                }
            if uncertainty:
                maps[map_path(path, "uncertainty")] = prediction.uncertainty
            for place, values in maps.items():
                write_image(place, values.astype(np.float32), prediction.geometry, like=scan.files[0])
        if progress:
            progress(len(scans), len(scans))
        return paths


def _device(name: torch.device | str | None) -> torch.device:
    """The device of a name; without one, a GPU where there is one."""
    gpu = torch.cuda.is_available()
    try:
        device = torch.device(name or ("cuda" if gpu else "cpu"))
    except RuntimeError:
        raise ConfigError(f"there is no device {name!r}: give cpu or cuda") from None
    if device.type == "cuda" and not gpu:
        raise ConfigError(f"device {name} needs a GPU, but torch sees none: use cpu, or install a CUDA build of torch")
    return device


def output_path(scan: Scan, target: Path, *, single: bool) -> Path:
    """Where a scan's label map goes: into the folder ``target``, or, for a single scan, to the file that ``target`` names."""
    if not single or target.is_dir():
        return target / scan.output_name
    try:
        suffix_of(target)
    except DataError:
        return target / scan.output_name
    return target


def _check_apart(source: Path, scans: Sequence[Scan], paths: Sequence[Path]) -> None:
    """Refuse to overwrite a scan, or to mix label maps with the scans of a folder, where they would pass for scans."""
    for scan, path in zip(scans, paths, strict=True):
        if path.exists() and any(path.samefile(file) for file in scan.files):
            raise DataError(f"{path}: is the scan itself and would be overwritten; write to another folder")
    if source.is_dir() and paths[0].parent.is_dir() and paths[0].parent.samefile(source):
        raise DataError(f"{source}: holds the scans; write the label maps to another folder")


def map_path(labels: Path, folder: str, tail: str = "") -> Path:
    """Where a float map goes: beside its label map, in its format, or as TIFF where that format holds whole numbers only."""
    suffix = suffix_of(labels)
    stem = labels.name[: -len(suffix)]
    return labels.parent / folder / f"{stem}{tail}{'.tif' if suffix in ('.png', '.bmp') else suffix}"
