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
        """The inverse of `to_dict`; lists become tuples."""
        plain: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        return cls(**plain)
