"""MC-Net+: a third decoder, which asks its nearest neighbour."""

from __future__ import annotations

from typing import ClassVar

from fewmask.methods.base import register
from fewmask.methods.mc_net import MutualConsistency
from fewmask.networks.blocks import UpStep


@register("mc-net-plus")
class MutualConsistencyPlus(MutualConsistency):
    """Mutual consistency network, second version (Wu, Ge, Zhang, Xu, Zhang, Xia & Cai, Medical Image Analysis 81, 102530, 2022).

    `mc-net` with a third decoder, whose up-step repeats the nearest value before its convolution: six ordered pairs instead of two.

        L = sum_{k=1..3} L_sup(z_l^k, y) + lambda(i) sum_{k != j} mean (p^k - q^j)^2

    In 2D the release has a variant with a fourth, bicubic decoder: ``decoders: [linear, transposed, nearest, cubic]``.
    """

    default_decoders: ClassVar[dict[int, list[UpStep]]] = {
        2: ["linear", "transposed", "nearest"],
        3: ["transposed", "linear", "nearest"],
    }
    year = 2022
    networks = "1 with 3 decoders"
    cost = 4.6
    idea = "three decoders with unlike up-steps learn from each other's sharpened predictions"
