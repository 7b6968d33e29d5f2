from __future__ import annotations

from fewmask.metrics.words import mean_and_spread, metric_title, number


def test_overlaps_are_per_cent_and_distances_are_not():
    assert (number(0.8765, "dice"), number(0.5, "nsd@1"), number(3.14159, "hd95")) == ("87.6", "50.0", "3.14")
    assert (number(0.8765, "dice", 2), number(3.14159, "asd", 1), number(None, "asd")) == ("87.65", "3.1", "–")


def test_a_mean_of_one_case_has_no_spread():
    assert mean_and_spread({"mean": 0.5, "std": 0.25}, "jaccard") == ("50.0", "± 25.0")
    assert mean_and_spread({"mean": 0.5, "std": None}, "assd") == ("0.50", "")


def test_titles():
    assert metric_title("hd95_directed") == "HD95 directed"
    assert (metric_title("nsd@2", "mm"), metric_title("asd", "voxel")) == ("NSD@2, %", "ASD, voxel")
