"""Ways to run a trained network: as it was trained, or faster and rounded a little differently."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fewmask.errors import ConfigError, nearest

Engine = Literal["eager", "fused", "bf16"]
ENGINES: tuple[Engine, ...] = get_args(Engine)

_PLAIN = (nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)


def accelerate(module: nn.Module, engine: str, device: torch.device | str = "cpu") -> nn.Module:
    """A network for prediction.

    - ``eager``: the network itself.
    - ``fused``: batch norms folded into the convolutions before them; on a CPU convolution and ReLU are one operation of
      oneDNN with weights packed once. Probabilities move by about 1e-5.
    - ``bf16``: the same in bfloat16. Meant for CPUs and GPUs with bfloat16 units.

    Networks with instance or group norm have nothing to fold, and the norms' kernels for the layout that suits
    convolutions are slower or less exact: ``fused`` leaves them alone, ``bf16`` keeps their layout.

    Args:
        module: image ``(B, C, *S)`` to class probabilities; not changed.
        engine: one of `ENGINES`.
        device: where it will run.

    Returns:
        ``module`` itself, or a copy of it in evaluation mode that shares no weights with it: later changes of
        ``module`` do not reach it.

    Raises:
        ConfigError: there is no such engine.
    """
    if engine not in ENGINES:
        raise ConfigError(f"there is no inference.engine {engine!r}: {nearest(engine, ENGINES)}")
    if engine == "eager":
        return module
    foldable = not any(isinstance(part, nn.GroupNorm | _InstanceNorm) for part in module.modules())
    if engine == "fused" and not foldable:
        return module
    fast = copy.deepcopy(module).eval()
    if foldable:
        _fold_norms(fast)
    kind, precision = torch.device(device).type, torch.float32 if engine == "fused" else torch.bfloat16
    if foldable and kind == "cpu" and _has_fused_convolutions(precision):
        _fuse_convolutions(fast, precision)
    return fast if engine == "fused" else _Bfloat16(fast, channels_last=foldable, device_type=kind)


def device_of(name: torch.device | str | None) -> torch.device:
    """The device of a name; without one, a GPU where there is one.

    Raises:
        ConfigError: there is no such device.
    """
    gpu = torch.cuda.is_available()
    try:
        device = torch.device(name or ("cuda" if gpu else "cpu"))
    except RuntimeError:
        raise ConfigError(f"there is no device {name!r}: give cpu or cuda") from None
    if device.type == "cuda" and not gpu:
        raise ConfigError(f"device {name} needs a GPU, but torch sees none: use cpu, or install a CUDA build of torch")
    return device


class _Bfloat16(nn.Module):
    """A network under autocast; images come in and probabilities go out as float32."""

    def __init__(self, module: nn.Module, *, channels_last: bool, device_type: str) -> None:
        super().__init__()
        self.module, self.channels_last, self.device_type = module, channels_last, device_type
        self.takes_corners = getattr(module, "takes_corners", False)
        if channels_last:
            for parameter in module.parameters():
                if parameter.ndim in _CHANNELS_LAST:
                    parameter.data = parameter.data.contiguous(memory_format=_CHANNELS_LAST[parameter.ndim])

    def forward(self, image: Tensor, *corners: Any) -> Tensor:
        if self.channels_last:
            image = image.contiguous(memory_format=_CHANNELS_LAST[image.ndim])
        with torch.autocast(self.device_type, dtype=torch.bfloat16):
            probabilities: Tensor = self.module(image, *corners)
        return probabilities.float()


_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def _is_plain(layer: nn.Module, kinds: tuple[type[nn.Module], ...]) -> bool:
    """Whether a layer is just what its type says: neither a subclass nor reparametrised nor hooked."""
    return type(layer) in kinds and not layer._forward_pre_hooks and not layer._forward_hooks


def _fold_norms(module: nn.Module) -> None:
    """Scale and shift of each batch norm into the convolution right before it, where the two are neighbours in a Sequential."""
    for chain in [part for part in module.modules() if type(part) is nn.Sequential]:
        for (at, layer), (after, norm) in pairwise(list(chain.named_children())):
            if not isinstance(norm, _BatchNorm) or norm.running_mean is None:
                continue
            if _is_plain(layer, _PLAIN + _TRANSPOSED):
                transposed = isinstance(layer, _TRANSPOSED)
                chain.register_module(at, fuse_conv_bn_eval(layer, norm, transpose=transposed))  # type: ignore[type-var]
                chain.register_module(after, nn.Identity())


def _has_fused_convolutions(precision: torch.dtype) -> bool:
    """Whether this build of torch has the operations that its own compiler uses on CPUs, and this CPU the precision."""
    names = ("_convolution_pointwise", "_convolution_transpose_pointwise", "_reorder_convolution_weight")
    available = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    if not available or not all(hasattr(torch.ops.mkldnn, name) for name in names):
        return False
    return precision == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _fuse_convolutions(module: nn.Module, precision: torch.dtype) -> None:
    """Every convolution, with the ReLU behind it if there is one, becomes one operation."""
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            if not _is_plain(layer, _PLAIN + _TRANSPOSED) or not _pads_with_zeros(layer):
                continue
            relu = _relu_behind(parent, name) if type(parent) is nn.Sequential else None
            parent.register_module(name, FusedConvolution(layer, precision, relu=relu is not None))
            if relu is not None:
                parent.register_module(relu, nn.Identity())


def _pads_with_zeros(layer: Any) -> bool:
    """Whether the padding is a number of zeros, which oneDNN adds itself."""
    return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def _relu_behind(chain: nn.Module, name: str) -> str | None:
    """The name of the ReLU that follows a layer, but for layers that do nothing; none where another layer follows."""
    layers = list(chain.named_children())
    behind = layers[[at for at, _ in layers].index(name) + 1 :]
    for at, layer in behind:
        if type(layer) is not nn.Identity:
            return at if _is_plain(layer, (nn.ReLU,)) else None
    return None


class FusedConvolution(nn.Module):
    """A convolution, plain or transposed, and perhaps a ReLU, as one operation of oneDNN with its weights packed once.

    Args:
        layer: the convolution, float32 on the CPU.
        precision: of weights, features and result; features of another type are converted.
        relu: whether negative outputs become zero.
    """

    def __init__(self, layer: Any, precision: torch.dtype = torch.float32, *, relu: bool) -> None:
        super().__init__()
        ops: Any = torch.ops.mkldnn
        self.transposed = isinstance(layer, _TRANSPOSED)
        sizes = [layer.padding, *([layer.output_padding] if self.transposed else []), layer.stride, layer.dilation]
        self.sizes = [*sizes, layer.groups]
        pack = ops._reorder_convolution_transpose_weight if self.transposed else ops._reorder_convolution_weight
        self.weight: Tensor = pack(layer.weight.detach().to(precision), *self.sizes)
        self.bias = None if layer.bias is None else layer.bias.detach().to(precision)
        self.precision, self.relu = precision, "relu" if relu else "none"

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(B, C, *S)`` to features, as the layer."""
        ops: Any = torch.ops.mkldnn
        run = ops._convolution_transpose_pointwise if self.transposed else ops._convolution_pointwise
        output: Tensor = run(x.to(self.precision), self.weight, self.bias, *self.sizes, self.relu, [], "")
        return output
