"""How much two masks overlap, from three counts."""

from __future__ import annotations


def dice(prediction: int, reference: int, both: int) -> float:
    """Dice coefficient ``2 |P and R| / (|P| + |R|)`` (Dice, 1945).

    Args:
        prediction: voxels of the predicted mask, |P|.
        reference: voxels of the reference mask, |R|; not both of the two may be 0.
        both: voxels that lie in both masks.
    """
    return 2.0 * both / (prediction + reference)


def jaccard(prediction: int, reference: int, both: int) -> float:
    """Jaccard index ``|P and R| / |P or R|``; arguments as for `dice`."""
    return both / (prediction + reference - both)
