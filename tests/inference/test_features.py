import numpy as np
import pytest
import torch

from fewmask.config import MethodSection
from fewmask.inference.features import PooledFeatures, deepest_layer
from fewmask.methods import METHODS, build_method
from toys import CHEAP, PATCH, small_network, small_task


def module_of(method, dims=2):
    torch.manual_seed(0)
    section = MethodSection(name=method, **CHEAP.get(method, {}))
    return build_method(small_task(dims), section, small_network()).predictor()


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_s_predictor_has_a_layer_to_look_into(method):
    dims = METHODS[method].spatial_dims[0]
    module = module_of(method, dims)
    features = PooledFeatures(module, (1, *PATCH[dims]), torch.device("cpu"))
    seen = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        image = torch.rand(1, 1, *PATCH[dims])
        with torch.no_grad(), features.watching():
            module.eval()(image)
        seen.append(features.mean())
    assert seen[0].ndim == 1 and np.isfinite(seen[0]).all()
    np.testing.assert_array_equal(seen[0], seen[1])
    assert not np.allclose(seen[0], seen[2])
    assert not features.layer._forward_hooks


def test_the_layer_is_the_bottom_of_the_network():
    module = module_of("supervised")
    layer = deepest_layer(module, (1, *PATCH[2]), torch.device("cpu"))
    widest = max(part.out_channels for part in module.modules() if isinstance(part, torch.nn.Conv2d))
    assert layer.out_channels == widest


def test_mean_over_all_windows():
    module = module_of("supervised").eval()
    features = PooledFeatures(module, (1, *PATCH[2]), torch.device("cpu"))
    windows, each = torch.rand(3, 1, *PATCH[2]), []
    with torch.no_grad():
        for window in windows:
            with features.watching():
                module(window[None])
            each.append(features.mean())
        with features.watching():
            module(windows[:2])
            module(windows[2:])
    np.testing.assert_allclose(features.mean(), np.mean(each, axis=0), rtol=1e-5, atol=1e-6)
