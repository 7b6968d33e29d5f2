"""Weights of Stable Diffusion's autoencoder under the names of its first release, as single files still have them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_PREFIX = "first_stage_model."
_PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")
_NAMES = (
    (r"\.down\.(\d+)\.block\.", r".down_blocks.\1.resnets."),
    (r"\.down\.(\d+)\.downsample\.", r".down_blocks.\1.downsamplers.0."),
    (r"\.up\.(\d+)\.block\.", r".up_blocks.\1.resnets."),
    (r"\.up\.(\d+)\.upsample\.", r".up_blocks.\1.upsamplers.0."),
    (r"\.mid\.block_1\.", ".mid_block.resnets.0."),
    (r"\.mid\.block_2\.", ".mid_block.resnets.1."),
    (r"\.mid\.attn_1\.norm\.", ".mid_block.attentions.0.group_norm."),
    (r"\.mid\.attn_1\.([qkv])\.", r".mid_block.attentions.0.to_\1."),
    (r"\.mid\.attn_1\.proj_out\.", ".mid_block.attentions.0.to_out.0."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"\.norm_out\.", ".conv_norm_out."),
)


def diffusers_names(weights: Mapping[str, Tensor], levels: int) -> dict[str, Tensor]:
    """The autoencoder's weights under diffusers' names; what else is in the file is left out.

    Args:
        weights: by the names of the first release, with or without the prefix ``first_stage_model.``.
        levels: of the autoencoder; the decoder's are counted from the other end.
    """
    bare = {name.removeprefix(_PREFIX): tensor for name, tensor in weights.items()}
    return dict(_renamed(name, tensor, levels) for name, tensor in bare.items() if name.startswith(_PARTS))


def _renamed(name: str, tensor: Tensor, levels: int) -> tuple[str, Tensor]:
    for old, new in _NAMES:
        name = re.sub(old, new, name)
    name = re.sub(r"\.up_blocks\.(\d+)\.", lambda found: f".up_blocks.{levels - 1 - int(found[1])}.", name)
    # Their attention is made of 1x1 convolutions, diffusers' of linear maps.
    flat = ".attentions." in name and tensor.ndim == 4
    return name, tensor.flatten(1) if flat else tensor
