"""Every shipped YAML loads; default.yaml says what the dataclasses say."""

from pathlib import Path

import pytest

from semi.config.defaults import documented_default
from semi.config.schema import Config, load_config, signature
from semi.config.yaml_format import all_keys, field_docs, hints_of

CONFIGS = Path(__file__).parents[1] / "configs"
OTHERS = ("default.yaml", "bench.yaml")  # bench.yaml: tests/test_benchmark.py
RECIPES = sorted(p for p in CONFIGS.glob("*.yaml") if p.name not in OTHERS)


def test_default_yaml_is_what_the_dataclasses_say():
    told = "run: python -m semi.config > configs/default.yaml"
    assert (CONFIGS / "default.yaml").read_text(encoding="utf-8") == documented_default(), told


def test_default_yaml_loads_as_the_defaults():
    config = load_config(CONFIGS / "default.yaml", ["data.manifest=m.csv"])
    assert config == load_config(None, ["data.manifest=m.csv"])


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.name)
def test_a_recipe_loads(path):
    assert load_config(path).name == path.stem


def test_hubert_and_demo_differ_only_in_the_encoders():
    one, other = (signature(load_config(CONFIGS / f"{n}.yaml")) for n in ("demo", "hubert"))
    differing = {k for k in one | other if one.get(k) != other.get(k)}
    assert differing and all(k.startswith("encoders.") for k in differing)


def test_every_setting_is_documented():
    def undocumented(cls, prefix=""):
        from dataclasses import is_dataclass

        for name, hint in hints_of(cls).items():
            if is_dataclass(hint):
                yield from undocumented(hint, f"{prefix}{name}.")
            elif name not in field_docs(cls):
                yield prefix + name

    assert list(undocumented(Config)) == []
    assert "select.per_class" in all_keys(Config)
