"""What the sections of the config are made of: lists of numbers, and the rules that all sections keep."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

MOST_VOXELS = 2**31  # of a patch; one channel of as many takes 8 GiB


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _fits_a_memory(patch: tuple[int, ...]) -> tuple[int, ...]:
    if math.prod(patch) > MOST_VOXELS:
        raise ValueError(f"a patch of more than {MOST_VOXELS} voxels fits into no memory; choose a smaller one")
    return patch


Sizes = Annotated[tuple[int, ...], BeforeValidator(_as_tuple)]
Patch = Annotated[tuple[int, ...], BeforeValidator(_as_tuple), AfterValidator(_fits_a_memory)]
Lengths = Annotated[tuple[float, ...], BeforeValidator(_as_tuple)]


class Section(BaseModel):
    """A part of the config: unknown keys are errors, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
