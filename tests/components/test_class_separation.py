from __future__ import annotations

import numpy as np
import pytest
import torch

from fewmask.components.class_separation import ClassSeparation, SeparationConfig, rows


def separation(classes=2, features=3, **settings):
    torch.manual_seed(0)
    return ClassSeparation(features, classes, SeparationConfig(**{"size": 4, "slots": 2} | settings))


def filled(module):
    """Memories of known vectors."""
    module.memory.copy_(torch.randn(module.memory.shape, generator=torch.Generator().manual_seed(1)))
    module.filled.fill_(module.config.slots)
    return module


def scores(selector, vectors):
    return 1 / (1 + np.exp(-selector(vectors).detach().numpy().astype(np.float64).ravel()))


def unit(vectors):
    vectors = vectors.detach().numpy().astype(np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("background", [True, False])
def test_the_loss_over_all_pairs(background):
    module = filled(separation(3, slots=5, background=background)).eval()
    features, labels = torch.randn(2, 3, 6, 5), torch.randint(3, (2, 6, 5))
    total, first = 0.0, 0 if background else 1
    memory = torch.nn.functional.normalize(module.memory, dim=2)
    for c in range(first, 3):
        g = module.prediction(module.projection(rows(features)[labels.flatten() == c]))
        m = memory[c - first]
        w, v = scores(module.selectors[c - first], g), scores(module.memory_selectors[c - first], m)
        w, v = len(w) * w / w.sum(), len(v) * v / v.sum()
        pairs = (1 - unit(g) @ unit(m).T) * w[:, None] * v[None, :]
        total += pairs.mean()
    assert module(features, labels).item() == pytest.approx(total / 3, rel=1e-5), "the background counts"


@pytest.mark.parametrize("background", [True, False])
def test_batch_norm_is_of_the_voxels_of_all_classes(background):
    """Over one class alone it would take a shift of that class away; the whole half in one pass, so one update of the statistics."""
    module = filled(separation(slots=5, background=background))
    features, labels, _ = voxels()
    before = module(features, labels)
    assert module.projection.layers[1].num_batches_tracked == module.prediction.layers[1].num_batches_tracked == 1
    mean = module.projection.layers[0](rows(features)).mean(0)
    torch.testing.assert_close(module.projection.layers[1].running_mean, 0.1 * mean)
    after = module(features + 3 * (labels == 1)[:, None], labels)
    assert abs(after - before) > 0.01


def test_selectors_see_no_gradient_of_features_and_memory_has_none():
    module = filled(separation(slots=5))
    features = torch.randn(1, 3, 8, requires_grad=True)
    module(features, torch.tensor([[0, 1] * 4])).backward()
    assert features.grad.abs().sum() > 0
    assert all(p.grad is not None for p in module.parameters())
    weights = module.selectors[0][0].weight.grad.clone()
    module.zero_grad()
    module(features.detach(), torch.tensor([[0, 1] * 4])).backward()
    torch.testing.assert_close(module.selectors[0][0].weight.grad, weights)


def voxels():
    """Ten voxels, five of each class, of which the last of either is predicted wrong."""
    labels = torch.tensor([[0] * 5 + [1] * 5])
    return (
        torch.randn(1, 3, 10, generator=torch.Generator().manual_seed(2)),
        labels,
        labels ^ (labels.new_tensor([0, 0, 0, 0, 1] * 2)),
    )


@pytest.mark.parametrize("keep", ["highest", "lowest"])
def test_the_memory_holds_the_right_voxels_with_the_best_scores(keep):
    module = separation(keep=keep)
    features, labels, predicted = voxels()
    module.remember(features, labels, predicted)
    module.eval()
    for c in range(2):
        projected = module.projection(rows(features)[5 * c : 5 * c + 4])
        ranked = np.argsort(scores(module.selectors[c], projected))
        best = ranked[::-1][:2] if keep == "highest" else ranked[:2]
        wanted = projected[best.copy()].detach()
        torch.testing.assert_close(module.memory[c], wanted)
    assert module.filled.tolist() == [2, 2] and module.memory.grad_fn is None


def test_highest_and_lowest_are_not_the_same():
    memories = []
    for keep in ("highest", "lowest"):
        module = separation(keep=keep)
        module.remember(*voxels())
        memories.append(module.memory)
    assert not torch.allclose(*memories)


def test_a_class_that_is_never_right_begins_with_what_there_is_and_later_keeps_it():
    module = separation(slots=4)
    features, labels, _ = voxels()
    module.remember(features, labels, torch.zeros_like(labels))
    assert module.filled.tolist() == [4, 4]
    before = module.memory.clone()
    module.remember(features + 1, labels, torch.zeros_like(labels))
    assert torch.equal(module.memory[1], before[1]) and not torch.equal(module.memory[0], before[0])


def test_a_class_that_is_never_right_may_stay_without_memory():
    module = separation(slots=4, fallback=False)
    features, labels, _ = voxels()
    module.remember(features, labels, torch.zeros_like(labels))
    assert module.filled.tolist() == [4, 0]


def test_without_memory_or_voxels_there_is_no_loss():
    module = separation(3)
    features, labels, predicted = voxels()
    assert module(features, labels) == 0
    module.remember(features, labels, predicted)
    assert module.filled.tolist() == [2, 2, 0]
    assert module(features, torch.full_like(labels, 2)) == 0 and module(features, labels) > 0


def test_fewer_voxels_on_request():
    module = filled(separation(slots=5, samples=3)).eval()
    features, labels, _ = voxels()
    found = {round(module(features, labels).item(), 6) for _ in range(8)}
    module.config = SeparationConfig(size=4, slots=5, samples=5)
    assert len(found) > 1 and len({round(module(features, labels).item(), 5) for _ in range(4)}) == 1
