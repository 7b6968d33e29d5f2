"""The walk through diffusers' autoencoder, and where its weights come from. Nothing is downloaded."""

from __future__ import annotations

import sys

import pytest
import torch
from safetensors.torch import save_file

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
    stages = []
    image = autoencoder.decode(code.mean, lambda level, x: (stages.append((level, tuple(x.shape[1:]))), x)[1])
    assert stages == [(3, (512, 28, 28)), (2, (512, 56, 56)), (1, (256, 112, 112)), (0, (128, 224, 224))]
    assert image.shape == (1, 3, 224, 224)


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


def first_release(kl, levels=3):
    """The weights under the names that they had first: a table of all parts, written without looking at the way back."""
    table = {"encoder.mid_block.attentions.0.to_out.0": "encoder.mid.attn_1.proj_out"}
    for side in ("encoder", "decoder"):
        ours, theirs = f"{side}.mid_block", f"{side}.mid"
        table |= {f"{ours}.resnets.{n}": f"{theirs}.block_{n + 1}" for n in (0, 1)}
        table |= {f"{ours}.attentions.0.to_{k}": f"{theirs}.attn_1.{k}" for k in "qkv"}
        table |= {f"{ours}.attentions.0.to_out.0": f"{theirs}.attn_1.proj_out"}
        table |= {
            f"{ours}.attentions.0.group_norm": f"{theirs}.attn_1.norm",
            f"{side}.conv_norm_out": f"{side}.norm_out",
        }
    for n in range(levels):
        table |= {f"encoder.down_blocks.{n}.resnets.{m}": f"encoder.down.{n}.block.{m}" for m in range(2)}
        table |= {f"decoder.up_blocks.{levels - 1 - n}.resnets.{m}": f"decoder.up.{n}.block.{m}" for m in range(3)}
        table |= {f"encoder.down_blocks.{n}.downsamplers.0": f"encoder.down.{n}.downsample"}
        table |= {f"decoder.up_blocks.{levels - 1 - n}.upsamplers.0": f"decoder.up.{n}.upsample"}
    named = {}
    for name, tensor in kl.state_dict().items():
        part = next((ours for ours in table if name.startswith(f"{ours}.")), "")
        old = table.get(part, "") + name.removeprefix(part)
        turned = tensor[:, :, None, None] if ".attn_1." in old and tensor.ndim == 2 else tensor
        named[old.replace("conv_shortcut", "nin_shortcut")] = turned.clone()
    return named


@pytest.mark.parametrize("prefix", ["", "first_stage_model."])
def test_weights_under_the_names_of_the_first_release(prefix, tmp_path):
    source, own = tiny(seed=5, layers=2), tiny(seed=6, layers=2)
    weights = {prefix + name: tensor for name, tensor in first_release(source.kl).items()}
    assert {f"{prefix}decoder.up.2.upsample.conv.weight", f"{prefix}encoder.mid.attn_1.q.weight"} <= weights.keys()
    save_file(weights | {"model.diffusion_model.out.2.bias": torch.zeros(3)}, tmp_path / "vae.safetensors")
    load_diffusers(own, AutoencoderShape(**TINY | {"layers": 2}, diffusers=str(tmp_path / "vae.safetensors")))
    assert float(own.scale) == pytest.approx(0.18215)
    with torch.no_grad():
        theirs, code = source.kl.encode(images()).latent_dist, own.encode(images())
        torch.testing.assert_close(code.mean, 0.18215 * theirs.mean)
        torch.testing.assert_close(own.decode(code.mean), source.kl.decode(theirs.mean).sample)
    missing = {name: tensor for name, tensor in weights.items() if "up.1.block.0.conv1.weight" not in name}
    save_file(missing, tmp_path / "lacking.safetensors")
    with pytest.raises(ConfigError, match=r"another kind of autoencoder .*up_blocks\.1\.resnets\.0\.conv1\.weight"):
        load_diffusers(own, AutoencoderShape(**TINY | {"layers": 2}, diffusers=str(tmp_path / "lacking.safetensors")))


def test_a_pickled_file_is_not_opened(tmp_path):
    torch.save({"state_dict": first_release(tiny().kl)}, tmp_path / "vae.ckpt")
    shape = AutoencoderShape(**TINY, diffusers=str(tmp_path / "vae.ckpt"))
    with pytest.raises(ConfigError, match="must hold safetensors; other formats can run code"):
        load_diffusers(Autoencoder(shape), shape)


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
