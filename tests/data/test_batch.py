from __future__ import annotations

from dataclasses import fields

import torch

from fewmask.data.batch import Batch


def batch(strong=False):
    return Batch(
        torch.zeros(2, 1, 4, 4),
        torch.ones(2, 4, 4, dtype=torch.int64),
        torch.ones(3, 1, 4, 4),
        torch.ones(3, 1, 4, 4) if strong else None,
        cases=("a", "b", "c", "d", "e"),
        distances=torch.ones(2, 1, 4, 4) if strong else None,
    )


def test_images_are_labelled_then_unlabelled():
    images = batch().images
    assert images.shape == (5, 1, 4, 4)
    assert images.mean((1, 2, 3)).tolist() == [0, 0, 1, 1, 1]


def test_map_reaches_every_tensor_and_skips_what_is_not_there():
    assert batch().map(lambda tensor: tensor + 1).unlabelled_strong is None
    moved = batch(strong=True).map(lambda tensor: tensor + 1)
    assert [int(getattr(moved, field.name).max()) for field in fields(moved) if field.name != "cases"] == [
        1,
        2,
        2,
        2,
        2,
    ]
    assert moved.cases == ("a", "b", "c", "d", "e")


def test_there_is_no_field_for_hidden_labels():
    assert [field.name for field in fields(Batch) if "label" in field.name and "unlabelled" not in field.name] == [
        "labelled",
        "labels",
    ]


def test_the_loader_pins_every_tensor(monkeypatch):
    """By the function that torch's loader calls; it passes over objects that do not offer to be pinned."""
    from torch.utils.data._utils.pin_memory import pin_memory

    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self, *device: self + 1)
    pinned = pin_memory(Batch(torch.zeros(1), torch.zeros(2), torch.zeros(3), torch.zeros(4), ("a", "b")))
    assert [float(t.min()) for t in (pinned.labelled, pinned.labels, pinned.unlabelled, pinned.unlabelled_strong)] == [
        1
    ] * 4
    assert pinned.cases == ("a", "b")
