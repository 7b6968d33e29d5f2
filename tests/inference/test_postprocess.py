from __future__ import annotations

import math

import numpy as np
import pytest

from fewmask.inference.postprocess import entropy_map, largest_component


def test_only_the_largest_component_of_each_class_stays() -> None:
    labels = np.zeros((8, 8, 3), dtype=np.uint8)
    labels[0, :3, 0] = 1
    labels[5:7, 5:7, 1] = 1
    labels[7, 0, 2] = 2
    kept = largest_component(labels, [1, 2])
    expected = labels.copy()
    expected[0, :3, 0] = 0
    np.testing.assert_array_equal(kept, expected)
    assert kept.dtype == np.uint8
    assert labels[0, 0, 0] == 1, "the input is left alone"


def test_classes_are_treated_apart_and_only_when_named() -> None:
    labels = np.array([[1, 2, 2, 0, 1, 1, 0, 2]], dtype=np.uint8)
    np.testing.assert_array_equal(largest_component(labels, [1]), [[0, 2, 2, 0, 1, 1, 0, 2]])
    np.testing.assert_array_equal(largest_component(labels, [1, 2]), [[0, 2, 2, 0, 1, 1, 0, 0]])


def test_corners_connect() -> None:
    diagonal = np.eye(5, dtype=np.uint8)
    np.testing.assert_array_equal(largest_component(diagonal, [1]), diagonal)
    space = np.zeros((3, 3, 3), dtype=np.uint8)
    space[[0, 1, 2], [0, 1, 2], [0, 1, 2]] = 1
    np.testing.assert_array_equal(largest_component(space, [1]), space)


def test_empty_stays_empty() -> None:
    assert not largest_component(np.zeros((4, 4), dtype=np.uint8), [1, 2, 3]).any()


@pytest.mark.parametrize("classes", [2, 4, 14])
def test_entropy_is_zero_when_certain_and_one_when_undecided(classes: int) -> None:
    probabilities = np.zeros((classes, 2, 1), dtype=np.float32)
    probabilities[:, 0] = 1 / classes
    probabilities[-1, 1] = 1
    entropy = entropy_map(probabilities)
    assert entropy.dtype == np.float32
    np.testing.assert_allclose(entropy[:, 0], [1, 0], atol=1e-5)
    assert entropy.min() >= 0
    assert entropy.max() <= 1


def test_entropy_by_hand() -> None:
    probabilities = np.array([0.7, 0.2, 0.1], dtype=np.float32).reshape(3, 1)
    expected = -(0.7 * math.log(0.7) + 0.2 * math.log(0.2) + 0.1 * math.log(0.1)) / math.log(3)
    np.testing.assert_allclose(entropy_map(probabilities), [expected], atol=1e-5)


def test_entropy_of_a_single_class_is_zero() -> None:
    assert not entropy_map(np.ones((1, 3, 3), dtype=np.float32)).any()
