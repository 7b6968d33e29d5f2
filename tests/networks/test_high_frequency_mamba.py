"""Orders, directions, sizes and places of the high-frequency Mamba module."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from fewmask.config import TrainConfig
from fewmask.engine.optim import build_optimiser
from fewmask.errors import ConfigError
from fewmask.inference.export import export_program
from fewmask.methods import Turn
from fewmask.methods.base import SoftmaxPredictor
from fewmask.networks import NETWORKS
from fewmask.networks.counting import count_macs, count_parameters
from fewmask.networks.high_frequency_mamba import GatedSpatialConv, HFMConfig, HighFrequencyMamba
from fewmask.networks.high_pass import high_pass
from fewmask.networks.init import decays
from fewmask.networks.mamba import SelectiveStateSpace, TriOrientatedMamba, interleave
from fewmask.networks.selective_scan import sequential_scan

GRIDS = {2: (4, 6), 3: (4, 5, 3)}


def features(dims=3, channels=8, seed=0):
    return torch.randn(2, channels, *GRIDS[dims], generator=torch.Generator().manual_seed(seed))


def module(dims=3, channels=8, **settings) -> HighFrequencyMamba:
    torch.manual_seed(0)
    return HighFrequencyMamba(dims, channels, HFMConfig(**settings))


# ------------------------------------------------------------------------------------------------------------- orders


def test_the_order_across_slices():
    numbers = torch.arange(12)[None, :, None]
    across = interleave(numbers, 3)
    assert across.flatten().tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]
    assert interleave(numbers, 4).flatten().tolist() == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]
    assert torch.equal(interleave(across, 4), numbers)


def test_slices_are_the_planes_of_the_slice_axis():
    # The tokens that the module hands to its Mamba carry their own coordinates.
    grid = torch.stack(torch.meshgrid(*map(torch.arange, (2, 3, 4)), indexing="ij"))[None].float()
    for axis, order in ((-1, (2, 0, 1)), (2, (2, 0, 1)), (0, (0, 1, 2)), (1, (1, 0, 2))):
        one = module(channels=3, slice_axis=axis)
        one.norms[0], seen = nn.Identity(), []
        one.mamba, one.mlp = _Spy(seen), _Silence()
        assert torch.equal(one.refine(grid), grid), "what changes nothing puts everything back"
        tokens, slices = seen[0]
        assert slices == (2, 3, 4)[order[0]]
        wanted = sorted(range(24), key=lambda n: [int(grid[0].flatten(1)[a, n]) for a in order])
        assert torch.equal(tokens[0], grid[0].flatten(1).T[wanted])


class _Spy(nn.Module):
    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def forward(self, tokens, slices):
        self.seen.append((tokens, slices))
        return torch.zeros_like(tokens)


class _Silence(nn.Module):
    def forward(self, x):
        return torch.zeros_like(x)


def influence(mamba, length=12, slices=3):
    """``[i, j]``: whether token j reaches output i."""
    tokens = torch.randn(1, length, 4, generator=torch.Generator().manual_seed(1)).double()
    jacobian = torch.autograd.functional.jacobian(lambda x: mamba(x, slices), tokens)
    return jacobian[0, :, :, 0].abs().sum((1, 3)) > 0


DIRECTIONS = ("forwards", "backwards", "across")


@pytest.mark.parametrize("only", [*DIRECTIONS, None])
def test_who_sees_whom(only):
    torch.manual_seed(0)
    mamba = TriOrientatedMamba(4, d_state=2).double()
    for name in DIRECTIONS:
        if only not in (None, name):
            setattr(mamba, name, _Silence())
    reached = influence(mamba)
    if only is None:
        assert int(reached.sum()) == 144
        return
    order = {"forwards": range(12), "backwards": range(11, -1, -1), "across": [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]}
    in_order = reached[list(order[only])][:, list(order[only])]
    assert torch.equal(in_order, torch.ones(12, 12).tril().bool())
    assert int(reached.sum()) == 78


def test_gated_outputs_may_be_summed_before_the_gate():
    """The sum of three gated directions, each with its own reordered gate, as it is published."""
    torch.manual_seed(0)
    mamba, tokens = TriOrientatedMamba(8, d_state=3).double(), torch.randn(2, 12, 8).double()
    x, z = mamba.inputs(tokens).chunk(2, dim=-1)
    orders = [torch.arange(12), torch.arange(11, -1, -1), interleave(torch.arange(12)[None, :, None], 3).flatten()]
    total = torch.zeros_like(x)
    for name, order in zip(DIRECTIONS, orders, strict=True):
        gated = getattr(mamba, name)(x[:, order]) * F.silu(z[:, order])
        total = total + gated[:, order.argsort()]
    torch.testing.assert_close(mamba(tokens, 3), mamba.outputs(total))


# -------------------------------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize(("channels", "expected"), [(64, 295_232), (128, 1_137_280), (256, 4_461_824)])
def test_parameters(channels, expected):
    assert count_parameters(module(channels=channels)) == expected


def test_parameters_of_the_parts():
    one = module(channels=128)
    parts = (one.attention, one.mamba, one.norms, one.mlp)
    assert [count_parameters(part) for part in parts] == [918_016, 152_832, 512, 65_920]


def test_parameters_of_the_network():
    assert count_parameters(NETWORKS["vnet"](3, 1, 2, hfm=HFMConfig())) == 10_586_146
    assert count_parameters(NETWORKS["vnet"](3, 1, 2, hfm=HFMConfig(stages=()))) == 9_448_866


def test_counting_multiply_adds():
    plain, refined = (NETWORKS["vnet"](2, 1, 2, width=2, hfm=HFMConfig(stages=stages)) for stages in ((), (4,)))
    before, after = count_macs(plain, (1, 1, 64, 64)), count_macs(refined, (1, 1, 64, 64))
    # At least the two wide convolutions of the gated one: 64 places, 16 channels.
    assert after.convolutions - before.convolutions > 64 * 2 * 16 * 16 * 9
    assert after.published - before.published > 64 * 2 * 16 * 16 * 9


def test_start():
    torch.manual_seed(0)
    space = SelectiveStateSpace(32, 2, d_state=5, d_conv=4, backend="auto")
    steps = F.softplus(space.step.bias)
    assert ((steps >= 1e-3 * 0.999) & (steps <= 0.1 * 1.001)).all()
    assert steps.max() / steps.min() > 5
    assert space.step.weight.abs().max() <= 2**-0.5
    torch.testing.assert_close(space.A_log.exp(), torch.arange(1.0, 6.0).repeat(32, 1))
    assert (space.D == 1).all()


def test_decay_spares_the_spectrum_and_the_direct_path():
    network = NETWORKS["vnet"](2, 1, 2, width=2, hfm=HFMConfig(stages=(4,)))
    spared = {name.rsplit(".", 1)[-1] for name, p in network.named_parameters() if not decays(p)}
    assert spared == {"A_log", "D"}
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimiser = build_optimiser(TrainConfig(lr=0.1, weight_decay=0.5), Turn("main", list(network.parameters())))
    assert sum(len(group["params"]) for group in optimiser.param_groups) == len(before)
    for p in network.parameters():
        p.grad = torch.zeros_like(p)
    optimiser.step()
    for name, p in network.named_parameters():
        factor = 1.0 if name.endswith(("A_log", ".D")) else 0.95
        torch.testing.assert_close(p.detach(), factor * before[name])


# --------------------------------------------------------------------------------------------------------- the module


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("merge", ["add", "replace", "concat"])
def test_changes_its_input_and_trains_all_of_itself(dims, merge):
    one, given = module(dims, merge=merge), features(dims)
    result = one(given)
    assert result.shape == given.shape
    assert (result - given).abs().max() > 0.01
    result.square().sum().backward()
    for name, parameter in one.named_parameters():
        # A bias right under an instance norm has no effect.
        under_norm = name.startswith("attention") and name.endswith("bias")
        assert under_norm or parameter.grad.abs().sum() > 0, name


def test_the_steps_of_the_equation():
    one, given = module(merge="replace", cutoff=0.5), features()
    u = one.attention(high_pass(given, 0.5))
    tokens = u.permute(0, 4, 2, 3, 1).flatten(1, 3)  # planes, rows, columns
    v = one.mamba(one.norms[0](tokens), 3) + tokens
    o = one.mlp(one.norms[1](v)) + v
    wanted = o.reshape(2, 3, 4, 5, 8).permute(0, 4, 2, 3, 1)
    torch.testing.assert_close(one(given), wanted)
    added = module(cutoff=0.5)
    torch.testing.assert_close(added(given), given + wanted)
    joined = module(merge="concat", cutoff=0.5)
    torch.testing.assert_close(
        joined(given), joined.join(torch.cat([given, joined.refine(joined.attention(high_pass(given, 0.5)))], 1))
    )


def test_only_what_is_fine_reaches_the_mamba():
    one, given = module(merge="replace", cutoff=0.5), features()
    smooth = high_pass(given, 0.5) - given  # nothing above the cut-off
    torch.testing.assert_close(one(given + smooth), one(given), rtol=1e-4, atol=1e-4)
    assert (one(given + features(seed=3)) - one(given)).abs().max() > 0.1


@pytest.mark.parametrize("fuse", ["sum", "product"])
def test_gated_spatial_convolution(fuse):
    torch.manual_seed(0)
    gated, given = GatedSpatialConv(3, 4, fuse), features(channels=4)
    wide, gate = gated.wide(given), gated.gate(given)
    torch.testing.assert_close(gated(given), given + gated.last(wide + gate if fuse == "sum" else wide * gate))
    assert [m.kernel_size[0] for m in gated.modules() if isinstance(m, nn.Conv3d)] == [3, 3, 1, 1]


def test_autocast_keeps_the_type_and_nearly_the_values():
    one, given = module(), features()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = one(given.bfloat16())
        rounded.float().square().sum().backward()
    assert rounded.dtype == torch.bfloat16
    assert all(p.grad.isfinite().all() for p in one.parameters())
    assert (rounded.float() - one(given)).abs().mean() < 0.05


def test_float64_is_kept_throughout():
    one, given = module().double(), features().double()
    rounded = module()(features())
    assert (one(given) - rounded).abs().max() < 1e-4


def test_the_steps_of_a_state_space():
    """In float64, so that no step of it may round to float32."""
    torch.manual_seed(0)
    space = SelectiveStateSpace(6, 2, d_state=3, d_conv=4, backend="auto").double()
    nn.init.normal_(space.D)
    x = torch.randn(2, 9, 6).double()
    padded = F.pad(x, (0, 0, 3, 0))
    taps = [padded[:, at : at + 9] * space.conv.weight[:, 0, at] for at in range(4)]
    u = F.silu(sum(taps) + space.conv.bias)
    low_rank, B, C = (u @ space.select.weight.T).split([2, 3, 3], dim=-1)
    delta = F.softplus(low_rank @ space.step.weight.T + space.step.bias)
    y, _ = sequential_scan(u, delta, -space.A_log.exp(), B, C)
    torch.testing.assert_close(space(x), y + space.D * u, rtol=1e-12, atol=1e-12)


def test_wrong_places_are_refused():
    with pytest.raises(ConfigError, match="slice_axis is 2, but the images have 2 axes"):
        module(2, slice_axis=2)
    with pytest.raises(ConfigError, match="single voxel"):
        module(2)(torch.zeros(1, 8, 1, 1))
    with pytest.raises(ValidationError):
        HFMConfig(stages=(6,))


# ------------------------------------------------------------------------------------------------- in the networks

PLACES = [
    (name, dims) for name in ("vnet", "resnet34-vnet", "unet-2d", "unet-3d") for dims in NETWORKS[name].spatial_dims
]
each_place = pytest.mark.parametrize(("name", "dims"), PLACES)


@each_place
def test_stands_behind_the_stages_that_are_named(name, dims):
    image = torch.randn(1, 1, *(32, 48, 32)[:dims])
    torch.manual_seed(0)
    plain = NETWORKS[name](dims, 1, 2, width=2).eval()
    torch.manual_seed(0)
    refined = NETWORKS[name](dims, 1, 2, width=2, hfm=HFMConfig(stages=(2, 4))).eval()
    assert all(torch.equal(value, refined.state_dict()[key]) for key, value in plain.state_dict().items())
    before, after = plain.encode(image), refined.encode(image)
    same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert same == [True, False, False, False, False]
    torch.testing.assert_close(after[1], refined.encoder.inserted["2"](before[1]))
    # The last stage goes on from the refined features of the fourth, which are also the skip.
    refined.encoder.inserted["4"] = nn.Identity()
    third = refined.encode(image)
    assert torch.equal(third[2], after[2])
    assert not torch.equal(third[3], after[3])
    assert not torch.equal(third[4], after[4])


def test_exports_with_any_batch_size():
    network = SoftmaxPredictor(NETWORKS["vnet"](2, 1, 2, width=2, hfm=HFMConfig(stages=(4,), d_state=2))).eval()
    exported = export_program(network, (1, 64, 48))
    called = {node.target for node in exported.graph.nodes if node.op == "call_function"}
    assert {op.namespace for op in called if isinstance(op, torch._ops.OpOverload)} == {"aten"}, "needs no fewmask"
    program = exported.module()
    for batch in (1, 3):
        image = torch.randn(batch, 1, 64, 48)
        with torch.no_grad():
            torch.testing.assert_close(program(image), network(image))
