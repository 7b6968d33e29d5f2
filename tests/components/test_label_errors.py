from __future__ import annotations

import numpy as np
import pytest
import torch

from fewmask.components.label_errors import confident_errors, prototype_labels

# Eight voxels, two classes. Of label 0 the mean p_0 is 0.7, of label 1 the mean p_1 is 0.6.
LABELS = [0, 0, 0, 0, 1, 1, 1, 1]
FOREGROUND = [0.1, 0.1, 0.2, 0.8, 0.9, 0.8, 0.5, 0.2]


def maps(foreground):
    p = torch.tensor(foreground)
    return torch.stack([1 - p, p])[None]


@pytest.mark.parametrize("rule", ["class", "noise_rate", "both"])
def test_confident_learning_by_hand(rule):
    """Votes: voxels 0-2 for 0, 3 for 1 (0.8 >= 0.6), 4 and 5 for 1, 6 for none, 7 for 0. Of label 1 one in three: 4/3, one voxel."""
    found = confident_errors(torch.tensor([LABELS]), maps(FOREGROUND), rule)
    assert found[0].nonzero().flatten().tolist() == [3, 7]


@pytest.mark.parametrize("rule", ["class", "noise_rate", "both"])
def test_a_label_that_is_the_likeliest_class_is_no_error(rule):
    """Means 0.71 and 0.325: voxels 1 and 2 vote for class 1, having no other class to vote for. One of them is the likelier 0."""
    labels, foreground = [0, 0, 0, 0, 0, 1, 1], [0.1, 0.4, 0.7, 0.15, 0.1, 0.5, 0.15]
    found = confident_errors(torch.tensor([labels]), maps(foreground), rule)
    # Of label 0 two are flagged by the counts: 0.7 and 0.4. Of label 1 one: 0.15, the least.
    assert found[0].nonzero().flatten().tolist() == [2, 6]


def by_the_book(labels, p, rule):
    """Loops over voxels and classes in float64."""
    classes = p.shape[1]
    thresholds = [p[labels == j, j].mean() for j in range(classes)]
    joint = np.zeros((classes, classes))
    for label, row in zip(labels, p, strict=True):
        sure = [j for j in range(classes) if row[j] >= thresholds[j]]
        if sure:
            joint[label, max(sure, key=lambda j: row[j])] += 1
    noise = np.zeros_like(joint)
    for i in range(classes):
        noise[i] = np.round(joint[i] / max(joint[i].sum(), 1) * (labels == i).sum())
    flags = {"class": set(), "noise_rate": set()}
    for i in range(classes):
        own = np.flatnonzero(labels == i)
        flags["class"] |= set(own[np.argsort(p[own, i])][: int(noise[i].sum() - noise[i, i])])
        for j in range(classes):
            if j != i:
                flags["noise_rate"] |= set(own[np.argsort(p[own, i] - p[own, j])][: int(noise[i, j])])
    flags["both"] = flags["class"] & flags["noise_rate"]
    return {v for v in flags[rule] if p[v].argmax() != labels[v]}


@pytest.mark.parametrize("rule", ["class", "noise_rate", "both"])
@pytest.mark.parametrize("classes", [2, 4])
def test_confident_learning_against_loops(rule, classes):
    rng = np.random.default_rng(3)
    p = rng.dirichlet(np.ones(classes), size=(2, 5, 6))
    labels = np.where(rng.random((2, 5, 6)) < 0.6, p.argmax(-1), rng.integers(classes, size=(2, 5, 6)))
    found = confident_errors(torch.from_numpy(labels), torch.from_numpy(np.moveaxis(p, -1, 1)), rule)
    wanted = by_the_book(labels.ravel(), p.reshape(-1, classes).astype(np.float32).astype(np.float64), rule)
    assert set(np.flatnonzero(found.numpy())) == wanted
    assert 0 < len(wanted) < 40


def test_a_missing_class_has_no_threshold():
    assert confident_errors(torch.zeros(1, 8, dtype=torch.int64), maps(FOREGROUND)) is None


def test_the_nearest_prototype_by_hand():
    """q_0 = (1 * 0.9 + 2 * 0.6) / 1.5 = 1.4 and q_1 = (5 * 0.8 + 3 * 0.4) / 1.2 = 13/3; halfway is 2.867."""
    features = torch.tensor([[[1.0, 2.0, 5.0, 3.0, 2.8]]])
    p = maps([0.1, 0.4, 0.8, 0.4, 0.5])
    found = prototype_labels(features, p, torch.tensor([[0, 0, 1, 1, 0]]))
    # Voxel 4 has weight 0.5 in q_0: (0.9 + 1.2 + 1.4) / 2 = 1.75, so that halfway is 3.04.
    assert found.tolist() == [[0, 0, 1, 0, 0]]


def test_every_image_has_prototypes_of_its_own():
    """An image whose features are those of another a thousand higher has the same labels; with common prototypes one class would be all."""
    features, p = torch.randn(1, 4, 6, 5, generator=torch.manual_seed(0)), torch.rand(1, 3, 6, 5).softmax(1)
    believed = torch.arange(30).reshape(1, 6, 5) % 3
    alone = prototype_labels(features, p, believed)
    pair = prototype_labels(torch.cat([features, features + 1000]), *(torch.cat([one, one]) for one in (p, believed)))
    assert pair.shape == (2, 6, 5) and torch.equal(pair[:1], alone) and torch.equal(pair[1:], alone)
    assert alone.unique().numel() == 3
    missing = prototype_labels(
        *(torch.cat([one, one]) for one in (features, p)), torch.cat([believed, believed.clamp(max=1)])
    )
    assert torch.equal(missing[0], alone[0]) and set(missing[1].unique().tolist()) == {0, 1}, (
        "a class of one image alone"
    )


def test_a_class_that_nobody_believes_has_no_voxel():
    features, p = torch.randn(1, 4, 10), torch.rand(1, 3, 10).softmax(1)
    assert set(prototype_labels(features, p, torch.tensor([[0, 2] * 5])).unique().tolist()) <= {0, 2}
