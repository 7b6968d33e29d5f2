"""What is remembered, of whom, for how long."""

from __future__ import annotations

import pytest
import torch

from fewmask.components.memory_bank import NOBODY, BankConfig, MemoryBank, image_numbers

A, B, C = image_numbers(["a", "b", "c"], 3)


def bank(classes=2, **settings):
    return MemoryBank(classes, 2, BankConfig(**({"slots": 3, "push": 4} | settings)))


def rows(value, count):
    """``count`` vectors that tell which visit they are of."""
    return torch.stack([torch.full((count,), float(value)), torch.arange(float(count))], 1)


def visit(memory, owner, value, *counts):
    memory.store([[rows(value, count) for count in counts]], owner.reshape(1))


def held(memory, label):
    """The visits whose vectors a class holds, in order."""
    return sorted(set(memory.draw(label, 1000)[:, 0].tolist()))


def test_what_is_stored_is_drawn_by_class():
    memory = bank()
    memory.store([[rows(1, 3), rows(2, 4)], [rows(3, 2), rows(4, 1)]], torch.stack([A, B]))
    assert held(memory, 0) == [1, 3]
    assert held(memory, 1) == [2, 4]
    everything = memory.draw(0, 1000)
    assert len(everything) == 5
    torch.testing.assert_close(everything[everything[:, 0] == 1].sort(0).values, rows(1, 3))


def test_drawn_vectors_are_different_ones_and_no_more_than_asked_for():
    torch.manual_seed(0)
    memory = bank()
    visit(memory, A, 1, 4, 0)
    drawn = [tuple(memory.draw(0, 2)[:, 1].tolist()) for _ in range(40)]
    assert all(len(set(pair)) == 2 for pair in drawn)
    assert {place for pair in drawn for place in pair} == {0, 1, 2, 3}
    assert len(memory.draw(1, 2)) == 0


def test_a_revisit_replaces_what_an_image_left():
    memory = bank()
    visit(memory, A, 1, 4, 4)
    visit(memory, B, 2, 4, 4)
    visit(memory, A, 3, 2, 0)
    assert held(memory, 0) == [2, 3]
    assert len(memory.draw(0, 1000)) == 6, "the fewer vectors of the new visit, none of the old one"
    assert held(memory, 1) == [1, 2], "the class that the new patch lacks stays represented"


def test_the_oldest_visit_goes_when_all_slots_are_full():
    memory = bank(slots=2)
    for value, owner in enumerate((A, B, A, C), start=1):
        visit(memory, owner, value, 1, 1)
    assert held(memory, 0) == [3, 4]


def test_fifo_knows_no_images():
    memory = bank(policy="fifo", slots=2)
    for value, owner in enumerate((A, B, B), start=1):
        visit(memory, owner, value, 1, 0)
    assert held(memory, 0) == [2, 3]


def test_images_without_a_name_replace_nobody():
    memory = bank()
    for value in (1, 2):
        visit(memory, image_numbers([], 1)[0], value, 1, 1)
    assert held(memory, 0) == [1, 2]


def test_all_of_it_is_in_the_state_dict():
    memory, again = bank(), bank()
    for value, owner in enumerate((A, B, C, A), start=1):
        visit(memory, owner, value, 2, value % 2)
    again.load_state_dict(memory.state_dict())
    for one in (memory, again):
        visit(one, B, 9, 1, 1)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in memory.state_dict().items())
    for label in (0, 1):
        torch.manual_seed(1)
        first = memory.draw(label, 3)
        torch.manual_seed(1)
        assert torch.equal(first, again.draw(label, 3))


def test_what_is_remembered_carries_no_gradient():
    memory = bank()
    memory.store([[rows(1, 2).requires_grad_() * 2, rows(1, 0)]], A.reshape(1))
    assert not memory.draw(0, 2).requires_grad
    assert not list(memory.parameters())


def test_numbers_of_names():
    numbers = image_numbers(["a", "b", "a", "ü\udcff"], 3)
    assert numbers.dtype == torch.int64
    assert numbers[0] == numbers[2] != numbers[1]
    assert (numbers >= 0).all()
    assert image_numbers(["ü\udcff"], 1).shape == (1,)
    assert image_numbers([], 2).tolist() == [NOBODY, NOBODY]
    # Fixed for ever: a checkpoint names its images by them.
    assert A.item() == int.from_bytes(__import__("hashlib").blake2b(b"a", digest_size=7).digest(), "big")


@pytest.mark.parametrize("settings", [{"slots": 0}, {"push": 0}, {"confidence": 1.0}])
def test_settings_out_of_range(settings):
    with pytest.raises(ValueError, match="1 validation error"):
        bank(**settings)
