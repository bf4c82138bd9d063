"""Every shipped YAML loads; default.yaml says what the dataclasses say."""

import re
from pathlib import Path

import pytest

from semi.config.schema import Config, documented_default, load_config, signature
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


# --- the other files that must say the same thing ---

ROOT = CONFIGS.parent


def listed(name):
    """Returns a list of strings in pyproject.toml (3.10 has no reader of that format)."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    body = re.search(rf"^{name} = \[(.*?)^\]", text, flags=re.S | re.M)
    assert body is not None
    return re.findall(r'"([^"]+)"', body.group(1))


def test_every_package_is_listed_for_installation():
    found = {
        ".".join(p.parent.relative_to(ROOT).parts)
        for top in ("semi", "models", "noise", "pseudo_label")
        for p in (ROOT / top).rglob("__init__.py")
    }
    assert set(listed("packages")) == found


def test_requirements_txt_and_pyproject_agree():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [x for x in lines if x and not x.startswith("#")] == listed("dependencies")
    for extra in ("torchaudio", "fairseq"):
        assert any(x.startswith(f"# {extra}") and f"[{extra}]" in x for x in lines)


def test_what_the_readme_names_exists():
    from semi.cli import VERBS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for verb in re.findall(r"^    semi (\w+) ", text, flags=re.M):
        assert verb in VERBS, verb
    for target in re.findall(r"\]\(([\w/.]+)\)", text):
        assert (ROOT / target).exists(), target
    for command in re.findall(r"^    make (\w+) ", text, flags=re.M):
        assert f"\n{command}:" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
