from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewmask.components.ramps import RampConfig, gaussian_rampup
from fewmask.methods import Progress


def published(i, length):
    """The field's weight: ``0.1 r(floor(i / 150); length)``, written out."""
    t = min(i // 150, length)
    return 0.1 * math.exp(-5.0 * (1.0 - t / length) ** 2)


def test_gaussian_rampup_at_its_ends_and_beyond():
    assert gaussian_rampup(0, 40) == pytest.approx(0.006737947, abs=1e-9)
    assert gaussian_rampup(20, 40) == pytest.approx(math.exp(-1.25))
    assert gaussian_rampup(40, 40) == 1
    assert gaussian_rampup(1000, 40) == 1
    assert gaussian_rampup(-3, 40) == gaussian_rampup(0, 40)
    assert gaussian_rampup(0, 0) == gaussian_rampup(5, 0) == 1


@pytest.mark.parametrize(("iterations", "steps"), [(6000, 40), (30000, 200)])
def test_the_defaults_give_the_published_weights(iterations, steps):
    ramp = RampConfig(weight=0.1, steps=steps)
    for i in range(iterations):
        assert ramp.at(Progress(i, iterations)) == published(i, steps), i


@pytest.mark.parametrize("iterations", [7, 10, 39, 100, 1234])
def test_a_shorter_run_sees_the_whole_ramp(iterations):
    ramp = RampConfig(weight=2.0)
    weights = [ramp.at(Progress(i, iterations)) for i in range(iterations + 1)]
    assert weights[0] == 2.0 * math.exp(-5)
    assert weights == sorted(weights)
    assert weights[-1] == 2.0


def test_length_is_a_share_of_the_run():
    ramp = RampConfig(weight=1.0, shape="linear", length=0.5, steps=10)
    assert [ramp.at(Progress(i, 200)) for i in (0, 9, 10, 55, 99, 100, 199)] == [0, 0, 0.1, 0.5, 0.9, 1, 1]


def test_constant_from_the_first_step():
    assert RampConfig(weight=0.3, shape="constant").at(Progress(0, 100)) == 0.3


@given(
    weight=st.floats(0, 10),
    shape=st.sampled_from(["gaussian", "linear", "constant"]),
    length=st.floats(0.01, 3),
    steps=st.integers(1, 400),
    iterations=st.integers(1, 5000),
    data=st.data(),
)
def test_any_ramp_rises_to_its_weight_in_plateaus_and_stays(weight, shape, length, steps, iterations, data):
    ramp = RampConfig(weight=weight, shape=shape, length=length, steps=steps)
    first, second = sorted(data.draw(st.integers(0, iterations)) for _ in range(2))
    early, late = (ramp.at(Progress(i, iterations)) for i in (first, second))
    assert 0 <= early <= late <= weight
    if second >= length * iterations:
        assert late == weight
    # The plateau depends on the share of the run alone: a run ten times as long is at the same weight a tenth as fast.
    assert ramp.at(Progress(10 * first, 10 * iterations)) == early
    seen = {ramp.at(Progress(i, 50)) for i in range(51)}
    assert len(seen) <= steps + 1


def test_without_plateaus_the_weight_grows_at_every_iteration():
    ramp = RampConfig(weight=0.1, steps=None)
    weights = [ramp.at(Progress(i, 6000)) for i in (0, 1500, 3000, 4500, 6000)]
    assert weights == pytest.approx([6.737947e-4, 6.005467e-3, 2.865048e-2, 7.316156e-2, 0.1], rel=1e-6)
    assert ramp.at(Progress(1, 6000)) > ramp.at(Progress(0, 6000))
    linear = RampConfig(weight=2.0, shape="linear", steps=None, length=0.5)
    assert [linear.at(Progress(i, 100)) for i in (0, 25, 50, 100)] == [0, 1, 2, 2]


def test_by_epochs_the_first_weighs_something_and_the_last_everything():
    """lambda(e) = 5 e / E for e = 1 to E."""
    ramp = RampConfig(weight=5.0, shape="epochs", steps=200)
    weights = [ramp.at(Progress(i, 3800)) for i in range(3800)]
    assert weights[:19] == [0.025] * 19
    assert weights[19] == 0.05
    assert weights[-19:] == [5.0] * 19
    assert all(weights[19 * e] == pytest.approx(5 * (e + 1) / 200, rel=1e-12) for e in range(200))


@pytest.mark.parametrize(("steps", "iterations"), [(200, 3), (None, 3), (200, 150), (None, 1000)])
def test_by_epochs_a_short_run_ends_at_the_full_weight(steps, iterations):
    ramp = RampConfig(weight=5.0, shape="epochs", steps=steps)
    weights = [ramp.at(Progress(i, iterations)) for i in range(iterations)]
    assert weights == pytest.approx([5 * (i + 1) / iterations for i in range(iterations)])
    assert weights[-1] == 5.0
    assert ramp.at(Progress(iterations + 7, iterations)) == 5.0
