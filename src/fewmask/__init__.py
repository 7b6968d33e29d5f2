"""fewmask: few masks, many scans. Medical-image segmentation from a handful of labelled scans and all the unlabelled ones.

The public names are imported when first used, so that ``import fewmask`` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fewmask import metrics as metrics
    from fewmask.config import Experiment as Experiment
    from fewmask.data.dataset import Dataset as Dataset
    from fewmask.data.split import Split as Split
    from fewmask.segmenter import Segmenter as Segmenter

__version__ = "0.1.0"

_HOMES = {
    "Dataset": "fewmask.data.dataset",
    "Experiment": "fewmask.config",
    "Segmenter": "fewmask.segmenter",
    "Split": "fewmask.data.split",
}
__all__ = ["Dataset", "Experiment", "Segmenter", "Split", "__version__", "metrics"]


def __getattr__(name: str) -> Any:
    if name == "metrics":
        return importlib.import_module("fewmask.metrics")
    if name not in _HOMES:
        raise AttributeError(f"module 'fewmask' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
