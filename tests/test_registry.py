from __future__ import annotations

import pytest

from fewmask.errors import ConfigError
from fewmask.registry import Registry


def table():
    registry = Registry("thing")

    @registry.register("beta")
    class Beta:
        pass

    @registry.register("alpha")
    class Alpha:
        pass

    return registry, Alpha, Beta


def test_names_come_sorted_and_classes_by_name():
    registry, alpha, beta = table()
    assert list(registry) == ["alpha", "beta"]
    assert len(registry) == 2
    assert registry["alpha"] is alpha
    assert registry["beta"] is beta
    assert "alpha" in registry
    assert "gamma" not in registry


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ConfigError, match=r"no thing named 'alhpa': did you mean 'alpha'\?"):
        table()[0]["alhpa"]
    with pytest.raises(ConfigError, match="valid: alpha, beta"):
        table()[0]["zzz"]


def test_a_taken_name_is_refused():
    registry, _, _ = table()
    with pytest.raises(ConfigError, match="'alpha' is already taken"):
        registry.register("alpha")(type("Other", (), {}))


def test_a_class_of_the_same_name_from_another_module_is_another_class():
    registry = Registry("thing")
    registry.register("one")(type("Same", (), {"__module__": "first"}))
    with pytest.raises(ConfigError, match=r"taken by first\.Same"):
        registry.register("one")(type("Same", (), {"__module__": "second"}))


def test_a_reloaded_module_may_register_anew():
    registry = Registry("thing")
    kinds = [type("Same", (), {"__module__": "first"}) for _ in range(2)]
    for kind in kinds:
        assert registry.register("one")(kind) is kind
    assert registry["one"] is kinds[1]
