"""Networks: one file a family, a registry, exact published parameter counts."""

from __future__ import annotations

from fewmask.networks import diffusion_unet, resnet_vnet, unet_2d, unet_3d, vnet
from fewmask.networks.base import NETWORKS, Network, NetworkOutput, build_network
from fewmask.networks.init import initialise

__all__ = [
    "NETWORKS",
    "Network",
    "NetworkOutput",
    "build_network",
    "diffusion_unet",
    "initialise",
    "resnet_vnet",
    "unet_2d",
    "unet_3d",
    "vnet",
]
