"""A ResNet-34 encoder under the V-Net's decoder: the second network of heterogeneous pairs."""

from __future__ import annotations

from torch import Tensor, nn

from fewmask.errors import ConfigError
from fewmask.networks.base import register
from fewmask.networks.blocks import NormName, conv, conv_norm_relu, norm_layers
from fewmask.networks.encoder_decoder import Encoder
from fewmask.networks.vnet import VNet


@register("resnet34-vnet")
class ResNet34VNet(VNet):
    """ResNet-34 encoder (He et al., CVPR 2016) with the V-Net's decoder, as in MCF (Wang et al., CVPR 2023).

    The stem keeps full resolution (kernel 7, stride 1, no max-pool); then come 3, 4, 6, 3 basic blocks of 32, 64,
    128, 256 channels, and each of these stages halves the size. The only dropout follows block nine. Kaiming
    initialisation.

    With one input channel and two classes it has 17 930 354 parameters in 3D; 27 379 220 together with the V-Net.

    Built with the arguments of `VNet`; ``dropout`` follows block nine alone.
    """

    idea = "residual encoder, V-Net decoder; the unlike partner of vnet in two-network methods"
    start = "kaiming"

    @staticmethod
    def build_encoder(
        dims: int, in_channels: int, width: int, norm: NormName, dropout: float, *, code: int | None
    ) -> Encoder:
        """Stem and four residual stages, without dropout."""
        if code:
            raise ConfigError("resnet34-vnet is not made for diffusion steps: set network.name to vnet")
        return ResNet34Encoder(dims, in_channels, width, norm)


class ResNet34Encoder(Encoder):
    """Stem and four stages of basic blocks; gives the output of each."""

    def __init__(self, dims: int, in_channels: int, width: int, norm: NormName) -> None:
        super().__init__()
        self.stem = conv_norm_relu(dims, in_channels, width, norm, kernel=7, bias=norm == "none")
        widths = [width * 2**level for level in range(5)]
        self.stages = nn.ModuleList(
            nn.Sequential(
                BasicBlock(dims, a, b, norm, stride=2), *(BasicBlock(dims, b, b, norm) for _ in range(blocks - 1))
            )
            for a, b, blocks in zip(widths[:-1], widths[1:], (3, 4, 6, 3), strict=True)
        )

    def forward(self, image: Tensor, code: None = None) -> list[Tensor]:
        """Image ``(B, C, *S)`` to five feature maps, shallow to deep; a code there is none."""
        features = [self.behind(1, self.stem(image))]
        for stage, blocks in enumerate(self.stages, start=2):
            features.append(self.behind(stage, blocks(features[-1])))
        return features


class BasicBlock(nn.Module):
    """Two convolutions around which the input is added, through a 1x1 projection where the shape changes."""

    def __init__(self, dims: int, in_channels: int, out_channels: int, norm: NormName, stride: int = 1) -> None:
        super().__init__()
        # A norm has a shift of its own, which makes the convolution's bias superfluous.
        bias = norm == "none"
        self.first = conv_norm_relu(dims, in_channels, out_channels, norm, stride=stride, bias=bias)
        self.second = nn.Sequential(
            conv(dims, out_channels, out_channels, 3, bias=bias), *norm_layers(norm, dims, out_channels)
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            projection = conv(dims, in_channels, out_channels, 1, stride=stride, bias=bias)
            self.shortcut = nn.Sequential(projection, *norm_layers(norm, dims, out_channels))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, in, *S)`` to ``(B, out, *S / stride)``."""
        y: Tensor = self.relu(self.second(self.first(x)) + self.shortcut(x))
        return y
