"""What every registered network must do; a newly registered one is covered at once."""

from __future__ import annotations

import pytest
import torch

from fewmask.config import NetworkConfig
from fewmask.errors import ConfigError
from fewmask.networks import NETWORKS, Network, build_network, initialise
from fewmask.networks.counting import count_macs, count_parameters
from fewmask.task import Task

CASES = [(name, dims) for name in NETWORKS for dims in NETWORKS[name].spatial_dims]
pytestmark = pytest.mark.parametrize(("name", "dims"), CASES, ids=[f"{name}-{dims}d" for name, dims in CASES])


def shape_of(name: str, dims: int) -> tuple[int, ...]:
    """A small anisotropic image size that the network takes."""
    return tuple(NETWORKS[name].stride * factor for factor in (2, 3, 1)[:dims])


def build(name: str, dims: int, channels: int = 1, classes: int = 2, **settings: object) -> Network:
    torch.manual_seed(0)
    shape = shape_of(name, dims)
    task = Task(dims, channels, tuple(f"class {k}" for k in range(classes)), shape, (1.0,) * dims)
    return build_network(task, NetworkConfig(name=name, **({"width": 4} | settings)))


def images(name: str, dims: int, channels: int = 1, batch: int = 2) -> torch.Tensor:
    return torch.randn((batch, channels, *shape_of(name, dims)), generator=torch.Generator().manual_seed(1))


def test_says_what_it_is(name, dims):
    assert len(NETWORKS[name].idea.splitlines()) == 1
    assert NETWORKS[name].__doc__


@pytest.mark.parametrize(("channels", "classes"), [(1, 2), (3, 4)])
def test_logits_have_the_image_size_and_one_channel_per_class(name, dims, channels, classes):
    network, image = build(name, dims, channels, classes).eval(), images(name, dims, channels)
    with torch.no_grad():
        logits, everything = network(image), network.forward_all(image)
    assert logits.shape == (2, classes, *image.shape[2:])
    assert logits.isfinite().all()
    assert torch.equal(everything.logits[0], logits)
    assert all(one.shape == logits.shape for one in everything.logits)


def test_every_parameter_gets_a_gradient(name, dims):
    network = build(name, dims)
    output = network.forward_all(images(name, dims))
    # Unlike a sum, the squares give a gradient through normalisations too.
    sum(one.square().sum() for one in [*output.logits, *output.heads.values()]).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        # A bias under a normalisation has a gradient of zero by its nature, weights have not.
        assert parameter.ndim == 1 or parameter.grad.abs().sum() > 0, key


def test_random_in_training_and_repeatable_in_evaluation(name, dims):
    network, image = build(name, dims, dropout=0.5), images(name, dims)
    with torch.no_grad():
        assert not torch.equal(network(image), network(image))
        network.eval()
        assert torch.equal(network(image), network(image))


def test_without_dropout_training_is_repeatable(name, dims):
    network, image = build(name, dims, dropout=0.0), images(name, dims)
    with torch.no_grad():
        assert torch.equal(network(image), network(image))


@pytest.mark.parametrize("norm", ["batch", "instance", "group", "none"])
def test_takes_every_norm(name, dims, norm):
    network = build(name, dims, norm=norm)
    kinds = {type(module).__name__.rstrip("23d") for module in network.modules() if "Norm" in type(module).__name__}
    assert kinds == {"batch": {"BatchNorm"}, "instance": {"InstanceNorm"}, "group": {"GroupNorm"}, "none": set()}[norm]
    with torch.no_grad():
        assert network(images(name, dims)).isfinite().all()


def test_width_widens(name, dims):
    assert count_parameters(build(name, dims, width=8)) > 2 * count_parameters(build(name, dims, width=4))


def test_seed_fixes_the_weights(name, dims):
    first, second = build(name, dims).state_dict(), build(name, dims).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_samples_do_not_mix_in_evaluation(name, dims):
    # In float64, for another batch size may take another summation order.
    network, image = build(name, dims).double().eval(), images(name, dims).double()
    with torch.no_grad():
        torch.testing.assert_close(network(image)[1:], network(image[1:]))


def test_refuses_a_side_between_two_strides(name, dims):
    stride = NETWORKS[name].stride
    shape = (2 * stride - 3, *shape_of(name, dims)[1:])
    with pytest.raises(ConfigError, match=f"{stride} or {2 * stride} instead of {2 * stride - 3}"):
        build(name, dims)(torch.zeros(1, 1, *shape))


def test_exports(name, dims):
    network, image = build(name, dims).eval(), images(name, dims, batch=1)
    exported = torch.export.export(network, (image,)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(image), network(image))


def test_counting_leaves_the_network_as_it_is(name, dims):
    network = build(name, dims).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    macs = count_macs(network, (1, 1, *shape_of(name, dims)))
    assert macs.published > macs.convolutions > 0
    assert network.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_can_be_drawn_anew(name, dims):
    network = build(name, dims)
    before = {key: value.clone() for key, value in network.named_parameters() if value.ndim > 1}
    assert initialise(network, "xavier") is network
    after = dict(network.named_parameters())
    assert all(not torch.equal(before[key], after[key]) for key in before if "weight" in key)
