"""What is to be segmented: everything that builds a network or a method gets a `Task`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Task:
    """The shape of a segmentation problem, after preprocessing.

    Attributes:
        spatial_dims: 2 or 3.
        in_channels: channels of an image.
        class_names: background first; label value = position.
        patch_size: voxels per axis of a training patch.
        spacing: millimetres per axis of the preprocessed image (1.0 where the format knows none).
    """

    spatial_dims: int
    in_channels: int
    class_names: tuple[str, ...]
    patch_size: tuple[int, ...]
    spacing: tuple[float, ...]

    @property
    def num_classes(self) -> int:
        """Classes with the background."""
        return len(self.class_names)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as the run folder stores them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Task:
        """The inverse of `to_dict`; lists become tuples.

        Raises:
            TypeError, ValueError: an entry is missing, unknown or not of its kind.
        """
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        task = cls(**plain)
        counts, sizes = (task.spatial_dims, task.in_channels), (*task.patch_size, *task.spacing)
        if not all(isinstance(count, int) and count > 0 for count in counts) or task.spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims {task.spatial_dims!r} or in_channels {task.in_channels!r} is wrong")
        if len(sizes) != 2 * task.spatial_dims or not all(isinstance(size, int | float) and size > 0 for size in sizes):
            raise ValueError(f"patch_size {task.patch_size} or spacing {task.spacing} is wrong")
        if len(task.class_names) < 2 or not all(isinstance(name, str) for name in task.class_names):
            raise ValueError(f"class_names {task.class_names} is wrong")
        return task
