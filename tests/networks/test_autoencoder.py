"""The walk through diffusers' autoencoder, and where its weights come from. Nothing is downloaded."""

from __future__ import annotations

import sys

import pytest
import torch

from fewmask.config import validate
from fewmask.errors import ConfigError
from fewmask.networks.autoencoder import Autoencoder, AutoencoderShape, load_diffusers
from fewmask.networks.counting import count_parameters

TINY = {"widths": (8, 16, 16), "groups": 4, "layers": 1}


def tiny(seed=0, **changes):
    torch.manual_seed(seed)
    return Autoencoder(AutoencoderShape(**(TINY | changes))).eval()


def images(side=(32, 32), seed=1):
    return torch.rand(2, 3, *side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("side", [(32, 32), (48, 64), (40, 72)])
@pytest.mark.parametrize("quant_conv", [True, False])
def test_the_walk_is_that_of_diffusers(side, quant_conv):
    autoencoder = tiny(quant_conv=quant_conv)
    autoencoder.scale.fill_(0.2)
    autoencoder.shift.fill_(0.3)
    with torch.no_grad():
        theirs, code = autoencoder.kl.encode(images(side)).latent_dist, autoencoder.encode(images(side))
        torch.testing.assert_close(code.mean, (theirs.mean - 0.3) * 0.2)
        torch.testing.assert_close(code.std, theirs.std * 0.2)
        torch.testing.assert_close(code.kl, theirs.kl())
        torch.testing.assert_close(autoencoder.decode(code.mean), autoencoder.kl.decode(theirs.mean).sample)


def test_skips_are_the_levels_before_they_halve_and_fusing_goes_from_deep_to_shallow():
    autoencoder, seen = tiny(), []
    code = autoencoder.encode(images())
    assert [tuple(skip.shape[1:]) for skip in code.skips] == [(8, 32, 32), (16, 16, 16), (16, 8, 8)]
    plain = autoencoder.decode(code.mean)

    def note(level, features):
        seen.append((level, tuple(features.shape[1:])))
        return features

    assert torch.equal(autoencoder.decode(code.mean, note), plain)
    assert seen == [(2, (16, 8, 8)), (1, (16, 16, 16)), (0, (8, 32, 32))]
    assert not torch.equal(autoencoder.decode(code.mean, lambda _, features: features + 1), plain)


def test_the_size_of_stable_diffusions():
    with torch.device("meta"):
        autoencoder = Autoencoder(AutoencoderShape(diffusers="somewhere"))
        code = autoencoder.encode(torch.zeros(1, 3, 224, 224))
    assert count_parameters(autoencoder) == 83_653_863
    assert autoencoder.stride == 8
    assert code.mean.shape == (1, 4, 28, 28)
    assert [tuple(s.shape[1:]) for s in code.skips] == [
        (128, 224, 224), (256, 112, 112), (512, 56, 56), (512, 28, 28)
    ]  # fmt: skip


def test_another_way_of_building_is_noticed():
    autoencoder = tiny()
    autoencoder.check_walk()
    first = autoencoder.kl.encoder.mid_block.register_forward_hook(lambda module, given, output: output.flip(-1))
    autoencoder.check_walk()  # both walks pass there
    first.remove()
    autoencoder.kl.encoder.down_blocks[1].register_forward_hook(lambda module, given, output: output.flip(-1))
    with pytest.raises(ConfigError, match="builds AutoencoderKL differently"):
        autoencoder.check_walk()


def test_weights_scale_and_shift_of_a_folder(tmp_path):
    source = tiny(seed=5)
    source.kl.register_to_config(scaling_factor=0.25, shift_factor=0.1)
    source.kl.save_pretrained(tmp_path / "vae")
    own = tiny(seed=6)
    load_diffusers(own, AutoencoderShape(**TINY, diffusers=str(tmp_path), subfolder="vae"))
    assert all(torch.equal(a, b) for a, b in zip(own.kl.parameters(), source.kl.parameters(), strict=True))
    assert (float(own.scale), float(own.shift)) == pytest.approx((0.25, 0.1))


def test_another_size_is_named(tmp_path):
    tiny().kl.save_pretrained(tmp_path)
    shape = AutoencoderShape(widths=(8, 8, 16), groups=4, layers=2, diffusers=str(tmp_path))
    with pytest.raises(ConfigError, match=r"set method.autoencoder.widths=\[8,16,16\] and method.autoencoder.layers=1"):
        load_diffusers(Autoencoder(shape), shape)


def test_what_is_not_there_or_would_be_unpickled_is_refused(tmp_path):
    shape = AutoencoderShape(**TINY, diffusers=str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"cannot be loaded .*or leave it out"):
        load_diffusers(Autoencoder(shape), shape)
    source = tiny()
    source.kl.save_pretrained(tmp_path, safe_serialization=False)
    shape = AutoencoderShape(**TINY, diffusers=str(tmp_path))
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_diffusers(Autoencoder(shape), shape)


def test_without_diffusers_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers.models", None)
    with pytest.raises(ConfigError, match=r"pip install 'fewmask\[semigda\]'"):
        tiny()


def test_widths_must_suit_the_norms():
    with pytest.raises(ConfigError, match=r"multiples of groups 8"):
        validate(AutoencoderShape, {"widths": [12, 16]}, "autoencoder")
